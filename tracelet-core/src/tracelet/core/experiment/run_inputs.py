"""What a run uses: the digests that its artifacts name as their inputs, and the notes to backends that keep lineage."""

from __future__ import annotations

from collections.abc import Collection

from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.delivery.uses import Use
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.reading.content import StoredContent

__all__ = ["RunInputs"]


class RunInputs:
    """The versions that the run at hand uses."""

    def __init__(self, resources: ExperimentResources) -> None:
        self._resources = resources
        self._run: RunInfo | None = None
        self._digests: set[str] = set()

    def begin(self, run: RunInfo) -> None:
        """Start with a run that uses nothing yet."""
        self._run = run
        self._digests.clear()

    def of(self, run: RunInfo) -> Collection[str]:
        """Return the digests of what a run uses. Only those of the run at hand are known."""
        return self._digests if run == self._run else ()

    def add(self, artifact: LoggedArtifact, run: RunInfo, *, note: bool) -> None:
        """Add a version. With ``note``, each backend with a lineage of its own records it in the background."""
        if note and artifact.digest not in self._digests:
            for name, spec in self._resources.specs.items():
                if Capability.INPUTS in spec.capabilities:
                    self._resources.of_process.couriers[name].note_input(_use(artifact, name, run))
        self._digests.add(artifact.digest)


def _use(artifact: LoggedArtifact, backend: str, run: RunInfo) -> Use:
    """Name a version by its number in the backend where it was found, and by its digest in the others."""
    content = artifact._content
    ref = f"sha256:{artifact.digest}"
    if isinstance(content, StoredContent) and content.backend == backend:
        ref = f"v{content.stored.number}"
    return Use(backend, run, artifact.name, ref, artifact.digest)
