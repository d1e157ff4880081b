"""Whether core can call a plugin's code: checked when the plugin hands it over, not when it is called."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

import attrs

__all__ = ["check_settings", "misfit", "takes"]


def misfit(call: object, arguments: Sequence[str], named: Sequence[str] = ()) -> str:
    """Return why something cannot be called with these arguments; an empty text where it can.

    ``arguments`` are given in their order, ``named`` ones by their name.
    """
    shape = f"({', '.join([*arguments, *(f'{name}=…' for name in named)])})"
    if not callable(call):
        return f"it must be a function that takes {shape}, and is {call!r}"
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # code in C may have no signature
        return ""
    try:
        signature.bind(*arguments, **dict.fromkeys(named))
    except TypeError as error:
        return f"it must take {shape}, and takes {signature}: {error}"
    return ""


def takes(*arguments: str, optional: bool = False) -> Callable[[Any, attrs.Attribute[Any], object], None]:
    """Return the validator of a field that holds a function; it raises ``TypeError``."""

    def validate(spec: Any, field: attrs.Attribute[Any], value: object) -> None:
        wrong = "" if optional and value is None else misfit(value, arguments)
        if wrong:
            raise TypeError(f"{field.name} of {spec.name!r} cannot be called: {wrong}")

    return validate


def check_settings(spec: Any, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds an attrs class; raises ``TypeError``."""
    if not isinstance(value, type) or not attrs.has(value):
        raise TypeError(f"settings of {spec.name!r} must be an attrs class, and is {value!r}")
    try:
        typing.get_type_hints(value)
    except (NameError, TypeError) as error:
        raise TypeError(f"settings of {spec.name!r} has annotations that mean nothing: {error}") from error
