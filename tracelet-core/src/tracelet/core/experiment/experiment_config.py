"""The configuration of one experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence

import attrs

from tracelet.settings import WatchedDirectory

__all__ = ["ExperimentConfig"]


@attrs.frozen(kw_only=True)
class ExperimentConfig:
    """The configuration of one experiment.

    A field that is None is taken from the settings, and so from its ``TRACELET_*`` variable or its default. The fields
    are those of :class:`~tracelet.TraceletSettings`.

    Args:
        enable_artifacts: Whether artifacts are on; by default they are off.
        automagic_artifacts: Whether models and files that the program saves are captured; by default they are not.
        watch_filesystem: Whether the files of ``artifact_watch_dirs`` are captured; by default they are not.
        artifact_watch_dirs: The directories to watch: paths, or :class:`~tracelet.settings.WatchedDirectory` to give a
            type or a name to their files.
        capture_min_interval: Seconds from one capture of a path to the next; 0, the default, captures each save.
        capture_max_per_minute: Captures a minute, of all detectors; 0, the default, is no limit.
        capture_include: Shell patterns of the paths and file names to capture; by default all.
        capture_exclude: Shell patterns of the paths and file names not to capture; by default none.
        capture_latest_wins: Whether only the newest of the waiting versions of a path is kept; by default all are.
        capture_disk_share: The share of the free disk that captured bytes may take while they wait; 0.5 by default.
        backend: The backend or backends that store the artifacts, such as ``"mlflow"`` or ``["mlflow", "wandb"]``; by
            default ``"local"``, which is the tracelet directory.
        routing: The policy that chooses the backends for an artifact; ``"by-type"`` by default.
        dir: The tracelet directory, for waiting deliveries and the backend ``local``; ``.tracelet`` by default.
        store: Where the bytes of large files go: a directory or a URL such as ``s3://bucket``. Inside ``dir`` by
            default.
        large_file_mb: The size in megabytes (1,000,000 bytes) above which a file is large; 100 by default.
        on_large: What becomes of a large file: ``"reference"``, the default, keeps it in the store; ``"upload"`` sends
            it to each backend.
        deadline: Seconds that a delivery to one backend may take, beside the time for its bytes; 30 by default.
        min_rate: The least speed of a delivery, in megabytes a second, which gives the time for its bytes; 1 by
            default.
        open_timeout: Seconds that a backend may take to import its SDK and to connect; 120 by default.
        stop_timeout: Seconds that ``stop()`` may take; 30 by default.
        strict: Whether ``log_artifact`` raises the errors of backends; by default they are in the results.
        rank: The rank of this process; only rank 0 writes. By default it is the rank that the launcher gave.
        ranks: How many processes the job has. By default it is what the launcher says.
        job: A name that all processes of the job have alike, and no other job has at the same time. By default it is what the
            launcher says.
        ranks_timeout: Seconds that the processes of a job wait for each other in ``log_artifact(…, all_ranks=True)``; 600 by
            default.

    Example:
        >>> from tracelet import Experiment, ExperimentConfig
        >>> config = ExperimentConfig(enable_artifacts=True, backend=["local"], stop_timeout=60)
        >>> Experiment("digits", config=config)
        <Experiment 'digits' on local, no run>
    """

    enable_artifacts: bool | None = None
    automagic_artifacts: bool | None = None
    watch_filesystem: bool | None = None
    artifact_watch_dirs: Sequence[str | os.PathLike[str] | WatchedDirectory] | None = None
    capture_min_interval: float | None = None
    capture_max_per_minute: int | None = None
    capture_include: list[str] | None = None
    capture_exclude: list[str] | None = None
    capture_latest_wins: bool | None = None
    capture_disk_share: float | None = None
    backend: str | list[str] | None = None
    routing: str | None = None
    dir: str | os.PathLike[str] | None = None
    store: str | os.PathLike[str] | None = None
    large_file_mb: float | None = None
    on_large: str | None = None
    deadline: float | None = None
    min_rate: float | None = None
    open_timeout: float | None = None
    stop_timeout: float | None = None
    strict: bool | None = None
    rank: int | None = None
    ranks: int | None = None
    job: str | None = None
    ranks_timeout: float | None = None
