"""The artifact manager: the life of a run, and every call about artifacts."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.delivery.courier import Courier, close_all
from tracelet.core.experiment.capture_recovery import CaptureRecovery
from tracelet.core.experiment.configured import ConfiguredBackends
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.direct_put import DirectPut
from tracelet.core.experiment.gathering import Gathering
from tracelet.core.experiment.preparation import Preparation
from tracelet.core.experiment.put_recovery import PutRecovery
from tracelet.core.experiment.report import ResultReport, skipped
from tracelet.core.experiment.resources import ExperimentResources, ProcessResources
from tracelet.core.experiment.run_inputs import RunInputs
from tracelet.core.experiment.submissions import Submissions
from tracelet.core.experiment.together import Together
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.forms import InstalledForms
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.reading.finder import Finder
from tracelet.core.system.files import make_folder
from tracelet.core.system.filesystems import check_filesystem
from tracelet.core.system.signs import sign_of_life
from tracelet.core.system.threads import Promise
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings

if TYPE_CHECKING:
    from tracelet.core.capture.journal import Leftover
    from tracelet.core.management.usage import DiskUsage

__all__ = ["ArtifactManager"]

_LOG = logging.getLogger("tracelet.artifacts")
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
        backends: ConfiguredBackends,
        directory: Path,
        plugins: Callable[[], Registry],
        *,
        rank: int = 0,
    ) -> None:
        """``directory`` is the absolute path of the tracelet directory. Rank 0 alone writes."""
        self._context = ExperimentContext(experiment, settings, backends, directory, plugins)
        self._writes = rank == 0
        self._run: RunInfo | None = None
        self._resources = ExperimentResources(self._context, self._finish)
        self._report = ResultReport(self._context, self._resources)
        self._inputs = RunInputs(self._resources)
        self._preparation = Preparation(self._context, self._resources, self._inputs)
        self._submissions = Submissions(self._context, self._resources, self._preparation, self._report)
        self._direct = DirectPut(self._context, self._resources, self._preparation, self._submissions, self._report)
        self._together = Together(self._context, self._resources, self._preparation, rank)
        self._captures = CaptureRecovery(self._context, self._submissions.submit)
        self._puts = PutRecovery(self._context)

    @property
    def _process(self) -> ProcessResources:
        return self._resources.of_process

    @property
    def finder(self) -> Finder:
        """Finds stored versions. It needs no run."""
        return self._process.finder

    def disk_usage(self) -> DiskUsage:
        """Count the bytes of the experiment's versions, and of the tracelet directory. It needs no run."""
        from tracelet.core.management.usage import count_usage

        context = self._context
        return count_usage(context.directory, context.settings, context.plugins(), context.experiment)

    # -- the life of a run

    def begin(self, run: RunInfo) -> None:
        """Start a run: open the lanes in the background, and continue what earlier processes left unfinished."""
        if self._resources.outdated:
            self.release()
        self._run = run
        self._inputs.begin(run)
        if not self._writes:
            return
        try:
            make_folder(self._context.directory, shared=False)
            check_filesystem(self._context.directory)
            self._captures.prepare(run)
            self._submissions.begin(run)
            process = self._process
            for lane in process.shared.values():
                lane.offer()
            for courier in process.couriers.values():
                courier.start()
            # Interrupted puts and drafts are finished in the order in which they were logged.
            drafts = self._context.outbox.drafts.files(self._context.experiment)
            for path in sorted([*self._puts.find(process.couriers), *drafts], key=lambda path: path.name):
                process.sealer.add(path)
            self._captures.start()
        except BaseException:
            self.end(failed=True)
            raise

    def _finish(self, path: Path, couriers: Mapping[str, Courier]) -> None:
        """Finish an interrupted put or a draft, on the sealer's thread."""
        if not self._puts.complete(path, couriers):
            self._submissions.seal(path, couriers)

    def draft_captures(self, left: Leftover) -> None:
        """Make drafts of captures that a dead process did not submit. Whoever delivers drafts delivers them."""
        self._captures.hand_over(left, self._submissions.submit_later)

    def flush(self, timeout: float) -> int:
        """Make the deliveries that wait, for ``timeout`` seconds at most; return how many are left."""
        with sign_of_life("making the deliveries that wait"):
            return self._flush(timeout)

    def _flush(self, timeout: float) -> int:
        if not self._writes:
            return 0
        until = time.monotonic() + timeout
        self._captures.settle(until)
        self._submissions.seal_again()
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
        return deliveries + len(outbox.drafts.files(experiment)) + self._captures.waiting

    @property
    def broke_off(self) -> bool:
        """Whether the last training that a detector captured in this run did not complete."""
        return self._captures.own is not None and not self._captures.own.completed

    def end(self, *, failed: bool) -> None:
        """End the run: deliver for ``stop_timeout`` seconds at most, end every lane, and log what is left."""
        with sign_of_life(f"ending the run of {self._context.experiment!r}, and making the deliveries that wait"):
            self._end(failed)

    def _end(self, failed: bool) -> None:
        until, run = time.monotonic() + self._context.settings.stop_timeout, self._running()
        try:
            last = until - self._context.settings.stop_timeout * _RESERVE
            self._captures.stop(self._context.settings.stop_timeout * _CAPTURE, last)
            # Deliveries wait behind a read that hangs.
            for lane in self._process.shared.values():
                lane.withdraw(max(0.0, last - time.monotonic()) / 2)
            self._flush(last - time.monotonic())
        finally:
            process, self._run = self._process, None
            process.sealer.close()
            self._submissions.leave()
            close_all(process.couriers.values(), until, failed=failed)
            process.finder.close(until)
            self._submissions.abandon()
            left = self.waiting() if self._writes else 0  # the rank that writes tells of them
            self._resources.detach()
            # After an interrupt too: the user must know what waits.
            refused = sum(courier.backlog.redelivery.refused[run.id] for courier in process.couriers.values())
            self._report.tell_end(refused, left)

    def disown(self) -> None:
        """In a forked child, leave the run and its deliveries to the parent."""
        self._run = None
        self._submissions.disown()
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

    def _running(self) -> RunInfo:
        if self._run is None:
            raise ConfigError(
                f"experiment {self._context.experiment!r} has no run: call start() first, or use it in a with statement."
            )
        return self._run

    # -- calls of a run

    def create(self, name: str, artifact_type: ArtifactType | str, description: str | None) -> TraceletArtifact:
        """Return an empty artifact, which knows what the installed serializers can store."""
        return TraceletArtifact(
            name, artifact_type, description, forms=InstalledForms(self._context.plugins().serializers)
        )

    @staticmethod
    def labels(version: str | None, aliases: Iterable[str]) -> Labels:
        """Return what a caller gave as names of a version. Raises :class:`~tracelet.ConfigError` where it is no list."""
        if isinstance(aliases, str):
            raise ConfigError(f"aliases={aliases!r}: give a list, such as [{aliases!r}].")
        if isinstance(aliases, bytes) or not isinstance(aliases, Iterable):
            raise ConfigError(f"aliases={aliases!r}: give a list of names, such as ['best'].")
        return Labels(version, aliases)

    def log(self, artifact: TraceletArtifact, labels: Labels, *, all_ranks: bool = False) -> LogResults:
        """Seal an artifact, deliver it, and return the results. Only misuse raises. ``all_ranks`` has every rank give a part."""
        run = self._running()
        targets = self._preparation.route(artifact)
        gathering = self._together.gathering(artifact) if all_ranks else None
        if not self._writes:
            if gathering is None:
                return skipped(target.name for target in targets)
            with sign_of_life(f"giving a part of {artifact.name!r}"):
                return self._together.give(gathering, artifact, run)
        results, error = None, None
        try:
            results = self._log(artifact, labels, run, targets, gathering)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if gathering is not None:
                self._together.end(gathering, artifact.name, results, error)
        if self._context.settings.strict:
            results.raise_for_errors()
        return results

    def _log(
        self,
        artifact: TraceletArtifact,
        labels: Labels,
        run: RunInfo,
        targets: Collection[BackendSpec],
        gathering: Gathering | None,
    ) -> LogResults:
        until = time.monotonic() + self._context.settings.deadline
        with sign_of_life(f"storing {artifact.name!r} in {', '.join(target.name for target in targets)}"):
            if gathering is not None:
                gathering.call()
            self._captures.settle_left(until)
            self._process.sealer.settle(until, artifact.name)
            gathered = gathering.gather if gathering is not None else None
            outcomes = self._direct.put(artifact, labels, run, targets, gathered)
        results = self._report.results(outcomes, raised=True)
        if results.misuse is not None:
            raise results.misuse
        results.warnings += artifact._warnings
        return results

    def submit(self, artifact: TraceletArtifact, labels: Labels) -> Future[LogResults]:
        """Snapshot an artifact into the outbox, and return a future of the results."""
        run = self._running()
        promise: Future[LogResults] = Future()
        if self._writes:
            with sign_of_life("copying the files of an artifact"):
                promise = self._submissions.submit(artifact, labels, uuid.uuid4().hex, run=run)
        else:
            promise.set_result(skipped(target.name for target in self._preparation.route(artifact)))
        return _with_warnings(promise, tuple(artifact._warnings))

    def use(self, artifact: LoggedArtifact) -> LoggedArtifact:
        """Record that the run uses this version. What the run logs from now on has its digest as an input.

        Each backend with a lineage of its own records it in the background, if the backend holds this content.
        """
        self._inputs.add(artifact, self._running(), note=self._writes)
        return artifact

    def warn_of_nothing(self, backend: str | None) -> None:
        """Warn that a backend, or all of them, had nothing, where this machine knows why that may be."""
        from tracelet.core.management.experiments import warn_of_nothing

        asked = self._context.settings.backend if backend is None else [backend]
        warn_of_nothing(self._context.directory, self._context.experiment, asked)

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
