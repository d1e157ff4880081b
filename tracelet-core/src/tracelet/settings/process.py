"""What is in the environment of this process beside settings, and the environment of the processes that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["child_environment", "own_variable", "state_folder", "wants_colours"]


def child_environment(extra: Mapping[str, str], defaults: Mapping[str, str], path: str | None) -> dict[str, str]:
    """Return this process's environment with ``extra`` in its place, and with ``defaults`` for variables that are not set.

    ``path`` is put at the beginning of ``PYTHONPATH``.
    """
    inherited = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join(part for part in (path, inherited) if part)
    return {**defaults, **os.environ, **({"PYTHONPATH": paths} if path else {}), **extra}


def own_variable(name: str) -> str:
    """Return a variable that Tracelet itself has set; an empty text where it is not set."""
    return os.environ.get(name, "")


def state_folder() -> Path | None:
    """Return the folder for what belongs to this user and to no tracelet directory. None where the user has no home."""
    home = os.path.expanduser("~/.local/state")  # noqa: PTH111 - Path's raises where nobody knows the user
    places = (Path(place) for place in (os.environ.get("XDG_STATE_HOME", ""), home))
    return next((place / "tracelet" for place in places if place.is_absolute()), None)


def wants_colours() -> bool | None:
    """Return whether the user wants coloured text, by the variables that many programs share. None where they do not say."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in {"dumb", "unknown"}:
        return False
    return True if os.environ.get("FORCE_COLOR") else None
