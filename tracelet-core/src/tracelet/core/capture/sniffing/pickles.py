"""What is in a pickle, read off its opcodes: nothing is unpickled, so nothing that it names is imported or run.

Opcodes and what each takes from the stack are those of :mod:`pickletools`. torch writes a tensor as a call of one of
its ``_rebuild_…`` functions, and a module as an object whose state has ``_parameters`` and ``_modules``. Every opcode costs
the same, whatever came before it, and none is read that the budget has no room for. Tensors that follow tensors are passed
over many at once: they are most of what torch writes, and what comes after them may say what they are.
"""

from __future__ import annotations

import functools
import pickletools
import re
from collections.abc import Callable, Iterable
from typing import Any

from tracelet.core.capture.sniffing.budget import Budget

__all__ = ["Node", "read", "told_once"]

_DICTS = frozenset({"collections OrderedDict", "collections defaultdict", "builtins dict", "__builtin__ dict"})
_TENSORS = ("torch._utils _rebuild_", "torch._tensor _rebuild_", "torch.storage _load_from_bytes")
#: What protocols 0 and 1 make an object with: its class is the first argument.
_RECONSTRUCTORS = ("copy_reg _reconstructor", "copyreg _reconstructor")
_NOTHING = object()


def _run_of_tensors() -> re.Pattern[bytes]:
    """Keys and tensors in turns, or tensors alone, as torch writes all but the first; the places of the memo are any."""
    get, put = rb"(?:h.|j.{4})", rb"(?:q.|r.{4})"
    number = rb"(?:K.|M..|J.{4}|\x8a\x05.{5}|\x8a\x06.{6})"
    few = b"|".join(number * count + code + put for count, code in ((1, rb"\x85"), (2, rb"\x86"), (3, rb"\x87")))
    shape = rb"(?:\)|" + few + rb"|\(" + number + rb"{4,9}t" + put + b"|" + get + b")"
    where = rb"\(" + get + get + rb"(?:X.\0\0\0\d++" + put + b"|" + get + b")" + get + number + b"N?t" + put + b"Q"
    no_hooks = get + rb"\)R" + put
    tensor = get + rb"\(" + where + number + shape + shape + rb"[\x88\x89]" + no_hooks + b"t" + put + b"R(" + put + b")"
    parameter = get + tensor + rb"[\x88\x89]" + no_hooks + rb"\x87" + put + b"R(" + put + b")"
    key = rb"(?:u\()?(?:" + get + rb"|X.\0\0\0[^(]{1,250}?" + put + b")"
    one = b"(?:" + key + rb"|e\()?(?:" + tensor + b"|" + parameter + b")"
    return re.compile(put + b"(?:" + one + b"){1,%d}+" % _AT_ONCE, re.DOTALL)


#: Tensors that are passed over at once, and what an attempt to do that costs, in steps.
_AT_ONCE, _ATTEMPT = 100, 5
_RUN_OF_TENSORS = _run_of_tensors()
#: Bytes of a name or a key that are kept: no name that a rule knows is as long.
_LONGEST_TEXT = 1000


class Node:
    """An object in a pickle: a ``dict``, a ``list`` (or tuple, or set), a ``tensor``, or one ``made`` of a class.

    What a pickle holds once may stand in it at many places: what is told of a node as a whole is told once
    (:func:`told_once`), when the pickle has been read.
    """

    # A pickle may hold as many as it has bytes, so they are made as quickly as can be.
    __slots__ = ("_inside", "answers", "barren", "end", "items", "keys", "kind", "of", "state", "unread")

    def __init__(self, kind: str, of: str = "", items: list[Any] | None = None) -> None:
        self.kind = kind
        #: What it is made of or by: ``"module name"``.
        self.of = of
        self.keys: dict[str, Any] = {}
        self.items: list[Any] = [] if items is None else items
        self.state: Any = None
        #: Whether it was looked through, with all that is in it, and has no array.
        self.barren = False
        #: Of the top object of a pickle that was not gone through: the rest that is there, and how the pickle ends.
        self.unread = b""
        self.end: bytes | None = None
        self._inside: tuple[Node, ...] | None = None
        #: By question: what was told of it.
        self.answers: dict[Question, bool] | None = None

    def put(self, pairs: list[Any]) -> None:
        """Take keys and values in turns; keys that are no text keep their values apart from each other."""
        for key, value in zip(pairs[::2], pairs[1::2], strict=False):
            self.keys[key if isinstance(key, str) else f"\0{len(self.keys)}"] = value

    @property
    def inside(self) -> tuple[Node, ...]:
        """The objects directly in it."""
        if self._inside is None:
            self._inside = tuple(one for one in (*self.keys.values(), *self.items) if isinstance(one, Node))
        return self._inside


