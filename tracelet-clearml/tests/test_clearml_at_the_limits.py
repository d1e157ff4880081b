"""Where ClearML's documents, names and lists have an end, an artifact has none."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from servers import clearml_user, programs
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.plugin import Labels
from tracelet.testing.backend_process import BackendProcess


def _tasks(server: ClearmlServer, experiment: str) -> list[dict[str, Any]]:
    """The tasks in an experiment's own project, oldest first."""
    dump = server.dump()
    (project,) = [one["id"] for one in dump["projects"].values() if one["name"] == experiment]
    found = [one for one in dump["tasks"].values() if one["project"] == project]
    return sorted(found, key=lambda one: str(one["created"]))


def test_an_artifact_of_very_many_files_is_stored(hands: Hands, experiment: str) -> None:
    """Their paths alone are more than ClearML's database takes at once."""
    folder = "/".join(["x" * 250] * 4)
    files = {f"{folder}/{number}": b"" for number in range(17_000)} | {f"{folder}/4711": b"4711"}
    sealed = hands.samples.seal("many", files)
    opened = hands.open(experiment)
    opened.put(sealed)
    reader = hands.open(experiment, "reader")
    (found,) = reader.list()
    assert found.manifest == sealed.manifest
    wanted = f"{folder}/4711"
    assert reader.content(found, hands.new_folder(), [wanted]) == {wanted: b"4711"}
    opened.delete(found)
    assert reader.list() == []


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_run_whose_task_is_full_goes_on_in_another(
    hands: Hands, server: ClearmlServer, experiment: str, when: str
) -> None:
    """In the program that filled it, and in the one that delivers the rest."""
    run = uuid.uuid4().hex
    opened = hands.open(experiment, run=run)
    first = hands.samples.seal("data", {"x": b"1"})
    opened.put(first)
    (task,) = _tasks(server, experiment)
    entry = {"key": "big", "type": "custom", "uri": "s3://bucket/big", "type_data": {"preview": "x" * 9_000_000}}
    hands.user.call(clearml_user.add_artifact, task["id"], entry)
    if when == "later":
        opened.close()
        opened = hands.open(experiment, "successor", run=run)
    sealed = [hands.samples.seal("data", {"x": b"%d" % number}) for number in range(2, 4)]
    for one in sealed:
        opened.put(one)
    opened.close()
    before, after = _tasks(server, experiment)
    assert before["id"] == task["id"] == after["parent"]
    assert before["status"] == after["status"] == "completed"
    assert "was full" in after["comment"]
    assert [one.manifest for one in hands.open(experiment, "reader").list()] == [
        one.manifest for one in (*sealed[::-1], first)
    ]


def test_the_newest_is_the_newest_however_many_write_at_once(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """All of them have looked before any of them asked for a number: it is the same."""
    processes: list[BackendProcess] = [hands.open(experiment, f"writer-{number}") for number in range(8)]
    for opened in processes:
        opened.start()
    server.fail({"match": "tasks.create", "kind": "slow", "seconds": 2.0 * programs.pace(), "times": len(processes)})
    start = time.time() + 1.0
    for number, opened in enumerate(processes):
        opened.begin_put_many([(hands.samples.seal("net", {"x": b"%d" % number}), Labels())], start)
    stored = [one for opened in processes for one in opened.driver.result()]
    newest = max(stored, key=lambda one: one.number)
    reader = hands.open(experiment, "reader")
    found = reader.find("net")
    assert found is not None
    assert found.manifest == newest.manifest
    assert [one.number for one in reader.list("net")] == sorted((one.number for one in stored), reverse=True)
    # ClearML gives records in the order of their names, and `latest` looks at the first of them.
    names = sorted(one["name"] for one in server.dump()["tasks"].values() if one["name"].startswith("net "))
    numbers = [int(name.partition("number:")[2].partition(";")[0]) for name in names]
    assert numbers == sorted(numbers)
