"""How many requests things cost, at moto's S3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from servers.faulty_proxy import FaultyProxy
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket.backend import BucketBackend

Opened = Callable[..., BucketBackend]
Seal = Callable[..., SealedArtifact]

PREFIX = "experiments/trials/"


@pytest.fixture
def asked(door: FaultyProxy, url: str) -> Callable[[], list[str]]:
    """Tells the requests since it was asked last, sorted, each with the folder that it is about."""
    told = 0

    def short(line: str) -> str:
        method, _, target = line.partition(" ")
        path, _, query = target.partition("?")
        folder = path.partition(url.partition("://")[2])[2].strip("/")
        if "list-type" in query:
            return "LIST " + query.partition("prefix=")[2].partition("&")[0].replace("%2F", "/").partition(PREFIX)[2]
        return f"{method} {folder.removeprefix(PREFIX).partition('/')[0]}"

    def requests() -> list[str]:
        nonlocal told
        new, told = door.requests[told:], len(door.requests)
        return sorted(map(short, new))

    return requests


def test_the_first_version_that_a_process_stores_costs_seven_requests_and_the_next_four(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]]
) -> None:
    backend = opened(url)
    assert backend.find("data", "latest") is None
    assert asked() == ["GET experiment.json", "LIST versions/data/"]
    backend.put(seal({"file": b"one"}), Labels())
    every = ["PUT digests", "PUT objects", "PUT puts", "PUT versions"]
    # One writes it, and two see that a server which is not a cloud's own takes conditions for what they are.
    assert asked() == sorted(["PUT experiment.json"] * 3 + every)
    assert backend.put_next(seal({"file": b"two"}), Labels()) is not None
    assert asked() == every


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        (Labels("1.0"), ["PUT labels"]),
        (Labels(None, ("best", "newest")), ["GET versions", "PUT versions"]),
    ],
    ids=["a label", "aliases"],
)
def test_names_cost_one_request_for_a_label_and_two_for_all_aliases(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]], labels: Labels, more: list[str]
) -> None:
    backend = opened(url)
    backend.put(seal({"file": b"one"}), Labels())
    asked()
    backend.put(seal({"file": b"two"}), labels)
    assert asked() == sorted(["PUT digests", "PUT objects", "PUT puts", "PUT versions", *more])


def test_finding_costs_one_request_or_two_whatever_there_is(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]]
) -> None:
    """Once a process more to see the schema; and one for aliases, where the name has any."""
    writer = opened(url)
    for number in range(12):
        writer.put(seal({"file": f"{number}".encode()}), Labels(f"1.{number}"))
    digest = writer.recall("data").manifest.digest
    reader = opened(url)
    reader.find("other", "v0")
    asked()
    costs: Mapping[str, list[str]] = {
        "latest": ["GET versions", "LIST versions/data/"],
        "v3": ["GET versions", "GET versions"],
        "1.3": ["GET labels", "GET versions", "GET versions"],
        f"sha256:{digest}": ["GET versions"] * 3 + ["LIST digests/data/"],
    }
    for ref, cost in costs.items():
        assert reader.find("data", ref) is not None
        assert (ref, asked()) == (ref, cost)


def test_a_list_costs_a_page_and_a_request_for_each_version(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]]
) -> None:
    """Deleted versions cost none."""
    backend = opened(url)
    stored = [backend.put(seal({"file": f"{number}".encode()}), Labels()) for number in range(12)]
    for one in stored[:4]:
        backend.delete(one)
    reader = opened(url)
    asked()
    assert len(list(reader.list(name=None, type=None))) == 8
    assert asked() == ["GET experiment.json", *["GET versions"] * 8, "LIST versions/"]


def test_many_files_cost_a_request_each_and_those_that_are_there_one_look(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]], tmp_path: Path
) -> None:
    backend = opened(url)
    files = {f"{number}": f"{number}".encode() for number in range(40)}
    stored = backend.put(seal(files), Labels())
    assert asked().count("PUT objects") == 40
    more = {**files, "more": b"more"}
    backend.put(seal(more), Labels())
    again = asked()
    assert (again.count("PUT objects"), again.count("HEAD objects")) == (1, 40)
    (tmp_path / "got").mkdir()
    backend.fetch(stored, list(files), tmp_path / "got")
    assert asked() == ["GET objects"] * 40


def test_a_large_file_is_sent_and_fetched_in_parts(
    opened: Opened, seal: Seal, url: str, asked: Callable[[], list[str]], tmp_path: Path
) -> None:
    """20 MiB are three parts; what begins and ends an upload are two requests more, and one asks whether it is there."""
    content = bytes(range(256)) * (20 << 12)
    backend = opened(url)
    stored = backend.put(seal({"large": content}), Labels())
    sent = asked()
    assert (sent.count("HEAD objects"), sent.count("POST objects"), sent.count("PUT objects")) == (2, 2, 3)
    (tmp_path / "got").mkdir()
    backend.fetch(stored, ["large"], tmp_path / "got")
    assert asked() == ["GET objects"] * 3
    assert (tmp_path / "got" / "large").read_bytes() == content
