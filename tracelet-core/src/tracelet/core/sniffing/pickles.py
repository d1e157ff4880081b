"""What is in a pickle, read off its opcodes: nothing is unpickled, so nothing that it names is imported or run.

Opcodes and what each takes from the stack are those of :mod:`pickletools`. torch writes a tensor as a call of one of
its ``_rebuild_…`` functions, and a module as an object whose state has ``_parameters`` and ``_modules``.
"""

from __future__ import annotations

import io
import pickletools
import struct
from typing import Any

import attrs

__all__ = ["Node", "read"]

_STRINGS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "SHORT_BINSTRING"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_DICTS = frozenset({"collections OrderedDict", "collections defaultdict", "builtins dict", "__builtin__ dict"})
_TENSORS = ("torch._utils _rebuild_", "torch._tensor _rebuild_", "torch.storage _load_from_bytes")
_MARK = object()
_NOTHING = object()


@attrs.define(eq=False)
class Node:
    """An object in a pickle: a ``dict``, a ``list`` (or tuple, or set), a ``tensor``, or one ``made`` of a class."""

    kind: str
    #: What it is made of or by: ``"module name"``.
    of: str = ""
    keys: dict[str, Any] = attrs.field(factory=dict)
    items: list[Any] = attrs.field(factory=list)
    state: Any = None

    def put(self, pairs: list[Any]) -> None:
        """Take keys and values in turns; keys that are no text keep their values apart from each other."""
        for key, value in zip(pairs[::2], pairs[1::2], strict=False):
            self.keys[key if isinstance(key, str) else f"\0{len(self.keys)}"] = value


@attrs.frozen
class _Global:
    name: str


def read(data: bytes, number: int = 0) -> Node | None:
    """Return what the pickle makes that is the ``number``-th in ``data``, or None where there is none.

    A pickle that is cut off, or goes on with something else, gives what was to be seen until there.
    """
    stream = io.BytesIO(data)
    top = None
    for _ in range(number + 1):
        top = _top(stream)
        if top is _NOTHING:
            return None
    return top if isinstance(top, Node) else None


def _top(stream: io.BytesIO) -> Any:
    """Give the top object of the next pickle."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    try:
        # The last of them is STOP, or reading them raises.
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name != "STOP":
                _step(opcode, argument, stack, memo)
        return stack[-1]
    except (ValueError, IndexError, KeyError, OverflowError, struct.error):
        return _unwound(stack)


def _step(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any], memo: dict[Any, Any]) -> None:
    name = opcode.name
    if name in _STRINGS:
        stack.append(argument)
    elif name in _PUTS:
        memo[int(argument)] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _GETS:
        stack.append(memo[int(argument)])
    elif name == "MARK":
        stack.append(_MARK)
    elif name == "GLOBAL":
        stack.append(_Global(argument))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_Global(f"{module} {attribute}"))
    elif name == "EMPTY_DICT":
        stack.append(Node("dict"))
    elif name == "SETITEM":
        pair = stack[-2:]
        del stack[-2:]
        _put(stack[-1], pair)
    elif name == "SETITEMS":
        _put_all(stack)
    elif name in ("REDUCE", "NEWOBJ"):
        stack.pop()
        stack.append(_made(stack.pop()))
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], Node):
            stack[-1].state = state
    elif name in ("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"):
        stack.append(Node("list"))
    elif name in ("APPENDS", "ADDITEMS"):
        items = _to_mark(stack)
        _add(stack[-1], items)
    elif name == "APPEND":
        item = stack.pop()
        _add(stack[-1], [item])
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        items = stack[-count:]
        del stack[-count:]
        stack.append(Node("list", items=items))
    elif name in ("TUPLE", "FROZENSET"):
        stack.append(Node("list", items=_to_mark(stack)))
    else:
        _other(opcode, stack)


def _other(opcode: pickletools.OpcodeInfo, stack: list[Any]) -> None:
    """Every other opcode only takes and gives what its description says."""
    if any(one in (pickletools.markobject, pickletools.stackslice) for one in opcode.stack_before):
        _to_mark(stack)
    else:
        for _ in opcode.stack_before:
            stack.pop()
    stack.extend(None for _ in opcode.stack_after)


def _to_mark(stack: list[Any]) -> list[Any]:
    start = next((at for at in range(len(stack) - 1, -1, -1) if stack[at] is _MARK), None)
    if start is None:
        raise IndexError("no mark")
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _put(target: Any, pairs: list[Any]) -> None:
    if isinstance(target, Node):
        target.put(pairs)


def _put_all(stack: list[Any]) -> None:
    pairs = _to_mark(stack)
    _put(stack[-1], pairs)


def _add(target: Any, items: list[Any]) -> None:
    if isinstance(target, Node):
        target.items.extend(items)


def _made(maker: Any) -> Node:
    name = maker.name if isinstance(maker, _Global) else ""
    if name in _DICTS:
        return Node("dict", of=name)
    return Node("tensor" if name.startswith(_TENSORS) else "made", of=name)


def _unwound(stack: list[Any]) -> Any:
    """Close what was open where a pickle breaks off."""
    while _MARK in stack:
        items = _with_the_last_tensor(_to_mark(stack))
        target = stack[-1] if stack else None
        if isinstance(target, Node) and target.kind in ("dict", "made"):
            target.put(items)
        elif isinstance(target, Node) and target.kind == "list":
            target.items.extend(items)
        else:
            stack.append(Node("list", items=items))
    if not stack:
        return _NOTHING
    top = stack[0]
    if isinstance(top, _Global):
        return _made(top)
    if isinstance(top, Node) and top.state is None and len(stack) > 1:
        top.state = stack[1]
    return top


def _with_the_last_tensor(items: list[Any]) -> list[Any]:
    """Put a tensor in place of the call that was to make it, and of its arguments so far."""
    for at, item in enumerate(items):
        if isinstance(item, _Global) and item.name.startswith(_TENSORS):
            return [*items[:at], _made(item)]
    return items
