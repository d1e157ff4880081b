"""Programs of users of Aim through Tracelet."""

from __future__ import annotations

#: What every program begins with.
HEAD = """
import json, os, sys, time
from tracelet import ArtifactType, Experiment, ExperimentConfig

def made(exp, name="model", type=ArtifactType.MODEL, metadata=None, **files):
    artifact = exp.create_artifact(name, type)
    artifact.metadata.update(metadata or {})
    for path, content in files.items():
        with open(path, "wb") as stream:
            stream.write(content)
        artifact.add_file(path)
    return artifact

def opened(name="trials", **limits):
    pace = float(os.environ["TEST_PACE"])
    config = ExperimentConfig(**{limit: seconds * pace for limit, seconds in limits.items()})
    return Experiment(name, backend="aim", artifacts=True, config=config)
"""
#: Logs one artifact; what became of it, whether it waits, and the seconds until then and until the end.
LOG_ONE = """
began = time.monotonic()
exp = opened(deadline=15.0, open_timeout=15.0, stop_timeout=5.0).start()
results = exp.log_artifact(made(exp, weights=b"1" * 1000))
logged = time.monotonic() - began
exp.stop()
told = {name: [type(error).__name__, str(error)] for name, error in {**results.queued, **results.failed}.items()}
done = [told.get("aim"), "aim" in results.queued, logged, time.monotonic() - began]
print(json.dumps(done))
"""
#: Delivers what waits; how much is left, and every version with its content.
FINISH = """
exp = opened().start()
left = exp.flush(600)
exp.stop()
print(json.dumps([left, [[one.version, open(one.download() / "weights").read()] for one in exp.list_artifacts()]]))
"""
#: What FINISH says after LOG_ONE.
DELIVERED = [0, [["v0", "1" * 1000]]]
#: A backend on a repo on disk, opened as often as a program wants, and the hands that change what it keeps.
HANDS = """
import hashlib
from pathlib import Path
from tracelet.exceptions import TraceletError
from tracelet.plugin import (
    ArtifactFile, ArtifactType, BackendContext, Labels, Manifest, RunInfo, SealedArtifact,
)
from tracelet_aim import AimSettings
from tracelet_aim.backend import open_backend
from tracelet_aim.disk import DiskPlace

def begun(run="one", experiment="trials"):
    backend = open_backend(experiment, AimSettings(repo=os.environ["REPO"]), BackendContext(Path.cwd()))
    backend.start(RunInfo(run, experiment, 1.0))
    return backend

def seal(content, name="model", inputs=()):
    source = Path(f"{name}-{content}")
    source.write_text(content)
    file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
    return SealedArtifact(
        Manifest(name, ArtifactType.MODEL, f"{name}-{content}", 1.0, files=(file,), inputs=tuple(inputs)), {"file": source}
    )

def told(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except TraceletError as error:
        return f"{type(error).__name__}: {error}"
    return ""

def catalogue():
    return DiskPlace(os.environ["REPO"]).writing("tracelet", "trials")

def everything():
    with catalogue() as tree:
        return repr(tree.items())

def change_record(number, *gone, **changes):
    with catalogue() as tree:
        record = {**json.loads(tree.get("versions", "model", number)), **changes}
        kept = {key: value for key, value in record.items() if key not in gone}
        tree.set(("versions", "model", number), json.dumps(kept))

def notes_of(run):
    with DiskPlace(os.environ["REPO"]).reading("meta", run) as tree:
        return tree.get("meta", "chunks", run, "attrs", "tracelet")

def change_notes(run, *path, value):
    with DiskPlace(os.environ["REPO"]).writing("meta", run) as tree:
        tree.set(("meta", "chunks", run, "attrs", "tracelet", *path), value)

def stored(content, label=None, aliases=(), name="model", run="one"):
    backend = begun(run)
    made = backend.put(seal(content, name), Labels(label, aliases))
    backend.stop(failed=False)
    return made
"""
