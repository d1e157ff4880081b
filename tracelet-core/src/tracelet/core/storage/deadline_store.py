"""A store elsewhere whose client may wait for ever: every answer comes in time, or is an error."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.plugins.store import Store
from tracelet.core.system.files import Stamp
from tracelet.core.system.threads import beside
from tracelet.exceptions import BackendUnavailable
from tracelet.settings import TraceletSettings

__all__ = ["DeadlineStore"]

T = TypeVar("T")


class DeadlineStore:
    """What another :class:`~tracelet.core.plugins.store.Store` does, each call on a thread of its own, with a limit on how long it is waited for.

    Raises as it does, and :class:`~tracelet.BackendUnavailable` where the time is over: ``deadline`` and, for an
    upload, the time for its bytes. A download may take as long as it makes progress.
    """

    def __init__(self, store: Store, settings: TraceletSettings) -> None:
        self._store = store
        self._settings = settings
        self.portable = store.portable

    def uri(self, sha256: str) -> str:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        return self._store.uri(sha256)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet.core.plugins.store.Store`: it may be read."""
        return self._in_time(beside(partial(self._store.has, sha256, size_bytes)), size_bytes)

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`: what is there may be read first, and is as long."""
        self._in_time(beside(partial(self._store.put, source, sha256, known)), 2 * source.stat().st_size)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        answer = beside(partial(self._store.fetch, sha256, dest))
        come, before = -1, -2
        while come != before and not answer.done():
            before = come
            try:
                answer.exception(self._settings.deadline)
            except TimeoutError:
                # Not its size: parts may come in any order.
                come = dest.stat().st_mtime_ns if dest.exists() else 0
        self._in_time(answer, limit=0.0)

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        self._in_time(beside(partial(self._store.record, sha256, put_id)))

    def put_note(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        self._in_time(beside(partial(self._store.put_note, key, data)))

    def get_note(self, key: str) -> bytes | None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        return self._in_time(beside(partial(self._store.get_note, key)))

    def remove_note(self, key: str) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        self._in_time(beside(partial(self._store.remove_note, key)))

    def probe(self) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        self._in_time(beside(self._store.probe))

    def _in_time(self, answer: Future[T], size_bytes: int = 0, *, limit: float | None = None) -> T:
        try:
            return answer.result(deadline_for(size_bytes, self._settings) if limit is None else limit)
        except TimeoutError:
            raise BackendUnavailable(
                f"the store at {self._store.uri('').partition('/objects/')[0]} does not answer in time: see whether it can "
                "be reached, or raise deadline."
            ) from None
