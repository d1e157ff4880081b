"""An artifact that cannot change any more, as data: its entries, its digest, and its JSON."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import Any, BinaryIO

import attrs

from tracelet.core.artifacts.checks import (
    MOST_ENTRIES,
    check_apart,
    check_count,
    digests_field,
    name_field,
    text_field,
    time_field,
)
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference, ArtifactType
from tracelet.core.artifacts.manifest_text import canonical, lines_of, taken_apart, written
from tracelet.core.artifacts.plain import converter, dumps, is_deeper, optional, real, text, unknown, untagged
from tracelet.core.system.messages import sentence, words_of
from tracelet.core.system.schemas import check_schema
from tracelet.exceptions import ArtifactError, IntegrityError, TraceletError, UnsafePath

__all__ = ["MOST_BYTES", "ROUTING_KEYS", "Manifest", "identity"]

#: Metadata that says where an artifact goes, not what it is: no part of the digest.
ROUTING_KEYS = ("preferred_backends", "force_reference")

_SCHEMA = 1
#: Where a later release puts what does not make the artifact another one, in a manifest or an entry.
_NOTES = "notes"
#: The fields that are rows of entries.
_ROWS = ("files", "objects", "models", "references")
#: What a document has besides the manifest's own fields.
_WRAPPING = frozenset({"schema", "digest"})
#: The fields that belong to this copy of the artifact, and not to its content: no part of the digest.
_OF_THE_COPY = frozenset({"digest", "name", "put_id", "created_at", "run_id", _NOTES})
#: The most bytes of a manifest that are read, and the most levels of its metadata; at most half are written.
MOST_BYTES = 128 << 20
_DEEPEST = 128
#: Bytes that are read at a time; a manifest of more is read in pieces.
_BLOCK = 1 << 18
#: The digest of fewer files is taken of their whole text at once.
_FEW = 500
_NAME, _PATH = itemgetter("name"), itemgetter("artifact_path")


@attrs.frozen
class Manifest:
    """An artifact, frozen. Its :attr:`digest` is its identity, the same in every backend."""

    name: str = attrs.field(validator=name_field)
    type: ArtifactType
    #: Each put has its own: a delivery that is repeated is found by it.
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
    inputs: tuple[str, ...] = attrs.field(default=(), validator=digests_field)
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.extra:
            # One in a delivery needs no schema, and may have it: it says as much there as elsewhere.
            check_schema(self.extra, _SCHEMA, "a manifest")
        if not (self.objects or self.models or self.references):  # most of the thousands that a listing reads
            check_count(len(self.files))
            if len(self.files) > 1:
                check_apart(file.artifact_path for file in self.files)
            return
        models = self._of_models
        check_count(len(self.files) + len(self.objects) + len(models) + len(self.references))
        made = (*self._of_objects, *models)
        own = [file.artifact_path for file in (*self.files, *made)]
        if not self.stored:
            check_apart(own)
            return
        entries = {file.artifact_path: file for file in made}
        check_apart([*own, *(file.artifact_path for file in self.stored if file.artifact_path not in entries)])
        check_apart(file.artifact_path for file in self.stored)
        for file in self.stored:
            # The digest counts the entry alone, so the reference must agree with it.
            entry = entries.get(file.artifact_path, file)
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
            ArtifactFile(ref.path, ref.size_bytes or 0, ref.sha256, ref.description, extra=ref.extra)
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
    def held_bytes(self) -> int:
        """Bytes of the files that a backend holds."""
        return sum(file.size_bytes for file in self.payload)

    @property
    def size_bytes(self) -> int:
        """Bytes of everything in it, references with a known size included."""
        return self.held_bytes + sum(ref.size_bytes or 0 for ref in self.references)

    def as_complete_as(self, other: Manifest) -> bool:
        """Return whether a backend that holds this version has all the files that it would have of ``other``."""
        return {file.artifact_path for file in self.payload} >= {file.artifact_path for file in other.payload}

    @functools.cached_property
    def digest(self) -> str:
        """The sha256, in hexadecimal, over what the artifact is.

        Taken over canonical JSON (sorted keys, no white space, UTF-8) of type, description,
        metadata, entries, references and inputs; not of name, time, run or routing keys, nor of the
        order in which things were added. A file counts the same whether a backend or Tracelet's store
        holds its bytes.
        """
        document = identity(self._plain())
        return _digest(document, sorted((*self.files, *document["files"]), key=_path_of))

    def _plain(self) -> dict[str, Any]:
        """Return the manifest without its files as plain data."""
        plain: dict[str, Any] = converter().unstructure(attrs.evolve(self, files=()) if self.files else self)
        return plain

    def to_json(self) -> str:
        """Return the manifest as JSON text; :meth:`from_json` reads it back.

        Raises :class:`ArtifactError` where it would be too long.
        """
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """Yield the text of :meth:`to_json` in pieces, of which none is long; raises as it does."""
        size = 0
        for piece in written({**self._plain(), "schema": _SCHEMA, "digest": self.digest}, self.files):
            size += len(piece.encode())
            if size > MOST_BYTES // 2:
                raise ArtifactError(
                    f"the manifest of {self.name!r} has more bytes than the {MOST_BYTES // 2:,} that are the most: put "
                    "files into an archive, or large metadata into a file."
                )
            yield piece

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as plain data that JSON can hold, with its digest and schema."""
        # Last: a delivery whose manifest said what it has here would be stored with that, and nobody could read it.
        return {**converter().unstructure(self), "schema": _SCHEMA, "digest": self.digest}

    @classmethod
    def read(cls, opened: Callable[[], BinaryIO]) -> Manifest:
        """Read what :meth:`pieces` gave, of a stream that may be opened twice; raises as :meth:`from_json` does.

        What lists many files is read in pieces. Text that is not as this release writes it is read as a whole.
        """
        with opened() as stream:
            blocks = iter(partial(stream.read, _BLOCK), b"")
            begin, more = next(blocks, b""), next(blocks, b"")
            if not more:
                return cls.from_json(begin)
            # Whatever is wrong in pieces is told, or is not wrong, as a whole.
            with contextlib.suppress(
                ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, TraceletError
            ):
                every = islice(chain([begin, more], blocks), MOST_BYTES // _BLOCK)
                text, files = taken_apart(lines_of(every), _loads, ArtifactFile.from_plain)
                if not next(blocks, b""):
                    return cls._made(_loads(text), files)
        with opened() as stream:
            # One block more than what may be there, so that more is found out.
            return cls.from_json(b"".join(islice(iter(partial(stream.read, _BLOCK), b""), MOST_BYTES // _BLOCK + 1)))

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises :class:`UnsafePath` for a name or path that must not be followed, :class:`NewerFormat` for the
        manifest of a later release that this one must not guess at, and :class:`IntegrityError` for anything else
        that is not a manifest, or not the one whose digest it bears, or longer than any that is written.
        """
        if len(text) > MOST_BYTES:
            raise IntegrityError(f"a manifest has {len(text):,} bytes, and {MOST_BYTES:,} are the most that are read.")
        try:
            plain = text.decode() if isinstance(text, bytes) else text
            data = _loads(plain)
        except (RecursionError, ValueError) as error:
            raise IntegrityError(f"a manifest is not JSON: {sentence(error)}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Read what :meth:`to_dict` gave; raises as :meth:`from_json` does."""
        return cls._made(data, ())

    @classmethod
    def _made(cls, data: Any, files: Sequence[ArtifactFile]) -> Manifest:
        """Return the manifest of a document; ``files`` are those that were taken out of it."""
        if not isinstance(data, dict) or "schema" not in data:
            raise IntegrityError("it is no manifest: it has no schema.")
        try:
            check_schema(data, _SCHEMA, "a manifest")
        except ValueError as error:
            raise IntegrityError(f"it is no manifest: {sentence(error)}") from error
        listed = [len(entries) for kind in _ROWS if isinstance(entries := data.get(kind), list)]
        if sum(listed) + len(files) > MOST_ENTRIES:
            raise IntegrityError(f"a manifest lists more than {MOST_ENTRIES:,} entries, which no artifact has.")
        if is_deeper(data.get("metadata"), _DEEPEST):
            raise IntegrityError(f"the metadata of a manifest is nested more than {_DEEPEST} levels deep.")
        document = _without(data, _WRAPPING)
        try:
            manifest = cls.from_plain(document)
            if files:
                manifest = attrs.evolve(manifest, files=tuple(files))
            # Data that is taken as it is has the digest of the manifest made of it, which is made in half the time.
            elif _digest_as_written(document) == data.get("digest"):
                object.__setattr__(manifest, "digest", data["digest"])
            digest = manifest.digest
            manifest.check_sealed()
        except UnsafePath:
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"a manifest cannot be read: {sentence(words_of(error))}") from error
        if data.get("digest") != digest:
            raise IntegrityError(
                f"the manifest of {manifest.name!r} was changed: it bears another digest than its own."
            )
        return manifest

    @classmethod
    def from_plain(cls, data: Any) -> Manifest:
        """Return one of plain data without its digest. Raises what Python raises for what is missing there, or is of another kind."""
        return cls(
            text(data["name"]),
            ArtifactType(data["type"]),
            text(data["put_id"]),
            real(data["created_at"]),
            optional(text, data, "run_id"),
            optional(text, data, "description"),
            untagged(dict(data.get("metadata", ()))),
            tuple(map(ArtifactFile.from_plain, data.get("files", ()))),
            tuple(map(ArtifactObject.from_plain, data.get("objects", ()))),
            tuple(map(ArtifactModel.from_plain, data.get("models", ()))),
            tuple(map(ArtifactReference.from_plain, data.get("references", ()))),
            tuple(map(text, data.get("inputs", ()))),
            extra=unknown(data, cls),
        )

    def check_sealed(self) -> None:
        """Raise ``ValueError`` where something is missing that sealing fills in."""
        # What is in Tracelet's own store has both, or could not be a reference.
        files = (*self.files, *self._of_models) if self.models else self.files
        objects = [None in {one.artifact_path, one.size_bytes, one.sha256} for one in self.objects]
        if None in [file.sha256 for file in files] or True in objects:
            raise ValueError("a file or an object has no path, size or sha256")


def _digest(document: Mapping[str, Any], files: Collection[Mapping[str, Any] | ArtifactFile]) -> str:
    """Return the digest of an identity with these files; an entry is plain data only while its piece of the text is made."""
    plain = map(_as_plain, files)
    if len(files) < _FEW:  # in a third of the time
        return _sha256_of({**document, "files": [*plain]})
    found = hashlib.sha256()
    for piece in canonical(document, plain):
        found.update(piece)
    return found.hexdigest()


def _sha256_of(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(dumps(document).encode()).hexdigest()


def _digest_as_written(document: Mapping[str, Any]) -> str | None:
    """Return the digest of a manifest's document; None where a field was left out that has a default."""
    try:
        own = identity(document)
        # Those of few files, of which a listing reads thousands, are not copied once more.
        return _sha256_of(own) if len(own["files"]) < _FEW else _digest(own, own["files"])
    except KeyError:
        return None


def identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the digest is taken of: a manifest's document without what is only of this copy of the artifact.

    Args:
        document: A manifest as plain data, as :meth:`Manifest.to_dict` gives it. A field that this release does not
            know is part of the identity, but for ``notes``.

    Returns:
        Plain data. The digest is the sha256 of its canonical JSON. A file whose bytes are in Tracelet's own store is a file
        like any other there. ``docs/reference/format.md`` describes it.

    """
    own = _without(document, _OF_THE_COPY)
    files, references = [*map(_essence, document["files"])], [*map(_essence, document["references"])]
    objects, models = (
        sorted(map(_essence, document["objects"]), key=_NAME),
        sorted(map(_essence, document["models"]), key=_NAME),
    )
    if references:
        made = {file["artifact_path"] for file in (*objects, *(file for model in models for file in model["files"]))}
        files += [_as_file(ref) for ref in references if ref["path"] is not None and ref["path"] not in made]
    files.sort(key=_PATH)
    own["schema"] = 1
    own["metadata"] = _without(document["metadata"], ROUTING_KEYS)
    own["files"] = files
    own["objects"] = objects
    own["models"] = [{**model, "files": [*map(_essence, model["files"])]} for model in models]
    own["references"] = sorted([ref for ref in references if ref["path"] is None], key=dumps) if references else []
    own["inputs"] = sorted(document["inputs"])
    return own


def _path_of(file: Mapping[str, Any] | ArtifactFile) -> str:
    return file.artifact_path if isinstance(file, ArtifactFile) else str(file["artifact_path"])


def _as_plain(file: Mapping[str, Any] | ArtifactFile) -> Mapping[str, Any]:
    return _essence(converter().unstructure(file)) if isinstance(file, ArtifactFile) else file


def _loads(text: str) -> Any:
    return _decoder().decode(text)


@functools.cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


def _without(data: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return a copy of plain data without some keys."""
    rest = {**data}
    for key in keys:
        rest.pop(key, None)
    return rest


def _essence(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in entry.items() if key != _NOTES} if _NOTES in entry else entry


def _as_file(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file that a reference to Tracelet's own store stands for. Its place is no part of the content."""
    file = {key: value for key, value in reference.items() if key not in {"uri", "etag", "path"}}
    return {**file, "artifact_path": reference["path"], "size_bytes": reference["size_bytes"] or 0}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ``ValueError`` where a key is in it twice: readers differ in which they take."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
