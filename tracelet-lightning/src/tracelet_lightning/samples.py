"""Samples of one validation batch: the inputs, the targets, and the predictions of the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.compiled import hookable
from tracelet_lightning.failures import log_failure
from tracelet_lightning.sample_values import SampleValues, take

__all__ = ["BatchObserver", "Samples"]

_INPUTS = ("input", "inputs", "image", "images", "img", "x", "pixel_values", "features", "data", "input_ids", "text")
_TARGETS = ("target", "targets", "label", "labels", "y", "mask", "masks")
_PREDICTIONS = ("prediction", "predictions", "pred", "preds", "y_hat", "y_pred", "logits", "probs", "output", "outputs")


@attrs.frozen(eq=False)
class Samples:
    """Samples of one batch, on the CPU. Each role has the same number of samples, or is None where nothing was found."""

    inputs: SampleValues | None
    targets: SampleValues | None
    predictions: SampleValues | None
    #: What gave the predictions: ``validation_step``, ``forward``, or the name of a child; empty without predictions.
    source: str


class BatchObserver:
    """Takes the samples of one batch, with hooks on the module while the step runs.

    The predictions are what ``validation_step`` returns, under a usual name or as a tensor; else what the module's
    ``forward`` returned; else what the child returned that was called last. The observer draws no random number and
    changes nothing.
    """

    def __init__(self, module: Any, batch: Any, count: int) -> None:
        """Take the first ``count`` inputs and targets of ``batch``, and put hooks on ``module``. Raises what torch raises."""
        torch = import_module("torch")
        self._tensor, self._strided = torch.Tensor, torch.strided
        # Releases of torch before 2.1 do not have it.
        self._compiling = getattr(getattr(torch, "compiler", None), "is_compiling", bool)
        self._count = count
        inputs, targets = self._split(batch)
        self._length = self._length_of(inputs)
        self._inputs = self._taken(inputs)
        self._targets = self._taken(targets, self._inputs.size if self._inputs else None)
        #: The last output of the module and of its children, by name, in the order in which they were called.
        self._outputs: dict[str, SampleValues] = {}
        self._hooks: list[Any] = []
        try:
            for name, one in hookable(module) if self._length else ():
                # A module that TorchScript compiled takes no hooks. The others give samples nevertheless.
                with log_failure(f"the output of {name}", logging.DEBUG):
                    self._hooks.append(one.register_forward_hook(_Hook(self, name)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the hooks off."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()

    def samples(self, outputs: Any) -> Samples | None:
        """Return the samples, or None where the batch has no rows; ``outputs`` is what ``validation_step`` returned."""
        if not self._length:
            return None
        source, predictions = self._predicted(outputs)
        inputs, targets, shown = (values and values.on_cpu() for values in (self._inputs, self._targets, predictions))
        return Samples(inputs, targets, shown, source)

    def keep(self, name: str, output: Any) -> None:
        """Keep the samples of the output of ``name``. Raises nothing."""
        # torch is compiling the user's graph: the lines below would become a part of it, or could not be compiled.
        if self._compiling():
            return
        kept = False
        with log_failure(f"what {name} put out, for a sample of the validation,"):
            found = self._find(output, _PREDICTIONS)
            if found is not None:
                self._outputs.pop(name, None)
                self._outputs[name] = self._prediction(found)
            kept = True
        if not kept:
            # Memory may be short, for example: another try would take it from the training.
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
        """Return the first of several inputs."""
        if isinstance(value, (tuple, list)) and value and isinstance(value[0], self._tensor) and value[0].dim():
            return value[0]
        return next(iter(value.values()), None) if isinstance(value, Mapping) else value

    def _find(self, value: Any, names: Sequence[str], other: bool = True) -> Any:
        """Return the value that has a row for each sample; ``other`` allows values under none of the names."""
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
        """Return the number of rows; 0 for a value without rows."""
        if isinstance(value, self._tensor):
            plain = value.layout is self._strided and not value.is_nested
            # Only this process would ask for rows of a distributed tensor, and would wait for the others for ever.
            return int(value.shape[0]) if plain and value.dim() and not hasattr(value, "device_mesh") else 0
        if isinstance(value, (tuple, list)) and all(isinstance(one, (str, int, float)) for one in value):
            return len(value)
        return 0

    def _taken(self, value: Any, size: tuple[int, int] | None = None) -> SampleValues | None:
        """Return samples of the inputs or the targets, if they have a row for each sample."""
        return take(value, self._count, size) if self._length and self._length_of(value) == self._length else None

    def _prediction(self, value: Any) -> SampleValues:
        sizes = [values.size for values in (self._inputs, self._targets) if values and values.size]
        scores = self._targets is not None and self._targets.may_be_classes
        return take(value, self._count, sizes[0] if sizes else None, scores=scores)


class _Hook:
    """Shows an observer what one module puts out. A copy of the hook, made with its module, does nothing."""

    def __init__(self, observer: BatchObserver | None, name: str) -> None:
        self._observer = observer
        self._name = name

    def __call__(self, _module: Any, _arguments: Any, output: Any) -> None:
        if self._observer is not None:
            self._observer.keep(self._name, output)

    def __reduce__(self) -> tuple[Any, ...]:
        # The user's step may copy or pickle its module.
        return _Hook, (None, self._name)


def _attribute(value: Any, name: str) -> Any:
    # A property runs the user's code.
    with log_failure(f"{name} of a {type(value).__name__}", logging.DEBUG):
        return getattr(value, name, None)
    return None
