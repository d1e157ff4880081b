"""What an artifact is once nothing about it can change: its entries, its digest, and its JSON."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import attrs

from tracelet.core.entries import (
    ArtifactFile,
    ArtifactModel,
    ArtifactObject,
    ArtifactReference,
    ArtifactType,
    check_digests,
    check_paths,
    name_field,
    text_field,
    time_field,
)
from tracelet.core.plain import converter, dumps
from tracelet.exceptions import ArtifactError, IntegrityError, UnsafePath

__all__ = ["ROUTING_KEYS", "Manifest"]

#: Metadata that says where an artifact goes, not what it is: no part of the digest.
ROUTING_KEYS = ("preferred_backends", "force_reference")

_SCHEMA = 1


@attrs.frozen
class Manifest:
    """An artifact, frozen. Its :attr:`digest` is its identity, the same in every backend."""

    name: str = attrs.field(validator=name_field)
    type: ArtifactType
    #: One for each put; a delivery that is made twice is found by it.
    put_id: str = attrs.field(validator=name_field)
    #: Seconds since the epoch at sealing.
    created_at: float = attrs.field(validator=time_field)
    run_id: str | None = attrs.field(default=None, validator=text_field)
    description: str | None = attrs.field(default=None, validator=text_field)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    files: tuple[ArtifactFile, ...] = ()
    objects: tuple[ArtifactObject, ...] = ()
    models: tuple[ArtifactModel, ...] = ()
    references: tuple[ArtifactReference, ...] = ()
    #: Digests of the artifacts that the run had used.
    inputs: tuple[str, ...] = attrs.field(default=(), validator=check_digests)

    def __attrs_post_init__(self) -> None:
        made = {file.artifact_path: file for file in (*self._of_objects, *self._of_models)}
        own = [file.artifact_path for file in (*self.files, *self._of_objects, *self._of_models)]
        check_paths([*own, *(file.artifact_path for file in self.stored if file.artifact_path not in made)])
        check_paths(file.artifact_path for file in self.stored)
        for file in self.stored:
            # The digest takes the entry's word for it: the reference may not say otherwise.
            entry = made.get(file.artifact_path, file)
            if (entry.sha256, entry.size_bytes) != (file.sha256, file.size_bytes):
                raise ArtifactError(f"{file.artifact_path!r} has one content as an entry and another as a reference.")

    @functools.cached_property
    def _of_objects(self) -> tuple[ArtifactFile, ...]:
        return tuple(
            ArtifactFile(item.artifact_path, item.size_bytes or 0, item.sha256)
            for item in self.objects
            if item.artifact_path is not None
        )

    @property
    def _of_models(self) -> tuple[ArtifactFile, ...]:
        return tuple(file for model in self.models for file in model.files)

    @functools.cached_property
    def stored(self) -> tuple[ArtifactFile, ...]:
        """Every file whose bytes are in Tracelet's own store."""
        return tuple(
            ArtifactFile(ref.path, ref.size_bytes or 0, ref.sha256, ref.description)
            for ref in self.references
            if ref.path is not None
        )

    @functools.cached_property
    def payload(self) -> tuple[ArtifactFile, ...]:
        """Every file whose bytes a backend holds: plain files, then objects', then models'."""
        elsewhere = {file.artifact_path for file in self.stored}
        every = (*self.files, *self._of_objects, *self._of_models)
        return tuple(file for file in every if file.artifact_path not in elsewhere)

    @property
    def size_bytes(self) -> int:
        """Bytes of everything in it, references with a known size included."""
        return sum(file.size_bytes for file in self.payload) + sum(ref.size_bytes or 0 for ref in self.references)

    def as_complete_as(self, other: Manifest) -> bool:
        """Whether a backend that holds this holds at least the bytes that it would hold of ``other``."""
        return {file.artifact_path for file in self.payload} >= {file.artifact_path for file in other.payload}

    @functools.cached_property
    def digest(self) -> str:
        """The sha256, in hexadecimal, over what the artifact is.

        Taken over canonical JSON (sorted keys, no white space, UTF-8) of type, description,
        metadata, entries, references and inputs; not of name, time, run or routing keys, nor of the
        order in which things were added. A file counts the same whether a backend or Tracelet's store
        holds its bytes.
        """
        made = {file.artifact_path for file in (*self._of_objects, *self._of_models)}
        files = sorted(
            (*self.files, *(file for file in self.stored if file.artifact_path not in made)),
            key=lambda file: file.artifact_path,
        )
        what = {
            "schema": _SCHEMA,
            "type": self.type.value,
            "description": self.description,
            "metadata": {key: value for key, value in self.metadata.items() if key not in ROUTING_KEYS},
            "files": [attrs.asdict(file) for file in files],
            "objects": [attrs.asdict(item) for item in sorted(self.objects, key=lambda item: item.name)],
            "models": [attrs.asdict(model) for model in sorted(self.models, key=lambda model: model.name)],
            "references": sorted((attrs.asdict(ref) for ref in self.references if ref.path is None), key=dumps),
            "inputs": sorted(self.inputs),
        }
        return hashlib.sha256(dumps(what).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the manifest as JSON text; :meth:`from_json` reads it back."""
        return dumps(self.to_dict(), indent=1)

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as plain data that JSON can hold, with its digest and schema."""
        plain: dict[str, Any] = converter().unstructure(self)
        return {"schema": _SCHEMA, "digest": self.digest, **plain}

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises :class:`UnsafePath` for a name or path that must not be followed, and
        :class:`IntegrityError` for anything else that is not a manifest, or not the one whose
        digest it bears.
        """
        try:
            data = json.loads(text)
        except (RecursionError, ValueError) as error:
            raise IntegrityError(f"a manifest is not JSON: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Read what :meth:`to_dict` gave; raises as :meth:`from_json` does."""
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            raise IntegrityError(
                f"a manifest of schema {_SCHEMA} was expected: this is not one, or a later Tracelet's."
            )
        try:
            manifest = converter().structure(data, cls)
            digest = manifest.digest
        except UnsafePath:
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"a manifest cannot be read: {type(error).__name__}: {error}") from error
        if data.get("digest") != digest:
            raise IntegrityError(
                f"the manifest of {manifest.name!r} was changed: it bears another digest than its own."
            )
        return manifest
