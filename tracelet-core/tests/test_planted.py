"""A tracelet directory that came from elsewhere: what somebody planted in it reads, writes and deletes nothing outside."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commanding import OLD, age, leave_drafts, run
from making import write

from tracelet import ConfigError, Experiment, IntegrityError
from tracelet.core.capture.journal import Head, Journal, Kept
from tracelet.core.delivery.drafts import seal_draft
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.plugins.detector import Detection
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.system.links import check_tree
from tracelet.core.system.processes import ProcessId, current

DEAD = ProcessId(current().host, 2**22 + 1, "1")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracelet directory with two drafts of a killed process."""
    return leave_drafts(tmp_path_factory.mktemp("killed"), loot="mine", other="harmless")


@pytest.fixture
def directory(left: Path, home: Path) -> Path:
    """The same, brought to where the user is."""
    return Path(shutil.copytree(left, home / ".tracelet"))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What is the user's own, and nobody has touched for a month."""
    write(tmp_path / "victim" / "photos" / "a.jpg", "irreplaceable")
    write(tmp_path / "victim" / "key", "PRIVATE")
    age(tmp_path / "victim")
    return tmp_path / "victim"


@pytest.fixture(autouse=True)
def untouched(victim: Path, home: Path) -> Any:
    """Whatever was planted: the user's own files are all there, nothing is added to them, and nothing copied from them."""
    before = look(victim)
    yield
    assert look(victim) == before
    copies = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in copies if b"PRIVATE" in path.read_bytes() or b"irreplaceable" in path.read_bytes()] == []


def look(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def draft_of(directory: Path, name: str) -> Path:
    (path,) = (directory / "outbox" / "trials" / "~drafts").glob(f"*~{name}.json")
    return path


def deliveries(directory: Path) -> None:
    """Make the drafts deliveries that wait."""
    outbox = Outbox(directory)
    for path in outbox.drafts.files():
        assert [*seal_draft(path, outbox, outbox.store, None)]


def delivery_of(directory: Path, name: str) -> Path:
    (path,) = (directory / "outbox" / "trials" / "local").glob(f"*~{name}.json")
    return path


def change(path: Path, alter: Callable[[Any], Any]) -> None:
    """Plant other words in a file of the outbox."""
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(alter(plain) or plain))


def stored() -> list[str]:
    return sorted(one.name for one in Experiment("trials", artifacts=True).list_artifacts())


def outside(plain: Any, victim: Path) -> Any:
    """Every absolute path of a document is one of the victim's."""
    if isinstance(plain, dict):
        return {key: outside(item, victim) for key, item in plain.items()}
    if isinstance(plain, list):
        return [outside(item, victim) for item in plain]
    if isinstance(plain, str) and plain.startswith("/"):
        return str(victim / "photos") if Path(plain).suffix == "" and "~" in Path(plain).name else str(victim / "key")
    return plain


# -- drafts


def test_what_a_killed_process_left_is_delivered_wherever_its_directory_is_now(directory: Path) -> None:
    assert "2 delivered, 0 left, 0 refused" in run("sync")
    assert stored() == ["loot", "other"]


DRAFTS: dict[str, Callable[[Any, Path], Any]] = {
    "all paths": outside,
    "its files": lambda plain, victim: plain["draft"]["sources"].update({"loot.txt": str(victim / "key")}),
    "its folder": lambda plain, victim: plain["draft"].update(staging=str(victim)),
    "its folder and files": lambda plain, victim: plain["draft"].update(
        staging=str(victim), sources={"loot.txt": str(victim / "key")}
    ),
    "a way up": lambda plain, victim: plain["draft"]["sources"].update(
        {"loot.txt": plain["draft"]["staging"] + "/../../../../victim/key"}
    ),
    "its folder itself": lambda plain, victim: plain["draft"]["sources"].update(
        {"loot.txt": plain["draft"]["staging"]}
    ),
    "its rendering": lambda plain, victim: plain["draft"].update(rendered={"local": str(victim)}),
    "no files": lambda plain, victim: plain["draft"].update(sources={}),
    "a backend": lambda plain, victim: plain.update(targets={"../../../../victim": {}}),
    "an experiment": lambda plain, victim: plain["run"].update(experiment="../../victim"),
    "an experiment that is no text": lambda plain, victim: plain["run"].update(experiment="\ud800"),
    "a file that no system has": lambda plain, victim: plain["draft"]["sources"].update(
        {"loot.txt": plain["draft"]["staging"] + "/files/\0"}
    ),
    "a file of no encoding": lambda plain, victim: plain["draft"]["sources"].update(
        {"loot.txt": plain["draft"]["staging"] + "/files/\ud800"}
    ),
    "a run": lambda plain, victim: plain["run"].update(id="../../victim"),
    "a put": lambda plain, victim: plain["draft"]["manifest"].update(put_id="another"),
    "a session": lambda plain, victim: plain.update(session="../../../../victim/key"),
    "no object": lambda plain, victim: [plain],
}


