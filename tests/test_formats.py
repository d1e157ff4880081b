"""What every release wrote is read, verified and finished by this one."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from formats import plans, sets
from tracelet import ArtifactType

EVERY = [(version, kind) for version in sets.versions() for kind in sets.KINDS]
IDS = [f"{kind} of {version}" for version, kind in EVERY]


class Seen:
    """What a set is said to be, and what this code saw of it: in one process, when the first test asks."""

    def __init__(self, version: str, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.expected = sets.expected(version, kind)
        self.now = plans.told(kind, sets.unpack(version, kind, folder))

    def places(self, when: str) -> dict[str, Any]:
        """By experiment and backend: what is expected there; after the deliveries, too, where nothing was to come."""
        return self.expected["before"] if when == "before" else {**self.expected["before"], **self.expected["after"]}

    def artifacts(self, when: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Each version that is expected, with where it is expected, beside the one that was seen."""
        for place, held in self.places(when).items():
            seen = {_identity(one): one for one in self.now[when][place]["versions"]}
            assert sorted(seen) == sorted(map(_identity, held["versions"])), place
            for one in held["versions"]:
                yield place, one, seen[_identity(one)]


def _identity(one: dict[str, Any]) -> tuple[str, str, str]:
    return (one["name"], one["version"], one["put_id"])


@pytest.fixture(scope="module", params=EVERY, ids=IDS)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    version, kind = request.param
    return Seen(version, kind, tmp_path_factory.mktemp(kind))


def test_there_is_a_set_from_before_schema_numbers() -> None:
    assert "0.1.0.dev0" in sets.versions()


def test_the_same_artifact_has_the_same_digest_whichever_release_stored_it() -> None:
    every = [
        {one["name"]: one["digest"] for one in sets.expected(version, "local")["before"]["golden in local"]["versions"]}
        for version in sets.versions()
    ]
    plain = {name for name in every[0] if name.startswith("a-")}
    assert len(plain) == len(ArtifactType)
    for name in plain:
        assert len({digests[name] for digests in every}) == 1, name


def test_a_set_that_is_there_is_not_written_again() -> None:
    program = [sys.executable, sets.FORMATS / "write.py", "0.1.0.dev0"]
    done = subprocess.run(program, text=True, capture_output=True, timeout=600)
    assert (done.returncode, done.stdout) == (1, "")
    assert "what a release wrote is never written again" in done.stderr


def test_the_same_folder_is_packed_as_the_same_bytes(tmp_path: Path) -> None:
    folder = sets.unpack("0.1.0.dev0", "local", tmp_path / "one")
    sets.pack(folder, tmp_path / "first.tar.gz")
    for path in folder.rglob("*"):
        path.touch()
    sets.pack(folder, tmp_path / "second.tar.gz")
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_every_version_is_listed_as_it_was_with_every_byte_object_and_model(seen: Seen) -> None:
    for place, expected, found in seen.artifacts("before"):
        # A later release may tell more of it.
        assert {key: found[key] for key in expected} == expected, place


def test_what_is_in_a_set_is_what_its_writers_wrote(seen: Seen) -> None:
    (place,) = [place for place in seen.now["before"] if place.startswith("golden in")]
    held = seen.now["before"][place]
    (one,) = [each for each in held["versions"] if each["name"] == "everything"]
    assert (one["version"], one["aliases"], one["type"]) == ("1.0", ["best", "first"], "model")
    written = {
        "model/weights.bin": bytes(range(64)),
        "large.bin": b"large " * 1000,
        "data/empty": b"",
        "data/deep/er/notes äö.txt": b"with spaces, and not in ASCII",
    }
    assert {path: one["contents"][path] for path in written} == {
        path: hashlib.sha256(content).hexdigest() for path, content in written.items()
    }
    assert one["loaded"] == {
        "config": repr({"rate": 0.001, "layers": [1, 2], "none": None}),
        "plan": repr({"b": [1, 2], 3: "number"}),
        "state": repr({(1, 2): {3, 4}}),
        "model": 7.0,
    }
    for text in ('"nan": NaN', "[Infinity, -Infinity, -0.0, 1e-300, 9007199254740993]", '{"deep": NaN}', '"": {}'):
        assert text in one["metadata"]
    references = {each["uri"]: each for each in one["references"]}
    assert references["tagging://data/tagged.csv"]["etag"] == '"5d41402abc4b2a76"'
    assert references["memory://data/read.csv"]["sha256"] == hashlib.sha256(b"x,y\n1,2\n").hexdigest()
    assert references["s3://bucket/not-there.tar.gz"]["size_bytes"] == 5_000_000_000
    stored = [each["path"] for each in one["references"] if each["uri"] == "the store's"]
    assert stored == ["large.bin", "models/model/model.skops"]
    lives = {each["version"]: each for each in held["versions"] if each["name"] == "lives"}
    assert (lives["1.0.0"]["aliases"], lives["2.0.0"]["aliases"]) == (["old"], ["best"])
    assert one["digest"] in lives["2.0.0"]["inputs"]


