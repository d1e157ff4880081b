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
    """A named and typed set of files, objects, models and references that is being built.

    :meth:`Experiment.create_artifact` creates one. The ``add_`` methods check their arguments at once, and return the
    artifact, so that calls can be chained. Files are read when the artifact is logged.

    Args:
        name: The name: 1 to 128 of ``A-Z a-z 0-9 _ . -``.
        artifact_type: The type.
        description: A description for people.
        forms: Checks the arguments of ``add_object`` and ``add_model``. Without it, they are checked when the artifact
            is logged.

    Raises:
        ArtifactError: The name, the type or the description cannot be used.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True)
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL)
        >>> artifact.metadata["accuracy"] = 0.93
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
        """Add a local file.

        Args:
            local_path: The file.
            artifact_path: The path of the file in the artifact; by default its own name.
            description: A description for people.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: There is no such regular file, it cannot be read, or the path in the artifact is taken.
            UnsafePath: The path in the artifact could lead out of a folder.

        Example:
            >>> artifact.add_file("weights.pt", "model/weights.pt").files[0].artifact_path
            'model/weights.pt'
        """
        source = Path(check_place(local_path))
        target = source.name if artifact_path is None else artifact_path
        self._add_sources([self._file_entry(source, check_path(target), description)])
        return self

    def add_dir(self, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> TraceletArtifact:
        """Add all files under a local folder, at their paths relative to that folder.

        Symbolic links are followed as long as they stay inside the folder. Empty folders are left out, with a warning.
        If one file cannot be added, none is.

        Args:
            local_path: The folder.
            artifact_path: A folder in the artifact to put the files into; by default they are at its top.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: There is no such folder, it has no files, or a file cannot be added.
            UnsafePath: A path in the artifact could lead out of a folder.

        Example:
            >>> [file.artifact_path for file in artifact.add_dir("data", "images").files]
            ['images/0.png', 'images/1.png']
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
        """Add a Python object. It is checked now, and written in the state that it has when the artifact is logged.

        Args:
            obj: The object.
            name: The name of the object in this artifact.
            serializer: What writes and reads it: ``"json"``, ``"yaml"``, ``"pickle"``, or the serializer of a plugin.
            description: A description for people.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: The name is taken, there is no such serializer, or the object would not come back equal; the
                message says which key of the object is at fault.

        Example:
            >>> artifact.add_object({"learning_rate": 0.1}, "settings").objects[0].name
            'settings'
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
        """Add a URI of content that stays where it is. Nothing is copied.

        Passwords, tokens and secret parameters are left out of the recorded URI, and a warning says so. The
        ``warnings`` of the results have it too.

        Args:
            uri: The URI, of any scheme.
            size_bytes: The size of the content in bytes, if you know it.
            description: A description for people.
            checksum: Whether to ask the place, by fsspec, for the size and the etag, and to read content without an
                etag for its sha256.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: The URI cannot be used or was added before, its content cannot be read for the checksum, or
                its size is not ``size_bytes``.

        Example:
            >>> artifact.add_reference("s3://bucket/images.tar", size_bytes=4_000_000_000).size_bytes
            4000000000
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
        """Add a live model.

        It is written when the artifact is logged, in a form that is safe to load where its framework has one.

        Args:
            model: The model.
            framework: The name of its framework; by default the class of the model tells.
            input_example: An input of the model. It is stored as ``models/<name>/input_example.npy`` (or ``.npz``) if
                it is made of arrays, else as ``.json``.
            description: A description for people.
            name: The name of the model in this artifact. A second model needs a name of its own.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: The name is taken, or the object is not a model of this framework or of any known one.

        Example:
            >>> import torch
            >>> artifact.add_model(torch.nn.Linear(2, 1), input_example=torch.ones(1, 2)).models[0].name
            'model'
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
        """Check that there is something to store. Metadata alone is enough.

        Raises:
            ArtifactError: The artifact is empty.

        Example:
            >>> artifact.check_content()
        """
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
        """The name."""
        return self._name

    @property
    def type(self) -> ArtifactType:
        """The type."""
        return self._type

    @property
    def description(self) -> str | None:
        """The description for people, or None. A value that is not text raises :class:`~tracelet.ArtifactError`."""
        return self._description

    @description.setter
    def description(self, value: str | None) -> None:
        self._description = check_new_text(value, "description")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata: plain values by name. Backends can search them where they have a search.

        The guide lists the values that have a plain form. They are checked when the artifact is logged.
        """
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise ArtifactError(f"metadata={value!r} is no dict: give one, such as {{'accuracy': 0.9}}.")
        self._metadata = dict(value)

    @property
    def size_bytes(self) -> int:
        """The size in bytes of the files, and of the references whose size is known.

        Objects and models have no size before the artifact is logged. The ``size_bytes`` of the results, and of the
        stored version, include them.
        """
        return sum(file.size_bytes for file in self.files) + sum(ref.size_bytes or 0 for ref in self.references)

    @property
    def files(self) -> list[ArtifactFile]:
        """The files. Their sha256 is None, because they may still change."""
        return [entry for entry, _ in self._sources.values()]

    @property
    def objects(self) -> list[ArtifactObject]:
        """The objects."""
        return [live.entry for live in self._objects.values()]

    @property
    def models(self) -> list[ArtifactModel]:
        """The models."""
        return [live.entry for live in self._models.values()]

    @property
    def references(self) -> list[ArtifactReference]:
        """The references."""
        return list(self._references.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the artifact as plain data.

        Returns:
            A dict with the keys ``name``, ``type``, ``description``, ``size_bytes``, ``files``, ``objects``,
            ``models``, ``references`` and ``metadata``.

        Raises:
            ArtifactError: The metadata has a value without a plain form.

        Example:
            >>> artifact.to_dict()["metadata"]
            {'accuracy': 0.93}
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
    """A stored version of an artifact. It can be read as a :class:`TraceletArtifact` can, and it never changes.

    :meth:`Experiment.get_artifact`, :meth:`Experiment.list_artifacts` and :meth:`Experiment.use_artifact` return it.
    Every byte that it reads is checked against the sha256 in the manifest.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> exp.log_artifact(artifact.add_object({"learning_rate": 0.1}, "settings"))
        <LogResults local: v0>
        >>> logged = exp.get_artifact("classifier")
        >>> logged.version, logged.backend
        ('v0', 'local')
    """

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
        """The name."""
        return self.manifest.name

    @property
    def type(self) -> ArtifactType:
        """The type."""
        return self.manifest.type

    @property
    def description(self) -> str | None:
        """The description for people, or None."""
        return self.manifest.description

    @property
    def size_bytes(self) -> int:
        """The size in bytes of everything in it, including references whose size is known."""
        return self.manifest.size_bytes

    @property
    def files(self) -> list[ArtifactFile]:
        """The files that the backend holds. Large files are in :attr:`references`, with a path."""
        return list(self.manifest.files)

    @property
    def objects(self) -> list[ArtifactObject]:
        """The objects; :meth:`load_object` loads one."""
        return list(self.manifest.objects)

    @property
    def models(self) -> list[ArtifactModel]:
        """The models; :meth:`load_model` loads one."""
        return list(self.manifest.models)

    @property
    def references(self) -> list[ArtifactReference]:
        """The references: content that the artifact names and the backend does not hold."""
        return list(self.manifest.references)

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return copy.deepcopy(self.manifest.metadata)

    @property
    def digest(self) -> str:
        """The sha256 that identifies the content, in hexadecimal; it is the same in every backend."""
        return self.manifest.digest

    @property
    def created_at(self) -> float:
        """When it was logged, in seconds since the epoch."""
        return self.manifest.created_at

    def to_dict(self) -> dict[str, Any]:
        """Return the version as plain data.

        Returns:
            A dict with the keys of :meth:`TraceletArtifact.to_dict`, and ``version``, ``aliases``, ``backend``,
            ``uri``, ``digest``, ``created_at`` and ``pending``.

        Example:
            >>> logged.to_dict()["version"]
            'v0'
        """
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
        """Download the files into a folder, and check each against its sha256.

        A file that is there already, with the right bytes, is not downloaded again.

        Args:
            dest: The folder; it is made if needed. By default it is a folder for this version in the tracelet
                directory.
            paths: Paths of the artifact to download; by default all.
            references: Whether to download the content of references too, by fsspec, into the folder ``references``.
            trust: Whether references to ``file:`` URIs may be downloaded. Without it, a manifest cannot make its reader
                copy private files.

        Returns:
            The folder.

        Raises:
            ArtifactNotFound: A path is not in the artifact, or the bytes of a large file are in the store of another
                machine.
            IntegrityError: The bytes are not those that the manifest names.
            BackendError: The backend fails.

        Example:
            >>> folder = logged.download("there", paths=["weights.pt"])
            >>> (folder / "weights.pt").exists()
            True
        """
        if paths is not None and not _is_list_of_text(paths):
            raise ConfigError(f"paths={paths!r}: give a list of the artifact's paths as text, such as ['model/w.pt'].")
        folder = None if dest is None else Path(check_place(dest))
        return self._content.download(self, folder, paths, references, trust)

    def open(self, path: str) -> BinaryIO:
        """Download and check one file, and open it.

        Args:
            path: The path of the file in the artifact.

        Returns:
            The file, open for reading bytes.

        Raises:
            ArtifactNotFound: The path is not a file of the artifact.
            IntegrityError: The bytes are not those that the manifest names.
            BackendError: The backend fails.

        Example:
            >>> with logged.open("weights.pt") as file:
            ...     file.read()
            b'weights'
        """
        if not isinstance(path, str):
            raise ConfigError(f"path={path!r}: give the path of one of its files as text, such as 'model/w.pt'.")
        target = self.download(paths=[path]) / path
        if target.is_dir():
            raise ArtifactNotFound(f"{path!r} is a folder of {self.name!r}: open one of its files, or download() it.")
        return target.open("rb")

    def load_object(self, name: str, *, trust: bool = False) -> Any:
        """Load an object.

        Args:
            name: The name of the object.
            trust: Whether code in the stored bytes may run. A pickle needs it.

        Returns:
            The object.

        Raises:
            UnsafeContent: Loading could run code, and ``trust`` is not True.
            ArtifactNotFound: There is no such object.
            IntegrityError: The bytes are not those that the manifest names.
            BackendError: The backend fails.

        Example:
            >>> logged.load_object("settings")
            {'learning_rate': 0.1}
        """
        return self._content.load(self, _named(name, self.objects, self), trust)

    def load_model(self, name: str | None = None, *, trust: bool = False) -> Any:
        """Load a model, ready to predict.

        Args:
            name: The name of the model. It is needed where there are several.
            trust: Whether code in the stored bytes may run. A pickle needs it.

        Returns:
            The model.

        Raises:
            UnsafeContent: Loading could run code, and ``trust`` is not True.
            ArtifactNotFound: There is no such model, or there are several and no name was given.
            IntegrityError: The bytes are not those that the manifest names.
            BackendError: The backend fails.

        Example:
            >>> import torch
            >>> exp.log_artifact(exp.create_artifact("linear", ArtifactType.MODEL).add_model(torch.nn.Linear(2, 1)))
            <LogResults local: v0>
            >>> exp.get_artifact("linear").load_model()
            Linear(in_features=2, out_features=1, bias=True)
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
