"""One opened backend in a child process, called directly: nothing of core stands in between."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.plain import converter
from tracelet.core.lanes.backend_service import BackendService, Delivered
from tracelet.core.plugins.backend import Backend, abilities_of
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
from tracelet.settings import load
from tracelet.testing.driver import Driver

__all__ = ["BackendProcess"]

_NO_LABELS = Labels()
#: Seconds between two puts of a row.
_STEP = 0.03
#: Seconds in which a row of puts that is watched must be made.
_LONGEST_WATCH = 120.0


class _Service(BackendService):
    """Core's own; something may happen after its look at the files, and before the backend reads them."""

    before_put: Callable[[], object] | None = None

    def begin(self, run: RunInfo) -> None:
        super().begin(run)
        if self.before_put is not None:
            self.before_put()


@attrs.frozen
class _Opened:
    """What the child holds: the backend, and the service that core would put around it."""

    spec: BackendSpec
    backend: Backend
    service: _Service
    run: RunInfo


_OPENED: dict[str, _Opened] = {}


def _open(key: str, name: str, experiment: str, directory: Path) -> None:
    spec = registry().backends.get(name)
    settings = load(spec.settings, f"TRACELET_{name.upper().replace('-', '_')}_")
    context = BackendContext(directory, spec.context())
    backend = call_plugin(name, spec.open, experiment, settings, context)
    around = attrs.evolve(spec, open=lambda *_: backend)
    _OPENED[key] = _Opened(
        spec, backend, _Service(around, experiment, settings, context), RunInfo(key, experiment, time.time())
    )


def _start(key: str) -> None:
    opened = _OPENED[key]
    call_plugin(opened.spec.name, opened.service.begin, opened.run)


def _close(key: str, failed: bool) -> None:
    call_plugin(_OPENED[key].spec.name, _OPENED.pop(key).backend.stop, failed=failed)


