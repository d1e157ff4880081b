"""What core asks of an open backend, and what it makes of the answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from making import settle, write

from tracelet.builtin.local import LocalBackend
from tracelet.core.files import stamp
from tracelet.core.service import Service
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
    BackendContext,
    BackendSpec,
    Labels,
    Manifest,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
)
from tracelet.settings import NoSettings

RUN = RunInfo("run", "trials", 1.0)


def service(tmp_path: Path, kind: type[LocalBackend]) -> Service:
    spec = BackendSpec(name="kind", open=lambda experiment, settings, context: kind(tmp_path / "place", experiment))
    return Service(spec, "trials", NoSettings(), BackendContext(tmp_path))


def test_a_source_that_is_gone_after_its_upload_has_not_changed(tmp_path: Path) -> None:
    class Slow(LocalBackend):
        def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
            stored = super().put(sealed, labels)
            sealed.sources["file"].unlink()
            return stored

    source = settle(write(tmp_path / "file", "content"))
    file = ArtifactFile("file", 7, hashlib.sha256(b"content").hexdigest())
    manifest = Manifest("thing", ArtifactType.CONFIG, "put", 1.0, files=(file,))
    sealed = SealedArtifact(manifest, {"file": source}, {"file": stamp(source.stat())})
    open_one = service(tmp_path, Slow)
    delivered = open_one.deliver(sealed, Labels(), RUN, False)
    assert delivered.created
    assert open_one.find("thing", "latest") == delivered.stored
