"""Putting an artifact into its backends while the caller waits."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

import attrs

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.delivery.courier import Task
from tracelet.core.delivery.outcomes import Outcome, unwritable
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import note_put
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.preparation import Preparation
from tracelet.core.experiment.report import ResultReport
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.experiment.submissions import Submissions
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.sealing.finish import finish
from tracelet.core.system.files import FileChanged
from tracelet.core.system.threads import when_all
from tracelet.exceptions import BackendError

__all__ = ["DirectPut"]

#: Seconds beyond the limit of a delivery, in which a delivery that failed is put into the outbox.
_MARGIN = 1.0


class DirectPut:
    """Seals artifacts of one experiment on the caller's thread, and waits for the couriers."""

    def __init__(
        self,
        context: ExperimentContext,
        resources: ExperimentResources,
        preparation: Preparation,
        submissions: Submissions,
        report: ResultReport,
    ) -> None:
        self._context = context
        self._resources = resources
        self._preparation = preparation
        self._submissions = submissions
        self._report = report

    def put(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        gathered: Callable[[SealedArtifact], SealedArtifact] | None = None,
    ) -> dict[str, Outcome]:
        """Put an artifact into these backends, and return what became of it in each.

        The user's files are read where they are. Where one changed meanwhile, the put is made again from copies. ``gathered`` makes the
        whole of what is sealed here; then all bytes go to the store, and nothing is kept for later where that fails.
        """
        outcomes = self._put_once(artifact, labels, run, targets, snapshot=False, gathered=gathered)
        changed = [name for name, outcome in outcomes.items() if isinstance(outcome.error, FileChanged)]
        if changed:
            again = [target for target in targets if target.name in changed]
            outcomes |= self._put_once(artifact, labels, run, again, snapshot=True, gathered=gathered)
        return outcomes

    def _put_once(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        *,
        snapshot: bool,
        gathered: Callable[[SealedArtifact], SealedArtifact] | None = None,
    ) -> dict[str, Outcome]:
        tasks: dict[str, Task] = {}
        parcels: dict[str, Parcel] = {}
        note: Path | None = None
        is_left = False
        context, process = self._context, self._resources.of_process
        try:
            draft = self._preparation.draft(artifact, run, targets, uuid.uuid4().hex, snapshot=snapshot)
        except OSError as error:
            return {target.name: Outcome(error=unwritable(error)) for target in targets}
        try:
            # What others are to be gathered with is in the store, all of it.
            limit_mb = context.limit_mb if gathered is None else -1.0
            sealed = finish(draft, store=self._resources.store, limit_mb=limit_mb)
            if gathered is not None:
                sealed = gathered(sealed)
            self._report.tell_unportable(sealed.manifest.stored)
            until = time.monotonic() + deadline_for(sealed.manifest.held_bytes, context.settings) + _MARGIN
            order = context.outbox.clock(run.experiment).tick()
            parcels = {
                target.name: Parcel(
                    target.name, run, labels, process.sdk[target.name], sealed.manifest, time.time(), order=order
                )
                for target in targets
            }
            if len(parcels) > 1 or not all(target.in_process for target in targets):
                with contextlib.suppress(OSError):  # without the note, a kill in the middle is not completed later
                    note = note_put(context.directory, parcels)
            for name, parcel in parcels.items():
                own = attrs.evolve(sealed, rendered=draft.rendered.get(name))
                tasks[name] = process.couriers[name].send(own, parcel)
            return {name: process.couriers[name].wait_for(task, until) for name, task in tasks.items()}
        except FileChanged as error:
            return {target.name: Outcome(error=error) for target in targets}
        except BackendError as error:
            if gathered is not None:
                return {target.name: Outcome(error=error) for target in targets}
            return self._submissions.keep(artifact, labels, run, targets, error)
        except KeyboardInterrupt:
            # One backend may have it by now, and others were not told: all stays for whoever completes it.
            is_left = len(tasks) < len(parcels)
            raise
        finally:
            if not is_left:
                _remove_after(draft.staging, note, tasks.values())


def _remove_after(staging: Path, note: Path | None, tasks: Collection[Task]) -> None:
    """Remove a staging folder once no delivery reads from it, and the note of a put once all its deliveries are safe."""
    if staging.is_dir():
        futures = {str(number): task.outcome for number, task in enumerate(tasks)}
        when_all(futures, lambda: shutil.rmtree(staging, ignore_errors=True))
    if note is not None:
        safe = {str(number): task.safe for number, task in enumerate(tasks)}
        when_all(safe, lambda: note.unlink(missing_ok=True))
