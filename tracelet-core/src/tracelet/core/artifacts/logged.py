"""A stored version of an artifact, as retrieval gives it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import attrs

from tracelet.core.artifacts.checks import check_place
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference, ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.display.words import moment, size
from tracelet.core.system.signs import sign_of_life
from tracelet.exceptions import ArtifactNotFound, ConfigError, TraceletError

if TYPE_CHECKING:
    from tracelet.core.artifacts.changes import ChangeResults
    from tracelet.core.artifacts.diff import ArtifactDiff
    from tracelet.core.artifacts.lineage import Lineage
    from tracelet.core.artifacts.verified import Verification
    from tracelet.core.display.html import Html
    from tracelet.core.display.previews import Preview

__all__ = ["ContentSource", "LoggedArtifact", "Manager"]

#: Seconds that a cell of a notebook waits for files to show.
_GLANCE = 2.0


class ContentSource(Protocol):
    """Gives the content of a stored version."""

    def download(
        self, artifact: LoggedArtifact, dest: Path | None, paths: Collection[str] | None, references: bool, trust: bool
    ) -> Path:
        """Download files into ``dest``, verify them, and return ``dest``."""
        ...

    def glance(self, artifact: LoggedArtifact, paths: Collection[str], seconds: float) -> Path:
        """Download small files into the folder of this version, as :meth:`download` does, or give up after so long."""
        ...

    def load(self, artifact: LoggedArtifact, entry: ArtifactObject | ArtifactModel, trust: bool) -> Any:
        """Load one object or model."""
        ...


class Manager(Protocol):
    """Changes a stored version in every backend that holds its content."""

    def add_aliases(self, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
        """Move aliases to a version."""
        ...

    def remove_aliases(self, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
        """Take aliases away from a version."""
        ...

    def verify(self, artifact: LoggedArtifact) -> Verification:
        """Read a version back from its backend."""
        ...

    def delete(self, artifact: LoggedArtifact, force: bool) -> ChangeResults:
        """Delete a version; without ``force`` only one that nobody relies on."""
        ...

    def used_by(self, artifact: LoggedArtifact) -> list[LoggedArtifact]:
        """Find the versions that were made from a version."""
        ...

    def lineage(self, artifact: LoggedArtifact, depth: int) -> Lineage:
        """Follow what a version was made from, and what was made from it."""
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
    #: Its place among the versions of this name in this backend, from 0.
    number: int
    #: The label that the caller gave it, which never moves; None where it has none.
    label: str | None
    #: The backend that holds this version.
    backend: str
    #: Where the backend keeps it.
    uri: str
    #: Movable names that point at it now; ``latest`` is not listed.
    aliases: tuple[str, ...]
    _content: ContentSource
    _manager: Callable[[], Manager]
    #: True where only this machine has it so far, and the backend's own server does not.
    pending: bool = False

    def __repr__(self) -> str:
        return (
            f"<LoggedArtifact {self.name!r} {self.version}, {self.type.value}, {self.size_bytes} bytes, "
            f"in {self.backend}{', pending' if self.pending else ''}>"
        )

    def _repr_html_(self) -> str:
        """Show it in a notebook, with what is in a few small files as far as they are here within seconds."""
        from tracelet.core.artifacts.artifact_card import artifact_card
        from tracelet.core.display.cards import copyable, marked
        from tracelet.core.display.html import element

        shown, remarks = self._previews()
        known: list[tuple[str, Html | str]] = [
            ("version", f"{self.label} (v{self.number})" if self.label else self.version),
            ("aliases", marked("", *self.aliases) if self.aliases else ""),
            ("backend", marked(self.backend, *["pending"] * self.pending)),
            ("size", size(self.size_bytes)),
            ("logged", moment(self.created_at)),
            ("digest", copyable(self.digest)),
            ("address", copyable(self.uri)),
            ("run", copyable(self.run_id) if self.run_id else ""),
            ("inputs", element("span", *(copyable(one, short=True) for one in self.inputs)) if self.inputs else ""),
        ]
        return artifact_card(self, f"{self.type.value}, stored", known, shown, remarks)

    def _previews(self) -> tuple[list[tuple[str, Preview]], list[str]]:
        """What a few small files show, by path, and why nothing is shown of them."""
        from tracelet.core.artifacts.artifact_card import worth_showing
        from tracelet.core.display.previews import preview_of

        paths, remarks = worth_showing(self.manifest.payload)
        if not paths:
            return [], remarks
        try:
            folder = self._content.glance(self, paths, _GLANCE)
        except (TraceletError, OSError) as error:
            return [], [f"There are no previews: {error}"]
        return [(path, preview_of(folder / path, path)) for path in paths], remarks

    @property
    def version(self) -> str:
        """The caller's label, or ``v0``, ``v1``, … as the backend counts."""
        return self.label or f"v{self.number}"

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

    @property
    def run_id(self) -> str | None:
        """The id of the run that logged it, or None where its manifest names none."""
        return self.manifest.run_id

    @property
    def inputs(self) -> tuple[str, ...]:
        """The digests of the versions that its run had used before it was logged."""
        return self.manifest.inputs

    def to_dict(self) -> dict[str, Any]:
        """Return the version as plain data.

        Returns:
            A dict with the keys of :meth:`TraceletArtifact.to_dict`, and ``version``, ``number``, ``label``, ``aliases``,
            ``backend``, ``uri``, ``digest``, ``created_at``, ``run_id``, ``inputs`` and ``pending``.

        Example:
            >>> logged.to_dict()["version"]
            'v0'
        """
        from tracelet.core.artifacts.plain_artifact import plain_artifact

        return {
            **plain_artifact(self),
            "version": self.version,
            "number": self.number,
            "label": self.label,
            "aliases": list(self.aliases),
            "backend": self.backend,
            "uri": self.uri,
            "digest": self.digest,
            "created_at": self.created_at,
            "run_id": self.run_id,
            "inputs": list(self.inputs),
            "pending": self.pending,
        }

    def add_alias(self, *names: str) -> ChangeResults:
        """Move aliases to this version, in every configured backend that holds its content.

        Args:
            names: The aliases, such as ``"best"``.

        Returns:
            What became of it in each backend. This object stays as it is: get the version again to see its aliases.

        Raises:
            ArtifactError: A name cannot be an alias.
            VersionConflict: An alias is a label of this name, which never moves.
            ArtifactNotFound: No backend holds this version any more.

        Example:
            >>> logged.add_alias("best")
            <ChangeResults local: v0 (best)>
            >>> exp.get_artifact("classifier", "best").version
            'v0'
        """
        return self._manager().add_aliases(self, _some(names))

    def remove_alias(self, *names: str) -> ChangeResults:
        """Take aliases away from this version, in every configured backend that holds its content.

        An alias that is at another version stays there.

        Args:
            names: The aliases.

        Returns:
            What became of it in each backend.

        Raises:
            ArtifactError: A name cannot be an alias.
            ArtifactNotFound: No backend holds this version any more.

        Example:
            >>> results = logged.add_alias("best", "candidate")
            >>> logged.remove_alias("candidate")
            <ChangeResults local: v0 (best)>
        """
        return self._manager().remove_aliases(self, _some(names))

    def used_by(self) -> list[LoggedArtifact]:
        """Find the versions that were made from this one: what was logged by runs that had used it.

        Returns:
            The versions of this experiment, newest first. What several backends hold is there once. An empty list means that
            there are none.

        Raises:
            BackendError: A backend fails. Its ``answers`` has the versions of the other backends.

        Example:
            >>> used = exp.use_artifact("classifier")
            >>> exp.log_artifact(exp.create_artifact("report", ArtifactType.REPORT).add_file("report.html"))
            <LogResults local: v0>
            >>> [(user.name, user.version) for user in logged.used_by()]
            [('report', 'v0')]
        """
        return self._manager().used_by(self)

    def lineage(self, depth: int = 10) -> Lineage:
        """Follow what this version was made from, and what was made from it, across all backends of the experiment.

        Args:
            depth: How many steps to go, at most 100.

        Returns:
            The tree. ``print()`` shows it.

        Raises:
            ConfigError: ``depth`` cannot be used.

        Example:
            >>> logged.lineage()
            <Lineage of classifier v0: made from 0, used by 0>
        """
        return self._manager().lineage(self, depth)

    def verify(self) -> Verification:
        """Read every byte of this version back from its backend, and from the store of large files, and compare.

        Nothing is kept: a few files at a time go into a folder of the tracelet directory, and are deleted again.

        Returns:
            What is whole, and what is wrong, where it is and how to mend it. References to content outside are counted,
            and not read.

        Raises:
            ArtifactNotFound: The backend does not hold this version any more.
            BackendError: The backend fails before anything is read.

        Example:
            >>> logged.verify()
            <Verification 1 version, 2 files whole (32 B)>
        """
        return self._manager().verify(self)

    def delete(self, force: bool = False) -> ChangeResults:
        """Delete this version, in every configured backend that holds its content.

        What is gone stays gone, and doing it again completes what a backend that was away has missed.

        Args:
            force: Whether to delete it although it has a label, an alias other than ``latest``, or is an input of another
                version.

        Returns:
            What became of it in each backend, and the bytes that became free.

        Raises:
            ProtectedVersion: Others rely on it, in any of the backends, and ``force`` is not True. Nothing was deleted.

        Example:
            >>> exp.log_artifact(exp.create_artifact("trial", ArtifactType.MODEL).add_object([1, 2, 3], "numbers"))
            <LogResults local: v0>
            >>> results = exp.get_artifact("trial").delete()
            >>> results.ok, results["local"].deleted, results.freed_bytes > 0
            (True, True, True)
        """
        if not isinstance(force, bool):
            raise ConfigError(f"force={force!r}: give True or False.")
        return self._manager().delete(self, force)

    def diff(self, other: LoggedArtifact) -> ArtifactDiff:
        """Compare this version with another one, also of another name. Nothing is downloaded.

        Args:
            other: The version to compare with, which counts as the later one.

        Returns:
            What was added, removed and changed on the way from this version to the other.

        Raises:
            ConfigError: ``other`` is no stored version.

        Example:
            >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
            >>> exp.log_artifact(artifact.add_object({"learning_rate": 0.2}, "settings"))
            <LogResults local: v1>
            >>> logged.diff(exp.get_artifact("classifier", "v1"))
            <ArtifactDiff classifier v0 → classifier v1: 1 changed, 1 same>
        """
        if not isinstance(other, LoggedArtifact):
            raise ConfigError(f"{other!r:.200} is no stored version: give what get_artifact() returns.")
        from tracelet.core.artifacts.diff import DiffSide, diff_of

        sides = (DiffSide(one.name, one.version, one.backend, one.digest) for one in (self, other))
        return diff_of(self.manifest, other.manifest, *sides)

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
        with sign_of_life(f"downloading {self.name!r} {self.version} from {self.backend}"):
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
        return self._load(_named(name, self.objects, self), trust)

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
        return self._load(_named(name, self.models, self), trust)

    def _load(self, entry: ArtifactObject | ArtifactModel, trust: bool) -> Any:
        with sign_of_life(f"loading {entry.name!r} of {self.name!r} {self.version} from {self.backend}"):
            return self._content.load(self, entry, trust)


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ConfigError("no alias is named: give at least one, such as 'best'.")
    return names


def _is_list_of_text(values: object) -> bool:
    return (
        isinstance(values, Collection) and not isinstance(values, str) and all(isinstance(one, str) for one in values)
    )


def _named(name: str, entries: list[Any], artifact: LoggedArtifact) -> Any:
    if not isinstance(name, str):
        raise ConfigError(f"name={name!r} is not text: give the name that it was added under.")
    for entry in entries:
        if entry.name == name:
            return entry
    have = ", ".join(entry.name for entry in entries) or "nothing of that kind"
    raise ArtifactNotFound(f"{artifact.name!r} has no {name!r}; it has {have}.")
