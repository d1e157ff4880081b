"""Experiments: their life, and the calls of the public API."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import logging
import os
import sys
import time
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tracelet.exceptions import ConfigError

if TYPE_CHECKING:
    # What needs the rest of Tracelet imports it when it is called.
    from concurrent.futures import Future
    from datetime import timedelta

    from tracelet.core.artifacts.artifact_list import ArtifactList
    from tracelet.core.artifacts.builder import TraceletArtifact
    from tracelet.core.artifacts.entries import ArtifactType
    from tracelet.core.artifacts.logged import LoggedArtifact
    from tracelet.core.artifacts.pruned import PruneResults
    from tracelet.core.artifacts.results import LogResults
    from tracelet.core.experiment.experiment_config import ExperimentConfig
    from tracelet.core.experiment.manager import ArtifactManager
    from tracelet.core.management.usage import DiskUsage
    from tracelet.core.plugins.versions import RunInfo
    from tracelet.settings import TraceletSettings, WatchedDirectory

__all__ = ["Experiment"]

_LOG = logging.getLogger("tracelet.experiment")
#: Experiments with a run, for a notebook in which a cell is run again.
_ACTIVE: weakref.WeakValueDictionary[str, Experiment] = weakref.WeakValueDictionary()


#: Seconds. The operating system takes no longer wait.
_LONGEST_WAIT = 1_000_000_000
#: Exceptions that end a block without being a failure.
_NO_FAILURES = (GeneratorExit, StopIteration, StopAsyncIteration)


class Experiment:
    """A named series of runs, with the artifacts that they log.

    ``with Experiment(...) as exp:`` starts a run and stops it; the run counts as failed if an exception leaves the
    block. Reading needs no run.

    Every field of :class:`ExperimentConfig` is an argument, too. A value that is not given as an argument is taken from
    ``config``, then from ``settings``, then from its ``TRACELET_*`` variable, then from the defaults.

    Args:
        name: The name of the experiment: 1 to 128 printable characters.
        backend: The backend or backends that store the artifacts, such as ``"mlflow"`` or ``["mlflow", "wandb"]``; by
            default ``"local"``, which is the tracelet directory.
        config: The configuration of this experiment.
        artifacts: A shorter name for ``enable_artifacts``.
        automagic_artifacts: Whether models and files that the program saves are captured; by default they are not.
        settings: Settings to use in place of those that the environment gives.
        enable_artifacts: Whether artifacts are on; by default they are off.
        watch_filesystem: Whether the files of ``artifact_watch_dirs`` are captured; by default they are not.
        artifact_watch_dirs: The directories to watch: paths, or :class:`~tracelet.settings.WatchedDirectory` to give a
            type or a name to their files.
        capture_min_interval: Seconds from one capture of a path to the next; 0, the default, captures each save.
        capture_max_per_minute: Captures a minute, of all detectors; 0, the default, is no limit.
        capture_include: Shell patterns of the paths and file names to capture; by default all.
        capture_exclude: Shell patterns of the paths and file names not to capture; by default none.
        capture_latest_wins: Whether only the newest of the waiting versions of a path is kept; by default all are.
        capture_disk_share: The share of the free disk that captured bytes may take while they wait; 0.5 by default.
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

    Raises:
        ConfigError: A value cannot be used.
        UnknownPlugin: A backend or a policy is not installed.
        PluginLoadError: A backend or a policy cannot be loaded.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> model = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> exp.log_artifact(model)
        <LogResults local: v0>
    """

    def __init__(
        self,
        name: str,
        backend: str | list[str] | None = None,
        config: ExperimentConfig | None = None,
        artifacts: bool | None = None,
        automagic_artifacts: bool | None = None,
        *,
        settings: TraceletSettings | None = None,
        enable_artifacts: bool | None = None,
        watch_filesystem: bool | None = None,
        artifact_watch_dirs: Sequence[str | os.PathLike[str] | WatchedDirectory] | None = None,
        capture_min_interval: float | None = None,
        capture_max_per_minute: int | None = None,
        capture_include: list[str] | None = None,
        capture_exclude: list[str] | None = None,
        capture_latest_wins: bool | None = None,
        capture_disk_share: float | None = None,
        routing: str | None = None,
        dir: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        large_file_mb: float | None = None,
        on_large: str | None = None,
        deadline: float | None = None,
        min_rate: float | None = None,
        open_timeout: float | None = None,
        stop_timeout: float | None = None,
        strict: bool | None = None,
        rank: int | None = None,
        ranks: int | None = None,
        job: str | None = None,
        ranks_timeout: float | None = None,
    ) -> None:
        """Check the arguments, and connect to nothing yet."""
        # Each field of the configuration is an argument of the same name: they are listed above, for editors and type
        # checkers, and not again.
        given = {key: value for key, value in locals().items() if key != "self"}
        from tracelet.core.experiment.configured import configured

        self._configured = configured(**given)
        self.name, self.settings = self._configured.name, self._configured.settings
        self._run: RunInfo | None = None
        #: The process that the run is of, and the id of the exception that was being handled when it began.
        self._pid = os.getpid()
        self._handled: int | None = None

    @functools.cached_property
    def _artifact_manager(self) -> ArtifactManager:
        """Made when a run begins or somebody reads: its import takes longer than all before it."""
        from tracelet.core.experiment.manager import ArtifactManager
        from tracelet.core.plugins.registry import registry

        known = self._configured
        return ArtifactManager(known.name, known.settings, known.backends, known.directory, registry, rank=known.rank)

    def __repr__(self) -> str:
        state = f"run {self._run.id}" if self._run is not None else "no run"
        return f"<Experiment {self.name!r} on {', '.join(self.settings.backend)}, {state}>"

    def _repr_html_(self) -> str:
        """Show it in a notebook. No backend is asked."""
        from tracelet.core.experiment.experiment_card import experiment_card

        return experiment_card(self.name, self._run, self.stats())

    @property
    def run_id(self) -> str | None:
        """The id of the run, or None where no run is on."""
        return self._run.id if self._run is not None else None

    def start(self) -> Experiment:
        """Start a run. If a run is on, this does nothing.

        The backends are opened in the background.

        Returns:
            The experiment itself.

        Raises:
            ConfigError: The tracelet directory cannot be used.

        Example:
            >>> exp.start() is exp
            True
        """
        if self._run is not None:
            return self
        from tracelet.core.plugins.versions import RunInfo

        _end_earlier(self.name)
        run = RunInfo(uuid.uuid4().hex, self.name, time.time())
        if self.settings.enable_artifacts:
            self._begin(run)
        elif self.settings.automagic_artifacts or self.settings.watch_filesystem:
            _LOG.warning("nothing is captured by itself while artifacts are off: say artifacts=True too.")
        self._run, self._pid = run, os.getpid()
        handled = sys.exc_info()[1]
        self._handled = None if handled is None else id(handled)
        _ACTIVE[self.name] = self
        atexit.register(self._stop_at_exit)
        return self

    def _begin(self, run: RunInfo) -> None:
        from tracelet.settings import launched_by_ray

        if self._configured.rank:
            _LOG.info(
                "this process is rank %d of its job, not rank 0: it reads, and writes nothing. TRACELET_RANK=0 lets it write.",
                self._configured.rank,
            )
        elif not Path(self.settings.dir).is_absolute() and launched_by_ray():
            _LOG.warning(
                "this worker of Ray Train is in a folder that Ray may delete, and logs to %s: set TRACELET_DIR to an absolute path.",
                Path(self.settings.dir).absolute(),
            )
        try:
            self._artifact_manager.begin(run)
        except OSError as error:
            raise ConfigError(
                f"the tracelet directory {self.settings.dir!r} cannot be used: {error}. Set TRACELET_DIR to a folder "
                "that can be written."
            ) from error

    def stop(self, *, failed: bool | None = None) -> None:
        """Stop the run: make the deliveries that wait, for ``stop_timeout`` seconds at most.

        Deliveries that are left stay in the outbox, and ``tracelet sync`` or the next run makes them. Where no run is
        on, this closes what reading opened. In a forked child it only leaves the run, which goes on in the parent.

        Args:
            failed: Whether the run failed. None finds out: the run failed if an exception is being handled that was not
                yet handled at the start (as in ``finally``), or if the last training that was captured broke off.

        Example:
            >>> exp.stop()
            >>> exp.run_id is None
            True
        """
        if self._run is None:
            self._artifact_manager.release()
            return
        self._run = None
        atexit.unregister(self._stop_at_exit)
        if _ACTIVE.get(self.name) is self:
            del _ACTIVE[self.name]
        if not self.settings.enable_artifacts:
            return
        if self._pid != os.getpid():
            self._artifact_manager.disown()
        else:
            self._artifact_manager.end(failed=self._failed() if failed is None else failed)

    def _failed(self) -> bool:
        error = sys.exc_info()[1]
        if error is None or id(error) == self._handled or isinstance(error, _NO_FAILURES):
            return self._artifact_manager.broke_off
        return not isinstance(error, SystemExit) or error.code not in (None, 0)

    def _stop_at_exit(self) -> None:
        """Stop the run at the end of the program; it failed if an exception ended the program or the last training."""
        # The interpreter sets it when it prints the traceback of an uncaught exception.
        died = getattr(sys, "last_type", None) is not None
        self.stop(failed=True if died else None)

    def __enter__(self) -> Experiment:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(failed=kind is not None)

    def create_artifact(
        self, name: str, artifact_type: ArtifactType | str, description: str | None = None
    ) -> TraceletArtifact:
        """Create an empty artifact.

        Args:
            name: The name: 1 to 128 of ``A-Z a-z 0-9 _ . -``.
            artifact_type: The type, or its text, such as ``"model"``. All versions of a name have one type.
            description: A description for people.

        Returns:
            The artifact, to add files, objects, models and references to.

        Raises:
            ArtifactError: The name, the type or the description cannot be used.
            ConfigError: Artifacts are off.

        Example:
            >>> exp.create_artifact("images", ArtifactType.DATASET, "Digits of 8 x 8 pixels").add_dir("data")
            <TraceletArtifact 'images' dataset, 2 entries>
        """
        return self._artifacts().create(name, artifact_type, description)

    def log_artifact(
        self,
        artifact: TraceletArtifact,
        *,
        version: str | None = None,
        aliases: Iterable[str] = (),
        all_ranks: bool = False,
    ) -> LogResults:
        """Store an artifact in the backends that suit it, and wait until each of them has it or has failed.

        A delivery that fails for a reason that may pass is kept in the outbox and tried again. If the newest version
        has the same content already, nothing is sent.

        Args:
            artifact: The artifact.
            version: A label for this content, such as ``"1.0"``. A label never moves to other content.
            aliases: Names that move to this version, such as ``"best"``.
            all_ranks: Whether every process of a job calls this, each with files of its own, such as a shard of a checkpoint:
                all of them are one version. The bytes go from each process to the store, which all must reach, and
                through no other machine. Description, metadata and names are those of rank 0.

        Returns:
            The backends that have the artifact, and those that failed. With ``all_ranks`` every rank gets the same.

        Raises:
            ArtifactError: No backend can store the artifact, or the name has another type.
            VersionConflict: The label belongs to other content.
            ConfigError: Artifacts are off, or no run is on; or nobody says which processes are the job.
            BackendError: A backend failed, and ``strict`` is on; or the processes of a job do not find each other.

        Example:
            >>> report = exp.create_artifact("report", ArtifactType.REPORT).add_file("report.html")
            >>> exp.log_artifact(report, version="1.0", aliases=["best"])
            <LogResults local: 1.0>
        """
        manager = self._artifacts()
        return manager.log(artifact, manager.labels(version, aliases), all_ranks=all_ranks)

    def log_path(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        type: ArtifactType | str | None = None,
        *,
        description: str | None = None,
        version: str | None = None,
        aliases: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        follow_links: bool = False,
    ) -> LogResults:
        """Store a file, or all that is in a folder, as an artifact: :meth:`create_artifact` to :meth:`log_artifact` in one call.

        Args:
            path: The file or the folder.
            name: The name of the artifact; by default it is made of the file's name and the type, as capture makes it.
            type: The type, or its text; by default the content and the name of the file tell.
            description: A description for people.
            version: A label for this content, such as ``"1.0"``. A label never moves to other content.
            aliases: Names that move to this version, such as ``"best"``.
            metadata: The metadata of the artifact.
            follow_links: Whether links that lead out of the folder are followed, as in ``add_dir``.

        Returns:
            The backends that have the artifact, and those that failed.

        Raises:
            ArtifactError: There is no such file, it cannot be added, or no backend can store the artifact.
            VersionConflict: The label belongs to other content.
            ConfigError: Artifacts are off, or no run is on.
            BackendError: A backend failed, and ``strict`` is on.

        Example:
            >>> exp.log_path("report.html", type="report", aliases=["best"])
            <LogResults local: v0>
            >>> exp.get_artifact("report", "best").files[0].artifact_path
            'report.html'
            >>> exp.log_path("data", "digits", "dataset", metadata={"pixels": 64})
            <LogResults local: v0>
        """
        from tracelet.core.experiment.from_paths import artifact_of

        manager = self._artifacts()
        labels = manager.labels(version, aliases)
        artifact = artifact_of(
            [path], name, type, description=description, metadata=metadata, follow_links=follow_links
        )
        return manager.log(artifact, labels)

    def submit_artifact(
        self, artifact: TraceletArtifact, *, version: str | None = None, aliases: Iterable[str] = ()
    ) -> Future[LogResults]:
        """Copy the files of an artifact into the outbox, and return; hashing and delivery happen in the background.

        When this returns, the files may change, and a crash loses nothing.

        Args:
            artifact: The artifact.
            version: A label for this content, such as ``"1.0"``. A label never moves to other content.
            aliases: Names that move to this version, such as ``"best"``.

        Returns:
            A future. Its result is what :meth:`log_artifact` returns, and it raises what :meth:`log_artifact` raises
            about content that no backend takes.

        Raises:
            ArtifactError: The artifact cannot be stored.
            ConfigError: Artifacts are off, or no run is on.

        Example:
            >>> checkpoint = exp.create_artifact("checkpoint", ArtifactType.CHECKPOINT).add_file("weights.pt")
            >>> future = exp.submit_artifact(checkpoint, aliases=["last"])
            >>> future.result(timeout=60)
            <LogResults local: v0>
        """
        manager = self._artifacts()
        return manager.submit(artifact, manager.labels(version, aliases))

    def flush(self, timeout: float | None = None) -> int:
        """Make the deliveries that wait.

        Args:
            timeout: Seconds to wait at most; by default ``stop_timeout``.

        Returns:
            How many deliveries are left.

        Raises:
            ConfigError: ``timeout`` is not a number of seconds, or artifacts are off.

        Example:
            >>> exp.flush(timeout=60)
            0
        """
        seconds = self.settings.stop_timeout if timeout is None else timeout
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds <= _LONGEST_WAIT:
            raise ConfigError(f"timeout={seconds!r} is not a number of seconds: give one up to {_LONGEST_WAIT}.")
        return self._artifacts().flush(seconds)

    def get_artifact(self, name: str, version: str = "latest", backend: str | None = None) -> LoggedArtifact:
        """Get a stored version of an artifact. This needs no run.

        Args:
            name: The name of the artifact.
            version: ``"latest"``, a number such as ``"v3"``, a label, an alias, or ``"sha256:"`` and the beginning of a
                digest.
            backend: The backend to ask. By default all are asked, and ``"latest"`` is the newest version of all.

        Returns:
            The version. Nothing is downloaded yet.

        Raises:
            ArtifactNotFound: There is no such version; the message has the nearest names.
            AmbiguousVersion: The backends have different content under this version.
            BackendError: No backend can answer.
            ConfigError: Artifacts are off.

        Example:
            >>> logged = exp.get_artifact("classifier", "v0")
            >>> logged.files[0].artifact_path
            'weights.pt'
        """
        return self._artifacts().finder.get(name, version, backend)

    def list_artifacts(
        self,
        type_filter: ArtifactType | str | None = None,
        backend: str | None = None,
        *,
        name: str | None = None,
        where: str | Iterable[str] | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> ArtifactList:
        """List the stored versions of all artifacts, newest first. This needs no run.

        Args:
            type_filter: Only artifacts of this type, or of the type with this text; by default all.
            backend: Only this backend; by default all.
            name: Only versions of this name; by default of all names.
            where: A condition, or several that must all hold, such as ``"metrics.val_loss < 0.3"``: a key of the
                metadata (dots lead into dicts), one of ``< <= = != >= > ~`` (the last is "contains"), and a number,
                ``true``, ``false`` or text. A version that has not the key fits none.
            sort: A key to sort by, such as ``"metrics.val_loss"``, or ``"-metrics.val_loss"`` for the largest first. Versions
                that have not the key come last.
            limit: How many versions at most.

        Returns:
            The versions, one for each backend that has it. An empty list means that nothing of that kind is stored. A
            warning tells where this machine knows another experiment that may be meant.

        Raises:
            BackendError: A backend fails. Its ``answers`` has the versions of the other backends.
            ConfigError: A condition, the key or the limit cannot be used, or artifacts are off.

        Example:
            >>> [(artifact.name, artifact.version) for artifact in exp.list_artifacts(ArtifactType.MODEL)]
            [('classifier', 'v0')]
            >>> exp.list_artifacts(where="metrics.val_loss < 0.3", sort="metrics.val_loss", limit=1)
            []
        """
        from tracelet.core.management.filters import query_of

        query = query_of(where, sort, limit)
        found = self._artifacts().finder.find_all(type_filter, backend, name, query.select)
        if not found and not query.where:
            self._artifact_manager.warn_of_nothing(backend)
        return found

    def prune(
        self,
        name: str | None = None,
        keep_last: int | None = None,
        keep_best: str | tuple[str, str, int] | None = None,
        older_than: float | str | timedelta | None = None,
        backend: str | None = None,
        dry_run: bool = False,
    ) -> PruneResults:
        """Delete the versions that no rule keeps, in every backend, and free their bytes. This needs no run.

        Each rule that is given keeps versions, of each name in each backend; what none of them keeps goes. What one call has
        logged into several backends stays in all of them if it stays in one. These stay whatever the rules say: what has a label or
        an alias other than ``latest``, what a version that stays was made from, what is still to be sent, and, without
        ``keep_last``, the newest version of a name.

        Args:
            name: Only versions of this name; by default of all names.
            keep_last: How many of the newest versions to keep.
            keep_best: A key of the metadata, ``min`` or ``max``, and how many to keep, such as ``"metrics.val_loss:min:3"``. A
                version without a number there is not among the best.
            older_than: An age. Younger versions are kept: seconds, a ``timedelta``, or text such as ``"12h"``, ``"30d"`` or
                ``"8w"``.
            backend: Only this backend; by default all.
            dry_run: Whether to delete nothing, and only say what would go.

        Returns:
            What goes and what stays, each with the reason and its bytes.

        Raises:
            ConfigError: No rule is given, one cannot be read, or artifacts are off.

        Example:
            >>> checkpoint = exp.create_artifact("checkpoint", ArtifactType.CHECKPOINT).add_file("weights.pt")
            >>> for epoch in range(3):
            ...     checkpoint.metadata["val_loss"] = [0.5, 0.2, 0.3][epoch]
            ...     results = exp.log_artifact(checkpoint)
            >>> pruned = exp.prune("checkpoint", keep_best="val_loss:min:1", dry_run=True)
            >>> [(one.version, one.why) for one in pruned.stays]
            [('v2', 'the newest'), ('v1', 'the best by val_loss (min)')]
            >>> [one.version for one in exp.prune("checkpoint", keep_last=1).goes]
            ['v1', 'v0']
        """
        from tracelet.core.management.retention import prune, rules_of

        return prune(
            self._artifacts().finder, rules_of(keep_last, keep_best, older_than), name, backend, dry_run=dry_run
        )

    def use_artifact(self, name: str, version: str = "latest", backend: str | None = None) -> LoggedArtifact:
        """Get a stored version, and record that this run uses it.

        What the run logs from now on has this version as an input.

        Args:
            name: The name of the artifact.
            version: The version, as for :meth:`get_artifact`.
            backend: The backend to ask; by default all.

        Returns:
            The version.

        Raises:
            ArtifactNotFound: There is no such version.
            AmbiguousVersion: The backends have different content under this version.
            BackendError: No backend can answer.
            ConfigError: Artifacts are off, or no run is on.

        Example:
            >>> used = exp.use_artifact("classifier", "v0")
            >>> exp.log_artifact(exp.create_artifact("report", ArtifactType.REPORT).add_file("report.html"))
            <LogResults local: v0>
            >>> exp.get_artifact("report").manifest.inputs == (used.digest,)
            True
        """
        return self._artifacts().use(self.get_artifact(name, version, backend))

    def disk_usage(self) -> DiskUsage:
        """Count the bytes of the stored versions, by name and version, and of the tracelet directory. This needs no run.

        ``local`` is measured on the disk; trackers by what their manifests say.

        Returns:
            The bytes. ``own`` are bytes that nothing else needs, ``shared`` those that others need, too.

        Raises:
            ConfigError: Artifacts are off, or the tracelet directory may not be read.

        Example:
            >>> usage = exp.disk_usage()
            >>> [(one.name, one.number, one.own) for one in usage.versions]
            [('classifier', 0, 7)]
        """
        return self._artifacts().disk_usage()

    def stats(self) -> dict[str, Any]:
        """Return what this process knows of the run and its deliveries, as plain data. No backend is asked.

        Returns:
            A dict. ``backends`` has for each backend its state, the reason where it is broken, and the number of
            deliveries that wait and that were made. ``counts`` counts the results of this process, ``capture`` counts
            captures, and ``outbox`` counts deliveries that wait and that were refused. The other keys are settings of
            the experiment. Sizes are in megabytes where the key says so.

        Example:
            >>> exp.stats()["outbox"]
            {'waiting': 0, 'refused': 0}
        """
        return self._artifact_manager.get_stats()

    def _artifacts(self) -> ArtifactManager:
        if not self.settings.enable_artifacts:
            raise ConfigError(
                f"artifacts are off for {self.name!r}: say Experiment({self.name!r}, artifacts=True), "
                "ExperimentConfig(enable_artifacts=True), or TRACELET_ENABLE_ARTIFACTS=true."
            )
        return self._artifact_manager

    def _is_framework_available(self, name: str) -> bool:
        """Tell whether a module could be imported, without importing it."""
        if sys.modules.get(name) is not None:
            return True
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False


def _end_earlier(name: str) -> None:
    """In a notebook, stop the run that the same cell started when it was run before."""
    earlier = _ACTIVE.get(name)
    if earlier is None:
        return
    from tracelet.core.system.signs import notebook_shell

    if notebook_shell() is not None:
        _LOG.warning("experiment %r is started again: its earlier run ends.", name)
        earlier.stop()
