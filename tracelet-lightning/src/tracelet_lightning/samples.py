"""Samples of one validation batch: the inputs, the targets, and the predictions of the model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.axes import Loading, is_recurrent, loading_of, may_be_time_first, time_first
from tracelet_lightning.compiled import hookable
from tracelet_lightning.evidence import is_derived, may_be_loss, sees_target
from tracelet_lightning.failures import log_failure
from tracelet_lightning.roles import BatchRows, UnclearBatchError, UnclearRowsError, split
from tracelet_lightning.rows import as_rows, has_two_readings, is_tensor, lengths, plain_tensor
from tracelet_lightning.sample_values import Columns, Images, SampleValues, on_cpu, take
from tracelet_lightning.texts import Decoder, TokenIds, decoder_of, take_ids

__all__ = ["BatchObserver", "Samples", "values_of"]

_PREDICTIONS = (
    "prediction",
    "predictions",
    "predicted",
    "pred",
    "preds",
    "y_hat",
    "y_pred",
    "logits",
    "probs",
    "reconstruction",
    "x_hat",
    "output",
    "outputs",
)


@attrs.frozen(eq=False)
class Samples:
    """Samples of one batch, on the CPU. Each group of columns has the same number of samples."""

    #: Values by the name of their columns: ``input``, ``target``, ``prediction`` and others.
    groups: dict[str, SampleValues]
    #: What gave the predictions: ``validation_step``, ``forward``, or the name of a child; empty without predictions.
    source: str


class BatchObserver:
    """Takes the samples of one batch, with hooks on the module while the step runs.

    The predictions are what ``validation_step`` returns under a usual name, or as a tensor that the model put out; else
    what the module's ``forward`` returned; else what the child returned that was called last, unless the step returned
    other values of each sample. The observer draws no random number and changes nothing.
    """

    def __init__(
        self, module: Any, batch: Any, count: int, inputs: Sequence[str] = (), targets: Sequence[str] = ()
    ) -> None:
        """Take the first ``count`` inputs and targets of ``batch``, and put hooks on ``module``.

        ``inputs`` and ``targets`` are paths of parts that the user named. Raises :class:`UnclearBatchError` where a row
        would not be a sample, and what torch raises.
        """
        torch = import_module("torch")
        # Releases of torch before 2.1 do not have it.
        self._compiling = getattr(getattr(torch, "compiler", None), "is_compiling", bool)
        self._count = count
        self._batch = batch
        loading = loading_of(module)
        rows = split(batch, count, inputs, targets, collated=loading.collated)
        self._rows = _checked(rows, batch, module, loading, named=bool(inputs or targets))
        self._recurrent = is_recurrent(module)
        self._decoder = decoder_of(module)
        self._taken = _take_groups(self._rows.groups, self._decoder)
        #: The last output of the module and of its children, by name, in the order in which they were called.
        self._outputs: dict[str, SampleValues | TokenIds] = {}
        #: Whether the module's own ``forward`` was called: what its children put out is then a part of its work.
        self._called = False
        self._hooks: list[Any] = []
        # Releases of torch before 2.0 do not give named arguments to hooks.
        named = "with_kwargs" in inspect.signature(torch.nn.Module.register_forward_hook).parameters
        try:
            for name, one in hookable(module):
                # A module that TorchScript compiled takes no hooks. The others give samples nevertheless.
                with log_failure(f"the output of {name}", logging.DEBUG):
                    options = {"with_kwargs": True} if named else {}
                    self._hooks.append(one.register_forward_hook(_Hook(self, name), **options))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the hooks off, and let go of the batch."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        self._batch = None

    def samples(self, outputs: Any) -> Samples:
        """Return the samples; ``outputs`` is what ``validation_step`` returned."""
        source, predictions = self._predicted(outputs)
        found = {**self._taken, **({"prediction": predictions} if predictions is not None else {})}
        return Samples(_decoded(found, self._decoder, self._outputs.values()), source)

    def keep(self, name: str, module: Any, arguments: Any, output: Any) -> None:
        """Keep the samples of the output of ``name``. Raises nothing."""
        # torch is compiling the user's graph: the lines below would become a part of it, or could not be compiled.
        if self._compiling():
            return
        kept = False
        self._called = self._called or name == "forward"
        with log_failure(f"what {name} put out, for a sample of the validation,"):
            shown = sees_target(module, arguments, self._batch, self._rows.targets)
            found = self._find(output, shown)
            if found is not None:
                self._outputs.pop(name, None)
                self._outputs[name] = self._prediction(found)
            kept = True
        if not kept:
            # Memory may be short, for example: another try would take it from the training.
            self.close()

    def _predicted(self, outputs: Any) -> tuple[str, SampleValues | TokenIds | None]:
        named = next((one for one in _named(outputs) if self._fits(one)), None)
        if named is not None:
            return "validation_step", self._prediction(named)
        unknown = self._fits(outputs)
        if unknown:
            found = self._prediction(outputs)
            listed = isinstance(outputs, (tuple, list)) and all(isinstance(one, (str, Mapping)) for one in outputs)
            # What else a step returns may be a loss of each sample, unless the model put it out.
            if listed or any(is_derived(found, one) for one in self._outputs.values()):
                return "validation_step", found
        if "forward" in self._outputs:
            return "forward", self._outputs["forward"]
        # What the step made of a child's output may be the prediction, or a loss of it: the output itself is neither.
        return ("", None) if unknown or self._called else next(reversed(self._outputs.items()), ("", None))

    def _find(self, output: Any, shown: bool) -> Any:
        """Return what in an output of a module has a row for each sample; ``shown`` says that the module saw the targets."""
        if is_tensor(output) or (lengths(output) and self._fits(output)):
            candidates = [output]
        elif isinstance(output, Mapping):
            candidates = [*_named(output), *(one for key, one in output.items() if "loss" not in str(key).lower())]
        elif has_two_readings(output):
            return None
        else:
            candidates = list(output) if isinstance(output, (tuple, list)) else list(_named(output))
        credible = (one for one in candidates if not (shown and may_be_loss(one, self._rows.targets)))
        return next((one for one in credible if self._fits(one)), None)

    def _fits(self, value: Any) -> bool:
        """Whether a value has a row for each sample of the batch, and no other reading."""
        if self._by_node(value):
            return True
        if lengths(value) != {self._rows.length} or has_two_readings(value):
            return False
        # Steps of time, or layers, may be as many as the samples by chance.
        return not (self._recurrent and may_be_time_first(value))

    def _by_node(self, value: Any) -> bool:
        dense = plain_tensor(value) if self._rows.sizes else None
        return dense is not None and dense.dim() > 0 and dense.shape[0] == sum(self._rows.sizes) != self._rows.length

    def _prediction(self, value: Any) -> SampleValues | TokenIds:
        if self._by_node(value):
            rows: Any = list(plain_tensor(value).split(self._rows.sizes))[: self._count]
        else:
            rows = as_rows(value, self._count)
        ids = take_ids(rows, self._decoder) if self._decoder is not None else None
        if ids is not None:
            return ids
        target = self._taken.get("target")
        scores = isinstance(target, Columns) and target.may_be_classes
        return take(rows, _size(self._taken), scores=scores)


def values_of(groups: Mapping[str, Any]) -> dict[str, SampleValues]:
    """Return the values of rows by the name of their columns, on the CPU. Raises what torch raises."""
    return _decoded(_take_groups(groups, None), None, ())


def _checked(rows: BatchRows, batch: Any, module: Any, loading: Loading, *, named: bool) -> BatchRows:
    """Return the rows, unless they may be something else than samples. Raises :class:`UnclearBatchError`."""
    expected = loading.expected
    if not named and isinstance(batch, (tuple, list)) and len(batch) == expected != rows.length:
        raise UnclearBatchError(f"it is a list of {expected}, as many as the dataloader's samples")
    if loading.joined and not named:
        raise UnclearBatchError("it joins the batches of several dataloaders")
    if rows.whole_samples:
        return rows
    name = time_first(rows.groups, rows.length, expected, module)
    if name is not None:
        raise UnclearRowsError(f"the first dimension of its {name} may be time, and the second the samples")
    if loading.unbatched:
        raise UnclearRowsError(
            "its dataloader makes no batches, so its rows may be steps of time, or points of one sample"
        )
    if expected is not None and rows.length > expected:
        raise UnclearRowsError(f"it has {rows.length} rows, and its dataloader gives {expected} samples")
    return rows


def _take_groups(groups: Mapping[str, Any], decoder: Decoder | None) -> dict[str, SampleValues | TokenIds]:
    taken: dict[str, SampleValues | TokenIds] = {}
    for name, rows in groups.items():
        ids = take_ids(rows, decoder) if decoder is not None else None
        taken[name] = ids or take(rows, _size(taken), scores=name == "prediction" and _classes_in(taken))
    return taken


def _classes_in(taken: Mapping[str, SampleValues | TokenIds]) -> bool:
    target = taken.get("target")
    return isinstance(target, Columns) and target.may_be_classes


def _size(taken: Mapping[str, SampleValues | TokenIds]) -> tuple[int, int] | None:
    """Return the height and width of the first images of one size."""
    images = (one for one in taken.values() if isinstance(one, Images))
    return next((one.sizes[0] for one in images if len(set(one.sizes)) == 1), None)


def _decoded(
    groups: Mapping[str, SampleValues | TokenIds], decoder: Decoder | None, outputs: Iterable[Any]
) -> dict[str, SampleValues]:
    """Return the values on the CPU, and texts instead of ids where those are certainly ids of tokens."""
    scored = any(isinstance(one, TokenIds) and one.scored for one in outputs)
    done: dict[str, SampleValues] = {}
    for name, value in groups.items():
        if not isinstance(value, TokenIds):
            done[name] = on_cpu(value)
            continue
        ids = TokenIds([row.to("cpu") for row in value.rows], value.scored)
        # A class for each token looks like ids of tokens: only a model that scores all tokens has those as its targets.
        certain = scored or value.scored or name.startswith("input")
        texts: SampleValues | None = None
        if decoder is not None and certain and decoder.knows(ids):
            with log_failure("the text of the validation's samples"):
                texts = Columns(decoder.texts(ids))
        done[name] = texts or take(ids.rows)
    return done


def _named(value: Any) -> Iterable[Any]:
    """Yield what a mapping or an object has under the usual names of predictions."""
    if is_tensor(value) or value is None:
        return
    for name in _PREDICTIONS:
        found = value.get(name) if isinstance(value, Mapping) else _attribute(value, name)
        if found is not None:
            yield found


def _attribute(value: Any, name: str) -> Any:
    # A property runs the user's code.
    with log_failure(f"{name} of a {type(value).__name__}", logging.DEBUG):
        return getattr(value, name, None)
    return None


class _Hook:
    """Shows an observer what one module puts out. A copy of the hook, made with its module, does nothing."""

    def __init__(self, observer: BatchObserver | None, name: str) -> None:
        self._observer = observer
        self._name = name

    def __call__(self, module: Any, arguments: Any, *rest: Any) -> None:
        # The named arguments, where torch gives them, and the output.
        *named, output = rest
        if self._observer is not None:
            self._observer.keep(self._name, module, (*arguments, *named), output)

    def __reduce__(self) -> tuple[Any, ...]:
        # The user's step may copy or pickle its module.
        return _Hook, (None, self._name)
