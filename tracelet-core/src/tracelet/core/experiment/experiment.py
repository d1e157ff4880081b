"""Experiments: their configuration, their life, and the calls of the public API."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import sys
import time
import uuid
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from tracelet.core.artifacts.artifacts import LoggedArtifact, TraceletArtifact
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.results import LogResults
from tracelet.core.experiment.manager import ArtifactManager
from tracelet.core.plugins.backend import Labels, RunInfo
from tracelet.core.plugins.forms import InstalledForms
from tracelet.core.plugins.registry import registry
from tracelet.core.system.processes import check_platform
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings, WatchedDirectory, global_rank

__all__ = ["Experiment", "ExperimentConfig"]

_LOG = logging.getLogger("tracelet.experiment")
#: Experiments with a run, for a notebook in which a cell is run again.
_ACTIVE: weakref.WeakValueDictionary[str, Experiment] = weakref.WeakValueDictionary()


#: Seconds; what is longer the operating system's waits do not take.
_LONGEST_WAIT = 1_000_000_000
#: Exceptions that tell of an end, and of no trouble.
_NO_FAILURES = (GeneratorExit, StopIteration, StopAsyncIteration)


@attrs.frozen(kw_only=True)
class ExperimentConfig:
    """What can be configured for one experiment; a field that is None is left to the settings.

    The fields are those of :class:`tracelet.settings.TraceletSettings`, and mean the same.
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


