"""The capture of a run, and the captures that dead processes did not submit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from tracelet.core.artifacts.results import LogResults
from tracelet.core.delivery.inventory import waiting_bytes
from tracelet.core.delivery.lease import Lease
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.plugins.versions import RunInfo

if TYPE_CHECKING:
    from tracelet.core.capture.journal import Leftover
    from tracelet.core.capture.pipeline import Capture
    from tracelet.core.plugins.detector import DetectorSpec

__all__ = ["CaptureRecovery"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Seconds for submitting the rest, however late it is.
_SHORTEST = 0.5
#: Seconds: longer than anything takes.
_LONG = 1e7
#: Takes an artifact, its labels and its put-id; and, by name, the ``run`` and whether to ``take`` its files.
Submit = Callable[..., "Future[LogResults]"]


class CaptureRecovery:
    """Runs the capture of a run, and continues those of dead processes."""

    def __init__(self, context: ExperimentContext, submit: Submit) -> None:
        self._context = context
        self._submit = submit
        #: The capture of the run; None where nothing is captured.
        self.own: Capture | None = None
        #: The captures of dead processes that this one continues.
        self._resumed: list[Capture] = []

    def prepare(self, run: RunInfo) -> None:
        """Make the capture of the run, if a setting turns a detector on. Raises :class:`~tracelet.ConfigError`."""
        if self._context.settings.watch_filesystem and not self._context.settings.artifact_watch_dirs:
            _LOG.warning("watch_filesystem is on, and artifact_watch_dirs names no directory: nothing is watched.")
        settings, specs = self._context.settings, []
        if settings.automagic_artifacts or settings.watch_filesystem:
            # Plugins are looked for where a detector may be on: that takes longer than all else of a start.
            specs = [spec for spec in self._context.plugins().detectors if getattr(settings, spec.switch)]
        self.own = self._made(specs, run, self._submit) if specs else None

    def start(self) -> None:
        """Continue the captures of dead processes, and start that of the run. Raises :class:`~tracelet.ConfigError`."""
        self._resumed = [self._resume(left, self._submit) for left in self._left()]
        if self.own is not None:
            self.own.start()

    def hand_over(self, left: Leftover, submit: Submit) -> None:
        """Submit all that a dead process captured, however long it takes, unless another process does."""
        if Lease(left.path).take():
            until = time.monotonic() + _LONG
            self._resume(left, submit).stop(until, until)

    def settle_left(self, until: float) -> None:
        """Submit what dead processes captured, until ``until`` (monotonic) at most. It is older than what is logged now."""
        for capture in self._resumed:
            capture.settle(until)

    def settle(self, until: float) -> None:
        """Submit what is captured by now, until ``until`` (monotonic) at most."""
        for capture in self._all():
            capture.settle(until)

    def stop(self, seconds: float, last: float) -> None:
        """Stop the detectors, and submit what they saw: for ``seconds`` each, and until ``last`` (monotonic) in all."""
        # However late it is, all captures together have a moment for what is quick.
        last = max(last, time.monotonic() + _SHORTEST)
        for capture in self._all():
            capture.stop(min(time.monotonic() + seconds, last), last, 0.0)
        self._resumed = []

    @property
    def waiting(self) -> int:
        """The number of captures that are not submitted."""
        return sum(capture.waiting for capture in self._all())

    def stats(self) -> dict[str, Any] | None:
        """Return the counts of the run's capture, or None where nothing is captured."""
        return self.own.stats() if self.own is not None else None

    def _all(self) -> list[Capture]:
        return self._resumed if self.own is None else [self.own, *self._resumed]

    def _left(self) -> Iterator[Leftover]:
        """Yield the captures of dead processes; a lease says that this process finishes them."""
        directory = self._context.directory
        if not (directory / "captured").is_dir():
            return iter(())
        # Most directories have none, and are spared this import.
        from tracelet.core.capture.journal import leftovers

        return (left for left in leftovers(directory, self._context.experiment) if Lease(left.path).take())

    def _resume(self, left: Leftover, submit: Submit) -> Capture:
        resumed = self._made((), left.head.run, submit, left)
        resumed.start()
        return resumed

    def _made(
        self, specs: Iterable[DetectorSpec], run: RunInfo, submit: Submit, left: Leftover | None = None
    ) -> Capture:
        # Most programs capture nothing, and are spared this import.
        from tracelet.core.capture.pipeline import Capture

        own = partial(submit, run=run, take=True)
        return Capture(
            run,
            self._context.settings,
            self._context.directory,
            specs,
            own,
            partial(waiting_bytes, self._context.outbox),
            left,
            may_refuse=self._context.plugins().detectors.own,
        )
