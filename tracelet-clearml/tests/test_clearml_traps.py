"""Where ClearML, used as it comes, loses or mixes up what it was given: through Tracelet it does not."""

from __future__ import annotations

import gzip
import os

import pytest

from servers import clearml_user
from servers.clearml_documents import LARGEST
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import VersionConflict
from tracelet.plugin import ArtifactType, Labels


@pytest.mark.parametrize(
    "kind", [ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET], ids=lambda kind: kind.value
)
def test_short_names_are_padded_and_come_back_as_they_are(hands: Hands, kind: ArtifactType) -> None:
    """ClearML takes no project, task, model or dataset of fewer than three characters."""
    short = hands.open("e", f"short-{kind.value}")
    for name in ("a", "ab", "abc"):
        short.put(hands.samples.seal(name, {"x": name.encode()}, type=kind))
    assert {one.manifest.name for one in short.list(type=kind)} == {"a", "ab", "abc"}
    for one in short.list(type=kind):
        assert short.content(one, hands.new_folder()) == {"x": one.manifest.name.encode()}
        short.delete(one)


def test_short_parts_of_an_experiments_name_are_padded_and_stay_different(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """ClearML makes a project of each part, and takes none of fewer than three characters."""
    names = ["a/b", "a/b/c", "a", "ab", "ab/c", "a/bc", f"{experiment}/v6", f"{experiment}/v6%", "x//y", "a/%", "a%"]
    for number, name in enumerate(names):
        opened = hands.open(name, f"parts-{number % 2}")
        opened.put(hands.samples.seal("data", {"x": name.encode()}))
        opened.close()
    for name in names:
        reader = hands.open(name, "reader")
        (found,) = reader.list()
        assert reader.content(found, hands.new_folder()) == {"x": name.encode()}
    projects = {one["name"] for one in server.dump()["projects"].values()}
    assert {"a%%/b%%/c%%", "ab%/c%%", f"{experiment}/v6%", f"{experiment}/v6%25"} <= projects


@pytest.mark.parametrize("name", ["plain.gz", "table.csv.gz", "pages.tgz", "page.html.br", "notes.txt", "data.json"])
def test_packed_files_come_back_as_they_are(hands: Hands, experiment: str, name: str) -> None:
    """ClearML's file server says of some names that their bytes are encoded, and packs text for those who take it so."""
    content = gzip.compress(b"text " * 1000) if name.endswith("gz") else b"text " * 1000
    sealed = hands.samples.seal("packed", {name: content})
    hands.open(experiment).put(sealed)
    assert hands.content(hands.open(experiment, "reader"), sealed) == {name: content}


def test_files_older_than_zips_are_stored(hands: Hands, experiment: str) -> None:
    """The SDK says False, and only in a log line why."""
    opened = hands.open(experiment)
    for name, count in (("few", 2), ("many", 20)):
        sealed = hands.samples.seal(name, {f"{number}": b"%d" % number for number in range(count)})
        for source in sealed.sources.values():
            os.utime(source, (0, 0))
        opened.put(sealed)
        assert hands.content(hands.open(experiment, "reader"), sealed) == {f"{n}": b"%d" % n for n in range(count)}


def test_a_readers_cache_never_gives_old_bytes(hands: Hands, experiment: str) -> None:
    """The SDK's cache goes by the URL; and a number may be seen again when its version was deleted elsewhere."""
    opened, reader = hands.open(experiment), hands.open(experiment, "reader")
    for content in (b"first", b"second"):
        sealed = hands.samples.seal("model", {"x": content})
        stored = opened.put(sealed)
        assert hands.content(reader, sealed) == {"x": content}
        opened.delete(stored)


def test_a_handle_of_the_users_takes_nothing_back(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """Every upload of the SDK sends the handle's whole list again, with what it knew then."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("model", {"x": b"0"}))
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    for number in range(1, 3):
        hands.user.call(clearml_user.upload, task["id"], f"users-{number}")
        opened.put(hands.samples.seal("model", {"x": b"%d" % number}))
    shown = hands.user.call(clearml_user.task_artifacts, task["id"])
    assert set(shown) == {"model.v0", "model.v1", "model.v2", "users-1", "users-2"}
    assert [shown[f"model.v{number}"]["content"] for number in range(3)] == [{"x": b"%d" % n} for n in range(3)]


def test_a_put_costs_the_same_however_many_there_were(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """It sends its own entries, and never those of the puts before."""
    opened = hands.open(experiment)
    server.calls(clear=True)
    for number in range(30):
        opened.put(hands.samples.seal(f"model-{number:02}", {"x": b"%d" % number}))
    sizes = [call["size"] for call in server.calls() if call["name"] == "tasks.add_or_update_artifacts"]
    assert len(sizes) == 30
    assert max(sizes) < min(sizes) * 1.2
    opened.close()


def test_a_script_is_not_recorded(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """No source, no requirements and no arguments of the user's leave the machine."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("x", {"x": b"1"}))
    opened.close()
    (task,) = [
        one for one in server.dump()["tasks"].values() if "tracelet" in one["tags"] and experiment in one["name"]
    ]
    assert not task["script"]
    assert not task["hyperparams"]


def test_a_large_manifest_is_stored_beside_the_record(hands: Hands, experiment: str) -> None:
    """ClearML's database takes no document over 16 MB, and a list of large ones would be slow."""
    opened = hands.open(experiment)
    sealed = hands.samples.seal("wide", {"x": b"1"}, metadata={"long": "ü" * LARGEST})
    small = hands.samples.seal("small", {"x": b"1"})
    opened.put(sealed, Labels("1.0"))
    opened.put(small)
    reader = hands.open(experiment, "reader")
    found = reader.find("wide", "1.0")
    assert found is not None
    assert found.manifest == sealed.manifest
    assert {one.manifest.name for one in reader.list()} == {"wide", "small"}


def test_a_run_of_a_thousand_checkpoints_fits_into_its_task(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """An entry of the task's own list is small, whatever the artifact is: the list is one document."""
    opened = hands.open(experiment)
    files = {f"part-{number}": b"%d" % number for number in range(200)}
    opened.put(hands.samples.seal("big", files, metadata={"long": "x" * 100_000}))
    opened.close()
    (task,) = [
        one for one in server.dump()["tasks"].values() if "tracelet" in one["tags"] and experiment in one["name"]
    ]
    assert len(str(task)) < 10_000


def test_a_run_of_much_metadata_and_many_files_fits_into_its_task(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """ClearML's database takes no task over 16 MB: the entries show the first of the metadata, the manifest has all."""
    opened = hands.open(experiment)
    metadata = {f"key-{number:04}": "x" * 1000 for number in range(1000)}
    files = {f"{number:03}.png": b"%d" % number for number in range(50)}
    kinds = ((ArtifactType.IMAGE, files), (ArtifactType.CUSTOM, {"x": b"1"}), (ArtifactType.MODEL, {"x": b"1"}))
    for kind, content in kinds:
        opened.put(hands.samples.seal(kind.value, content, type=kind, metadata=metadata, description="d" * 100_000))
    few = hands.samples.seal("few", {"x": b"1"}, metadata={f"key-{number:04}": number for number in range(1000)})
    opened.put(few)
    opened.close()
    (task,) = [
        one for one in server.dump()["tasks"].values() if "tracelet" in one["tags"] and experiment in one["name"]
    ]
    assert len(str(task)) < 250_000
    shown = {one["key"]: dict(one["display_data"]) for one in task["execution"]["artifacts"]}
    assert [key for key in shown["few.v0"] if key.startswith("key-")] == [f"key-{number:04}" for number in range(50)]
    assert {one["version"] for one in shown.values()} == {"v0"}
    (model,) = [one for one in server.dump()["models"].values() if one["task"] == task["id"]]
    assert len(str(model["metadata"])) < 20_000
    found = hands.open(experiment, "reader").find("few")
    assert found is not None
    assert found.manifest == few.manifest


def test_a_datasets_version_is_never_given_twice(hands: Hands, experiment: str) -> None:
    """ClearML itself takes the same version again without a word."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("set", {"x": b"1"}, type=ArtifactType.DATASET), Labels("1.0"))
    with pytest.raises(VersionConflict):
        opened.put(hands.samples.seal("set", {"x": b"2"}, type=ArtifactType.DATASET), Labels("1.0"))
    assert hands.user.call(clearml_user.dataset, experiment, "set", "1.0")["content"] == {"x": b"1"}
    assert [one.version for one in opened.list("set")] == ["1.0"]


def test_an_alias_that_moved_often_is_found_where_it_is(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """By one short question: it is taken off the versions that it was on before."""
    opened = hands.open(experiment)
    for number in range(25):
        opened.put(hands.samples.seal("model", {"x": b"%d" % number}), Labels(None, ("best", f"n-{number}")))
    for ref, number in (("best", 24), ("n-3", 3), ("n-24", 24)):
        found = opened.find("model", ref)
        assert found is not None
        assert found.number == number
    marked = [one for one in server.dump()["tasks"].values() if ":best;" in one["name"]]
    assert len(marked) < 22


def _asked(server: ClearmlServer) -> tuple[list[str], int]:
    """What was asked of the server since the last time, but for where the projects are; and the characters it answered."""
    calls = [call for call in server.calls() if not call["name"].startswith("projects.")]
    server.calls(clear=True)
    return [call["name"] for call in calls], sum(call.get("answered", 0) for call in calls)


def test_twelve_hundred_versions_are_listed_by_page_and_found_without_a_walk(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """ClearML answers 500 at most, and the SDK's own list of tasks ends there; each page is one question by name."""
    opened = hands.open(experiment)
    first = opened.put(hands.samples.seal("many", {"x": b"1"}), Labels("first", ("best",)))
    other = opened.put(hands.samples.seal("other", {"x": b"1"}, type=ArtifactType.MODEL))
    server.ask("/__multiply", [first.locator["record"], 1198])
    server.calls(clear=True)
    listed = opened.list()
    assert len(listed) == 1200
    assert len({one.number for one in listed if one.manifest.name == "many"}) == 1199
    names, whole = _asked(server)
    assert names == ["tasks.get_all"] * 3
    refs = (("latest", 1198), ("v7", 7), ("first", 0), ("best", 0), (f"put:{first.manifest.put_id}", 0))
    for ref, number in refs:
        found = opened.find("many", ref)
        assert found is not None
        assert found.number == number
        names, answered = _asked(server)
        # A label is looked for before an alias; whether an alias is on the version now is one more question.
        assert names == ["tasks.get_all"] * len(names)
        assert len(names) <= 4
        assert answered < whole / 100
    for name, kind in (("other", None), (None, ArtifactType.MODEL)):
        assert [one.manifest for one in opened.list(name, kind)] == [other.manifest]
        names, answered = _asked(server)
        assert names == ["tasks.get_all"]
        assert answered < whole / 100
    assert opened.put(hands.samples.seal("many", {"x": b"2"})).number == 1199
    _, answered = _asked(server)
    assert answered < whole / 20
