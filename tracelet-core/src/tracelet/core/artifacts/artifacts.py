"""An artifact while it is being built, and as retrieval gives it back."""

from __future__ import annotations

import copy
import itertools
import logging
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import attrs

from tracelet.core.artifacts.entries import (
    MOST_ENTRIES,
    ArtifactFile,
    ArtifactModel,
    ArtifactObject,
    ArtifactReference,
    ArtifactType,
    check_count,
    check_name,
    check_new_text,
    check_path,
    check_paths,
    check_place,
    check_type,
)
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.plain import converter, plain_metadata
from tracelet.core.system.uris import check_uri, stat_uri
from tracelet.exceptions import ArtifactError, ArtifactNotFound, BackendError, ConfigError

__all__ = ["ContentSource", "Forms", "LoggedArtifact", "TraceletArtifact"]


_LOG = logging.getLogger("tracelet.artifacts")
#: Metadata that says how an artifact is stored, and nothing of what it is.
_DIRECTIONS = frozenset({"force_reference", "preferred_backends"})


@attrs.frozen
class _LiveObject:
    entry: ArtifactObject
    value: Any


@attrs.frozen
class _LiveModel:
    entry: ArtifactModel
    model: Any
    input_example: Any


class Forms(Protocol):
    """Knows whether an object or a model can be stored."""

    def check_object(self, obj: Any, name: str, serializer: str) -> None:
        """Raise :class:`~tracelet.ArtifactError` where there is no such serializer, or it cannot store the object."""
        ...

    def check_model(self, model: Any, name: str, framework: str | None) -> None:
        """Raise :class:`~tracelet.ArtifactError` where no framework, or not this one, can store the model."""
        ...


