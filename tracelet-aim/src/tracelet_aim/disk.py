"""An Aim repo in a folder that this machine sees."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aim import Repo
from aim.sdk.configs import get_aim_repo_name
from aim.sdk.index_manager import RepoIndexManager
from aim.sdk.repo import RepoStatus
from aim.sdk.utils import clean_repo_path, search_aim_repo
from aim.storage.rockscontainer import RocksContainer
from aimrocks.errors import RocksIOError
from filelock import FileLock

from tracelet.exceptions import BackendError, BackendUnavailable, ConfigError, IntegrityError
from tracelet_aim.errors import is_locked, said, translated
from tracelet_aim.kept import KeptOpen
from tracelet_aim.trees import CATALOGUE, PATIENCE, Ask, Facts, Key, Tree, facts_of

__all__ = ["DiskPlace", "DiskTree", "own_repo"]

T = TypeVar("T")

#: Seconds in which another process finishes a new repo. Aim itself needs about two.
_MAKING = 60.0
#: Attempts to open a database for reading. One fails if a writer compacts the database in that moment.
_ATTEMPTS = 20


def own_repo(folder: str) -> str:
    """Return the folder whose repo Aim takes for a program that is in ``folder``."""
    found, _ = search_aim_repo(folder)
    return str(found or folder)


class DiskTree:
    """A database that is open in this process."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def get(self, *path: Key) -> Any:
        """See :class:`~tracelet_aim.trees.Tree`."""
        try:
            return self._tree.collect(path)
        except KeyError:
            return None

    def set(self, path: tuple[Key, ...], value: Any) -> None:
        """See :class:`~tracelet_aim.trees.Tree`."""
        self._tree.set(path, value)

    def drop(self, *path: Key) -> None:
        """See :class:`~tracelet_aim.trees.Tree`."""
        del self._tree[path]

    def items(self, *path: Key) -> list[tuple[Key, Any]]:
        """See :class:`~tracelet_aim.trees.Tree`."""
        return list(self._tree.items_eager(path))

    def keys(self, *path: Key) -> list[Key]:
        """See :class:`~tracelet_aim.trees.Tree`."""
        return list(self._tree.keys_eager(path))


