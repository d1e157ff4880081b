"""What a user's program does, through the public API, in a child process."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts import ArtifactType
from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.experiment import Experiment, ExperimentConfig
from tracelet.core.plugins.registry import registry

__all__ = [
    "Recipe",
    "context_of",
    "download",
    "end_reading",
    "get",
    "listing",
    "load_plugin",
    "log",
    "log_threaded",
    "modules",
]

#: Seconds that a reading lane gets to end.
_ENDING = 20.0
_readers: dict[tuple[str, str], Experiment] = {}


@attrs.frozen
class Recipe:
    """An artifact for a program to make and log."""

    name: str
    files: Mapping[str, Path]
    type: ArtifactType = ArtifactType.CUSTOM
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    version: str | None = None
    aliases: tuple[str, ...] = ()

    def artifact(self) -> TraceletArtifact:
        """Return the builder."""
        made = TraceletArtifact(self.name, self.type)
        made.metadata.update(self.metadata)
        for path, source in self.files.items():
            made.add_file(source, path)
        return made


def _experiment(experiment: str, backend: str) -> Experiment:
    # The routing policy, the limit for large files and the like are core's; the kit tests the backend.
    config = ExperimentConfig(routing="all", on_large="upload", stop_timeout=120.0)
    return Experiment(experiment, backend=backend, artifacts=True, config=config)


def _log(exp: Experiment, recipe: Recipe) -> LogResults:
    return exp.log_artifact(recipe.artifact(), version=recipe.version, aliases=recipe.aliases)


def log(experiment: str, backend: str, recipes: Sequence[Recipe]) -> list[LogResults]:
    """Log artifacts one after the other in one run."""
    with _experiment(experiment, backend) as exp:
        return [_log(exp, recipe) for recipe in recipes]


def log_threaded(experiment: str, backend: str, recipes: Sequence[Recipe]) -> int:
    """Log artifacts all at once, one thread each, in one run; return how many are still to be delivered."""
    with _experiment(experiment, backend) as exp, ThreadPoolExecutor(len(recipes)) as pool:
        results = list(pool.map(lambda recipe: _log(exp, recipe), recipes))
        for result in results:
            for error in result.failed.values():
                raise error  # pragma: no cover - a backend that keeps the contract fails nothing
        return exp.flush(120.0)


def _reader(experiment: str, backend: str) -> Experiment:
    """An experiment without a run; its reading lane lives until :func:`end_reading`, for it costs a start of the SDK."""
    if (experiment, backend) not in _readers:
        _readers[experiment, backend] = _experiment(experiment, backend)
    return _readers[experiment, backend]


def end_reading() -> None:
    """End the lanes that were read through."""
    for exp in _readers.values():
        exp._artifact_manager.finder.close(time.monotonic() + _ENDING)
    _readers.clear()


def get(experiment: str, backend: str, name: str, version: str = "latest") -> dict[str, Any]:
    """Get an artifact without a run and return what it says of itself."""
    return _reader(experiment, backend).get_artifact(name, version).to_dict()


def listing(experiment: str, backend: str, type: ArtifactType | None = None) -> list[dict[str, Any]]:
    """List artifacts without a run."""
    return [artifact.to_dict() for artifact in _reader(experiment, backend).list_artifacts(type)]


def download(
    experiment: str, backend: str, name: str, dest: Path, version: str = "latest", paths: Sequence[str] | None = None
) -> None:
    """Get an artifact without a run and download it, verified."""
    _reader(experiment, backend).get_artifact(name, version).download(dest, paths)


def modules() -> set[str]:
    """Return the names of the top-level modules that this process has loaded."""
    return {name.partition(".")[0] for name in sys.modules}


def load_plugin(target: str) -> set[str]:
    """Import an entry point's module; return the top-level modules that this brought along."""
    before = modules()
    importlib.import_module(target)
    return modules() - before


def context_of(
    backend: str,
) -> tuple[str, set[str], float]:  # pragma: no cover - its process is fresh, and killed after
    """Call the context of a backend's spec; return its JSON, the modules it brought along, and its seconds."""
    spec = registry().backends.get(backend)
    before, began = modules(), time.monotonic()
    answer = spec.context()
    took = time.monotonic() - began
    return json.dumps(answer), modules() - before, took
