"""The artifact manager: route, seal, deliver, find."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.core.artifacts import LoggedArtifact, TraceletArtifact
from tracelet.core.backend import BackendContext, BackendSpec, Labels, RunInfo, StoredArtifact
from tracelet.core.bounded import BoundedStore
from tracelet.core.delivery import Courier, Outcome, Reader, Sealer, Task, close_all, limit_for, unwritable
from tracelet.core.drafts import seal_draft, staging_folder
from tracelet.core.files import FileChanged
from tracelet.core.finding import Finder
from tracelet.core.journal import Leftover, leftovers
from tracelet.core.lane import Lane, guarded, open_lane
from tracelet.core.outbox import Draft, Outbox, Parcel, without_secrets
from tracelet.core.plugins import Registry
from tracelet.core.processes import current
from tracelet.core.results import LogResult, LogResults
from tracelet.core.retrieval import BackendShelf
from tracelet.core.sealing import finish, prepare
from tracelet.core.store import RemoteStore, Store, open_store
from tracelet.core.targets import targets_of
from tracelet.exceptions import (
    ArtifactError,
    BackendError,
    BackendUnavailable,
    ConfigError,
    TraceletError,
)
from tracelet.settings import TraceletSettings, load_plugin

if TYPE_CHECKING:
    from tracelet.core.capture import Capture

__all__ = ["ArtifactManager"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Seconds, beyond a delivery's own limit, for putting away what did not go through.
_MARGIN = 1.0
#: The part of the time for stopping that is kept for ending runs and processes.
_RESERVE = 0.2
#: The part of it in which what was captured is hashed.
_CAPTURE = 0.4
#: Seconds that nothing takes.
_LONG = 1e7
_POLL = 0.02


@attrs.frozen
class _Wiring:
    """What belongs to one process: threads and lanes do not survive a fork."""

    process: Any
    couriers: dict[str, Courier]
    finder: Finder
    sealer: Sealer


class ArtifactManager:
    """Everything an experiment does with artifacts. It exists, and answers, from construction on."""

    def __init__(
        self,
        experiment: str,
        settings: TraceletSettings,
        directory: Path,
        plugins: Callable[[], Registry],
        *,
        writes: bool,
    ) -> None:
        """``directory`` is the tracelet directory, absolute. ``writes`` is False in all ranks but one."""
        self._experiment = experiment
        self._settings = settings
        self._directory = directory
        self._plugins = plugins
        self._writes = writes
        self._run: RunInfo | None = None
        self._inputs: set[str] = set()
        self._counts = {"logged": 0, "unchanged": 0, "queued": 0, "failed": 0, "submitted": 0}
        self._told: set[str] = set()
        self._outbox = Outbox(directory)
        self._promises: dict[Path, Future[LogResults]] = {}
        #: Drafts of this process that no sealer is on.
        self._unsealed: list[Path] = []
        self._specs = self._configured()
        self._plugin_settings = self._load_settings()
        self._wiring: _Wiring | None = None
        self._store: Store | None = None
        self._capture: Capture | None = None
        #: What goes on with the captures of dead processes.
        self._resumed: list[Capture] = []

    def _configured(self) -> dict[str, BackendSpec]:
        if not self._settings.backend:
            raise ConfigError("no backend is configured: name at least one, such as backend='local'.")
        twice = {name for name in self._settings.backend if self._settings.backend.count(name) > 1}
        if twice:
            raise ConfigError(f"backend {sorted(twice)[0]!r} is named twice.")
        self._plugins().routing.get(self._settings.routing)
        return {name: self._plugins().backends.get(name) for name in self._settings.backend}

    def _load_settings(self) -> dict[str, Any]:
        """Read every plugin's variables, and report all that are bad together."""
        found: dict[str, Any] = {}
        bad: list[str] = []
        for name, spec in self._specs.items():
            try:
                found[name] = load_plugin(spec.settings, name)
            except ConfigError as error:
                bad.append(str(error))
        if bad:
            raise ConfigError(" ".join(bad))
        return found

    @property
    def _wired(self) -> _Wiring:
        if self._wiring is None or self._wiring.process != current():
            self._wiring = _Wiring(
                current(),
                {name: self._courier(name) for name in self._specs},
                self._finder(),
                Sealer(self._finish_draft),
            )
        return self._wiring

    def _lane(self, name: str) -> Lane:
        spec = self._specs[name]
        context = BackendContext(self._directory, guarded(name, spec.context))
        return open_lane(spec, self._experiment, self._plugin_settings[name], context)

    def _finder(self) -> Finder:
        return Finder(
            self._experiment,
            self._specs,
            {name: Reader(self._lane(name), self._settings) for name in self._specs},
            outbox=self._outbox,
            plugins=self._plugins,
            store=lambda: self.store,
            downloads=self._directory / "downloads",
        )

    @property
    def finder(self) -> Finder:
        """What finds stored versions; it needs no run."""
        return self._wired.finder

    def _courier(self, name: str) -> Courier:
        spec = self._specs[name]
        own = without_secrets(guarded(name, spec.context))

        def elsewhere(parcel: Parcel) -> Lane | None:
            if without_secrets(parcel.sdk) == own:
                return None
            context = BackendContext(self._directory, parcel.sdk)
            return open_lane(spec, self._experiment, self._plugin_settings[name], context)

        return Courier(name, self._experiment, self._lane(name), self._outbox, self._settings, elsewhere)

    @property
    def store(self) -> Store:
        """Where large files' bytes go."""
        if self._store is None:
            found = open_store(self._settings.store, self._directory)
            self._store = BoundedStore(found, self._settings) if isinstance(found, RemoteStore) else found
        return self._store

    # -- the run

    def begin(self, run: RunInfo) -> None:
        """Start a run: bring the lanes up behind the caller, and take up what earlier processes left."""
        self._run = run
        self._inputs.clear()
        if not self._writes:
            _LOG.info("this process is not rank 0: it reads, and writes nothing.")
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._capture = self._make_capture(run)
        for courier in self._wired.couriers.values():
            courier.start()
        for draft in self._outbox.drafts(self._experiment):
            self._wired.sealer.add(draft)
        self._resumed = [self._resume(left, self._submit) for left in self._left_captures()]
        if self._capture is not None:
            try:
                self._capture.start()
            except ConfigError:
                self.end(failed=True)
                raise

    def _make_capture(self, run: RunInfo) -> Capture | None:
        if self._settings.watch_filesystem and not self._settings.artifact_watch_dirs:
            _LOG.warning("watch_filesystem is on, and artifact_watch_dirs names no directory: nothing is watched.")
        specs = [spec for spec in self._plugins().detectors if getattr(self._settings, spec.switch)]
        if not specs:
            return None
        # Most programs capture nothing, and need not pay for it.
        from tracelet.core.capture import Capture

        submit = partial(self._submit, run=run, take=True)
        return Capture(run, self._settings, self._directory, specs, submit, self._outbox.size_bytes)

    def _left_captures(self) -> Iterator[Leftover]:
        """The captures of dead processes, which are this one's to finish from now on."""
        return (left for left in leftovers(self._directory, self._experiment) if self._outbox.take_journal(left.path))

    def _resume(self, left: Leftover, submit: Callable[..., Future[LogResults]]) -> Capture:
        from tracelet.core.capture import Capture

        own = partial(submit, run=left.head.run, take=True)
        resumed = Capture(left.head.run, self._settings, self._directory, (), own, self._outbox.size_bytes, left)
        resumed.start()
        return resumed

    def draft_captures(self, left: Leftover) -> None:
        """Make drafts of what a dead process captured and did not submit, for whoever delivers drafts."""

        def leave(
            artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool
        ) -> Future[LogResults]:
            path = self._draft(artifact, labels, run, self._route(artifact), put_id, take=take)
            self._unsealed.remove(path)
            self._outbox.disown_draft(path)
            left: Future[LogResults] = Future()
            left.set_result(LogResults())
            return left

        if self._outbox.take_journal(left.path):
            self._resume(left, leave).stop(time.monotonic() + _LONG)

    def flush(self, timeout: float) -> int:
        """Try to make every delivery that waits, for so many seconds; return how many are left."""
        if not self._writes:
            return 0
        until = time.monotonic() + timeout
        for capture in self._captures():
            capture.settle(until)
        unsealed, self._unsealed = self._unsealed, []
        for path in unsealed:
            self._wired.sealer.add(path)
        self._wired.sealer.settle(until)
        couriers = self._wired.couriers.values()
        for courier in couriers:
            courier.hurry()
        while time.monotonic() < until and not all(courier.idle() for courier in couriers):
            time.sleep(_POLL)
        return self.waiting()

    def waiting(self) -> int:
        """Return how many deliveries of this experiment are in the outbox, or on their way there."""
        drafts = {*self._outbox.drafts(self._experiment), *(path for path in self._unsealed if path.exists())}
        deliveries = sum(len(self._outbox.waiting(self._experiment, name)) for name in self._specs)
        return deliveries + len(drafts) + sum(capture.waiting for capture in self._captures())

    @property
    def broke_off(self) -> bool:
        """Whether the last training that a detector watched in this run did not come to its end."""
        return self._capture is not None and not self._capture.completed

    def _captures(self) -> list[Capture]:
        return self._resumed if self._capture is None else [self._capture, *self._resumed]

    def end(self, *, failed: bool) -> None:
        """End the run: deliver for a bounded time, end every lane, and say what is left."""
        until = time.monotonic() + self._settings.stop_timeout
        try:
            for capture in self._captures():
                capture.stop(time.monotonic() + self._settings.stop_timeout * _CAPTURE)
            self._resumed = []
            self.flush(until - time.monotonic() - self._settings.stop_timeout * _RESERVE)
        finally:
            wiring, self._wiring, self._run = self._wired, None, None
            self._leave([*wiring.sealer.close(), *self._unsealed])
            close_all(wiring.couriers.values(), until, failed=failed)
            wiring.finder.close(until)
        if left := self.waiting():
            _LOG.warning("%d deliveries wait in %s: send them with `tracelet sync`.", left, self._outbox.root)

    def _leave(self, drafts: Collection[Path]) -> None:
        """Leave drafts to a later run, or to `tracelet sync`; who waits for them is told."""
        error = BackendUnavailable("the run ended before it was delivered: a later run or `tracelet sync` does that.")
        for path in drafts:
            found = self._outbox.disown_draft(path)
            results = LogResults()
            results.queued.update(dict.fromkeys(found.targets if found is not None else (), error))
            self._promises.pop(path, Future()).set_result(results)
        self._unsealed.clear()

    # -- writing

    def log(self, artifact: TraceletArtifact, labels: Labels) -> LogResults:
        """Seal an artifact, deliver it, and say what became of it. Raises for misuse only."""
        run = self._running()
        targets = self._route(artifact)
        if not self._writes:
            return self._skip_all(targets)
        self._wired.sealer.settle(time.monotonic() + self._settings.deadline)
        outcomes = self._log_once(artifact, labels, run, targets, snapshot=False)
        changed = [name for name, outcome in outcomes.items() if isinstance(outcome.error, FileChanged)]
        if changed:
            again = [target for target in targets if target.name in changed]
            outcomes |= self._log_once(artifact, labels, run, again, snapshot=True)
        results = self._results(outcomes)
        if self._settings.strict:
            results.raise_for_errors()
        return results

    def submit(self, artifact: TraceletArtifact, labels: Labels) -> Future[LogResults]:
        """Snapshot an artifact into the outbox and return; the future gives what became of it."""
        return self._submit(artifact, labels, uuid.uuid4().hex, run=self._running())

    def _submit(
        self, artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool = False
    ) -> Future[LogResults]:
        """With ``take`` the files are Tracelet's own."""
        targets = self._route(artifact)
        promise: Future[LogResults] = Future()
        if not self._writes:
            promise.set_result(self._skip_all(targets))
            return promise
        try:
            path = self._draft(artifact, labels, run, targets, put_id, take=take)
        except OSError as error:
            promise.set_result(self._results({target.name: Outcome(error=unwritable(error)) for target in targets}))
            return promise
        self._counts["submitted"] += 1
        self._unsealed.remove(path)
        self._promises[path] = promise
        self._wired.sealer.add(path)
        return promise

    def _draft(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        put_id: str,
        *,
        take: bool = False,
    ) -> Path:
        """Put snapshots of an artifact into the outbox, to be sealed and delivered from there."""
        draft = self._prepared(artifact, run, targets, put_id, snapshot=True, take=take)
        known = {target.name: guarded(target.name, target.context) for target in targets}
        path = self._outbox.add_draft(draft, labels, run, known)
        self._unsealed.append(path)
        return path

    def use(self, artifact: LoggedArtifact) -> LoggedArtifact:
        """Note that the run uses this version: what it logs from now on names its digest as an input."""
        run = self._running()
        self._inputs.add(artifact.digest)
        shelf = artifact._shelf
        if self._writes and isinstance(shelf, BackendShelf):
            self._wired.couriers[shelf.backend].note_input(shelf.stored, run)
        return artifact

    def _running(self) -> RunInfo:
        if self._run is None:
            raise ConfigError(
                f"experiment {self._experiment!r} has no run: call start() first, or use it in a with statement."
            )
        return self._run

    def _route(self, artifact: TraceletArtifact) -> list[BackendSpec]:
        return targets_of(artifact, self._specs, self._settings.routing, self._plugins())

    def _skip_all(self, targets: Iterable[BackendSpec]) -> LogResults:
        results = LogResults()
        results.skipped.update({target.name: "only rank 0 writes" for target in targets})
        return results

    def _prepared(
        self,
        artifact: TraceletArtifact,
        run: RunInfo,
        targets: Collection[BackendSpec],
        put_id: str,
        *,
        snapshot: bool,
        take: bool = False,
    ) -> Draft:
        staging = staging_folder(self._directory, put_id)
        try:
            return prepare(
                artifact,
                put_id=put_id,
                run_id=run.id,
                inputs=self._inputs if run == self._run else (),
                staging=staging,
                serializers=self._plugins().serializers,
                targets=targets,
                snapshot=snapshot,
                take=take,
            )
        except FileChanged as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise ArtifactError(f"{error} It keeps changing: log it when it is written.") from error
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _limit_mb(self) -> float | None:
        return None if self._settings.on_large == "upload" else self._settings.large_file_mb

    def _log_once(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        *,
        snapshot: bool,
    ) -> dict[str, Outcome]:
        tasks: dict[str, Task] = {}
        try:
            draft = self._prepared(artifact, run, targets, uuid.uuid4().hex, snapshot=snapshot)
        except OSError as error:
            return {target.name: Outcome(error=unwritable(error)) for target in targets}
        try:
            sealed = finish(draft, store=self.store, limit_mb=self._limit_mb())
            self._tell_unportable(sealed.manifest.stored)
            until = time.monotonic() + limit_for(sealed.manifest.size_bytes, self._settings) + _MARGIN
            for target in targets:
                parcel = Parcel(
                    target.name, run, labels, guarded(target.name, target.context), sealed.manifest, time.time()
                )
                own = attrs.evolve(sealed, rendered=draft.rendered.get(target.name))
                tasks[target.name] = self._wired.couriers[target.name].send(own, parcel)
            return {name: self._wired.couriers[name].wait_for(task, until) for name, task in tasks.items()}
        except FileChanged as error:
            return {target.name: Outcome(error=error) for target in targets}
        except BackendError as error:
            self._draft(artifact, labels, run, targets, uuid.uuid4().hex)
            return {target.name: Outcome(error=error, queued=True) for target in targets}
        finally:
            _remove_after(draft.staging, tasks.values())

    def _finish_draft(self, path: Path) -> None:
        """Hash a draft, and hand one delivery a backend to the couriers."""
        promise = self._promises.pop(path, None) or Future()
        outcomes: dict[str, Future[Outcome]] = {}
        try:
            for parcel in seal_draft(path, self._outbox, self.store, self._limit_mb()):
                self._tell_unportable(parcel.manifest.stored)
                if parcel.backend in self._specs:
                    outcomes[parcel.backend] = self._wired.couriers[parcel.backend].expect(parcel)
        except BackendError as error:
            # The store is away: the snapshots are safe here, and are sealed when it is back.
            found = self._outbox.load_draft(path)
            self._unsealed.append(path)
            queued = {name: Outcome(error=error, queued=True) for name in (found.targets if found is not None else ())}
            promise.set_result(self._results(queued))
            return
        except TraceletError as error:
            promise.set_exception(error)
            raise
        _when_all(outcomes, lambda: promise.set_result(self._results({n: o.result() for n, o in outcomes.items()})))

    def _results(self, outcomes: dict[str, Outcome]) -> LogResults:
        results = LogResults()
        for name, outcome in outcomes.items():
            if outcome.delivered is not None:
                results[name] = self._result(name, outcome.delivered.stored, created=outcome.delivered.created)
                self._counts["logged" if outcome.delivered.created else "unchanged"] += 1
                continue
            assert outcome.error is not None
            if outcome.queued:
                results.queued[name] = outcome.error
                self._counts["queued"] += 1
                _LOG.warning("%s: %s Queued in %s.", name, outcome.error, self._outbox.root)
            else:
                results.failed[name] = outcome.error
                self._counts["failed"] += 1
                _LOG.warning("%s: %s", name, outcome.error)
        return results

    def _result(self, name: str, stored: StoredArtifact, *, created: bool) -> LogResult:
        return LogResult(
            backend=name,
            version=stored.version,
            uri=stored.uri,
            size_bytes=stored.manifest.size_bytes,
            digest=stored.manifest.digest,
            portable=self.store.portable or not stored.manifest.stored,
            created=created,
            pending=stored.pending,
        )

    def _tell_unportable(self, stored: Collection[Any]) -> None:
        if stored and not self.store.portable and "store" not in self._told:
            self._told.add("store")
            _LOG.warning(
                "files over %g MB stay on this machine, in %s, and backends get references: set TRACELET_STORE to a place "
                "that others can read, or on_large='upload'.",
                self._settings.large_file_mb,
                self.store.uri("0" * 64).rpartition("/objects/")[0],
            )

    # -- telling

    def get_stats(self) -> dict[str, Any]:
        """Return what there is to know without asking any backend: plain data, for people and logs.

        ``backends`` has for each its state, the reason where it is broken, what waits and what was
        delivered; ``counts`` is about this process; sizes are in megabytes where their name says so.
        """
        couriers = self._wired.couriers
        return {
            "enabled": self._settings.enable_artifacts,
            "experiment": self._experiment,
            "run": self._run.id if self._run is not None else None,
            "writes": self._writes,
            "directory": str(self._directory),
            "store": self._settings.store or str(self._directory),
            "routing": self._settings.routing,
            "large_file_mb": self._settings.large_file_mb,
            "on_large": self._settings.on_large,
            "backends": {name: courier.state() for name, courier in couriers.items()},
            "counts": dict(self._counts),
            "capture": self._capture.stats() if self._capture is not None else None,
            "outbox": {"waiting": self.waiting(), "refused": len(list(self._outbox.refused()))},
        }


def _when_all(futures: dict[str, Future[Outcome]], then: Callable[[], None]) -> None:
    """Call ``then`` once when every future is done."""
    left = set(futures)

    def done(name: str) -> None:
        left.discard(name)
        if not left:
            then()

    if not futures:
        then()
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: done(name))  # type: ignore[misc]


def _remove_after(staging: Path, tasks: Collection[Task]) -> None:
    """Remove a staging folder once no delivery reads from it any more."""
    futures = {str(number): task.outcome for number, task in enumerate(tasks)}
    _when_all(futures, lambda: shutil.rmtree(staging, ignore_errors=True))
