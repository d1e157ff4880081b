"""From a builder to a draft: the backends that an artifact is for, and its files in a staging folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.delivery.drafts import staging_folder
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.resources import ExperimentResources
from tracelet.core.experiment.run_inputs import RunInputs
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.sealing.draft import Draft
from tracelet.core.sealing.prepare import prepare
from tracelet.core.sealing.route import backends_for
from tracelet.core.system.files import FileChanged
from tracelet.exceptions import ArtifactError

__all__ = ["Preparation"]


class Preparation:
    """Routes the artifacts of one experiment, and prepares their drafts."""

    def __init__(self, context: ExperimentContext, resources: ExperimentResources, inputs: RunInputs) -> None:
        self._context = context
        self._resources = resources
        self._inputs = inputs

    def route(self, artifact: TraceletArtifact) -> list[BackendSpec]:
        """Return the backends that an artifact is for. Raises :class:`~tracelet.ArtifactError` where none suits it."""
        context = self._context
        return backends_for(artifact, self._resources.specs, context.settings.routing, context.plugins())

    def draft(
        self,
        artifact: TraceletArtifact,
        run: RunInfo,
        targets: Collection[BackendSpec],
        put_id: str,
        *,
        snapshot: bool,
        take: bool = False,
    ) -> Draft:
        """Return an artifact with its files ready to be hashed.

        With ``snapshot`` the draft has copies of the files; with ``take`` the files are Tracelet's own. Raises
        :class:`~tracelet.ArtifactError` for what cannot be stored, and ``OSError`` where staging cannot be written.
        """
        staging = staging_folder(self._context.directory, put_id)
        try:
            draft = prepare(
                artifact,
                put_id=put_id,
                run_id=run.id,
                inputs=self._inputs.of(run),
                staging=staging,
                serializers=self._context.plugins().serializers,
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
