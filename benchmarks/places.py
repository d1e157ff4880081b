"""Where trackers keep things while they are measured: real servers, stand-ins for those that nobody can install, folders.

Each gives the variables that lead the SDK and Tracelet there. ``{own}`` in one is the folder of the way that is measured.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.aim_server import AimServer
from servers.clearml_server import ClearmlServer
from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server
from servers.wandb_server import wandb_server


@contextlib.contextmanager
def mlflow_on_disk(folder: Path) -> Iterator[dict[str, str]]:
    yield {"MLFLOW_TRACKING_URI": "sqlite:///{own}/mlflow.db"}


@contextlib.contextmanager
def mlflow_served(folder: Path) -> Iterator[dict[str, str]]:
    with MlflowServer(folder) as server:
        yield {"MLFLOW_TRACKING_URI": server.url}


@contextlib.contextmanager
def aim_on_disk(folder: Path) -> Iterator[dict[str, str]]:
    yield {"TRACELET_AIM_REPO": "{own}"}


@contextlib.contextmanager
def aim_served(folder: Path) -> Iterator[dict[str, str]]:
    with AimServer(folder) as server:
        yield {"TRACELET_AIM_REPO": server.address}


@contextlib.contextmanager
def wandb_served(folder: Path) -> Iterator[dict[str, str]]:
    with wandb_server(folder) as server:
        yield server.environ(folder / "home")


@contextlib.contextmanager
def wandb_offline(folder: Path) -> Iterator[dict[str, str]]:
    yield {
        "WANDB_MODE": "offline",
        "HOME": "{own}",
        **{f"WANDB_{what}_DIR": "{own}/" + what.lower() for what in ("CACHE", "DATA", "CONFIG", "ARTIFACT")},
    }


@contextlib.contextmanager
def clearml_served(folder: Path) -> Iterator[dict[str, str]]:
    with ClearmlServer(folder) as server:
        yield server.environ(folder / "home")


@contextlib.contextmanager
def clearml_offline(folder: Path) -> Iterator[dict[str, str]]:
    yield {
        "CLEARML_OFFLINE_MODE": "1",
        "HOME": "{own}",
        "CLEARML_CONFIG_FILE": "{own}/clearml.conf",
        "CLEARML_CACHE_DIR": "{own}/cache",
    }


@contextlib.contextmanager
def bucket_served(folder: Path) -> Iterator[dict[str, str]]:
    with S3Server("artifacts") as server:
        yield {**server.environ, "TRACELET_BUCKET_URL": server.url("team")}


PLACES = {
    "mlflow-disk": mlflow_on_disk,
    "mlflow-server": mlflow_served,
    "aim-disk": aim_on_disk,
    "aim-server": aim_served,
    "wandb-server": wandb_served,
    "wandb-offline": wandb_offline,
    "clearml-server": clearml_served,
    "clearml-offline": clearml_offline,
}

#: What they are, for the table.
TITLES = {
    "mlflow-disk": "MLflow on disk (sqlite)",
    "mlflow-server": "MLflow, a real server",
    "aim-disk": "Aim on disk",
    "aim-server": "Aim, a real server",
    "wandb-server": "W&B, real client, stand-in server",
    "wandb-offline": "W&B offline",
    "clearml-server": "ClearML, real client, stand-in server",
    "clearml-offline": "ClearML offline",
}
