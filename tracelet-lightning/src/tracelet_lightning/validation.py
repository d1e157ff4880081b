"""Samples of the validations of one ``fit``: when they are taken, and which of them are reported."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from tracelet.plugin import ArtifactType, Detection
from tracelet_lightning import metadata, sample_files, sessions
from tracelet_lightning.failures import LOG, log_failure
from tracelet_lightning.names import artifact_name
from tracelet_lightning.own_samples import OwnSamples, method_of
from tracelet_lightning.roles import UnclearBatchError
from tracelet_lightning.samples import BatchObserver, Samples
from tracelet_lightning.sessions import CaptureSession

__all__ = ["ValidationCapture"]

_WHAT = "a sample of the validation"
_OWN = "what the module's own tracelet_sample(batch, outputs) makes of a batch"
_UNCLEAR = "no samples of the validation are captured: of its batch it is not clear what a sample is: %s. %s"
_NAME_PARTS = (
    "Name its parts with TRACELET_LIGHTNING_INPUT and TRACELET_LIGHTNING_TARGET, or give the module a method "
    "tracelet_sample(batch, outputs)."
)
_GIVE_ROWS = "Give the module a method tracelet_sample(batch, outputs)."
_NO_PREDICTIONS = (
    "the samples of the validation have no predictions: return them from validation_step by name, as "
    "{'preds': ...}, with a row for each sample."
)
_REFUSED = (
    "the samples of the validation have no predictions: what validation_step returned as its prediction %s. Return an "
    "output of the model itself, or give the module a method tracelet_sample(batch, outputs)."
)
_NO_TARGET = (
    "of the samples of the validation it is not clear which column is the target: %s. Name it with "
    "TRACELET_LIGHTNING_TARGET, by its key or position in the batch."
)


class ValidationCapture:
    """Takes samples of each validation, and reports those of the last one. Raises nothing."""

    def __init__(self) -> None:
        #: Observes the batch that is being validated.
        self._observer: BatchObserver | OwnSamples | None = None
        #: What was said of this ``fit``'s samples: each thing is said once.
        self._told: set[str] = set()
        #: The samples of the last validation, the state of the training then, and the sessions that have them.
        self._samples: Samples | None = None
        self._metadata: dict[str, Any] = {}
        self._reported: set[CaptureSession] = set()

    def observe(self, module: Any, batch: Any) -> None:
        """Begin to observe a batch, if a session wants samples."""
        with log_failure(_WHAT), self._explaining():
            self.release()
            wanting = [one.settings for one in sessions.active() if one.settings.samples_every_n_epochs]
            if wanting:
                count, method = max(one.samples_count for one in wanting), method_of(module)
                if method is not None:
                    self._observer = OwnSamples(method, batch, count)
                else:
                    # Two experiments see one batch: what the first names counts for both.
                    inputs, targets = wanting[0].input, wanting[0].target
                    self._observer = BatchObserver(module, batch, count, inputs, targets)

    def take(self, outputs: Any) -> None:
        """Take the samples of the batch that is observed; ``outputs`` is what ``validation_step`` returned."""
        observer = self._observer
        if observer is None:
            return
        with log_failure(_OWN if isinstance(observer, OwnSamples) else _WHAT), self._explaining():
            self.release()
            self._samples, self._reported = None, set()
            self._samples = observer.samples(outputs)
            if self._samples is not None and self._samples.refused:
                self._tell(logging.INFO, _REFUSED, self._samples.refused)
            elif self._samples is not None and not self._samples.source:
                self._tell(logging.INFO, _NO_PREDICTIONS)
            if self._samples is not None and self._samples.unclear:
                self._tell(logging.INFO, _NO_TARGET, self._samples.unclear)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say once why a batch gives no samples."""
        try:
            yield
        except UnclearBatchError as reason:
            self._tell(logging.WARNING, _UNCLEAR, reason, _NAME_PARTS if reason.names_help else _GIVE_ROWS)

    def _tell(self, level: int, message: str, *values: object) -> None:
        if message not in self._told:
            self._told.add(message)
            LOG.log(level, message, *values)

    def describe(self, trainer: Any) -> None:
        """Note the state of the training, with the metrics of the whole validation."""
        if self._samples is not None and not self._reported:
            with log_failure(_WHAT):
                self._metadata = metadata.of_training(trainer)

    def report(self, module: Any, is_due: Callable[[int], bool]) -> None:
        """Report the samples to each session that does not have them and whose interval, in epochs, is due."""
        samples = self._samples
        if samples is None:
            return
        for session in sessions.active():
            every = session.settings.samples_every_n_epochs
            if every and session not in self._reported and is_due(every):
                self._reported.add(session)
                with log_failure(_WHAT):
                    session.report(self._detection(session, module, samples))

    def release(self) -> None:
        """Let go of the module that is observed."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.close()

    def _detection(self, session: CaptureSession, module: Any, samples: Samples) -> Detection:
        state = self._metadata
        folder = session.workspace / f"samples-{uuid.uuid4().hex}"
        contents = sample_files.write(folder, samples, session.settings.samples_count)
        return Detection(
            path=folder,
            type=ArtifactType.SAMPLE,
            name=artifact_name(module, "samples"),
            description=f"Validation of {type(module).__name__}, epoch {state['epoch']}, step {state['global_step']}",
            metadata={**state, **contents},
            snapshot="take",
        )
