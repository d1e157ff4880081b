"""Calls of another library's function, led through our own: from within the function object.

The function keeps its identity and gets other code. So a caller that took the function out of its module long ago is
seen too, and taking the patch off needs nobody's cooperation: whoever wrapped the function meanwhile, or replaced the
name in the module, still holds the same object, which has its own code again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["Around", "Patch", "Replacement"]

#: What a call goes through: it gets the function as it was, and the arguments, and returns the function's result.
Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_PLACEHOLDER = "the patch's own entry"


class Patch:
    """One function whose calls go through ``around`` until :meth:`remove`."""

    def __init__(self, function: FunctionType, around: Around) -> None:
        self.function: Callable[..., Any] = function
        #: What calls go through now; None leads them to the function as it was.
        self.around: Around | None = around
        self._patched = function
        self._original = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self._original.__kwdefaults__ = function.__kwdefaults__
        self._signed = _sign(function)
        self._code = _leading_to(self._call, function.__code__)
        function.__code__ = self._code

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        around = self.around
        if around is None:
            return self._original(*args, **kwargs)
        return around(self._original, args, kwargs)

    def remove(self) -> None:
        """Give the function its code back; a second call does nothing.

        Where somebody else has put other code in since, that stays, and ours, if it is called from there, only
        passes on.
        """
        self.around = None
        if self._patched.__code__ is not self._code:
            return
        self._patched.__code__ = self._original.__code__
        if self._signed:
            self._patched.__dict__.pop("__signature__", None)


class Replacement:
    """One function written in C, which has no code to be changed: its name in a module is another function's meanwhile.

    Who took the function out of the module before is not seen.
    """

    def __init__(self, module: ModuleType, name: str, around: Around) -> None:
        #: What calls go through now; None leads them to the function as it was.
        self.around: Around | None = around
        self._module = module
        self._name = name
        self._original: BuiltinFunctionType = getattr(module, name)
        self.function: Callable[..., Any] = self._standing_in(self._original)
        setattr(module, name, self.function)

    def _standing_in(self, function: BuiltinFunctionType) -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            around = self.around
            return function(*args, **kwargs) if around is None else around(function, args, kwargs)

        functools.update_wrapper(stand_in, function)
        # Where it is found by that name, so that it can be pickled itself.
        stand_in.__module__ = self._module.__name__
        return stand_in

    def remove(self) -> None:
        """Give the name back; a second call does nothing. Where somebody else has taken the name since, it stays theirs."""
        self.around = None
        if getattr(self._module, self._name) is self.function:
            setattr(self._module, self._name, self._original)


def _sign(function: FunctionType) -> bool:
    """Keep the signature that the function shows, which is read off its code; says whether that was needed."""
    if "__signature__" in function.__dict__ or "__wrapped__" in function.__dict__:
        return False
    function.__dict__["__signature__"] = inspect.signature(function)
    return True


def _leading_to(entry: Callable[..., Any], like: CodeType) -> CodeType:
    """Return code that calls ``entry``, with as many free variables as the code that it stands in for.

    A function's code can only be replaced by code with as many free variables as it has cells. They are named after
    the return, which never runs, so that the compiler knows them and copies the cells as it does anywhere.
    """
    cells = [f"cell_{number}" for number in range(len(like.co_freevars))]
    lines = [
        "def outer():",
        f"    {' = '.join([*cells, 'unused'])} = None",
        "    def inner(*args, **kwargs):",
        f"        entry = {_PLACEHOLDER!r}",
        "        return entry(*args, **kwargs)",
        f"        {', '.join([*cells, 'None'])}",
        "    return inner",
    ]
    module = compile("\n".join(lines), __file__, "exec", dont_inherit=True)
    inner = _code_in(_code_in(module))
    return inner.replace(
        co_consts=tuple(entry if const == _PLACEHOLDER else const for const in inner.co_consts),
        co_name=like.co_name,
        co_qualname=like.co_qualname,
        co_filename=like.co_filename,
        co_firstlineno=like.co_firstlineno,
    )


def _code_in(code: CodeType) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType))
