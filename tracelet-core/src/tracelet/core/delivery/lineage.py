"""Noting in the lineage of one backend which versions runs use."""

from __future__ import annotations

import logging
import threading
from collections import deque

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import is_final, unwritable
from tracelet.core.delivery.uses import Use, Uses
from tracelet.exceptions import TraceletError

__all__ = ["Lineage"]

_LOG = logging.getLogger("tracelet.delivery")


class Lineage:
    """The uses of one experiment that one backend is to note. A use that it does not take is kept, and tried again."""

    def __init__(self, backend: str, experiment: str, attempts: Attempts, outbox: Outbox) -> None:
        self._backend = backend
        self._experiment = experiment
        self._attempts = attempts
        self._outbox = outbox
        self._uses = Uses(outbox.root.parent)
        self._lock = threading.Lock()
        self._waiting: deque[Use] = deque()
        self._in_hand: Use | None = None
        #: The uses that a warning has told of.
        self._told: set[str] = set()

    def add(self, use: Use) -> None:
        """Queue a use. It is on the disk until it is noted."""
        try:
            self._uses.add(use)
        except OSError as error:
            _LOG.warning("the use of %r is noted in this run, or never: %s", use.name, unwritable(error))
        self._waiting.append(use)

    def recall(self) -> None:
        """Queue again the uses that are not noted, of any run."""
        with self._lock:
            kept = self._uses.waiting(self._experiment, self._backend)
            waiting = {use.key: use for use in (*self._waiting, *kept) if use != self._in_hand}
            self._waiting = deque(waiting.values())

    @property
    def due(self) -> bool:
        """Whether there is something to note now."""
        return bool(self._waiting) and not self._attempts.backoff.rests

    def note_next(self) -> TraceletError | None:
        """Note the first use that is due; return the error where it is left."""
        with self._lock:
            self._in_hand = use = self._waiting.popleft()
        try:
            if self._note(use):
                self._uses.noted(use)
        except TraceletError as error:
            if not is_final(error):
                self._tell(use, error)
                return error
            _LOG.warning("%s will never note the use of %r: %s", self._backend, use.name, error)
            self._uses.noted(use)
        finally:
            with self._lock:
                self._in_hand = None
        return None

    def _note(self, use: Use) -> bool:
        """Note a use; return False where its version waits in the outbox, for then it is noted later."""
        stored = self._attempts.ask("find", name=use.name, ref=use.ref)
        if stored is not None and stored.manifest.digest == use.digest:
            self._attempts.ask("record_input", stored=stored, run=use.run)
            return True
        return not self._outbox.waiting(self._experiment, self._backend, use.name)

    def _tell(self, use: Use, error: TraceletError) -> None:
        level = logging.INFO if use.key in self._told else logging.WARNING
        self._told.add(use.key)
        _LOG.log(
            level,
            "%s has not noted the use of %r yet; a later run of this experiment does, or `tracelet sync`: %s",
            self._backend,
            use.name,
            error,
        )