class DiskPlace:
    """A repo on disk. RocksDB's own lock, which ends with its process, lets one process write to a database at a time."""

    def __init__(self, root: str) -> None:
        """Raise ``BackendUnavailable`` where no folder can be made, and ``ConfigError`` for one that Aim cannot use."""
        self._root = Path(clean_repo_path(root))
        if "?" in str(self._root):
            raise ConfigError(
                f"Aim's repo cannot be in {self._root}: Aim cuts the path of its tables off at the question mark. Set "
                "TRACELET_AIM_REPO to a folder without one."
            )
        self._folder = self._root / str(get_aim_repo_name())
        self.shown = str(self._root)
        self.address = f"aim://{self._root.resolve()}"
        self._repo: Any = None
        self._catalogues: dict[str, KeptOpen] = {}
        #: Whether the repo was found to be one that can be used.
        self._is_whole = False
        above = next(part for part in (self._folder, *self._folder.parents) if part.exists() or part == part.parent)
        if not above.is_dir():
            raise BackendUnavailable(f"Aim's repo cannot be in {self._root}: {above} is not a folder.")

    @contextlib.contextmanager
    def reading(self, family: str, name: str) -> Iterator[Tree | None]:
        """See :class:`~tracelet_aim.trees.Place`."""
        if family == CATALOGUE and name in self._catalogues:
            with translated(self.shown), self._catalogues[name].reading() as container:
                if container is not None:
                    yield DiskTree(container.tree())
                    return
        with translated(self.shown), self._read(family, name) as tree:
            yield None if tree is None else DiskTree(tree)

    @contextlib.contextmanager
    def writing(self, family: str, name: str, patience: float = PATIENCE) -> Iterator[Tree]:
        """See :class:`~tracelet_aim.trees.Place`."""
        self._make()
        with translated(self.shown), self._write(family, name, patience) as container:
            yield DiskTree(container.tree())

    def databases(self, family: str) -> list[str]:
        """See :class:`~tracelet_aim.trees.Place`."""
        try:
            return sorted(os.listdir(self._folder / family / "chunks"))
        except FileNotFoundError:
            return []

    def folder(self) -> Path:
        """See :class:`~tracelet_aim.trees.Place`."""
        return self._folder

    def is_here(self, run_hash: str) -> bool:
        """See :class:`~tracelet_aim.trees.Place`."""
        return True

    def experiments_of_runs(self) -> Iterator[tuple[str, str | None]]:
        """See :class:`~tracelet_aim.trees.Place`. One question to the table tells all of them."""
        there = self.databases("meta")
        if not there:
            return
        with translated(self.shown):
            known = {run.hash: str(run.experiment or "") for run in self.repo().structured_db.runs()}
        yield from ((run_hash, known.get(run_hash)) for run_hash in there)

    def facts(self, run_hash: str) -> Facts | None:
        """See :class:`~tracelet_aim.trees.Place`."""
        if not self._folder.exists():
            return None
        with translated(self.shown):
            run = self.repo().structured_db.find_run(run_hash)
            return facts_of(run_hash, lambda what: getattr(run, what)) if run else None

    @contextlib.contextmanager
    def reading_run(self, run_hash: str) -> Iterator[Ask]:
        """See :class:`~tracelet_aim.trees.Place`."""
        try:
            with translated(self.shown), self._read("meta", run_hash) as tree:
                if tree is None:
                    raise BackendError("its database is gone")
                yield partial(_plain, tree, "meta", "chunks", run_hash)
        except (BackendError, IntegrityError, ValueError, LookupError, AssertionError) as error:
            # All but the first two are what decoding a damaged value raises.
            raise IntegrityError(f"the run {run_hash} in Aim's repo {self.shown} cannot be read ({error}).") from error

    def repo(self) -> Any:
        """See :class:`~tracelet_aim.trees.Place`."""
        if self._repo is None:
            self._make()
            with translated(self.shown):
                self._repo = self._when_versioned(lambda: Repo.from_path(str(self._root)))
        return self._repo

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See :class:`~tracelet_aim.trees.Place`. The lock is the kernel's, and ends with its process."""
        with translated(self.shown), FileLock(self._folder / "locks" / "tracelet.lock", timeout=PATIENCE):
            yield

    def call(self, work: Callable[[], T]) -> T:
        """See :class:`~tracelet_aim.trees.Place`. It is on disk when the call returns."""
        with translated(self.shown):
            return work()

    def make_searchable(self, run_hash: str) -> None:
        """See :class:`~tracelet_aim.trees.Place`. Where ``aim up`` has the index open, it updates it itself."""
        until = time.monotonic() + 2.0
        while True:
            try:
                with translated(self.shown):
                    RepoIndexManager.get_index_manager(self.repo()).index(run_hash)
                return
            except BackendUnavailable as error:
                if not is_locked(error.__cause__ or error) or time.monotonic() > until:
                    return
            time.sleep(random.uniform(0.01, 0.1))

    def close(self) -> None:
        """See :class:`~tracelet_aim.trees.Place`."""
        self._repo = None
        for kept in self._catalogues.values():
            with translated(self.shown):
                kept.close()

    @contextlib.contextmanager
    def _write(self, family: str, name: str, patience: float) -> Iterator[Any]:
        if family == CATALOGUE:
            with self._catalogue(name).writing(patience) as container:
                yield container
            return
        container = self._opened_to_write(self._database(family, name), time.monotonic() + patience)
        try:
            yield container
        finally:
            container.close()

    def _catalogue(self, name: str) -> KeptOpen:
        def opened(until: float) -> Any:
            container = self._opened_to_write(self._database(CATALOGUE, name), until)
            # Of a dead client of a server: a living server holds the database itself.
            DiskTree(container.tree()).drop("lock")
            return container

        turn = self._folder / CATALOGUE / "locks" / f"{name}.turn"
        return self._catalogues.setdefault(name, KeptOpen(turn, opened))

    def _database(self, family: str, name: str) -> Path:
        return self._folder / family / "chunks" / name

    @contextlib.contextmanager
    def _read(self, family: str, name: str) -> Iterator[Any]:
        container = self._opened_to_read(self._database(family, name))
        if container is None:
            yield None
            return
        try:
            yield container.tree()
        finally:
            container.close()

    def _opened_to_read(self, path: Path) -> Any:
        for attempt in range(_ATTEMPTS):
            # To open a database that does not exist would make its folder.
            if not (path / "CURRENT").exists():
                return None
            try:
                return RocksContainer(str(path), read_only=True, skip_read_optimization=True)
            except RocksIOError:
                if attempt == _ATTEMPTS - 1:
                    raise
            time.sleep(random.uniform(0.005, 0.05))
        raise AssertionError("the last attempt returns or raises")

    def _opened_to_write(self, path: Path, until: float) -> Any:
        while True:
            try:
                return RocksContainer(str(path), read_only=False)
            except RocksIOError as error:
                if not is_locked(error):
                    raise
                if time.monotonic() > until:
                    raise BackendUnavailable(
                        f"Aim's repo {self.shown} is held by another process ({said(error)}). Where that is an `aim "
                        "server`, set TRACELET_AIM_REPO to its aim:// address."
                    ) from error
            time.sleep(random.uniform(0.002, 0.02))

    def _make(self) -> None:
        """Make the repo if there is none, and wait until it is whole: processes that make one at once damage it."""
        if self._is_whole and (self._folder / "VERSION").exists():
            return
        if not self._folder.exists():
            self._make_aside()
        until = time.monotonic() + _MAKING
        # The version is written last.
        while not (self._folder / "VERSION").exists() and _is_young(self._folder) and time.monotonic() < until:
            time.sleep(0.05)
        status = self._when_versioned(lambda: Repo.check_repo_status(str(self._root)))
        if status is RepoStatus.UPDATE_REQUIRED:
            raise BackendError(
                f"Aim's repo {self.shown} is of an Aim from before 3.0, or was left unfinished: set TRACELET_AIM_REPO to another "
                "folder, or move its .aim away."
            )
        self._is_whole = True

    def _when_versioned(self, ask: Callable[[], T]) -> T:
        """Ask Aim what it reads the version of the repo for: whoever makes a repo empties that file before writing it."""
        version, until = self._folder / "VERSION", time.monotonic() + _MAKING
        while True:
            try:
                return ask()
            except ValueError as error:
                if time.monotonic() > until or not _is_young(version):
                    raise BackendError(
                        f"Aim's repo {self.shown} has no version in {version} ({error}): write there the version that other "
                        "repos of your Aim have, or move the .aim away."
                    ) from error
            time.sleep(0.01)

    def _make_aside(self) -> None:
        aside = self._root / f".{uuid.uuid4().hex}.tracelet"
        with translated(self.shown):
            aside.mkdir(parents=True)
            try:
                made = Repo(str(aside), init=True)
                made.structured_db.engine.dispose()
                del made
                with contextlib.suppress(OSError):
                    # Fails where another process has made the repo meanwhile, which is used then.
                    (aside / get_aim_repo_name()).rename(self._folder)
                if not self._folder.is_dir():
                    raise BackendUnavailable(f"Aim's repo cannot be made in {self._root}: see that its disk has room.")
            finally:
                shutil.rmtree(aside, ignore_errors=True)


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _MAKING


def _plain(tree: Any, *path: Key) -> Any:
    try:
        return tree.collect(path, resolve_objects=True)
    except KeyError:
        return None
