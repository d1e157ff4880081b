"""Artifacts that were submitted: each becomes a draft at once, is sealed behind the caller, and has its result promised."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from pathlib import Path

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.drafts import seal_draft
from tracelet.core.delivery.outcomes import Outcome, run_ended, unwritable
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.preparation import Preparation
from tracelet.core.experiment.report import ResultReport
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.system.threads import when_all
from tracelet.exceptions import BackendError, TraceletError

__all__ = ["Submissions"]


class Submissions:
    """The drafts of one experiment, and what their submitters were promised."""

    def __init__(
        self,
        context: ExperimentContext,
        resources: ExperimentResources,
        preparation: Preparation,
        report: ResultReport,
    ) -> None:
        self._context = context
        self._resources = resources
        self._preparation = preparation
        self._report = report
        #: By draft: the future that its submitter holds, and the names of its backends.
        self._promises: dict[Path, tuple[Future[LogResults], list[str]]] = {}
        #: Drafts of this process that wait for a sealer.
        self._unsealed: list[Path] = []
        #: The id by which the drafts of the current run are known as its own; None without a run.
        self._session: str | None = None

    def begin(self, run: RunInfo) -> None:
        """Say that this process seals the drafts of a run itself."""
        self._session = f"{run.id}~{os.getpid()}"
        self._context.outbox.drafts.begin_session(self._session)

    def submit(
        self, artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool = False
    ) -> Future[LogResults]:
        """Make a draft of an artifact, and promise its result. With ``take``, the files are Tracelet's own and are moved."""
        targets = self._preparation.route(artifact)
        promise: Future[LogResults] = Future()
        promise.set_running_or_notify_cancel()  # so that nobody can cancel it
        try:
            path = self._add_draft(artifact, labels, run, targets, put_id, take=take)
        except OSError as error:
            outcomes = {target.name: Outcome(error=unwritable(error)) for target in targets}
            promise.set_result(self._report.results(outcomes))
            return promise
        self._report.counts["submitted"] += 1
        self._promises[path] = promise, [target.name for target in targets]
        self._resources.of_process.sealer.add(path)
        return promise

    def submit_later(
        self, artifact: TraceletArtifact, labels: Labels, put_id: str, *, run: RunInfo, take: bool = False
    ) -> Future[LogResults]:
        """Make a draft of an artifact for whoever seals drafts. Nobody waits for its result, and the one given is empty."""
        self._add_draft(artifact, labels, run, self._preparation.route(artifact), put_id, take=take)
        left: Future[LogResults] = Future()
        left.set_result(LogResults())
        return left

    def _add_draft(
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
        draft = self._preparation.draft(artifact, run, targets, put_id, snapshot=True, take=take)
        known = {target.name: self._resources.of_process.sdk[target.name] for target in targets}
        backends = list(self._context.backends.specs)
        return self._context.outbox.drafts.add(draft, labels, run, known, self._session, backends=backends)

    def keep(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        error: BackendError,
    ) -> dict[str, Outcome]:
        """Keep a draft of an artifact whose large files the store did not take; it is sealed when the store is back."""
        try:
            self._unsealed.append(self._add_draft(artifact, labels, run, targets, uuid.uuid4().hex))
        except OSError as failure:
            return {target.name: Outcome(error=unwritable(failure)) for target in targets}
        return {target.name: Outcome(error=error, queued=True) for target in targets}

    def seal_again(self) -> None:
        """Give the sealer what could not be sealed before."""
        unsealed, self._unsealed = self._unsealed, []
        for path in unsealed:
            self._resources.of_process.sealer.add(path)

    def seal(self, path: Path, couriers: Mapping[str, Courier]) -> None:
        """Hash a draft, and give each courier the delivery to its backend. The sealer calls this."""
        outcomes: dict[str, Future[Outcome]] = {}
        context = self._context
        try:
            for parcel in seal_draft(path, context.outbox, self._resources.store, context.limit_mb, self._session):
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
        when_all(
            outcomes,
            lambda: self._keep_promise(path, self._report.results({n: o.result() for n, o in outcomes.items()})),
        )

    def leave(self) -> None:
        """Leave drafts that are not hashed to a later run, or to `tracelet sync`; they are this run's no more."""
        self._unsealed.clear()
        if self._session is not None:
            self._context.outbox.drafts.end_session(self._context.experiment, self._session)
            self._session = None

    def abandon(self) -> None:
        """Tell every submitter whose artifact is not delivered that the run is over."""
        for path, (_, targets) in list(self._promises.items()):
            results = LogResults()
            results.queued.update((name, run_ended(name)) for name in targets)
            self._keep_promise(path, results)

    def disown(self) -> None:
        """In a forked child: forget what the parent submitted."""
        self._unsealed.clear()
        self._promises.clear()

    def _keep_promise(self, path: Path, results: LogResults) -> None:
        """Resolve a future with what :meth:`ArtifactManager.log` would have returned or raised."""
        promise, _ = self._promises.pop(path, (None, []))
        if promise is None:
            return
        if results.misuse is not None:
            promise.set_exception(results.misuse)
        else:
            promise.set_result(results)
