"""Telling one backend what runs use, so that its own lineage has it."""

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
    """What one backend is to note of one experiment; what it does not take is kept, and tried again."""

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
        """Note a use when its turn comes; until then it is on the disk."""
        try:
            self._uses.add(use)
        except OSError as error:
            _LOG.warning("the use of %r is noted in this run, or never: %s", use.name, unwritable(error))
        self._waiting.append(use)

    def recall(self) -> None:
        """Take up again what was not noted, whichever run it was."""
        with self._lock:
            kept = self._uses.waiting(self._experiment, self._backend)
            waiting = {use.key: use for use in (*self._waiting, *kept) if use != self._in_hand}
            self._waiting = deque(waiting.values())

    @property
    def due(self) -> bool:
        """Whether there is something to note now."""
        return bool(self._waiting) and not self._attempts.backoff.rests

    def note_next(self) -> TraceletError | None:
        """Note the first that is due; return why it is left, if it is."""
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
        """Say whether that is done with: what waits for the backend is noted once it is there."""
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
