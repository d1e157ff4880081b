"""watchdog's observer of Linux, which says when the kernel's queue ran over (inotify(7), IN_Q_OVERFLOW).

watchdog, since 7.1, then makes its watches anew and writes a line to its log; it has no event for it, and a log may be
silenced. The line is written where the queue is read, so that is where it is heard of here.
"""

from __future__ import annotations

from collections.abc import Callable

from watchdog.observers.api import DEFAULT_OBSERVER_TIMEOUT, BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import InotifyEvent, InotifyFD

__all__ = ["OverflowObserver"]


class _Queue(InotifyFD):
    def __init__(self, overflowed: Callable[[], None]) -> None:
        super().__init__()
        self._overflowed = overflowed

    def handle_event(self, event: InotifyEvent) -> None:
        try:
            super().handle_event(event)
        finally:
            # Not before there are new watches, so that a look from now on misses nothing.
            if event.is_queue_overflow:
                self._overflowed()


class OverflowObserver(BaseObserver):
    """As watchdog's ``InotifyObserver``, and it calls ``overflowed`` when news were lost.

    It tells of a move from outside as a move, and not as a file that was created.
    """

    def __init__(self, overflowed: Callable[[], None]) -> None:
        """Raises ``OSError`` where the kernel has no instance of inotify left."""
        self._queue = _Queue(overflowed)
        self._queue.start()
        super().__init__(InotifyFullEmitter, timeout=DEFAULT_OBSERVER_TIMEOUT, inotify_fd=self._queue)

    def on_thread_stop(self) -> None:
        """End the reading of the queue, too."""
        super().on_thread_stop()
        self._queue.stop()
        self._queue.join()
