"""The stand-in, and processes that work on it, for all tests of a module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    """The API server and the file server; a call that they do not know fails the module."""
    with ClearmlServer(tmp_path_factory.mktemp("clearml") / "server") as started:
        yield started
        assert started.strangers() == []


@pytest.fixture(scope="module")
def hands(server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    """Processes with homes and caches of their own."""
    with Hands(server, tmp_path_factory.mktemp("hands")) as made:
        yield made


@pytest.fixture
def experiment(server: ClearmlServer) -> Iterator[str]:
    """The name of an experiment that is empty; what was ordered to fail is over with the test."""
    yield f"clearml-{uuid.uuid4().hex[:8]}"
    server.fail()
