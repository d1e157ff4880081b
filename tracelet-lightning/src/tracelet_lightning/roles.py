"""Which parts of a batch are the inputs, and which the targets: said by names, positions or settings, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from tracelet_lightning.graphs import graph_parts
from tracelet_lightning.rows import (
    as_rows,
    copy_of,
    has_two_readings,
    is_numbers,
    is_scalar,
    is_tensor,
    lengths,
    on_rows,
    plain_tensor,
    sums_of,
)

__all__ = ["BatchRows", "Column", "UnclearBatchError", "UnclearRowsError", "names_of", "split"]

_INPUTS = frozenset(
    [
        "input",
        "inputs",
        "image",
        "images",
        "img",
        "imgs",
        "x",
        "pixel_values",
        "features",
        "data",
        "input_ids",
        "text",
        "texts",
        "sequence",
        "audio",
        "video",
    ]
)
_TARGETS = frozenset(
    ["target", "targets", "label", "labels", "y", "class", "classes", "category", "ground_truth", "gt", "annotations"]
)
#: Targets where no other part has one of the names above.
_MASKS = frozenset(["mask", "masks", "segmentation"])
_PICTURES = frozenset(["image", "images", "img", "imgs", "pixel_values"])
#: Keys of one sample's targets, beside those names.
_PARTS_OF_TARGETS = frozenset(["boxes", "bbox", "bboxes", "keypoints", "class_labels", "category_id"])
#: Mappings in mappings, and columns of one batch.
_MAX_DEPTH = 4
_MAX_PARTS = 64


class UnclearBatchError(Exception):
    """The batch does not say which of its parts are what. The message is the reason."""

    #: Whether it helps to name the parts of the batch.
    names_help = True


class UnclearRowsError(UnclearBatchError):
    """The batch does not say in which dimension its samples are: names of its parts would not say it either."""

    names_help = False


@attrs.frozen(eq=False)
class Part:
    """A part of a batch, and its path: keys, attributes and positions."""

    path: tuple[str, ...]
    value: Any
    #: Whether the user named this very part: a list is then a list of samples.
    named: bool = False


@attrs.frozen(eq=False)
class Column:
    """A part of a batch with a row for each sample."""

    path: tuple[str, ...]
    #: ``input``, ``target``, or empty where neither a name nor a position says it.
    role: str
    #: The part as the batch has it, and a copy of its first rows, which the step may change; None when the batch is let go of.
    value: Any
    rows: Any
    #: Of rows that are too large to be copied: the sum of each.
    sums: Any
    #: Whether it is shown without a role.
    shown: bool = True


@attrs.frozen(eq=False)
class BatchRows:
    """The first rows of a batch: each column has the same number of them."""

    #: How many samples the whole batch has.
    length: int
    columns: tuple[Column, ...]
    #: What says the roles: ``user``, ``names``, ``pair`` for ``(input, target)``, or ``nothing``.
    said_by: str
    #: Why the roles are not clear, where nothing says them.
    unclear: str = ""
    #: Rows of each sample in a value that has the rows of all samples one after the other, as graphs have nodes.
    sizes: tuple[int, ...] = ()
    #: Whether a member of a list is a sample, so that no row of a tensor is taken for one.
    whole_samples: bool = False


@attrs.frozen(eq=False)
class Sorted:
    """The parts of a batch by their roles; ``other`` are those of which nothing says it."""

    input: list[Part]
    target: list[Part]
    other: list[Part]
    said_by: str
    unclear: str = ""


def split(
    batch: Any, count: int, inputs: Sequence[str] = (), targets: Sequence[str] = (), *, collated: bool = False
) -> BatchRows:
    """Return the first ``count`` samples of a batch.

    ``inputs`` and ``targets`` are paths that the user named. ``collated`` says that the batch holds no list of samples.
    Raises :class:`UnclearBatchError`.
    """
    graphs = graph_parts(batch, count)
    whole = batch
    if graphs is not None:
        batch, listed = graphs.parts, len(graphs.parts["nodes"])
    else:
        batch, listed = (batch, 0) if collated else _transposed(batch, [*inputs, *targets])
    parts = (
        list(_parts(batch, (), collated))
        if not listed
        else [Part((key,), one) for key, one in _members(batch) if lengths(one)]
    )
    if not parts:
        raise UnclearBatchError("nothing in it has rows")
    found = _named(batch, parts, inputs, targets) if inputs or targets else _roles(batch, parts)
    chosen = found.input + found.target or found.other
    if not chosen:
        raise UnclearBatchError("nothing in it has rows")
    length = listed or _common_length(chosen)
    columns: list[Column] = []
    for role, members in (("input", found.input), ("target", found.target), ("", found.other)):
        for part in members:
            if not role and length not in lengths(part.value):
                continue
            shown = bool(role) or _may_be_shown(part.value, found)
            for one in [part] if listed else _unfolded(part, length, chosen):
                value = whole[part.path[0]] if graphs is not None and part.path[0] in whole else one.value
                some = as_rows(one.value, count)
                columns.append(Column(one.path, role, value, copy_of(some), sums_of(some), shown))
    if graphs is None:
        return BatchRows(length, tuple(columns), found.said_by, found.unclear, whole_samples=bool(listed))
    return BatchRows(graphs.length, tuple(columns), found.said_by, found.unclear, graphs.nodes, whole_samples=True)


def names_of(columns: Sequence[Column], roles: Sequence[str]) -> list[str]:
    """Return the names of columns in the table: ``input``, ``target``, ``input_<key>`` where there are several, or the path."""
    names: list[str] = []
    for column, role in zip(columns, roles, strict=True):
        same = [one.path for one, other in zip(columns, roles, strict=True) if role == other]
        if not role:
            names.append(".".join(column.path))
        else:
            names.append(role if len(same) == 1 else f"{role}_{_label(column.path, same, same.index(column.path))}")
    return names


def _parts(value: Any, path: tuple[str, ...], collated: bool) -> Iterator[Part]:
    """Yield what has rows, and what has none: a target that is one number belongs to one sample, not to a batch.

    A list of a ``collated`` batch holds parts.
    """
    if value is None:
        return
    if lengths(value) and not (_is_batch(value) and (collated or not path)):
        yield Part(path, value)
        return
    if is_scalar(value) or len(path) == _MAX_DEPTH:
        yield Part(path, value)
        return
    members = _members(value)
    if not members and path:
        yield Part(path, value)
    for key, one in members[:_MAX_PARTS]:
        yield from _parts(one, (*path, key), collated)


def _transposed(batch: Any, named: Sequence[str]) -> tuple[Any, int]:
    """Return a list of samples that nobody collated as lists of their parts, with their number; 0 for any other batch.

    A path that begins with a position is of a list of parts, one that begins with a key is of each of the samples. Raises
    :class:`UnclearBatchError` where the list may hold parts as well, and no path says it.
    """
    if not isinstance(batch, (tuple, list)) or not batch or on_rows(batch) is not None:
        return batch, 0
    if all(isinstance(one, Mapping) and one.keys() == batch[0].keys() for one in batch):
        if any(path.partition(".")[0].isdecimal() for path in named):
            return batch, 0
        if not named and not _are_samples([list(one.values()) for one in batch]):
            raise UnclearBatchError("its mappings may be samples or parts")
        return {key: [one[key] for one in batch] for key in batch[0]}, len(batch)
    tensors = [plain_tensor(one) for one in batch]
    alike = all(one is not None for one in tensors) and len({tuple(one.shape) for one in tensors}) == 1
    if alike and not named and on_rows(batch[0]) == len(batch) > 1:
        raise UnclearBatchError("its tensors may be samples or parts")
    listed = all(type(one) in (tuple, list) and any(map(is_scalar, one)) and not lengths(one) for one in batch)
    if listed and len({*map(len, batch)}) == 1 and _are_samples(batch):
        return tuple(list(values) for values in zip(*batch, strict=True)), len(batch)
    return batch, 0


def _are_samples(members: Sequence[Sequence[Any]]) -> bool:
    """Whether the members of a list are certainly samples: parts of a batch have as many rows as each other."""
    values = [one for member in members for one in member]
    rows = [found for one in values if (found := lengths(one))]
    agree = bool(rows) and bool(set.intersection(*rows))
    if all(any(map(is_scalar, member)) for member in members):
        return len(members) > 1 or len(rows) < 2 or not agree
    return len(rows) == len(values) and not agree


def _is_batch(value: Any) -> bool:
    """Whether a list is the batch's parts, one after the other, and not rows."""
    listed = isinstance(value, (tuple, list)) and on_rows(value) is None
    return listed and any(lengths(one) or is_tensor(one) or isinstance(one, Mapping) for one in value)


