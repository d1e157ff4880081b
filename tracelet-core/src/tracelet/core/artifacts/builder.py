"""An artifact that is being built."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from tracelet.core.artifacts.checks import (
    MOST_ENTRIES,
    check_count,
    check_name,
    check_new_text,
    check_path,
    check_paths,
    check_place,
)
from tracelet.core.artifacts.entries import (
    ArtifactFile,
    ArtifactModel,
    ArtifactObject,
    ArtifactReference,
    ArtifactType,
    check_type,
)
from tracelet.core.artifacts.local_files import file_entry, files_under
from tracelet.core.artifacts.plain_artifact import plain_artifact
from tracelet.core.display.words import size
from tracelet.core.system.uris import check_uri, stat_uri
from tracelet.exceptions import ArtifactError, ArtifactNotFound, BackendError

__all__ = ["Forms", "TraceletArtifact"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Metadata that says how to store an artifact, and is no part of its content.
_DIRECTIONS = frozenset({"force_reference", "preferred_backends"})


class _Unsaid(str):
    """The text of a default, which is told from the same text given by a user."""

    __slots__ = ()


_JSON = _Unsaid("json")


@attrs.frozen
class _LiveObject:
    entry: ArtifactObject
    value: Any
    #: Whether its serializer is chosen only when it is written, for nobody has given one and nothing could be asked.
    open: bool


@attrs.frozen
class _LiveModel:
    entry: ArtifactModel
    model: Any
    input_example: Any


class Forms(Protocol):
    """Knows whether an object or a model can be stored."""

    def check_object(self, obj: Any, name: str, serializer: str | None) -> str:
        """Return the serializer that is given, or the one that suits the object.

        Raises :class:`~tracelet.ArtifactError` where there is none, or it cannot store the object.
        """
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
        artifact_type: The type, or its text, such as ``"model"``.
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
        artifact_type: ArtifactType | str,
        description: str | None = None,
        *,
        forms: Forms | None = None,
    ) -> None:
        self._name = check_name(name)
        self._type = check_type(artifact_type)
        self._description = check_new_text(description, "description")
        self._metadata: dict[str, Any] = {}
        #: Where each file is, as text: a hundred thousand paths of pathlib take three times the memory.
        self._sources: dict[str, tuple[ArtifactFile, str]] = {}
        self._folders: set[str] = set()
        self._objects: dict[str, _LiveObject] = {}
        self._models: dict[str, _LiveModel] = {}
        self._references: dict[str, ArtifactReference] = {}
        self._warnings: list[str] = []
        self._forms = forms

    def __repr__(self) -> str:
        parts = len(self._sources) + len(self._objects) + len(self._models) + len(self._references)
        return f"<TraceletArtifact {self._name!r} {self._type.value}, {parts} entries>"

    def _repr_html_(self) -> str:
        """Show it in a notebook, with what is in a few small files."""
        from tracelet.core.artifacts.artifact_card import artifact_card, worth_showing
        from tracelet.core.display.previews import preview_of

        paths, remarks = worth_showing(self.files)
        shown = [(path, preview_of(Path(self._sources[path][1]), path)) for path in paths]
        known = [("size", size(self.size_bytes))]
        return artifact_card(self, f"{self._type.value}, not logged yet", known, shown, [*remarks, *self._warnings])

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
        self._add_sources([(file_entry(source, check_path(target), description), str(source))])
        return self

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        artifact_path: str | None = None,
        *,
        follow_links: bool = False,
    ) -> TraceletArtifact:
        """Add all files under a local folder, at their paths relative to that folder.

        Empty folders, and a tracelet directory (``.tracelet``), are left out, with a warning. If one file cannot be added, none is.

        Args:
            local_path: The folder.
            artifact_path: A folder in the artifact to put the files into; by default they are at its top.
            follow_links: Whether symbolic links that lead out of the folder are followed, too, as folders of links need
                it. By default only those are followed that stay inside.

        Returns:
            The artifact itself.

        Raises:
            ArtifactError: There is no such folder, it has no files, a file cannot be added, a link leads out of the
                folder, or links go in a circle.
            UnsafePath: A path in the artifact could lead out of a folder.

        Example:
            >>> [file.artifact_path for file in artifact.add_dir("data", "images").files]
            ['images/0.png', 'images/1.png']
        """
        root = Path(check_place(local_path))
        if not os.path.isdir(root):  # noqa: PTH112 - it answers for paths that are too long, too
            raise ArtifactError(f"{str(root)!r} is not a folder: use add_file for a file.")
        prefix = "" if artifact_path is None else check_path(artifact_path) + "/"
        if not isinstance(follow_links, bool):
            raise ArtifactError(f"follow_links={follow_links!r}: give True or False.")
        above = len(os.path.join(root, ""))  # noqa: PTH118 - the folder "/" ends in one already
        empty: list[Path] = []
        own: list[Path] = []
        found = [
            (file_entry(source, check_path(prefix + source[above:]), None), source)
            for source in itertools.islice(files_under(root, empty, own, follow_links=follow_links), MOST_ENTRIES + 1)
        ]
        if not found:
            raise ArtifactError(f"there is no file in {str(root)!r}: give a folder that has some, or write them first.")
        self._add_sources(found)
        for folder in own:
            self._warn(f"{str(folder)!r} is a tracelet directory, and left out: what was logged is in it.")
        if empty:
            more = f" and {len(empty) - 1} more" if empty[1:] else ""
            self._warn(
                f"{str(min(empty))!r}{more} {'are empty folders' if more else 'is an empty folder'}, and left out: artifacts "
                "hold files."
            )
        return self

    def add_object(
        self, obj: Any, name: str, serializer: str | None = _JSON, description: str | None = None
    ) -> TraceletArtifact:
        """Add a Python object. It is checked now, and written in the state that it has when the artifact is logged.

        Args:
            obj: The object.
            name: The name of the object in this artifact.
            serializer: What writes and reads it: ``"json"``, ``"yaml"``, ``"pickle"``, ``"parquet"``, ``"csv"``,
                ``"npy"``, ``"npz"``, ``"png"``, ``"plotly"``, or the serializer of a plugin. Where none is given, it is
                JSON, or, for a table, an array, a picture or a figure that JSON does not take, the one that is made for it.
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
        given = None if serializer is _JSON else serializer
        entry = ArtifactObject(
            name, "json" if given is None else given, description=check_new_text(description, "description")
        )
        if name in self._objects:
            raise ArtifactError(f"an object {name!r} is in {self._name!r} already: give this one another name.")
        if self._forms is not None:
            entry = attrs.evolve(entry, serializer=self._forms.check_object(obj, name, given))
        self._objects[name] = _LiveObject(entry, obj, open=given is None and self._forms is None)
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
        """Warn, now and in the results, that something is stored in another way than it was given."""
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

        ``docs/reference/objects.md`` lists the values that have a plain form. They are checked when the artifact is logged.
        """
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise ArtifactError(f"metadata={value!r} is not a dict: give one, such as {{'accuracy': 0.9}}.")
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
        return plain_artifact(self)

    def _add_sources(self, found: list[tuple[ArtifactFile, str]]) -> None:
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
