"""What all processes of a job log together, seen from one of them."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.gathering import Gathering, Job
from tracelet.core.experiment.preparation import Preparation
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.sealing.finish import finish
from tracelet.core.storage.paths import physical_name
from tracelet.exceptions import ConfigError
from tracelet.settings import job_of

__all__ = ["Together"]

#: Every file is large: all bytes go to the store.
_ALL = -1.0


class Together:
    """The calls of one experiment in which each rank gives a part."""

    def __init__(
        self, context: ExperimentContext, resources: ExperimentResources, preparation: Preparation, rank: int
    ) -> None:
        self._context = context
        self._resources = resources
        self._preparation = preparation
        self._rank = rank
        #: How many calls there were of each name: all ranks count alike.
        self._calls: Counter[str] = Counter()
        self._earlier: dict[str, Gathering] = {}

    def gathering(self, artifact: TraceletArtifact) -> Gathering | None:
        """Return this call of all ranks; None where the job has one process.

        Raises :class:`~tracelet.ConfigError` where nobody says which processes are the job.
        """
        name, size = job_of(self._context.settings)
        if size == 1 or (size is None and not name and self._rank == 0):
            return None
        if size is None or not name:
            missing = (
                "TRACELET_RANKS to their number" if size is None else "TRACELET_JOB to a name that no other job has"
            )
            raise ConfigError(
                f"all_ranks=True: the launcher does not say which processes are one job. Set {missing}, the same for all of them."
            )
        if self._rank >= size:
            raise ConfigError(
                f"all_ranks=True: rank {self._rank} is none of a job of {size} processes: correct TRACELET_RANKS."
            )
        call = self._calls[artifact.name]
        self._calls[artifact.name] += 1
        what = f"{physical_name(self._context.experiment)}/{artifact.name}/{call}"
        settings = self._context.settings
        return Gathering(
            self._resources.store, Job(physical_name(name), size, self._rank), what, settings.ranks_timeout
        )

    def give(self, gathering: Gathering, artifact: TraceletArtifact, run: RunInfo) -> LogResults:
        """Send what this rank has to the store, give its manifest, and return what became of the whole."""
        draft = self._preparation.draft(artifact, run, (), uuid.uuid4().hex, snapshot=False)
        try:
            sealed = finish(draft, store=self._resources.store, limit_mb=_ALL)
            return gathering.give(sealed.manifest)
        finally:
            shutil.rmtree(draft.staging, ignore_errors=True)

    def end(self, gathering: Gathering, name: str, results: LogResults | None, error: BaseException | None) -> None:
        """Tell the other ranks what became of it. The notes of the call before are not needed any more."""
        gathering.tell(results, error)
        earlier = self._earlier.pop(name, None)
        if error is None:
            if earlier is not None:
                earlier.forget()
            self._earlier[name] = gathering
