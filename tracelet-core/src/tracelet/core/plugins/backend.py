"""What a backend is: the protocol, what it may be able to do besides, and what crosses it."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import attrs

from tracelet.core.artifacts.entries import LARGEST_SIZE, ArtifactType, check_name, check_text, time_field
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.shapes import check_settings, takes
from tracelet.core.system.files import Stamp
from tracelet.exceptions import (
    AmbiguousVersion,
    ArtifactError,
    IntegrityError,
    NewerFormat,
    UnsafePath,
    VersionConflict,
)
from tracelet.settings import NoSettings

__all__ = [
    "PROTOCOLS",
    "Abilities",
    "Backend",
    "BackendContext",
    "BackendSpec",
    "Capability",
    "Collects",
    "Damage",
    "Deletes",
    "Heals",
    "Labels",
    "MovesAliases",
    "Recalls",
    "RecordsInputs",
    "Ref",
    "RunInfo",
    "SealedArtifact",
    "StoredArtifact",
    "TakesBack",
    "abilities_of",
    "check_label",
    "flaw_of",
    "label_conflict",
    "look_up",
    "of_digest",
    "or_damage",
    "parse_ref",
    "sound",
]

S = TypeVar("S")
T = TypeVar("T")

#: As many digits as a number of 64 bits has.
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_VERSION_LIKE = re.compile(r"[vV][0-9]+")
_DIGEST = re.compile(r"[0-9a-f]{6,64}")


def check_label(label: object) -> str:
    """Return a version label or alias if it may be one.

    Raises :class:`ArtifactError` for ``latest``, for what looks like ``v3``, and for what is no name.
    """
    if label == "latest" or (isinstance(label, str) and _VERSION_LIKE.fullmatch(label)):
        raise ArtifactError(f"{label!r} is given by the backend itself: choose a label such as 'v1.2.0' or 'best'.")
    return check_name(label, "label")


@attrs.frozen
class Ref:
    """One way to point at a version of a name; exactly one field is set, or none for ``latest``."""

    number: int | None = None
    digest: str | None = None
    put_id: str | None = None
    #: A label or an alias.
    label: str | None = None


def parse_ref(text: object) -> Ref:
    """Read ``latest``, ``vN``, ``sha256:<prefix>``, ``put:<id>``, or a label or alias.

    Raises :class:`ArtifactError` for what is none of these.
    """
    if text == "latest":
        return Ref()
    if isinstance(text, str):
        if match := _VERSION.fullmatch(text):
            return Ref(number=int(match[1]))
        kind, _, rest = text.partition(":")
        if kind == "sha256" and _DIGEST.fullmatch(rest):
            return Ref(digest=rest)
        if kind == "put" and rest:
            return Ref(put_id=check_name(rest, "put-id"))
    try:
        return Ref(label=check_label(text))
    except ArtifactError:
        number = " is a number, and not text" if type(text) in {int, float} else ""
        raise ArtifactError(
            f"version {text!r}{number}: give 'latest', 'v3', a label, an alias, or 'sha256:' and at least 6 hexadecimal digits."
        ) from None


def look_up(
    ref: Ref,
    *,
    latest: Callable[[], T],
    number: Callable[[int], T],
    label: Callable[[str], T],
    digest: Callable[[str], T],
    put_id: Callable[[str], T],
) -> T:
    """Look a version up in the way that a reference asks for.

    Args:
        ref: What :func:`parse_ref` returned.
        latest: Finds the newest version.
        number: Finds a version by its number.
        label: Finds a version by its label, or by an alias that points at it.
        digest: Finds the newest version whose digest begins so; see :func:`of_digest`.
        put_id: Finds the version that a put made.

    Returns:
        What the look-up that was called returns. No other one is called.

    Example:
        >>> versions = ["first", "second"]
        >>> look_up(
        ...     parse_ref("v1"),
        ...     latest=lambda: versions[-1],
        ...     number=versions.__getitem__,
        ...     label={"best": "first"}.get,
        ...     digest=lambda beginning: None,
        ...     put_id=lambda put: None,
        ... )
        'second'

    """
    if ref.number is not None:
        return number(ref.number)
    if ref.label is not None:
        return label(ref.label)
    if ref.digest is not None:
        return digest(ref.digest)
    return latest() if ref.put_id is None else put_id(ref.put_id)


def of_digest(name: str, beginning: str, found: Iterable[tuple[str, T]]) -> T | None:
    """Return the newest version whose digest begins so.

    Args:
        name: The artifact's name, for the message.
        beginning: The first digits of a digest, or all of them.
        found: Digests, each with the version that has it, the newest version first. Others may be among them.

    Returns:
        The first of those that fit, or None.

    Raises:
        AmbiguousVersion: Two different digests begin so.

    Example:
        >>> of_digest("model", "abc", [("abc1", 2), ("def2", 1), ("abc1", 0)])
        2

    """
    fitting: dict[str, T] = {}
    for digest, one in found:
        if digest.startswith(beginning):
            fitting.setdefault(digest, one)
    if len(fitting) > 1:
        raise AmbiguousVersion(f"sha256:{beginning} is the beginning of {len(fitting)} digests of {name!r}: give more.")
    return next(iter(fitting.values()), None)


def label_conflict(name: str, label: str, number: int | None = None) -> VersionConflict:
    """Return the error for a label that belongs to other content.

    Args:
        name: The artifact's name.
        label: The label.
        number: The version that has it. None where that version was deleted.

    Example:
        >>> print(label_conflict("model", "1.0", 3))
        'model' '1.0' is v3, which has other content: a label belongs to one content. Choose another label.

    """
    owner = "was other content, which is deleted" if number is None else f"is v{number}, which has other content"
    return VersionConflict(f"{name!r} {label!r} {owner}: a label belongs to one content. Choose another label.")


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


@attrs.frozen
class SealedArtifact:
    """An artifact ready to be stored: its manifest, and where each file's bytes are on this machine."""

    manifest: Manifest
    #: By path in the artifact, for every file of ``manifest.payload``.
    sources: dict[str, Path]
    #: How each source looked when it was hashed. None where it can no longer change.
    stamps: dict[str, Stamp] = attrs.field(factory=dict)
    #: A folder with what ``BackendSpec.render`` made of the models, for the backend that made it.
    rendered: Path | None = None


