"""Where a page is followed, so far as it takes something for granted: files in its folder, and servers with their variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["PLACES"]


def of_an_author(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Have pip install a plugin into a folder of its own, and not where these tests run; and its tests take no warning."""
    site = folder.with_name("site")
    return {
        "PYTHONPATH": os.pathsep.join([str(site), str(folder / "src")]),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTEST_ADDOPTS": "-W error",
    }


#: By page: what makes the files that are in its folder, and returns the variables that are set.
PLACES: dict[str, Callable[[pytest.FixtureRequest, Path], dict[str, str]]] = {
    "how-to/write-a-backend.md": of_an_author,
    "how-to/write-a-detector.md": of_an_author,
    "how-to/write-a-policy.md": of_an_author,
    "how-to/write-a-serializer.md": of_an_author,
}
