"""The artifact manager: route, seal, deliver, find."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.capture.journal import Leftover
from tracelet.core.delivery.completion import Completion
from tracelet.core.delivery.courier import Courier, Task, close_all
from tracelet.core.delivery.drafts import seal_draft, staging_folder
from tracelet.core.delivery.outbox import Outbox, Parcel
from tracelet.core.delivery.outcomes import Outcome, run_ended, unwritable
from tracelet.core.delivery.puts import Put, interrupted_puts, note_put
from tracelet.core.delivery.uses import Use
from tracelet.core.experiment.capture_recovery import CaptureRecovery
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.report import ResultReport, skipped
from tracelet.core.experiment.resources import ExperimentResources, ProcessResources
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import Registry, SpecSet
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.reading.content import StoredContent
from tracelet.core.reading.finder import Finder
from tracelet.core.sealing.draft import Draft
from tracelet.core.sealing.route import backends_for
from tracelet.core.sealing.seal import finish, prepare
from tracelet.core.storage.blob_store import Store
from tracelet.core.system.files import FileChanged, make_folder
from tracelet.core.system.links import check_directory
from tracelet.core.system.messages import many
from tracelet.core.system.threads import Promise
from tracelet.exceptions import (
    ArtifactError,
    BackendError,
    ConfigError,
    TraceletError,
)
from tracelet.settings import TraceletSettings

__all__ = ["ArtifactManager"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Seconds beyond the limit of a delivery, in which a delivery that failed is put into the outbox.
_MARGIN = 1.0
#: The share of ``stop_timeout`` that is kept for ending runs and processes.
_RESERVE = 0.2
#: The share of ``stop_timeout`` in which captured files are hashed.
_CAPTURE = 0.4
_POLL = 0.02


class ArtifactManager:
    """Does the work of an experiment with artifacts. It can be asked before the run starts and after it ends."""

    def __init__(
        self,
        experiment: str,
        settings: TraceletSettings,
        directory: Path,
        plugins: Callable[[], Registry],
        *,
        writes: bool,
    ) -> None:
        """``directory`` is the absolute path of the tracelet directory. ``writes`` is True on rank 0 alone."""
        check_directory(directory)
        self._context = ExperimentContext(experiment, settings, directory, plugins, Outbox(directory))
        self._writes = writes
        self._run: RunInfo | None = None
        self._inputs: set[str] = set()
        #: By draft: the future that its submitter holds, and the names of its backends.
        self._promises: dict[Path, tuple[Future[LogResults], list[str]]] = {}
        #: Drafts of this process that wait for a sealer.
        self._unsealed: list[Path] = []
        #: The id by which the drafts of the current run are known as its own; None without a run.
        self._session: str | None = None
        #: Puts into several backends that a dead process left unfinished.
        self._interrupted: dict[Path, Put] = {}
        self._resources = ExperimentResources(self._context, self._finish_draft)
        self._captures = CaptureRecovery(self._context, self._submit)
        self._report = ResultReport(self._context, lambda: self.store)

    @property
    def _process(self) -> ProcessResources:
        return self._resources.of_process

    @property
    def finder(self) -> Finder:
        """Finds stored versions. It needs no run."""
        return self._process.finder

    @property
    def store(self) -> Store:
        """The store for the bytes of large files."""
        return self._resources.store

    @property
    def serializers(self) -> SpecSet[SerializerSpec]:
        """The serializers for objects and models."""
        return self._context.plugins().serializers

    # -- the run

    def begin(self, run: RunInfo) -> None:
        """Start a run: open the lanes in the background, and continue what earlier processes left unfinished."""
        if self._resources.outdated:
            self.release()
        self._run = run
        self._session = f"{run.id}~{os.getpid()}"
        self._inputs.clear()
        if not self._writes:
            return
        try:
            make_folder(self._context.directory, shared=False)
            self._captures.prepare(run)
            self._context.outbox.begin_session(self._session)
            process = self._process
            for courier in process.couriers.values():
                courier.start()
            self._interrupted = self._interrupted_puts(process.couriers)
            drafts = self._context.outbox.every_draft(self._context.experiment)
            for path in sorted([*self._interrupted, *drafts], key=lambda path: path.name):
                process.sealer.add(path)
            self._captures.start()
        except BaseException:
            self.end(failed=True)
            raise

    def _interrupted_puts(self, couriers: Mapping[str, Courier]) -> dict[Path, Put]:
        """Return the puts that a kill left in some of the backends. They are completed first, because they are older."""
        return {
            path: put
            for path, put in interrupted_puts(self._context.directory)
            if put.parcel.run.experiment == self._context.experiment and put.targets.keys() <= couriers.keys()
        }

    def draft_captures(self, left: Leftover) -> None:
        """Make drafts of captures that a dead process did not submit. Whoever delivers drafts delivers them."""

        def leave(
            artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool
        ) -> Future[LogResults]:
            self._draft(artifact, labels, run, self._route(artifact), put_id, take=take)
            left: Future[LogResults] = Future()
            left.set_result(LogResults())
            return left

        self._captures.hand_over(left, leave)

    def flush(self, timeout: float) -> int:
        """Make the deliveries that wait, for ``timeout`` seconds at most; return how many are left."""
        if not self._writes:
            return 0
        until = time.monotonic() + timeout
        self._captures.settle(until)
        unsealed, self._unsealed = self._unsealed, []
        for path in unsealed:
            self._process.sealer.add(path)
        self._process.sealer.settle(until)
        couriers = self._process.couriers.values()
        for courier in couriers:
            courier.hurry()
        while time.monotonic() < until and not all(courier.idle() for courier in couriers):
            time.sleep(_POLL)
        return self.waiting()

    def waiting(self) -> int:
        """Return how many deliveries of this experiment are in the outbox, or on the way into it."""
        outbox, experiment = self._context.outbox, self._context.experiment
        deliveries = sum(len(outbox.waiting(experiment, name)) for name in self._resources.specs)
        return deliveries + len(outbox.every_draft(experiment)) + self._captures.waiting

    @property
    def broke_off(self) -> bool:
        """Whether the last training that a detector captured in this run did not complete."""
        return self._captures.own is not None and not self._captures.own.completed

    def end(self, *, failed: bool) -> None:
        """End the run: deliver for ``stop_timeout`` seconds at most, end every lane, and log what is left."""
        until, run = time.monotonic() + self._context.settings.stop_timeout, self._running()
        try:
            last = until - self._context.settings.stop_timeout * _RESERVE
            self._captures.stop(self._context.settings.stop_timeout * _CAPTURE, last)
            self.flush(last - time.monotonic())
        finally:
            process, self._run = self._process, None
            process.sealer.close()
            self._leave_drafts()
            close_all(process.couriers.values(), until, failed=failed)
            process.finder.close(until)
            self._abandon_promises()
            left = self.waiting()
            self._resources.detach()
            # After an interrupt too: the user must know what waits.
            self._tell_what_is_left(sum(courier.backlog.refused[run.id] for courier in process.couriers.values()), left)

    def _tell_what_is_left(self, refused: int, left: int) -> None:
        if refused:
            many_of_them = many(refused, "delivery", "deliveries")
            _LOG.warning("backends refused %s of this run: `tracelet doctor` says which, and why.", many_of_them)
        if left:
            waiting = many(left, "delivery waits", "deliveries wait")
            them = "it" if left == 1 else "them"
            _LOG.warning("%s in %s: send %s with `tracelet sync`.", waiting, self._context.outbox.root, them)

    def _leave_drafts(self) -> None:
        """Leave drafts that are not hashed to a later run, or to `tracelet sync`; they are this run's no more."""
        self._unsealed.clear()
        if self._session is not None:
            self._context.outbox.end_session(self._context.experiment, self._session)
            self._session = None

    def _abandon_promises(self) -> None:
        for path, (_, targets) in list(self._promises.items()):
            results = LogResults()
            results.queued.update((name, run_ended(name)) for name in targets)
            self._keep_promise(path, results)

    def _keep_promise(self, path: Path, results: LogResults) -> None:
        promise, _ = self._promises.pop(path, (None, []))
        if promise is not None:
            _keep(promise, results)

    def disown(self) -> None:
        """In a forked child, leave the run and its deliveries to the parent."""
        self._run = None
        self._unsealed.clear()
        self._promises.clear()
        self._captures.stop(0.0, time.monotonic())
        if self._resources.existing is not None:
            close_all(
                self._process.couriers.values(), time.monotonic() + self._context.settings.stop_timeout, failed=False
            )
        self.release()

    def release(self) -> None:
        """Without a run, close what reading has opened."""
        if self._run is None and (process := self._resources.detach()) is not None:
            process.finder.close(time.monotonic() + self._context.settings.stop_timeout)

    # -- writing

    def log(self, artifact: TraceletArtifact, labels: Labels) -> LogResults:
        """Seal an artifact, deliver it, and return the results. Only misuse raises."""
        run = self._running()
        targets = self._route(artifact)
        if not self._writes:
            return skipped(target.name for target in targets)
        until = time.monotonic() + self._context.settings.deadline
        self._captures.settle_left(until)
        self._process.sealer.settle(until, artifact.name)
        outcomes = self._log_once(artifact, labels, run, targets, snapshot=False)
        changed = [name for name, outcome in outcomes.items() if isinstance(outcome.error, FileChanged)]
        if changed:
            again = [target for target in targets if target.name in changed]
            outcomes |= self._log_once(artifact, labels, run, again, snapshot=True)
        results = self._report.results(outcomes, raised=True)
        if results.misuse is not None:
            raise results.misuse
        results.warnings += artifact._warnings
        if self._context.settings.strict:
            results.raise_for_errors()
        return results

    def submit(self, artifact: TraceletArtifact, labels: Labels) -> Future[LogResults]:
        """Snapshot an artifact into the outbox, and return a future of the results."""
        promise = self._submit(artifact, labels, uuid.uuid4().hex, run=self._running())
        return _with_warnings(promise, tuple(artifact._warnings))

    def _submit(
        self, artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool = False
    ) -> Future[LogResults]:
        """Do the work of :meth:`submit`; with ``take``, the files are Tracelet's own and are moved."""
        targets = self._route(artifact)
        promise: Future[LogResults] = Future()
        promise.set_running_or_notify_cancel()  # so that nobody can cancel it
        if not self._writes:
            promise.set_result(skipped(target.name for target in targets))
            return promise
        try:
            path = self._draft(artifact, labels, run, targets, put_id, take=take)
        except OSError as error:
            promise.set_result(
                self._report.results({target.name: Outcome(error=unwritable(error)) for target in targets})
            )
            return promise
        self._report.counts["submitted"] += 1
        self._promises[path] = promise, [target.name for target in targets]
        self._process.sealer.add(path)
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
        """Put snapshots of an artifact into the outbox, where a sealer finds them."""
        draft = self._prepared(artifact, run, targets, put_id, snapshot=True, take=take)
        known = {target.name: self._process.sdk[target.name] for target in targets}
        return self._context.outbox.add_draft(draft, labels, run, known, self._session)

    def use(self, artifact: LoggedArtifact) -> LoggedArtifact:
        """Record that the run uses this version. What the run logs from now on has its digest as an input.

        Each backend with a lineage of its own records it in the background, if the backend holds this content.
        """
        run = self._running()
        if self._writes and artifact.digest not in self._inputs:
            for name, spec in self._resources.specs.items():
                if Capability.INPUTS in spec.capabilities:
                    self._process.couriers[name].note_input(_use(artifact, name, run))
        self._inputs.add(artifact.digest)
        return artifact

    def _running(self) -> RunInfo:
        if self._run is None:
            raise ConfigError(
                f"experiment {self._context.experiment!r} has no run: call start() first, or use it in a with statement."
            )
        return self._run

    def _route(self, artifact: TraceletArtifact) -> list[BackendSpec]:
        return backends_for(artifact, self._resources.specs, self._context.settings.routing, self._context.plugins())

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
        staging = staging_folder(self._context.directory, put_id)
        try:
            draft = prepare(
                artifact,
                put_id=put_id,
                run_id=run.id,
                inputs=self._inputs if run == self._run else (),
                staging=staging,
                serializers=self.serializers,
                targets=targets,
                snapshot=snapshot,
                take=take,
            )
            artifact.check_content()  # last: any other fault of the artifact makes a better message
            return draft
        except FileChanged as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise ArtifactError(f"{error} It keeps changing: log it when it is written.") from error
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _limit_mb(self) -> float | None:
        return None if self._context.settings.on_large == "upload" else self._context.settings.large_file_mb

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
        note: Path | None = None
        try:
            draft = self._prepared(artifact, run, targets, uuid.uuid4().hex, snapshot=snapshot)
        except OSError as error:
            return {target.name: Outcome(error=unwritable(error)) for target in targets}
        try:
            sealed = finish(draft, store=self.store, limit_mb=self._limit_mb())
            self._report.tell_unportable(sealed.manifest.stored)
            until = time.monotonic() + deadline_for(sealed.manifest.held_bytes, self._context.settings) + _MARGIN
            order = self._context.outbox.clock(run.experiment).tick()
            parcels = {
                target.name: Parcel(
                    target.name, run, labels, self._process.sdk[target.name], sealed.manifest, time.time(), order=order
                )
                for target in targets
            }
            if len(parcels) > 1:
                with contextlib.suppress(OSError):  # without the note, a kill in the middle is not completed later
                    note = note_put(self._context.directory, parcels)
            for name, parcel in parcels.items():
                own = attrs.evolve(sealed, rendered=draft.rendered.get(name))
                tasks[name] = self._process.couriers[name].send(own, parcel)
            return {name: self._process.couriers[name].wait_for(task, until) for name, task in tasks.items()}
        except FileChanged as error:
            return {target.name: Outcome(error=error) for target in targets}
        except BackendError as error:
            return self._kept(artifact, labels, run, targets, error)
        finally:
            _remove_after(draft.staging, note, tasks.values())

    def _kept(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        error: BackendError,
    ) -> dict[str, Outcome]:
        """Keep a draft of an artifact whose large files the store did not take; it is sealed when the store is back."""
        try:
            self._unsealed.append(self._draft(artifact, labels, run, targets, uuid.uuid4().hex))
        except OSError as failure:
            return {target.name: Outcome(error=unwritable(failure)) for target in targets}
        return {target.name: Outcome(error=error, queued=True) for target in targets}

    def _complete(self, path: Path, put: Put, couriers: Mapping[str, Courier]) -> None:
        """Queue an interrupted put for the backends that lack it."""
        for parcel in put.parcels:
            couriers[parcel.backend].check_address(parcel.sdk)
        context = self._context
        with Completion(context.directory, context.settings, context.plugins(), context.outbox) as completion:
            completion.complete(path, put)
        for courier in couriers.values():
            courier.look_again()

    def _finish_draft(self, path: Path, couriers: Mapping[str, Courier]) -> None:
        """Hash a draft, and give each courier the delivery to its backend."""
        put = self._interrupted.pop(path, None)
        if put is not None:
            self._complete(path, put, couriers)
            return
        outcomes: dict[str, Future[Outcome]] = {}
        try:
            for parcel in seal_draft(path, self._context.outbox, self.store, self._limit_mb(), self._session):
                self._report.tell_unportable(parcel.manifest.stored)
                if parcel.backend in couriers:
                    outcomes[parcel.backend] = couriers[parcel.backend].expect(parcel)
            if not outcomes and not path.exists():
                # Another process has sealed it, and its deliveries are in the outbox.
                for courier in couriers.values():
                    courier.look_again()
        except (BackendError, OSError) as failure:
            # The store is away, or the disk is full. The snapshots are safe here, and are sealed later.
            error = unwritable(failure) if isinstance(failure, OSError) else failure
            self._unsealed.append(path)
            _, targets = self._promises.get(path, (None, []))
            self._keep_promise(path, self._report.results({n: Outcome(error=error, queued=True) for n in targets}))
            return
        except TraceletError as error:
            promise, _ = self._promises.pop(path, (None, []))
            if promise is not None:
                promise.set_exception(error)
            raise
        _when_all(
            outcomes,
            lambda: self._keep_promise(path, self._report.results({n: o.result() for n, o in outcomes.items()})),
        )

    # -- figures

    def get_stats(self) -> dict[str, Any]:
        """Return the state of the experiment as plain data, for people and logs. No backend is asked.

        Returns:
            A dict. ``backends`` has for each backend its state, the reason where it is broken, and the number of
            deliveries that wait and that were made. ``counts`` counts the results of this process. ``capture`` counts
            captures. ``outbox`` counts deliveries that wait and that were refused. Sizes are in megabytes where the key
            says so.
        """
        couriers = self._process.couriers
        return {
            "enabled": self._context.settings.enable_artifacts,
            "experiment": self._context.experiment,
            "run": self._run.id if self._run is not None else None,
            "writes": self._writes,
            "directory": str(self._context.directory),
            "store": self._context.settings.store or str(self._context.directory),
            "routing": self._context.settings.routing,
            "large_file_mb": self._context.settings.large_file_mb,
            "on_large": self._context.settings.on_large,
            "backends": {name: courier.state() for name, courier in couriers.items()},
            "counts": dict(self._report.counts),
            "capture": self._captures.stats(),
            "outbox": {"waiting": self.waiting(), "refused": len(list(self._context.outbox.refused()))},
        }


