"""What the tests of the core share: a place of their own, and a backend that misbehaves on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import Moody, lane_processes

from tracelet import Experiment, ExperimentConfig
from tracelet.core.plugins import registry

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def moody(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moody]:
    """Make the backends of `plugins/moody.py` known, as an installed distribution's would be."""
    place = tmp_path / "moody"
    place.mkdir()
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    for name in ("MOODY", "MOODY_INLINE", "MOODY_RENDER", "MOODY_DUMB"):
        monkeypatch.setenv(f"TRACELET_{name}_PLACE", str(place))
    registry.cache_clear()
    yield Moody(place)
    registry.cache_clear()
    sys.modules.pop("moody", None)


@pytest.fixture
def experiment(moody: Moody) -> Iterator[Callable[..., Experiment]]:
    """Make experiments on `moody` with short limits; they are stopped in the end."""
    made: list[Experiment] = []

    def make(*backend: str, name: str = "trials", **config: Any) -> Experiment:
        limits = {"deadline": 1.5, "open_timeout": 20.0, "stop_timeout": 6.0} | config
        exp = Experiment(name, backend=list(backend or ("moody",)), artifacts=True, config=ExperimentConfig(**limits))
        made.append(exp)
        return exp.start()

    yield make
    for exp in made:
        exp.stop()


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No test may leave a lane's process, or a child of one, behind."""
    before = set(lane_processes())
    yield
    assert set(lane_processes()) <= before
