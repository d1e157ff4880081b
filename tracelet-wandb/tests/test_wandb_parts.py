"""Files so large that W&B's client sends them in parts. Real client, but for the bound from which on it does; stand-in server."""

from __future__ import annotations

import platform
import textwrap
from pathlib import Path

import pytest

from servers import programs
from servers.wandb_parts import BOUND, client_that_sends_parts
from servers.wandb_server import wandb_server

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the bound is looked for in code for x86-64")
LOG = """
import hashlib, json, os
from pathlib import Path
from tracelet import ArtifactType, Experiment

content = hashlib.shake_256(b"large").digest(4 << 20) * {times} + b"the end"
Path("large.bin").write_bytes(content)
with Experiment("parts", backend="wandb", artifacts=True) as exp:
    made = exp.create_artifact("model", ArtifactType.MODEL).add_file("large.bin")
    result = exp.log_artifact(made)
print(json.dumps([list(result), list(result.queued), hashlib.sha256(content).hexdigest()]))
"""
READ = """
import hashlib, json
from tracelet import Experiment

with Experiment("parts", backend="wandb", artifacts=True) as exp:
    left = exp.flush(600)
    listed = exp.list_artifacts()
    found = hashlib.sha256((listed[0].download() / "large.bin").read_bytes()).hexdigest()
print(json.dumps([left, [one.version for one in listed], found]))
"""


@pytest.mark.parametrize("fault", ["", "cut"])
def test_a_file_that_is_sent_in_parts_comes_back_whole(tmp_path: Path, fault: str) -> None:
    """Where parts get lost it waits, and is stored once when they do not."""
    with wandb_server(tmp_path / "server", current=True) as server:
        environ = {
            **server.environ(tmp_path / "home"),
            "PYTHONPATH": client_that_sends_parts(tmp_path / "client"),
            "TRACELET_DIR": str(tmp_path / "tracelet"),
            "TRACELET_DEADLINE": "120",
            "TRACELET_ON_LARGE": "upload",
        }
        code = textwrap.dedent(LOG).format(times=BOUND // (4 << 20) + 1)
        server.fault("PUT part" if fault else "", fault)
        stored, queued, digest = programs.run(code, tmp_path / "writer", environ)
        server.fault()
        assert (stored, queued) == (([], ["wandb"]) if fault else (["wandb"], []))
        assert programs.run(READ, tmp_path / "reader", {**environ, "WANDB_CACHE_DIR": "empty"}) == [0, ["v0"], digest]
        asked = server.look()["log"]
        assert asked.count("PUT part") >= (4 if fault else 2)
        assert asked.count("CompleteMultipartUploadArtifact") == 1
