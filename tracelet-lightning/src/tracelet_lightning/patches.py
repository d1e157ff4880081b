"""Wrappers around two methods of Trainers, ``fit`` and ``save_checkpoint``, while a session is active.

The methods are wrapped on the class, so that Trainers which were made before are captured too, and nothing is left on
a Trainer. Another library may have wrapped our wrapper in turn: then it cannot be taken off, stays, and does nothing.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from tracelet_lightning import checkpoints, fits, sessions
from tracelet_lightning.failures import log_failure

__all__ = ["refresh"]

_MODULES = ("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer")
_LOCK = threading.Lock()
#: The wrapper and the method that it wraps, by class and name.
_WRAPPED: dict[tuple[type, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}


def refresh() -> None:
    """Wrap the Trainers of the packages that are imported, or unwrap them when no session is active. Raises nothing."""
    with log_failure("Lightning"), _LOCK:
        if sessions.active():
            _wrap()
        else:
            _unwrap()


def _wrap() -> None:
    for name in _MODULES:
        trainer = getattr(sys.modules.get(name), "Trainer", None)
        if trainer is None:
            continue
        for method, wrapper_of in (("fit", _fit), ("save_checkpoint", _save_checkpoint)):
            current = vars(trainer)[method]
            if _WRAPPED.get((trainer, method), (None,))[0] is not current:
                wrapper = functools.wraps(current)(wrapper_of(current))
                _WRAPPED[trainer, method] = (wrapper, current)
                setattr(trainer, method, wrapper)


def _unwrap() -> None:
    for (trainer, method), (wrapper, original) in list(_WRAPPED.items()):
        if vars(trainer).get(method) is wrapper:
            setattr(trainer, method, original)
            del _WRAPPED[trainer, method]


def _fit(original: Callable[..., Any]) -> Callable[..., Any]:
    def fit(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        fit_capture = fits.begin(trainer, refresh) if sessions.active() else None
        if fit_capture is None:
            return original(trainer, *args, **kwargs)
        try:
            result = original(trainer, *args, **kwargs)
        except BaseException:
            fit_capture.end(completed=False)
            raise
        # Some releases return from a fit that Ctrl-C broke off as if it had completed.
        fit_capture.end(completed=not trainer.interrupted)
        return result

    return fit


def _save_checkpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    def save_checkpoint(trainer: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        save = functools.partial(original, trainer, filepath, *args, **kwargs)
        return checkpoints.capture_save(trainer, filepath, save) if sessions.active() else save()

    return save_checkpoint
