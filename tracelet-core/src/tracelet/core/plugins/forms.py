"""Which serializer stores an object or a model, and whether it can. Asked when it is added, and when it is logged."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs

from tracelet.core.plugins.calling import call_plugin, recognise
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.specs import SpecSet
from tracelet.core.system.messages import said_by, sentence, words_of
from tracelet.exceptions import ArtifactError, BackendError, UnknownPlugin

__all__ = ["InstalledForms", "check_form", "fitting_form", "model_form", "model_serializer", "object_form", "unfit"]


@attrs.frozen
class InstalledForms:
    """What the installed serializers can store: see :class:`tracelet.core.artifacts.builder.Forms`."""

    serializers: SpecSet[SerializerSpec]

    def check_object(self, obj: Any, name: str, serializer: str | None) -> str:
        """See :class:`~tracelet.core.artifacts.builder.Forms`."""
        if serializer is None:
            return fitting_form(self.serializers, obj, f"object {name!r}").name
        check_form(self.serializers, object_form(self.serializers, serializer), obj, f"object {name!r}")
        return serializer

    def check_model(self, model: Any, name: str, framework: str | None) -> None:
        """See :class:`~tracelet.core.artifacts.builder.Forms`."""
        check_form(self.serializers, model_form(self.serializers, framework, model), model, f"model {name!r}")


def object_form(serializers: SpecSet[SerializerSpec], name: str) -> SerializerSpec:
    """Return the serializer of objects called ``name``; raises :class:`ArtifactError` where there is none."""
    return _serializer(serializers, name, lambda spec: spec.suffix is not None, "serializer of objects")


def fitting_form(serializers: SpecSet[SerializerSpec], value: Any, what: str) -> SerializerSpec:
    """Return the serializer of objects for a value, where nobody has given one.

    That is JSON where it takes the value, and else the one of Tracelet's own that recognises it; plugins' are used where
    they are named. Raises :class:`ArtifactError` where none can store it.
    """
    plain = object_form(serializers, "json")
    try:
        check_form(serializers, plain, value, what)
        return plain
    except ArtifactError:
        found = recognise(serializers, lambda spec: spec.suffix is not None and spec.name in serializers.own, value)
        if not found:
            raise
    check_form(serializers, found[0], value, what)
    return found[0]


def model_serializer(serializers: SpecSet[SerializerSpec], framework: str) -> SerializerSpec:
    """Return the serializer of a framework's models; raises :class:`ArtifactError` where there is none."""
    return _serializer(serializers, framework, _is_framework, "framework")


def model_form(serializers: SpecSet[SerializerSpec], framework: str | None, model: Any) -> SerializerSpec:
    """Return the serializer of a model: the framework's that is given, or the one that recognises it.

    Raises :class:`ArtifactError` where there is none of that name, and where none or several recognise it.
    """
    if framework is not None:
        return model_serializer(serializers, framework)
    found = recognise(serializers, _is_framework, model)
    if not found and isinstance(model, (str, bytes, os.PathLike)):
        raise ArtifactError(f"{model!r:.200} is a path, and no live model: add the file with add_file.")
    if not found and isinstance(model, type):
        raise ArtifactError(f"{model.__module__}.{model.__qualname__} is a class: give an instance of it.")
    if len(found) != 1:
        known = ", ".join(spec.name for spec in serializers if _is_framework(spec))
        raise ArtifactError(
            f"the framework of a {type(model).__module__}.{type(model).__qualname__} is not known: say "
            f"framework= one of {known}, or add its file with add_file."
        )
    return found[0]


def check_form(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, value: Any, what: str) -> None:
    """Ask a serializer whether it can store a value; raises :class:`ArtifactError` with its reason."""
    try:
        call_plugin(spec.name, spec.check, value)
    except BackendError as error:
        raise ArtifactError(unfit(serializers, spec, what, error.__cause__ or error)) from error.__cause__


def unfit(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, what: str, reason: object) -> str:
    """Say that a value cannot be stored, and what to do."""
    why = said_by(reason) or words_of(reason) if isinstance(reason, BaseException) else reason
    return (
        f"the {what} cannot be stored as {spec.name}: {sentence(why)} Change it, or give another serializer= or framework=."
        f"{serializers.whose(spec.name)}"
    )


def _is_framework(spec: SerializerSpec) -> bool:
    return spec.suffix is None


def _serializer(
    serializers: SpecSet[SerializerSpec], name: str, fits: Callable[[SerializerSpec], bool], what: str
) -> SerializerSpec:
    found = serializers.specs.get(name)
    if found is not None and fits(found):
        return found
    right = {key: spec for key, spec in serializers.specs.items() if fits(spec)}
    if found is not None:
        raise ArtifactError(f"{name!r} is no {what}; there is {', '.join(sorted(right))}.")
    try:
        return SpecSet(what, right, serializers.broken).get(name)
    except UnknownPlugin as error:
        raise ArtifactError(str(error)) from None
