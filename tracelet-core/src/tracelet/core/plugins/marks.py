"""The marks by which pluggy knows a hook. They are apart from the hooks: a plugin needs the mark alone."""

from __future__ import annotations

import pluggy

__all__ = ["PROJECT", "hookimpl", "hookspec"]

#: The entry-point group, and pluggy's name for the project.
PROJECT = "tracelet"

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function of a plugin's module as what Tracelet calls. Its name says which hook it is, such as ``tracelet_backends``.
hookimpl = pluggy.HookimplMarker(PROJECT)
