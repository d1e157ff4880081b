"""The options that several commands share, and the settings that come from them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from tracelet.core.plugins.registry import BUILT_IN, Registry, registry
from tracelet.core.system.directory import check_owner, nearest_directory
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings, is_set

__all__ = [
    "as_json",
    "backends",
    "directory_of",
    "existing_directory",
    "installed",
    "no_stream",
    "readable_directory",
    "settings_of",
    "tracelet_dir",
]

as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, and nothing else.")
tracelet_dir = click.option(
    "--dir",
    "folder",
    metavar="DIR",
    help="The tracelet directory. By default TRACELET_DIR, or else .tracelet in this folder, or in the nearest one above it.",
)
backends = click.option(
    "--backend",
    "backend",
    metavar="NAME",
    multiple=True,
    help="A backend to use; for several, say it once for each. By default those of TRACELET_BACKEND.",
)


def no_stream(context: click.Context, option: click.Parameter, given: Any) -> Any:
    """Return the path or paths that a user gave. One that other commands take for a stream is refused."""
    if "-" in (given if isinstance(given, tuple) else (given,)):
        raise click.BadParameter("'-' is no file here, and no stream: give a path, or './-' for a file of that name.")
    return given


def settings_of(folder: str | None, backend: Sequence[str] = (), *, looks_for_plugins: bool = True) -> TraceletSettings:
    """Return the settings of the environment. Those of the command line replace them.

    Plugins are looked for, unless the command needs none but backends, and all of them are built in.
    """
    given: dict[str, Any] = {"enable_artifacts": True}
    if folder is not None:
        given["dir"] = folder
    elif not is_set("dir"):
        given.update(_nearest())
    if backend:
        given["backend"] = list(backend)
    settings = TraceletSettings(**given)
    if looks_for_plugins or not BUILT_IN["tracelet_backends"].keys() >= set(settings.backend):
        installed()
    twice = [name for name in settings.backend if settings.backend.count(name) > 1]
    if twice:
        raise ConfigError(f"backend {twice[0]!r} is named twice: name each once.")
    return settings


def _nearest() -> dict[str, str]:
    """Return the tracelet directory of a folder above this one as the setting ``dir``, where this folder has none itself."""
    name = str(attrs.fields(TraceletSettings).dir.default)
    here = Path(os.path.abspath(name))
    found = nearest_directory(here.parent, name)
    if found is None or found == here:
        return {}
    check_owner(found)
    return {"dir": str(found)}


def installed() -> Registry:
    """Return the installed plugins. What a plugin prints while it is imported goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        registry().look()
    return registry()


def directory_of(settings: TraceletSettings) -> Path:
    """Return the tracelet directory, absolute."""
    return Path(os.path.abspath(settings.dir))


def existing_directory(settings: TraceletSettings) -> Path:
    """Return the tracelet directory. Raises :class:`ConfigError` if it does not exist."""
    directory = directory_of(settings)
    if not directory.is_dir():
        raise ConfigError(f"there is no tracelet directory {directory}: go where your experiment ran, or use --dir.")
    return directory


def readable_directory(settings: TraceletSettings) -> Path:
    """Return the tracelet directory. It need not exist if the command asks other backends than ``local``, too.

    Raises :class:`ConfigError` if it does not exist and only ``local`` is asked, and if it is not a folder.
    """
    directory = directory_of(settings)
    blocked = next((one for one in (directory, *directory.parents) if one.exists() and not one.is_dir()), None)
    if blocked is not None:
        raise ConfigError(f"{blocked} is a file, and no tracelet directory can be there: say --dir, or TRACELET_DIR.")
    return existing_directory(settings) if settings.backend == ["local"] else directory
