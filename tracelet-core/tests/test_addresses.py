"""Credentials go where the user's own programs have been set to, and not where a file of the outbox says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import run
from watching import Scripted

from tracelet import ArtifactType, Experiment, TraceletArtifact
from tracelet.core.artifacts.plain import converter
from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.puts import note_put
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import BackendUnavailable
from tracelet.settings import NoSettings, state_folder

Make = Callable[..., Experiment]
DEAD = ProcessId(current().host, 2**22 + 1, "1")


def artifact(name: str) -> TraceletArtifact:
    Path(f"{name}.txt").write_text(name)
    return TraceletArtifact(name, ArtifactType.CONFIG).add_file(f"{name}.txt")


@pytest.fixture
def here(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The tracker that the user's own SDK is set to; each test has a state folder of its own."""
    place = Scripted(tmp_path / "here")
    place.place.mkdir()
    monkeypatch.setenv("TOLD_PLACE", str(place.place))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return place


@pytest.fixture
def planted(here: Scripted, experiment: Make, tmp_path: Path, home: Path) -> Scripted:
    """Two deliveries wait, and somebody has written another address into one of them."""
    here.told(put="away")
    exp = experiment("scripted-told")
    for name in ("loot", "other"):
        exp.log_artifact(artifact(name))
    exp.stop()
    here.told()
    there = Scripted(tmp_path / "there")
    (path,) = (home / ".tracelet" / "outbox").rglob("*~loot.json")
    plain = json.loads(path.read_text())
    plain["sdk"]["place"] = str(there.place)
    path.write_text(json.dumps(plain))
    return there


def stored(experiment: Make) -> list[str]:
    return sorted(one.name for one in experiment("scripted-told").list_artifacts())


def test_sync_sends_nothing_to_an_address_that_no_program_of_the_users_was_set_to(
    planted: Scripted, experiment: Make
) -> None:
    told = run("sync", code=1)
    (line,) = [line for line in told.splitlines() if "loot" in line]
    assert f"{str(planted.place)!r}, which no program of yours was set to" in line
    assert "sync --trust-addresses" in line
    assert not planted.place.exists()
    assert stored(experiment) == ["other"]


def test_doctor_tells_of_it(planted: Scripted) -> None:
    told = run("doctor", "--backend", "local")
    assert "deliveries such as 'loot' of 'trials' to scripted-told wait" in told
    assert "sync --trust-addresses" in told


def test_who_trusts_the_address_sends_it(planted: Scripted, experiment: Make) -> None:
    assert "2 delivered, 0 left, 0 refused" in run("sync", "--trust-addresses")
    assert planted.place.exists()
    assert stored(experiment) == ["other"]


