"""What of Databricks is not installed. MLflow's client tries to import it before each request, seven times."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["note_absent"]

_OF_DATABRICKS = ("dbruntime", "pyspark")


def note_absent() -> None:
    """Have imports of it fail at once, where Python would look into each folder of its path every time.

    Only for a lane's own process, into which nothing is installed while it runs.
    """
    for name in _OF_DATABRICKS:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = None  # type: ignore[assignment]
