"""From the outcomes of deliveries to results, counts and warnings."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tracelet.core.artifacts.results import LogResult, LogResults
from tracelet.core.delivery.outcomes import Outcome
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.system.messages import many, sentence
from tracelet.exceptions import TraceletError

__all__ = ["ResultReport", "skipped"]

_LOG = logging.getLogger("tracelet.artifacts")


class ResultReport:
    """The results of one experiment in this process."""

    def __init__(self, context: ExperimentContext, resources: ExperimentResources) -> None:
        self.counts = {"logged": 0, "unchanged": 0, "queued": 0, "failed": 0, "submitted": 0}
        self._context = context
        self._resources = resources
        self._told = False
        #: By backend: the last reason that a warning gave for a queued delivery.
        self._said: dict[str, str] = {}

    def results(self, outcomes: Mapping[str, Outcome], *, raised: bool = False) -> LogResults:
        """Count outcomes, warn of failures, and return the results that the user gets.

        Misuse gets no warning where the caller raises it (``raised``).
        """
        results = LogResults()
        for name, outcome in outcomes.items():
            if outcome.delivered is not None:
                results[name] = self._result(name, outcome.delivered.stored, created=outcome.delivered.created)
                self.counts["logged" if outcome.delivered.created else "unchanged"] += 1
                self._said.pop(name, None)
                continue
            assert outcome.error is not None
            if outcome.queued:
                results.queued[name] = outcome.error
                self.counts["queued"] += 1
                self._tell_queued(name, outcome)
            else:
                results.failed[name] = outcome.error
                self.counts["failed"] += 1
        if not (raised and results.misuse):
            for name, error in results.failed.items():
                _LOG.warning("%s: %s", name, error)
        return results

    def _tell_queued(self, name: str, outcome: Outcome) -> None:
        """Warn of a delivery that waits. Of many with the same reason the first is told, until one is made."""
        assert outcome.error is not None
        # While a backend is left alone, each error says for how long. The cause stays the same.
        cause = outcome.error.__cause__
        reason = sentence(cause if isinstance(cause, TraceletError) else outcome.error)
        again = outcome.told or self._said.get(name) == reason
        self._said[name] = reason
        level = logging.INFO if again else logging.WARNING
        _LOG.log(level, "%s: %s Queued in %s.", name, sentence(outcome.error), self._context.outbox.root)

    def _result(self, name: str, stored: StoredArtifact, *, created: bool) -> LogResult:
        return LogResult(
            backend=name,
            version=stored.version,
            uri=stored.uri,
            size_bytes=stored.manifest.size_bytes,
            digest=stored.manifest.digest,
            portable=self._resources.store.portable or not stored.manifest.stored,
            created=created,
            pending=stored.pending,
        )

    def tell_unportable(self, stored: Collection[Any]) -> None:
        """Warn once that the bytes of such entries are on this machine alone."""
        store = self._resources.store if stored and not self._told else None
        if store is not None and not store.portable:
            self._told = True
            _LOG.warning(
                "files over %g MB stay on this machine, in %s, and backends get references: set TRACELET_STORE to a place "
                "that others can read, or on_large='upload'.",
                self._context.settings.large_file_mb,
                store.uri("0" * 64).rpartition("/objects/")[0],
            )

    def tell_end(self, refused: int, left: int) -> None:
        """Warn, at the end of a run, of refused deliveries and of those that wait."""
        if refused:
            many_of_them = many(refused, "delivery", "deliveries")
            _LOG.warning("backends refused %s of this run: `tracelet doctor` says which, and why.", many_of_them)
        if left:
            waiting = many(left, "delivery waits", "deliveries wait")
            them = "it" if left == 1 else "them"
            _LOG.warning("%s in %s: send %s with `tracelet sync`.", waiting, self._context.outbox.root, them)


def skipped(backends: Iterable[str]) -> LogResults:
    """Return the results in a rank that writes nothing."""
    results = LogResults()
    results.skipped.update(dict.fromkeys(backends, "only rank 0 writes"))
    return results