def test_every_reference_finds_what_it_found(seen: Seen) -> None:
    for place, held in seen.places("before").items():
        assert seen.now["before"][place]["refs"] == held["refs"], place


def test_what_waits_is_known_to_doctor(seen: Seen) -> None:
    assert seen.now["waits"] == seen.expected["waits"]
    checks = {one["subject"]: one for one in seen.now["doctor"]["checks"]}
    assert "damaged" not in checks
    waiting = len(seen.expected["waits"]["deliveries"]) + len(seen.expected["waits"]["drafts"])
    told = checks["outbox"]["detail"]
    assert told.startswith(f"{waiting} deliver") if waiting else told == "nothing waits"
    assert [name for name, one in checks.items() if one["verdict"] == "wrong"] == (
        ["refused"] if seen.expected["waits"]["refused"] else []
    )


def test_gc_takes_nothing_that_is_needed(seen: Seen) -> None:
    """It ran before the deliveries were made: all there was is older than what it spares."""
    assert (seen.now["cleared_code"], seen.now["cleared"]["failed"]) == (0, {})


def test_what_waits_is_delivered_and_only_what_was_refused_is_left(seen: Seen) -> None:
    expected = seen.expected["sync"]
    assert _deliveries(seen.now["sync"]["delivered"]) == _deliveries(expected["delivered"])
    assert seen.now["sync"]["left"] == []
    assert seen.now["sync"]["uses_left"] == []
    assert seen.now["sync"]["uses_noted"] == expected["uses_noted"]
    assert _deliveries(seen.now["sync"]["refused"]) == _deliveries(expected["refused"])
    left = {what: [] for what in seen.expected["waits"]} | {"refused": seen.expected["waits"]["refused"]}
    assert {what: seen.now["left"][what] for what in left} == left


def _deliveries(told: list[dict[str, Any]]) -> list[list[str]]:
    return sorted([one["experiment"], one["backend"], one["name"], one["version"], one["put_id"]] for one in told)


def test_what_was_delivered_arrives_as_it_was_logged_beside_what_was_there(seen: Seen) -> None:
    captured = {experiment for experiment, _ in seen.expected["waits"]["captures"]}
    for place, expected, found in seen.artifacts("after"):
        # A capture is as old as the artifact that is made of it.
        new = place.partition(" in ")[0] in captured and expected not in seen.places("before")[place]["versions"]
        told = {key: value for key, value in expected.items() if key != "created_at" or not new}
        assert {key: found[key] for key in told} == told, place
    for place, held in seen.places("after").items():
        assert seen.now["after"][place]["refs"] == held["refs"], place


def test_what_a_backend_made_of_a_model_that_waited_arrives_with_it(seen: Seen) -> None:
    if seen.kind == "local":
        made = {path.parts[-3]: json.loads(path.read_text())[0] for path in seen.folder.glob("archive/*/rendered/*")}
        assert made == dict.fromkeys(("waiting", "drafts"), "LinearRegression")
    elif seen.kind == "mlflow":
        database = sqlite3.connect(seen.folder / "mlflow" / "mlflow.db")
        asked = "SELECT tag_value FROM logged_model_tags WHERE tag_key = 'tracelet.artifact'"
        assert sorted(name for (name,) in database.execute(asked)) == ["everything", "later"]
        database.close()


def test_an_offline_run_of_wandb_is_marked_as_sent(seen: Seen) -> None:
    """Else W&B's own `wandb sync` would store its artifacts a second time."""
    assert seen.now["sent"] == (seen.kind == "wandb")


def test_nothing_strange_was_said(seen: Seen) -> None:
    for word in ("Traceback", "damaged", "was changed", "unreadable"):
        assert word not in seen.now["said"], seen.now["said"]