@attrs.frozen
class StoredArtifact:
    """A version that a backend holds and can give back."""

    manifest: Manifest
    #: Its place in the order of this name's versions in this backend, from 0.
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
    """Say which field of a version that a plugin answers with is not what core goes by, and nothing where all are."""
    sound = {
        "manifest is no Manifest": isinstance(stored.manifest, Manifest),
        "number is no whole number from 0 on": type(stored.number) is int and 0 <= stored.number <= LARGEST_SIZE,
        "uri is no text": isinstance(stored.uri, str),
        "label is no text": stored.label is None or isinstance(stored.label, str),
        "aliases are no tuple of texts": isinstance(stored.aliases, (list, tuple))
        and all(isinstance(alias, str) for alias in stored.aliases),
    }
    return next((flaw for flaw, is_sound in sound.items() if not is_sound), "")


#: Why a stored version cannot be read: it was changed, or a later release wrote it.
Damage = IntegrityError | UnsafePath | NewerFormat


def or_damage(read: Callable[[S], T], called: Callable[[S], str]) -> Callable[[S], T | Damage]:
    """Return what reads as ``read`` does, and gives what cannot be read as its error, with what it is ``called``."""

    def attempt(one: S) -> T | Damage:
        try:
            return read(one)
        except (IntegrityError, UnsafePath, NewerFormat) as error:
            return type(error)(f"{called(one)}: {error}")

    return attempt


def sound(found: Iterable[T | Damage]) -> Iterator[T]:
    """Yield what is sound, so that one version that cannot be read does not hide the others; then raise the first error.

    The other errors are in its notes.
    """
    damaged: list[Damage] = []
    for one in found:
        if isinstance(one, Damage):
            damaged.append(one)
        else:
            yield one
    if damaged:
        first, *others = damaged
        for other in others:
            first.add_note(str(other))
        raise first


