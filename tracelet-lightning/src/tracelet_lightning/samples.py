"""A look at one validation batch: what went in, what was wanted, and what the model made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

__all__ = ["Batch", "View"]

_INPUTS = ("input", "inputs", "image", "images", "img", "x", "pixel_values", "features", "data", "input_ids", "text")
_TARGETS = ("target", "targets", "label", "labels", "y", "mask", "masks")
_PREDICTIONS = ("prediction", "predictions", "pred", "preds", "y_hat", "y_pred", "logits", "probs", "output", "outputs")


@attrs.frozen(eq=False)
class Batch:
    """Samples of one batch: tensors on the CPU, or lists of text or numbers, of one length each."""

    inputs: Any
    targets: Any
    predictions: Any
    #: Where the predictions are from: ``validation_step``, ``forward``, or the name of a child; empty if there are none.
    source: str


class View:
    """Looks at one batch, from before the step to after it.

    What a model predicts is what ``validation_step`` returns, under a usual name or as a tensor; else what its
    ``forward`` returned; else what the last of its children did. No randomness is drawn, nothing is changed.
    """

    def __init__(self, module: Any, batch: Any, count: int) -> None:
        """Take ``count`` samples of ``batch``, and begin to look at ``module``."""
        self._tensor = import_module("torch").Tensor
        self._count = count
        inputs, targets = self._split(batch)
        self._length = self._length_of(inputs)
        self._inputs, self._targets = (
            self._some(part) if self._length and self._length_of(part) == self._length else None
            for part in (inputs, targets)
        )
        self._forward: list[tuple[str, Any]] = []
        self._hooks: list[Any] = []
        if self._length:
            watched = [("forward", module), *module.named_children()]
            self._hooks = [one.register_forward_hook(self._hook(name)) for name, one in watched]

    def close(self) -> None:
        """Look at the module no more."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def batch(self, outputs: Any) -> Batch | None:
        """Return the samples, with what the step returned; None where the batch has none that can be told apart."""
        if not self._length:
            return None
        source, predictions = self._predicted(outputs)
        return Batch(self._here(self._inputs), self._here(self._targets), self._here(predictions), source)

    def _hook(self, name: str) -> Any:
        def keep(_module: Any, _arguments: Any, output: Any) -> None:
            found = self._find(output, _PREDICTIONS)
            if found is not None:
                # Only the samples are held, for what a layer puts out may be large.
                self._forward.append((name, self._some(found)))

        return keep

    def _predicted(self, outputs: Any) -> tuple[str, Any]:
        found = self._find(outputs, _PREDICTIONS, other=False)
        if found is not None:
            return "validation_step", self._some(found)
        own = [one for one in self._forward if one[0] == "forward"]
        return (own or self._forward or [("", None)])[-1]

    def _split(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, Mapping):
            return tuple(next((batch[key] for key in keys if key in batch), None) for keys in (_INPUTS, _TARGETS))  # type: ignore[return-value]
        if isinstance(batch, (tuple, list)) and batch:
            first, second = batch[0], batch[1] if len(batch) > 1 else None
            return (self._first(first), self._first(second))
        return batch, None

    def _first(self, value: Any) -> Any:
        """Of several inputs, the first."""
        if isinstance(value, (tuple, list)) and value and isinstance(value[0], self._tensor) and value[0].dim():
            return value[0]
        return next(iter(value.values()), None) if isinstance(value, Mapping) else value

    def _find(self, value: Any, names: Sequence[str], other: bool = True) -> Any:
        """Find what has a prediction for each sample; ``other`` also takes what has none of the names."""
        if isinstance(value, self._tensor):
            return value if self._length_of(value) == self._length else None
        if isinstance(value, Mapping):
            named = [value[name] for name in names if name in value]
            candidates = named + (list(value.values()) if other else [])
        elif isinstance(value, (tuple, list)) and other:
            candidates = list(value)
        else:
            candidates = [getattr(value, name) for name in names if hasattr(value, name)]
        return next((one for one in candidates if self._length_of(one) == self._length), None)

    def _length_of(self, value: Any) -> int:
        if isinstance(value, self._tensor):
            return int(value.shape[0]) if value.dim() else 0
        if isinstance(value, (tuple, list)) and all(isinstance(one, (str, int, float)) for one in value):
            return len(value)
        return 0

    def _some(self, value: Any) -> Any:
        if isinstance(value, self._tensor):
            return value.detach()[: self._count].clone()
        return list(value[: self._count])

    def _here(self, value: Any) -> Any:
        return value.to("cpu") if isinstance(value, self._tensor) else value
