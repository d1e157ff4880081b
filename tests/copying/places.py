"""Every tracker, and users who copy between them: each user has a home, a tracelet directory and processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from copying.work import MAKE, TELL
from servers import programs
from servers.clearml_server import ClearmlServer
from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server
from servers.wandb_server import wandb_server

TRACELET = str(Path(sys.executable).with_name("tracelet"))


class Places:
    """MLflow's real server, an Aim repository and a bucket in moto's S3; for W&B and ClearML a stand-in."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        for name in ("mlflow", "aim"):
            (folder / name).mkdir(parents=True)
        self.aim = folder / "aim"
        self.mlflow = stack.enter_context(MlflowServer(folder / "mlflow"))
        self.wandb = stack.enter_context(wandb_server(folder / "wandb"))
        self.bucket = stack.enter_context(S3Server("artifacts"))
        self.clearml = stack.enter_context(ClearmlServer(folder / "clearml"))

    def environ(self, user: str) -> dict[str, str]:
        """What a user has set."""
        home = self._folder / user
        return {
            **self.wandb.environ(home),
            **self.clearml.environ(home),
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "TRACELET_AIM_REPO": str(self.aim),
            **self.bucket.environ,
            "TRACELET_BUCKET_URL": self.bucket.url("team"),
            "TRACELET_DIR": str(home / "tracelet"),
            "TRACELET_DEADLINE": "120",
            "TRACELET_LARGE_FILE_MB": "0.1",
            # All users read one store for large files.
            "TRACELET_STORE": str(self._folder / "store"),
        }

    def run(self, user: str, code: str, **given: object) -> Any:
        """Run a program of a user; return what it prints."""
        named = "".join(f"{name} = {value!r}\n" for name, value in given.items())
        return programs.run(named + code, self._folder / user, self.environ(user), 600)

    def command(self, user: str, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Begin a command of a user."""
        folder = self._folder / user
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [TRACELET, *arguments],
            cwd=folder,
            env=programs.paced({**self.environ(user), **(environ or {})}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def copy(self, user: str, source: str, target: str, experiment: str, *more: str) -> dict[str, Any]:
        """Copy what a user asks for, to the end; return what the command says of it."""
        ended = self.command(user, "copy", experiment, "--from", source, "--to", target, "--json", *more)
        out, err = ended.communicate(timeout=1200)
        assert ended.returncode == 0, out[-3000:] + err[-6000:]
        answer: dict[str, Any] = json.loads(out)
        return answer

    def make(self, user: str, *large: int) -> list[dict[str, Any]]:
        """Log twelve versions to the embedded backend, in two runs with a file of so many bytes each; return what is told of them."""
        self.run(user, MAKE, LARGE=large)
        return self.tell(user, [("local", "digits")])["local digits"]

    def tell(self, user: str, places: Sequence[tuple[str, str]]) -> dict[str, list[dict[str, Any]]]:
        """Return all that is to come over of each version, by backend and experiment."""
        told: dict[str, list[dict[str, Any]]] = self.run(user, TELL, PLACES=list(places))
        return told
