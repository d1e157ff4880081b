"""The callback that a Trainer has while it fits and a detector runs: it sees the validation, and the end."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from tracelet.plugin import ArtifactType, Detection
from tracelet_lightning import metadata, sample_files, samples, sessions
from tracelet_lightning.guard import LOG, guarded

__all__ = ["CaptureHooks"]

#: Strategies whose processes hold a part of the model each, so that no one of them could store it.
_SHARDED = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy", "XLAFSDPStrategy"}


class CaptureHooks:
    """The hooks, for a callback of either package; what goes wrong in one stays in it.

    It has no state in checkpoints. Pickled for a process that is spawned to train, it takes the sessions along.
    """

    def __init__(self, attach: Callable[[], None]) -> None:
        """``attach`` begins to capture in the process that calls it; a spawned process imports it by its name."""
        self._attach = attach
        #: Makes the detection of the model, once ``fit`` has come to its end in this process.
        self.final: Callable[[Any], Detection] | None = None
        #: The sessions of the process that pickled it.
        self._brought: tuple[sessions.CaptureSession, ...] = ()
        self._view: samples.BatchObserver | None = None
        #: The last validation, what is to be said about it, and whom it was reported to.
        self._seen: samples.Samples | None = None
        self._said: dict[str, Any] = {}
        self._told: set[sessions.CaptureSession] = set()

    def __getstate__(self) -> dict[str, Any]:
        here = [one for one in sessions.active() if one.pid == os.getpid()]
        return {"attach": self._attach, "sessions": [attrs.evolve(one, emit=None, outcome=None) for one in here]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        CaptureHooks.__init__(self, state["attach"])
        self._brought = tuple(state["sessions"])

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        """In a process that was spawned for this ``fit``, go on with the sessions of the one that spawned it."""
        brought, self._brought = self._brought, ()
        if brought:
            with guarded("what this process trains"):
                sessions.adopt(brought)
                self._attach()

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Look at the first batch only, in the process that writes."""
        if batch_idx or dataloader_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        with guarded("a sample of the validation"):
            self.release()
            counts = [one.settings.samples_count for one in sessions.active() if one.settings.samples_every_n_epochs]
            if counts:
                self._view = samples.BatchObserver(module, batch, max(counts))

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep what went in, what was wanted and what came out."""
        if self._view is None:
            return
        with guarded("a sample of the validation"):
            view = self._view
            self.release()
            self._seen, self._told = view.batch(outputs), set()
            if self._seen is None:
                LOG.debug("samples are not captured: nothing in the validation's batches has one value for each.")

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Note where the training is, with the metrics of the whole validation."""
        if self._seen is not None and not self._told and not trainer.sanity_checking:
            with guarded("a sample of the validation"):
                self._said = metadata.of_training(trainer)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Report the last validation of the epoch, where it is an epoch's turn."""
        epoch = trainer.current_epoch + 1
        self._report(module, lambda every: epoch % every == 0)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Report the last validation if it was not, and note that there is a model now."""
        if trainer.is_global_zero:
            self._report(module, lambda every: True)
            with guarded("the final model"):
                self._finish(trainer, module)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Let go of the module."""
        self.release()

    def release(self) -> None:
        """Let go of the module that is looked at."""
        view, self._view = self._view, None
        if view is not None:
            view.close()

    def _report(self, module: Any, turn: Callable[[int], bool]) -> None:
        for session in sessions.active() if self._seen is not None else ():
            every = session.settings.samples_every_n_epochs
            if every and session not in self._told and turn(every):
                self._told.add(session)
                with guarded("a sample of the validation"):
                    session.report(self._written(session, module, self._seen))

    def _written(self, session: sessions.CaptureSession, module: Any, seen: samples.Samples | None) -> Detection:
        assert seen is not None
        said = self._said
        folder = session.workspace / f"samples-{uuid.uuid4().hex}"
        contents = sample_files.write(folder, seen, session.settings.samples_count)
        return Detection(
            path=folder,
            type=ArtifactType.SAMPLE,
            name=metadata.artifact_name(module, "samples"),
            description=f"Validation of {type(module).__name__}, epoch {said['epoch']}, step {said['global_step']}",
            metadata={**said, **contents},
            snapshot="take",
        )

    def _finish(self, trainer: Any, module: Any) -> None:
        strategy = {cls.__name__ for cls in type(trainer.strategy).__mro__} & _SHARDED
        if strategy:
            LOG.debug("the final model is not captured: with %s no process has all of it.", *strategy)
            return
        make = partial(
            Detection,
            type=ArtifactType.MODEL,
            name=metadata.artifact_name(module, "model"),
            description=f"{type(module).__name__} at the end of its training",
            metadata=metadata.of_training(trainer),
            aliases=("final",),
        )
        self.final = lambda model: make(model=model)
        for session in sessions.active():
            if session.pid != os.getpid() and session.settings.final_model:
                session.report(self.final(module))