@pytest.mark.parametrize("planted", DRAFTS)
def test_a_draft_names_only_what_is_its_own(directory: Path, victim: Path, planted: str) -> None:
    path = draft_of(directory, "loot")
    change(path, lambda plain: DRAFTS[planted](plain, victim))
    told = run("sync", code=1)
    (line,) = [line for line in told.splitlines() if "loot" in line]
    assert str(path.with_suffix("")) in line
    assert stored() == ["other"]
    assert "a delivery of 'loot' of 'trials' is damaged, and is not made" in run("doctor", code=1)


def test_a_draft_that_nests_for_ever_is_one_that_cannot_be_read(directory: Path) -> None:
    draft_of(directory, "loot").write_text("[" * 100_000)
    run("sync", code=1)
    assert stored() == ["other"]


@pytest.mark.parametrize("name", ["x.json", f"{'9' * 5000}"[:200] + "~put~x.json"])
def test_a_file_whose_name_is_none_of_a_draft_is_told_of(directory: Path, name: str) -> None:
    shutil.copy(draft_of(directory, "loot"), directory / "outbox" / "trials" / "~drafts" / name)
    run("sync", code=1)
    assert stored() == ["loot", "other"]


def test_a_start_warns_of_a_draft_that_is_planted_and_goes_on_with_the_others(
    directory: Path, victim: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(draft_of(directory, "loot"), lambda plain: DRAFTS["its files"](plain, victim))
    with Experiment("trials", artifacts=True):
        pass
    assert caplog.text.count("names a place that is not its own") == 1
    assert stored() == ["other"]


@pytest.mark.parametrize("place", ["a file", "the folder of files", "the staging folder"])
def test_a_snapshot_that_is_a_link_is_not_delivered(directory: Path, victim: Path, place: str) -> None:
    source = next((directory / "staging").glob("*/files/0"))
    for file in (directory / "staging").glob("*/files/0"):
        source = file if file.read_text() == "mine" else source
    target = {"a file": source, "the folder of files": source.parent, "the staging folder": source.parent.parent}[place]
    shutil.move(target, victim.parent / "moved")
    target.symlink_to(victim / "key" if place == "a file" else victim.parent / "moved")
    assert "what is a link, or lies behind one" in run("sync", code=1)
    assert stored() == ["other"]


def test_a_rendering_that_holds_a_link_is_not_delivered_with_its_draft(directory: Path, victim: Path) -> None:
    path = draft_of(directory, "loot")
    folder = Path(json.loads(path.read_text())["draft"]["staging"])
    change(path, lambda plain: plain["draft"].update(rendered={"local": str(folder / "rendered" / "local")}))
    (directory / "staging" / folder.name / "rendered" / "local").mkdir(parents=True)
    (directory / "staging" / folder.name / "rendered" / "local" / "a.txt").symlink_to(victim / "key")
    assert "what is a link, or lies behind one" in run("sync", code=1)
    assert stored() == ["other"]


# -- deliveries


DELIVERIES: dict[str, Callable[[Any], Any]] = {
    "a backend": lambda plain: plain.update(backend="../../../../victim"),
    "another backend": lambda plain: plain.update(backend="mlflow"),
    "an experiment": lambda plain: plain["run"].update(experiment="../../victim"),
    "a run": lambda plain: plain["run"].update(id="../../victim"),
    "an experiment that is no text": lambda plain: plain["run"].update(experiment="\ud800"),
    "no experiment": lambda plain: plain["run"].update(experiment=None),
    "an order": lambda plain: plain.update(order=10**30),
    "no order": lambda plain: plain.update(order=None, queued_at=1e999),
    "a put": lambda plain: plain["manifest"].update(put_id="another"),
    "no hash": lambda plain: plain["manifest"]["files"][0].update(sha256=None),
}


@pytest.mark.parametrize("planted", DELIVERIES)
def test_a_delivery_says_what_its_place_says(directory: Path, planted: str) -> None:
    deliveries(directory)
    path = delivery_of(directory, "loot")
    change(path, DELIVERIES[planted])
    assert str(path) in run("sync", code=1)
    assert stored() == ["other"]
    with Experiment("trials", artifacts=True):
        pass
    assert path.with_suffix(".damaged").exists()
    assert "a delivery of 'loot' of 'trials' is damaged, and is not made" in run("doctor", code=1)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_delivery_that_is_no_file_is_neither_read_nor_waited_for(directory: Path, victim: Path, kind: str) -> None:
    deliveries(directory)
    path = delivery_of(directory, "loot")
    path.rename(victim.parent / "moved.json")
    path.symlink_to(victim.parent / "moved.json") if kind == "link" else os.mkfifo(path)
    assert "is a link, or no regular file" in run("sync", code=1)
    assert stored() == ["other"]


def test_bytes_that_are_a_link_are_not_delivered(directory: Path, victim: Path) -> None:
    deliveries(directory)
    for blob in (directory / "objects" / "sha256").glob("*/*"):
        if blob.read_text() == "mine":
            blob.rename(victim.parent / "moved")
            blob.symlink_to(victim.parent / "moved")
    assert "is a link, and Tracelet follows none in its own folders" in run("sync", code=1)
    assert stored() == ["other"]


@pytest.mark.parametrize("inside", ["", "a.txt"])
def test_a_rendering_that_is_a_link_is_not_delivered(directory: Path, victim: Path, inside: str) -> None:
    deliveries(directory)
    place = delivery_of(directory, "loot").with_suffix(".rendered") / inside
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim / ("key" if inside else "photos"))
    assert "is a link, or no regular file" in run("sync", code=1)
    assert stored() == ["other"]


