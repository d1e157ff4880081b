"""An Aim repo behind an Aim server."""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aim import Repo

from tracelet.exceptions import BackendError, BackendUnavailable, IntegrityError
from tracelet_aim.calls import LIMITS, MANY, Calls, Refused
from tracelet_aim.client import bounded, drain, forget, waiting
from tracelet_aim.names import every_name
from tracelet_aim.trees import CATALOGUE, PATIENCE, Ask, Facts, Key, Tree, facts_of

__all__ = ["ServerPlace", "ServerTree"]

T = TypeVar("T")

#: Seconds after which a writer gives up, and after which the others take it for dead.
_HOLD, _LEASE = 4.0, 15.0


class ServerTree:
    """A database that the server has open for this client."""

    def __init__(self, calls: Calls, handle: str) -> None:
        self._calls = calls
        self._handle = handle
        #: When writing must have ended, by the monotonic clock.
        self.until = float("inf")

    def get(self, *path: Key) -> Any:
        """See :class:`~tracelet_aim.trees.Tree`."""
        try:
            return self._calls.call(self._handle, "collect", path)
        except Refused as error:
            if error.kind == "KeyError":
                return None
            raise self._told(error) from error

    def set(self, path: tuple[Key, ...], value: Any) -> None:
        """See :class:`~tracelet_aim.trees.Tree`."""
        if time.monotonic() > self.until:
            raise BackendUnavailable("the Aim server is too slow for a safe write: it is tried again.")
        self._asked("set", path, value, True)

    def drop(self, *path: Key) -> None:
        """See :class:`~tracelet_aim.trees.Tree`."""
        self._asked("__delitem__", path)

    def items(self, *path: Key) -> list[tuple[Key, Any]]:
        """See :class:`~tracelet_aim.trees.Tree`."""
        return [(key, value) for key, value in self._asked("items_eager", path, limits=MANY)]

    def keys(self, *path: Key) -> list[Key]:
        """See :class:`~tracelet_aim.trees.Tree`."""
        return list(self._asked("keys_eager", path))

    def _asked(self, method: str, *arguments: Any, limits: tuple[float, float] = LIMITS) -> Any:
        try:
            return self._calls.call(self._handle, method, *arguments, limits=limits)
        except Refused as error:
            raise self._told(error) from error

    def _told(self, error: Refused) -> BackendError:
        return BackendUnavailable(f"{self._calls.shown} could not do it ({error.kind}: {error}): it is tried again.")


