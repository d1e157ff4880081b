"""What torch.compile has compiled in a module: a forward hook there would have it compiled once more."""

from __future__ import annotations

from types import FunctionType
from typing import Any

__all__ = ["hookable"]


def hookable(module: Any) -> list[tuple[str, Any]]:
    """Return the module, as ``forward``, and its children by name, without those that are called in a compiled graph."""
    if _is_compiled(module):
        return []
    holders = [vars(module), *map(vars, type(module).__mro__)]
    # A compiled function is here, be it made by torch.compile, by its decorator, or by Lightning of a compiled module.
    compiled = {
        name
        for holder in holders
        for name, value in holder.items()
        if isinstance(value, FunctionType) and "_torchdynamo_orig_callable" in vars(value)
    }
    if "validation_step" in compiled:
        return []
    children = [] if compiled else [(name, one) for name, one in module.named_children() if not _is_compiled(one)]
    return [("forward", module), *children]


def _is_compiled(module: Any) -> bool:
    """Whether ``Module.compile`` was called."""
    return vars(module).get("_compiled_call_impl") is not None
