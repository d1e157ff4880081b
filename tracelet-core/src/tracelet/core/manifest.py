"""What an artifact is once nothing about it can change: entries, digest, JSON, the path rule.

A manifest that comes back from a backend is untrusted input, so names and paths are checked in the
data classes themselves, when writing and when reading.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.exceptions import ArtifactError, IntegrityError, UnsafePath

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "MANIFEST_NAME",
    "ROUTING_KEYS",
    "ArtifactFile",
    "ArtifactModel",
    "ArtifactObject",
    "ArtifactReference",
    "ArtifactType",
    "Manifest",
    "check_name",
    "check_path",
    "check_paths",
    "check_text",
    "check_type",
    "converter",
    "plain_metadata",
]

#: The file that holds the manifest, beside the data, wherever a backend stores files.
MANIFEST_NAME = "tracelet.json"
#: Metadata that says where an artifact goes, not what it is: no part of the digest.
ROUTING_KEYS = ("preferred_backends", "force_reference")

_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:")
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT_TAG = "$float"
#: How deep metadata may be nested, and how long a whole number may be: JSON readers have limits of their own.
_DEEPEST = 64
_LONGEST_INT = 10**4000


class ArtifactType(enum.Enum):
    """What kind of thing an artifact is; routing goes by it."""

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


def check_name(name: object, what: str = "name") -> str:
    """Return ``name`` if it is one: ``[A-Za-z0-9_.-]``, 1 to 128 characters, not ``.`` or ``..``.

    Raises :class:`UnsafePath` otherwise.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in {".", ".."}:
        raise UnsafePath(f"{what} {name!r}: use 1 to 128 of A-Z a-z 0-9 _ . - (and not '.' or '..').")
    return name


def check_type(kind: object) -> ArtifactType:
    """Return ``kind`` if it is an :class:`ArtifactType`; raises :class:`ArtifactError` otherwise."""
    if not isinstance(kind, ArtifactType):
        choices = ", ".join(f"ArtifactType.{one.name}" for one in ArtifactType)
        raise ArtifactError(f"{kind!r} is no artifact type: give one of {choices}.")
    return kind


def check_path(path: object) -> str:
    """Return ``path`` if it is a safe path in an artifact: relative, normalised, portable.

    Raises :class:`UnsafePath` for absolute paths, ``..``, ``.``, empty parts, backslashes, drive
    letters, control characters, text that is not UTF-8, parts over 255 bytes, more than 1024 bytes
    in all, and ``tracelet.json``, which is the manifest's own.
    """
    reason = "it is not text" if not isinstance(path, str) else _path_fault(path)
    if reason:
        raise UnsafePath(f"path {path!r}: {reason}. Give a relative path such as 'model/weights.pt'.")
    assert isinstance(path, str)
    return path


def _path_fault(path: str) -> str | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    parts = path.split("/")
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute"
    if "\\" in path or any(unicodedata.category(char) == "Cc" for char in path):
        return "it has a backslash or a control character"
    if any(part in {"", ".", ".."} for part in parts):
        return "it is empty or has an empty part, '.' or '..'"
    if any(len(part.encode()) > 255 for part in parts):
        return "a part of it is longer than 255 bytes"
    if len(path.encode()) > 1024:
        return "it is longer than 1024 bytes"
    if parts[0].casefold() == MANIFEST_NAME:
        return f"{MANIFEST_NAME} is the manifest's own name"
    return None


def check_paths(paths: Iterable[str], files: Collection[str] = (), folders: Collection[str] = ()) -> set[str]:
    """Return the folders that paths need, which join the ``files`` and ``folders`` of an artifact.

    Raises :class:`ArtifactError` where a path stands twice, or is a file and a folder at once.
    """
    new: set[str] = set()
    above: set[str] = set()
    for path in paths:
        if path in new or path in files:
            raise ArtifactError(f"{path!r} is in the artifact already: give the second one another path.")
        new.add(path)
        steps = path.split("/")
        above.update("/".join(steps[:count]) for count in range(1, len(steps)))
    clash = sorted(
        {path for path in new if path in above or path in folders} | {path for path in above if path in files}
    )
    if clash:
        raise ArtifactError(f"{clash[0]!r} is a file and a folder at once: give one of them another path.")
    return above


