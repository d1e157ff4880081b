"""Where a page is followed, so far as it takes something for granted: files in its folder, and servers with their variables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["PLACES"]

#: By page: what makes the files that are in its folder, and returns the variables that are set.
PLACES: dict[str, Callable[[pytest.FixtureRequest, Path], dict[str, str]]] = {}
