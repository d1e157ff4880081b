"""What is written in each set, and how it is read: the experiments, the variables, and the server that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs

from formats import sets
from servers import programs
from servers.clearml_server import ClearmlServer
from servers.wandb_server import wandb_server

_TESTS = Path(__file__).parents[1]


@attrs.frozen
class Plan:
    """One kind of set."""

    #: The writer's steps, in order, each with the exit code that its process ends with.
    steps: dict[str, int]
    #: By experiment: the backends that hold something of it when the set is written.
    experiments: dict[str, list[str]]
    #: The same for those to which something of it is still to be delivered.
    arrives: dict[str, list[str]] = attrs.Factory(dict)


PLANS = {
    "local": Plan(
        {
            "held": 0,
            "away": 0,
            "refused": 0,
            "leased": -9,
            "torn": -9,
            "drafts": 0,
            "draft_of_a_dead_process": -9,
            "captured": -9,
        },
        {
            "golden": ["local"],
            "größe 1/2": ["local"],
            "waiting": ["local"],
            "torn": ["local", "archive"],
            "captured": ["local"],
        },
        {"waiting": ["local", "archive"], "leased": ["archive"], "drafts": ["local", "archive"]},
    ),
    "mlflow": Plan({"held": 0, "deleted": 0, "away": 0}, {"golden": ["mlflow"]}),
    "aim": Plan({"held": 0, "deleted": 0, "away": 0}, {"golden": ["aim"]}),
    "wandb": Plan({"held": 0}, {"golden": ["wandb"]}),
    "clearml": Plan({"held": 0}, {"golden": ["clearml"]}),
    "clearml-server": Plan({"held": 0, "deleted": 0}, {"golden": ["clearml"]}),
}


#: Where a server's addresses stand in what it keeps.
ADDRESSES = {"api_url": "http://api.server.example", "files_url": "http://files.server.example"}


def environment(kind, place, *, offline=True):
    """The variables of a program that writes or reads a set which lies in ``place``; offline, no server is needed."""
    own = {
        "TRACELET_DIR": str(place / "tracelet"),
        "TRACELET_LARGE_FILE_MB": "0.005",
        "TRACELET_BACKEND": kind.removesuffix("-server"),
        "HOME": str(place / "home"),
        "XDG_STATE_HOME": str(place / "state"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    if kind == "mlflow":
        own["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow/mlflow.db"
    elif kind == "aim":
        own["TRACELET_AIM_REPO"] = str(place / "aim")
    elif kind == "wandb":
        own |= {
            f"WANDB_{name}_DIR": f"{place}/wandb-{name.lower()}" for name in ("CACHE", "DATA", "CONFIG", "ARTIFACT")
        }
        own |= {"WANDB_MODE": "offline", "WANDB_API_KEY": "a" * 40} if offline else {}
    elif kind == "clearml":
        own["CLEARML_CACHE_DIR"] = f"{place}/clearml-cache"
        own |= {"CLEARML_OFFLINE_MODE": "1", "CLEARML_API_HOST": "http://127.0.0.1:9"} if offline else {}
    return programs.paced(own)


def told(kind, folder):
    """Read a set that was laid out in a folder, finish what waits in it, and return all that was seen."""
    plan = PLANS[kind]
    asked = {"experiments": plan.experiments, "arrives": plan.arrives, "folder": str(folder)}
    own = environment(kind, folder)
    if kind == "wandb":
        with wandb_server(folder / "server", current=True) as server:
            return _told_in_two_steps(kind, folder, own, server.environ(folder / "home"), asked)
    if kind.startswith("clearml"):
        server = ClearmlServer(folder / "server")
        sets.replace(folder / "server", {old: getattr(server, name) for name, old in ADDRESSES.items()})
        with server:
            if kind == "clearml":
                return _told_in_two_steps(kind, folder, own, server.environ(folder / "home"), asked)
            return _run(folder, {**own, **server.environ(folder / "home")}, asked)
    return _run(folder, own, asked)


def _told_in_two_steps(kind, folder, offline, server, asked):
    """What an offline mode left is read offline, and delivered where there is a server."""
    before = _run(folder, offline, {**asked, "sends": False})
    own = environment(kind, folder, offline=False)
    # The caches stay where they were, for in them is what the SDK left there.
    online = {**own, **{name: value for name, value in server.items() if name not in own or not name.endswith("_DIR")}}
    return {**_run(folder, online, {**asked, "reads": False}), "before": before["before"], "waits": before["waits"]}


def _run(folder, environ, asked):
    work = folder / "work"
    work.mkdir(exist_ok=True)
    paths = (_TESTS, sets.FORMATS / "plugin", environ.get("PYTHONPATH", ""))
    environ = {**environ, "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)}
    program = [sys.executable, sets.FORMATS / "reading.py", json.dumps(asked)]
    done = subprocess.run(program, cwd=work, env=environ, text=True, capture_output=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "said": done.stderr}
