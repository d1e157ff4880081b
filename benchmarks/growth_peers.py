"""DVC and trackio as ways of `growth.py`, each run by the Python of its own environment.

DVC is a repository without Git, whose remote is a directory: what counts is `dvc add` and `dvc push` together, and
`dvc pull` into a workspace without its cache. Its Python interface is called, so that the start of its command does not
count. Neither of the two has its files on the disk when it returns: they leave that to the system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from files import write
from timing import GrowthStep, growing, rate, storing


@contextlib.contextmanager
def _dvc() -> Iterator[Callable[[], Any]]:
    """Make a repository, and go into it; yields what opens it."""
    from dvc.repo import Repo

    Path("repo").mkdir()
    Path("remote").mkdir()
    os.chdir("repo")
    repo = Repo.init(".", no_scm=True)
    with repo.config.edit() as config:
        config["remote"]["store"] = {"url": str(Path("../remote").absolute())}
        config["core"]["remote"] = "store"
    opened = Repo(".")
    # Its first calls import what the others need.
    write(Path("first"), 10)
    opened.add("first")
    opened.push("first.dvc")
    yield lambda: Repo(".")


@contextlib.contextmanager
def dvc_storing(count: int, size: int) -> Iterator[GrowthStep]:
    with _dvc() as open_again:

        def log(folder: Path) -> None:
            repo = open_again()  # one that was open before believes that folders are there which were deleted
            repo.add(str(folder))
            repo.push(f"{folder}.dvc")

        def prepare() -> None:
            # Neither the workspace nor the cache has it.
            shutil.rmtree(".dvc/cache")
            shutil.rmtree("fresh")

        def get() -> Path:
            open_again().pull("fresh.dvc")
            return Path("fresh")

        def forget() -> None:
            for folder in (".dvc/cache", "../remote", "fresh"):
                shutil.rmtree(folder, ignore_errors=True)
            Path("../remote").mkdir()
            Path("fresh.dvc").unlink()

        yield storing(log, get, forget, prepare, count=count, size=size)


@contextlib.contextmanager
def dvc_names() -> Iterator[GrowthStep]:
    with _dvc() as open_again:
        repo = open_again()

        def log(number: int) -> None:
            repo.add(str(write(Path(f"name{number}"), 100)))
            repo.push(f"name{number}.dvc")

        def get(number: int) -> None:
            Path(f"name{number}").unlink()
            repo.pull(f"name{number}.dvc")

        # The first one was there before.
        yield growing(log, get, lambda: len(list(open_again().index.outs)) - 1)


@contextlib.contextmanager
def _trackio() -> Iterator[Any]:
    import trackio

    run = trackio.init(project="bench", embed=False, auto_log_gpu=False)
    yield run
    run.finish()


def _log(run: Any, name: str, path: Path) -> None:
    import trackio

    artifact = trackio.Artifact(name, "dataset")
    artifact.add_dir(path) if path.is_dir() else artifact.add_file(path)
    run.log_artifact(artifact)


@contextlib.contextmanager
def trackio_storing(count: int, size: int) -> Iterator[GrowthStep]:
    with _trackio() as run:
        _log(run, "first", write(Path("first"), 10))
        run.use_artifact("first").download("got")
        shutil.rmtree("got")

        def forget() -> None:
            shutil.rmtree("got")
            shutil.rmtree(Path(os.environ["TRACKIO_DIR"], "artifacts"))

        yield storing(
            lambda folder: _log(run, "data", folder),
            lambda: Path(run.use_artifact("data").download("got")),
            forget,
            count=count,
            size=size,
        )


def _listed() -> list[dict[str, Any]]:
    """What its page is made of: its Python interface lists no artifacts."""
    from trackio.sqlite_storage import SQLiteStorage

    found: list[dict[str, Any]] = SQLiteStorage.list_artifacts("bench")
    return found


@contextlib.contextmanager
def trackio_versions() -> Iterator[GrowthStep]:
    with _trackio() as run:
        yield growing(
            lambda number: _log(run, "thing", write(Path("source.bin"), 100)),
            lambda number: run.use_artifact("thing").download("got"),
            lambda: len(_listed()[0]["versions"]),
        )


@contextlib.contextmanager
def trackio_names() -> Iterator[GrowthStep]:
    with _trackio() as run:
        yield growing(
            lambda number: _log(run, f"name{number}", write(Path("source.bin"), 100)),
            lambda number: run.use_artifact(f"name{number}").download("got"),
            lambda: len(_listed()),
        )


@contextlib.contextmanager
def trackio_threads(total: int) -> Iterator[GrowthStep]:
    with _trackio() as run:

        def log(name: str, count: int) -> None:
            for number in range(count):
                _log(run, name, write(Path(f"{name}-{number}"), 1000))

        yield lambda number, n: rate(total, lambda: in_threads(n, total, log))


def in_threads(n: int, total: int, log: Callable[[str, int], object]) -> None:
    """So many threads log their shares at once."""
    threads = [threading.Thread(target=log, args=(f"name{one}", total // n)) for one in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


#: A process that logs its share when it is told to, and says so.
_ONE = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from files import write
from growth_peers import _log, _trackio
with _trackio() as run:
    for order in sys.stdin:
        for number in range(int(order)):
            _log(run, sys.argv[1], write(Path(sys.argv[1] + "-" + str(number)), 1000))
        print("done", file=sys.stderr, flush=True)
"""


@contextlib.contextmanager
def trackio_processes(total: int) -> Iterator[GrowthStep]:
    program = _ONE.format(here=str(Path(__file__).parent))
    yield lambda number, n: in_processes(n, total, program)


def in_processes(n: int, total: int, program: str) -> dict[str, float]:
    """So many processes log their shares at once, after each has logged one; their start does not count."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, f"name{one}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in range(n)
    ]

    def log(count: int) -> None:
        for one in running:
            assert one.stdin is not None
            one.stdin.write(f"{count}\n")
            one.stdin.flush()
        for one in running:
            assert one.stderr is not None
            said = []
            while (line := one.stderr.readline()) != "done\n":
                said.append(line)
                if not line:
                    raise RuntimeError("".join(said)[-300:])

    try:
        log(1)
        return rate(total, lambda: log(total // n))
    finally:
        for one in running:
            one.communicate()