def _use(artifact: LoggedArtifact, backend: str, run: RunInfo) -> Use:
    """Name a version by its number in the backend where it was found, and by its digest in the others."""
    content = artifact._content
    ref = f"sha256:{artifact.digest}"
    if isinstance(content, StoredContent) and content.backend == backend:
        ref = f"v{content.stored.number}"
    return Use(backend, run, artifact.name, ref, artifact.digest)


def _keep(promise: Future[LogResults], results: LogResults) -> None:
    """Resolve a future with what :meth:`ArtifactManager.log` would have returned or raised."""
    if results.misuse is not None:
        promise.set_exception(results.misuse)
    else:
        promise.set_result(results)


def _with_warnings(promise: Future[LogResults], warnings: Collection[str]) -> Future[LogResults]:
    told: Promise[LogResults] = Promise()
    told.set_running_or_notify_cancel()

    def tell(done: Future[LogResults]) -> None:
        if error := done.exception():
            told.set_exception(error)
            return
        done.result().warnings.extend(warnings)
        told.set_result(done.result())

    promise.add_done_callback(tell)
    return told


def _when_all(futures: Mapping[str, Future[Any]], then: Callable[[], None]) -> None:
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


def _remove_after(staging: Path, note: Path | None, tasks: Collection[Task]) -> None:
    """Remove a staging folder once no delivery reads from it, and the note of a put once all its deliveries are safe."""
    futures = {str(number): task.outcome for number, task in enumerate(tasks)}
    _when_all(futures, lambda: shutil.rmtree(staging, ignore_errors=True))
    if note is not None:
        safe = {str(number): task.safe for number, task in enumerate(tasks)}
        _when_all(safe, lambda: note.unlink(missing_ok=True))
