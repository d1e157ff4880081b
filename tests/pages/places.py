"""Where a page is followed, so far as it takes something for granted: files in its folder, and servers with their variables."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from servers.programs import clean_environment
from servers.s3_server import S3Server
from servers.wandb_server import wandb_server

__all__ = ["PLACES"]

T = TypeVar("T")
Place = Callable[[pytest.FixtureRequest, Path], dict[str, str]]

#: Two versions of a data set, and three of a model that was trained on them.
_LOGGED = """
import sys
from pathlib import Path
from tracelet import Experiment

for number, losses in enumerate([[0.5], [0.2, 0.3]]):
    with Experiment("digits", backend=sys.argv[1], artifacts=True) as exp:
        Path("rows.csv").write_text("pixel,digit\\n" + "1,2\\n" * (1000 + number))
        exp.log_artifact(exp.create_artifact("rows", "dataset").add_file("rows.csv")).raise_for_errors()
        exp.use_artifact("rows")
        for loss in losses:
            Path("weights.bin").write_bytes(str(loss).encode() * 100_000)
            net = exp.create_artifact("net", "model", "It tells digits").add_file("weights.bin")
            net.metadata["metrics"] = {"val_loss": loss}
            aliases = ["production"] if loss == 0.2 else []
            exp.log_artifact(net, aliases=aliases).raise_for_errors()
"""


def _log(folder: Path, backend: str, environ: Mapping[str, str]) -> None:
    """Log the versions of an experiment, as somebody did before the page begins."""
    command = [sys.executable, "-c", _LOGGED, backend]
    subprocess.run(command, cwd=folder, env=clean_environment(environ), check=True, timeout=600)
    for name in ("rows.csv", "weights.bin"):
        (folder / name).unlink()


def _kept_up(request: pytest.FixtureRequest, server: contextlib.AbstractContextManager[T]) -> T:
    """Start a server; it ends with the test."""
    stack = contextlib.ExitStack()
    request.addfinalizer(stack.close)
    return stack.enter_context(server)


def _mlflow_in(folder: Path) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}


def outage(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Nobody listens where MLflow is to be, until the page starts a server."""
    request.addfinalizer(lambda: _end_all_in(folder))
    return {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5055", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _end_all_in(folder: Path) -> None:
    """End what the page has begun and left running."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == os.path.realpath(folder):
                process.kill()


def wandb_and_mlflow(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """W&B's stand-in has an experiment, and MLflow nothing."""
    server = _kept_up(request, wandb_server(folder.with_name("wandb-server")))
    environ = {**server.environ(folder.with_name("wandb-home")), **_mlflow_in(folder)}
    _log(folder, "wandb", environ)
    return environ


def mlflow_with_versions(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    environ = _mlflow_in(folder)
    _log(folder, "mlflow", environ)
    return environ


def dvc_beside_mlflow(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """A DVC repository with one output, as `dvc add rows.csv` leaves it."""
    repository = folder / "repository"
    (repository / ".dvc").mkdir(parents=True)
    (repository / ".dvc" / "config").touch()
    rows = b"pixel,digit\n1,2\n"
    (repository / "rows.csv").write_bytes(rows)
    md5 = hashlib.md5(rows, usedforsecurity=False).hexdigest()
    (repository / "rows.csv.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {len(rows)}\n  hash: md5\n  path: rows.csv\n"
    )
    return _mlflow_in(folder)


def s3(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    server = _kept_up(request, S3Server("another-bucket"))
    url = "s3://team-artifacts/vision"
    return {**server.environ, "TRACELET_BACKEND": "bucket", "TRACELET_BUCKET_URL": url}


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
    return _mlflow_in(folder)


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
PLACES: dict[str, Place] = {
    "how-to/carry-into-a-closed-network.md": mlflow_with_versions,
    "how-to/choose-where-artifacts-go.md": mlflow,
    "how-to/compare-versions.md": files({"config.json": '{"layers": 2}'}),
    "how-to/find-versions.md": files({"report.html": "<h1>It went well</h1>"}),
    "how-to/import-what-was-logged-before.md": dvc_beside_mlflow,
    "how-to/log-artifacts.md": files(
        {
            "report.html": "<h1>It went well</h1>",
            "run-7.yaml": "seed: 7\n",
            **{name: name for name in ("weights.pt", "plots/loss.png", "plots/roc.png")},
            **{f"fold-{fold}.pt": str(fold) for fold in range(3)},
        }
    ),
    "how-to/log-large-files.md": large_file,
    "how-to/move-from-wandb-to-mlflow.md": wandb_and_mlflow,
    "how-to/recover-from-an-outage.md": outage,
    "how-to/store-2-tb-on-s3.md": s3,
    "how-to/write-a-backend.md": of_an_author,
    "how-to/write-a-detector.md": of_an_author,
    "how-to/write-a-policy.md": of_an_author,
    "how-to/write-a-serializer.md": of_an_author,
}