class ServerPlace:
    """A repo behind a server, which does one thing at a time. Writers agree among themselves whose turn it is."""

    def __init__(self, address: str) -> None:
        """Raise where no Aim server answers."""
        self._address = address
        self._calls = Calls(address)
        self.shown = self.address = self._calls.shown
        self._repo: Any = None
        self._folder: Path | None = None
        #: Databases that were found. They do not go away.
        self._there: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def reading(self, family: str, name: str) -> Iterator[Tree | None]:
        """See :class:`~tracelet_aim.trees.Place`.

        A database that the server opened for reading stays as it was then, for all clients. So it is opened for writing.
        """
        if (family, name) not in self._there and not self._is_there(family, name):
            yield None
            return
        with self._opened(family, name) as tree:
            yield tree

    @contextlib.contextmanager
    def writing(self, family: str, name: str, patience: float = PATIENCE) -> Iterator[Tree]:
        """See :class:`~tracelet_aim.trees.Place`."""
        with self._opened(family, name, patience) as tree:
            if family != CATALOGUE:
                yield tree
                return
            me = uuid.uuid4().hex
            tree.until = self._take_turn(tree, me, patience) + _HOLD
            try:
                yield tree
            finally:
                tree.drop("lock", me)

    def databases(self, family: str) -> list[str]:
        """See :class:`~tracelet_aim.trees.Place`. The server tells the last file alone of those that fit a pattern."""
        with self._held("FileManager") as handle:
            return sorted(every_name(lambda pattern: self._calls.call(handle, "poll", f"../{family}/chunks/{pattern}")))

    def folder(self) -> Path:
        """See :class:`~tracelet_aim.trees.Place`."""
        if self._folder is None:
            with self._held("Repo") as handle:
                self._folder = Path(str(self._calls.call(handle, "path")))
        return self._folder

    def is_here(self, run_hash: str) -> bool:
        """See :class:`~tracelet_aim.trees.Place`. The hash is random: a folder of that name is on the server's own disk."""
        return (self.folder() / "meta" / "chunks" / run_hash).is_dir()

    def experiments_of_runs(self) -> Iterator[tuple[str, str | None]]:
        """See :class:`~tracelet_aim.trees.Place`. The server tells the experiment of one run at a time."""
        with self._held("Repo") as handle:
            hashes = sorted(self._calls.call(handle, "list_all_runs"))
        for run_hash in hashes:
            yield run_hash, self._looked_up(run_hash, lambda about: str(about("experiment")))

    def facts(self, run_hash: str) -> Facts | None:
        """See :class:`~tracelet_aim.trees.Place`."""
        return self._looked_up(run_hash, lambda about: facts_of(run_hash, about))

    def _looked_up(self, run_hash: str, read: Callable[[Callable[[str], Any]], T]) -> T | None:
        try:
            handle = self._calls.resource("StructuredRun", hash_=run_hash, read_only=True, created_at=None)
            with self._giving_back(handle):
                return read(partial(self._calls.call, handle))
        except Refused:
            return None

    @contextlib.contextmanager
    def reading_run(self, run_hash: str) -> Iterator[Ask]:
        """See :class:`~tracelet_aim.trees.Place`. To open it for writing would mark it as one that is running."""

        def ask(*path: Key) -> Any:
            try:
                return self._calls.call(handle, "collect", ("meta", "chunks", run_hash, *path), True, True, limits=MANY)
            except Refused as error:
                if error.kind == "KeyError":
                    return None
                raise

        try:
            handle = self._calls.resource("TreeView", **_database("meta", run_hash, read_only=True))
            with self._giving_back(handle):
                yield ask
        except Refused as error:
            raise IntegrityError(
                f"the run {run_hash} behind {self.shown} cannot be read ({error.kind}: {error})."
            ) from error

    def repo(self) -> Any:
        """See :class:`~tracelet_aim.trees.Place`."""
        if self._repo is None:
            self._repo = bounded(lambda: Repo(self._address.rstrip("/")), self.shown)
        return self._repo

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`~tracelet_aim.trees.Place`. The server is one process, and does one thing at a time."""
        return contextlib.nullcontext()

    def call(self, work: Callable[[], T]) -> T:
        """See :class:`~tracelet_aim.trees.Place`.

        Aim's client queues its writes for a thread. That ends with the first error, and then the client would wait for ever.
        """
        repo = self.repo()

        def whole() -> T:
            result = work()
            drain(repo, self.shown)
            return result

        try:
            return bounded(whole, self.shown, lambda: waiting(repo))
        except BackendError:
            self._abandon()
            raise

    def make_searchable(self, run_hash: str) -> None:
        """See :class:`~tracelet_aim.trees.Place`. Where ``aim up`` runs on the server's machine, it has the index open."""
        from aim.ext.transport.message_utils import ResourceObject

        with (
            contextlib.suppress(BackendUnavailable),
            self._held("TreeView", **_database("meta", "", index=True)) as index,
            self._held("TreeView", **_database("meta", run_hash, read_only=True)) as run,
        ):
            self._calls.call(run, "finalize", ResourceObject(index))

    def close(self) -> None:
        """See :class:`~tracelet_aim.trees.Place`."""
        repo, self._repo = self._repo, None
        if repo is not None:
            # Its own finalizer waits for the thread, which may be dead.
            forget(repo)
        self._calls.close()

    def _is_there(self, family: str, name: str) -> bool:
        # The folder of check-ins is beside the databases. It exists since the repo's first run.
        with self._held("FileManager") as handle:
            if self._calls.call(handle, "poll", f"../{family}/chunks/{name}/CURRENT") is None:
                return False
        self._there.add((family, name))
        return True

    @contextlib.contextmanager
    def _opened(self, family: str, name: str, patience: float = PATIENCE) -> Iterator[ServerTree]:
        until = time.monotonic() + patience
        while True:
            try:
                handle = self._calls.resource("TreeView", **_database(family, name))
                break
            except Refused as error:
                if time.monotonic() > until:
                    raise BackendUnavailable(
                        f"{self.shown} cannot open {family}/{name} ({error.kind}): another process on its machine has it."
                    ) from error
            time.sleep(random.uniform(0.01, 0.05))
        with self._giving_back(handle):
            yield ServerTree(self._calls, handle)

    @contextlib.contextmanager
    def _held(self, kind: str, **what: Any) -> Iterator[str]:
        try:
            handle = self._calls.resource(kind, **what)
            with self._giving_back(handle):
                yield handle
        except Refused as error:
            raise BackendUnavailable(
                f"{self.shown} could not do it ({error.kind}: {error}): it is tried again."
            ) from error

    @contextlib.contextmanager
    def _giving_back(self, handle: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(BackendError):
                self._calls.release(handle)
            raise
        self._calls.release(handle)

    def _take_turn(self, tree: Tree, me: str, patience: float) -> float:
        """Wait until this writer is the only one. Return since when the others wait for it, by the monotonic clock.

        The server has no compare-and-set, but calls one method at a time. Each writer notes itself and then looks: at most one
        sees no other. The others remove their notes, and wait.
        """
        until = time.monotonic() + patience
        first_seen: dict[Key, float] = {}
        while True:
            others = self._others(tree, me, first_seen)
            if not others:
                began = time.monotonic()
                tree.set(("lock", me), time.time())
                if not self._others(tree, me, first_seen):
                    return began
                tree.drop("lock", me)
            if time.monotonic() > until:
                raise BackendUnavailable(f"{self.shown} is held by other writers: it is tried again.")
            time.sleep(random.uniform(0.005, 0.05))

    def _others(self, tree: Tree, me: str, first_seen: dict[Key, float]) -> list[Key]:
        now = time.monotonic()
        others = [key for key in tree.keys("lock") if key != me]
        for key in others:
            if now - first_seen.setdefault(key, now) > _LEASE:
                tree.drop("lock", key)  # its writer was killed: a living one gives up earlier
        return others

    def _abandon(self) -> None:
        """Drop Aim's client and its objects without their finalizers, which would wait for the server."""
        repo, self._repo = self._repo, None
        if repo is not None:
            forget(repo)


def _database(family: str, name: str, *, read_only: bool = False, index: bool = False) -> dict[str, Any]:
    return {"name": family, "sub": name, "read_only": read_only, "index": index, "timeout": 0}
