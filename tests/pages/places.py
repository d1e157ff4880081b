"""Where a page is followed, so far as it takes something for granted: files in its folder, and servers with their variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

__all__ = ["PLACES"]

Place = Callable[[pytest.FixtureRequest, Path], dict[str, str]]


def files(texts: Mapping[str, str]) -> Place:
    """A folder with these files."""

    def make(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return {}

    return make


def large_file(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """A file of zeros that takes no disk, and a small one."""
    (folder / "images.bin").touch()
    os.truncate(folder / "images.bin", 120_000_000)
    (folder / "classes.json").write_text("[0, 1]")
    return {}


def mlflow(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """MLflow without a server."""
    return {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}


#: By page: what makes the files that are in its folder, and returns the variables that are set.
PLACES: dict[str, Place] = {
    "how-to/choose-where-artifacts-go.md": mlflow,
    "how-to/compare-versions.md": files({"config.json": '{"layers": 2}'}),
    "how-to/find-versions.md": files({"report.html": "<h1>It went well</h1>"}),
    "how-to/log-artifacts.md": files(
        {
            "report.html": "<h1>It went well</h1>",
            "run-7.yaml": "seed: 7\n",
            **{name: name for name in ("weights.pt", "plots/loss.png", "plots/roc.png")},
            **{f"fold-{fold}.pt": str(fold) for fold in range(3)},
        }
    ),
    "how-to/log-large-files.md": large_file,
}
