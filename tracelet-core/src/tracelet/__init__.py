"""Tracelet: one API for ML artifacts over many trackers.

What is listed here is loaded when it is first used, so that ``import tracelet`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracelet.lazy_names import lazy_names

if TYPE_CHECKING:
    from tracelet.core.artifacts import ArtifactType
    from tracelet.core.artifacts.artifact_list import ArtifactList
    from tracelet.core.artifacts.builder import TraceletArtifact
    from tracelet.core.artifacts.changes import ChangeResults
    from tracelet.core.artifacts.copied import CopyResults
    from tracelet.core.artifacts.diff import ArtifactDiff
    from tracelet.core.artifacts.lineage import Lineage
    from tracelet.core.artifacts.logged import LoggedArtifact
    from tracelet.core.artifacts.pruned import PruneResults
    from tracelet.core.artifacts.results import LogResult, LogResults
    from tracelet.core.artifacts.verified import Verification
    from tracelet.core.experiment import Experiment, ExperimentConfig
    from tracelet.core.experiment.overview import experiments
    from tracelet.core.management.usage import DiskUsage
    from tracelet.core.reporting.report import report
    from tracelet.core.transfer.copy import copy
    from tracelet.core.transfer.import_from import discover, import_from
    from tracelet.exceptions import (
        AmbiguousVersion,
        ArtifactError,
        ArtifactNotFound,
        BackendAuthError,
        BackendError,
        BackendUnavailable,
        ConfigError,
        IntegrityError,
        NewerFormat,
        PluginError,
        PluginLoadError,
        ProtectedVersion,
        TraceletError,
        UnknownPlugin,
        UnsafeContent,
        UnsafePath,
        VersionConflict,
    )
    from tracelet.settings import TraceletSettings

    #: The version of ``tracelet-core``. All distributions of a release have the same.
    __version__: str

__all__ = [
    "AmbiguousVersion",
    "ArtifactDiff",
    "ArtifactError",
    "ArtifactList",
    "ArtifactNotFound",
    "ArtifactType",
    "BackendAuthError",
    "BackendError",
    "BackendUnavailable",
    "ChangeResults",
    "ConfigError",
    "CopyResults",
    "DiskUsage",
    "Experiment",
    "ExperimentConfig",
    "IntegrityError",
    "Lineage",
    "LogResult",
    "LogResults",
    "LoggedArtifact",
    "NewerFormat",
    "PluginError",
    "PluginLoadError",
    "ProtectedVersion",
    "PruneResults",
    "TraceletArtifact",
    "TraceletError",
    "TraceletSettings",
    "UnknownPlugin",
    "UnsafeContent",
    "UnsafePath",
    "Verification",
    "VersionConflict",
    "__version__",
    "copy",
    "discover",
    "experiments",
    "import_from",
    "report",
]

_MODULES = {
    "tracelet.core.artifacts.entries": ("ArtifactType",),
    "tracelet.core.artifacts.artifact_list": ("ArtifactList",),
    "tracelet.core.artifacts.builder": ("TraceletArtifact",),
    "tracelet.core.artifacts.changes": ("ChangeResults",),
    "tracelet.core.artifacts.pruned": ("PruneResults",),
    "tracelet.core.artifacts.diff": ("ArtifactDiff",),
    "tracelet.core.artifacts.lineage": ("Lineage",),
    "tracelet.core.artifacts.logged": ("LoggedArtifact",),
    "tracelet.core.experiment.experiment": ("Experiment",),
    "tracelet.core.experiment.experiment_config": ("ExperimentConfig",),
    "tracelet.core.experiment.overview": ("experiments",),
    "tracelet.core.artifacts.results": ("LogResult", "LogResults"),
    "tracelet.core.management.usage": ("DiskUsage",),
    "tracelet.core.reporting.report": ("report",),
    "tracelet.core.transfer.copy": ("copy",),
    "tracelet.core.transfer.import_from": ("discover", "import_from"),
    "tracelet.core.artifacts.copied": ("CopyResults",),
    "tracelet.core.artifacts.verified": ("Verification",),
    "tracelet.settings": ("TraceletSettings",),
    "tracelet.exceptions": (
        "AmbiguousVersion",
        "ArtifactError",
        "ArtifactNotFound",
        "BackendAuthError",
        "BackendError",
        "BackendUnavailable",
        "ConfigError",
        "IntegrityError",
        "NewerFormat",
        "PluginError",
        "PluginLoadError",
        "ProtectedVersion",
        "TraceletError",
        "UnknownPlugin",
        "UnsafeContent",
        "UnsafePath",
        "VersionConflict",
    ),
}
_get = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tracelet-core")
    return _get(name)


def __dir__() -> list[str]:
    return __all__
