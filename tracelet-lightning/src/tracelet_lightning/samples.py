"""A look at one validation batch: what went in, what was wanted, and what the model made of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import FunctionType
from typing import Any

import attrs

from tracelet_lightning.guard import guarded
from tracelet_lightning.sample_values import SampleValues, take

__all__ = ["BatchObserver", "Samples"]

_INPUTS = ("input", "inputs", "image", "images", "img", "x", "pixel_values", "features", "data", "input_ids", "text")
_TARGETS = ("target", "targets", "label", "labels", "y", "mask", "masks")
_PREDICTIONS = ("prediction", "predictions", "pred", "preds", "y_hat", "y_pred", "logits", "probs", "output", "outputs")


@attrs.frozen(eq=False)
class Samples:
    """Samples of one batch, on the CPU, of one number each; None is what was not found."""

    inputs: SampleValues | None
    targets: SampleValues | None
    predictions: SampleValues | None
    #: Where the predictions are from: ``validation_step``, ``forward``, or the name of a child; empty if there are none.
    source: str


class BatchObserver:
    """Looks at one batch, from before the step to after it.

    What a model predicts is what ``validation_step`` returns, under a usual name or as a tensor; else what its
    ``forward`` returned; else what the last of its children did. No randomness is drawn, nothing is changed.
    """

    def __init__(self, module: Any, batch: Any, count: int) -> None:
        """Take ``count`` samples of ``batch``, and begin to look at ``module``. Raises what torch raises."""
        torch = import_module("torch")
        self._tensor, self._strided = torch.Tensor, torch.strided
        # Releases before 2.1 do not have it.
        self._compiling = getattr(getattr(torch, "compiler", None), "is_compiling", bool)
        self._count = count
        inputs, targets = self._split(batch)
        self._length = self._length_of(inputs)
        self._inputs = self._taken(inputs)
        self._targets = self._taken(targets, self._inputs.size if self._inputs else None)
        #: The last output of each that is looked at; the one that was called last is the last.
        self._outputs: dict[str, SampleValues] = {}
        self._hooks: list[Any] = []
        try:
            for name, one in _watched(module) if self._length else ():
                # What TorchScript compiled takes no hooks; of the others there are samples nevertheless.
                with guarded(f"the output of {name}", logging.DEBUG):
                    self._hooks.append(one.register_forward_hook(_Hook(self, name)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Look at the module no more."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()

    def batch(self, outputs: Any) -> Samples | None:
        """Return the samples, with what the step returned; None where the batch has none that can be told apart."""
        if not self._length:
            return None
        source, predictions = self._predicted(outputs)
        inputs, targets, shown = (part and part.here() for part in (self._inputs, self._targets, predictions))
        return Samples(inputs, targets, shown, source)

    def keep(self, name: str, output: Any) -> None:
        """Keep the samples of what ``name`` put out. Raises nothing."""
        # What is below would become a part of the user's graph, and may not be possible in it.
        if self._compiling():
            return
        kept = False
        with guarded(f"what {name} put out, for a sample of the validation,"):
            found = self._find(output, _PREDICTIONS)
            if found is not None:
                self._outputs.pop(name, None)
                self._outputs[name] = self._prediction(found)
            kept = True
        if not kept:
            # Such as for want of memory, which trying again would not leave the training.
            self.close()

    def _predicted(self, outputs: Any) -> tuple[str, SampleValues | None]:
        found = self._find(outputs, _PREDICTIONS, other=False)
        if found is not None:
            return "validation_step", self._prediction(found)
        if "forward" in self._outputs:
            return "forward", self._outputs["forward"]
        return next(reversed(self._outputs.items()), ("", None))

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
            candidates = [_attribute(value, name) for name in names]
        return next((one for one in candidates if self._length_of(one) == self._length), None)

    def _length_of(self, value: Any) -> int:
        """Return the number of samples; 0 for what has no rows to take some of."""
        if isinstance(value, self._tensor):
            plain = value.layout is self._strided and not value.is_nested
            # A part of a distributed tensor would be asked for by this process alone, and be waited for.
            return int(value.shape[0]) if plain and value.dim() and not hasattr(value, "device_mesh") else 0
        if isinstance(value, (tuple, list)) and all(isinstance(one, (str, int, float)) for one in value):
            return len(value)
        return 0

    def _taken(self, value: Any, size: tuple[int, int] | None = None) -> SampleValues | None:
        """Return samples of the inputs or the targets, if there is one for each."""
        return take(value, self._count, size) if self._length and self._length_of(value) == self._length else None

    def _prediction(self, value: Any) -> SampleValues:
        sizes = [part.size for part in (self._inputs, self._targets) if part and part.size]
        scores = self._targets is not None and self._targets.labels
        return take(value, self._count, sizes[0] if sizes else None, scores=scores)


class _Hook:
    """Shows a view what one module puts out. Copies of it, and of the module with it, show nobody anything."""

    def __init__(self, view: BatchObserver | None, name: str) -> None:
        self._view = view
        self._name = name

    def __call__(self, _module: Any, _arguments: Any, output: Any) -> None:
        if self._view is not None:
            self._view.keep(self._name, output)

    def __reduce__(self) -> tuple[Any, ...]:
        # The step may copy or pickle its module.
        return _Hook, (None, self._name)


def _attribute(value: Any, name: str) -> Any:
    # A property may do anything when it is asked for.
    with guarded(f"{name} of a {type(value).__name__}", logging.DEBUG):
        return getattr(value, name, None)
    return None


def _watched(module: Any) -> list[tuple[str, Any]]:
    """Return what is looked at: the module and its children, but nothing that is called in a compiled graph.

    torch.compile would compile that graph once more for a hook in it.
    """
    if _is_compiled(module):
        return []
    holders = [vars(module), *map(vars, type(module).__mro__)]
    # Where torch.compile, Lightning with a compiled module, and the decorator put what is compiled.
    compiled = {
        name
        for holder in holders
        for name, value in holder.items()
        if isinstance(value, FunctionType) and "_torchdynamo_orig_callable" in vars(value)
    }
    if "validation_step" in compiled:
        return []
    children = [] if compiled else [(name, one) for name, one in module.named_children() if not _is_compiled(one)]
    return [("forward", module), *children]


def _is_compiled(module: Any) -> bool:
    """Whether ``Module.compile`` was called."""
    return vars(module).get("_compiled_call_impl") is not None
