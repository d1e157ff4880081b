"""What goes into the page of an experiment, as plain data that JSON can hold, within bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.plain import dumps
from tracelet.core.artifacts.plain_values import leaves
from tracelet.core.reporting.homes import Homes
from tracelet.core.reporting.preview_files import Previews, preview_key
from tracelet.core.system.messages import many

__all__ = ["MOST_TEXT", "contents"]

#: Characters of all versions together, without previews.
MOST_TEXT = 12_000_000
#: Of one version: files, inputs, references, keys of metadata and aliases.
_FILES, _INPUTS, _REFERENCES, _KEYS, _ALIASES = 100, 100, 50, 200, 30
#: Characters of a description, of an address, and of a key or a value of metadata.
_DESCRIPTION, _ADDRESS, _VALUE = 2_000, 1_000, 500
#: Items of a list in metadata.
_ITEMS = 20
#: The largest whole number that is one in a browser, too.
_LARGEST = 2**53 - 1


def contents(
    experiment: str,
    versions: Sequence[Homes],
    previews: Previews,
    *,
    found: int,
    failures: Sequence[str],
    made_at: float,
    most_text: int = MOST_TEXT,
) -> dict[str, Any]:
    """Return what the page shows.

    Args:
        experiment: The experiment's name.
        versions: The versions that the page has, newest first.
        previews: What their files show.
        found: How many versions there are, with those that the page does not have.
        failures: What the page has to say of backends that failed.
        made_at: The time, in seconds since the epoch.
        most_text: Characters of all versions together. Those that are beyond it are named without what is in them.
    """
    own = _own_bytes(versions)
    told: list[dict[str, Any]] = []
    left = most_text
    abridged = 0
    for number, homes in enumerate(versions):
        head = {**_head(homes), "own_bytes": own[number]}
        version = {**head, **_inside(homes[0], previews)}
        length = len(json.dumps(version))
        if length > left:
            abridged += 1
            version = {**head, **_NOTHING}
            length = len(json.dumps(version))
        left -= length
        told.append(version)
    notes = []
    if found > len(versions):
        notes.append(f"The page has the newest {len(versions):,} of {many(found, 'version', 'versions')}.")
    if abridged:
        whole = many(abridged, "older version is", "older versions are")
        notes.append(f"The page was full: {whole} here without metadata, files and inputs.")
    if previews.left_out:
        files = many(previews.left_out, "file is", "files are")
        notes.append(f"Previews of {files} left out: they are too large, or the page has enough of them.")
    return {
        "experiment": experiment,
        "made_at": made_at,
        "backends": list(dict.fromkeys(home.backend for homes in versions for home in homes)),
        "failures": list(failures),
        "notes": notes,
        "versions": told,
        "previews": previews.shown,
    }


def _own_bytes(versions: Sequence[Homes]) -> list[int]:
    """Return for each version the bytes that no earlier one has."""
    seen: set[str | None] = set()
    own = []
    for homes in reversed(versions):
        count = 0
        for key, size in _pieces(homes[0]):
            if key not in seen:
                seen.add(key)
                count += size
        own.append(count)
    return own[::-1]


def _pieces(artifact: LoggedArtifact) -> Iterator[tuple[str | None, int]]:
    for file in _files(artifact):
        yield file.sha256, file.size_bytes
    for reference in artifact.references:
        if reference.path is None:
            yield reference.uri, reference.size_bytes or 0


def _files(artifact: LoggedArtifact) -> tuple[ArtifactFile, ...]:
    return (*artifact.manifest.payload, *artifact.manifest.stored)


def _head(homes: Homes) -> dict[str, Any]:
    first = homes[0]
    return {
        "name": first.name,
        "type": first.type.value,
        "version": first.version,
        "number": first.number,
        "label": first.label,
        "digest": first.digest,
        "created_at": first.created_at,
        "size_bytes": first.size_bytes,
        "aliases": sorted({alias for home in homes for alias in home.aliases})[:_ALIASES],
        "homes": [
            {
                "backend": home.backend,
                "version": home.version,
                "uri": _cut(home.uri, _ADDRESS),
                "aliases": list(home.aliases)[:_ALIASES],
                "pending": home.pending,
            }
            for home in homes
        ],
    }


#: What a version has that is only named.
_NOTHING: dict[str, Any] = {
    "abridged": True,
    **dict.fromkeys(("run_id", "description")),
    **dict.fromkeys(("metadata", "files", "inputs", "references"), ()),
    **dict.fromkeys(("more_metadata", "more_files", "more_inputs", "more_references"), 0),
}


def _inside(artifact: LoggedArtifact, previews: Previews) -> dict[str, Any]:
    values = sorted(leaves(artifact.manifest.metadata), key=itemgetter(0))
    metadata = [(_cut(".".join(keys), _VALUE), _value(value)) for keys, value in values]
    made = {one.artifact_path: f"object {one.name}, {one.serializer}" for one in artifact.objects}
    made |= {file.artifact_path: f"model {one.name}, {one.framework}" for one in artifact.models for file in one.files}

    def rank(file: ArtifactFile) -> tuple[bool, bool, str]:
        return not _tells(artifact, file, previews), file.artifact_path not in made, file.artifact_path

    files = sorted(_files(artifact), key=rank)
    references = [one for one in artifact.references if one.path is None]
    return {
        "abridged": False,
        "run_id": artifact.run_id,
        "description": _cut(artifact.description or "", _DESCRIPTION) or None,
        "metadata": [[key, value] for key, value in metadata[:_KEYS]],
        "more_metadata": max(0, len(metadata) - _KEYS),
        "files": [
            {
                "path": file.artifact_path,
                "size_bytes": file.size_bytes,
                "what": made.get(file.artifact_path),
                "preview": preview_key(file) if preview_key(file) in previews.shown else None,
                "unseen": previews.unseen.get(preview_key(file)),
                "trouble": previews.troubles.get((artifact.digest, file.artifact_path)),
            }
            for file in files[:_FILES]
        ],
        "more_files": max(0, len(files) - _FILES),
        "inputs": list(artifact.inputs[:_INPUTS]),
        "more_inputs": max(0, len(artifact.inputs) - _INPUTS),
        "references": [
            {"uri": _cut(one.uri, _ADDRESS), "size_bytes": one.size_bytes} for one in references[:_REFERENCES]
        ],
        "more_references": max(0, len(references) - _REFERENCES),
    }


def _tells(artifact: LoggedArtifact, file: ArtifactFile, previews: Previews) -> bool:
    """Return whether a file has a preview, or says why it has none."""
    return preview_key(file) in previews.shown or (artifact.digest, file.artifact_path) in previews.troubles


def _value(value: Any) -> Any:
    """Return a number or a truth value as it is where a browser reads the same, and all else as text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else str(value)
    if isinstance(value, str):
        return _cut(value, _VALUE)
    if isinstance(value, list) and len(value) > _ITEMS:
        return f"{_cut(dumps(value[:_ITEMS]), _VALUE)} and {len(value) - _ITEMS:,} more"
    return _cut(dumps(value), _VALUE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
