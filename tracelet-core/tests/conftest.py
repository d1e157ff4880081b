"""What the tests of the core share: a place of their own, and a backend that misbehaves on demand."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from commanding import LEAVE_THREE, STORE_THREE, program
from pacing import at_this_pace
from watching import Scripted, lane_processes, started

from tracelet import Experiment, ExperimentConfig
from tracelet.core.plugins.registry import registry

PLUGINS = Path(__file__).parent / "plugins"
#: Seconds, on the busiest machine, for a lane that ends by itself.
_ENDING = 60.0

# Other tests' processes take their part of the machine: how long an example takes says nothing. Who waits for the result
# gets fewer of them than CI.
hypothesis.settings.register_profile(
    "shared",
    max_examples=100 if os.environ.get("CI") else 10,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("shared")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scripted(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Make the backends of `plugins/scripted.py` known, as an installed distribution's would be."""
    place = tmp_path / "scripted"
    place.mkdir()
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    for name in ("SCRIPTED", "SCRIPTED_INLINE", "SCRIPTED_RENDER", "SCRIPTED_DUMB"):
        monkeypatch.setenv(f"TRACELET_{name}_PLACE", str(place))
    registry.cache_clear()
    yield Scripted(place)
    registry.cache_clear()
    sys.modules.pop("scripted", None)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Make the framework of `plugins/toys.py` known: its models are small, and quickly imported."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    registry.cache_clear()
    yield importlib.import_module("toys")
    registry.cache_clear()
    sys.modules.pop("toys", None)


def _made_once(name: str, text: str, script: dict[str, str]) -> Callable[..., Path]:
    """A fixture: what a program in a process of its own leaves in its folder and in scripted's, to be copied."""

    @pytest.fixture(scope="session", name=name)
    def make(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / "home").mkdir()
        (folder / "scripted").mkdir()
        Scripted(folder / "scripted").told(**script)
        places = {f"TRACELET_{kind}_PLACE": str(folder / "scripted") for kind in ("SCRIPTED", "SCRIPTED_DUMB")}
        program(text, cwd=folder / "home", PYTHONPATH=str(PLUGINS), **places)
        Scripted(folder / "scripted").told()
        return folder

    return make


_three_left = _made_once("_three_left", LEAVE_THREE, {"put": "away"})
_three_stored = _made_once("_three_stored", STORE_THREE, {})


def _copy(folder: Path, scripted: Scripted, home: Path) -> Scripted:
    shutil.copytree(folder / "home", home, dirs_exist_ok=True)
    shutil.copytree(folder / "scripted", scripted.place, dirs_exist_ok=True)
    return scripted


@pytest.fixture
def queue(_three_left: Path, scripted: Scripted, home: Path) -> Scripted:
    """Three deliveries of a process that has ended wait; the backend is back."""
    return _copy(_three_left, scripted, home)


@pytest.fixture
def stored(_three_stored: Path, scripted: Scripted, home: Path) -> Scripted:
    """Three versions of two names are in scripted and in the embedded backend; another process stored them."""
    return _copy(_three_stored, scripted, home)


@pytest.fixture
def experiment(scripted: Scripted) -> Iterator[Callable[..., Experiment]]:
    """Make experiments on `scripted` with short limits; they are stopped in the end."""
    made: list[Experiment] = []

    def make(*backend: str, name: str = "trials", **config: Any) -> Experiment:
        limits = at_this_pace({"deadline": 1.5, "open_timeout": 20.0, "stop_timeout": 6.0} | config)
        exp = Experiment(
            name, backend=list(backend or ("scripted",)), artifacts=True, config=ExperimentConfig(**limits)
        )
        made.append(exp)
        return exp.start()

    yield make
    for exp in made:
        exp.stop()


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No test may leave a lane's process, or a child of one, behind.

    A lane whose program was killed finishes what it has in hand, and ends: that is waited for.
    """
    before = set(lane_processes()) if started.count else set()
    count = started.count
    yield
    until = time.monotonic() + _ENDING
    while started.count != count and (left := set(lane_processes()) - before):
        if time.monotonic() > until:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            pytest.fail(f"the processes {sorted(left)} did not end by themselves")
        time.sleep(0.05)
