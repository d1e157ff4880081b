"""From a snapshot or a live model to a submitted artifact."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path, PurePosixPath

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.capture.item import Item
from tracelet.core.capture.report import CaptureReport
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import size_of
from tracelet.core.delivery.drafts import staging_folder
from tracelet.core.plugins.detector import Detection
from tracelet.core.plugins.versions import Labels

__all__ = ["CaptureSubmitter", "Submit"]

#: Takes an artifact of Tracelet's own files, its labels, and the id of its put, which is the same when it is done again.
Submit = Callable[[TraceletArtifact, Labels, str], "Future[LogResults]"]


class CaptureSubmitter:
    """Submits what is captured, and keeps the pool's count of bytes that are not delivered."""

    def __init__(self, submit: Submit, directory: Path, pool: SnapshotPool, report: CaptureReport) -> None:
        self._submit = submit
        self._directory = directory
        self._pool = pool
        self._report = report

    def submit_snapshot(self, detection: Detection, inside: str, item: Item) -> None:
        """Submit an item's snapshot as ``detection`` says; a file is at ``inside`` in the artifact, with what is beside it."""
        assert item.kept is not None
        artifact = _described(detection)
        if item.kept.is_dir():
            folder = str(PurePosixPath(inside).parent) if detection.beside else detection.artifact_path
            artifact.add_dir(item.kept, None if folder == "." else folder)
        else:
            artifact.add_file(item.kept, inside)
        put_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._pool.folder.name}/{item.number}").hex
        self._captured(detection, artifact)
        promise = self._submit(artifact, Labels(None, detection.aliases), put_id)
        self._weigh_until_delivered(item.size_bytes, promise)
        self._pool.submitted(item)

    def submit_model(self, detection: Detection, size_bytes: int) -> None:
        """Submit a live model of about so many bytes."""
        artifact = _described(detection).add_model(detection.model)
        put_id = uuid.uuid4().hex
        self._captured(detection, artifact)
        promise = self._submit(artifact, Labels(None, detection.aliases), put_id)
        # The size of its files is known now; where they are gone already, they are delivered.
        with contextlib.suppress(OSError):
            size_bytes = size_of(staging_folder(self._directory, put_id))
        self._weigh_until_delivered(size_bytes, promise)

    def _captured(self, detection: Detection, artifact: TraceletArtifact) -> None:
        self._report.capture(detection, artifact.type.value, artifact.name)

    def _weigh_until_delivered(self, size_bytes: int, promise: Future[LogResults]) -> None:
        self._pool.weigh(size_bytes)
        promise.add_done_callback(partial(self._delivered, size_bytes))

    def _delivered(self, size_bytes: int, promise: Future[LogResults]) -> None:
        if promise.exception() is not None or not promise.result().queued:
            self._pool.weigh(-size_bytes)


def _described(detection: Detection) -> TraceletArtifact:
    assert detection.name is not None
    assert detection.type is not None
    artifact = TraceletArtifact(detection.name, detection.type, detection.description)
    artifact.metadata = detection.metadata
    return artifact
