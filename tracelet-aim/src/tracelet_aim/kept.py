"""A database that this process keeps open from one put to the next, for as long as nobody else waits for it.

To open and to close one costs RocksDB some eleven waits for the disk, where a put itself costs one. While it is open, others read it
and cannot write to it. Who waits says so by a lock, which ends with its process: then the database is closed, and it is
the waiter's turn. An Aim server and earlier releases do not say it; for them it is closed once a second for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tracelet.exceptions import BackendUnavailable
from tracelet_aim.errors import AimFailure

__all__ = ["KeptOpen"]

_LOG = logging.getLogger("tracelet.aim")

#: Seconds without a use until it is closed, and between two looks at whether somebody waits.
_IDLE, _LOOK = 0.1, 0.01
#: Seconds that it stays open at most while others may wait without a word, and for how long they may have it then.
_LONGEST, _PAUSE = 1.0, 0.06


class _Turn:
    """The lock of whoever waits for the database. It is held until the database is open, and no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def waited_for(self, until: float) -> Iterator[None]:
        """Wait for one's turn. Raises :class:`~tracelet.BackendUnavailable` where the others need longer."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    raise BackendUnavailable(
                        f"other processes wait for the database beside {self._path}, too: it is tried again."
                    )
                time.sleep(random.uniform(0.002, 0.01))
            yield
        finally:
            # A child of this process may have the file open as well.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def is_wanted(self) -> bool:
        """Tell whether another one waits."""
        try:
            file = os.open(self._path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _locked(file, fcntl.LOCK_SH)
        finally:
            os.close(file)


class KeptOpen:
    """One database of one place. Others may be in it only while this process is not."""

    def __init__(self, turn: Path, opened: Callable[[float], Any]) -> None:
        """``opened`` gives Aim's container, and waits for it until a moment of the monotonic clock; ``turn`` is the lock's file."""
        self._opened = opened
        self._turn = _Turn(turn)
        self._guard = threading.RLock()
        self._container: Any = None
        #: By the monotonic clock: when it was opened, when it was last used, and until when it is the others'.
        self._since = self._used = self._pause = 0.0

    @contextlib.contextmanager
    def writing(self, patience: float) -> Iterator[Any]:
        """Give the container to this caller alone. When the block has ended, what it wrote is on the disk.

        Raises as ``opened`` does, and :class:`~tracelet.BackendUnavailable` after ``patience`` seconds.
        """
        with self._guard:
            if self._is_due():
                self._close()
            if self._container is None:
                self._open(patience)
            try:
                yield self._container
                self._container.db.flush_wal(True)
            except BaseException:
                self._close()
                raise
            self._used = time.monotonic()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """Give the container, if it is open."""
        with self._guard:
            yield self._container

    def close(self) -> None:
        """Close the database."""
        with self._guard:
            self._close()

    def _open(self, patience: float) -> None:
        time.sleep(max(0.0, self._pause - time.monotonic()))
        until = time.monotonic() + patience
        with self._turn.waited_for(until):
            self._container = self._opened(until)
        self._since = self._used = time.monotonic()
        threading.Thread(target=self._watch, args=(self._container,), name="tracelet-aim-kept", daemon=True).start()

    def _watch(self, container: Any) -> None:
        is_open = True
        while is_open:
            time.sleep(_LOOK)
            with self._guard:
                is_open = self._container is container
                if is_open and self._is_due():
                    try:
                        self._close()
                    except AimFailure as error:
                        # What was written is on the disk since its block ended.
                        _LOG.debug("Aim could not close %s: %s", container.path, error)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._container is not None and now - self._since > _LONGEST:
            self._pause = now + _PAUSE
            return True
        return self._container is not None and (now - self._used > _IDLE or self._turn.is_wanted())

    def _close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


def _locked(file: int, how: int) -> bool:
    """Lock an open file, if nobody else has it locked. Where files cannot be locked, nobody has."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
