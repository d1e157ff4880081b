"""Find what plain Aim logged in its runs: which runs a place names, and which artifacts they have."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import attrs

from tracelet.exceptions import ArtifactNotFound, IntegrityError, UnsafePath
from tracelet.plugin import (
    ArtifactReference,
    ArtifactType,
    ForeignArtifact,
    ForeignFile,
    ForeignRun,
    check_path,
    tell_type_by_names,
)
from tracelet_aim.foreign_bytes import ForeignBytes, Kept
from tracelet_aim.runs import ROOT
from tracelet_aim.trees import Ask, Facts, Place

__all__ = ["discover", "fetch"]

_LOG = logging.getLogger("tracelet.import")

#: How Tracelet names files on a run of its own.
_OWN_FILE = re.compile(r"[A-Za-z0-9_.-]+/v\d+/.+")
#: Aim's own among parameters and metrics: what it knows of the machine, with its environment variables.
_SYSTEM = "__system_"
#: How many experiments a message names.
_NEAREST = 3


def discover(place: Place, wanted: str, stored: ForeignBytes) -> list[ForeignArtifact]:
    """Return what was logged without Tracelet in a run, or in all runs of an experiment, the oldest first.

    A run of an experiment that cannot be read is told by a warning. Raises :class:`~tracelet.ArtifactNotFound` where there is no
    such place, and :class:`~tracelet.IntegrityError` where the one run that was asked for cannot be read.
    """
    found: list[ForeignArtifact] = []
    for run_hash in _runs(place, wanted):
        try:
            found += _artifacts(place, run_hash, stored)
        except IntegrityError as error:
            if run_hash == wanted:
                raise
            _LOG.warning("%s It is left out.", error)
    found.sort(key=lambda one: (one.created_at, one.address))
    # One name has one type, whatever a later run put there: otherwise its versions would part.
    types: dict[str, ArtifactType] = {}
    return [attrs.evolve(one, type=types.setdefault(one.locator["key"], one.type)) for one in found]


def fetch(found: ForeignArtifact, stored: ForeignBytes, dest: Any) -> None:
    """Write the files of an artifact under ``dest``. Aim has no checksums to compare them with."""
    files = [Kept(check_path(path), str(base), check_path(name)) for path, base, name in found.locator["files"]]
    stored.fetch(found.name, str(found.locator["run"]), files, dest)


def _runs(place: Place, wanted: str) -> list[str]:
    if place.facts(wanted) is not None:
        return [wanted]
    runs, experiments = [], set()
    for run_hash, experiment in place.experiments_of_runs():
        if experiment is None:
            _LOG.warning(
                "Aim's repo %s does not know the experiment of the run %s: it is left out.", place.shown, run_hash
            )
        elif experiment == wanted:
            runs.append(run_hash)
        else:
            experiments.add(experiment)
    if not runs:
        near = difflib.get_close_matches(wanted, sorted(experiments), _NEAREST, 0.0)
        has = (
            f"It has {', '.join(map(repr, near))}." if near else "It has no runs: see that TRACELET_AIM_REPO names it."
        )
        raise ArtifactNotFound(
            f"Aim's repo {place.shown} has no experiment {wanted!r}, and no run of this hash: give the name of an experiment, or the "
            f"hash of a run. {has}"
        )
    return runs


def _artifacts(place: Place, run_hash: str, stored: ForeignBytes) -> list[ForeignArtifact]:
    with place.reading_run(run_hash) as ask:
        noted = {str(name): record for name, record in _table(ask("artifacts")).items()}
        is_own = bool(noted) and ask("attrs", ROOT, "run_id") is not None
        files = _files(
            {name: record for name, record in noted.items() if not (is_own and _OWN_FILE.fullmatch(name))}, run_hash
        )
        parameters = _parameters(ask, is_own) if files else {}
        metrics = _metrics(ask) if files else {}
    facts = place.facts(run_hash) if files else None
    if facts is None:
        return []
    run = ForeignRun(id=run_hash, name=facts.name, parameters=parameters, metrics=metrics)
    return [
        _artifact(f"{place.address}/{run_hash}/{key}", key, together, sources, facts, run, stored)
        for key, (together, sources) in _grouped(files).items()
    ]


def _files(noted: Mapping[str, Any], run_hash: str) -> dict[str, tuple[Kept, str]]:
    """Return the files of a run by the paths that Aim stores them at, each with the path that it was logged from."""
    found = {}
    for name, record in noted.items():
        # As Aim does where it stores the file.
        path = PurePosixPath(name).as_posix()
        try:
            inside = check_path(check_path(path).partition("/")[2] or path)
            found[path] = Kept(inside, _text(record["base_uri"]), path), _text(record["path"])
        except UnsafePath as error:
            _LOG.warning("%r of the run %s is left out, for no artifact can hold it: %s", name, run_hash, error)
        except (KeyError, TypeError):
            _LOG.warning("%r of the run %s is left out: what Aim notes of it is damaged.", name, run_hash)
    return found


def _grouped(files: Mapping[str, tuple[Kept, str]]) -> dict[str, tuple[list[Kept], list[str]]]:
    """Return the files of each artifact, by its name: what a folder has is one, and ends with a slash.

    In a bucket a file may have the path of a folder; it is an artifact of its own.
    """
    folders = {above.as_posix() for path in files for above in PurePosixPath(path).parents}
    grouped: dict[str, tuple[list[Kept], list[str]]] = {}
    for path, (file, source) in sorted(files.items()):
        top, slash, _ = path.partition("/")
        together, sources = grouped.setdefault(f"{top}/" if slash and path not in folders else path, ([], []))
        together.append(file)
        sources.append(source)
    return grouped


def _artifact(
    address: str, key: str, files: list[Kept], sources: list[str], facts: Facts, run: ForeignRun, stored: ForeignBytes
) -> ForeignArtifact:
    held = [file for file in files if file.is_held]
    about = {
        "path": "" if key.endswith("/") else sources[0],
        "uri": files[0].uri.removesuffix(files[0].path) if key.endswith("/") else files[0].uri,
        "tags": facts.tags,
        "run_description": facts.description,
        "archived": facts.is_archived,
    }
    return ForeignArtifact(
        address=address,
        name=key.removesuffix("/"),
        type=_type(files, sources),
        kind="run artifact",
        experiment=facts.experiment,
        metadata={what: value for what, value in about.items() if value},
        created_at=facts.created_at,
        run=run,
        files=tuple(map(ForeignFile, (file.path for file in held), stored.sizes(facts.hash, held))),
        references=tuple(ArtifactReference(file.uri) for file in files if not file.is_held),
        locator={"run": facts.hash, "key": key, "files": [[file.path, file.base, file.name] for file in held]},
    )


def _type(files: list[Kept], sources: list[str]) -> ArtifactType:
    told = tell_type_by_names([file.path for file in files])
    # A name that the user gave has often no suffix; the file that was logged has.
    return told if told is not ArtifactType.CUSTOM else tell_type_by_names([PurePosixPath(one).name for one in sources])


def _parameters(ask: Ask, is_own: bool) -> dict[str, Any]:
    parameters = _plain(_table(ask("attrs")))
    return {
        key: value for key, value in parameters.items() if not key.startswith(_SYSTEM) and not (is_own and key == ROOT)
    }


def _metrics(ask: Ask) -> dict[str, Any]:
    """Return the last value of each metric. The last one of images and the like is their bytes, and is not asked for."""
    # An earlier release of Aim noted no kinds.
    kinds = _table(ask("typed_traces") or {"metric": ask("traces")})
    contexts = _table(ask("contexts"))
    found = {}
    for number, names in _table(kinds.get("metric")).items():
        context = _table(contexts.get(number))
        traces = _table(ask("traces", number)) if set(kinds) == {"metric"} else {}
        for name in names:
            last = traces[name].get("last") if name in traces else ask("traces", number, name, "last")
            if isinstance(last, (int, float)) and not name.startswith(_SYSTEM):
                found[f"{name} {json.dumps(_plain(context), sort_keys=True)}" if context else name] = last
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _table(value: Any) -> dict[Any, Any]:
    """Return a dict as it is, and nothing for what Aim has not noted."""
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Return a parameter as plain JSON data. What has no such form is told by the name of its class."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else f"({type(value).__name__})"
