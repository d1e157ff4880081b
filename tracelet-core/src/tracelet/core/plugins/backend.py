"""What a backend is: the protocol of all of them, and what some can do besides."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact

if TYPE_CHECKING:
    from tracelet.core.plugins.foreign import ForeignArtifact

__all__ = [
    "PROTOCOLS",
    "Abilities",
    "Backend",
    "Capability",
    "Collects",
    "Deletes",
    "DeletesMany",
    "Discovers",
    "FindsUsers",
    "GivesRendered",
    "Heals",
    "ListsExperiments",
    "MovesAliases",
    "Recalls",
    "RecordsInputs",
    "RemovesAliases",
    "TakesBack",
    "abilities_of",
]


class Backend(Protocol):
    """Where artifacts are kept.

    An instance is used by one caller at a time, always from one process; inside a call it may use
    threads of its own. Methods raise :class:`~tracelet.BackendUnavailable` for what may pass (it is
    tried again later), :class:`~tracelet.BackendAuthError` for credentials that are refused,
    :class:`~tracelet.ArtifactError` for what it can never take; anything else counts as a failure that may
    pass. No method may return None or nothing because something failed: it raises.

    Example:
        A backend that can read nothing back yet, as a plugin begins:

        >>> class Shelf:
        ...     def __init__(self, root):
        ...         self.root, self.stored = root, []
        ...     def start(self, run):
        ...         self.run = run
        ...     def put(self, sealed, labels):
        ...         number = len(self.stored)
        ...         made = StoredArtifact(sealed.manifest, number, f"{self.root}/{number}", labels.version, labels.aliases)
        ...         self.stored.append(made)
        ...         return made
        ...     def find(self, name, ref):
        ...         return next((one for one in self.list(name=name, type=None) if one.version == ref), None)
        ...     def list(self, *, name, type):
        ...         return [one for one in self.stored if name in {None, one.manifest.name}]
        ...     def fetch(self, stored, paths, dest):
        ...         raise ArtifactNotFound(f"the bytes of {stored.manifest.name!r} are gone.")
        ...     def stop(self, *, failed):
        ...         pass
        >>> print(Shelf("/data").find("net", "v0"))
        None

    """

    def start(self, run: RunInfo) -> None:
        """Begin a run, or go on with it. Core calls this before the first put; reading needs no run.

        Args:
            run: The run that the next puts belong to.
        """
        ...

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """Store a new version: claim its number, then write the files, then the manifest, last.

        Until the manifest is there, nothing finds the version. Nothing is ever overwritten.

        Args:
            sealed: The manifest and where each file's bytes are.
            labels: The names of the new version.

        Returns:
            The version that was made.

        Raises:
            VersionConflict: The label belongs to another digest.
        """
        ...

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """Find one version.

        Args:
            name: The artifact's name.
            ref: Which of its versions; :func:`tracelet.plugin.parse_ref` reads it.

        Returns:
            The version, or None where there is no such one.

        Raises:
            AmbiguousVersion: The beginning of a digest fits two different digests.
        """
        ...

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterable[StoredArtifact]:
        """List versions.

        Args:
            name: Only versions of this name; None for all names.
            type: Only versions of this type; None for all types.

        Returns:
            The versions, in any order. There may be others among them, for core filters again.
        """
        ...

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """Write files of a version into a folder. Core verifies their bytes.

        Args:
            stored: The version.
            paths: Paths of files in the artifact.
            dest: An empty folder. Each file goes to its path below it.

        Raises:
            ArtifactNotFound: Bytes are gone.
        """
        ...

    def stop(self, *, failed: bool) -> None:
        """End the run. Core calls this once after the last request, also when nothing was put.

        Args:
            failed: Whether the user's program ended the run by an error.
        """
        ...


@runtime_checkable
class MovesAliases(Protocol):
    """A backend that can name a version after it was stored."""

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """Name a version that is stored.

        Args:
            stored: The version.
            labels: Aliases to move to it, and a label that it does not have yet.

        Returns:
            The version with its new names.

        Raises:
            VersionConflict: The label belongs to another digest.
        """
        ...


@runtime_checkable
class RemovesAliases(Protocol):
    """A backend that can take an alias away from a version."""

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """Take aliases away from a version. One that is not on it, or has moved on, is left where it is.

        Args:
            stored: The version.
            aliases: The aliases that are to name nothing any more.

        Returns:
            The version with the names that it has now.
        """
        ...


@runtime_checkable
class ListsExperiments(Protocol):
    """A backend that can say which experiments it holds versions of."""

    def experiments(self) -> Iterable[str]:
        """List the experiments that have a version, by the names that users gave them.

        The backend was opened for some experiment, which need not be one of them.

        Returns:
            The names, in any order. An experiment without a version may be among them only if telling it apart would take a
            request for each experiment.
        """
        ...


@runtime_checkable
class FindsUsers(Protocol):
    """A backend that can find the versions that were made from a version, without a walk over all versions."""

    def used_by(self, digest: str) -> Iterable[StoredArtifact]:
        """List the versions of this experiment whose manifests name a digest among their inputs.

        Args:
            digest: The whole digest of the version that was used.

        Returns:
            The versions, in any order. There may be others among them, for core filters again.
        """
        ...


@runtime_checkable
class RecordsInputs(Protocol):
    """A backend with lineage of its own."""

    def record_input(self, stored: StoredArtifact) -> None:
        """Note in the tracker that the run uses a version.

        Args:
            stored: The version that is used.
        """
        ...


@runtime_checkable
class Deletes(Protocol):
    """A backend that can forget a version."""

    def delete(self, stored: StoredArtifact) -> int | None:
        """Delete a version. Its number is not used again, and its label not for other content.

        Args:
            stored: The version.

        Returns:
            The bytes that became free, or None where the backend does not know.
        """
        ...


@runtime_checkable
class DeletesMany(Protocol):
    """A backend that deletes many versions in less time than one after the other."""

    def delete_many(self, stored: Sequence[StoredArtifact]) -> Iterable[int | None]:
        """Delete versions, each as :meth:`Deletes.delete` does, in this order. Core takes all that it gives.

        Args:
            stored: The versions.

        Returns:
            For each version the bytes that became free, or None where the backend does not know: what several of them
            shared counts with one of them. Where one cannot be deleted, it gives those of the versions before, and raises then.
        """
        ...


@runtime_checkable
class TakesBack(Protocol):
    """A backend that can undo a put, as if it had never been made."""

    def take_back(self, stored: StoredArtifact) -> None:
        """Remove a version that a put has just made, and that nobody has heard of.

        Its label is free again, and its aliases point where they did before.

        Args:
            stored: The version.
        """
        ...


@runtime_checkable
class Collects(Protocol):
    """A backend that leaves garbage behind when it is interrupted, and can clear it away."""

    def collect(self, older_than: float) -> Iterable[int]:
        """Delete what no version of any experiment needs. Other processes may be storing meanwhile.

        Args:
            older_than: Seconds since the epoch. Only what was last needed before then may go.

        Returns:
            The size of each deleted piece in bytes.
        """
        ...


@runtime_checkable
class Recalls(Protocol):
    """A backend that remembers the newest version of a name, since asking its tracker takes long.

    Where other content is logged than that of the version it remembers, core puts it without a search.
    """

    def recall(self, name: str) -> StoredArtifact | None:
        """Return the newest version of a name as it was last seen, without a request.

        Args:
            name: The artifact's name.

        Returns:
            The version, or None where none was seen.
        """
        ...

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """Store as ``put`` does, unless others have stored a version of that name since it was seen.

        Args:
            sealed: The manifest and where each file's bytes are.
            labels: The names of the new version.

        Returns:
            The version that was made. None where others were faster: then nothing was sent.
        """
        ...


@runtime_checkable
class Heals(Protocol):
    """A backend that can restore bytes that are lost or damaged, when the same content is logged again."""

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """Restore the bytes of this version where they are gone: its content is logged again, and not sent.

        Looking must be cheap, for it is done each time.

        Args:
            stored: The version.
            sealed: The same content. ``sealed.sources`` has every file of ``sealed.manifest.payload``.
        """
        ...

    def place(self, stored: StoredArtifact, path: str) -> str:
        """Return where the bytes of a file are, for a message.

        Args:
            stored: The version.
            path: The file's path in the artifact.

        Returns:
            A path or an address without credentials. An empty text where ``heal`` restores bytes that are gone, and does not
            look at the bytes that are there.
        """
        ...


@runtime_checkable
class GivesRendered(Protocol):
    """A backend that can give its tracker's own form of a version's models, for another server of the same tracker."""

    def fetch_rendered(self, stored: StoredArtifact, dest: Path) -> bool:
        """Write that form into a folder, as ``BackendSpec.render`` wrote it: each model in a folder of its own name.

        Args:
            stored: The version.
            dest: An empty folder.

        Returns:
            Whether there is one of every model. If not, the folder may hold anything.
        """
        ...


@runtime_checkable
class Discovers(Protocol):
    """A backend whose tracker can be asked for what was logged there without Tracelet."""

    def discover(self, place: str) -> Iterable[ForeignArtifact]:
        """List what was logged without Tracelet. What Tracelet stored itself is not among it.

        The backend was opened for some experiment, which has nothing to do with the place. Nothing is downloaded.

        Args:
            place: Where to look, as users of this tracker say it, such as an experiment's name.

        Returns:
            One entry for each version; those of one name oldest first.

        Raises:
            ArtifactNotFound: There is no such place. It says which kinds of place there are.
        """
        ...

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """Write the files of a version into a folder.

        Where the tracker knows a checksum of a file, the bytes are compared with it.

        Args:
            found: The version.
            dest: An empty folder. Each file goes to its path below it.

        Raises:
            ArtifactNotFound: Bytes are gone.
            IntegrityError: Bytes are not those that the tracker has a checksum of.
        """
        ...


class Capability(enum.Enum):
    """What a backend can do besides, where core or its users must know that before it is opened. Its spec declares it.

    The backend implements the protocol behind it. Core checks that when it opens the backend; the contract kit checks
    that a backend declares all that it implements.
    """

    ALIASES = "moves aliases"
    INPUTS = "records lineage"
    DELETE = "deletes versions"
    COLLECT = "clears garbage"
    EXPERIMENTS = "lists experiments"
    USERS = "finds users"
    DISCOVERS = "finds what was logged without Tracelet"


#: The protocol behind each capability.
PROTOCOLS: Mapping[Capability, type] = {
    Capability.ALIASES: MovesAliases,
    Capability.INPUTS: RecordsInputs,
    Capability.DELETE: Deletes,
    Capability.COLLECT: Collects,
    Capability.EXPERIMENTS: ListsExperiments,
    Capability.USERS: FindsUsers,
    Capability.DISCOVERS: Discovers,
}


@attrs.frozen
class Abilities:
    """An opened backend as each protocol that it implements besides :class:`Backend`; None for those it does not."""

    moves_aliases: MovesAliases | None
    removes_aliases: RemovesAliases | None
    lists_experiments: ListsExperiments | None
    finds_users: FindsUsers | None
    records_inputs: RecordsInputs | None
    deletes: Deletes | None
    deletes_many: DeletesMany | None
    collects: Collects | None
    takes_back: TakesBack | None
    recalls: Recalls | None
    heals: Heals | None
    gives_rendered: GivesRendered | None
    discovers: Discovers | None
    #: Those protocols themselves.
    protocols: tuple[type, ...]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the spec of this backend has to declare."""
        return frozenset(capability for capability, protocol in PROTOCOLS.items() if protocol in self.protocols)


