"""Fixtures: both packages, and a keeper that copies what a detector emits, as core does."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

HERE = Path(__file__).parent
# Children import the modules that they train from here too.
sys.path.insert(0, str(HERE))

from lightning_nets import CLASSIC, UNIFIED  # noqa: E402

from tracelet.plugin import Detection  # noqa: E402
from tracelet_lightning import LightningSettings  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore warnings: Lightning warns about small batches and few workers, its old releases about newer Python."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::UserWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"))


@pytest.fixture(params=[UNIFIED, CLASSIC])
def package(request: pytest.FixtureRequest) -> str:
    """The name of the package under test."""
    return request.param


@pytest.fixture
def pl(package: str) -> ModuleType:
    return importlib.import_module(package)


@attrs.frozen
class Kept:
    """A detection, and its bytes when it was emitted."""

    detection: Detection
    path: Path | None

    @property
    def kind(self) -> str:
        assert self.detection.type is not None
        return self.detection.type.value

    @property
    def label(self) -> str:
        return ",".join(self.detection.aliases)

    @property
    def said(self) -> dict[str, Any]:
        return self.detection.metadata


class Keeper:
    """Takes detections as core does: it copies the file of each at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Whether each fit came to its end.
        self.ends: list[bool] = []
        self.all: list[Kept] = []
        self.detector: Any = None
        self._lock = threading.Lock()

    def emit(self, detection: Detection) -> None:
        with self._lock:
            place = None
            if detection.path is not None:
                place = self.folder / str(len(self.all)) / detection.path.name
                (shutil.copytree if detection.path.is_dir() else self._copy)(detection.path, place)
            self.all.append(Kept(detection, place))

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True)
        shutil.copyfile(source, target)

    def of(self, kind: str) -> list[Kept]:
        return [one for one in self.all if one.kind == kind]

    def labels(self) -> list[tuple[str, str]]:
        """File names and aliases of the checkpoints, in order."""
        return [(one.path.name if one.path else "", one.label) for one in self.of("checkpoint")]


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a detector; all of them are stopped at the end."""
    from tracelet_lightning.detector import LightningDetector

    started: list[Keeper] = []

    def start(**settings: Any) -> Keeper:
        folder = tmp_path / f"detector-{len(started)}"
        keeper = Keeper(folder / "kept")
        keeper.detector = LightningDetector(LightningSettings(**settings), folder / "made", keeper.ends.append)
        keeper.detector.start(keeper.emit)
        started.append(keeper)
        return keeper

    yield start
    for keeper in started:
        keeper.detector.stop()
