"""What one artifact of many files costs in the offline mode of a tracker: in its lane's process, and where it is queued then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import programs

__all__ = ["offline_costs"]

#: Delivers 100 files, and as many others again, as a lane does; puts each into the outbox, as the program does then.
_PROGRAM = """
import importlib, json, os
from collections import Counter
from pathlib import Path

from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.storage.blob_store import blob_key
from tracelet.core.system import durability, files
from tracelet.core.system.files import hash_file
from tracelet.plugin import ArtifactFile, ArtifactType, BackendContext, Labels, Manifest, RunInfo, SealedArtifact

#: Some systems have no such call, and the disk of this one may be busy: it is counted in any case.
durability._can_all_at_once = lambda folder: True
durability._waiting_bytes = lambda: 0
durability._sync = lambda descriptor: asked.update(["syncfs"])
#: A filesystem that shares blocks writes nothing.
files._clone = lambda source, target: False
asked, fsync = Counter(), os.fsync

def synced(descriptor):
    asked["fsync"] += 1
    fsync(descriptor)

os.fsync = synced

def written():
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(rows["wchar"])

def sealed(number):
    sources = {}
    for name in range(100):
        path = Path(f"data-{number}", f"{name}.bin").absolute()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(40_000))
        os.utime(path, (1e9, 1e9))
        sources[path.name] = path
    hashed = {name: hash_file(path) for name, path in sources.items()}
    listed = tuple(ArtifactFile(name, stamp.size_bytes, sha256) for name, (sha256, stamp) in hashed.items())
    manifest = Manifest("thing", ArtifactType.DATASET, f"{number:032x}", 1.0, files=listed)
    return SealedArtifact(manifest, sources, {name: stamp for name, (_, stamp) in hashed.items()})

directory = Path("tracelet").absolute()
# The folders of all blobs are there.
for place in ("objects", CATALOGUE + "/blobs"):
    for first in range(256):
        (directory / place / "sha256" / f"{first:02x}").mkdir(parents=True)
(spec,) = importlib.import_module(f"tracelet_{BACKEND}").tracelet_backends()
os.environ.update(spec.environ)
service = BackendService(spec, "costs", spec.settings(), BackendContext(directory, spec.context()))
outbox, run = Outbox(directory), RunInfo("0" * 32, "costs", 1.0)

def put(artifact, number):
    asked.clear()
    before = written()
    assert service.deliver(artifact, Labels(), run, False).stored.pending
    delivered, synced = written(), dict(asked)
    asked.clear()
    outbox.add(artifact, Parcel(spec.name, run, Labels(), {}, artifact.manifest, 1.0, order=number))
    queued = written()
    return [synced, round((delivered - before) / 4e6, 1)], [dict(asked), round((queued - delivered) / 4e6, 1)]

put(sealed(0), 0)
artifact = sealed(1)
delivered, queued = put(artifact, 1)
keys = [blob_key(one.sha256) for one in artifact.manifest.payload]
pairs = [(directory / "objects" / key, directory / CATALOGUE / "blobs" / key) for key in keys]
shared = sum(one.stat().st_ino == other.stat().st_ino for one, other in pairs)
own = [artifact.sources[one.artifact_path].stat().st_nlink for one in artifact.manifest.payload]
service.stop(False)
print(json.dumps({"delivered": delivered, "queued": queued, "shared": shared, "links to the user's": sum(own) - len(own)}))
"""


def offline_costs(backend: str, catalogue: str, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the second of two such artifacts costs: waits for the disk, and how often its bytes are written.

    ``catalogue`` is where the backend keeps what waits, in the tracelet directory. ``shared`` is how many files are one
    with the outbox's there.
    """
    found: dict[str, Any] = programs.run(
        f"BACKEND, CATALOGUE = {backend!r}, {catalogue!r}\n{_PROGRAM}", folder, environ
    )
    return found
