"""Samples of one validation batch: the inputs, the targets, and the predictions of the model."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning import losses
from tracelet_lightning.axes import Loading, is_recurrent, loading_of, may_be_time_first, time_first
from tracelet_lightning.compiled import has_compiled, hookable
from tracelet_lightning.evidence import (
    Given,
    given_to,
    is_derived,
    is_layer,
    is_loss,
    is_shown,
    may_be_loss,
    part_of,
    roles_of,
)
from tracelet_lightning.failures import log_failure
from tracelet_lightning.matching import has_distinct_rows, is_reordered, is_same
from tracelet_lightning.roles import BatchRows, UnclearBatchError, UnclearRowsError, names_of, split
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

#: Outputs of the model, and what losses were given, that are kept of one step.
_MAX_OUTPUTS = 64
_MAX_PAIRS = 8


@attrs.frozen(eq=False)
class Samples:
    """Samples of one batch, on the CPU. Each group of columns has the same number of samples."""

    #: Values by the name of their columns: ``input``, ``target``, ``prediction`` and others.
    groups: dict[str, SampleValues]
    #: What gave the predictions: ``validation_step``, ``forward``, or the name of a child; empty without predictions.
    source: str
    #: The names of the columns of which none is certainly the target.
    unclear: str = ""
    #: Why what the step returned as a prediction is none; empty where it returned nothing of that name.
    refused: str = ""


@attrs.frozen(eq=False)
class _Output:
    """What a module put out that has a row for each sample."""

    values: SampleValues | TokenIds
    #: The shape of a tensor of floating numbers, which may be losses; None of any other value.
    shape: tuple[int, ...] | None
    #: Whether it has a name of predictions.
    named: bool
    #: Whether a layer put it out that was not given the samples beside it, so that it is no comparison with them.
    layered: bool


@attrs.frozen(eq=False)
class _Call:
    """The last call of a module."""

    given: Given
    outputs: list[_Output]
    #: Whether the rows are certainly those of the samples: it was given them in their order, and never other parts.
    certain: bool


class BatchObserver:
    """Takes the samples of one batch, with hooks on the module, and on torch's losses, while the step runs.

    The predictions are what ``validation_step`` returns under a usual name, or as a tensor that the model put out; else
    what a loss of torch was given beside the targets; else what the module's ``forward`` returned; else what the child
    returned that was called last, unless the step returned other values of each sample. Of the model's outputs only
    those count whose module was given the samples of this batch, in their order. The observer draws no random number and
    changes nothing.
    """

    def __init__(
        self, module: Any, batch: Any, count: int, inputs: Sequence[str] = (), targets: Sequence[str] = ()
    ) -> None:
        """Take the first ``count`` rows of ``batch``, and put hooks on ``module``.

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
        self._taken = _take_all([one.rows for one in self._rows.columns], self._decoder)
        self._may_be_classes = any(map(_may_be_classes, self._taken))
        #: The last calls of the module and of its children, by name, in their order.
        self._calls: dict[str, _Call] = {}
        #: Whether the module's own ``forward`` was called: what its children put out is then a part of its work.
        self._called = False
        #: What the model put out, as long as the step has it, and whether a layer did.
        self._put_out: deque[tuple[str, weakref.ref[Any], bool]] = deque(maxlen=_MAX_OUTPUTS)
        #: The columns that the model was given, and those that a loss was given as what is wanted.
        self._given: set[int] = set()
        self._wanted: set[int] = set()
        #: What a loss was given beside a column; what losses returned; outputs for samples in another order.
        self._pairs: deque[tuple[int, SampleValues | TokenIds]] = deque(maxlen=_MAX_PAIRS)
        self._losses: deque[SampleValues | TokenIds] = deque(maxlen=_MAX_PAIRS)
        self._reordered: deque[SampleValues | TokenIds] = deque(maxlen=_MAX_PAIRS)
        self._watching = False
        self._hooks: list[Any] = []
        # Releases of torch before 2.0 do not give named arguments to hooks.
        named = "with_kwargs" in inspect.signature(torch.nn.Module.register_forward_hook).parameters
        try:
            for name, one in hookable(module):
                # A module that TorchScript compiled takes no hooks. The others give samples nevertheless.
                with log_failure(f"the output of {name}", logging.DEBUG):
                    options = {"with_kwargs": True} if named else {}
                    self._hooks.append(one.register_forward_hook(_Hook(self, name), **options))
            if not has_compiled(module):
                self._watching = True
                losses.watch(self._keep_loss)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the hooks off."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if self._watching:
            self._watching = False
            losses.stop_watching(self._keep_loss)

    def samples(self, outputs: Any) -> Samples:
        """Return the samples; ``outputs`` is what ``validation_step`` returned. Raises :class:`UnclearBatchError`."""
        roles = roles_of(self._rows, self._given, self._wanted)
        names = names_of(self._rows.columns, roles)
        if "target" not in roles and self._rows.said_by == "nothing":
            raise UnclearBatchError(self._rows.unclear or f"none of {', '.join(names)} is certainly the target")
        returned = next((one for one in _named(outputs) if self._fits(one)), None)
        refused = "" if returned is None else self._refusal(self._prediction(returned))
        source, predictions = self._predicted(outputs, roles) if not refused else ("", None)
        order = sorted(range(len(roles)), key=lambda number: ("input", "target", "").index(roles[number]))
        found = {names[one]: self._taken[one] for one in order if roles[one] or self._rows.columns[one].shown}
        if predictions is not None:
            if isinstance(predictions, Columns) and not _may_be_classes(found.get("target")):
                predictions = attrs.evolve(predictions, classes=None)
            found["prediction"] = predictions
        scored = any(isinstance(one, TokenIds) and one.scored for one in self._all_values())
        targeted = "target" in roles or self._rows.said_by == "user" or len(roles) == 1
        return Samples(_decoded(found, self._decoder, scored), source, "" if targeted else ", ".join(names), refused)

    def keep(self, name: str, module: Any, arguments: Any, output: Any) -> None:
        """Keep the samples of the output of ``name``. Raises nothing."""
        # torch is compiling the user's graph: the lines below would become a part of it, or could not be compiled.
        if self._compiling():
            return
        kept = False
        with log_failure(f"what {name} put out, for a sample of the validation,"):
            if not is_loss(module):
                self._keep(name, module, arguments, output)
            elif not self._watching:
                self._keep_loss(tuple(arguments[:-1]), {}, output)
            kept = True
        if not kept:
            # Memory may be short, for example: another try would take it from the training.
            self._calls.clear()
            self.close()

    def _keep(self, name: str, module: Any, arguments: Any, output: Any) -> None:
        alive = [(source, one, layered) for source, ref, layered in self._put_out if (one := ref()) is not None]
        given = given_to(arguments, self._batch, self._rows, self._count, [(source, one) for source, one, _ in alive])
        if not given.whole and (not given.shapes or name == "forward"):
            self._given |= given.parts
        certain = bool(given.parts or given.whole or given.outputs) and not given.strange
        alone = is_layer(module) or bool(given.outputs and not given.parts and not given.whole)
        by_layers = {id(one) for _, one, layered in alive if layered}
        found = [
            _Output(self._prediction(one), _floating_shape(one), named, alone or id(one) in by_layers)
            for one, named in self._find(output)
        ]
        if certain:
            tensors = [one for one in (output, *_members(output)) if is_tensor(one)]
            self._put_out.extend((name, weakref.ref(one), alone or id(one) in by_layers) for one in tensors)
        if given.reordered:
            self._reordered.extend(one.values for one in found)
        earlier = self._calls.get(name)
        if name == "forward":
            self._called = True
        if not found or (earlier is not None and earlier.certain and not certain):
            return
        if earlier is not None and earlier.certain and earlier.given.parts != given.parts:
            # Two parts of one sample went through it: neither is the whole sample's.
            certain = False
        self._calls.pop(name, None)
        self._calls[name] = _Call(given, found, certain)

    def _keep_loss(self, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        """Keep what a loss was given as what is wanted, and beside it. Raises nothing."""
        with log_failure("what a loss was given, for a sample of the validation,", logging.DEBUG):
            if self._fits(output):
                self._losses.append(self._prediction(output))
            given: Any = named.get("input", named.get("log_probs", next(iter(arguments), None)))
            wanted: Any = named.get("target", named.get("targets", next(iter(arguments[1:]), None)))
            if self._is_part(given) and not self._is_part(wanted):
                given, wanted = wanted, given
            columns, count = self._rows.columns, self._count
            parts = part_of(wanted, columns, count)
            if not parts and is_tensor(wanted) and wanted.numel() % self._rows.length == 0:
                # The values of all samples one after the other, as those of each token.
                parts = part_of(wanted.reshape(self._rows.length, -1), columns, count)
            self._wanted |= parts
            if self._is_part(given) or not is_tensor(given) or not self._fits(given):
                return
            if any(is_same(wanted, columns[one].value) or has_distinct_rows(columns[one].rows) for one in parts):
                self._pairs.extend((one, self._prediction(given)) for one in parts)
            elif not parts and any(is_reordered(wanted, one.value) for one in columns):
                self._reordered.append(self._prediction(given))

    def _is_part(self, value: Any) -> bool:
        return bool(part_of(value, self._rows.columns, self._count))

    def _predicted(self, outputs: Any, roles: Sequence[str]) -> tuple[str, SampleValues | TokenIds | None]:
        named = next((one for one in _named(outputs) if self._fits(one)), None)
        if named is not None:
            return "validation_step", self._prediction(named)
        calls = self._certain_calls(roles)
        paired = self._paired(roles)
        unknown = self._fits(outputs)
        if unknown:
            found = self._prediction(outputs)
            listed = isinstance(outputs, (tuple, list)) and all(isinstance(one, (str, Mapping)) for one in outputs)
            # What else a step returns may be a loss of each sample, unless the model put it out.
            if listed and not self._refusal(found):
                return "validation_step", found
            if any(is_derived(found, one) for one in (*calls.values(), paired) if one is not None):
                return "validation_step", found
        # Without a call of `forward`, what a step returns for each sample stands for what it makes of the model's output.
        if paired is not None and (self._called or not unknown):
            # The module's own output comes after those of its children, which may be the same.
            known = next((name for name, one in reversed(calls.items()) if is_derived(paired, one)), None)
            return (known, calls[known]) if known is not None else ("loss", paired)
        if self._called:
            return ("forward", calls["forward"]) if "forward" in calls else ("", None)
        # What the step made of a child's output may be the prediction, or a loss of it: the output itself is neither. Nor
        # is one of several that no other child was given.
        used = {source for name in calls for source in self._calls[name].given.outputs}
        last = [name for name in calls if name not in used]
        return (last[0], calls[last[0]]) if len(last) == 1 and not unknown else ("", None)

    def _certain_calls(self, roles: Sequence[str]) -> dict[str, SampleValues | TokenIds]:
        """Return the outputs that are certainly of the samples and no losses, by name, after the last that is not."""
        inputs = {number for number, role in enumerate(roles) if role == "input"}
        found: dict[str, SampleValues | TokenIds] = {}
        for name, call in self._calls.items():
            given = call.given
            credible = [
                one
                for one in call.outputs
                if one.named or one.shape is None or not may_be_loss(one.shape, given, self._rows, roles)
            ]
            if not credible:
                continue
            seen = given.whole or given.outputs or bool(given.parts & inputs)
            one = credible[0]
            certain = "target" in roles or one.named or one.layered
            if call.certain and seen and certain and len(credible) == 1 and not self._is_refused(one.values):
                found[name] = one.values
            elif name != "forward":
                found = {key: value for key, value in found.items() if key == "forward"}
        return found

    def _paired(self, roles: Sequence[str]) -> SampleValues | TokenIds | None:
        """Return the one thing that losses were given beside the targets, or beside the inputs where there are none."""
        role = "target" if "target" in roles else "input"
        found = [one for number, one in self._pairs if roles[number] == role and not self._is_refused(one)]
        alike = all(is_derived(one, found[0]) or is_derived(found[0], one) for one in found)
        return found[0] if found and alike else None

    def _refusal(self, found: SampleValues | TokenIds) -> str:
        """Return why what a step returned as a prediction is none; empty where its rows are those of the samples."""
        if self._is_refused(found):
            return "is of samples in another order, or a loss"
        # One row is of the one sample, whatever it was made of.
        if self._rows.length == 1:
            return ""
        put_out = (one.values for call in self._calls.values() if call.certain for one in call.outputs)
        if any(is_shown(found, one) for one in (*put_out, *(one for _, one in self._pairs))):
            return ""
        return "does not show, row by row, an output of the model for the samples in their order"

    def _is_refused(self, found: SampleValues | TokenIds) -> bool:
        """Whether values are of samples in another order, or a loss."""
        return any(is_derived(found, one) for one in self._reordered) or any(
            _is_equal(found, one) for one in self._losses
        )

    def _all_values(self) -> Iterator[SampleValues | TokenIds]:
        for call in self._calls.values():
            yield from (one.values for one in call.outputs)

    def _find(self, output: Any) -> list[tuple[Any, bool]]:
        """Return what in an output of a module has a row for each sample, and whether it has a name of predictions."""
        if is_tensor(output) or (lengths(output) and self._fits(output)):
            candidates = [output]
        elif has_two_readings(output):
            candidates = []
        else:
            named = next((one for one in _named(output) if self._fits(one)), None)
            if named is not None:
                return [(named, True)]
            candidates = _members(output)
        return [(one, False) for one in candidates if self._fits(one)][:_MAX_PAIRS]

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
        return ids if ids is not None else take(rows, _size(self._taken), scores=self._may_be_classes)


def values_of(groups: Mapping[str, Any]) -> dict[str, SampleValues]:
    """Return the values of rows by the name of their columns, on the CPU. Raises what torch raises."""
    others = {name: rows for name, rows in groups.items() if name != "prediction"}
    taken = dict(zip(others, _take_all(list(others.values()), None), strict=True))
    if "prediction" in groups:
        scores = _may_be_classes(taken.get("target"))
        taken["prediction"] = take(groups["prediction"], _size([*taken.values()]), scores=scores)
    return _decoded({name: taken[name] for name in groups}, None, scored=False)


def _checked(rows: BatchRows, batch: Any, module: Any, loading: Loading, *, named: bool) -> BatchRows:
    """Return the rows, unless they may be something else than samples. Raises :class:`UnclearBatchError`."""
    expected = loading.expected
    if not named and isinstance(batch, (tuple, list)) and len(batch) == expected != rows.length:
        raise UnclearBatchError(f"it is a list of {expected}, as many as the dataloader's samples")
    if loading.joined and not named:
        raise UnclearBatchError("it joins the batches of several dataloaders")
    if rows.whole_samples:
        return rows
    blocks = {".".join(one.path): one.rows for one in rows.columns if one.role or rows.said_by == "nothing"}
    name = time_first(blocks, rows.length, expected, module)
    if name is not None:
        raise UnclearRowsError(f"the first dimension of its {name} may be time, and the second the samples")
    if loading.unbatched:
        raise UnclearRowsError(
            "its dataloader makes no batches, so its rows may be steps of time, or points of one sample"
        )
    if expected is not None and rows.length > expected:
        raise UnclearRowsError(f"it has {rows.length} rows, and its dataloader gives {expected} samples")
    return rows


def _take_all(rows: Sequence[Any], decoder: Decoder | None) -> list[SampleValues | TokenIds]:
    taken: list[SampleValues | TokenIds] = []
    for one in rows:
        ids = take_ids(one, decoder) if decoder is not None else None
        taken.append(ids or take(one, _size(taken)))
    return taken


def _may_be_classes(values: Any) -> bool:
    return isinstance(values, Columns) and values.may_be_classes


def _size(taken: Sequence[SampleValues | TokenIds]) -> tuple[int, int] | None:
    """Return the height and width of the first images of one size."""
    images = (one for one in taken if isinstance(one, Images))
    return next((one.sizes[0] for one in images if len(set(one.sizes)) == 1), None)


def _floating_shape(value: Any) -> tuple[int, ...] | None:
    dense = plain_tensor(value)
    return None if dense is None or not dense.is_floating_point() else tuple(dense.shape)


def _is_equal(one: SampleValues | TokenIds, other: SampleValues | TokenIds) -> bool:
    return is_derived(one, other) and is_derived(other, one)


def _members(output: Any) -> list[Any]:
    """Return what an output holds under names that are not of a loss, or one after the other."""
    if isinstance(output, Mapping):
        return [one for key, one in output.items() if "loss" not in str(key).lower()]
    return list(output) if isinstance(output, (tuple, list)) else []


def _decoded(
    groups: Mapping[str, SampleValues | TokenIds], decoder: Decoder | None, scored: bool
) -> dict[str, SampleValues]:
    """Return the values on the CPU, and texts instead of ids where those are certainly ids of tokens.

    ``scored`` says that the model scores every token.
    """
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
