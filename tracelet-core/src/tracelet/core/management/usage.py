"""How many bytes the versions of experiments take, by backend, experiment, name and version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.results import first_error
from tracelet.core.delivery.inventory import needed_blobs
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.display.cards import card, facts, note, number, section
from tracelet.core.display.html import table
from tracelet.core.display.words import size
from tracelet.core.lanes.lane import open_lane
from tracelet.core.management.on_disk import EMBEDDED, OnDisk, scan
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.calling import sdk_state
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.reader import Reader
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.storage.large_files import store_for
from tracelet.core.system.messages import many
from tracelet.exceptions import ConfigError, IntegrityError, TraceletError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["BackendUsage", "DiskUsage", "Usage", "count_usage"]

#: How many names a notebook shows.
_ROWS = 100
#: A backend is opened for some experiment. It need not be there, and nothing is made of it.
_ANY = "experiments"
#: Backend, experiment, name and number, or as many of them as are meant.
_Place = tuple[Any, ...]


@attrs.frozen
class Usage:
    """The bytes of a version, of all versions of a name, or of all versions of an experiment, in one backend."""

    backend: str
    experiment: str
    #: None where it is about an experiment.
    name: str | None
    #: None where it is about an experiment or a name.
    number: int | None
    label: str | None
    #: How many versions it is about.
    versions: int
    #: Bytes that nothing else there needs: they would be free without it.
    own: int
    #: Bytes that something else there needs, too. They are in the number of each that needs them.
    shared: int
    #: Bytes of its large files, which are in the store.
    store: int

    @property
    def total(self) -> int:
        """All bytes that it needs."""
        return self.own + self.shared + self.store


@attrs.frozen
class BackendUsage:
    """The bytes of the counted versions in one backend, large files in the store left out."""

    backend: str
    #: Bytes that one version alone needs.
    own: int
    #: Bytes that several versions need, counted once.
    shared: int
    #: Whether they were measured on the disk. Otherwise they are what manifests say, and the tracker may keep equal files once or
    #: several times, or packed.
    exact: bool


@attrs.frozen(repr=False)
class DiskUsage:
    """What is stored, in bytes. :meth:`Experiment.disk_usage` returns it.

    The largest come first.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> exp.log_artifact(exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt"))
        <LogResults local: v0>
        >>> usage = exp.disk_usage()
        >>> [(one.name, one.own, one.shared) for one in usage.names]
        [('classifier', 7, 0)]
    """

    directory: str
    experiments: tuple[Usage, ...]
    names: tuple[Usage, ...]
    versions: tuple[Usage, ...]
    backends: tuple[BackendUsage, ...]
    on_disk: OnDisk
    #: The error of each backend, or of the outbox as ``"outbox"``, that could not be counted wholly.
    failed: dict[str, TraceletError] = attrs.field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything was counted."""
        return not self.failed

    def __repr__(self) -> str:
        parts = [
            f"{one.backend}: {size(one.own)} own, {size(one.shared)} shared (counted once)" for one in self.backends
        ]
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        parts += [f"{size(self.on_disk.total)} in {self.directory}"]
        return f"<DiskUsage of {many(len(self.versions), 'version', 'versions')}; {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        """Show in a notebook which names take how much."""
        rows = (
            (
                one.backend,
                one.experiment,
                str(one.name),
                number(f"{one.versions:,}"),
                number(size(one.own)),
                number(size(one.shared)),
                number(size(one.store)),
            )
            for one in self.names[:_ROWS]
        )
        names = table(("backend", "experiment", "name", "versions", "own", "shared", "store"), rows)
        more = [note(f"and {len(self.names) - _ROWS:,} more names")] if len(self.names) > _ROWS else []
        known = [
            (one.backend, f"{size(one.own)} own, {size(one.shared)} shared (counted once)") for one in self.backends
        ]
        known.append(("on this disk", f"{size(self.on_disk.total)} in {self.directory}"))
        failed = (note(f"{name}: {error}") for name, error in self.failed.items())
        title = many(len(self.versions), "version", "versions")
        return card("what is stored, in bytes", title, facts(known), section("Names", names), *more, *failed)

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed``, if there is one, with the others in its notes.

        Raises:
            TraceletError: Something could not be counted.

        Example:
            >>> usage.raise_for_errors()
        """
        if self.failed:
            raise first_error(self.failed)


def count_usage(
    directory: Path, settings: TraceletSettings, plugins: Registry, experiment: str | None = None
) -> DiskUsage:
    """Count the bytes of one experiment, or of all that the configured backends hold, and of the tracelet directory.

    What ``local`` holds is measured on the disk, with all its experiments, for they share their files. Raises
    :class:`~tracelet.ConfigError` where that may not be read.
    """
    counting = _Counting(directory, settings, plugins)
    for backend in dict.fromkeys((*settings.backend, EMBEDDED)):
        counting.take(backend, None if backend == EMBEDDED else experiment)
    return counting.result(experiment)


@attrs.frozen
class _Held:
    """A version and what it needs: sizes by sha256."""

    place: _Place
    label: str | None
    files: dict[str, int]
    stored: dict[str, int]


class _Counting:
    """What was counted so far."""

    def __init__(self, directory: Path, settings: TraceletSettings, plugins: Registry) -> None:
        self._directory = directory
        self._settings = settings
        self._specs = {name: plugins.backends.get(name) for name in (*settings.backend, EMBEDDED)}
        self._loaded = {name: load_plugin(spec.settings, name) for name, spec in self._specs.items()}
        store = store_for(settings, directory, ((spec, self._loaded[name]) for name, spec in self._specs.items()))
        try:
            self._scan = scan(directory, store.root if isinstance(store, LocalStore) else directory)
        except OSError as error:
            raise ConfigError(
                f"what is on this machine cannot be measured: {error}. Ask whoever may read it."
            ) from error
        self._held: list[_Held] = []
        self._failed: dict[str, TraceletError] = {}

    def take(self, backend: str, experiment: str | None) -> None:
        """Count the versions of an experiment, or of all experiments, in one backend."""
        names: Iterable[str] = [experiment] if experiment is not None else self._ask(backend, _ANY, "experiments")
        for name in names:
            for stored in self._ask(backend, name, "list", name=None, type=None):
                self._held.append(self._needs(backend, name, stored))

    def _needs(self, backend: str, experiment: str, stored: StoredArtifact) -> _Held:
        manifest = stored.manifest
        files = _sizes(manifest.payload)
        if backend == EMBEDDED:
            files = {sha256: self._scan.local.get(sha256, 0) for sha256 in files}
        place = (backend, experiment, manifest.name, stored.number)
        return _Held(place, stored.label, files, _sizes(manifest.stored))

    def _ask(self, backend: str, experiment: str, what: str, **arguments: Any) -> Iterable[Any]:
        """Make one request. An error is kept, and what came before it returned."""
        try:
            with self._reader(backend, experiment) as reader:
                return tuple(reader.request(what, **arguments))
        except TraceletError as error:
            earlier = self._failed.setdefault(backend, error)
            if earlier is not error:
                for said in (str(error), *getattr(error, "__notes__", ())):
                    earlier.add_note(said)
            answers: Iterable[Any] = error.answers
            return answers

    @contextmanager
    def _reader(self, backend: str, experiment: str) -> Iterator[Reader]:
        spec = self._specs[backend]
        context = BackendContext(self._directory, sdk_state(spec))
        reader = Reader(partial(open_lane, spec, experiment, self._loaded[backend], context), self._settings)
        try:
            yield reader
        except KeyboardInterrupt:
            reader.lane.kill()
            raise
        finally:
            reader.close(time.monotonic() + self._settings.stop_timeout)

    def result(self, experiment: str | None) -> DiskUsage:
        """Return what was counted, of one experiment or of all."""
        inside: _Place = () if experiment is None else (experiment,)
        wanted: list[_Place] = [(backend, *inside) for backend in self._settings.backend]
        levels = [_Level(self._held, length) for length in (2, 3, 4)]
        experiments, names, versions = (tuple(level.usages(wanted)) for level in levels)
        backends = tuple(BackendUsage(place[0], *levels[2].once(place), exact=place[0] == EMBEDDED) for place in wanted)
        outbox = Outbox(self._directory)
        try:
            waiting = needed_blobs(outbox)
        except IntegrityError as error:
            # Nobody can tell what it needs.
            self._failed["outbox"], waiting = error, set(self._scan.objects)
        needed = {sha256 for one in self._held if one.place[0] == EMBEDDED for sha256 in one.files}
        on_disk = self._scan.divide(needed, outbox.store.recorded(), waiting)
        return DiskUsage(str(self._directory), experiments, names, versions, backends, on_disk, self._failed)


class _Level:
    """What experiments, names or versions need: each is one place, the beginning of its versions' places."""

    def __init__(self, held: Iterable[_Held], length: int) -> None:
        self._held: dict[_Place, list[_Held]] = {}
        self._files: dict[_Place, dict[str, int]] = {}
        #: By backend and sha256: which place needs it; None where several do.
        self._owners: dict[tuple[str, str], _Place | None] = {}
        for one in held:
            place = one.place[:length]
            self._held.setdefault(place, []).append(one)
            self._files.setdefault(place, {}).update(one.files)
        for place, files in self._files.items():
            for sha256 in files:
                key = (place[0], sha256)
                self._owners[key] = None if key in self._owners else place

    def usages(self, wanted: Iterable[_Place]) -> list[Usage]:
        """Return the bytes of each place that lies in one of those, the largest first."""
        found = map(self._usage, self._within(wanted))
        return sorted(found, key=lambda one: (-one.total, one.experiment, one.name or "", one.number or 0, one.backend))

    def _within(self, wanted: Iterable[_Place]) -> list[_Place]:
        return [place for one in wanted for place in self._held if place[: len(one)] == one]

    def _usage(self, place: _Place) -> Usage:
        held = self._held[place]
        own = sum(count for sha256, count in self._files[place].items() if self._owners[place[0], sha256] == place)
        stored: dict[str, int] = {}
        for one in held:
            stored.update(one.stored)
        backend, experiment, name, number = (*place, None, None)[:4]
        label = held[0].label if number is not None else None
        shared = sum(self._files[place].values()) - own
        return Usage(backend, experiment, name, number, label, len(held), own, shared, sum(stored.values()))

    def once(self, wanted: _Place) -> tuple[int, int]:
        """Return the bytes that one place alone needs of those that lie in this one, and those that several need, once."""
        own = 0
        several: dict[str, int] = {}
        for place in self._within([wanted]):
            for sha256, count in self._files[place].items():
                if self._owners[place[0], sha256] is None:
                    several[sha256] = count
                else:
                    own += count
        return own, sum(several.values())


def _sizes(files: Iterable[ArtifactFile]) -> dict[str, int]:
    return {str(file.sha256): file.size_bytes for file in files}
