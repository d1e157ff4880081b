"""Serializers for Python objects: plain data, tables, arrays, pictures and figures.

What ``json`` and ``yaml`` store is plain data, see :func:`tracelet.plugin.plain_data`. What does not fit it and is not given
a serializer by name is stored by the one that knows its class. Everything comes back equal, or is refused.

No library is imported before something of it is stored or loaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracelet.builtin.objects import _arrays, _figures, _pictures, _plain, _tables
from tracelet.plugin import SerializerSpec, hookimpl

__all__ = ["tracelet_serializers"]


@hookimpl
def tracelet_serializers() -> Iterable[SerializerSpec]:
    """Provide the serializers of objects."""
    return [*_plain.SPECS, *_tables.SPECS, *_arrays.SPECS, *_pictures.SPECS, *_figures.SPECS]
