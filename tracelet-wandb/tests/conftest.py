"""A server of W&B's, current unless a test asks for one that offers its clients nothing, and an experiment on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.wandb_lab import Lab
from servers.wandb_server import wandb_server
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.samples import Samples
from tracelet_wandb import tracelet_backends

(SPEC,) = tracelet_backends()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with wandb_server(folder / "server", current=getattr(request, "param", "current") == "current") as server:
        drivers = []
        for role in ("writer", "reader", "user"):
            environ = server.environ(folder / f"home-{role}")
            drivers.append(Driver(folder / role, environ, SPEC.environ))
        yield Lab(server, *drivers, folder)
        for driver in drivers:
            driver.close()


@pytest.fixture
def experiment() -> str:
    return f"exp-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def opened(lab: Lab, experiment: str) -> Iterator[BackendProcess]:
    made = lab.open(experiment)
    yield made
    made.close()


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return Samples(tmp_path / "samples")
