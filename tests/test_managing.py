"""What a user asks about what is stored is answered by one command, and by each backend alike.

MLflow's real server and an Aim repository; for W&B and ClearML the real client and a stand-in.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from servers.clearml_server import ClearmlServer
from servers.mlflow_server import MlflowServer
from servers.wandb_server import wandb_server

SCRIPTS = Path(__file__).parents[1] / "examples" / "managing"
#: What is of one backend, one machine or one moment; not every backend says what becomes free.
OWN = frozenset({"freed_bytes", "uri", "backend", "backends", "created_at", "run_id", "directory", "age", "put_id"})


def environment(place: Mapping[str, str]) -> dict[str, str]:
    """The variables of a user whose commands are the ones of this environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TRACELET_")}
    commands = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": commands, "COLUMNS": "200", **place}


def run(folder: Path, place: Mapping[str, str], *command: str) -> str:
    """Run a command in a folder; return what it writes."""
    done = subprocess.run(
        command, cwd=folder, env=environment(place), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def filled(folder: Path, backend: str, place: Mapping[str, str]) -> None:
    run(folder, place, sys.executable, str(SCRIPTS / "make_versions.py"), backend)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that was empty before the versions were logged there."""
    filled(tmp_path, "local", {})
    return tmp_path


def ask(folder: Path, script: str) -> list[str]:
    return run(folder, {}, "sh", str(SCRIPTS / script)).splitlines()


def test_which_version_was_best(folder: Path) -> None:
    header, *rows = ask(folder, "which_version_was_best.sh")
    assert header.split()[0] == "NAME"
    assert [row.split()[:2] for row in rows] == [["classifier", "v3"]]


def test_what_changed_between_two_versions(folder: Path) -> None:
    text = "\n".join(ask(folder, "what_changed.sh"))
    assert "readme.txt" in text
    assert "rows.csv" in text


def test_who_used_a_data_set(folder: Path) -> None:
    text = "\n".join(ask(folder, "who_used_this_data.sh"))
    assert "rows" in text
    assert "classifier v3" in text
    assert "classifier v2" not in text


def test_how_big_the_store_is(folder: Path) -> None:
    text = "\n".join(ask(folder, "how_big_is_my_store.sh"))
    assert "classifier" in text
    assert "rows" in text


def test_old_versions_go_and_aliased_ones_stay(folder: Path) -> None:
    before = sum(path.stat().st_size for path in (folder / ".tracelet").rglob("*") if path.is_file())
    ask(folder, "delete_old_versions.sh")
    told = json.loads(run(folder, {}, "tracelet", "ls", "digits", "--name", "classifier", "--json"))
    left = {one["number"]: one["aliases"] for one in told["artifacts"]}
    assert left == {4: [], 3: [], 1: ["production"]}
    after = sum(path.stat().st_size for path in (folder / ".tracelet").rglob("*") if path.is_file())
    assert before - after > 190_000


def test_an_alias_moves(folder: Path) -> None:
    ask(folder, "move_an_alias.sh")
    told = json.loads(run(folder, {}, "tracelet", "show", "digits", "classifier@production", "--json"))
    assert told["number"] == 3


def test_which_experiments_there_are(folder: Path) -> None:
    assert any("digits" in row for row in ask(folder, "which_experiments.sh"))


def alike(value: Any) -> Any:
    """What an answer says, without what is of one backend alone."""
    if isinstance(value, dict):
        return {key: alike(one) for key, one in value.items() if key not in OWN}
    return [alike(one) for one in value] if isinstance(value, list) else value


QUESTIONS = {
    "experiments": (),
    "ls": ("digits",),
    "ls of the good ones": ("digits", "--where", "metrics.accuracy >= 0.88", "--sort", "-metrics.accuracy"),
    "show": ("digits", "classifier@production"),
    "diff": ("digits", "rows@v3", "rows@v4"),
    "lineage": ("digits", "rows@v3"),
    "verify": ("digits",),
}


def answers(folder: Path, backend: str, place: Mapping[str, str]) -> dict[str, Any]:
    told = {
        question: json.loads(run(folder, place, "tracelet", question.partition(" ")[0], *arguments, "--json"))
        for question, arguments in QUESTIONS.items()
    }
    assert backend in json.dumps(told["experiments"])
    told["experiments"] = "digits" in json.dumps(told["experiments"])
    return {question: alike(answer) for question, answer in told.items()}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path], dict[str, str]]]:
    """What a user sets for a backend, by the backend and the user's home. A server begins when it is first asked for."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:

        @functools.cache
        def begun(backend: str) -> Any:
            place = folder / backend
            place.mkdir()
            made = {"mlflow": MlflowServer, "wandb": wandb_server, "clearml": ClearmlServer}
            return stack.enter_context(made[backend](place))

        def environ(backend: str, home: Path) -> dict[str, str]:
            if backend == "mlflow":
                return {"MLFLOW_TRACKING_URI": begun(backend).url}
            if backend == "aim":
                return {"TRACELET_AIM_REPO": str(folder / "aim")}
            return {} if backend == "local" else begun(backend).environ(home)

        yield environ


@pytest.fixture(scope="module")
def found_in_local(
    servers: Callable[[str, Path], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return managed(tmp_path_factory.mktemp("local"), "local", servers)


def managed(home: Path, backend: str, servers: Callable[[str, Path], dict[str, str]]) -> dict[str, Any]:
    """Log the versions, ask about them, change what is there, and ask again; return the answers."""
    place = {**servers(backend, home), "TRACELET_BACKEND": backend}
    filled(home, backend, place)
    found = answers(home, backend, place)
    changes = {
        "alias": ("digits", "classifier@v3", "production"),
        "prune": ("digits", "--name", "classifier", "--keep-last", "2", "--yes"),
        "rm": ("digits", "rows@v0", "--yes"),
        "ls": ("digits",),
    }
    told = {
        f"{what}, then": alike(json.loads(run(home, place, "tracelet", what, *arguments, "--json")))
        for what, arguments in changes.items()
    }
    return found | told


@pytest.mark.parametrize("backend", ["mlflow", "aim", "wandb", "clearml"])
def test_every_tracker_answers_as_the_local_directory_does(
    backend: str,
    servers: Callable[[str, Path], dict[str, str]],
    found_in_local: dict[str, Any],
    tmp_path: Path,
) -> None:
    found = managed(tmp_path, backend, servers)
    for question, answer in found_in_local.items():
        assert found[question] == answer, question
