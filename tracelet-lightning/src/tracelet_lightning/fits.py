"""One ``fit``: it has a callback of ours for its time, and leaves a model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from tracelet_lightning import sessions
from tracelet_lightning.callback import CaptureHooks
from tracelet_lightning.failures import LOG, log_failure

__all__ = ["FitCapture", "begin"]

#: Seconds between two looks for detections that children left.
_POLL_INTERVAL = 1.0
_CALLBACKS = {
    "lightning": "tracelet_lightning.lightning_callback",
    "pytorch_lightning": "tracelet_lightning.pytorch_lightning_callback",
}


def begin(trainer: Any, attach: Callable[[], None]) -> FitCapture | None:
    """Give the Trainer our callback; return None where nothing is to be captured, or it has one. Raises nothing.

    ``attach`` begins to capture in a process that is spawned for this ``fit``; it is pickled by its name.
    """
    with log_failure("this fit"):
        if trainer.fast_dev_run:
            LOG.debug("nothing is captured of a fast_dev_run.")
        elif not any(isinstance(one, CaptureHooks) for one in trainer.callbacks):
            packages = (cls.__module__.partition(".")[0] for cls in type(trainer).__mro__)
            module = next(_CALLBACKS[package] for package in packages if package in _CALLBACKS)
            callback = import_module(module).TraceletCapture(attach)
            trainer.callbacks.insert(0, callback)
            return FitCapture(trainer, callback)
    return None


class FitCapture:
    """The capture of a ``fit`` that runs."""

    def __init__(self, trainer: Any, callback: CaptureHooks) -> None:
        """``callback`` is one of the Trainer's."""
        self._trainer = trainer
        self._callback = callback
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
        """Take the callback away, and report what is complete now. Raises nothing."""
        with log_failure("the end of this fit"):
            for session in sessions.active():
                if session.outcome is not None:
                    session.outcome(completed)
            self._ended.set()
            if self._poller is not None:
                self._poller.join()
            self._trainer.callbacks[:] = [one for one in self._trainer.callbacks if one is not self._callback]
            self._callback.release()
            module = self._trainer.lightning_module
            with _without_trainer(module, self._trainer):
                for session in sessions.active():
                    session.collect(module)
                    if self._callback.final is not None and session.settings.final_model:
                        session.report(self._callback.final(module))


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
