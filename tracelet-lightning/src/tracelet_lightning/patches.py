"""The two methods of Trainers that are wrapped while a detector runs: ``fit`` and ``save_checkpoint``.

They are wrapped on the class, so that Trainers which were made before are seen too, and so that nothing is left on a
Trainer. A wrapper that another library has wrapped in turn cannot be taken out of that: it stays, and does nothing.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from tracelet_lightning import checkpoints, fits, sessions
from tracelet_lightning.guard import guarded

__all__ = ["refresh"]

_MODULES = ("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer")
_LOCK = threading.Lock()
#: The wrapper and what it wraps, by class and method.
_ON: dict[tuple[type, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}


def refresh() -> None:
    """Wrap the Trainers of what is imported while a detector runs, and unwrap them when none does. Raises nothing."""
    with guarded("Lightning"), _LOCK:
        if sessions.active():
            _put_on()
        else:
            _take_off()


def _put_on() -> None:
    for name in _MODULES:
        trainer = getattr(sys.modules.get(name), "Trainer", None)
        if trainer is None:
            continue
        for method, wrap in (("fit", _fit), ("save_checkpoint", _save_checkpoint)):
            current = vars(trainer)[method]
            if _ON.get((trainer, method), (None,))[0] is not current:
                wrapper = functools.wraps(current)(wrap(current))
                _ON[trainer, method] = (wrapper, current)
                setattr(trainer, method, wrapper)


def _take_off() -> None:
    for (trainer, method), (wrapper, original) in list(_ON.items()):
        if vars(trainer).get(method) is wrapper:
            setattr(trainer, method, original)
            del _ON[trainer, method]


def _fit(original: Callable[..., Any]) -> Callable[..., Any]:
    def fit(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = fits.begin(trainer, refresh) if sessions.active() else None
        if run is None:
            return original(trainer, *args, **kwargs)
        try:
            result = original(trainer, *args, **kwargs)
        except BaseException:
            run.end(completed=False)
            raise
        # Some releases end a fit that Ctrl-C broke off as if it had come to its end.
        run.end(completed=not trainer.interrupted)
        return result

    return fit


def _save_checkpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    def save_checkpoint(trainer: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        save = functools.partial(original, trainer, filepath, *args, **kwargs)
        return checkpoints.saved(trainer, filepath, save) if sessions.active() else save()

    return save_checkpoint
