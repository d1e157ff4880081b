"""Offline mode: a catalogue in the tracelet directory has each artifact until the server has it.

Its versions are marked as pending, for only the server gives version numbers. ClearML also gets an offline session of its own, for
``Task.import_offline_session``. Nobody can search that, and it has no versions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from clearml import Task
from clearml.errors import UsageError

from tracelet.exceptions import BackendError, TraceletError
from tracelet.plugin import (
    MANIFEST_NAME,
    ForeignArtifact,
    Labels,
    PendingCatalogue,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    check_path,
)
from tracelet_clearml.blobs import scratch_folder
from tracelet_clearml.names import entity_name, project_name

__all__ = ["OfflineBackend", "OfflineCatalogue"]

_LOG = logging.getLogger("tracelet.clearml")
#: What ClearML would patch in a process that makes a task.
_FRAMEWORKS = (
    *("detect_repository", "matplotlib", "tensorflow", "tensorboard", "pytorch", "xgboost", "scikit", "fastai"),
    *("lightgbm", "hydra", "catboost", "joblib", "megengine", "jsonargparse", "gradio"),
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OfflineCatalogue(PendingCatalogue):
    """The artifacts that ClearML's server does not have yet."""

    def __init__(self, directory: Path, experiment: str) -> None:
        root = directory / "clearml-offline"
        super().__init__(f"clearml-offline://{root}", root, experiment, directory)


class OfflineBackend(OfflineCatalogue):
    """The catalogue. Every artifact is also in an offline session of ClearML's."""

    def __init__(self, experiment: str, directory: Path, user_task: str) -> None:
        """``user_task`` is the id of the offline task that the user's own process has, or empty."""
        super().__init__(directory, experiment)
        self._session = _Session(experiment, directory, user_task)
        self._run: RunInfo | None = None

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. ClearML's session begins with the first artifact."""
        self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._session.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        stored = super().put(sealed, labels)
        if self._run is not None and stored.manifest.put_id == sealed.manifest.put_id:
            self._session.note(self.as_kept(sealed), stored, self._run)
        return stored

    def discover(self, place: str) -> NoReturn:
        """Raise: only the server knows what was logged there."""
        raise _offline()

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> NoReturn:
        """Raise: only the server has it."""
        raise _offline()


def _offline() -> BackendError:
    return BackendError(
        "ClearML is offline here, and only its server has what was logged without Tracelet: unset CLEARML_OFFLINE_MODE.",
        retryable=False,
    )


class _Session:
    """ClearML's offline session of one run: a task that this process makes when it is needed."""

    def __init__(self, experiment: str, directory: Path, user_task: str) -> None:
        """``user_task`` is the id of the offline task that the user's own process has, or empty."""
        self._experiment = experiment
        self._directory = directory
        self._user_task = user_task
        self._task: Any = None

    def note(self, sealed: SealedArtifact, stored: StoredArtifact, run: RunInfo) -> None:
        """Put an artifact into the session, too. If that fails it is only a warning: the catalogue has the artifact."""
        manifest = sealed.manifest
        key = f"{manifest.name}.{manifest.put_id[:8]}"
        noted = {"type": manifest.type.value, "digest": f"sha256:{manifest.digest}", "manifest": manifest.to_json()}
        try:
            task = self._begun(run)
            with scratch_folder(self._directory) as scratch:
                done = task.upload_artifact(
                    key, _file(sealed, scratch), metadata=noted, preview=manifest.description or "", wait_on_upload=True
                )
        except (OSError, TraceletError, UsageError, ValueError) as error:
            done = error
        if done is not True:
            _LOG.warning("ClearML's offline session does not have %r: %s", manifest.name, done)

    def end(self, *, failed: bool) -> None:
        """End the session. It can be imported then."""
        task, self._task = self._task, None
        if task is not None:
            if failed:
                task.mark_failed(ignore_errors=True)
            task.close()

    def _begun(self, run: RunInfo) -> Any:
        if self._task is None:
            with _left_alone():
                Task.set_random_seed(None)
                self._task = Task.init(
                    project_name=project_name(self._experiment),
                    task_name=entity_name(f"{self._experiment} {run.id[:8]}"),
                    reuse_last_task_id=False,
                    auto_connect_frameworks=dict.fromkeys(_FRAMEWORKS, False),
                    auto_connect_arg_parser=False,
                    auto_connect_streams=False,
                    auto_resource_monitoring=False,
                )
            beside = f" Beside the task {self._user_task}." if self._user_task else ""
            self._task.set_comment(f"Tracelet's run {run.id} of {self._experiment!r}.{beside}")
        return self._task


def _file(sealed: SealedArtifact, scratch: Path) -> Path:
    """Return what to upload: the only file; a folder of several, which the SDK packs; or the manifest, if there is no file."""
    payload = sealed.manifest.payload
    folder = scratch / sealed.manifest.name
    folder.mkdir()
    if not payload:
        (folder / MANIFEST_NAME).write_text(sealed.manifest.to_json(), encoding="utf-8")
    for above in {PurePosixPath(file.artifact_path).parent for file in payload}:
        (folder / above).mkdir(parents=True, exist_ok=True)
    for file in payload:
        _link(sealed.sources[file.artifact_path], folder / check_path(file.artifact_path))
    return folder / payload[0].artifact_path if len(payload) == 1 else folder


def _link(source: Path, target: Path) -> None:
    """Link a file that does not change where the SDK finds it, by its own name; a symbolic link costs a block each."""
    try:
        os.link(source, target)
    except OSError:  # a filesystem without hard links
        target.symlink_to(source.absolute())


@contextlib.contextmanager
def _left_alone() -> Iterator[None]:
    """Remove the handlers that ClearML installs when a task begins, and put this process's own back."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    hook = sys.excepthook
    try:
        yield
    finally:
        sys.excepthook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
