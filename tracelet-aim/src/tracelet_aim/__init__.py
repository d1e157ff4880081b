"""The plugin for Aim. Only this module is loaded in the user's process; Aim itself is imported in the lane."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import BackendContext, BackendSpec, Capability, hookimpl
from tracelet_aim.settings import AimSettings

if TYPE_CHECKING:
    from tracelet_aim.backend import AimBackend

__all__ = ["AimSettings", "tracelet_backends"]


def _live_run() -> str:
    """Return the hash of the run that the user's own code opened last and has not closed, or an empty text."""
    cleanup, runs = sys.modules.get("aim.ext.cleanup"), sys.modules.get("aim.sdk.run")
    known = getattr(getattr(cleanup, "AutoClean", None), "_finalizers", None)
    kind = getattr(runs, "BasicRun", None)
    if known is None or kind is None:
        return ""
    try:
        alive = [one for one in list(known) if isinstance(one, kind)]
    except RuntimeError:
        return ""  # another thread is opening a run in this moment
    mine = [one.hash for one in alive if not one.read_only and getattr(one, "_resources", None) is not None]
    return str(mine[-1]) if mine else ""


def _context() -> dict[str, Any]:
    """Return the program's working directory, by which Aim finds its repo, and the run that the program has open."""
    return {"folder": str(Path.cwd()), "run": _live_run()}


def _open(experiment: str, settings: AimSettings, context: BackendContext) -> AimBackend:
    try:
        from tracelet_aim.backend import open_backend
    except ImportError as error:
        raise BackendUnavailable(
            f"Aim is not installed, or does not load ({error}): pip install 'tracelet-core[aim]', with Python 3.12 or "
            "older, and not on Windows."
        ) from error
    return open_backend(experiment, settings, context)


#: Set in the lane's process where the user has not set them: core tries again, so boto need not for minutes.
_ENVIRON = {"AWS_MAX_ATTEMPTS": "2", "AWS_RETRY_MODE": "standard"}


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``aim``."""
    return [
        BackendSpec(
            name="aim",
            open=_open,
            settings=AimSettings,
            context=_context,
            # Aim lets one process write to a run: the next one makes another run, and this one never ends.
            resumes_runs=False,
            # True on disk. A server has no compare-and-swap, so writers behind one take turns by a lease.
            atomic_versions=False,
            capabilities=frozenset(Capability),
            environ=_ENVIRON,
            summary="Artifacts in Aim runs, in a repo on disk or behind an Aim server.",
        )
    ]
