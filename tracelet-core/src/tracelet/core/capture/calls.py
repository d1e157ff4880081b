"""Calls of a function of another library, led through code of a detector's from the library's import on."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import attrs

from tracelet.core.capture.imports import put_on
from tracelet.core.capture.patching import Around, Patch, Replacement
from tracelet.core.plugins.shapes import misfit
from tracelet.core.system.threads import lock_free_in_children

__all__ = ["wrap_calls"]

_LOG = logging.getLogger("tracelet.automagic")


def wrap_calls(
    module: str, function: str, around: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
) -> Callable[[], None]:
    """Lead the calls of a function of another library through ``around``, from the library's import on; import nothing.

    The library need not be imported yet (see :func:`tracelet.plugin.when_imported`), and may be reloaded. The function stays the object that
    it is: who took it out of its module before (``from library import save``) is seen, too. Only of a function written in C,
    the name in the module stands for another function meanwhile. A release of the library that has no such function is
    left alone, and so are classes and instances that can be called. The logger ``tracelet.automagic`` says so at DEBUG.

    Several may wrap one function: the last one is the outermost, and each is taken off by itself, in any order. If the same
    ``around`` is given several times, such as by two detectors that run at once, a call goes through it once, until it is
    taken off as often.

    Args:
        module: The full name of the module that defines the function, such as ``torch.serialization``.
        function: The function's name there, such as ``save``, or ``Trainer.fit`` for a method.
        around: ``around(original, args, kwargs)`` does what a call does: it calls ``original(*args, **kwargs)``, and returns
            what that returns. What it raises is raised to the caller: let nothing through but what ``original`` raises.

    Returns:
        A function that takes ``around`` off. A second call does nothing.

    Raises:
        TypeError: ``module`` or ``function`` is no text, or ``around`` takes other arguments.

    Example:
        >>> import textwrap
        >>> def around(original, args, kwargs):
        ...     text = original(*args, **kwargs)
        ...     print(f"{len(text)} letters")
        ...     return text
        >>> take_off = wrap_calls("textwrap", "dedent", around)
        >>> textwrap.dedent("  three")
        5 letters
        'three'
        >>> take_off()
        >>> textwrap.dedent("  three")
        'three'

    """
    if not isinstance(module, str) or not isinstance(function, str):
        raise TypeError(f"give the names of the module and of the function as texts, not {module!r} and {function!r}.")
    wrong = misfit(around, ("original", "args", "kwargs"))
    if wrong:
        raise TypeError(f"around cannot be called: {wrong}")
    return put_on(module, lambda loaded: _wrap(loaded, module, function, around))


@attrs.define(eq=False)
class _Wrapped:
    """One function that is wrapped, and what its calls go through, from the inside out."""

    patch: Patch | Replacement
    arounds: list[Around]

    def lead(self) -> None:
        """Have calls go through each of them once."""
        found = self.arounds
        self.patch.around = _one_of([one for number, one in enumerate(found) if one not in found[:number]])


def _one_of(arounds: list[Around]) -> Around:
    """Return one that goes through all of them. A single one is called without a frame of ours between."""
    *inner, outer = arounds
    if not inner:
        return outer
    within = _one_of(inner)

    def around(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return within(original, args, kwargs)

        return outer(call, args, kwargs)

    return around


def _wrap(loaded: ModuleType, module: str, name: str, around: Around) -> Callable[[], None] | None:
    function = _function(loaded, name)
    if function is None:
        _LOG.debug("%s.%s is not watched: this version has no such function.", module, name)
        return None
    with _LOCK:
        wrapped = _WRAPPED.get(function)
        if wrapped is None:
            wrapped = _Wrapped(_patch(loaded, name, function, around), [around])
            _WRAPPED[wrapped.patch.function] = wrapped
        else:
            wrapped.arounds.append(around)
            wrapped.lead()

    def take_off() -> None:
        with _LOCK:
            wrapped.arounds.remove(around)
            if wrapped.arounds:
                wrapped.lead()
            else:
                del _WRAPPED[wrapped.patch.function]
                wrapped.patch.remove()

    return take_off


def _function(module: ModuleType, name: str) -> Callable[..., Any] | None:
    """Return what is called under that name, if its calls can be led elsewhere."""
    try:
        found = operator.attrgetter(name)(module)
    except AttributeError:
        return None
    if isinstance(found, MethodType):
        # A method of the class itself, which gets the class as its first argument.
        found = found.__func__
    if isinstance(found, FunctionType) or (isinstance(found, BuiltinFunctionType) and "." not in name):
        return found
    return None


def _patch(module: ModuleType, name: str, function: Callable[..., Any], around: Around) -> Patch | Replacement:
    if isinstance(function, FunctionType):
        return Patch(function, around)
    return Replacement(module, name, around)


_LOCK = lock_free_in_children()
#: What is wrapped, by the function that callers call.
_WRAPPED: dict[Callable[..., Any], _Wrapped] = {}
