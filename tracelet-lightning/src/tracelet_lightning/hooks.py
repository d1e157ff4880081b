"""The hooks that are called for the time of a ``fit``: they see the validations, and the end of the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracelet.plugin import Detection
from tracelet_lightning import final_model, sessions
from tracelet_lightning.failures import log_failure
from tracelet_lightning.sessions import CaptureSession
from tracelet_lightning.validation import ValidationCapture

__all__ = ["CaptureHooks"]


class CaptureHooks:
    """Hooks with the names and arguments of Lightning's own, for either package. None of them raises.

    They are no callback, so that the user's list of callbacks, and what is stored of it in checkpoints, are as without
    them. A strategy that spawns processes pickles them with the Trainer, and with the active sessions, so that those
    processes capture too.
    """

    def __init__(self, attach: Callable[[], None]) -> None:
        """``attach`` begins to call the hooks in the process that calls it; a spawned process imports it by its name."""
        self._attach = attach
        #: Whether the Trainer calls its callbacks now.
        self.calling = False
        #: Makes the detection of the final model; None until ``fit`` has completed in this process.
        self.final: Callable[[Any], Detection] | None = None
        #: Whether these were pickled or copied, and no ``fit`` has begun with them since.
        self.is_copy = False
        #: The sessions of the process that pickled them.
        self._inherited: tuple[CaptureSession, ...] = ()
        self._validation = ValidationCapture()

    def __getstate__(self) -> dict[str, Any]:
        own = [session.for_child() for session in sessions.active() if not session.in_child]
        return {"attach": self._attach, "sessions": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        CaptureHooks.__init__(self, state["attach"])
        self._inherited, self.is_copy = tuple(state["sessions"]), True
        with log_failure("what this process trains"):
            self._attach()

    def call(self, name: str, trainer: Any, arguments: Iterable[Any]) -> None:
        """Call the hook of this name, if there is one."""
        hook = getattr(self, name, None)
        if hook is not None:
            hook(trainer, trainer.lightning_module, *arguments)

    def setup(self, trainer: Any, module: Any) -> None:
        """In a process that was spawned for this ``fit``, continue the sessions of the process that spawned it."""
        inherited, self._inherited, self.is_copy = self._inherited, (), False
        if inherited:
            with log_failure("what this process trains"):
                sessions.adopt(inherited)

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
