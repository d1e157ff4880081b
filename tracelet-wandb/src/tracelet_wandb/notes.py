"""The metadata of a version in W&B: the user's own, in a form that W&B can show, and Tracelet's note about the version.

The note, under ``tracelet``, has ``schema``, ``digest``, ``put_id``, ``label`` where there is one, the inputs, the experiment
where the project's name does not tell it, and the manifest itself where it is short, so that a listing needs no download. The file ``tracelet.json`` in the artifact has the last word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tracelet.exceptions import ArtifactError, IntegrityError
from tracelet.plugin import Manifest
from tracelet_wandb.names import experiment_name, project_name
from tracelet_wandb.schemas import SCHEMA

__all__ = [
    "KEY",
    "NOTED_INPUTS",
    "experiment_in",
    "has_note",
    "input_mark",
    "label_of",
    "manifest_in",
    "metadata_of",
    "note_in",
    "with_label",
]

#: Where the note is among W&B's metadata.
KEY = "tracelet"
#: The most keys that W&B takes at the top.
_MOST_KEYS = 100
#: A longer manifest is in its file only.
_SHORT = 8_000
#: What the inputs in a note begin with, as a regular expression. Notes of earlier releases do not have them.
NOTED_INPUTS = "^(none|sha256:)"
#: A longer text is cut in W&B's metadata.
_LONGEST_TEXT = 4_000
#: Readers in other languages have integers of 64 bits.
_LARGEST = 2**63


def metadata_of(manifest: Manifest, label: str | None, experiment: str) -> dict[str, Any]:
    """Return the metadata for W&B: the note, and the user's keys at the top, as many as W&B takes."""
    note: dict[str, Any] = {"schema": SCHEMA, "digest": manifest.digest, "put_id": manifest.put_id}
    if label is not None:
        note["label"] = label
    if experiment_name(project_name(experiment)) != experiment:
        note["experiment"] = experiment
    inputs = " ".join(map(input_mark, manifest.inputs)) or "none"
    if len(inputs) <= _SHORT:
        note["inputs"] = inputs
    text = manifest.to_json()
    if len(text) <= _SHORT:
        note["manifest"] = text
    shown = [key for key in manifest.metadata if key != KEY][: _MOST_KEYS - 1]
    if len(shown) < len(manifest.metadata):
        note["keys_not_shown"] = len(manifest.metadata) - len(shown)
    return {**{key: _shown(manifest.metadata[key]) for key in shown}, KEY: note}


def _shown(value: Any) -> Any:
    """Return a value that W&B can store: it refuses infinities, and drops NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LARGEST:
        return str(value)
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value


def note_in(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the note; empty where there is none. Users can edit a version's metadata."""
    note = metadata.get(KEY)
    return note if isinstance(note, dict) else {}


def input_mark(digest: str) -> str:
    """Return how the inputs in a note name a version."""
    return f"sha256:{digest}"


def has_note(metadata: Mapping[str, Any]) -> bool:
    """Tell whether there is a note, and the version so is Tracelet's."""
    return isinstance(note_in(metadata).get("digest"), str)


def experiment_in(metadata: Mapping[str, Any]) -> str | None:
    """Return the experiment that the note names; None where the project's name tells it, or an earlier release wrote the note."""
    experiment = note_in(metadata).get("experiment")
    return experiment if isinstance(experiment, str) else None


def label_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the label that the version was given, or claims."""
    label = note_in(metadata).get("label")
    return label if isinstance(label, str) else None


def with_label(metadata: Mapping[str, Any], manifest: Manifest, label: str | None, experiment: str) -> dict[str, Any]:
    """Return metadata with another label in the note, or without a label. A lost note is made again."""
    note = note_in(metadata) or note_in(metadata_of(manifest, None, experiment))
    kept = {key: value for key, value in note.items() if key != "label"}
    return {**metadata, KEY: {**kept, **({"label": label} if label else {})}}


def manifest_in(metadata: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest in the note; None where there is none, or it does not match the note's digest and put."""
    note = note_in(metadata)
    text = note.get("manifest")
    if not isinstance(text, str):
        return None
    try:
        manifest = Manifest.from_json(text)
    except (ArtifactError, IntegrityError):
        return None
    return manifest if (manifest.digest, manifest.put_id) == (note.get("digest"), note.get("put_id")) else None