def _members(value: Any) -> list[tuple[str, Any]]:
    """Return the members of a mapping, of a tuple with names, of a list, or of an object with attributes."""
    if isinstance(value, Mapping):
        return [(str(key), one) for key, one in value.items()]
    names = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and isinstance(names, tuple):
        return list(zip(names, value, strict=True))
    if isinstance(value, (tuple, list)):
        return [(str(number), one) for number, one in enumerate(value)]
    if isinstance(value, type) or callable(value) or is_tensor(value):
        return []
    if attrs.has(type(value)) or hasattr(type(value), "__slots__"):
        slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ())]
        own = [(name, getattr(value, name)) for name in slots if name[:1] != "_" and hasattr(value, name)]
        if own:
            return own
    return [(key, one) for key, one in getattr(value, "__dict__", {}).items() if not key.startswith("_")]


def _role(path: tuple[str, ...], targets: frozenset[str]) -> str:
    """Return the role that the outermost known name of a path says."""
    for key in path:
        name = key.lower()
        if name in targets:
            return "target"
        if name in _INPUTS:
            return "input"
    return ""


def _roles(batch: Any, parts: list[Part]) -> Sorted:
    """Sort the parts of a batch into inputs, targets and others. Raises :class:`UnclearBatchError`."""
    if all(part.path[:1] and part.path[0].isdecimal() for part in parts) and not isinstance(batch, Mapping):
        return _by_position(parts)
    names = {key.lower() for part in parts for key in part.path}
    targets = _TARGETS if names & _TARGETS or not _has_picture(parts) else _MASKS
    found: dict[str, list[Part]] = {"input": [], "target": [], "": []}
    for part in parts:
        role = _role(part.path, targets)
        if role == "target" or not is_scalar(part.value):
            found[role].append(part)
    if not found["input"]:
        others = [part for part in found[""] if lengths(part.value) or is_tensor(part.value)]
        if len(others) > 1 and not found["target"]:
            reason = f"it has {_listed(others)}, and no name says which of them is the target"
            return Sorted([], [], others, "nothing", reason)
        found["input"], found[""] = others, []
    return Sorted(found["input"], found["target"], found[""], "names")