Question = Callable[[Node], bool]


def told_once(question: Question) -> Question:
    """Make a question one that is answered once a node, at however many places the node is asked for."""

    @functools.wraps(question)
    def told(node: Node) -> bool:
        if node.answers is None:
            node.answers = {}
        if question not in node.answers:
            node.answers[question] = question(node)
        return node.answers[question]

    return told


class _Global(str):
    """The name of what a pickle imports."""

    __slots__ = ()


def read(data: bytes, budget: Budget, number: int = 0, *, end: bytes) -> Node | None:
    """Return what the pickle makes that is the ``number``-th in ``data``, or None where there is none.

    A pickle that is cut off, goes on with something else, or has more opcodes than the budget has room for gives
    what was to be seen until there, and has the rest ``unread``, and the ``end`` that is given: the last bytes of the pickle, as far as they are known.
    """
    at, top = 0, None
    for _ in range(number + 1):
        machine = _Machine(data, at)
        top, at = machine.run(budget), machine.at
        if top is _NOTHING:
            return None
    if not isinstance(top, Node):
        return None
    if not machine.stopped:
        top.unread, top.end = data[at:], end
    return top


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        #: Where on the stack marks are; a mark takes no place there.
        self.marks: list[int] = []
        self.stopped = False
        #: The last tensor, for each that was passed over: what is in the memo from there is one, or nothing that matters.
        self.tensor: Node | None = None
        self.passed_over = False

    def run(self, budget: Budget) -> Any:
        """Go from opcode to opcode; give the top object."""
        data = self.data
        try:
            for _ in budget.spend():
                code = data[self.at]
                self.at += 1
                if code == _STOP:
                    self.stopped = True
                    return self.stack[-1]
                step, argument = _OPCODES[code]
                step(self, argument(self) if argument is not None else None)
                if code == _REDUCE and self.stack[-1] is self.tensor:
                    self._pass_over_tensors(budget)
        except (IndexError, KeyError, ValueError):
            pass
        return self._unwound()

    def _pass_over_tensors(self, budget: Budget) -> None:
        while budget.take(_ATTEMPT) and (run := _RUN_OF_TENSORS.match(self.data, self.at)):
            self.passed_over = True
            # The last one's place in the memo comes next, as that of the tensor before did.
            self.at = run.start(run.lastindex or 0)
            if not budget.take(_AT_ONCE):
                break

    def remembered(self, place: int) -> Any:
        """Give what is in the memo; raises ``KeyError`` where it cannot be."""
        if place not in self.memo and self.passed_over:
            return self.tensor
        return self.memo[place]

    def take(self, count: int) -> bytes:
        """Give the next bytes; raises ``IndexError`` where there are not so many."""
        end = self.at + count
        if end > len(self.data):
            raise IndexError("it is cut off")
        taken, self.at = self.data[self.at : min(end, self.at + _LONGEST_TEXT)], end
        return taken

    def line(self) -> bytes:
        """Give what is left of a line; raises ``ValueError`` where it has no end."""
        end = self.data.index(b"\n", self.at)
        return self.take(end + 1 - self.at)[:-1]

    def pop(self) -> Any:
        """Take the top off; raises ``IndexError`` at a mark."""
        if self.marks and self.marks[-1] == len(self.stack):
            raise IndexError("a mark is in the way")
        return self.stack.pop()

    def to_mark(self) -> list[Any]:
        """Take all that is above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _unwound(self) -> Any:
        """Close what was open where a pickle breaks off."""
        while self.marks:
            items = _with_the_last_tensor(self.to_mark())
            target = self.stack[-1] if self.stack else None
            if isinstance(target, Node) and target.kind in ("dict", "made"):
                target.put(items)
            elif isinstance(target, Node) and target.kind == "list":
                target.items.extend(items)
            else:
                self.stack.append(Node("list", items=items))
        if not self.stack:
            return _NOTHING
        top = self.stack[0]
        if isinstance(top, _Global):
            return _made(top)
        if isinstance(top, Node) and top.kind in ("dict", "list"):
            _put_last(top, self.stack[1:])
        elif isinstance(top, Node) and top.state is None and len(self.stack) > 1:
            top.state = self.stack[1]
        return top


def _put_last(top: Node, above: list[Any]) -> None:
    """Put in what was to be put in by itself, and not with others after a mark."""
    if top.kind == "list":
        top.items.extend(above[:1])
    else:
        top.put(above[:2])


def _with_the_last_tensor(items: list[Any]) -> list[Any]:
    """Put a tensor in place of the call that was to make it, and of its arguments so far."""
    for at, item in enumerate(items):
        if isinstance(item, _Global) and item.startswith(_TENSORS):
            return [*items[:at], _made(item)]
    return items


def _made(maker: Any) -> Node:
    name = str(maker) if isinstance(maker, _Global) else ""
    if name in _DICTS:
        return Node("dict", of=name)
    return Node("tensor" if name.startswith(_TENSORS) else "made", of=name)


# -- what opcodes take from the data


def _fixed(count: int) -> Callable[[_Machine], bytes]:
    return lambda machine: machine.take(count)


def _counted(count: int, *, signed: bool = False) -> Callable[[_Machine], bytes]:
    """A length in so many bytes, and as many bytes after it."""

    def take(machine: _Machine) -> bytes:
        length = int.from_bytes(machine.take(count), "little", signed=signed)
        if length < 0:
            raise ValueError("it has a length below zero")
        return machine.take(length)

    return take


def _line(machine: _Machine) -> bytes:
    return machine.line()


def _two_lines(machine: _Machine) -> bytes:
    return machine.line() + b" " + machine.line()


def _byte(machine: _Machine) -> int:
    machine.at += 1
    return machine.data[machine.at - 1]


def _four_bytes(machine: _Machine) -> int:
    return int.from_bytes(machine.take(4), "little")


def _argument(opcode: pickletools.OpcodeInfo) -> Callable[[_Machine], Any] | None:
    argument = opcode.arg
    if argument is None:
        return None
    if argument is pickletools.uint1:
        return _byte
    if argument is pickletools.uint4:
        return _four_bytes
    if argument is pickletools.stringnl_noescape_pair:
        return _two_lines
    counts = {
        pickletools.TAKEN_FROM_ARGUMENT1: _counted(1),
        pickletools.TAKEN_FROM_ARGUMENT4: _counted(4, signed=True),
        pickletools.TAKEN_FROM_ARGUMENT4U: _counted(4),
        pickletools.TAKEN_FROM_ARGUMENT8U: _counted(8),
        pickletools.UP_TO_NEWLINE: _line,
    }
    return counts.get(argument.n) or _fixed(argument.n)


# -- what they do


def _text(machine: _Machine, argument: bytes) -> None:
    machine.stack.append(argument.decode("utf-8", "replace"))


def _quoted(machine: _Machine, argument: bytes) -> None:
    _text(machine, argument.strip(b"'\""))


def _get(machine: _Machine, argument: int) -> None:
    machine.stack.append(machine.remembered(argument))


def _get_line(machine: _Machine, argument: bytes) -> None:
    machine.stack.append(machine.remembered(int(argument[:20])))


def _put(machine: _Machine, argument: int) -> None:
    machine.memo[argument] = machine.stack[-1]


def _put_line(machine: _Machine, argument: bytes) -> None:
    machine.memo[int(argument[:20])] = machine.stack[-1]


def _memoize(machine: _Machine, argument: None) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _mark(machine: _Machine, argument: None) -> None:
    machine.marks.append(len(machine.stack))


def _global(machine: _Machine, argument: bytes) -> None:
    machine.stack.append(_Global(argument.decode("utf-8", "replace")))


def _stack_global(machine: _Machine, argument: None) -> None:
    attribute, module = machine.pop(), machine.pop()
    machine.stack.append(
        _Global(f"{module} {attribute}" if isinstance(module, str) and isinstance(attribute, str) else "")
    )


def _new(kind: str) -> Callable[[_Machine, None], None]:
    return lambda machine, _: machine.stack.append(Node(kind))


def _set_item(machine: _Machine, argument: None) -> None:
    value, key = machine.pop(), machine.pop()
    _put_into(machine, [key, value])


def _set_items(machine: _Machine, argument: None) -> None:
    _put_into(machine, machine.to_mark())


def _put_into(machine: _Machine, pairs: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Node):
        target.put(pairs)


def _append(machine: _Machine, argument: None) -> None:
    _add(machine, [machine.pop()])


def _appends(machine: _Machine, argument: None) -> None:
    _add(machine, machine.to_mark())


def _add(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Node):
        target.items.extend(items)


def _reduce(machine: _Machine, argument: None) -> None:
    arguments, maker = machine.pop(), machine.pop()
    if maker in _RECONSTRUCTORS and isinstance(arguments, Node) and arguments.items:
        maker = arguments.items[0]
    made = _made(maker)
    if made.kind == "tensor":
        machine.tensor = made
    machine.stack.append(made)


def _build(machine: _Machine, argument: None) -> None:
    state = machine.pop()
    if isinstance(machine.stack[-1], Node):
        machine.stack[-1].state = state


def _tuple_of(count: int) -> Callable[[_Machine, None], None]:
    def step(machine: _Machine, argument: None) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(Node("list", items=items[::-1]))

    return step


def _tuple(machine: _Machine, argument: None) -> None:
    machine.stack.append(Node("list", items=machine.to_mark()))


def _dict(machine: _Machine, argument: None) -> None:
    made = Node("dict")
    made.put(machine.to_mark())
    machine.stack.append(made)


def _other(opcode: pickletools.OpcodeInfo) -> Callable[[_Machine, Any], None]:
    """Every other opcode only takes and gives what its description says."""
    to_mark = any(one in (pickletools.markobject, pickletools.stackslice) for one in opcode.stack_before)
    taken, given = len(opcode.stack_before), [None] * len(opcode.stack_after)

    def step(machine: _Machine, argument: Any) -> None:
        if to_mark:
            machine.to_mark()
        else:
            for _ in range(taken):
                machine.pop()
        machine.stack.extend(given)

    return step


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(
        ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"), _text
    ),
    "STRING": _quoted,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"), _new("list")),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _appends),
    **dict.fromkeys(("TUPLE", "FROZENSET", "LIST"), _tuple),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "DICT": _dict,
    "GET": _get_line,
    "PUT": _put_line,
    "MEMOIZE": _memoize,
    "MARK": _mark,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "EMPTY_DICT": _new("dict"),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": _append,
    "BUILD": _build,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
}


def _table(
    opcodes: Iterable[pickletools.OpcodeInfo],
) -> dict[int, tuple[Callable[..., None], Callable[..., Any] | None]]:
    return {ord(one.code): (_STEPS.get(one.name) or _other(one), _argument(one)) for one in opcodes}


_OPCODES = _table(pickletools.opcodes)
_STOP, _REDUCE = ord("."), ord("R")
