"""One end of a transfer: a backend, with settings that may be for this side alone."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import check_experiment, check_place
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.lanes.lane import open_lane
from tracelet.core.management.stored_manager import StoredManager
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import sdk_state
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.store import Store
from tracelet.core.reading.finder import Finder
from tracelet.core.reading.reader import Reader
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.storage.large_files import limit_mb, store_for
from tracelet.core.system.links import check_directory
from tracelet.exceptions import ArtifactNotFound, ConfigError
from tracelet.settings import TraceletSettings, environment, load_plugin

__all__ = ["Side", "directories", "open_side"]

#: Of Tracelet's own settings, those that can be given for one side. The others are arguments of their own, or about runs.
_OWN = ("store", "large_file_mb", "on_large", "deadline", "min_rate", "open_timeout", "stop_timeout")


@attrs.frozen
class Side:
    """A backend that is copied from, or into."""

    experiment: str
    spec: BackendSpec
    settings: TraceletSettings
    plugin_settings: attrs.AttrsInstance
    #: The tracelet directory, absolute.
    directory: Path
    #: What the user's own SDK says.
    sdk: dict[str, Any]
    #: Variables for the SDK of this side alone.
    environ: dict[str, str]
    store: Store

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self.spec.name

    @property
    def limit_mb(self) -> float | None:
        """Files over this many megabytes go to the store; None where the backend gets the bytes of all files."""
        return limit_mb(self.settings, [self.spec])

    @property
    def is_carried(self) -> bool:
        """Whether the tracelet directory holds all that is stored on this side, so that it can be carried elsewhere."""
        return self.spec.in_process and isinstance(self.store, LocalStore) and self.store.root == self.directory

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells this side from another: what is stored in one place is there already."""
        directory = self.directory.resolve() if self.spec.in_process else None
        return self.experiment, self.backend, self.plugin_settings, tuple(sorted(self.environ.items())), directory

    def reader(self) -> Reader:
        """Return a reader with a new lane to the backend; nothing is opened yet."""
        context = BackendContext(self.directory, self.sdk)
        lane = partial(open_lane, self.spec, self.experiment, self.plugin_settings, context, self.environ)
        return Reader(lane, self.settings)

    def finder(self, reader: Reader) -> Finder:
        """Return what finds and downloads the versions of this side, on a lane to it."""
        return Finder(
            self.experiment,
            {self.backend: self.spec},
            {self.backend: reader},
            outbox=lambda: Outbox(self.directory),
            plugins=registry,
            # The directory may have come from elsewhere, with all that is in it.
            store=lambda: _OwnFirst(self.directory, self.store),
            downloads=self.directory / "downloads",
            manager=StoredManager,
        )


def open_side(
    experiment: str, backend: str, directory: Path, given: Mapping[str, str], *, own_store: bool = False
) -> Side:
    """Return one end of a transfer.

    Args:
        experiment: The name of the experiment.
        backend: The name of the backend.
        directory: The tracelet directory, absolute.
        given: Settings for this side alone, by name: of the backend's own, of those of Tracelet that are about it, and, in
            capitals, variables for its SDK.
        own_store: Whether the bytes of large files go into the directory, whatever ``TRACELET_STORE`` says.

    Raises :class:`~tracelet.ConfigError` for a name or a setting that cannot be used, and :class:`~tracelet.UnknownPlugin` for a backend
    that is not installed.
    """
    check_experiment(experiment)
    spec = registry().backends.get(backend)
    plugin = {field.alias or field.name for field in attrs.fields(spec.settings)}
    environ = {key: text for key, text in given.items() if key.isupper()}
    for key in given.keys() - environ.keys():
        if key not in plugin and key not in _OWN:
            raise ConfigError(_unknown(key, spec, plugin))
    if environ and spec.in_process:
        raise ConfigError(
            f"{next(iter(environ))} cannot be set for {backend} alone, which has no SDK and no process of its own."
        )
    variables = {f"TRACELET_{key.upper()}": text for key, text in given.items() if key not in plugin and key in _OWN}
    own: dict[str, Any] = environment(TraceletSettings, "TRACELET_", variables)
    if own_store:
        own.setdefault("store", "")
    settings = TraceletSettings(enable_artifacts=True, **{**own, "backend": [backend], "dir": str(directory)})
    check_directory(directory)
    own_settings = load_plugin(spec.settings, backend, {key: text for key, text in given.items() if key in plugin})
    return Side(
        experiment,
        spec,
        settings,
        own_settings,
        directory,
        {} if given else sdk_state(spec),
        environ,
        LocalStore(directory)
        if own_store and not settings.store
        else store_for(settings, directory, [(spec, own_settings)]),
    )


def directories(dir: str | os.PathLike[str] | None, to_dir: str | os.PathLike[str] | None) -> tuple[Path, Path]:
    """Return the tracelet directories of a source and of a target, absolute, as callers give them.

    Raises :class:`~tracelet.ConfigError` where the target's is in the source's: what one clears there would be the other's.
    """
    here = Path(check_place(TraceletSettings().dir if dir is None else dir))
    there = here if to_dir is None else Path(check_place(to_dir))
    if here.resolve() in there.resolve().parents:
        raise ConfigError(
            f"{str(there)!r} is inside of {str(here)!r}, a tracelet directory: give a place outside of it."
        )
    return here, there


def _unknown(key: str, spec: BackendSpec, plugin: set[str]) -> str:
    known = sorted({*plugin, *_OWN})
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
    return f"{spec.name} has no setting {key!r}: {hint} A variable of its SDK is written in capitals."


class _OwnFirst(LocalStore):
    """The blobs of a directory itself or, where one is not there, of the configured store."""

    def __init__(self, root: Path, other: Store) -> None:
        super().__init__(root)
        self._other = other

    def uri(self, sha256: str) -> str:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        return self._other.uri(sha256)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`~tracelet.core.plugins.store.Store`."""
        try:
            super().fetch(sha256, dest)
        except ArtifactNotFound:
            self._other.fetch(sha256, dest)
