"""What the commands share that find stored versions: how one is named, asked for and told."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracelet.cli.screen import progress
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.experiment.configured import configured
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.reading import finder_of, sdk_states
from tracelet.core.management.experiments import near_experiments, what_waits
from tracelet.core.plugins.registry import registry
from tracelet.core.reading.finder import Finder
from tracelet.core.system.messages import sentence
from tracelet.exceptions import ArtifactNotFound
from tracelet.settings import TraceletSettings

__all__ = ["asked", "find", "finding", "numbered", "opened", "plain_version", "which"]


def which(artifact: str) -> tuple[str, str]:
    """Return the name and the version of ``NAME``, ``NAME@VERSION``, or ``NAME:VERSION`` as W&B writes it."""
    name, *version = re.split("[@:]", artifact, maxsplit=1)
    return name, (version[0] if version else "") or "latest"


@contextmanager
def opened(experiment: str, settings: TraceletSettings) -> Iterator[Finder]:
    """Give what finds the versions of an experiment. An interruption ends it at once."""
    known = configured(experiment, None, settings)
    context = ExperimentContext(known.name, known.settings, known.backends, known.directory, registry)
    finder = finder_of(context, sdk_states(context))
    try:
        with finder.asking_the_broken_once():
            yield finder
    except KeyboardInterrupt:
        finder.kill()
        raise
    finally:
        finder.close(time.monotonic() + settings.stop_timeout)


@contextmanager
def finding(experiment: str, settings: TraceletSettings, what: str) -> Iterator[Finder]:
    """Give what finds the versions of an experiment, and say meanwhile ``what`` is being done."""
    with opened(experiment, settings) as finder, progress(what):
        yield finder


def find(finder: Finder, artifact: str, experiment: str, directory: Path, settings: TraceletSettings) -> LoggedArtifact:
    """Return the version that a command line names. Where there is none, the error says what was asked."""
    name, version = which(artifact)
    try:
        return finder.get(name, version, None)
    except ArtifactNotFound as error:
        said = sentence(f"The command asked {asked(experiment, directory, settings)}")
        told = str(error).replace("list_artifacts() shows", f"`tracelet ls {shlex.quote(experiment)}` shows")
        raise ArtifactNotFound(f"{told} {said}") from error


def asked(experiment: str, directory: Path, settings: TraceletSettings, option: str = "--backend NAME") -> str:
    """Say what was asked and what else the user may mean. Only files of this machine are read for it.

    ``option`` is the one of the command that names another backend.
    """
    said = [f"experiment {experiment!r} of {', '.join(settings.backend)} (directory {directory})"]
    near, waiting = near_experiments(directory, experiment), what_waits(directory, experiment)
    if near:
        said.append(f"did you mean {' or '.join(map(repr, near))}?")
    if waiting:
        said.append(str(waiting))
    if not near and not waiting:
        named = "".join(f" --backend {one}" for one in settings.backend) if settings.backend != ["local"] else ""
        said.append(f"`tracelet experiments{named}` shows which there are")
        said.append(f"{option} asks another backend, --dir DIR another directory")
    return "; ".join(said)


def numbered(one: LoggedArtifact) -> str:
    """Return the number of a version, with the label behind it, such as ``v3 (1.0)``."""
    return f"v{one.number} ({one.label})" if one.label else f"v{one.number}"


def plain_version(one: LoggedArtifact) -> dict[str, Any]:
    """Return a version as the plain data that programs read."""
    manifest = one.manifest.to_dict()
    return {
        "name": one.name,
        "type": one.type.value,
        "version": one.version,
        "number": one.number,
        "label": one.label,
        "aliases": list(one.aliases),
        "backend": one.backend,
        "uri": one.uri,
        "digest": one.digest,
        "created_at": one.created_at,
        "run_id": one.run_id,
        "inputs": list(one.inputs),
        "pending": one.pending,
        "size_bytes": one.size_bytes,
        **{key: manifest[key] for key in ("description", "metadata", "files", "objects", "models", "references")},
    }