def abilities_of(backend: object) -> Abilities:
    """Return what an opened backend can do. Nothing else in core asks which protocols it implements."""
    every = (
        MovesAliases,
        RemovesAliases,
        ListsExperiments,
        FindsUsers,
        RecordsInputs,
        Deletes,
        DeletesMany,
        Collects,
        TakesBack,
        Recalls,
        Heals,
        GivesRendered,
        Discovers,
    )
    return Abilities(
        moves_aliases=backend if isinstance(backend, MovesAliases) else None,
        removes_aliases=backend if isinstance(backend, RemovesAliases) else None,
        lists_experiments=backend if isinstance(backend, ListsExperiments) else None,
        finds_users=backend if isinstance(backend, FindsUsers) else None,
        records_inputs=backend if isinstance(backend, RecordsInputs) else None,
        deletes=backend if isinstance(backend, Deletes) else None,
        deletes_many=backend if isinstance(backend, DeletesMany) else None,
        collects=backend if isinstance(backend, Collects) else None,
        takes_back=backend if isinstance(backend, TakesBack) else None,
        recalls=backend if isinstance(backend, Recalls) else None,
        heals=backend if isinstance(backend, Heals) else None,
        gives_rendered=backend if isinstance(backend, GivesRendered) else None,
        discovers=backend if isinstance(backend, Discovers) else None,
        protocols=tuple(protocol for protocol in every if isinstance(backend, protocol)),
    )
