"""Offline mode from end to end: kept here at once, on the server later, by either tool, once. Real client, stand-in server."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.offline_costs import offline_costs
from servers.wandb_server import WandbServer, wandb_server
from tracelet.exceptions import BackendError
from tracelet.plugin import ArtifactType, ForeignArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.samples import Samples
from tracelet_wandb import tracelet_backends

(SPEC,) = tracelet_backends()

LOG = """
import json
from pathlib import Path
from tracelet import ArtifactType, Experiment

Path("rows.csv").write_text("a,b\\n1,2\\n")
results = []
with Experiment({experiment!r}, backend="wandb", artifacts=True) as exp:
    for number in range(2):
        Path("w.bin").write_bytes(f"weights {{number}}".encode())
        made = exp.create_artifact("model", ArtifactType.MODEL)
        made.add_file("w.bin").add_reference("s3://bucket/data", 12)
        results.append(exp.log_artifact(made, version=f"1.{{number}}", aliases=["best"])["wandb"])
    rows = exp.create_artifact("rows", ArtifactType.SAMPLE)
    rows.add_file("rows.csv")
    results.append(exp.log_artifact(rows)["wandb"])
print(json.dumps([[one.version, one.uri, one.pending, one.created] for one in results]))
"""
READ = """
import json
from tracelet import Experiment

