"""Finding stored versions: one name, or all there is, in one backend or in all of them at once."""

from __future__ import annotations

import copy
import difflib
import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet.core.artifacts.artifact_list import ArtifactList
from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.entries import ArtifactType, check_type
from tracelet.core.artifacts.logged import LoggedArtifact, Manager
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.store import Store
from tracelet.core.plugins.version_refs import parse_ref
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.content import StoredContent
from tracelet.core.reading.reader import Reader
from tracelet.core.system.messages import many
from tracelet.core.system.signs import sign_of_life
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import AmbiguousVersion, ArtifactNotFound, ConfigError, TraceletError, UnsafePath

if TYPE_CHECKING:
    from tracelet.core.delivery.outbox import Outbox
    from tracelet.core.plugins.serializers import SerializerSpec
    from tracelet.core.plugins.specs import SpecSet

__all__ = ["Finder", "incomplete", "newest_first"]

_LOG = logging.getLogger("tracelet.artifacts")


class Finder:
    """Asks the backends of one experiment what they hold."""

    def __init__(
        self,
        experiment: str,
        specs: Mapping[str, BackendSpec],
        readers: Mapping[str, Reader],
        *,
        outbox: Callable[[], Outbox],
        plugins: Callable[[], Registry],
        store: Callable[[], Store],
        downloads: Path,
        manager: Callable[[Finder], Manager],
    ) -> None:
        """``downloads`` is where downloads go that are given no folder. ``manager`` makes what changes the versions found."""
        self.experiment = experiment
        self._make_outbox = outbox
        self._specs = specs
        self._readers = readers
        self._plugins = plugins
        self._store = store
        self.downloads = downloads
        self._make_manager = manager
        #: Made once: each of the thousands of versions that a listing gives has them.
        self._serializers: Callable[[], SpecSet[SerializerSpec]] = lambda: plugins().serializers
        self._its_manager: Callable[[], Manager] = lambda: self._manager
        #: What backends said whose lanes broke, while they are not to be asked again; None where they are.
        self._broken: dict[str, TraceletError] | None = None

    @property
    def backends(self) -> list[str]:
        """The names of the backends, as they are configured."""
        return list(self._specs)

    def request(self, backend: str, what: str, **arguments: Any) -> Any:
        """Make one request of one backend. Raises what it raises."""
        return self._readers[backend].request(what, **arguments)

    def ask(
        self, what: str, arguments: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, Any], dict[str, TraceletError]]:
        """Make one request of several backends at once, with the arguments for each; return answers and errors by backend."""
        with sign_of_life(f"asking {', '.join(arguments)}"):
            return all_at_once({one: partial(self._ask_one, one, what, **given) for one, given in arguments.items()})

    @functools.cached_property
    def outbox(self) -> Outbox:
        """The deliveries that wait."""
        return self._make_outbox()

    @functools.cached_property
    def _manager(self) -> Manager:
        return self._make_manager(self)

    @contextmanager
    def asking_the_broken_once(self) -> Iterator[None]:
        """Ask no backend again meanwhile whose lane broke: it is away or hangs, and each time would take as long."""
        before = self._broken
        self._broken = {} if before is None else before
        try:
            yield
        finally:
            self._broken = before

    def _ask_one(self, backend: str, what: str, **arguments: Any) -> Any:
        reader, broken = self._readers[backend], self._broken
        if broken is not None and backend in broken:
            raise copy.copy(broken[backend])  # who gets it may add to it
        try:
            return reader.request(what, **arguments)
        except TraceletError as error:
            if broken is not None and reader.broke:
                broken[backend] = copy.copy(error)
            raise

    def close(self, until: float) -> None:
        """End the reading lanes by then (monotonic)."""
        for reader in self._readers.values():
            reader.close(until)

    def kill(self) -> None:
        """End what is being read on lanes of its own, from any thread: it fails at once."""
        for reader in self._readers.values():
            reader.lane.kill()

    def get(self, name: str, version: str, backend: str | None) -> LoggedArtifact:
        """Find a version of a name; raises :class:`ArtifactNotFound` with the nearest names."""
        _check_wanted(name)
        parse_ref(version)
        asked = self.asked(backend)
        with sign_of_life(f"looking for {name!r} {version} in {', '.join(asked)}"):
            return self._get(name, version, asked)

    def _get(self, name: str, version: str, asked: list[str]) -> LoggedArtifact:
        found, errors = self.ask("find", {one: {"name": name, "ref": version} for one in asked})
        hits: dict[str, StoredArtifact] = {one: stored for one, stored in found.items() if stored is not None}
        if not hits:
            for error in errors.values():
                raise error
            raise ArtifactNotFound(self._absent(name, version, asked))
        for one, error in errors.items():
            _LOG.warning("%r is looked for without %s: %s", name, one, error)
        chosen = self._choose(name, version, hits)
        return self.logged(chosen, hits[chosen])

    def find_all(
        self,
        type_filter: ArtifactType | str | None,
        backend: str | None,
        name: str | None = None,
        select: Callable[[list[LoggedArtifact]], list[LoggedArtifact]] = list,
    ) -> ArtifactList:
        """Return what ``select`` takes of the stored versions; without it, all of them. It gets them newest first.

        Raises where a backend fails; what was found all the same is in the error's ``answers``.
        """
        kind = None if type_filter is None else check_type(type_filter)
        if name is not None:
            check_name(name)
        asked = self.asked(backend)
        with sign_of_life(f"listing {self.experiment!r} in {', '.join(asked)}"):
            return self.found_by("list", {one: {"name": name, "type": kind} for one in asked}, select)

    def found_by(
        self,
        what: str,
        arguments: Mapping[str, Mapping[str, Any]],
        select: Callable[[list[LoggedArtifact]], list[LoggedArtifact]],
    ) -> ArtifactList:
        """Return what ``select`` takes of the versions that a request of several backends gives, as :meth:`find_all` does."""
        found, errors = self.ask(what, arguments)
        # What cannot all be listed may be listed in part.
        partly = {one: error.answers for one, error in errors.items()}
        every = [(one, stored) for one, many in (found | partly).items() for stored in many]
        artifacts = ArtifactList(select([self.logged(one, stored) for one, stored in newest_first(every)]))
        if errors:
            raise incomplete(errors, artifacts, len(artifacts))
        return artifacts

    def copies(self, artifact: LoggedArtifact) -> tuple[list[LoggedArtifact], dict[str, TraceletError]]:
        """Return a version as each backend has it that holds its content, and the errors of those that cannot say it."""
        others = [one for one in self.backends if one != artifact.backend]
        by_digest = {"name": artifact.name, "ref": f"sha256:{artifact.digest}"}
        found, errors = self.ask("find", dict.fromkeys(others, by_digest))
        copies = {one: self.logged(one, stored) for one, stored in found.items() if stored is not None}
        copies[artifact.backend] = artifact
        return [copies[one] for one in self.backends if one in copies], errors

    def awaited(self, artifact: LoggedArtifact) -> list[str]:
        """Return the backends that a delivery of a version's content waits for in the outbox."""
        return [
            one
            for one in self.backends
            if any(
                parcel is not None and parcel.manifest.digest == artifact.digest
                for key in self.outbox.waiting(self.experiment, one, artifact.name)
                for parcel in [self.outbox.load(self.experiment, one, key)]
            )
        ]

    def limit(self, backend: str) -> float | None:
        """Return the seconds that a request may take that moves no bytes; None in this process, where none has a limit."""
        return None if self._specs[backend].in_process else self._readers[backend].limit

    def asked(self, backend: str | None) -> list[str]:
        """Return the backends that a caller asks: the one that is named, or all."""
        if backend is None:
            return list(self._specs)
        if not isinstance(backend, str):
            raise ConfigError(f"backend={backend!r} is no name: give one of {', '.join(self._specs)} as text.")
        self._plugins().backends.get(backend)
        if backend not in self._specs:
            raise ConfigError(f"backend {backend!r} is not one of this experiment's: {', '.join(self._specs)}.")
        return [backend]

    def _choose(self, name: str, version: str, hits: dict[str, StoredArtifact]) -> str:
        """The backend to take it from: of the newest content for ``latest``, else the nearest that has it whole."""
        if version == "latest":
            digest = self._newest(hits).manifest.digest
            hits = {one: stored for one, stored in hits.items() if stored.manifest.digest == digest}
        elif len({stored.manifest.digest for stored in hits.values()}) > 1:
            where = ", ".join(f"{one}: sha256:{stored.manifest.digest[:12]}" for one, stored in hits.items())
            raise AmbiguousVersion(f"{name!r} {version} is not the same in all backends ({where}): say backend=.")
        return min(hits, key=lambda one: (not self._specs[one].in_process, list(self._specs).index(one)))

    def _newest(self, hits: dict[str, StoredArtifact]) -> StoredArtifact:
        """Of what several backends have as their newest, return the newest: what one of them has had before is older."""
        by_digest = {stored.manifest.digest: stored for stored in hits.values()}
        older = {
            digest
            for one, stored in hits.items()
            for digest, other in by_digest.items()
            if digest != stored.manifest.digest and self._has(one, other)
        }
        # Where each has had the other's, or neither has, only the clocks of those who logged tell.
        left = [stored for digest, stored in by_digest.items() if digest not in older] or list(by_digest.values())
        return max(left, key=lambda stored: stored.manifest.created_at)

    def _has(self, backend: str, stored: StoredArtifact) -> bool:
        manifest = stored.manifest
        try:
            found = self._ask_one(backend, "find", name=manifest.name, ref=f"sha256:{manifest.digest}")
        except TraceletError:
            return False
        return found is not None

    def logged(self, backend: str, stored: StoredArtifact) -> LoggedArtifact:
        """Return a version that a backend holds as users get it."""
        content = StoredContent(
            stored,
            backend,
            self._readers[backend].request,
            self._store,
            self._serializers,
            self.downloads,
        )
        return LoggedArtifact(
            stored.manifest,
            stored.number,
            stored.label,
            backend,
            stored.uri,
            stored.aliases,
            content,
            self._its_manager,
            stored.pending,
        )

    def _absent(self, name: str, version: str, asked: list[str]) -> str:
        names: set[str] = set()
        for one in asked:
            try:
                found = self._ask_one(one, "list", name=None, type=None)
            except TraceletError as error:
                found = error.answers
            names |= {stored.manifest.name for stored in found}
        waiting = sum(len(self.outbox.waiting(self.experiment, one, name)) for one in asked)
        if name in names:
            hint = "it has other versions: list_artifacts() shows them."
        else:
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_artifacts() shows what there is."
        queued = f" {many(waiting, 'delivery of it waits', 'deliveries of it wait')} in the outbox." if waiting else ""
        return f"{self.experiment!r} has no {name!r} {version} in {', '.join(asked)}: {hint}{queued}"


