"""Short by default; `--long` is what `nox -s reliability` runs, and `--figures PAGE` writes down what came of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliability.figures import Figures
from reliability.trials import Trial

BACKENDS = {
    "local": ["local"],
    "a lane": ["fsfiles"],
    "both": ["local", "fsfiles"],
    "mlflow": ["local", "mlflow"],
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs more than a bare machine has is in the long form alone."""
    if not config.getoption("--long"):
        left = [item for item in items if "long" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the long form was asked for."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Where every test notes what it measured."""
    noted = Figures()
    yield noted
    page = request.config.getoption("--figures")
    if page:
        noted.write(Path(page))


@pytest.fixture
def trial(tmp_path: Path) -> Callable[[str], Trial]:
    """Make a place for a trial; chance is the same in every run."""

    def make(kind: str) -> Trial:
        environ = {
            "TRACELET_FSFILES_URL": f"file://{tmp_path}/bag",
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        }
        return Trial(tmp_path, BACKENDS[kind], environ, random.Random(kind))

    return make