# -- captures


def capture(directory: Path, victim: Path, **planted: Any) -> Path:
    """What a dead process captured: one file, and what somebody planted about it."""
    folder = directory / "staging" / "abc~1~1~host"
    head = Head(
        owner=DEAD,
        run=RunInfo("run", "trials", 1.0),
        backends=["local"],
        routing="by-type",
        folder=planted.get("folder", folder),
    )
    journal = Journal.begun(directory, head)
    journal.open()
    detection = Detection(path=planted.get("path", Path("/data/seen.txt")), name="seen")
    journal.kept(Kept(planted.get("number", 0), "/data/seen.txt", detection))
    journal.let_go()
    write(folder / "0", "captured")
    return folder


def test_what_a_dead_process_captured_is_delivered_from_its_own_folder(directory: Path, victim: Path) -> None:
    capture(directory, victim)
    run("sync")
    assert stored() == ["loot", "other", "seen"]


@pytest.mark.parametrize(
    "planted",
    [
        {"folder": Path("/victim")},
        {"folder": Path("/a~b/..")},
        {"number": "../../../../victim/key"},
        {"path": Path("/data/..")},
        {"path": Path("/")},
    ],
    ids=str,
)
def test_captures_name_only_what_is_their_own(directory: Path, victim: Path, planted: dict[str, Any]) -> None:
    capture(directory, victim, **planted)
    run("sync")
    assert stored() == ["loot", "other"]


@pytest.mark.parametrize("place", ["the snapshot", "in the snapshot", "the folder"])
def test_a_capture_that_is_a_link_is_not_delivered(directory: Path, victim: Path, place: str) -> None:
    folder = capture(directory, victim)
    if place == "the folder":
        shutil.rmtree(folder)
        folder.symlink_to(victim.parent / "captured")
        write(victim.parent / "captured" / "0", "captured elsewhere")
    elif place == "the snapshot":
        (folder / "0").unlink()
        (folder / "0").symlink_to(victim)
    else:
        (folder / "0").unlink()
        (folder / "0").mkdir()
        (folder / "0" / "a.txt").symlink_to(victim / "key")
    run("sync")
    assert stored() == ["loot", "other"]


def test_a_line_that_nests_for_ever_costs_itself_alone(directory: Path, victim: Path) -> None:
    capture(directory, victim)
    (journal,) = (directory / "captured").rglob("*.jsonl")
    with journal.open("a") as stream:
        stream.write("[" * 100_000 + "\n")
    run("sync")
    assert stored() == ["loot", "other", "seen"]


@pytest.mark.parametrize("planted", ["[" * 100_000, "{}", '{"owner": 1e999}'], ids=["deep", "empty", "infinite"])
def test_a_note_of_a_put_that_is_none_is_passed_over(directory: Path, planted: str) -> None:
    write(directory / "puts" / "trials" / "0~put~bad.json", planted)
    run("sync")
    assert stored() == ["loot", "other"]


def test_a_journal_that_is_a_link_is_not_read(directory: Path, victim: Path) -> None:
    capture(directory, victim)
    (journal,) = (directory / "captured").rglob("*.jsonl")
    journal.rename(victim.parent / "moved.jsonl")
    journal.symlink_to(victim.parent / "moved.jsonl")
    run("sync")
    assert stored() == ["loot", "other"]


# -- links among Tracelet's own folders


@pytest.mark.parametrize(
    "place",
    [
        *("outbox", "objects", "staging", "local", "captured", "refs", "lanes", "uses", "downloads", "clock"),
        *("outbox/trials", "outbox/trials/local", "captured/trials", "uses/trials/local"),
    ],
)
def test_a_folder_of_tracelets_that_is_a_link_is_followed_by_nobody(directory: Path, victim: Path, place: str) -> None:
    link = directory / place
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim)
    for command in ("gc", "sync", "doctor"):
        assert f"{link} is a link" in run(command, code=1 if command == "doctor" else 2)
    with pytest.raises(ConfigError, match="is a link, and Tracelet follows none"):
        Experiment("trials", artifacts=True)


