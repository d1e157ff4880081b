"""MLflow does what it is asked for, and its answer does not arrive: whoever tries again neither loses nor repeats anything."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from servers.faulty_proxy import FaultyProxy
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import TraceletError
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, SealedArtifact
from tracelet_mlflow.backend import MlflowBackend


def test_what_is_logged_again_is_stored_once_whichever_answer_was_lost(
    opened: Callable[..., MlflowBackend], server: MlflowServer, tmp_path: Path
) -> None:
    """The first artifact of an experiment: its index is made, too."""
    source = tmp_path / "file"
    source.write_text("content")
    file = ArtifactFile("file", 7, hashlib.sha256(b"content").hexdigest())
    sealed = SealedArtifact(Manifest("data", ArtifactType.DATASET, "put-one", 1.0, files=(file,)), {"file": source})

    def put(experiment: str) -> None:
        backend = opened(experiment, where=proxy.url)
        try:
            backend.put(sealed, Labels("1.0", ("best",)))
        finally:
            backend.stop(failed=False)

    with FaultyProxy(server.process.port) as proxy:
        put("answered")
        changes = [number for number, line in enumerate(proxy.requests, 1) if not line.startswith("GET")]
        assert len(changes) > 10
        for number in changes:
            experiment = f"lost answer {number}"
            proxy.requests.clear()
            proxy.garbles = number
            with contextlib.suppress(TraceletError):
                put(experiment)
            proxy.garbles = 0
            put(experiment)
            reader = opened(experiment, where=server.url)
            (version,) = reader.list(name="data", type=None)
            assert version.label == "1.0"
            assert reader.find("data", "best") == version
            reader.fetch(version, ["file"], tmp_path / str(number))
            assert (tmp_path / str(number) / "file").read_text() == "content"
