"""ClearML's offline mode: listed and read on this machine at once, importable by ClearML, and delivered when it is over."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest

from servers import clearml_user, programs
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from servers.offline_costs import offline_costs
from tracelet.plugin import Labels
from tracelet.testing.backend_process import BackendProcess

LOG = """
import json, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment
if IN_CODE:
    from clearml import Task
    Task.set_offline(True)
Path("w.bin").write_bytes(b"weights")
Path("empty").write_bytes(b"")
with Experiment(NAME, backend="clearml", artifacts=True) as exp:
    told = {}
    for kind in (ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET):
        artifact = exp.create_artifact(f"a-{kind.value}", kind, description="made offline")
        artifact.add_file("w.bin", "model/w.bin")
        artifact.add_file("empty")
        artifact.add_reference("s3://bucket/key")
        results = exp.log_artifact(artifact, aliases=["best"])
        told[kind.value] = [results["clearml"].version, results["clearml"].pending, results["clearml"].uri]
    again = exp.create_artifact("a-custom", ArtifactType.CUSTOM, description="made offline")
    again.add_file("w.bin", "model/w.bin").add_file("empty").add_reference("s3://bucket/key")
    told["again"] = exp.log_artifact(again)["clearml"].created
print(json.dumps(told))
"""
READ = """
import json
from tracelet import Experiment
exp = Experiment(NAME, backend="clearml", artifacts=True)
found = exp.list_artifacts()
got = exp.get_artifact("a-model", "best")
folder = got.download()
content = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
print(json.dumps([sorted([one.name, one.version, one.pending] for one in found), content, got.pending]))
"""
SYNC = """
import sys
from tracelet.cli import main
sys.argv = ["tracelet", "sync"]
sys.stdout = sys.stderr
main()
"""
CONTENT = {"model/w.bin": "weights", "empty": ""}


@pytest.mark.parametrize("in_code", [False, True], ids=["by the variable", "in the user's code"])
def test_offline_end_to_end(
    hands: Hands, server: ClearmlServer, tmp_path: Path, experiment: str, in_code: bool
) -> None:
    """No version is invented: what only this machine has is marked, and numbered anew where the server gets it."""
    online = {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    offline = {**online, "CLEARML_OFFLINE_MODE": "1", "CLEARML_API_HOST": "http://127.0.0.1:9"}
    # The user is offline by the variable or in the code; no call may reach a server either way.
    begun = {**offline, "CLEARML_OFFLINE_MODE": ""} if in_code else offline

    def program(code: str) -> str:
        return code.replace("NAME", repr(experiment)).replace("IN_CODE", repr(in_code))

    # The server has a version of this name already.
    hands.open(experiment).put(hands.samples.seal("a-custom", {"x": b"earlier"}), Labels())
    server.calls(clear=True)
    told = programs.run(program(LOG), tmp_path / "log", begun)
    assert told.pop("again") is False
    assert [one[:2] for one in told.values()] == [["v0", True]] * 3
    assert all(one[2].startswith("clearml-offline://") for one in told.values())

    listed, content, pending = programs.run(program(READ), tmp_path / "read", offline)
    assert listed == [["a-custom", "v0", True], ["a-dataset", "v0", True], ["a-model", "v0", True]]
    assert (content, pending) == (CONTENT, True)
    assert server.calls() == []

    (archive,) = Path(online["CLEARML_CACHE_DIR"]).glob("offline/*.zip")
    imported = hands.user.call(clearml_user.import_session, archive)
    assert sorted(key.partition(".")[0] for key in imported) == ["a-custom", "a-dataset", "a-model"]
    assert {name: data.decode() for name, data in next(iter(imported.values()))["content"].items()} == CONTENT

    programs.run(SYNC, tmp_path / "sync", online)
    listed, content, pending = programs.run(program(READ), tmp_path / "later", online)
    want = [["a-custom", "v0", False], ["a-custom", "v1", False], ["a-dataset", "v0", False], ["a-model", "v0", False]]
    assert listed == want
    assert (content, pending) == (CONTENT, False)
    programs.run(SYNC, tmp_path / "sync-again", online)
    assert len(programs.run(program(READ), tmp_path / "much-later", online)[0]) == 4
    blobs = tmp_path / "tracelet" / "clearml-offline" / "blobs"
    cleaner = BackendProcess(hands.driver("backend"), uuid.uuid4().hex, "clearml", experiment, tmp_path / "tracelet")
    assert cleaner.collect(time.time() - 3600) == 0
    assert cleaner.collect(time.time() + 1) == 0, "they are the outbox's, too"
    assert not [path for path in blobs.rglob("*") if path.is_file()], "what the server has is not kept twice"


def test_offline_a_session_is_importable_after_a_failed_run(hands: Hands, tmp_path: Path, experiment: str) -> None:
    more = {"CLEARML_OFFLINE_MODE": "1"}
    opened = hands.open(experiment, "offline", more)
    sealed = hands.samples.seal("kept", {"x": b"1"})
    assert opened.put(sealed, Labels("v1.2.0", ("best",))).pending
    began = time.monotonic()
    opened.close(failed=True)
    assert programs.soon(time.monotonic() - began, 6), "the SDK's own reporter takes ten seconds to end"
    (noted,) = (hands.folder / "offline" / "home" / "cache").glob("offline/*/task.json")
    script = json.loads(noted.read_text()).get("script") or {}
    assert not any(script.get(key) for key in ("diff", "repository", "entry_point")), "no source leaves the machine"
    (archive,) = (hands.folder / "offline" / "home" / "cache").glob("offline/*.zip")
    (entry,) = hands.user.call(clearml_user.import_session, archive).values()
    assert list(entry["content"].values()) == [b"1"]
    found = hands.open(experiment, "offline").find("kept", "v1.2.0")
    assert found is not None
    assert (found.pending, found.manifest) == (True, sealed.manifest)


def test_offline_many_files_wait_for_the_disk_together_and_are_there_once(
    server: ClearmlServer, tmp_path: Path
) -> None:
    """In the outbox, which the catalogue shares with them; beside them is ClearML's own zip, which waits for no disk."""
    environ = {**server.environ(tmp_path / "home"), "CLEARML_OFFLINE_MODE": "1"}
    costs = offline_costs("clearml", "clearml-offline", tmp_path / "costs", environ)
    # For the bytes and the names in the catalogue; for the manifest, and its name. Then for the names in the outbox, and the delivery.
    assert costs["delivered"] == [{"syncfs": 2, "fsync": 2}, 3.0]
    assert costs["queued"] == [{"syncfs": 1, "fsync": 2}, 0.0]
    assert (costs["shared"], costs["links to the user's"]) == (100, 0)
