"""Wrappers around what Trainers do, while a session is active.

They are around the methods ``fit`` and ``save_checkpoint``, and the function that calls callbacks: on the class and the
module, so that Trainers which were made before are captured too. The user's list of callbacks stays as it is. Another
library may have wrapped our wrapper in turn: then it cannot be taken off, stays, and does nothing.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from tracelet_lightning import checkpoints, fits, sessions
from tracelet_lightning.failures import log_failure

__all__ = ["attach", "refresh"]

_PACKAGES = ("lightning.pytorch.trainer", "pytorch_lightning.trainer")
_LOCK = threading.Lock()
#: The wrapper and the function that it wraps, by the class or module that has it, and its name.
_WRAPPED: dict[tuple[Any, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}


def refresh() -> None:
    """Wrap the Trainers of the packages that are imported, or unwrap them when no session is active. Raises nothing."""
    with log_failure("Lightning"), _LOCK:
        if sessions.active():
            _wrap()
        else:
            _unwrap()


def attach() -> None:
    """Wrap the Trainers of the packages that are imported. Raises nothing.

    In a process that was spawned for a ``fit``, no session is active yet: the first hook makes it so.
    """
    with log_failure("Lightning"), _LOCK:
        _wrap()


def _wrap() -> None:
    for package in _PACKAGES:
        trainer = getattr(sys.modules.get(f"{package}.trainer"), "Trainer", None)
        if trainer is None:
            continue
        _replace(trainer, "fit", _fit)
        _replace(trainer, "save_checkpoint", _save_checkpoint)
        _replace(sys.modules[f"{package}.call"], "_call_callback_hooks", _call_callback_hooks)


def _replace(owner: Any, name: str, wrapper_of: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    current = vars(owner)[name]
    if _WRAPPED.get((owner, name), (None,))[0] is not current:
        wrapper = functools.wraps(current)(wrapper_of(current))
        _WRAPPED[owner, name] = (wrapper, current)
        setattr(owner, name, wrapper)


def _unwrap() -> None:
    for (owner, name), (wrapper, original) in list(_WRAPPED.items()):
        if vars(owner).get(name) is wrapper:
            setattr(owner, name, original)
            del _WRAPPED[owner, name]


def _fit(original: Callable[..., Any]) -> Callable[..., Any]:
    def fit(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        fit_capture = fits.begin(trainer, attach) if sessions.active() else None
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


def _call_callback_hooks(original: Callable[..., Any]) -> Callable[..., Any]:
    def call_callback_hooks(trainer: Any, hook_name: str, *args: Any, **kwargs: Any) -> Any:
        hooks = fits.hooks_of(trainer)
        # A callback that runs loops of its own makes trial runs, as tuners do.
        if hooks is None or hooks.calling:
            return original(trainer, hook_name, *args, **kwargs)
        hooks.calling = True
        try:
            # At the end of an epoch there are two calls, the second for callbacks that monitor a metric.
            if kwargs.get("monitoring_callbacks") is not True:
                hooks.call(hook_name, trainer, args)
            return original(trainer, hook_name, *args, **kwargs)
        finally:
            hooks.calling = False

    return call_callback_hooks
