"""Databases of MLflow's own making: its hundred migrations take seconds, so they run once a process, and then files are copied."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import warnings
from pathlib import Path

from mlflow.store.db.utils import _initialize_tables
from sqlalchemy import create_engine


def new_database(folder: Path) -> str:
    """Put an empty database into a folder, which is made, and return its address."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mlflow.db"
    shutil.copyfile(_migrated(), path)
    return f"sqlite:///{path}"


@functools.cache
def _migrated() -> Path:
    """It has tables and no experiment: the first store on a database makes that, and writes into it where its files are."""
    folder = Path(tempfile.mkdtemp(prefix="tracelet-mlflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = create_engine(f"sqlite:///{folder / 'mlflow.db'}")
    with warnings.catch_warnings(action="ignore"):
        _initialize_tables(engine)
    engine.dispose()
    return folder / "mlflow.db"
