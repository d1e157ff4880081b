"""One warning of watchdog's, silenced for as long as directories are watched, and no longer.

watchdog warns, in its own thread and at length, of each folder that it comes upon twice, as happens with every folder
made inside of a new one. Where warnings are errors that would end its thread. A filter is of the whole process, for
``warnings.catch_warnings`` in one thread would undo what other threads set meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["quiet"]

# The remark in front makes it ours: a filter that somebody else has for this warning is another one.
_MESSAGE = "(?#tracelet)Callback with id"
_MODULE = r"watchdog\.observers\."


class _Filter:
    """The filter, and how many need it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        #: The lists that it may be in: while somebody catches warnings, another one is in use.
        self._lists: list[Any] = []

    def add(self) -> None:
        with self._lock:
            self._users += 1
            self._remember()
            warnings.filterwarnings("ignore", _MESSAGE, RuntimeWarning, _MODULE)

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._remember()
            for filters in self._lists:
                for one in [one for one in filters if _is_ours(one)]:
                    with contextlib.suppress(ValueError):  # another thread was faster
                        filters.remove(one)
            self._lists.clear()

    def _remember(self) -> None:
        if not any(warnings.filters is one for one in self._lists):
            self._lists.append(warnings.filters)


def _is_ours(one: Any) -> bool:
    return getattr(one[1], "pattern", None) == _MESSAGE


_FILTER = _Filter()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warning; the last one who leaves leaves the filters of warnings without ours."""
    _FILTER.add()
    try:
        yield
    finally:
        _FILTER.remove()
