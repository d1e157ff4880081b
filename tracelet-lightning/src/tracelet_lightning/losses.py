"""Shows, while a step runs, what it gives to the losses of ``torch.nn.functional``; those of ``torch.nn`` call them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["stop_watching", "watch"]

_NAMES = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
)

#: Called with the arguments of a loss, and with what it returned.
Record = Callable[[tuple[Any, ...], dict[str, Any], Any], None]

_lock = threading.Lock()
#: Who watches, with its thread: the losses of other threads are of other batches.
_watching: list[tuple[int, Record]] = []
_originals: dict[str, Any] = {}


def watch(record: Record) -> None:
    """Call ``record``, which raises nothing, for each loss that this thread computes, until :func:`stop_watching`."""
    with _lock:
        if not _watching:
            functional = import_module("torch").nn.functional
            for name in _NAMES:
                _originals[name] = getattr(functional, name)
                setattr(functional, name, _shown(_originals[name]))
        _watching.append((threading.get_ident(), record))


def stop_watching(record: Record) -> None:
    """Watch no more; the last one who stops leaves torch as it was."""
    with _lock:
        left = [one for one in _watching if one[1] != record]
        if _watching and not left:
            functional = import_module("torch").nn.functional
            for name, original in _originals.items():
                # Somebody else may have replaced it meanwhile.
                if getattr(getattr(functional, name), "__wrapped__", None) is original:
                    setattr(functional, name, original)
            _originals.clear()
        _watching[:] = left


def _shown(original: Any) -> Any:
    # Releases of torch before 2.1 do not have it.
    compiling = getattr(getattr(import_module("torch"), "compiler", None), "is_compiling", bool)

    @functools.wraps(original)
    def loss(*arguments: Any, **named: Any) -> Any:
        output = original(*arguments, **named)
        # torch is compiling the user's graph: the lines below would become a part of it, or could not be compiled.
        if not compiling():
            for thread, record in tuple(_watching):
                if thread == threading.get_ident():
                    record(arguments, named, output)
        return output

    return loss
