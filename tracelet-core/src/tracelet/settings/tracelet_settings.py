"""What can be set about Tracelet."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.core.system.jobs import group_size, launched_job, launched_size, ray_job
from tracelet.core.system.ranks import group_rank, launched_rank, ray_rank, task_rank
from tracelet.settings.from_variables import environment, prefix_of, variables
from tracelet.settings.values import (
    WatchedDirectory,
    are_directories,
    are_names,
    is_local_folder,
    is_name,
    is_not_negative,
    is_one_of,
    is_place,
    is_positive,
    is_rank,
    is_seconds,
    is_share,
    is_switch,
    to_directories,
    to_names,
    to_place,
)

__all__ = ["TraceletSettings", "global_rank", "is_set", "job_of", "launched_by_ray", "unknown_variables"]


@attrs.frozen(kw_only=True, init=False)
class TraceletSettings:
    """What can be set about Tracelet; a field that is not passed is read from ``TRACELET_<FIELD>``.

    Raises :class:`ConfigError` for a value that cannot be used.
    """

    #: Whether artifact calls work. ``artifacts`` is a shorter name of the argument.
    enable_artifacts: bool = attrs.field(default=False, validator=is_switch)
    #: Whether detectors capture what the program saves.
    automagic_artifacts: bool = attrs.field(default=False, validator=is_switch)
    #: Whether the files of ``artifact_watch_dirs`` are captured.
    watch_filesystem: bool = attrs.field(default=False, validator=is_switch)
    #: The directories to watch: paths, or :class:`WatchedDirectory` to give their files a type or a name.
    artifact_watch_dirs: list[str | WatchedDirectory] = attrs.field(
        factory=list, converter=to_directories, validator=are_directories
    )
    #: Seconds from one capture of a path to the next. 0 captures each save.
    capture_min_interval: float = attrs.field(default=0.0, validator=is_not_negative)
    #: Captures a minute, of all detectors. 0 is no limit.
    capture_max_per_minute: int = attrs.field(default=0, validator=is_not_negative)
    #: Shell patterns of the paths, relative to the current folder, and of the file names to capture. Empty: all.
    capture_include: list[str] = attrs.field(factory=list, converter=to_names, validator=are_names)
    #: Shell patterns of the paths, relative to the current folder, and of the file names not to capture.
    capture_exclude: list[str] = attrs.field(factory=list, converter=to_names, validator=are_names)
    #: Keep only the newest of the versions of one path that wait. What the limits hold back is then captured later,
    #: at ``stop()`` at the latest.
    capture_latest_wins: bool = attrs.field(default=False, validator=is_switch)
    #: The share of the free disk that captured bytes may take while they wait to be delivered. Beyond it nothing is
    #: captured, and a warning says so.
    capture_disk_share: float = attrs.field(default=0.5, validator=is_share)
    #: Names of the backends that store the artifacts.
    backend: list[str] = attrs.field(factory=lambda: ["local"], converter=to_names, validator=are_names)
    #: Name of the policy that chooses the backends for an artifact.
    routing: str = attrs.field(default="by-type", validator=is_name)
    #: The tracelet directory, with the outbox and the backend ``local``. Always a local folder.
    dir: str = attrs.field(default=".tracelet", converter=to_place, validator=is_local_folder)
    #: Where the bytes of large files go: a folder or an fsspec URL, such as ``s3://bucket/prefix``. Empty: inside ``dir``.
    store: str = attrs.field(default="", converter=to_place, validator=is_place)
    #: Megabytes (1,000,000 bytes) above which a file is large.
    large_file_mb: float = attrs.field(default=100.0, validator=is_positive)
    #: What becomes of a large file: ``reference`` keeps it in the store, ``upload`` sends it to each backend.
    on_large: str = attrs.field(default="reference", validator=is_one_of("reference", "upload"))
    #: Seconds that a delivery to one backend may take, beside the time for its bytes.
    deadline: float = attrs.field(default=30.0, validator=is_seconds)
    #: Megabytes a second that a delivery must reach, which gives the time for its bytes.
    min_rate: float = attrs.field(default=1.0, validator=is_positive)
    #: Seconds that a backend may take to import its SDK and to connect.
    open_timeout: float = attrs.field(default=120.0, validator=is_seconds)
    #: Seconds that ``stop()`` may take in all.
    stop_timeout: float = attrs.field(default=30.0, validator=is_seconds)
    #: Raise the errors of backends. Otherwise they are in the results.
    strict: bool = attrs.field(default=False, validator=is_switch)
    #: This process's rank. Only rank 0 writes. Not set: what the launcher says.
    rank: int | None = attrs.field(default=None, validator=is_rank)
    #: How many processes the job has. Not set: what the launcher says.
    ranks: int | None = attrs.field(default=None, validator=is_rank)
    #: A name that all processes of the job have alike, and no other job has at the same time. Empty: what the launcher says.
    job: str = ""
    #: Seconds that the processes of a job wait for each other in ``log_artifact(…, all_ranks=True)``.
    ranks_timeout: float = attrs.field(default=600.0, validator=is_seconds)

    def __init__(self, **given: Any) -> None:
        for name in given:
            _check_field(type(self), name)
        self.__attrs_init__(**environment(type(self), "TRACELET_", os.environ, given=given), **given)


def is_set(field: str) -> bool:
    """Return whether a variable sets that field of :class:`TraceletSettings`. An empty one does not."""
    return bool(os.environ.get(f"TRACELET_{field.upper()}"))


def _check_field(cls: type[attrs.AttrsInstance], name: str) -> None:
    fields = [field.name for field in attrs.fields(cls)]
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(fields)}."
        raise TypeError(f"{cls.__name__} has no field {name!r}: {hint}")


def global_rank(settings: TraceletSettings, environ: Mapping[str, str] | None = None) -> int:
    """Return this process's rank among those of one job; 0 where there is only one process."""
    if settings.rank is not None:
        return settings.rank
    if environ is None:
        # What started the process last knows it best: it inherits the variables of what that was started by.
        for told in (ray_rank(os.environ), group_rank(), task_rank(os.environ)):
            if told is not None:
                return told
    return launched_rank(os.environ if environ is None else environ)


def job_of(settings: TraceletSettings) -> tuple[str, int | None]:
    """Return the name of the job that this process belongs to, which may be empty, and its size where that is known."""
    told = ray_job() if launched_by_ray() else None
    name, size = told or (launched_job(os.environ), group_size() or launched_size(os.environ))
    return settings.job or name, size if settings.ranks is None else settings.ranks


def launched_by_ray() -> bool:
    """Tell whether this process is a worker of Ray Train."""
    return ray_rank(os.environ) is not None


def unknown_variables(
    plugins: Iterable[tuple[str, type[attrs.AttrsInstance]]], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the ``TRACELET_*`` variables that are set and never read, each with the known name that is nearest to it.

    That is an empty text where no name is near. ``plugins`` are the names of plugins with the classes of their settings.
    """
    source = os.environ if environ is None else environ
    known = set(variables(TraceletSettings, "TRACELET_"))
    for name, cls in plugins:
        known |= set(variables(cls, prefix_of(name)))
    unknown = sorted(name for name in source if name.startswith("TRACELET_") and name not in known)
    return {name: next(iter(difflib.get_close_matches(name, sorted(known), n=1)), "") for name in unknown}
