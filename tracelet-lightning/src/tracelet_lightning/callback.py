"""The callback that a Trainer has for the time of a ``fit``: it sees the validations, and the end of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracelet.plugin import Detection
from tracelet_lightning import final_model, sessions
from tracelet_lightning.failures import log_failure
from tracelet_lightning.sessions import CaptureSession
from tracelet_lightning.validation import ValidationCapture

__all__ = ["CaptureHooks"]


class CaptureHooks:
    """The hooks of the callback, for either package. None of them raises.

    The callback has no state in checkpoints. A strategy that spawns processes pickles it for them, with the active
    sessions, so that those processes capture too.
    """

    def __init__(self, attach: Callable[[], None]) -> None:
        """``attach`` begins to capture in the process that calls it; a spawned process imports it by its name."""
        self._attach = attach
        #: Makes the detection of the final model; None until ``fit`` has completed in this process.
        self.final: Callable[[Any], Detection] | None = None
        #: The sessions of the process that pickled the callback.
        self._inherited: tuple[CaptureSession, ...] = ()
        self._validation = ValidationCapture()

    def __getstate__(self) -> dict[str, Any]:
        own = [session.for_child() for session in sessions.active() if not session.in_child]
        return {"attach": self._attach, "sessions": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        CaptureHooks.__init__(self, state["attach"])
        self._inherited = tuple(state["sessions"])

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        """In a process that was spawned for this ``fit``, continue the sessions of the process that spawned it."""
        inherited, self._inherited = self._inherited, ()
        if inherited:
            with log_failure("what this process trains"):
                sessions.adopt(inherited)
                self._attach()

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Observe the first batch, in the process that logs."""
        if not (batch_idx or dataloader_idx or trainer.sanity_checking) and trainer.is_global_zero:
            self._validation.observe(module, batch)

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take the samples of the batch that is observed."""
        self._validation.take(outputs)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Note the state of the training, with the metrics of the whole validation."""
        if not trainer.sanity_checking:
            self._validation.describe(trainer)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Report the samples of the last validation to the sessions whose interval ends with this epoch."""
        epoch = trainer.current_epoch + 1
        self._validation.report(module, lambda every: epoch % every == 0)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Report the samples that were not reported yet, and the final model."""
        if not trainer.is_global_zero:
            return
        self._validation.report(module, lambda every: True)
        with log_failure("the final model"):
            self.final = final_model.detection_of(trainer, module)
            if self.final is None:
                return
            # In a child, the detection is left for the parent. In the process that called `fit`, its end reports the model.
            for session in sessions.active():
                if session.in_child and session.settings.final_model:
                    session.report(self.final(module))

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Let go of the module."""
        self.release()

    def release(self) -> None:
        """Let go of the module that is observed."""
        self._validation.release()
