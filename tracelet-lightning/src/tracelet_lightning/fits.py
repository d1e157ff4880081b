"""One ``fit``: our hooks are called for its time, and it leaves a model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tracelet_lightning import sessions
from tracelet_lightning.failures import LOG, log_failure
from tracelet_lightning.hooks import CaptureHooks

__all__ = ["FitCapture", "begin", "hooks_of"]

#: Seconds between two looks for detections that children left.
_POLL_INTERVAL = 1.0
#: The attribute of a Trainer with our hooks: it goes with the Trainer into the processes that a strategy spawns.
_HOOKS = "_tracelet_hooks"


def hooks_of(trainer: Any) -> CaptureHooks | None:
    """Return our hooks of a Trainer, which it has for the time of a ``fit``."""
    return trainer.__dict__.get(_HOOKS)  # type: ignore[no-any-return]


def begin(trainer: Any, attach: Callable[[], None]) -> FitCapture | None:
    """Give the Trainer our hooks; return None where nothing is to be captured, or it has them. Raises nothing.

    ``attach`` begins to call the hooks in a process that is spawned for this ``fit``; it is pickled by its name.
    """
    with log_failure("this fit"):
        earlier = hooks_of(trainer)
        if trainer.fast_dev_run:
            LOG.debug("nothing is captured of a fast_dev_run.")
        elif earlier is None or earlier.is_copy:
            hooks = CaptureHooks(attach)
            trainer.__dict__[_HOOKS] = hooks
            return FitCapture(trainer, hooks)
    return None


class FitCapture:
    """The capture of a ``fit`` that runs."""

    def __init__(self, trainer: Any, hooks: CaptureHooks) -> None:
        """``hooks`` are the Trainer's."""
        self._trainer = trainer
        self._hooks = hooks
        self._ended = threading.Event()
        self._poller: threading.Thread | None = None
        if hasattr(trainer.strategy.launcher, "_start_method"):
            # Children train. Their checkpoints are to be in the outbox before a training of days is over.
            self._poller = threading.Thread(target=self._poll, name="tracelet-lightning", daemon=True)
            self._poller.start()

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_INTERVAL):
            for session in sessions.active():
                session.collect()

    def end(self, *, completed: bool) -> None:
        """Take the hooks away, and report what is complete now. Raises nothing."""
        with log_failure("the end of this fit"):
            for session in sessions.active():
                if session.outcome is not None:
                    session.outcome(completed)
            self._ended.set()
            if self._poller is not None:
                self._poller.join()
            self._trainer.__dict__.pop(_HOOKS, None)
            self._hooks.release()
            module = self._trainer.lightning_module
            with _without_trainer(module, self._trainer):
                for session in sessions.active():
                    session.collect(module)
                    if self._hooks.final is not None and session.settings.final_model:
                        session.report(self._hooks.final(module))


@contextlib.contextmanager
def _without_trainer(module: Any, trainer: Any) -> Iterator[None]:
    """Store the module without its Trainer: older releases would store both.

    ``module`` is None where ``fit`` was given something that is not a module.
    """
    if module is None:
        yield
        return
    module.trainer = None
    try:
        yield
    finally:
        module.trainer = trainer
