"""A repo, a server on another one, and a bucket; and programs of users, each with a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.aim_programs import HANDS, HEAD
from servers.aim_server import AimServer
from servers.s3_server import S3Server


class Programs:
    """Runs programs, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def home(self) -> Path:
        self._count += 1
        return self._folder / f"home-{self._count}"

    def begin(self, code: str, home: Path | None = None, **environ: str) -> Any:
        home = home or self.home()
        return programs.begin(f"{HEAD}\n{code}", home, {"TRACELET_DIR": str(home / "tracelet"), **environ})

    def __call__(self, code: str, home: Path | None = None, limit: float = 120.0, **environ: str) -> Any:
        return programs.finish(self.begin(code, home, **environ), limit)


@pytest.fixture
def program(tmp_path: Path) -> Programs:
    """Runs a program to its end, with the variables that are given; the JSON of its last line comes back."""
    return Programs(tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A folder for a repo that is not there yet."""
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AimServer]:
    """`aim server` on a repo of its own; tests use experiments of their own."""
    with AimServer(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="session")
def bucket() -> Iterator[S3Server]:
    """A bucket."""
    with S3Server("aim-artifacts") as started:
        yield started


@pytest.fixture
def ask(program: Programs) -> Callable[[Path, str], Any]:
    """Ask Aim's own SDK about a repo, in a process that knows nothing of Tracelet: an expression with `repo` in it."""

    def asked(folder: Path, expression: str) -> Any:
        return program(
            f"import aim\nrepo = aim.Repo.from_path({str(folder)!r})\n"
            "def query(text): return sorted(x.run.hash for x in repo.query_runs(text, report_mode=0).iter_runs())\n"
            f"print(json.dumps({expression}))"
        )

    return asked


@pytest.fixture
def hands(program: Any, repo: Path) -> Any:
    """A program with a backend on a repo on disk, and with hands that change what it keeps."""
    return lambda code: program(f"{HANDS}\n{code}", REPO=str(repo))