def check_text(value: object, what: str) -> str | None:
    """Return ``value`` if it is text or None; raises :class:`ArtifactError` for anything else, or invalid Unicode."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ArtifactError(f"{what}={value!r} is not text: give a str, or leave it out.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArtifactError(f"{what}={value!r} is not valid Unicode: take the lone surrogate out.") from None
    return value


def _name(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    check_name(value, field.name)


def _path(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    check_path(value)


def _optional_path(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        check_path(value)


def _size(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ArtifactError(f"{field.name}={value!r} is not a size: give a whole number of bytes, or nothing.")


def _sha256(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not _SHA256.fullmatch(value)):
        raise ArtifactError(f"{field.name}={value!r} is not a sha256: it has 64 lower-case hexadecimal digits.")


def _text(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    check_text(value, field.name)


def _optional_name(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        check_name(value, field.name)


def _time(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ArtifactError(f"{field.name}={value!r} is not a time: give seconds since the epoch.")


def _digests(instance: object, field: attrs.Attribute[Any], value: Iterable[object]) -> None:
    for digest in value:
        _sha256(instance, field, digest)


@attrs.frozen
class ArtifactFile:
    """A file of an artifact: its path there, its size in bytes and the sha256 of its bytes.

    ``sha256`` is None until the artifact is sealed, for until then the file may still change.
    """

    artifact_path: str = attrs.field(validator=_path)
    size_bytes: int = attrs.field(validator=_size)
    sha256: str | None = attrs.field(default=None, validator=_sha256)
    description: str | None = attrs.field(default=None, validator=_text)


@attrs.frozen
class ArtifactObject:
    """A Python object of an artifact, stored by ``serializer`` as one file.

    Path, size and sha256 are None until the artifact is sealed.
    """

    name: str = attrs.field(validator=_name)
    serializer: str = attrs.field(validator=_name)
    artifact_path: str | None = attrs.field(default=None, validator=_optional_path)
    size_bytes: int | None = attrs.field(default=None, validator=_size)
    sha256: str | None = attrs.field(default=None, validator=_sha256)
    description: str | None = attrs.field(default=None, validator=_text)


@attrs.frozen
class ArtifactModel:
    """A model of an artifact, stored by the serializer of its framework as a folder of files.

    ``framework`` is None until it is found at sealing; ``files`` are empty until then.
    """

    name: str = attrs.field(validator=_name)
    framework: str | None = attrs.field(default=None, validator=_optional_name)
    files: tuple[ArtifactFile, ...] = ()
    description: str | None = attrs.field(default=None, validator=_text)


@attrs.frozen
class ArtifactReference:
    """Something that an artifact points at and does not hold.

    ``path`` is set for a file of the artifact whose bytes are in Tracelet's own store: its
    ``sha256`` and ``size_bytes`` are then known. ``etag`` is what the place itself calls the
    content, where it was asked.
    """

    uri: str = attrs.field(validator=_text)
    size_bytes: int | None = attrs.field(default=None, validator=_size)
    description: str | None = attrs.field(default=None, validator=_text)
    sha256: str | None = attrs.field(default=None, validator=_sha256)
    etag: str | None = attrs.field(default=None, validator=_text)
    path: str | None = attrs.field(default=None, validator=_optional_path)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.uri, str) or not self.uri:
            raise ArtifactError(f"uri={self.uri!r}: give text such as 's3://bucket/key'.")
        if self.path is not None and (self.sha256 is None or self.size_bytes is None):
            raise ArtifactError(f"{self.path!r}: a stored file's reference needs its size and sha256.")


@attrs.frozen
class Manifest:
    """An artifact, frozen. Its :attr:`digest` is its identity, the same in every backend."""

    name: str = attrs.field(validator=_name)
    type: ArtifactType
    #: One for each put; a delivery that is made twice is found by it.
    put_id: str = attrs.field(validator=_name)
    #: Seconds since the epoch at sealing.
    created_at: float = attrs.field(validator=_time)
    run_id: str | None = attrs.field(default=None, validator=_text)
    description: str | None = attrs.field(default=None, validator=_text)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    files: tuple[ArtifactFile, ...] = ()
    objects: tuple[ArtifactObject, ...] = ()
    models: tuple[ArtifactModel, ...] = ()
    references: tuple[ArtifactReference, ...] = ()
    #: Digests of the artifacts that the run had used.
    inputs: tuple[str, ...] = attrs.field(default=(), validator=_digests)

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

    @property
    def _of_objects(self) -> tuple[ArtifactFile, ...]:
        return tuple(
            ArtifactFile(item.artifact_path, item.size_bytes or 0, item.sha256)
            for item in self.objects
            if item.artifact_path is not None
        )

    @property
    def _of_models(self) -> tuple[ArtifactFile, ...]:
        return tuple(file for model in self.models for file in model.files)

    @property
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
            "references": sorted((attrs.asdict(ref) for ref in self.references if ref.path is None), key=_dumps),
            "inputs": sorted(self.inputs),
        }
        return hashlib.sha256(_dumps(what).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the manifest as JSON text; :meth:`from_json` reads it back."""
        return _dumps(self.to_dict(), indent=1)

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