def _has_picture(parts: list[Part]) -> bool:
    """Whether a mask has the sides of a picture beside it, and may be the target; else it is one of padding."""
    masks = [part for part in parts if _role(part.path, _MASKS) == "target"]
    pictures = [part for part in parts if part not in masks and (_dimensions(part) > 3 or _PICTURES & {*part.path})]
    return any(_sides(mask) & _sides(picture) for mask in masks for picture in pictures)


def _dimensions(part: Part) -> int:
    dense = plain_tensor(part.value)
    return 0 if dense is None else int(dense.dim())


def _sides(part: Part) -> set[tuple[int, ...]]:
    """Return what may be the sides of the pictures in a part, whose channels are first, last, or left out."""
    value = part.value
    one = value[0] if isinstance(value, (tuple, list)) else value
    dense = plain_tensor(one)
    shape = () if dense is None else tuple(dense.shape)
    shape = shape if one is not value else shape[1:]
    return {sides for sides in (shape, shape[1:], shape[:-1]) if len(sides) > 1}


def _by_position(parts: list[Part]) -> Sorted:
    """Sort the parts of ``(input, target)``. Of any other tuple, only what the step does with them can say it."""
    positions = list(dict.fromkeys(part.path[0] for part in parts))
    last = [part for part in parts if part.path[0] == positions[-1]]
    first = [part for part in parts if part not in last]
    if len(positions) == 1:
        return Sorted(parts, [], [], "names")
    inner = {role for part in parts if (role := _role(part.path[1:], _TARGETS)) or _is_of_targets(part.value)}
    if len(positions) == 2 and inner:
        found = {
            role: [part for part in parts if (_role(part.path[1:], _TARGETS) or _by_place(part, last)) == role]
            for role in ("input", "target", "other")
        }
        return Sorted(found["input"], found["target"], found["other"], "names")
    named = all(len(part.path) > 1 and not part.path[1].isdecimal() for part in first)
    alone = named or (len(first) == 1 and not _holds_parts(first[0].value, last[0].value))
    if (
        len(positions) == 2
        and alone
        and len(last) == 1
        and len(last[0].path) == 1
        and not _holds_parts(last[0].value, first[0].value)
    ):
        if not _is_listed(last[0].value):
            return Sorted(first, last, [], "pair")
        return Sorted(first, [], last, "names")
    reason = (
        f"it has {len(parts)} parts, and none is certainly the target: the last may be a weight, an index or a mask"
    )
    return Sorted([], [], [part for part in parts if not is_scalar(part.value)], "nothing", reason)


def _holds_parts(value: Any, other: Any) -> bool:
    """Whether a list of a pair holds several parts, as ``((x, y), z)`` does: its members are not as many as the samples."""
    listed = isinstance(value, (tuple, list)) and on_rows(value) is None
    return listed and all(is_tensor(one) for one in value) and len(value) not in lengths(other)


def _by_place(part: Part, last: list[Part]) -> str:
    """Return the role of a part of a pair whose parts have names, where its own names say none."""
    if part in last:
        return "target" if _is_of_targets(part.value) else "other"
    return "input"


