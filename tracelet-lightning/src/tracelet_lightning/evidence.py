"""What the step shows: which parts of the batch the model and its losses were given, and whose predictions an output has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.matching import is_in_order, is_reordered, is_same, is_unchanged, is_view, numbers_agree
from tracelet_lightning.roles import BatchRows, Column, UnclearBatchError
from tracelet_lightning.rows import is_numbers, is_tensor, plain_tensor
from tracelet_lightning.sample_values import MAX_COLUMNS, Columns, Images, Records
from tracelet_lightning.texts import TokenIds

__all__ = ["Given", "given_to", "is_derived", "is_layer", "is_loss", "is_shown", "may_be_loss", "part_of", "roles_of"]

_MAX_DEPTH = 3
#: Samples of an evenly rising index; fewer may be classes.
_MIN_INDEX = 4
#: Samples whose numbers rise together; fewer may do so by chance.
_MIN_RISING = 4


@attrs.frozen(eq=False)
class Given:
    """What a module was given."""

    #: The parts of the batch, by their number among its columns.
    parts: frozenset[int]
    #: Whether it was given the whole batch, so that this says of no part what it is for.
    whole: bool
    #: The modules whose outputs of these samples it was given, by name.
    outputs: frozenset[str]
    #: Whether it was given samples in another order, or others of the same form, such as noise or negatives.
    strange: bool
    #: Whether it was certainly given the samples in another order.
    reordered: bool
    #: The shapes of the tensors that have a row for each sample, and are no parts of the batch.
    shapes: tuple[tuple[int, ...], ...]


def given_to(arguments: Any, batch: Any, rows: BatchRows, count: int, outputs: Sequence[tuple[str, Any]]) -> Given:
    """Return what is known of the arguments of a module.

    ``outputs`` are tensors that the model put out before, with the names of the modules that did.
    """
    parts: set[int] = set()
    shapes: list[tuple[int, ...]] = []
    sources: set[str] = set()
    strange = reordered = False
    values = list(_flat(arguments))
    forms = {tuple(one.shape) for column in rows.columns if (one := plain_tensor(column.value)) is not None}
    for value in values:
        found = part_of(value, rows.columns, count)
        parts |= found
        dense = None if found else plain_tensor(value)
        if dense is None or not dense.dim() or len(dense) % rows.length:
            continue
        named = {name for name, one in outputs if value is one or is_view(value, one)}
        sources |= named
        comparable = not named and len(dense) == rows.length and "bool" not in str(dense.dtype)
        kept = {
            number
            for number, one in enumerate(rows.columns)
            if comparable and is_in_order(value, one.rows, count) and _is_as_noted(one, count)
        }
        if len(kept) == 1:
            parts |= kept
            continue
        if comparable:
            reordered = reordered or any(is_reordered(value, one.value) for one in rows.columns)
            strange = strange or reordered or tuple(value.shape) in forms
        elif not named and len(dense) > rows.length and not rows.sizes:
            # Parts that were put one after the other.
            joined = {one for piece in dense.split(rows.length) for one in part_of(piece, rows.columns, count)}
            parts |= joined
            strange = strange or bool(joined)
        if len(dense) == rows.length:
            shapes.append(tuple(dense.shape))
    whole = any(one is batch for one in values) and all(one.value is not batch for one in rows.columns)
    # The step may have put other samples in the tensors of the batch.
    strange = strange or (whole and not all(_is_unchanged(one, count) for one in rows.columns))
    return Given(frozenset(parts), whole, frozenset(sources), strange, reordered, tuple(shapes))


def _is_unchanged(column: Column, count: int) -> bool:
    return is_unchanged(column.value, column.rows, column.sums, count)


def _is_as_noted(column: Column, count: int) -> bool:
    """Whether the rows of a column are those of before the step: a copy is, and what is too large to be copied may not be."""
    return column.sums is None or _is_unchanged(column, count)


def part_of(value: Any, columns: Sequence[Column], count: int) -> set[int]:
    """Return the numbers of the columns that a value is: the same, or else one alone that has the same numbers."""
    same = {number for number, one in enumerate(columns) if is_same(value, one.value) and _is_unchanged(one, count)}
    if same or not is_tensor(value):
        return same
    alike = {
        number
        for number, one in enumerate(columns)
        if numbers_agree(value, one.rows, count) and _is_as_noted(one, count)
    }
    return alike if len(alike) == 1 else set()


def roles_of(rows: BatchRows, given: set[int], wanted: set[int]) -> list[str]:
    """Return the roles of the columns: ``given`` were given to the model, and ``wanted`` to a loss as what is wanted.

    Raises :class:`UnclearBatchError` where no part is certainly an input.
    """
    roles = [column.role for column in rows.columns]
    inputs = {number for number, role in enumerate(roles) if role == "input"}
    if rows.said_by == "user":
        return roles
    if rows.said_by == "names":
        targets = wanted - inputs
        # A name may say something else than its usual meaning, such as y beside x on a map.
        named = ["" if role == "target" and targets else role for role in roles]
        return ["target" if number in targets else role for number, role in enumerate(named)]
    if rows.said_by == "pair":
        return _of_pair(rows, roles, given, wanted)
    # An autoencoder's input is what its loss wants.
    targets = wanted if given - wanted else wanted - given
    inputs = given - targets
    if not inputs:
        raise UnclearBatchError(rows.unclear)
    return ["target" if number in targets else "input" if number in inputs else "" for number in range(len(roles))]


def _of_pair(rows: BatchRows, roles: list[str], given: set[int], wanted: set[int]) -> list[str]:
    (number,) = (number for number, role in enumerate(roles) if role == "target")
    second, first = rows.columns[number], rows.columns[0]
    if number in wanted:
        return roles
    # The other of two views, lengths, or an index of the samples stand there too.
    twins = len(roles) == 2 and _form(first) == _form(second) is not None and 0 not in given
    if wanted or number in given or twins or _is_index(second.value):
        roles[number] = ""
    return roles


def _form(column: Column) -> Any:
    """Return the shape of a block of floating numbers; None of any other value."""
    dense = plain_tensor(column.value)
    return None if dense is None or not dense.is_floating_point() or dense.dim() < 2 else dense.shape


def _is_index(value: Any) -> bool:
    """Whether whole numbers rise evenly, from the rank of a process on."""
    dense = plain_tensor(value)
    if dense is None or dense.dim() != 1 or dense.is_floating_point() or len(dense) < _MIN_INDEX:
        return False
    steps = {*dense.long().diff().tolist()}
    return len(steps) == 1 and 0 <= int(dense[0]) < min(steps)


def is_loss(module: Any) -> bool:
    """Whether a module is a loss of torch, or a metric."""
    metric = all(callable(getattr(module, name, None)) for name in ("update", "compute", "reset"))
    return metric or isinstance(module, import_module("torch").nn.modules.loss._Loss)


def is_layer(module: Any) -> bool:
    """Whether a module is made of layers of torch alone, so that nothing in it computes a loss."""
    return all(type(one).__module__.startswith("torch.nn.modules.") and not is_loss(one) for one in module.modules())


def may_be_loss(shape: tuple[int, ...], given: Given, rows: BatchRows, roles: Sequence[str]) -> bool:
    """Whether floating numbers that a module put out have the form of losses, and may be some by what it was given."""
    targets = {number for number, role in enumerate(roles) if role == "target"}
    compared = (
        given.whole or bool(given.parts & targets) or bool(given.shapes and len(given.shapes) + len(given.parts) > 1)
    )
    single = all(side == 1 for side in shape[1:])
    if single:
        return compared or not targets
    if not compared:
        return False
    parts = targets or range(len(roles))
    values = (plain_tensor(rows.columns[number].value) for number in parts)
    forms = [*given.shapes, *(tuple(value.shape) for value in values if value is not None)]
    return any(_is_within(shape, form) for form in forms)


def _is_within(shape: tuple[int, ...], form: tuple[int, ...]) -> bool:
    """Whether a shape is a form, or what is left of it without some of its dimensions."""
    sides = iter(form)
    return all(any(side == other for other in sides) for side in shape)


def is_derived(found: Any, output: Any) -> bool:
    """Whether values are an output of the model, or its classes or probabilities. Both are samples of the same batch."""
    if isinstance(found, TokenIds) and isinstance(output, TokenIds):
        return found.lists() == output.lists()
    if isinstance(found, Images) and isinstance(output, Images):
        pairs = zip(found.pixels, output.pixels, strict=False)
        return found.sizes == output.sizes and all(_equal(one, other) for one, other in pairs)
    if not (isinstance(found, Columns) and isinstance(output, Columns)):
        return False
    if not (is_tensor(found.values) and is_tensor(output.values)):
        return False
    return any(_equal(found.values, one) for one in _derivations(output, found.values.is_floating_point()))


def is_shown(found: Any, output: Any) -> bool:
    """Whether each row of what a step returns is certainly made of the same row of an output.

    It is so too where the numbers of each column rise with those of the output: rows in another order would not.
    """
    if isinstance(found, Records) and isinstance(output, Records):
        return all(map(_is_record_of, found.values, output.values))
    found, output = _in_columns(found), _in_columns(output)
    if is_derived(found, output):
        return True
    if isinstance(found, Images) and isinstance(output, Images):
        if found.sizes != output.sizes or not (is_tensor(found.pixels) and is_tensor(output.pixels)):
            return False
        pixels = output.pixels
        made = [pixels.argmax(1, keepdim=True), pixels.softmax(1)] if pixels.is_floating_point() else []
        return any(_equal(found.pixels, one) for one in (*made, pixels.gt(0.5))) or _rises_with(found.pixels, pixels)
    if not (isinstance(found, Columns) and isinstance(output, Columns)):
        return False
    if not (is_tensor(found.values) and is_tensor(output.values)):
        lists = isinstance(found.values, list) and isinstance(output.values, list)
        return lists and all(map(_is_equal_value, found.values, output.values))
    whole = output.width == output.values.shape[1] == 2 and output.values.is_floating_point()
    shares = [output.values.softmax(1)[:, 1:], output.values[:, 1:]] if whole else []
    return any(_rises_with(found.values, one) for one in (output.values, *shares))


def _is_record_of(found: Mapping[str, Any], output: Mapping[str, Any]) -> bool:
    return all(key in output and _is_equal_value(one, output[key]) for key, one in found.items())


def _is_equal_value(one: Any, other: Any) -> bool:
    if is_tensor(one) and is_tensor(other):
        return bool(one.shape == other.shape and one.equal(other.to(one.device, one.dtype)))
    return type(one) is type(other) and bool(one == other)


def _in_columns(found: Any) -> Any:
    """Return a list of numbers as a column."""
    if not isinstance(found, Columns) or not isinstance(found.values, list):
        return found
    values = found.values
    return attrs.evolve(found, values=import_module("torch").tensor(values)[:, None]) if is_numbers(values) else found


def _rises_with(found: Any, output: Any) -> bool:
    if found.shape != output.shape or len(found) < _MIN_RISING or found.is_complex() or output.is_complex():
        return False
    some, whole = (one.to("cpu", import_module("torch").float64).flatten(1) for one in (found, output))
    order = whole.argsort(0)
    risen, steps = some.gather(0, order).diff(dim=0), whole.gather(0, order).diff(dim=0)
    return bool(((risen > 0) & (steps > 0) | (risen == 0)).all())


def _derivations(output: Columns, floating: bool) -> Iterator[Any]:
    """Yield what steps return of their outputs."""
    values, whole = output.values, output.width <= MAX_COLUMNS
    yield values
    if not values.is_floating_point():
        return
    if not floating:
        yield from (values.gt(0), values.gt(0.5), values.round())
        classes = output.classes if output.classes is not None else values.argmax(1) if whole else None
        if classes is not None:
            yield classes.unsqueeze(1)
        return
    yield from (values.sigmoid(), values.exp(), values.tanh())
    if whole and values.shape[1] > 1:
        shares = values.softmax(1)
        yield from (shares, shares.log(), shares[:, 1:], shares.amax(1, keepdim=True))


def _equal(one: Any, other: Any) -> bool:
    if one.shape != other.shape:
        return False
    first, second = (value.to("cpu", import_module("torch").float32) for value in (one, other))
    return bool(first.allclose(second, rtol=1e-3, atol=1e-6, equal_nan=True))


def _flat(value: Any, depth: int = _MAX_DEPTH) -> Iterator[Any]:
    yield value
    if depth and isinstance(value, (tuple, list, Mapping)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _flat(one, depth - 1)
