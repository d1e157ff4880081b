"""Settings, and the only reader of the environment.

Precedence: argument > ``ExperimentConfig`` field > ``TraceletSettings`` field > ``TRACELET_*`` >
default. Plugins declare an attrs class of their own and get ``TRACELET_<NAME>_*`` by :func:`load`.
"""

from __future__ import annotations

from tracelet.settings.from_variables import NoSettings, environment, load, load_plugin, variables
from tracelet.settings.process import child_environment, own_variable, state_folder, wants_colours
from tracelet.settings.tracelet_settings import (
    TraceletSettings,
    global_rank,
    is_set,
    job_of,
    launched_by_ray,
    unknown_variables,
)
from tracelet.settings.values import WatchedDirectory, can_be_path

__all__ = [
    "NoSettings",
    "TraceletSettings",
    "WatchedDirectory",
    "can_be_path",
    "child_environment",
    "environment",
    "global_rank",
    "is_set",
    "job_of",
    "launched_by_ray",
    "load",
    "load_plugin",
    "own_variable",
    "state_folder",
    "unknown_variables",
    "variables",
    "wants_colours",
]