exp = Experiment({experiment!r}, backend="wandb", artifacts=True)
listed = [[one.name, one.version, list(one.aliases), one.pending] for one in exp.list_artifacts()]
got = exp.get_artifact("model", "best")
print(json.dumps([sorted(listed), got.open("w.bin").read().decode(), got.pending, got.uri]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("server"), current=True) as server:
        yield server


@pytest.fixture
def environ(server: WandbServer, tmp_path: Path) -> dict[str, str]:
    own = {"TRACELET_DIR": str(tmp_path / "tracelet"), "WANDB_DATA_DIR": str(tmp_path / "wandb-data")}
    return {**server.environ(tmp_path / "home"), **own}


def run(code: str, folder: Path, environ: dict[str, str], **names: str) -> Any:
    return programs.run(textwrap.dedent(code).format(**names), folder, environ)


def command(arguments: list[str], environ: dict[str, str], folder: Path, expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=programs.clean_environment(environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def tracelet_sync(environ: dict[str, str], folder: Path, expected: int = 0) -> str:
    return command(["-c", "from tracelet.cli import main; main()", "sync"], environ, folder, expected)


def wandb_sync(environ: dict[str, str], folder: Path) -> str:
    runs = sorted(str(path) for path in Path(environ["TRACELET_DIR"]).glob("wandb/offline-run-*"))
    assert runs
    return command(["-m", "wandb", "sync", *runs], environ, folder)


def copies(tmp_path: Path) -> list[Path]:
    """The files of our artifacts that the SDK keeps aside; it keeps some of its own tables, too."""
    staged = [path for path in tmp_path.glob("wandb-data/artifacts/staging/*") if path.is_file()]
    return [path for path in staged if b'"_type": "table"' not in path.read_bytes()]


def logged_offline(experiment: str, tmp_path: Path, environ: dict[str, str]) -> None:
    """Log two versions of a model and a table, offline, and see that all are there at once, marked as pending."""
    results = run(LOG, tmp_path / "writer", {**environ, "WANDB_MODE": "offline"}, experiment=experiment)
    assert [(version, pending, created) for version, _, pending, created in results] == [
        ("1.0", True, True),
        ("1.1", True, True),
        ("v0", True, True),
    ]
    assert all(uri.startswith("wandb-offline://") for _, uri, _, _ in results)
    listed, content, pending, uri = run(
        READ, tmp_path / "reader", {**environ, "WANDB_MODE": "offline"}, experiment=experiment
    )
    assert listed == [["model", "1.0", [], True], ["model", "1.1", ["best"], True], ["rows", "v0", [], True]]
    assert (content, pending) == ("weights 1", True)
    assert uri.startswith("wandb-offline://")


def on_the_server(experiment: str, tmp_path: Path, environ: dict[str, str]) -> None:
    """Another machine sees each artifact once, with its names, and no longer pending."""
    elsewhere = {**environ, "TRACELET_DIR": str(tmp_path / "elsewhere"), "WANDB_CACHE_DIR": str(tmp_path / "no-cache")}
    listed, content, pending, uri = run(READ, tmp_path / "other", elsewhere, experiment=experiment)
    assert listed == [["model", "1.0", [], False], ["model", "1.1", ["best"], False], ["rows", "v0", [], False]]
    assert (content, pending) == ("weights 1", False)
    assert uri == f"wandb://somebody/{experiment}/model:v1"


def test_nothing_is_sent_while_offline(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """Not even a question whether the server is there."""
    before = len(server.look()["log"])
    logged_offline("silence", tmp_path, environ)
    assert len(server.look()["log"]) == before


def test_tracelets_sync_delivers_and_wandbs_sync_adds_nothing(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The offline run is marked as sent, and the copies that the SDK kept for it are gone."""
    logged_offline("ours-first", tmp_path, environ)
    assert copies(tmp_path)
    tracelet_sync(environ, tmp_path)
    on_the_server("ours-first", tmp_path, environ)
    assert not copies(tmp_path)
    before = server.project("ours-first")["collections"]
    wandb_sync(environ, tmp_path)
    assert server.project("ours-first")["collections"] == before


def test_wandbs_sync_delivers_and_tracelets_sync_adds_nothing(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """What the SDK's own tool sent is Tracelet's artifact, whole; its delivery is found to be made."""
    logged_offline("theirs-first", tmp_path, environ)
    wandb_sync(environ, tmp_path)
    on_the_server("theirs-first", tmp_path, environ)
    before = server.project("theirs-first")["collections"]
    tracelet_sync(environ, tmp_path)
    after = server.project("theirs-first")["collections"]
    assert {name: len(one["versions"]) for name, one in after.items()} == {
        name: len(one["versions"]) for name, one in before.items()
    }
    assert not list((Path(environ["TRACELET_DIR"]) / "outbox").rglob("*.json"))
    on_the_server("theirs-first", tmp_path, environ)


def test_the_next_run_that_is_online_delivers(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """Without any command; and what was delivered is not pending any more, also when offline again."""
    logged_offline("next-run", tmp_path, environ)
    online = """
    import json
    from tracelet import Experiment

    with Experiment({experiment!r}, backend="wandb", artifacts=True) as exp:
        left = exp.flush(600)
    print(json.dumps(left))
    """
    assert run(online, tmp_path / "online", environ, experiment="next-run") == 0
    on_the_server("next-run", tmp_path, environ)
    listing = """
    import json
    from tracelet import Experiment

    print(json.dumps([one.name for one in Experiment({experiment!r}, backend="wandb", artifacts=True).list_artifacts()]))
    """
    assert run(listing, tmp_path / "offline", {**environ, "WANDB_MODE": "offline"}, experiment="next-run") == []


def test_a_sync_while_still_offline_leaves_everything_waiting(environ: dict[str, str], tmp_path: Path) -> None:
    """It says so, and loses nothing."""
    logged_offline("still", tmp_path, environ)
    told = tracelet_sync({**environ, "WANDB_MODE": "offline"}, tmp_path, expected=1)
    assert "online" in told
    assert len(list((Path(environ["TRACELET_DIR"]) / "outbox").rglob("*.json"))) == 3


def test_tracelets_sync_delivers_what_wandbs_own_sync_lost(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The SDK's copies are gone: its sync says that all was well and sends no artifact; ours sends all of them."""
    logged_offline("copies-gone", tmp_path, environ)
    for copy in copies(tmp_path):
        copy.unlink()
    wandb_sync(environ, tmp_path)
    versions = [one for each in server.project("copies-gone")["collections"].values() for one in each["versions"]]
    assert not [one for one in versions if one["state"] == "COMMITTED" and "tracelet.json" in one["contents"]]
    tracelet_sync(environ, tmp_path)
    on_the_server("copies-gone", tmp_path, environ)


def test_a_kill_right_after_an_offline_log_loses_nothing(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """W&B writes its offline run from time to time: whatever is in it by then, Tracelet's own sync delivers."""
    code = """
    import os, signal
    from pathlib import Path
    from tracelet import ArtifactType, Experiment

    Path("w.bin").write_bytes(b"weights")
    exp = Experiment("killed", backend="wandb", artifacts=True).start()
    assert exp.log_artifact(exp.create_artifact("model", ArtifactType.MODEL).add_file("w.bin"))["wandb"].pending
    mark = f"HOME={{os.environ['HOME']}}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            pass
    os.kill(os.getpid(), signal.SIGKILL)
    """
    program = textwrap.dedent(code).format()
    killed = programs.begin(program, tmp_path / "killed", {**environ, "WANDB_MODE": "offline"})
    _, err = killed.communicate(timeout=1200)
    assert killed.returncode == -9, err
    tracelet_sync(environ, tmp_path)
    (version,) = server.project("killed")["collections"]["model"]["versions"]
    assert (version["state"], sorted(version["contents"])) == ("COMMITTED", ["tracelet.json", "w.bin"])


@pytest.mark.parametrize("online", [False, True], ids=["while offline", "when online"])
def test_a_kill_between_the_catalogue_and_the_outbox_is_made_good(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, online: bool
) -> None:
    """The version is listed, and waits for a delivery that nobody has noted: the next one who syncs notes it."""
    code = f"""
    import os, signal
    from pathlib import Path
    from tracelet import ArtifactType, Experiment
    from tracelet.core.delivery.outbox import Outbox

    Outbox.add = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
    Path("w.bin").write_bytes(b"weights")
    exp = Experiment("between-{online}", backend="wandb", artifacts=True).start()
    exp.log_artifact(exp.create_artifact("model", ArtifactType.MODEL).add_file("w.bin"))
    """
    offline = {**environ, "WANDB_MODE": "offline"}
    killed = programs.begin(textwrap.dedent(code), tmp_path / "killed", offline)
    _, err = killed.communicate(timeout=1200)
    assert killed.returncode == -9, err
    if not online:
        tracelet_sync(offline, tmp_path, expected=1)
    tracelet_sync(environ, tmp_path)
    (version,) = server.project(f"between-{online}")["collections"]["model"]["versions"]
    assert (version["state"], sorted(version["contents"])) == ("COMMITTED", ["tracelet.json", "w.bin"])


def test_what_is_deleted_while_it_waits_is_not_sent_and_leaves_no_copies(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Not by ``wandb sync`` either, which sends what is left of the same run."""
    driver = Driver(tmp_path / "program", {**environ, "WANDB_MODE": "offline"}, SPEC.environ)
    samples = Samples(tmp_path / "samples")
    opened = BackendProcess(driver, "one", "wandb", "withdrawn", Path(environ["TRACELET_DIR"]))
    kept = opened.put(samples.seal("kept", {"x": b"kept"}))
    gone = opened.put(samples.seal("gone", {"x": b"gone", "y": b"gone, too"}))
    before = sum(path.stat().st_size for path in copies(tmp_path))
    (freed,) = opened.delete_many(gone)
    assert [one.manifest.name for one in opened.list()] == ["kept"]
    # The catalogue's bytes are the outbox's, too; the SDK has copies of its own.
    assert freed == before - sum(path.stat().st_size for path in copies(tmp_path))
    assert {path.read_bytes() for path in copies(tmp_path)} == {b"kept", kept.manifest.to_json().encode()}
    opened.close()
    driver.close()
    wandb_sync(environ, tmp_path)
    collections = server.project("withdrawn")["collections"]
    states = {name: [one["state"] for one in known["versions"]] for name, known in collections.items()}
    # W&B's client begins the other one, and cannot complete it without its files.
    assert states == {"kept": ["COMMITTED"], "gone": ["PENDING"]}


def test_many_files_wait_for_the_disk_together_and_are_there_once(environ: dict[str, str], tmp_path: Path) -> None:
    """In the outbox, which the catalogue shares with them; beside them are W&B's own copies, which wait for no disk."""
    costs = offline_costs("wandb", "wandb/offline", tmp_path / "costs", {**environ, "WANDB_MODE": "offline"})
    # For the bytes and the names in the catalogue; for the manifest, and its name. Then for the names in the outbox, and the delivery.
    assert costs["delivered"] == [{"syncfs": 2, "fsync": 2}, 2.0]
    assert costs["queued"] == [{"syncfs": 1, "fsync": 2}, 0.0]
    assert (costs["shared"], costs["links to the user's"]) == (100, 0)


def test_what_was_logged_without_tracelet_is_asked_of_the_server_alone(environ: dict[str, str], tmp_path: Path) -> None:
    """Who is offline is told so."""
    driver = Driver(tmp_path / "program", {**environ, "WANDB_MODE": "offline"}, SPEC.environ)
    opened = BackendProcess(driver, "one", "wandb", "quiet", Path(environ["TRACELET_DIR"]))
    found = ForeignArtifact(address="wandb://x", name="x", type=ArtifactType.MODEL, kind="model", created_at=0)
    with pytest.raises(BackendError, match=r"W&B is offline here.*unset WANDB_MODE"):
        opened.discover("somebody/study")
    with pytest.raises(BackendError, match="W&B is offline here"):
        opened.foreign_content(found, tmp_path / "found")
    driver.close()