def _is_of_targets(value: Any) -> bool:
    """Whether a value has a mapping for each sample, with a target's name."""
    if not _is_listed(value):
        return False
    keys = {str(key).lower() for one in value for key in one}
    return bool(keys & (_TARGETS | _MASKS | _PARTS_OF_TARGETS))


def _named(batch: Any, parts: list[Part], inputs: Sequence[str], targets: Sequence[str]) -> Sorted:
    """Sort the parts by the paths that the user named. Raises :class:`UnclearBatchError`."""
    given = {"input": _below(batch, parts, inputs, "INPUT"), "target": _below(batch, parts, targets, "TARGET")}
    taken = [part.path for part in given["input"] + given["target"]]
    # A part is taken too where the user named what is in it.
    rest = [part for part in parts if not any(path[: len(part.path)] == part.path for path in taken)]
    by_names = [(part, _role(part.path, _TARGETS)) for part in rest if not is_scalar(part.value)]
    if not inputs:
        named = [part for part, role in by_names if role == "input"]
        given["input"] = named or [part for part, role in by_names if role != "target"]
    if not targets:
        given["target"] = [part for part, role in by_names if role == "target"]
    others = [part for part in rest if part not in given["input"] + given["target"]]
    return Sorted(given["input"], given["target"], others, "user")


def _below(batch: Any, parts: list[Part], paths: Sequence[str], variable: str) -> list[Part]:
    found: list[Part] = []
    for path in paths:
        keys = tuple(path.split("."))
        below = [part for part in parts if part.path[: len(keys)] == keys]
        # A key of the user's may have dots of its own.
        below = below or [part for part in parts if ".".join(part.path) == path]
        below = below or _member(batch, keys)
        if not below:
            raise UnclearBatchError(f"TRACELET_LIGHTNING_{variable} names {path!r}, and the batch has {_listed(parts)}")
        found += [attrs.evolve(part, named=part.path == keys) for part in below]
    return found


def _member(batch: Any, keys: tuple[str, ...]) -> list[Part]:
    """Return what a path leads to in the batch, inside of lists too."""
    value = batch
    for key in keys:
        value = dict(_members(value)).get(key)
    return list(_parts(value, keys, collated=False)) if value is not None else []


def _common_length(parts: list[Part]) -> int:
    """Return the number of samples: the only number of rows that every part may have. Raises :class:`UnclearBatchError`."""
    common = set.intersection(*(lengths(part.value) for part in parts))
    if len(common) > 1 and all(part.named for part in parts):
        common &= {len(part.value) for part in parts}
    if len(common) == 1:
        return common.pop()
    if common:
        raise UnclearBatchError(f"its lists may be samples or parts: {_listed(parts)}")
    said = ", ".join(f"{'.'.join(part.path) or 'batch'}: {_rows_said(part.value)}" for part in parts[:8])
    raise UnclearBatchError(f"its parts have different numbers of rows ({said})")


def _rows_said(value: Any) -> str:
    return " or ".join(str(one) for one in sorted(lengths(value))) or "no rows"


def _unfolded(part: Part, length: int, parts: list[Part]) -> list[Part]:
    """Return a part as it is, or the parts that its list holds. Raises :class:`UnclearBatchError`."""
    value = part.value
    if on_rows(value) is not None or not all(plain_tensor(one) is not None or is_numbers(one) for one in value):
        return [part]
    if len(value) != length:
        return [Part((*part.path, str(number)), one) for number, one in enumerate(value)]
    if has_two_readings(value) and not part.named and not any(_is_listed(other.value) for other in parts):
        raise UnclearBatchError(f"its lists may be samples or parts: {_listed([part])}")
    return [part]


def _is_listed(value: Any) -> bool:
    """Whether a value has a mapping for each sample: then the batch was collated into lists."""
    return isinstance(value, (tuple, list)) and all(isinstance(one, Mapping) for one in value)


def _label(path: tuple[str, ...], paths: list[tuple[str, ...]], number: int) -> str:
    """Return what tells a path from the others of its role."""
    same = 0
    while all(len(one) > same + 1 and one[same] == path[same] for one in paths):
        same += 1
    return "_".join(path[same:]) or str(number)


def _may_be_shown(value: Any, found: Sorted) -> bool:
    """Whether a part of which nothing says the role is shown: what is beside inputs is, where it has one value a row."""
    if found.said_by == "nothing" or (_is_listed(value) and found.said_by != "user"):
        return True
    dense = plain_tensor(value)
    return dense.dim() == 1 if dense is not None else isinstance(value, (tuple, list)) and is_scalar(value[0])


def _listed(parts: list[Part]) -> str:
    return ", ".join(".".join(part.path) or "one value" for part in parts[:16])
