"""The contract of a detector, with the Trainers of both packages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning_nets import data, net, trainer

from tracelet.testing import DetectorContract


class TestLightning(DetectorContract):
    @pytest.fixture
    def detector(self) -> str:
        return "lightning"

    @pytest.fixture
    def provoke(self, package: str, tmp_path: Path) -> Callable[[], Path]:
        trained = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
        trained.fit(net(package)(), data())
        numbers = itertools.count()

        def save() -> Path:
            path = tmp_path / f"{next(numbers)}.ckpt"
            trained.save_checkpoint(path)
            return path

        return save
