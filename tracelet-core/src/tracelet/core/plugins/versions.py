"""What a backend is given and gives back: a run, an artifact ready to be stored with its names, a stored version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import LARGEST_SIZE, check_text, time_field
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.version_refs import check_label
from tracelet.core.system.files import Stamp
from tracelet.exceptions import ArtifactError

__all__ = ["Labels", "RunInfo", "SealedArtifact", "StoredArtifact", "flaw_of"]


def _some_text(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if check_text(value, field.name) is None:
        raise ArtifactError(f"{field.name}={value!r} is not text: give a str.")


@attrs.frozen
class RunInfo:
    """One run of an experiment."""

    id: str
    experiment: str = attrs.field(validator=_some_text)
    #: Seconds since the epoch.
    started_at: float = attrs.field(validator=time_field)
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, eq=False, hash=False)


def _optional_label(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        check_label(value)


def _every_label(instance: object, field: attrs.Attribute[Any], value: Iterable[object]) -> None:
    for label in value:
        check_label(label)


def _labels(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class Labels:
    """Names for the version that a put makes: at most one label for ever, and aliases that move."""

    version: str | None = attrs.field(default=None, validator=_optional_label)
    aliases: tuple[str, ...] = attrs.field(default=(), converter=_labels, validator=_every_label)
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, eq=False, hash=False)


@attrs.frozen
class SealedArtifact:
    """An artifact ready to be stored: its manifest, and where each file's bytes are on this machine."""

    manifest: Manifest
    #: By path in the artifact, for every file of ``manifest.payload``.
    sources: Mapping[str, Path]
    #: How each source looked when it was hashed. None where it can no longer change.
    stamps: dict[str, Stamp] = attrs.field(factory=dict)
    #: A folder with what ``BackendSpec.render`` made of the models, for the backend that made it.
    rendered: Path | None = None


@attrs.frozen
class StoredArtifact:
    """A version that a backend holds and can give back."""

    manifest: Manifest
    #: This name's versions in this backend are numbered from 0, in their order.
    number: int
    #: Where it is, as a person or another tool would say; without credentials.
    uri: str
    label: str | None = None
    #: Movable names that point at it now, without ``latest``.
    aliases: tuple[str, ...] = ()
    #: The backend's own note of where it is, plain JSON data; only the backend reads it.
    locator: Any = None
    #: True where only this machine has it so far, and the tracker itself does not: the delivery stays in the outbox.
    pending: bool = False

    @property
    def version(self) -> str:
        """The caller's label, or ``v<number>``."""
        return self.label or f"v{self.number}"


def flaw_of(stored: StoredArtifact) -> str:
    """Say what is wrong with a field of a version that a plugin returned; an empty text where nothing is."""
    if not isinstance(stored.manifest, Manifest):
        return "manifest is no Manifest"
    if type(stored.number) is not int or not 0 <= stored.number <= LARGEST_SIZE:
        return "number is no whole number from 0 on"
    if not isinstance(stored.uri, str):
        return "uri is no text"
    if stored.label is not None and not isinstance(stored.label, str):
        return "label is no text"
    if not isinstance(stored.aliases, (list, tuple)) or not all(isinstance(alias, str) for alias in stored.aliases):
        return "aliases are no tuple of texts"
    return ""
