"""What a serializer is: an object or a model to files, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.plugins.shapes import takes

__all__ = ["SerializerSpec"]


def _matches_nothing(value: Any) -> bool:
    return False


def _checks_nothing(value: Any) -> None:
    pass


def _suffix(_self: object, _field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.startswith(".") and check_name(f"x{value}")):
        raise ValueError(f"suffix={value!r} is no end of a file's name: give one such as '.json', or None for models")


@attrs.frozen(kw_only=True)
class SerializerSpec:
    """A way to store objects or models; what a plugin's ``tracelet_serializers`` hook returns.

    With a ``suffix`` it is for objects: ``add_object(…, serializer=name)`` calls ``dump(obj, path)`` with the
    path of a file to write, and loading calls ``load(path, trust)``. Without one it is for models:
    ``add_model(…, framework=name)``, or a model that ``matches``, calls ``dump(model, path)`` with the path of
    an empty folder to fill.

    ``dump`` raises ``TypeError`` or ``ValueError`` for what it cannot store, ``load`` raises ``ValueError`` for files that
    it did not write. ``check(value)`` raises what ``dump`` would, and writes nothing. ``add_object`` and ``add_model`` call it
    at once, so that the line that adds a value raises. ``dump`` gets the value as it is when the artifact is logged.
    ``safe`` says that loading runs no code from the files. Where it is False, core asks the reader for ``trust=True``
    before it calls ``load``. A serializer that is safe for only some files says True, and its ``load`` raises
    :class:`~tracelet.exceptions.UnsafeContent` for the others, unless ``trust`` is True.

    Example:
        >>> text = SerializerSpec(
        ...     name="text",
        ...     suffix=".txt",
        ...     dump=lambda value, path: path.write_text(value, encoding="utf-8"),
        ...     load=lambda path, trust: path.read_text(encoding="utf-8"),
        ...     safe=True,
        ... )
        >>> _ = text.dump("hello", Path("hello.txt"))
        >>> text.load(Path("hello.txt"), False)
        'hello'

    """

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "serializer"))
    dump: Callable[[Any, Path], None] = attrs.field(validator=takes("value", "path"))
    load: Callable[[Path, bool], Any] = attrs.field(validator=takes("path", "trust"))
    safe: bool = attrs.field(validator=attrs.validators.instance_of(bool))
    #: File suffix with its dot, such as ``.json``; None for a serializer of models.
    suffix: str | None = attrs.field(default=None, validator=_suffix)
    #: Returns whether a value is a model of the framework; of Tracelet's own serializers of objects, whether it is theirs
    #: where JSON does not take it. It looks at the value's classes, and imports nothing.
    matches: Callable[[Any], bool] = attrs.field(default=_matches_nothing, validator=takes("value"))
    #: Raises where the value cannot be stored as it is now.
    check: Callable[[Any], None] = attrs.field(default=_checks_nothing, validator=takes("value"))
