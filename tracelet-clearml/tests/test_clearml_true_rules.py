"""What ClearML's own server does that its users hardly see: nothing of it keeps an artifact from being stored, or leaves a mess."""

from __future__ import annotations

import time
from typing import Any

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import ArtifactError, BackendAuthError, BackendError, BackendUnavailable, VersionConflict
from tracelet.plugin import ArtifactType, Labels
from tracelet.testing.driver import DriverDied

#: Kinds that are stored in different ways.
KINDS = (ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
#: Keys that mean something to ClearML's database, or nothing at all.
ODD = ["type", "key", "value", "S", "$x", "a__b", "_", "", " ", "a.b", "%2E", "version", "x" * 300, "ü", "__$all", "-x"]


def _left(server: ClearmlServer, before: dict[str, Any]) -> dict[str, list[str]]:
    """What is in the database by now, but for records; and the files."""
    now = server.dump()
    hidden = {one["id"] for one in now["projects"].values() if one["name"].endswith("/.tracelet")}
    found = {
        kind: [
            one["name"] for key, one in now[kind].items() if key not in before[kind] and one["project"] not in hidden
        ]
        for kind in ("tasks", "models")
    }
    return {**found, "files": [path.name for path in server.files.rglob("*") if path.is_file()]}


def _models(server: ClearmlServer, experiment: str) -> list[dict[str, Any]]:
    dump = server.dump()
    (project,) = [one["id"] for one in dump["projects"].values() if one["name"] == experiment]
    return [one for one in dump["models"].values() if one["project"] == project]


# -- metadata, descriptions, references


@EVERY_KIND
def test_any_metadata_is_stored_and_shown(
    hands: Hands, server: ClearmlServer, experiment: str, kind: ArtifactType
) -> None:
    metadata = {key: f"value of {key}" for key in ODD} | {
        "nested": {"": [None]},
        "empty": "",
        "clearml_framework": "\x01" * 500,
    }
    sealed = hands.samples.seal("odd", {"x": b"1"}, type=kind, metadata=metadata, description="\t" + "d" * 50_000)
    hands.open(experiment).put(sealed)
    found = hands.open(experiment, "reader").find("odd")
    assert found is not None
    assert found.manifest == sealed.manifest
    if kind is ArtifactType.MODEL:
        (model,) = _models(server, experiment)
        shown = {key: item["value"] for key, item in model["metadata"].items()}
        assert {"type", "digest", "version", "S", "$x", "a_b"} <= set(shown)
        assert (shown["version"], shown["type"]) == ("v0", "model")
        assert "" not in {key.strip() for key in shown}


def test_a_blank_around_a_key_does_not_make_it_one_of_ours(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """ClearML takes no notice of it: the user's would say another version, type and digest."""
    metadata = {key: "theirs" for own in ("version", "type", "digest") for key in (own, f" {own}", f"{own}\t")}
    hands.open(experiment).put(hands.samples.seal("net", {"x": b"1"}, type=ArtifactType.MODEL, metadata=metadata))
    (model,) = _models(server, experiment)
    assert [item["key"] for item in model["metadata"].values() if item["value"] == "theirs"] == []


def test_any_references_are_stored_and_the_first_are_shown(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """The entries of a task are one document, which has an end."""
    many = [(f"s3://bucket/{number:04}", None, None) for number in range(3000)]
    long = [(f"s3://bucket/{'x' * 16_000}", 2**63 - 1, "d" * 20_000)]
    opened = hands.open(experiment)
    for name, references in (("many", many), ("long", long)):
        sealed = hands.samples.seal(name, references=references)
        opened.put(sealed)
        found = hands.open(experiment, "reader").find(name)
        assert found is not None
        assert found.manifest == sealed.manifest
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    entries = server.dump()["tasks"][task["id"]]["execution"]["artifacts"]
    assert {one["uri"] for one in entries} == {uri for uri, _, _ in many[:100]}


# -- what fails leaves nothing


@EVERY_KIND
def test_a_put_that_fails_for_good_leaves_nothing(
    hands: Hands, server: ClearmlServer, experiment: str, kind: ArtifactType
) -> None:
    """Two processes want one label for different content: the one that comes later had stored its files by then."""
    opened, other = hands.open(experiment, f"loser-{kind.value}"), hands.open(experiment, "other")
    for one in (opened, other):
        one.start()
    lost = hands.samples.seal("net", {"lost.bin": b"lost", "more.bin": b"too"}, type=kind)
    won = hands.samples.seal("net", {"won.bin": b"won"}, type=kind)
    # Before it looks for the last time, the other is done.
    server.calls(clear=True)
    server.fail({"match": "files.POST", "kind": "hang", "seconds": 3.0, "times": 1})
    before = server.dump()
    opened.begin_put_many([(lost, Labels("1.0"))], time.time())
    ended: list[Any] = []
    while not any(call.get("fault") == "hang" for call in server.calls()):
        time.sleep(0.05)
    stored = other.put(won, Labels("1.0"))
    try:
        ended = opened.driver.result()
    except (VersionConflict, BackendUnavailable) as error:
        ended = [error]
    assert ended
    assert hands.content(hands.open(experiment, "reader"), won, "1.0") == {"won.bin": b"won"}
    assert stored.version == "1.0"
    left = _left(server, before)
    assert left["models"] == (["net"] if kind is ArtifactType.MODEL else [])
    assert [name for name in left["files"] if name.startswith(("lost", "more"))] == []


def test_an_attempt_that_failed_is_taken_up_by_the_next(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """A model that was made already is completed, and no second one made beside it."""
    opened = hands.open(experiment)
    opened.start()
    sealed = hands.samples.seal("net", {"x.pt": b"1"}, type=ArtifactType.MODEL)
    for match in ("models.add_or_update_metadata", "tasks.add_or_update_model"):
        server.fail({"match": match, "kind": "invalid", "code": 800})
        with pytest.raises(BackendError, match="no fault of the artifact's: it is kept") as told:
            opened.put(sealed)
        assert told.value.retryable
        assert "another name" not in str(told.value)
    server.fail()
    opened.deliver(sealed, again=True)
    (model,) = _models(server, experiment)
    assert model["metadata"]["version"]["value"] == "v0"
    assert len(list((server.files / experiment).rglob("*.pt"))) == 1


def test_what_the_server_says_of_its_trouble_is_told(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    opened = hands.open(experiment)
    opened.start()
    server.fail({"match": "models.create", "kind": "envelope", "times": 1000})
    with pytest.raises(BackendUnavailable, match="500, General data error: Invalid document"):
        opened.put(hands.samples.seal("net", {"x.pt": b"1"}, type=ArtifactType.MODEL))


# -- projects that go


@pytest.mark.parametrize("how", ["renamed", "deleted", "emptied"])
@EVERY_KIND
def test_a_project_that_goes_while_a_run_is_on_is_made_again(
    hands: Hands, experiment: str, kind: ArtifactType, how: str
) -> None:
    opened, reader = hands.open(experiment), hands.open(experiment, "reader")
    opened.put(hands.samples.seal("data", {"x": b"1"}, type=kind))
    assert [one.version for one in reader.list()] == ["v0"]
    if how == "renamed":
        hands.user.call(clearml_user.rename_project, experiment, f"{experiment}-old")
    else:
        hands.user.call(clearml_user.delete_project, experiment, contents=how == "deleted")
    assert reader.list() == opened.list() == []
    sealed = hands.samples.seal("data", {"x": b"2"}, type=kind)
    assert opened.put(sealed).number == 0
    for one in (opened, reader):
        assert [(found.version, found.manifest) for found in one.list()] == [("v0", sealed.manifest)]
        assert one.content(one.list()[0], hands.new_folder()) == {"x": b"2"}
    if how == "renamed":
        (old,) = hands.open(f"{experiment}-old", "elsewhere").list()
        assert reader.content(old, hands.new_folder()) == {"x": b"1"}


def test_an_archived_project_is_still_the_experiments(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("data", {"x": b"1"}))
    hands.user.call(clearml_user.archive_project, experiment)
    assert opened.put(hands.samples.seal("data", {"x": b"2"})).number == 1
    assert [one.version for one in hands.open(experiment, "reader").list()] == ["v1", "v0"]


@EVERY_KIND
def test_a_run_whose_project_becomes_public_goes_on(hands: Hands, experiment: str, kind: ArtifactType) -> None:
    """ClearML makes no new models there, and changes those that there are."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("net", {"x": b"1"}, type=kind))
    hands.user.call(clearml_user.make_public, experiment)
    sealed = hands.samples.seal("net", {"x": b"2"}, type=kind)
    assert opened.put(sealed).number == 1
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"2"}


def test_a_project_that_is_public_is_said_to_be_so(hands: Hands, experiment: str) -> None:
    """Credentials are no help there: nobody's are."""
    hands.user.call(clearml_user.make_project, experiment)
    hands.user.call(clearml_user.make_public, experiment)
    with pytest.raises(BackendAuthError, match="a project that is public: choose another name") as told:
        hands.open(experiment).put(hands.samples.seal("net", {"x": b"1"}))
    assert "ACCESS_KEY" not in str(told.value)


@pytest.mark.parametrize("match", ["tasks.create", "models.create", "tasks.add_or_update_model"])
def test_a_project_that_goes_in_the_middle_of_a_put_is_made_again(
    hands: Hands, server: ClearmlServer, experiment: str, match: str
) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("net", {"x": b"1"}, type=ArtifactType.MODEL))
    (project,) = [one["id"] for one in server.dump()["projects"].values() if one["name"] == experiment]
    server.fail({"match": match, "kind": "vanishes", "project": project})
    sealed = hands.samples.seal("net", {"x": b"2"}, type=ArtifactType.MODEL)
    assert opened.put(sealed).number == 0
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"2"}


@pytest.mark.parametrize("match", ["tasks.create", "files.POST", "tasks.edit"])
@EVERY_KIND
def test_a_project_that_is_renamed_in_the_middle_of_a_put_is_made_again(
    hands: Hands, server: ClearmlServer, experiment: str, match: str, kind: ArtifactType
) -> None:
    """What was logged is listed, and not under the other name, where what was stored before goes on."""
    opened = hands.open(experiment)
    first = hands.samples.seal("net", {"x": b"1"}, type=kind)
    opened.put(first)
    (project,) = [one["id"] for one in server.dump()["projects"].values() if one["name"] == experiment]
    server.fail({"match": match, "kind": "renamed", "project": project, "name": f"{experiment}-old"})
    sealed = hands.samples.seal("net", {"x": b"2"}, type=kind)
    assert opened.put(sealed).number == 0
    assert [one.manifest for one in opened.list()] == [sealed.manifest]
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"2"}
    elsewhere = hands.open(f"{experiment}-old", "elsewhere")
    assert [one.manifest for one in elsewhere.list()] == [first.manifest]
    assert hands.content(elsewhere, first) == {"x": b"1"}


def test_a_name_that_clearml_does_not_take_is_said_to_be_one(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    server.fail({"match": "projects.create", "kind": "invalid", "code": 12, "times": 1000})
    with pytest.raises(ArtifactError, match="choose another name"):
        hands.open(experiment).put(hands.samples.seal("data", {"x": b"1"}))


# -- numbers and tags


@EVERY_KIND
def test_after_a_race_clearml_shows_the_numbers_that_tracelet_says(
    hands: Hands, server: ClearmlServer, experiment: str, kind: ArtifactType
) -> None:
    processes = [hands.open(experiment, role) for role in ("first", "second", "third")]
    for opened in processes:
        opened.start()
    start = time.time() + 1.0
    for number, opened in enumerate(processes):
        many = [hands.samples.seal("net", {"x": b"%d %d" % (number, count)}, type=kind) for count in range(3)]
        opened.begin_put_many([(one, Labels()) for one in many], start)
    stored = [one for opened in processes for one in opened.driver.result()]
    assert len({one.number for one in stored}) == 9
    dump = server.dump()
    for one in stored:
        place = one.locator["place"]
        if kind is ArtifactType.MODEL:
            model = dump["models"][place["entity"]]
            assert f"v{one.number}" in model["tags"]
            assert model["metadata"]["version"]["value"] == f"v{one.number}"
        elif kind is ArtifactType.DATASET:
            assert dump["tasks"][place["entity"]]["runtime"]["version"] == f"v{one.number}"
        else:
            entries = {entry["key"]: entry for entry in dump["tasks"][place["task"]]["execution"]["artifacts"]}
            assert ["version", f"v{one.number}"] in entries[f"net.v{one.number}"]["display_data"]


def test_people_choose_from_their_own_tags(hands: Hands, experiment: str) -> None:
    """The web application offers the tags of every task and model, hidden ones included."""
    opened = hands.open(experiment)
    for number in range(6):
        kind = (*KINDS, ArtifactType.CONFIG)[number % 4]
        opened.put(
            hands.samples.seal(f"data-{number % 4}", {"x": b"%d" % number}, type=kind), Labels(f"1.{number}", ("best",))
        )
    opened.close()
    offered = hands.user.call(clearml_user.tags_to_choose, experiment)
    assert set(offered["project"]) == {"tracelet", "model", "1.1", "1.5"}
    for tags in offered.values():
        assert [tag for tag in tags if tag.startswith("tracelet.")] == []
    assert {"hidden", "dataset"} <= set(offered["system"])


# -- datasets whose put was killed


@pytest.mark.parametrize("after", ["tasks.started", "files.POST", "tasks.completed", "tasks.edit"])
@pytest.mark.parametrize("label", [None, "1.0"])
def test_a_dataset_whose_put_was_killed_leaves_no_other_one(
    hands: Hands, server: ClearmlServer, experiment: str, after: str, label: str | None
) -> None:
    role = f"victim-{after}-{label}"
    victim, opened = hands.driver(role), hands.open(experiment, role)
    opened.start()
    sealed = hands.samples.seal("set", {"x": b"1"}, type=ArtifactType.DATASET)
    # A claim is edited by nobody but in the end.
    server.fail({"match": after, "kind": "hang", "seconds": 30, "after": 0})
    opened.begin_put_many([(sealed, Labels(label))], time.time())
    with pytest.raises(DriverDied):
        victim.result(5.0)
    hands.forget(role)
    server.fail()
    other = hands.open(experiment)
    assert other.deliver(sealed, Labels(label), again=True).stored.number == 0
    dump = server.dump()
    (project,) = [one["id"] for one in dump["projects"].values() if one["name"] == f"{experiment}/.datasets/set"]
    made = [one for one in dump["tasks"].values() if one["project"] == project]
    assert [one["status"] for one in made] == ["completed"]
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"1"}
    files = [path for path in (server.files / experiment).rglob("*") if path.is_file()]
    assert [path for path in files if made[0]["id"] not in str(path)] == []