def test_a_run_warns_of_it_once_and_holds_up_nothing_of_the_same_name(
    planted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment("scripted-told").start()
    exp.submit_artifact(artifact("loot")).result(60)
    assert exp.log_artifact(artifact("loot")).ok
    exp.stop()
    assert caplog.text.count("which no program of yours was set to") == 1
    assert not planted.place.exists()
    assert stored(experiment) == ["loot", "other"]


def test_a_draft_that_names_it_waits_too(here: Scripted, experiment: Make, tmp_path: Path, home: Path) -> None:
    exp = experiment("scripted-told").start()
    exp._artifact_manager._process.sealer.add = lambda path: None  # type: ignore[method-assign]
    exp.submit_artifact(artifact("loot"))
    exp.stop()
    (path,) = Outbox(home / ".tracelet").drafts.files()
    plain = json.loads(path.read_text())
    plain["targets"]["scripted-told"]["place"] = str(tmp_path / "there")
    plain["owner"] = converter().unstructure(DEAD)
    path.write_text(json.dumps(plain))
    with experiment("scripted-told") as later:
        assert later.flush(30) == 1
    assert "which no program of yours was set to" in run("sync", code=1)
    assert not (tmp_path / "there").exists()


def test_a_put_that_names_it_is_not_completed(planted: Scripted, home: Path) -> None:
    directory = home / ".tracelet"
    (parcel,) = [one for one in Outbox(directory).everything() if one.manifest.name == "loot"]
    note = note_put(directory, {"scripted-told": parcel, "local": attrs.evolve(parcel, backend="local", sdk={})})
    Outbox(directory).done(parcel)
    plain = json.loads(note.read_text())
    plain["owner"] = converter().unstructure(DEAD)
    note.write_text(json.dumps(plain))
    assert "which no program of yours was set to" in run("sync", code=1)
    assert not planted.place.exists()


def test_a_put_that_names_a_way_up_as_its_backend_is_passed_over(planted: Scripted, home: Path, tmp_path: Path) -> None:
    directory = home / ".tracelet"
    parcel = next(iter(Outbox(directory).everything()))
    note = note_put(directory, {"scripted-told": parcel})
    plain = json.loads(note.read_text())
    plain |= {"owner": converter().unstructure(DEAD), "targets": {"../../../way-up": {}}}
    note.write_text(json.dumps(plain))
    run("sync", code=1)
    assert note.exists()
    assert not (home / "way-up").exists()


def test_what_the_users_own_program_was_set_to_is_known_to_every_later_one(
    here: Scripted, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.told(put="away")
    exp = experiment("scripted-told")
    exp.log_artifact(artifact("thing"))
    exp.stop()
    here.told()
    monkeypatch.setenv("TOLD_PLACE", str(tmp_path / "second"))
    assert "1 delivered, 0 left, 0 refused" in run("sync")
    monkeypatch.setenv("TOLD_PLACE", str(here.place))
    assert stored(experiment) == ["thing"]


def test_where_nothing_can_be_remembered_what_is_for_the_address_of_now_goes(
    here: Scripted, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    here.told(put="away")
    exp = experiment("scripted-told")
    exp.log_artifact(artifact("thing"))
    exp.stop()
    here.told()
    assert "1 delivered, 0 left, 0 refused" in run("sync")


@attrs.frozen
class Set:
    uri: str = "http://mine"


@pytest.mark.parametrize(
    "sdk",
    [
        {"uri": "http://mine"},
        {"uri": "http://me@host"},
        {"run": "0123abcd", "since": 12.5, "process": "host.domain 17 1764300000.5", "offline": None},
        {"runs": [{"uri": ""}]},
    ],
    ids=str,
)
def test_what_names_no_other_address_is_ones_own(here: Scripted, sdk: dict[str, Any]) -> None:
    Addresses({"uri": "http://me:secret@host"}, Set()).check(sdk)


@pytest.mark.parametrize(
    "there",
    [
        "http://other",
        "https://mine",
        "sqlite:////home/me/mlflow.db",
        "/home/me/.aim",
        "evil.example",
        "evil:5000",
        "C:\\x",
    ],
)
@pytest.mark.parametrize(
    "where", [lambda text: text, lambda text: [text], lambda text: {"deep": {"er": text}}], ids=["text", "list", "deep"]
)
def test_any_other_address_wherever_it_stands_is_not(here: Scripted, there: str, where: Callable[[str], Any]) -> None:
    with pytest.raises(BackendUnavailable, match="which no program of yours was set to"):
        Addresses({}, Set()).check({"host": where(there)})


@pytest.mark.parametrize(
    "planted",
    ["https://me:hunter2@evil.example/x", "me:hunter2@evil.example/x", "evil.example/x?token=hunter2", "a.b" * 90_000],
)
def test_an_address_is_told_without_its_secrets_and_not_at_length(here: Scripted, planted: str) -> None:
    with pytest.raises(BackendUnavailable, match="which no program of yours was set to") as told:
        Addresses({}, Set()).check({"host": planted})
    assert "hunter2" not in str(told.value)
    assert len(str(told.value)) < 500


def test_who_has_no_home_remembers_nothing(here: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert state_folder() == Path("/home/me/.local/state/tracelet")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "nowhere")
    assert state_folder() is None
    own = Addresses({"uri": "http://other"}, NoSettings())
    own.note()
    own.check({"uri": "http://other"})
    with pytest.raises(BackendUnavailable):
        own.check({"uri": "http://another"})


@pytest.mark.parametrize("text", ["/" * 300_000 + " ", "a.b" * 100_000 + "\n", ":" * 300_000])
def test_a_long_text_is_looked_at_once(text: str) -> None:
    with pytest.raises(BackendUnavailable) if " " not in text and "\n" not in text else contextlib.nullcontext():
        Addresses({}, NoSettings()).check({"note": text})