class Experiment:
    """A named series of runs and its artifacts.

    ``with Experiment("mine", artifacts=True) as exp:`` starts a run, and ends it, as failed where an
    exception leaves the block. Arguments that are not given come from ``config``, then from
    ``settings``, then from ``TRACELET_*`` variables, then from the defaults.
    """

    def __init__(
        self,
        name: str,
        backend: str | list[str] | None = None,
        config: ExperimentConfig | None = None,
        artifacts: bool | None = None,
        automagic_artifacts: bool | None = None,
        *,
        routing: str | None = None,
        settings: TraceletSettings | None = None,
    ) -> None:
        """Check everything that can be checked without connecting to anything.

        Raises :class:`~tracelet.ConfigError` for what cannot be used, and on Windows,
        :class:`~tracelet.exceptions.UnknownPlugin` for a backend or policy that is not installed, and
        :class:`~tracelet.exceptions.PluginLoadError` for one that does not load.
        """
        check_platform()
        self.name = _checked_name(name)
        _check_kind("config", config, ExperimentConfig)
        _check_kind("settings", settings, TraceletSettings)
        self.settings = _resolve(
            settings or TraceletSettings(),
            config or ExperimentConfig(),
            backend=backend,
            enable_artifacts=artifacts,
            automagic_artifacts=automagic_artifacts,
            routing=routing,
        )
        self._rank = global_rank(self.settings)
        self._artifact_manager = ArtifactManager(
            self.name,
            self.settings,
            Path(os.path.abspath(self.settings.dir)),
            registry,
            writes=self._rank == 0,
        )
        self._run: RunInfo | None = None
        #: The process that the run is of, and the id of the exception that was being handled when it began.
        self._pid = os.getpid()
        self._handled: int | None = None

    def __repr__(self) -> str:
        state = f"run {self._run.id}" if self._run is not None else "no run"
        return f"<Experiment {self.name!r} on {', '.join(self.settings.backend)}, {state}>"

    @property
    def run_id(self) -> str | None:
        """The id of the run, or None between runs."""
        return self._run.id if self._run is not None else None

    def start(self) -> Experiment:
        """Begin a run and return the experiment; backends come up behind it. In a run it does nothing."""
        if self._run is not None:
            return self
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
        if self._rank:
            _LOG.info(
                "this process is rank %d of its job, not rank 0: it reads, and writes nothing. TRACELET_RANK=0 lets it write.",
                self._rank,
            )
        try:
            self._artifact_manager.begin(run)
        except OSError as error:
            raise ConfigError(
                f"the tracelet directory {self.settings.dir!r} cannot be used: {error}. Set TRACELET_DIR to a folder "
                "that can be written."
            ) from error

    def stop(self, *, failed: bool | None = None) -> None:
        """End the run: deliver what waits, for ``stop_timeout`` seconds at most. Without a run, end what reading began.

        ``failed`` says how the run ended. None is what is known: it failed where an exception is being handled that
        was not when it began, as in ``finally`` while one passes through, or where the last training that was watched broke off.
        In a forked child the run is its parent's, and goes on there.
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
        """The program ends without having ended the run: what it dies of, or what a training died of, is the run's end too."""
        # Set by the interpreter when it prints a traceback that nobody caught.
        died = getattr(sys, "last_type", None) is not None
        self.stop(failed=True if died else None)

    def __enter__(self) -> Experiment:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(failed=kind is not None)

    def create_artifact(
        self, name: str, artifact_type: ArtifactType, description: str | None = None
    ) -> TraceletArtifact:
        """Return an empty artifact to add to. Raises :class:`~tracelet.ArtifactError` for a name or type that is none."""
        return TraceletArtifact(name, artifact_type, description, forms=InstalledForms(self._artifacts().serializers))

    def log_artifact(
        self, artifact: TraceletArtifact, *, version: str | None = None, aliases: Iterable[str] = ()
    ) -> LogResults:
        """Store an artifact in the backends that suit it, and say what became of it.

        ``version`` is a label that belongs to this content for ever, ``aliases`` are names that move to it.
        Returns when every backend has it, or has failed; what may pass is kept in the outbox and tried again.
        Raises for misuse: :class:`~tracelet.ArtifactError` for what no backend could store, or what none of them
        takes because its label has other content (:class:`~tracelet.exceptions.VersionConflict`) or its name
        another type; :class:`~tracelet.ConfigError` where artifacts are off or there is no run; and, with
        ``strict``, what the backends raise.
        """
        return self._artifacts().log(artifact, _labels(version, aliases))

    def submit_artifact(
        self, artifact: TraceletArtifact, *, version: str | None = None, aliases: Iterable[str] = ()
    ) -> Future[LogResults]:
        """Copy an artifact's files aside, note it in the outbox, and return: the rest happens behind.

        From then on the files may change, and a crash loses nothing. The future gives what
        :meth:`log_artifact` would have returned, and raises what no backend takes. Raises as it does.
        """
        return self._artifacts().submit(artifact, _labels(version, aliases))

    def flush(self, timeout: float | None = None) -> int:
        """Make the deliveries that wait, for so many seconds (``stop_timeout``); return how many are left."""
        seconds = self.settings.stop_timeout if timeout is None else timeout
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds <= _LONGEST_WAIT:
            raise ConfigError(f"timeout={seconds!r} is no number of seconds: give one up to {_LONGEST_WAIT}.")
        return self._artifacts().flush(seconds)

    def get_artifact(self, name: str, version: str = "latest", backend: str | None = None) -> LoggedArtifact:
        """Return a stored version: ``latest``, ``v3``, a label, an alias, or ``sha256:<prefix>``.

        Needs no run. Without ``backend`` all are asked, and ``latest`` is the newest of all. Raises
        :class:`~tracelet.ArtifactNotFound` with the nearest names, :class:`~tracelet.AmbiguousVersion` where
        backends disagree, :class:`~tracelet.BackendError` where none can answer.
        """
        return self._artifacts().finder.get(name, version, backend)

    def list_artifacts(
        self, type_filter: ArtifactType | None = None, backend: str | None = None
    ) -> list[LoggedArtifact]:
        """Return every stored version, of every backend, newest first.

        Needs no run. Raises :class:`~tracelet.BackendError`, with what the others answered in its
        ``answers``, where a backend fails: an empty list means that there is nothing.
        """
        return self._artifacts().finder.find_all(type_filter, backend)

    def use_artifact(self, name: str, version: str = "latest", backend: str | None = None) -> LoggedArtifact:
        """Get an artifact and note that this run uses it: what the run logs from now on has it as an input."""
        return self._artifacts().use(self.get_artifact(name, version, backend))

    def stats(self) -> dict[str, Any]:
        """Return what this process knows of the run and its deliveries. No backend is asked.

        Returns:
            Plain data: ``enabled``, ``experiment``, ``run``, ``writes``, ``directory``, ``store``, ``routing``,
            ``large_file_mb``, ``on_large``; ``backends`` with the state of each, the reason where it is broken, and what
            waits and what was delivered; ``counts`` of this process; ``capture``; ``outbox`` with what waits and what was
            refused. Sizes are in megabytes where their name says so.

        Example:
            >>> Experiment("trials", artifacts=True).stats()["outbox"]
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


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > 128 or not name.isprintable():
        raise ConfigError(f"an experiment's name is 1 to 128 printable characters; this is {name!r}.")
    return name


def _check_kind(what: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigError(
            f"{what}={value!r} is no {kind.__name__}: make one, as {kind.__name__}(enable_artifacts=True)."
        )


def _resolve(settings: TraceletSettings, config: ExperimentConfig, **arguments: Any) -> TraceletSettings:
    """Put the layers on top of one another: what is None in one is left to the one below."""
    fields = attrs.asdict(config, recurse=False)
    given = {key: value for layer in (fields, arguments) for key, value in layer.items() if value is not None}
    return TraceletSettings(**{**attrs.asdict(settings, recurse=False), **given})


def _labels(version: str | None, aliases: Iterable[str]) -> Labels:
    if isinstance(aliases, str):
        raise ConfigError(f"aliases={aliases!r}: give a list, such as [{aliases!r}].")
    if isinstance(aliases, bytes) or not isinstance(aliases, Iterable):
        raise ConfigError(f"aliases={aliases!r}: give a list of names, such as ['best'].")
    return Labels(version, aliases)


def _end_earlier(name: str) -> None:
    """In a notebook, a cell that is run again must not leave its first run behind."""
    earlier = _ACTIVE.get(name)
    shell = sys.modules.get("IPython")
    if earlier is not None and shell is not None and shell.get_ipython() is not None:
        _LOG.warning("experiment %r is started again: its earlier run ends.", name)
        earlier.stop()