def _check_wanted(name: str) -> None:
    """Raise :class:`~tracelet.UnsafePath` for what is no name; one with its version behind it is told how to be asked for."""
    try:
        check_name(name)
    except UnsafePath:
        parts = re.split("[:@]", name, maxsplit=1) if isinstance(name, str) else []
        if len(parts) == 2 and all(parts):
            raise UnsafePath(
                f"{name!r} is a name with a version: give them apart, as get_artifact({parts[0]!r}, {parts[1]!r})."
            ) from None
        raise


def newest_first(every: list[tuple[str, StoredArtifact]]) -> list[tuple[str, StoredArtifact]]:
    """Sort versions by age: of one name in one backend as it counts them, whatever the clocks said; else by the clocks."""
    reached: dict[tuple[str, str], float] = {}
    aged = []
    for backend, stored in sorted(every, key=lambda one: one[1].number):
        place = backend, stored.manifest.name
        reached[place] = max(stored.manifest.created_at, reached.get(place, 0.0))
        aged.append((reached[place], stored.number, backend, stored))
    aged.sort(key=itemgetter(0, 1), reverse=True)
    return [(backend, stored) for _, _, backend, stored in aged]


def incomplete(errors: Mapping[str, TraceletError], answers: Any, count: int) -> TraceletError:
    """Return the first error, with the name of its backend, and with what was found all the same; the others are in its notes."""
    told, *others = [_told(one, error) for one, error in errors.items()]
    first = next(iter(errors.values()))
    first.args = (f"{told} What was found all the same ({count} in number) is in the error's .answers.",)
    first.answers = answers
    for other in others:
        first.add_note(other)
    return first


def _told(backend: str, error: TraceletError) -> str:
    text = str(error)
    return text if text.startswith(backend) else f"{backend}: {text}"
