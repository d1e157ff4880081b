"""One ``fit``: the callback that it gets for its time, and the model that it leaves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from tracelet_lightning import handoff, sessions
from tracelet_lightning.callback import CaptureHooks
from tracelet_lightning.guard import LOG, guarded

__all__ = ["Fitting", "begin", "collect"]

#: Seconds between two looks at what children left.
_POLL = 1.0
_CALLBACKS = {
    "lightning": "tracelet_lightning.lightning_callback",
    "pytorch_lightning": "tracelet_lightning.pytorch_lightning_callback",
}
_COLLECTING = threading.Lock()


def begin(trainer: Any, attach: Callable[[], None]) -> Fitting | None:
    """Give the Trainer its callback; None where there is nothing to capture, or it has one. Raises nothing.

    ``attach`` begins to capture in a process that is spawned for this ``fit``; it is pickled by its name.
    """
    with guarded("this fit"):
        if trainer.fast_dev_run:
            LOG.debug("nothing is captured of a fast_dev_run.")
        elif not any(isinstance(one, CaptureHooks) for one in trainer.callbacks):
            packages = (cls.__module__.partition(".")[0] for cls in type(trainer).__mro__)
            room = next(_CALLBACKS[package] for package in packages if package in _CALLBACKS)
            callback = import_module(room).TraceletCapture(attach)
            trainer.callbacks.insert(0, callback)
            return Fitting(trainer, callback)
    return None


class Fitting:
    """A ``fit`` that runs."""

    def __init__(self, trainer: Any, callback: CaptureHooks) -> None:
        """``callback`` is among the Trainer's."""
        self._trainer = trainer
        self._callback = callback
        self._over = threading.Event()
        self._poller: threading.Thread | None = None
        if hasattr(trainer.strategy.launcher, "_start_method"):
            # What children save is to be in the outbox before a training of days is over.
            self._poller = threading.Thread(target=self._poll, name="tracelet-lightning", daemon=True)
            self._poller.start()

    def _poll(self) -> None:
        while not self._over.wait(_POLL):
            for session in sessions.active():
                collect(session)

    def end(self, *, completed: bool) -> None:
        """Take the callback back, and report what is complete now. Raises nothing."""
        with guarded("the end of this fit"):
            for session in sessions.active():
                if session.outcome is not None:
                    session.outcome(completed)
            self._over.set()
            if self._poller is not None:
                self._poller.join()
            self._trainer.callbacks[:] = [one for one in self._trainer.callbacks if one is not self._callback]
            self._callback.release()
            module = self._trainer.lightning_module
            with _alone(module, self._trainer):
                for session in sessions.active():
                    collect(session, module)
                    if self._callback.final is not None and session.settings.final_model:
                        session.report(self._callback.final(module))


@contextlib.contextmanager
def _alone(module: Any, trainer: Any) -> Iterator[None]:
    """Let the module be stored without its Trainer, which older releases would store with it.

    There is no module where ``fit`` was given what is none.
    """
    if module is None:
        yield
        return
    module.trainer = None
    try:
        yield
    finally:
        module.trainer = trainer


def collect(session: sessions.CaptureSession, model: Any = None) -> None:
    """Report what children left for a session; ``model`` is what their training came to. Raises nothing."""
    with guarded("what a child process saw"), _COLLECTING:
        for detection in handoff.collect(session.handoff, model):
            session.report(detection)
