"""What torch.compile has compiled in a module: a forward hook there would have it compiled once more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any

__all__ = ["has_compiled", "hookable"]


def has_compiled(module: Any) -> bool:
    """Whether anything in a module is compiled: what it calls may have become a part of a graph."""
    parts = list(module.modules())
    holders = [*map(vars, parts), *(vars(kind) for kind in {kind for part in parts for kind in type(part).__mro__})]
    return any(_is_compiled(part) or hasattr(part, "_orig_mod") for part in parts) or bool(_compiled_names(holders))


def hookable(module: Any) -> list[tuple[str, Any]]:
    """Return the module, as ``forward``, and its children by name, without those that are called in a compiled graph."""
    if _is_compiled(module):
        return []
    holders = [vars(module), *map(vars, type(module).__mro__)]
    compiled = _compiled_names(holders)
    if "validation_step" in compiled:
        return []
    children = [] if compiled else [(name, one) for name, one in module.named_children() if not _is_compiled(one)]
    return [("forward", module), *children]


def _compiled_names(holders: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of functions that were compiled, be it by torch.compile, by its decorator, or by Lightning."""
    return {
        name
        for holder in holders
        for name, value in holder.items()
        if isinstance(value, FunctionType) and "_torchdynamo_orig_callable" in vars(value)
    }


def _is_compiled(module: Any) -> bool:
    """Whether ``Module.compile`` was called."""
    return vars(module).get("_compiled_call_impl") is not None
