"""What an artifact is made of: its type, and its files, objects, models and references.

``extra`` of each entry keeps what a later release wrote and this one has no field for.
"""

from __future__ import annotations

import difflib
import enum
from typing import Any

import attrs

from tracelet.core.artifacts.checks import (
    name_field,
    optional_name_field,
    optional_path_field,
    path_field,
    sha256_field,
    size_field,
    text_field,
    whole_number,
)
from tracelet.core.artifacts.plain import integer, optional, text, unknown
from tracelet.exceptions import ArtifactError

__all__ = ["ArtifactFile", "ArtifactModel", "ArtifactObject", "ArtifactReference", "ArtifactType", "check_type"]


class ArtifactType(enum.Enum):
    """The type of an artifact. The routing policy chooses the backends by it."""

    MODEL = "model"
    CHECKPOINT = "checkpoint"
    WEIGHTS = "weights"
    DATASET = "dataset"
    SAMPLE = "sample"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    VISUALIZATION = "visualization"
    REPORT = "report"
    CONFIG = "config"
    CODE = "code"
    CUSTOM = "custom"


def check_type(kind: ArtifactType | str) -> ArtifactType:
    """Return an :class:`ArtifactType`, or the one with this text, such as ``"model"``; raises :class:`ArtifactError` otherwise."""
    try:
        return ArtifactType(kind)
    except ValueError:
        types = [one.value for one in ArtifactType]
        near = difflib.get_close_matches(kind.lower(), types, n=1) if isinstance(kind, str) else []
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ArtifactError(
            f"{kind!r:.200} is no artifact type: give one of ArtifactType, such as ArtifactType.MODEL, or its text, which "
            f"is one of {', '.join(types)}. An artifact's name is given as name=.{hint}"
        ) from None


@attrs.frozen
class ArtifactFile:
    """A file of an artifact: its path there, its size in bytes and the sha256 of its bytes.

    ``sha256`` is None until the artifact is sealed, for until then the file may still change.
    """

    artifact_path: str = attrs.field(validator=path_field)
    size_bytes: int = attrs.field(converter=whole_number, validator=size_field)
    sha256: str | None = attrs.field(default=None, validator=sha256_field)
    description: str | None = attrs.field(default=None, validator=text_field)
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, hash=False)

    @classmethod
    def from_plain(cls, data: Any) -> ArtifactFile:
        """Return one of plain data. Raises what Python raises for what is missing there, or is of another kind."""
        return cls(
            text(data["artifact_path"]),
            integer(data["size_bytes"]),
            optional(text, data, "sha256"),
            optional(text, data, "description"),
            extra=unknown(data, cls),
        )


@attrs.frozen
class ArtifactObject:
    """A Python object of an artifact, stored by ``serializer`` as one file.

    Path, size and sha256 are None until the artifact is sealed.
    """

    name: str = attrs.field(validator=name_field)
    serializer: str = attrs.field(validator=name_field)
    artifact_path: str | None = attrs.field(default=None, validator=optional_path_field)
    size_bytes: int | None = attrs.field(default=None, converter=whole_number, validator=size_field)
    sha256: str | None = attrs.field(default=None, validator=sha256_field)
    description: str | None = attrs.field(default=None, validator=text_field)
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, hash=False)

    @classmethod
    def from_plain(cls, data: Any) -> ArtifactObject:
        """See :meth:`ArtifactFile.from_plain`."""
        return cls(
            text(data["name"]),
            text(data["serializer"]),
            optional(text, data, "artifact_path"),
            optional(integer, data, "size_bytes"),
            optional(text, data, "sha256"),
            optional(text, data, "description"),
            extra=unknown(data, cls),
        )


@attrs.frozen
class ArtifactModel:
    """A model of an artifact, stored by the serializer of its framework as a folder of files.

    ``framework`` is None until it is found at sealing; ``files`` are empty until then.
    """

    name: str = attrs.field(validator=name_field)
    framework: str | None = attrs.field(default=None, validator=optional_name_field)
    files: tuple[ArtifactFile, ...] = ()
    description: str | None = attrs.field(default=None, validator=text_field)
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, hash=False)

    @classmethod
    def from_plain(cls, data: Any) -> ArtifactModel:
        """See :meth:`ArtifactFile.from_plain`."""
        return cls(
            text(data["name"]),
            optional(text, data, "framework"),
            tuple(map(ArtifactFile.from_plain, data.get("files", ()))),
            optional(text, data, "description"),
            extra=unknown(data, cls),
        )


@attrs.frozen
class ArtifactReference:
    """Something that an artifact points at and does not hold.

    ``path`` is set for a file of the artifact whose bytes are in Tracelet's own store: its
    ``sha256`` and ``size_bytes`` are then known. ``etag`` is what the place itself calls the
    content, where it was asked.
    """

    uri: str = attrs.field(validator=text_field)
    size_bytes: int | None = attrs.field(default=None, converter=whole_number, validator=size_field)
    description: str | None = attrs.field(default=None, validator=text_field)
    sha256: str | None = attrs.field(default=None, validator=sha256_field)
    etag: str | None = attrs.field(default=None, validator=text_field)
    path: str | None = attrs.field(default=None, validator=optional_path_field)
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, hash=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.uri, str) or not self.uri:
            raise ArtifactError(f"uri={self.uri!r}: give text such as 's3://bucket/key'.")
        if self.path is not None and (self.sha256 is None or self.size_bytes is None):
            raise ArtifactError(f"{self.path!r}: a stored file's reference needs its size and sha256.")

    @classmethod
    def from_plain(cls, data: Any) -> ArtifactReference:
        """See :meth:`ArtifactFile.from_plain`."""
        return cls(
            text(data["uri"]),
            optional(integer, data, "size_bytes"),
            optional(text, data, "description"),
            optional(text, data, "sha256"),
            optional(text, data, "etag"),
            optional(text, data, "path"),
            extra=unknown(data, cls),
        )