class Backend(Protocol):
    """Where artifacts are kept.

    An instance is used by one caller at a time, always from one process; inside a call it may use
    threads of its own. Methods raise :class:`~tracelet.BackendUnavailable` for what may pass (it is
    tried again later), :class:`~tracelet.BackendAuthError` for credentials,
    :class:`~tracelet.ArtifactError` for what it can never take; anything else counts as a failure that may
    pass. None of them may answer with nothing because something failed.
    """

    def start(self, run: RunInfo) -> None:
        """A run begins, or is attached to. Called before the first put; reading needs none."""
        ...

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """Store a new version: claim its number, then files, then the manifest, last.

        Until the manifest is there, nothing finds the version. Nothing is ever overwritten. Raises
        :class:`~tracelet.exceptions.VersionConflict` where the label belongs to another digest.
        """
        ...

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """Return the version of ``name`` that ``ref`` means (see :func:`parse_ref`), or None."""
        ...

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterable[StoredArtifact]:
        """Return every version, or those of a name or type; it may return more, core filters again."""
        ...

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """Write the files at these paths of the artifact under ``dest``, an empty folder, each at its path.

        Core verifies the bytes. Raises :class:`~tracelet.ArtifactNotFound` where bytes are gone.
        """
        ...

    def stop(self, *, failed: bool) -> None:
        """The run ends. Called once after the last request, also when nothing was put."""
        ...


@runtime_checkable
class MovesAliases(Protocol):
    """A backend that can name a version after it was stored."""

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """Move the aliases to this version, and give it the label, which it does not have yet."""
        ...


@runtime_checkable
class RecordsInputs(Protocol):
    """A backend with lineage of its own."""

    def record_input(self, stored: StoredArtifact) -> None:
        """Note that the run uses this version."""
        ...


@runtime_checkable
class Deletes(Protocol):
    """A backend that can forget a version."""

    def delete(self, stored: StoredArtifact) -> None:
        """Delete the version; its number is not used again, and its label not for other content."""
        ...


@runtime_checkable
class TakesBack(Protocol):
    """A backend that can undo a put: not delete what was stored, but let it never have been."""

    def take_back(self, stored: StoredArtifact) -> None:
        """Forget a version that a put has made a moment ago, and that nobody was told of: its label is free, its aliases are where they were."""
        ...


@runtime_checkable
class Collects(Protocol):
    """A backend that leaves garbage behind when it is interrupted, and can clear it away."""

    def collect(self, older_than: float) -> Iterable[int]:
        """Delete what no version of any experiment needs and was last needed before then; yield the bytes of each piece.

        ``older_than`` is in seconds since the epoch. Other processes may be storing meanwhile.
        """
        ...


@runtime_checkable
class Recalls(Protocol):
    """A backend that takes longer to look than to remember what it last saw of a name.

    Where what is logged is other content than the newest version that is recalled, it is put without a look.
    """

    def recall(self, name: str) -> StoredArtifact | None:
        """Return the newest version of a name as it was last seen, asking nobody; None where it is not known."""
        ...

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """As ``put``; but send nothing and return None where others have put something of that name since it was seen."""
        ...


