"""How many requests things cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.testing.backend_process import BackendProcess

#: Whether the project is still there under its name, and the newest version.
LOOK = {"projects.get_all": 1, "tasks.get_all": 1}
#: Whether the project is the same before and after. The claims are looked at three times: before the claim, after it, and
#: before the record. The run's task is looked at before its artifact is added, and both that and the record are read back.
PUT = {
    "projects.get_all": 2,
    "tasks.get_all": 6,
    "tasks.create": 1,
    "files.POST": 1,
    "files.HEAD": 1,
    "tasks.add_or_update_artifacts": 1,
    "tasks.edit": 1,
}


@pytest.fixture
def opened(hands: Hands, experiment: str) -> BackendProcess:
    """A backend whose run has a version of a name: its projects and its task are there.

    Once in a process it is asked for records of earlier releases.
    """
    made = hands.open(experiment)
    made.deliver(hands.samples.seal("data", {"file": b"one"}))
    assert made.find("data") is not None
    return made


@pytest.fixture
def asked(opened: BackendProcess, server: ClearmlServer) -> Callable[[], Counter[str]]:
    """Tells the requests since it was asked last. The SDK's own ping of its task comes when it is due."""
    server.calls(clear=True)
    return lambda: Counter(call["name"] for call in server.calls(clear=True) if call["name"] != "tasks.ping")


def test_a_put_costs_a_look_a_claim_the_file_and_the_record(
    opened: BackendProcess, asked: Callable[[], Counter[str]], hands: Hands
) -> None:
    """A name costs as much when it is new. Core looks before each put."""
    opened.put(hands.samples.seal("data", {"file": b"two"}))
    assert asked() == PUT
    opened.deliver(hands.samples.seal("new", {"file": b"one"}))
    assert asked() == Counter(PUT) + Counter(LOOK)
    opened.deliver(hands.samples.seal("data", {"file": b"three"}))
    assert asked() == Counter(PUT) + Counter(LOOK)


def test_the_same_content_again_costs_a_look(
    opened: BackendProcess, asked: Callable[[], Counter[str]], hands: Hands
) -> None:
    opened.deliver(hands.samples.seal("data", {"file": b"one"}))
    assert asked() == LOOK


def test_a_get_costs_a_look_and_each_file_and_a_list_one_page(
    opened: BackendProcess, asked: Callable[[], Counter[str]], hands: Hands
) -> None:
    found = opened.find("data")
    assert found is not None
    assert asked() == LOOK
    assert opened.content(found, hands.new_folder()) == {"file": b"one"}
    assert asked() == {"files.GET": 1}
    opened.deliver(hands.samples.seal("other", {"file": b"one"}))
    asked()
    assert len(opened.list()) == 2
    assert asked() == LOOK