def plain_metadata(value: Any, where: str = "metadata", depth: int = _DEEPEST) -> Any:
    """Return ``value`` as data that JSON gives back equal, or raise :class:`ArtifactError`.

    Tuples become lists, paths text, and zero-dimensional array scalars (anything with ``item()``
    and an empty ``shape``) Python numbers. NaN and the infinities are kept.
    """
    if depth == 0:
        raise ArtifactError(f"{where} is nested too deeply, or holds itself: flatten it, or add it with add_object.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        check_text(value, where)
        return str.__str__(value)
    if isinstance(value, int):
        if abs(value) >= _LONGEST_INT:
            raise ArtifactError(f"{where} has more than 4000 digits, which JSON readers refuse: give it as text.")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, PurePath):
        return check_text(str(value), where)
    if isinstance(value, Mapping):
        return {
            _metadata_key(key, where): plain_metadata(item, f"{where}[{key!r}]", depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain_metadata(item, f"{where}[{index}]", depth - 1) for index, item in enumerate(value)]
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return plain_metadata(value.item(), where, depth - 1)
    raise ArtifactError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold: give text, numbers, lists or "
        "dicts, or add it with add_object(…, serializer='pickle')."
    )


def _metadata_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise ArtifactError(f"{where} has the key {key!r}: JSON keys are text. Use str({key!r}).")
    if key == _FLOAT_TAG:
        raise ArtifactError(f"{where} has the key {key!r}, which marks NaN in a manifest: choose another.")
    check_text(key, f"a key of {where}")
    return str.__str__(key)


def _tagged(value: Any) -> Any:
    """JSON has no NaN and no infinities: write them so that any JSON reader can."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_FLOAT_TAG}:
            return _NONFINITE[value[_FLOAT_TAG]]
        return {key: _untagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    return value


def _dumps(value: Any, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        _tagged(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent
    )


@functools.cache
def converter() -> Converter:
    """Return the one converter between Tracelet's data classes and plain data.

    Enums are their values, tuples lists, non-finite floats in metadata a tagged object, and
    unknown keys are left out.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(detailed_validation=False)
    made.register_structure_hook(Path, lambda value, _: Path(value))
    made.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, PurePath), str)
    made.register_structure_hook_func(lambda kind: kind == dict[str, Any], lambda value, _: _untagged(dict(value)))
    made.register_unstructure_hook_func(lambda kind: kind == dict[str, Any], _tagged)
    return made
