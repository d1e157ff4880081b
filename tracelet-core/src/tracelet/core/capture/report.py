"""What one capture captured and what it did not: counted, and told."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracelet.core.plugins.detector import Detection
from tracelet.core.system.messages import many, words_of
from tracelet.core.system.signs import note

__all__ = ["TOO_FAST", "CaptureReport"]

_LOG = logging.getLogger("tracelet.automagic")
#: Why the rates leave something out.
TOO_FAST = "capture_min_interval or capture_max_per_minute leaves it out"
#: What the user misses at the end of a run.
_LOSSES = ("failed", "over_cap", "throttled", "unfinished", "vanished")
#: How many artifacts are named at the end of a run.
_NAMED = 5


class CaptureReport:
    """How often what happened. It warns of what the user would miss."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        #: How often an artifact of each name was captured.
        self._names: Counter[str] = Counter()
        self._warned: set[str] = set()

    def capture(self, detection: Detection, kind: str, name: str) -> None:
        """Count a detection that is captured."""
        self.counts["captured"] += 1
        self._names[name] += 1
        _LOG.debug("%s is captured as %s %r.", _what(detection), kind, name)

    def drop(self, why: str, what: object, reason: str) -> None:
        """Count something that is left out on purpose."""
        self.counts[why] += 1
        _LOG.debug("%s is not captured: %s.", what, reason)

    def fail(self, detection: Detection, error: BaseException) -> None:
        """Count a detection whose capture failed, and warn of it."""
        self.counts["failed"] += 1
        _LOG.warning("%s is not captured: %s", _what(detection), words_of(error))

    def refuse(self, detection: object) -> None:
        """Count what a detector emitted that is no detection, and warn of it."""
        self.counts["failed"] += 1
        _LOG.warning("a detector told of a %s, which is no Detection: it is not captured.", type(detection).__name__)

    def warn_once(self, what: str, message: str, *arguments: Any) -> None:
        """Warn of the first of many that are alike."""
        if what not in self._warned:
            self._warned.add(what)
            _LOG.warning(message, *arguments)

    def tell_captures(self, experiment: str, backends: Iterable[str], directory: Path) -> None:
        """Say, at the end of a run, what was captured, how often, and where it is."""
        if not self._names:
            return
        named = [name if count == 1 else f"{name} ({count:,} times)" for name, count in self._names.most_common(_NAMED)]
        if len(self._names) > _NAMED:
            named.append(f"and {len(self._names) - _NAMED:,} more")
        told = (
            f"captured {many(len(self._names), 'artifact', 'artifacts')}: {', '.join(named)}. `tracelet ls "
            f"{shlex.quote(experiment)}` shows what is stored ({', '.join(backends)}; {directory})."
        )
        _LOG.info("%s", told)
        if not (_LOG.isEnabledFor(logging.INFO) and _LOG.hasHandlers()):
            # Most users have not configured logging.
            note(told)

    def tell_losses(self) -> None:
        """Warn, at the end of a run, of what was not captured."""
        lost = [f"{self.counts[why]} {why}" for why in _LOSSES if self.counts[why]]
        if lost:
            _LOG.warning("not everything was captured: %s.", ", ".join(lost))


def _what(detection: Detection) -> object:
    return detection.path or type(detection.model).__name__