@pytest.mark.parametrize("place", ["objects/sha256", "objects/sha256/ab", "staging/old", "downloads/old", "refs/abc"])
def test_garbage_is_collected_through_no_link(directory: Path, victim: Path, place: str) -> None:
    for name in ("ab", f"ab/ab{'0' * 62}", f"ab{'0' * 62}", "project/x"):
        if not (victim / name).is_dir():
            write(victim / name / "file" if name == "ab" else victim / name, "thesis")
    age(victim)
    before = look(victim)
    shutil.rmtree(directory / place, ignore_errors=True)
    (directory / place).parent.mkdir(parents=True, exist_ok=True)
    (directory / place).symlink_to(victim)
    os.utime(directory / place, (OLD, OLD), follow_symlinks=False)
    run("gc")
    assert look(victim) == before
    for path in victim.iterdir():
        if path.name not in {"photos", "key"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_garbage_that_is_no_file_stops_nobody(directory: Path, victim: Path) -> None:
    drafts, blobs = directory / "outbox" / "trials" / "~drafts", directory / "objects" / "sha256" / "ab"
    (drafts / ".loop.tmp").symlink_to(".loop.tmp")
    (drafts / ".key.tmp").symlink_to(victim / "key")
    os.mkfifo(drafts / ".pipe.tmp")
    (blobs / ("ab" + "0" * 62)).mkdir(parents=True)
    write(drafts / ".old.tmp", "rest")
    age(directory / "outbox")
    age(directory / "objects")
    run("gc")
    assert list(drafts.glob(".*.tmp")) == []


def test_a_tracelet_directory_may_be_a_link_itself(directory: Path, tmp_path: Path) -> None:
    directory.rename(tmp_path / "scratch")
    directory.symlink_to(tmp_path / "scratch")
    assert "2 delivered" in run("sync")
    run("gc")
    assert stored() == ["loot", "other"]


# -- what is stored


def test_a_version_whose_bytes_are_a_link_is_not_read(directory: Path, victim: Path) -> None:
    run("sync")
    for blob in (directory / "local" / "blobs" / "sha256").glob("*/*"):
        if blob.read_text() == "mine":
            blob.rename(victim.parent / "moved")
            blob.symlink_to(victim.parent / "moved")
    exp = Experiment("trials", artifacts=True)
    assert exp.get_artifact("other").download()
    with pytest.raises(IntegrityError, match="is a link"):
        exp.get_artifact("loot").download()


def test_a_version_that_is_a_link_is_told_of_and_hides_no_other(directory: Path, victim: Path) -> None:
    run("sync")
    (manifest,) = (directory / "local" / "trials" / "versions" / "loot").iterdir()
    manifest.rename(victim.parent / "moved.json")
    manifest.symlink_to(victim.parent / "moved.json")
    with pytest.raises(IntegrityError, match="is a link") as told:
        stored()
    assert [one.name for one in told.value.answers] == ["other"]


def test_a_version_that_is_a_pipe_is_told_of_waited_for_by_nobody_and_hides_no_other(directory: Path) -> None:
    run("sync")
    (manifest,) = (directory / "local" / "trials" / "versions" / "loot").iterdir()
    manifest.unlink()
    os.mkfifo(manifest)
    with pytest.raises(IntegrityError, match="is no regular file: delete it") as told:
        stored()
    assert [one.name for one in told.value.answers] == ["other"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
@pytest.mark.parametrize("place", ["latest/loot", "aliases/loot/best"])
def test_a_note_of_the_catalogue_that_is_no_file_is_waited_for_by_nobody(
    directory: Path, place: str, make: Callable[[Path], None]
) -> None:
    run("sync")
    note = directory / "local" / "trials" / place
    note.unlink(missing_ok=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    make(note)
    exp = Experiment("trials", artifacts=True)
    with pytest.raises(IntegrityError, match="is no regular file: delete it"):
        exp.get_artifact("loot", "latest" if "latest" in place else "best")
    assert exp.get_artifact("other").download()


def test_a_download_goes_through_no_link(directory: Path, victim: Path) -> None:
    run("sync")
    loot = Experiment("trials", artifacts=True).get_artifact("loot")
    folder = loot.download()
    shutil.rmtree(folder)
    folder.symlink_to(victim)
    with pytest.raises(IntegrityError, match="is a link"):
        loot.download()


def test_nothing_holds_no_link(tmp_path: Path) -> None:
    assert check_tree(tmp_path / "gone") == tmp_path / "gone"
