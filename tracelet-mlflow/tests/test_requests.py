"""How many requests things cost. What MLflow's pages show for people is sent behind, and is not counted."""

from __future__ import annotations

import hashlib
import importlib.abc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from servers.faulty_proxy import FaultyProxy
from servers.mlflow_server import MlflowServer
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, SealedArtifact
from tracelet_mlflow.backend import MlflowBackend

ARTIFACTS = "mlflow-artifacts/artifacts"
STORE = sorted([f"PUT {ARTIFACTS}", f"GET {ARTIFACTS}"] * 2)


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.process.port) as opened:
        yield opened


@pytest.fixture
def asked(proxy: FaultyProxy) -> Callable[[], list[str]]:
    """Tells the requests since it was asked last: all but those that show something to people."""
    told = 0

    def requests() -> list[str]:
        nonlocal told
        new, told = proxy.requests[told:], len(proxy.requests)
        short = [line.partition("?")[0].replace("/api/2.0/", "").removeprefix("/") for line in new]
        plain = [f"{line.partition(ARTIFACTS)[0]}{ARTIFACTS}" if ARTIFACTS in line else line for line in short]
        return [line.replace("mlflow/", "") for line in plain if not line.endswith("runs/log-batch")]

    return requests


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[..., SealedArtifact]:
    def seal(content: str, type: ArtifactType = ArtifactType.DATASET) -> SealedArtifact:
        source = tmp_path / content
        source.write_text(content)
        file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
        return SealedArtifact(Manifest("data", type, f"put-{content}", 1.0, files=(file,)), {"file": source})

    return seal


def test_a_put_costs_a_look_a_claim_the_files_and_the_record(
    opened: Callable[..., MlflowBackend],
    proxy: FaultyProxy,
    asked: Callable[[], list[str]],
    sealed: Callable[..., SealedArtifact],
    tmp_path: Path,
) -> None:
    """A name that was looked for a moment ago is not looked for again, and a file is fetched without a list of its folder."""
    backend = opened("counted", where=proxy.url)
    assert backend.find("data", "latest") is None
    asked()
    backend.put(sealed("one"), Labels())
    first = asked()
    # MLflow's client reads a run before it ends it.
    ended = ["GET runs/get", "POST runs/update"]
    new = ["POST runs/create", "POST runs/log-parameter", "POST runs/set-tag", *ended]
    # It is seen that the run is still there while the number is claimed.
    every = ["GET runs/get", "POST runs/log-parameter", *STORE, "POST runs/set-tag", "POST runs/search"]
    assert sorted(first) == sorted([*new, *every])
    stored = backend.put(sealed("two"), Labels())
    second = asked()
    assert [*sorted(second[:2]), *sorted(second[2:6]), *second[6:]] == every
    backend.fetch(stored, ["file"], tmp_path / "got")
    assert [line for line in asked() if "server-info" not in line] == [f"GET {ARTIFACTS}"]
    assert (tmp_path / "got" / "file").read_text() == "two"
    backend.stop(failed=False)


def test_a_model_is_made_once_in_the_registry_and_again_where_somebody_deleted_it(
    opened: Callable[..., MlflowBackend],
    server: MlflowServer,
    proxy: FaultyProxy,
    asked: Callable[[], list[str]],
    sealed: Callable[..., SealedArtifact],
) -> None:
    """Each version costs one request of the registry."""
    backend = opened("counted-models", where=proxy.url)
    made, version = "POST registered-models/create", "POST model-versions/create"

    def registry(content: str) -> list[str]:
        asked()
        backend.put(sealed(content, ArtifactType.MODEL), Labels())
        return [line for line in asked() if "registered-models" in line or "model-versions" in line]

    assert registry("one") == [made, version]
    assert registry("two") == [version]
    MlflowClient(tracking_uri=server.url).delete_registered_model("data")
    assert registry("three") == [version, made, version]
    backend.stop(failed=False)


def test_a_put_into_a_database_costs_three_transactions_and_two_writes(
    opened: Callable[..., MlflowBackend], sealed: Callable[..., SealedArtifact]
) -> None:
    """Whether the run is still there, the claim, and the record."""
    backend = opened("counted")
    assert backend.find("data", "latest") is None
    backend.put(sealed("one"), Labels())
    # What is shown to people is sent behind.
    backend._opened.notes.finish()
    begun: list[str] = []
    written: list[str] = []

    def note_begun(connection: Any) -> None:
        begun.append("begun")

    def note_written(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.split()[0] in {"INSERT", "UPDATE", "DELETE"}:
            written.append(" ".join(statement.split()[:3]))

    event.listen(Engine, "begin", note_begun)
    event.listen(Engine, "before_cursor_execute", note_written)
    try:
        assert backend.put_next(sealed("two"), Labels()) is not None
        assert (len(begun), written) == (3, ["INSERT INTO params", "INSERT INTO tags"])
    finally:
        event.remove(Engine, "begin", note_begun)
        event.remove(Engine, "before_cursor_execute", note_written)
    backend.stop(failed=False)


class _Looks(importlib.abc.MetaPathFinder):
    """Notes what is looked for on the path."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        self.names.append(fullname)


def test_what_is_of_databricks_is_not_looked_for_with_each_request(
    opened: Callable[..., MlflowBackend], proxy: FaultyProxy, sealed: Callable[..., SealedArtifact]
) -> None:
    """MLflow's client imports it seven times for each of them, which takes time where it is not installed."""
    backend = opened("counted-imports", where=proxy.url)
    backend.put(sealed("one"), Labels())
    looks = _Looks()
    sys.meta_path.insert(0, looks)
    try:
        backend.put_next(sealed("two"), Labels())
    finally:
        sys.meta_path.remove(looks)
    assert [name for name in looks.names if name.startswith(("dbruntime", "pyspark"))] == []
    backend.stop(failed=False)
