"""The detectors of one run: made, started and stopped. None of them can end the user's training."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from tracelet.core.plugins.detector import Detector, DetectorContext, DetectorSpec, Emit
from tracelet.core.plugins.shapes import misfit
from tracelet.core.system.messages import words_of
from tracelet.core.system.threads import beside
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings, WatchedDirectory, load_plugin

__all__ = ["Detectors"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds that a detector has for stopping, however late it is.
_SHORTEST = 0.5


class Detectors:
    """The detectors of one run, and how the last training that one of them watched ended."""

    def __init__(
        self,
        specs: Iterable[DetectorSpec],
        experiment: str,
        settings: TraceletSettings,
        directory: Path,
        workspace: Path,
        room: Callable[[int], bool],
        holds_captured: Callable[[Path], bool],
        *,
        may_refuse: Collection[str],
    ) -> None:
        """``room`` tells whether so many bytes can be captured; detectors write their own files into ``workspace``.

        ``holds_captured`` tells whether a folder in a folder was captured, or the model in it.

        Raises :class:`~tracelet.ConfigError` for what a detector that ``may_refuse`` cannot work with. A failure of any
        other detector is a warning, for the user did not name it.
        """
        self._may_refuse = may_refuse
        self._context = DetectorContext(
            experiment=experiment,
            directory=directory,
            workspace=workspace,
            watched=tuple(
                one if isinstance(one, WatchedDirectory) else WatchedDirectory(one)
                for one in settings.artifact_watch_dirs
            ),
            outcome=self._note_outcome,
            room=room,
            holds_captured=holds_captured,
        )
        #: Whether the last training that a detector watched came to its end.
        self.completed = True
        made = {spec.name: self._create(spec) for spec in specs}
        self._detectors = {name: detector for name, detector in made.items() if detector is not None}

    @property
    def names(self) -> list[str]:
        """The detectors that could be made."""
        return sorted(self._detectors)

    def _note_outcome(self, completed: bool) -> None:
        self.completed = completed

    def _create(self, spec: DetectorSpec) -> Detector | None:
        try:
            detector = spec.create(load_plugin(spec.settings, spec.name), self._context)
            wrong = misfit(getattr(detector, "start", None), ("emit",)) or misfit(getattr(detector, "stop", None), ())
            if wrong:
                raise TypeError(f"{detector!r} is no detector: {wrong}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a detector raises, the training goes on
            self._warn_or_refuse(spec.name, error)
            return None
        return detector

    def _warn_or_refuse(self, name: str, error: BaseException) -> None:
        """Raise for a setting that the user can correct; warn of anything else."""
        if isinstance(error, ConfigError) and name in self._may_refuse:
            raise error
        _LOG.warning("the detector %r does not start: %s", name, words_of(error))

    def start(self, emit: Emit) -> None:
        """Start the detectors. Raises :class:`~tracelet.ConfigError` for what one cannot work with."""
        for name, detector in self._detectors.items():
            try:
                detector.start(emit)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a detector raises, the training goes on
                self._warn_or_refuse(name, error)
        _LOG.debug("capturing with %s.", ", ".join(self._detectors))

    def stop(self, until: float) -> None:
        """Stop the detectors, each by then (monotonic). One that takes longer is left behind."""
        for name, detector in self._detectors.items():
            with contextlib.suppress(TimeoutError):
                beside(partial(self._stop_one, name, detector)).result(max(_SHORTEST, until - time.monotonic()))

    def _stop_one(self, name: str, detector: Detector) -> None:
        try:
            detector.stop()
        except BaseException as error:  # noqa: BLE001 - it is on a thread of its own, where nobody presses Ctrl-C
            _LOG.warning("the detector %r does not stop: %s", name, words_of(error))