@runtime_checkable
class Heals(Protocol):
    """A backend that can bring back bytes that it has lost, or that were damaged, when the same content is logged again."""

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See to it that the bytes of this version are there, for its content is logged again and not sent.

        Looking must be cheap: it is done each time. ``sealed.sources`` has every file of ``sealed.manifest.payload``.
        """
        ...

    def place(self, stored: StoredArtifact, path: str) -> str:
        """Return where the bytes at this path of the artifact are, for a message; without credentials.

        An empty text, where ``heal`` brings back what is gone and does not look at the bytes of what is there.
        """
        ...


class Capability(enum.Enum):
    """What a backend can do besides, and core or its users must know before it is opened: its spec declares it.

    The backend implements the protocol behind it: core checks that when it opens the backend, and the contract kit checks
    that nothing is implemented and not declared.
    """

    ALIASES = "moves aliases"
    INPUTS = "records lineage"
    DELETE = "deletes versions"
    COLLECT = "clears garbage"


#: The protocol behind each capability.
PROTOCOLS: Mapping[Capability, type] = {
    Capability.ALIASES: MovesAliases,
    Capability.INPUTS: RecordsInputs,
    Capability.DELETE: Deletes,
    Capability.COLLECT: Collects,
}


@attrs.frozen
class Abilities:
    """A backend as each of the protocols that it implements besides :class:`Backend`; None for the others."""

    moves_aliases: MovesAliases | None
    records_inputs: RecordsInputs | None
    deletes: Deletes | None
    collects: Collects | None
    takes_back: TakesBack | None
    recalls: Recalls | None
    heals: Heals | None
    #: Those protocols themselves.
    protocols: tuple[type, ...]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the spec of this backend has to declare."""
        return frozenset(capability for capability, protocol in PROTOCOLS.items() if protocol in self.protocols)


def abilities_of(backend: object) -> Abilities:
    """Return what an opened backend can do. Nothing else in core asks which protocols it implements."""
    every = (MovesAliases, RecordsInputs, Deletes, Collects, TakesBack, Recalls, Heals)
    return Abilities(
        moves_aliases=backend if isinstance(backend, MovesAliases) else None,
        records_inputs=backend if isinstance(backend, RecordsInputs) else None,
        deletes=backend if isinstance(backend, Deletes) else None,
        collects=backend if isinstance(backend, Collects) else None,
        takes_back=backend if isinstance(backend, TakesBack) else None,
        recalls=backend if isinstance(backend, Recalls) else None,
        heals=backend if isinstance(backend, Heals) else None,
        protocols=tuple(protocol for protocol in every if isinstance(backend, protocol)),
    )


@attrs.frozen
class BackendContext:
    """What a backend learns about the process it works for."""

    #: The tracelet directory: absolute, local, there.
    directory: Path
    #: What ``BackendSpec.context`` found in the user's process.
    sdk: dict[str, Any] = attrs.field(factory=dict)


def _no_context() -> dict[str, Any]:
    return {}


@attrs.frozen(kw_only=True)
class BackendSpec:
    """How core gets a backend; what a plugin's ``tracelet_backends`` hook returns.

    Making one imports nothing. ``open(experiment, settings, context)`` runs in the lane's process; it
    connects and starts nothing.
    """

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "backend"))
    open: Callable[[str, Any, BackendContext], Backend] = attrs.field(
        validator=takes("experiment", "settings", "context")
    )
    #: An attrs class, read from ``TRACELET_<NAME>_*``.
    settings: type[attrs.AttrsInstance] = attrs.field(default=NoSettings, validator=check_settings)
    #: In the user's process, cheap, importing nothing: what the user's own SDK says, if it is loaded.
    context: Callable[[], dict[str, Any]] = attrs.field(default=_no_context, validator=takes())
    #: ``render(model, info, dest)`` in the user's process at sealing: write the tracker's own form of a
    #: model into the folder. Pure: no connection, no network, no ids of a server.
    render: Callable[[Any, ModelInfo, Path], None] | None = attrs.field(
        default=None, validator=takes("model", "info", "dest", optional=True)
    )
    #: True only for a backend that cannot hang: it then lives in the user's process.
    in_process: bool = False
    #: False where the backend has no compare-and-swap, so that two writers may share a number.
    atomic_versions: bool = True
    capabilities: frozenset[Capability] = frozenset()
    #: Variables of the SDK to set in the lane's process, where the user has not set them.
    environ: Mapping[str, str] = attrs.field(factory=dict)
    #: One sentence for the table of backends.
    summary: str = ""


@attrs.frozen
class ModelInfo:
    """What ``BackendSpec.render`` is told about a model."""

    name: str
    framework: str
    artifact: str
    type: ArtifactType
    description: str | None
    metadata: dict[str, Any]
    input_example: Any = None
    #: The model as the artifact has it, by path in the artifact: what the tracker's form has in common with it, it can take.
    files: Mapping[str, Path] = attrs.field(factory=dict)
