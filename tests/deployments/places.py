"""What of MLflow is deployed where, and what has to be installed for it."""

from __future__ import annotations

import importlib.util
import shutil

import attrs
import pytest

from servers import postgres
from servers.mlflow_server import MlflowServer

__all__ = ["Deployment", "needs"]


@attrs.frozen
class Deployment:
    """A server, and what a client needs in its environment to reach it."""

    server: MlflowServer
    environ: dict[str, str]


def needs(*, modules: tuple[str, ...] = (), commands: tuple[str, ...] = (), how: str) -> None:
    """Fail where something is not installed: a test that is left out proves nothing."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    absent += [name for name in commands if postgres.command(name) is None and shutil.which(name) is None]
    if absent:
        pytest.fail(f"not installed: {', '.join(absent)}. {how}", pytrace=False)
