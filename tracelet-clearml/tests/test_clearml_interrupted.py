"""A put that is cut off at whichever of its requests is stored once when it is tried again, and nothing else is left of it."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pytest

from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import ArtifactType, Labels

KINDS = (ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET)
CONTENT = {"x": b"1", "y": b"2"}
#: Those that change nothing: what was cut off there is what was cut off at the next.
_LOOKS = r"auth|tasks\.get_all|tasks\.get_by_id|projects\.get|models\.get|files\.(GET|HEAD)|tasks\.ping|events"
_CHANGES = rf"^(?!{_LOOKS})"


def _of(server: ClearmlServer, experiment: str) -> dict[str, list[dict[str, Any]]]:
    """What the server has of an experiment: models, and tasks by the end of their project's name."""
    dump = server.dump()
    names = {one["id"]: str(one["name"]) for one in dump["projects"].values()}
    inside = {key for key, name in names.items() if name.partition("/")[0] == experiment}
    found: dict[str, list[dict[str, Any]]] = {
        "models": [one for one in dump["models"].values() if one["project"] in inside]
    }
    for one in dump["tasks"].values():
        if one["project"] in inside:
            found.setdefault(names[one["project"]].removeprefix(experiment), []).append(one)
    return found


@pytest.mark.parametrize("how", ["reset", "lost"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_wherever_a_put_is_cut_off_the_next_attempt_makes_one_version(
    hands: Hands, server: ClearmlServer, kind: ArtifactType, how: str
) -> None:
    """The request comes to nothing, or is done and its answer is lost; and from then on nothing comes through."""
    stem = f"cut-{uuid.uuid4().hex[:6]}"
    # A dataset is made in some forty requests.
    for step in range(0, 100, 4 if kind is ArtifactType.DATASET else 1):
        experiment = f"{stem}-{step}"
        opened = hands.open(experiment)
        opened.start()
        sealed = hands.samples.seal("thing", CONTENT, type=kind)
        dead = {"match": _CHANGES, "kind": "reset", "after": step, "times": 10_000}
        server.fail({"match": _CHANGES, "kind": how, "after": step}, dead)
        with contextlib.suppress(BackendUnavailable):
            opened.put(sealed)
            break
        server.fail()
        stored = opened.deliver(sealed, again=True).stored
        opened.close()
        assert hands.content(hands.open(experiment, "reader"), sealed) == CONTENT
        found = _of(server, experiment)
        cut = f"cut off at change {step}"
        records = [one["name"] for one in found["/.tracelet"] if one["name"].startswith("thing ")]
        assert [name.split(";")[1] for name in records] == ["stored"], cut
        assert stored.number == 0, cut
        assert [one["status"] for one in found[""]] == ["completed"], cut
        assert len(found["models"]) == (1 if kind is ArtifactType.MODEL else 0), cut
        sets = [one["status"] for place, some in found.items() if place.startswith("/.datasets") for one in some]
        assert sets == (["completed"] if kind is ArtifactType.DATASET else []), cut
    server.fail()
    assert step > 3


@pytest.mark.parametrize("label", [None, "1.0"])
@pytest.mark.parametrize("step", [6, 12])
def test_of_two_puts_of_a_name_that_were_cut_off_each_leaves_its_own_dataset(
    hands: Hands, server: ClearmlServer, experiment: str, step: int, label: str | None
) -> None:
    """What either has left is known as its own, though the other is still under way."""
    opened = hands.open(experiment)
    opened.start()
    many = [
        (hands.samples.seal("set", {"x": b"%d" % number}, type=ArtifactType.DATASET), Labels(one))
        for number, one in enumerate((label, None))
    ]
    for sealed, labels in many:
        server.fail({"match": _CHANGES, "kind": "reset", "after": step, "times": 10_000})
        with pytest.raises(BackendUnavailable):
            opened.put(sealed, labels)
    server.fail()
    for sealed, labels in many:
        opened.deliver(sealed, labels, again=True)
    sets = _of(server, experiment)["/.datasets/set"]
    assert [(one["status"], one["runtime"]["version"]) for one in sets] == [
        ("completed", label or "v0"),
        ("completed", "v1"),
    ]