class TraceletArtifact:
    """A named, typed set of files, objects, models and references, while it is being built.

    ``add_*`` methods check their arguments at once and return the artifact, so that they chain.
    Files are only named here: their bytes are read when the artifact is logged. Raises
    :class:`~tracelet.ArtifactError` for what no backend could store. ``create_artifact`` makes one that
    knows by ``forms`` what the installed serializers can store; one without learns it when it is logged.
    """

    def __init__(
        self,
        name: str,
        artifact_type: ArtifactType,
        description: str | None = None,
        *,
        forms: Forms | None = None,
    ) -> None:
        self._name = check_name(name)
        self._type = check_type(artifact_type)
        self._description = check_new_text(description, "description")
        self._metadata: dict[str, Any] = {}
        self._sources: dict[str, tuple[ArtifactFile, Path]] = {}
        self._folders: set[str] = set()
        self._objects: dict[str, _LiveObject] = {}
        self._models: dict[str, _LiveModel] = {}
        self._references: dict[str, ArtifactReference] = {}
        self._warnings: list[str] = []
        self._forms = forms

    def __repr__(self) -> str:
        parts = len(self._sources) + len(self._objects) + len(self._models) + len(self._references)
        return f"<TraceletArtifact {self._name!r} {self._type.value}, {parts} entries>"

    def add_file(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None, description: str | None = None
    ) -> TraceletArtifact:
        """Add a local file; its path in the artifact is its own name unless one is given.

        Raises :class:`~tracelet.ArtifactError` where there is no such regular file or the path is
        taken, :class:`~tracelet.exceptions.UnsafePath` for a path that could leave its folder.
        """
        source = Path(check_place(local_path))
        target = source.name if artifact_path is None else artifact_path
        self._add_sources([self._file_entry(source, check_path(target), description)])
        return self

    def add_dir(self, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> TraceletArtifact:
        """Add every file under a local folder, at its path relative to that folder.

        ``artifact_path`` is a folder in the artifact to put them under. Symbolic links are followed
        only while they stay inside the folder. Raises as :meth:`add_file` does, and where there is no file in it; an
        artifact to which one file cannot be added gets none of them. Empty folders are left out, with a warning.
        """
        root = Path(check_place(local_path))
        if not os.path.isdir(root):  # noqa: PTH112 - it answers for paths that are too long, too
            raise ArtifactError(f"{str(root)!r} is not a folder: use add_file for a file.")
        prefix = "" if artifact_path is None else check_path(artifact_path) + "/"
        empty: list[Path] = []
        found = [
            self._file_entry(source, check_path(prefix + source.relative_to(root).as_posix()), None)
            for source in itertools.islice(_walk(root, empty), MOST_ENTRIES + 1)
        ]
        if not found:
            raise ArtifactError(f"there is no file in {str(root)!r}: give a folder that has some, or write them first.")
        self._add_sources(found)
        if empty:
            more = f" and {len(empty) - 1} more" if empty[1:] else ""
            self._warn(
                f"{str(min(empty))!r}{more} {'are empty folders' if more else 'is an empty folder'}, and left out: artifacts "
                "hold files."
            )
        return self

    def add_object(
        self, obj: Any, name: str, serializer: str = "json", description: str | None = None
    ) -> TraceletArtifact:
        """Add a Python object, stored by ``serializer``: ``json``, ``yaml``, ``pickle`` or a plugin's.

        It is checked now and serialised when the artifact is logged, as it is then. Raises
        :class:`~tracelet.ArtifactError` where the name is taken, where there is no such serializer, and for what would
        not come back equal: it says which key that is under.
        """
        entry = ArtifactObject(name, serializer, description=check_new_text(description, "description"))
        if name in self._objects:
            raise ArtifactError(f"an object {name!r} is in {self._name!r} already: give this one another name.")
        if self._forms is not None:
            self._forms.check_object(obj, name, serializer)
        self._objects[name] = _LiveObject(entry, obj)
        return self

    def add_reference(
        self, uri: str, size_bytes: int | None = None, description: str | None = None, *, checksum: bool = False
    ) -> TraceletArtifact:
        """Add something that stays where it is; any URI scheme. Nothing is copied.

        Passwords, tokens and secret parameters are left out of what is recorded; where there were any, a
        warning says which, and so does ``warnings`` of the results. ``checksum=True`` asks the place, by fsspec,
        for size and etag, and reads what has no etag for its sha256. Raises :class:`~tracelet.ArtifactError` for
        what is no URI, names no host or bucket where its scheme wants one, is here already, cannot be read for its
        checksum, or has another size than ``size_bytes``.
        """
        found = check_uri(uri)
        clean = found.uri
        entry = ArtifactReference(clean, size_bytes, check_new_text(description, "description"))
        if clean in self._references:
            raise ArtifactError(f"{clean!r} is in {self._name!r} already: one reference to a place is enough.")
        self._references[clean] = _with_checksum(entry, uri) if checksum else entry
        if found.cut:
            self._warn(f"{clean!r} is recorded without {', '.join(found.cut)}: secrets are not written down.")
        return self

    def add_model(
        self,
        model: Any,
        framework: str | None = None,
        input_example: Any = None,
        description: str | None = None,
        *,
        name: str = "model",
    ) -> TraceletArtifact:
        """Add a live model; its framework is found from its own classes unless it is given.

        It is written when the artifact is logged, in a form that is safe to load where its framework has
        one. A second model in one artifact needs a ``name`` of its own. ``input_example`` is stored beside the model, as
        ``models/<name>/input_example.json``, or ``.npy`` or ``.npz`` for arrays: it is content as all else is. Raises
        :class:`~tracelet.ArtifactError` for what is no model of that framework, or of any, and where the name is taken.
        """
        entry = ArtifactModel(name, framework, description=check_new_text(description, "description"))
        if model is None:
            raise ArtifactError("add_model got None: give the model object itself.")
        if name in self._models:
            raise ArtifactError(f"a model {name!r} is in {self._name!r} already: give this one a name=.")
        if self._forms is not None:
            self._forms.check_model(model, name, framework)
        self._models[name] = _LiveModel(entry, model, input_example)
        return self

    def check_content(self) -> None:
        """Raise :class:`~tracelet.ArtifactError` where there is nothing to store: metadata alone is something."""
        if not (
            self._sources or self._objects or self._models or self._references or set(self._metadata) - _DIRECTIONS
        ):
            raise ArtifactError(
                f"there is nothing in {self._name!r}: add a file, object, model or reference, or give it metadata."
            )

    def _warn(self, text: str) -> None:
        """Say what is stored otherwise than it was given: now, and in the results."""
        self._warnings.append(text)
        _LOG.warning("%s: %s", self._name, text)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def type(self) -> ArtifactType:
        """Its type."""
        return self._type

    @property
    def description(self) -> str | None:
        """What its author writes about it. Setting it to what is not text raises :class:`~tracelet.ArtifactError`."""
        return self._description

    @description.setter
    def description(self, value: str | None) -> None:
        self._description = check_new_text(value, "description")

    @property
    def metadata(self) -> dict[str, Any]:
        """What has a plain form, see the guide's table, searchable where the backend can search; checked when it is logged."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise ArtifactError(f"metadata={value!r} is no dict: give one, such as {{'accuracy': 0.9}}.")
        self._metadata = dict(value)

    @property
    def size_bytes(self) -> int:
        """Bytes of the files and of the references whose size is known.

        Objects and models do not count: they have no bytes before they are serialised, and that is when the artifact
        is logged. ``size_bytes`` of the results, and of the stored version, has all of them.
        """
        return sum(file.size_bytes for file in self.files) + sum(ref.size_bytes or 0 for ref in self.references)

    @property
    def files(self) -> list[ArtifactFile]:
        """Its files; their sha256 is None, for they may still change."""
        return [entry for entry, _ in self._sources.values()]

    @property
    def objects(self) -> list[ArtifactObject]:
        """Its objects."""
        return [live.entry for live in self._objects.values()]

    @property
    def models(self) -> list[ArtifactModel]:
        """Its models."""
        return [live.entry for live in self._models.values()]

    @property
    def references(self) -> list[ArtifactReference]:
        """Its references."""
        return list(self._references.values())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: name, type, description, metadata, size and entries.

        Raises :class:`~tracelet.ArtifactError` for metadata that has no plain form.
        """
        return _plain(self)

    def _file_entry(self, source: Path, artifact_path: str, description: str | None) -> tuple[ArtifactFile, Path]:
        try:
            status = source.stat()
        except OSError as error:
            raise ArtifactError(f"{str(source)!r} cannot be added: {error.strerror or error}.") from error
        if stat.S_ISDIR(status.st_mode):
            raise ArtifactError(f"{str(source)!r} is a folder: use add_dir.")
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{str(source)!r} is not a regular file: only files can be stored.")
        if not os.access(source, os.R_OK):
            raise ArtifactError(f"{str(source)!r} cannot be read: check its permissions.")
        return ArtifactFile(
            artifact_path, status.st_size, description=check_new_text(description, "description")
        ), source

    def _add_sources(self, found: list[tuple[ArtifactFile, Path]]) -> None:
        check_count(len(self._sources) + len(found))
        self._folders |= check_paths((entry.artifact_path for entry, _ in found), self._sources, self._folders)
        self._sources.update({entry.artifact_path: (entry, source) for entry, source in found})


def _with_checksum(entry: ArtifactReference, uri: str) -> ArtifactReference:
    try:
        fact = stat_uri(uri)
    except (ArtifactNotFound, BackendError) as error:
        raise ArtifactError(f"there is no checksum: {error} Leave checksum= out to add it unseen.") from error
    if entry.size_bytes not in {None, fact.size_bytes}:
        raise ArtifactError(f"{entry.uri!r} has {fact.size_bytes} bytes, and not size_bytes={entry.size_bytes}.")
    return attrs.evolve(entry, size_bytes=fact.size_bytes, etag=fact.etag, sha256=fact.sha256)


def _walk(root: Path, empty: list[Path]) -> Iterator[Path]:
    """Yield the files under ``root`` in order, and note the empty folders; links are followed only while they stay inside."""
    inside = os.path.realpath(root)
    folders = [(root, frozenset({inside}))]
    while folders:
        folder, above = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise ArtifactError(f"{str(folder)!r} cannot be read: {error.strerror or error}.") from error
        if not entries:
            empty.append(folder)
        for entry in entries:
            real = os.path.realpath(entry)
            if entry.is_symlink() and not Path(real).exists():
                raise ArtifactError(
                    f"{str(entry)!r} is a link to {real!r}, which is not there: mend or delete the link, or add the "
                    "other files one by one with add_file."
                )
            if entry.is_symlink() and not Path(real).is_relative_to(inside):
                raise ArtifactError(f"{str(entry)!r} is a link out of the folder: add its target with add_file.")
            if not entry.is_dir():
                yield entry
            elif real not in above:
                folders.append((entry, above | {real}))


def _plain(artifact: TraceletArtifact | LoggedArtifact) -> dict[str, Any]:
    plain = converter().unstructure
    return {
        "name": artifact.name,
        "type": artifact.type.value,
        "description": artifact.description,
        "size_bytes": artifact.size_bytes,
        "files": [plain(file) for file in artifact.files],
        "objects": [plain(item) for item in artifact.objects],
        "models": [plain(model) for model in artifact.models],
        "references": [plain(ref) for ref in artifact.references],
        "metadata": plain_metadata(artifact.metadata),
    }


class ContentSource(Protocol):
    """Where a logged artifact gets its content from."""

    def download(
        self, artifact: LoggedArtifact, dest: Path | None, paths: Collection[str] | None, references: bool, trust: bool
    ) -> Path:
        """Bring files under ``dest``, verified, and return it."""
        ...

    def load(self, artifact: LoggedArtifact, entry: ArtifactObject | ArtifactModel, trust: bool) -> Any:
        """Bring one object or model to life."""
        ...


@attrs.frozen(eq=False, repr=False)
class LoggedArtifact:
    """A stored version of an artifact. It reads like a :class:`TraceletArtifact`, and cannot change."""

    manifest: Manifest
    #: The caller's label, or ``v0``, ``v1``, … as the backend counts.
    version: str
    #: The backend that holds this version.
    backend: str
    #: Where the backend keeps it.
    uri: str
    #: Movable names that point at it now; ``latest`` is not listed.
    aliases: tuple[str, ...]
    _content: ContentSource
    #: True where only this machine has it so far, and the backend's own server does not.
    pending: bool = False

    def __repr__(self) -> str:
        return (
            f"<LoggedArtifact {self.name!r} {self.version}, {self.type.value}, {self.size_bytes} bytes, "
            f"in {self.backend}{', pending' if self.pending else ''}>"
        )

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    @property
    def type(self) -> ArtifactType:
        """Its type."""
        return self.manifest.type

    @property
    def description(self) -> str | None:
        """What its author wrote about it."""
        return self.manifest.description

    @property
    def size_bytes(self) -> int:
        """Bytes of everything in it, references of known size included."""
        return self.manifest.size_bytes

    @property
    def files(self) -> list[ArtifactFile]:
        """Its files that the backend holds; large ones are among :attr:`references`, with a path."""
        return list(self.manifest.files)

    @property
    def objects(self) -> list[ArtifactObject]:
        """Its objects; :meth:`load_object` brings one back."""
        return list(self.manifest.objects)

    @property
    def models(self) -> list[ArtifactModel]:
        """Its models; :meth:`load_model` brings one back."""
        return list(self.manifest.models)

    @property
    def references(self) -> list[ArtifactReference]:
        """What it points at and does not hold."""
        return list(self.manifest.references)

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of its metadata."""
        return copy.deepcopy(self.manifest.metadata)

    @property
    def digest(self) -> str:
        """Its identity: sha256, in hexadecimal, the same in every backend."""
        return self.manifest.digest

    @property
    def created_at(self) -> float:
        """Seconds since the epoch when it was logged."""
        return self.manifest.created_at

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: what a builder gives, and version, aliases, backend, uri, digest, time."""
        return {
            **_plain(self),
            "version": self.version,
            "aliases": list(self.aliases),
            "backend": self.backend,
            "uri": self.uri,
            "digest": self.digest,
            "created_at": self.created_at,
            "pending": self.pending,
        }

    def download(
        self,
        dest: str | os.PathLike[str] | None = None,
        paths: Collection[str] | None = None,
        *,
        references: bool = False,
        trust: bool = False,
    ) -> Path:
        """Bring the files to a folder, each verified against its sha256, and return that folder.

        ``dest`` is made where needed; by default it is a folder of this version's own in the tracelet
        directory. ``paths`` limits it to some paths of the artifact. Files that are there already with
        the right bytes are not fetched again. ``references=True`` also fetches what references point
        at (to ``references/``, by fsspec); ``file:`` ones need ``trust=True`` too, for a manifest
        must not make its reader copy private files.

        Raises :class:`~tracelet.ArtifactNotFound` for a path that is not in it, or large-file bytes that
        are in another machine's store, :class:`~tracelet.IntegrityError` for bytes that are not what the
        manifest says, :class:`~tracelet.BackendError` where the backend fails.
        """
        if paths is not None and not _is_list_of_text(paths):
            raise ConfigError(f"paths={paths!r}: give a list of the artifact's paths as text, such as ['model/w.pt'].")
        folder = None if dest is None else Path(check_place(dest))
        return self._content.download(self, folder, paths, references, trust)

    def open(self, path: str) -> BinaryIO:
        """Fetch and verify one file, and open it for reading bytes. Raises as :meth:`download` does."""
        if not isinstance(path, str):
            raise ConfigError(f"path={path!r}: give the path of one of its files as text, such as 'model/w.pt'.")
        target = self.download(paths=[path]) / path
        if target.is_dir():
            raise ArtifactNotFound(f"{path!r} is a folder of {self.name!r}: open one of its files, or download() it.")
        return target.open("rb")

    def load_object(self, name: str, *, trust: bool = False) -> Any:
        """Bring an object back.

        Raises :class:`~tracelet.exceptions.UnsafeContent` where its serializer runs code when loading
        (pickle) and ``trust`` is not True, :class:`~tracelet.ArtifactNotFound` where there is none.
        """
        return self._content.load(self, _named(name, self.objects, self), trust)

    def load_model(self, name: str | None = None, *, trust: bool = False) -> Any:
        """Bring a model back, ready to predict; ``name`` is needed where there are several.

        Raises :class:`~tracelet.exceptions.UnsafeContent` where loading could run code and ``trust`` is not
        True, :class:`~tracelet.ArtifactNotFound` where there is no such model.
        """
        if name is None and len(self.models) == 1:
            name = self.models[0].name
        if name is None:
            have = ", ".join(model.name for model in self.models)
            hint = f"say which: {have}" if have else "it was logged without add_model; download() gives its files"
            raise ArtifactNotFound(f"{self.name!r} has {len(self.models)} models: {hint}.")
        return self._content.load(self, _named(name, self.models, self), trust)


def _is_list_of_text(values: object) -> bool:
    return (
        isinstance(values, Collection) and not isinstance(values, str) and all(isinstance(one, str) for one in values)
    )


def _named(name: str, entries: list[Any], artifact: LoggedArtifact) -> Any:
    if not isinstance(name, str):
        raise ConfigError(f"name={name!r} is no name: give the text that it was added under.")
    for entry in entries:
        if entry.name == name:
            return entry
    have = ", ".join(entry.name for entry in entries) or "nothing of that kind"
    raise ArtifactNotFound(f"{artifact.name!r} has no {name!r}; it has {have}.")