def _put(key: str, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
    _start(key)
    opened = _OPENED[key]
    return call_plugin(opened.spec.name, opened.backend.put, sealed, labels)


def _put_many(key: str, many: Sequence[tuple[SealedArtifact, Labels]], start: float) -> list[StoredArtifact]:
    stored = []
    for number, (sealed, labels) in enumerate(many):
        _wait_until(start + number * _STEP)
        stored.append(_put(key, sealed, labels))
    return stored


def _wait_until(moment: float) -> None:
    """Return at that moment (seconds since the epoch), and not a scheduler's tick later."""
    time.sleep(max(0.0, moment - time.time() - 0.005))
    while time.time() < moment:
        pass


def _put_and_die(  # pragma: no cover - a killed process measures nothing
    key: str, sealed: SealedArtifact, trigger: Path
) -> float:
    """Put, and be killed in the moment in which ``trigger`` is touched; else return the seconds it took."""
    _start(key)
    wanted = str(trigger)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if any(isinstance(one, (str, bytes, os.PathLike)) and os.fsdecode(one) == wanted for one in arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    began = time.monotonic()
    _put(key, sealed, _NO_LABELS)
    return time.monotonic() - began


def _deliver_changing(key: str, sealed: SealedArtifact, labels: Labels, changes: Mapping[Path, bytes]) -> Delivered:
    _OPENED[key].service.before_put = lambda: [path.write_bytes(content) for path, content in changes.items()]
    return _deliver(key, sealed, labels, False, None)


def _deliver(key: str, sealed: SealedArtifact, labels: Labels, again: bool, run: str | None) -> Delivered:
    opened = _OPENED[key]
    for_run = opened.run if run is None else attrs.evolve(opened.run, id=run)
    return call_plugin(opened.spec.name, opened.service.deliver, sealed, labels, for_run, again)


def _watch_alias(key: str, name: str, alias: str, last: int, until: float) -> list[str]:
    """Look at the newest version until it is ``last``; return when it was without the alias, or the alias was nowhere."""
    wrong = []
    newest = -1
    while newest < last and time.time() < until:
        found = _find(key, name, "latest")
        assert found is not None
        newest = found.number
        if alias not in found.aliases:
            # A newer version may have taken it between two steps of one look.
            again = _find(key, name, "latest")
            if again is not None and again.number == newest:
                wrong.append(f"v{newest} had no {alias!r}")
        if _find(key, name, alias) is None:
            wrong.append(f"{alias!r} was nowhere when v{newest} was the newest")
    return wrong


def _find(key: str, name: str, ref: str) -> StoredArtifact | None:
    opened = _OPENED[key]
    return call_plugin(opened.spec.name, opened.backend.find, name, ref)


def _list(key: str, name: str | None, type: ArtifactType | None) -> list[StoredArtifact]:
    opened = _OPENED[key]
    return list(call_plugin(opened.spec.name, opened.service.list, name, type))


def _fetch(key: str, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
    opened = _OPENED[key]
    # A lane gives back what its other side made of the answer before.
    plain = json.loads(json.dumps(converter().unstructure(stored)))
    call_plugin(opened.spec.name, opened.backend.fetch, converter().structure(plain, StoredArtifact), paths, dest)


def _discover(key: str, place: str) -> tuple[ForeignArtifact, ...]:
    opened = _OPENED[key]
    return call_plugin(opened.spec.name, opened.service.discover, place)


def _fetch_foreign(key: str, found: ForeignArtifact, dest: Path) -> None:
    opened = _OPENED[key]
    # A lane gives back what its other side made of the answer before.
    plain = json.loads(json.dumps(converter().unstructure(found)))
    call_plugin(opened.spec.name, opened.service.fetch_foreign, converter().structure(plain, ForeignArtifact), dest)


def _relabel(key: str, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
    _start(key)
    opened = _OPENED[key]
    able = abilities_of(opened.backend).moves_aliases
    assert able is not None
    return call_plugin(opened.spec.name, able.relabel, stored, labels)


def _remove_aliases(key: str, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
    opened = _OPENED[key]
    return call_plugin(opened.spec.name, opened.service.remove_aliases, stored, tuple(aliases))


def _experiments(key: str) -> list[str]:
    opened = _OPENED[key]
    return list(call_plugin(opened.spec.name, opened.service.experiments))


def _used_by(key: str, digest: str) -> list[StoredArtifact]:
    opened = _OPENED[key]
    return list(call_plugin(opened.spec.name, opened.service.used_by, digest))


def _delete(key: str, stored: StoredArtifact) -> int | None:
    opened = _OPENED[key]
    able = abilities_of(opened.backend).deletes
    assert able is not None
    return call_plugin(opened.spec.name, able.delete, stored)


def _delete_many(key: str, stored: tuple[StoredArtifact, ...]) -> tuple[int | None, ...]:
    opened = _OPENED[key]
    return call_plugin(opened.spec.name, opened.service.delete_many, stored)


def _record_input(key: str, stored: StoredArtifact) -> None:
    opened = _OPENED[key]
    opened.service.record_input(stored, opened.run)


def _collect(key: str, older_than: float) -> int:
    return _OPENED[key].service.collect(older_than)


def _implements(key: str) -> list[str]:
    return sorted(capability.name for capability in abilities_of(_OPENED[key].backend).capabilities)


def _protocols(key: str) -> list[str]:
    return [protocol.__name__ for protocol in abilities_of(_OPENED[key].backend).protocols]


class BackendProcess:
    """A backend opened for one experiment, from pytest's side."""

    def __init__(self, driver: Driver, key: str, backend: str, experiment: str, directory: Path) -> None:
        self.driver = driver
        self.experiment = experiment
        self._key = key
        self._open = True
        driver.call(_open, key, backend, experiment, directory)

    def start(self) -> None:
        """Begin the run, unless it is begun."""
        self.driver.call(_start, self._key)

    def close(self, *, failed: bool = False) -> None:
        """End the run; a second time it does nothing."""
        if self._open:
            self._open = False
            self.driver.call(_close, self._key, failed)

    def put(self, sealed: SealedArtifact, labels: Labels = _NO_LABELS) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`; begins the run before the first one."""
        return self.driver.call(_put, self._key, sealed, labels)

    def begin_put_many(self, many: Sequence[tuple[SealedArtifact, Labels]], start: float) -> None:
        """Begin to put several in a row; ``driver.result()`` gives what they are stored as.

        The first begins at ``start`` (seconds since the epoch), the others a step later each, so that two
        processes meet at every one of them.
        """
        self.driver.begin(_put_many, self._key, many, start)

    def begin_put_and_die(self, sealed: SealedArtifact, trigger: Path) -> None:
        """Begin a put in which the process is killed when it touches ``trigger``."""
        self.driver.begin(_put_and_die, self._key, sealed, trigger)

    def deliver(
        self, sealed: SealedArtifact, labels: Labels = _NO_LABELS, *, again: bool = False, run: str | None = None
    ) -> Delivered:
        """Store as core does: looked for first, with labels moved, and checked after; for its own run, or another."""
        return self.driver.call(_deliver, self._key, sealed, labels, again, run)

    def deliver_changing(self, sealed: SealedArtifact, labels: Labels, changes: Mapping[Path, bytes]) -> Delivered:
        """As :meth:`deliver`, while the files at these paths get this content just before the backend is asked to put."""
        return self.driver.call(_deliver_changing, self._key, sealed, labels, changes)

    def begin_watch_alias(self, name: str, alias: str, last: int) -> None:
        """Begin to look on while others put versions up to ``last``; ``driver.result()`` says when the alias was not on the newest."""
        self.driver.begin(_watch_alias, self._key, name, alias, last, time.time() + _LONGEST_WATCH)

    def find(self, name: str, ref: str = "latest") -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        return self.driver.call(_find, self._key, name, ref)

    def implements(self) -> list[str]:
        """Names of the capabilities whose protocols the backend implements."""
        return self.driver.call(_implements, self._key)

    def protocols(self) -> list[str]:
        """Names of the protocols that the backend implements besides :class:`~tracelet.plugin.Backend`."""
        return self.driver.call(_protocols, self._key)

    def list(self, name: str | None = None, type: ArtifactType | None = None) -> list[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`; filtered, as core filters."""
        return self.driver.call(_list, self._key, name, type)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self.driver.call(_fetch, self._key, stored, tuple(paths), dest)

    def content(self, stored: StoredArtifact, dest: Path, paths: Collection[str] | None = None) -> dict[str, bytes]:
        """Fetch files (all of them) to a new folder and return every file that is there then."""
        dest.mkdir(parents=True)
        wanted = [file.artifact_path for file in stored.manifest.payload] if paths is None else paths
        self.fetch(stored, wanted, dest)
        return {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}

    def discover(self, place: str) -> Sequence[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`."""
        return self.driver.call(_discover, self._key, place)

    def foreign_content(self, found: ForeignArtifact, dest: Path) -> dict[str, bytes]:
        """Fetch what was found to a new folder and return every file that is there then."""
        dest.mkdir(parents=True)
        self.driver.call(_fetch_foreign, self._key, found, dest)
        return {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        return self.driver.call(_relabel, self._key, stored, labels)

    def remove_aliases(self, stored: StoredArtifact, *aliases: str) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        return self.driver.call(_remove_aliases, self._key, stored, aliases)

    def experiments(self) -> Sequence[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`; each once, as core gives them."""
        return self.driver.call(_experiments, self._key)

    def used_by(self, digest: str) -> Sequence[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`; filtered, as core filters."""
        return self.driver.call(_used_by, self._key, digest)

    def delete(self, stored: StoredArtifact) -> int | None:
        """See :class:`~tracelet.plugin.Deletes`."""
        return self.driver.call(_delete, self._key, stored)

    def delete_many(self, *stored: StoredArtifact) -> Sequence[int | None]:
        """See :class:`~tracelet.plugin.DeletesMany`; one after the other where the backend has no such method."""
        return self.driver.call(_delete_many, self._key, stored)

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`."""
        self.driver.call(_record_input, self._key, stored)

    def collect(self, older_than: float) -> int:
        """See :class:`~tracelet.plugin.Collects`; return the bytes."""
        return self.driver.call(_collect, self._key, older_than)
