"""What differs between two versions of artifacts, as their manifests tell it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tracelet.core.artifacts.manifest import Manifest, identity
from tracelet.core.artifacts.plain import converter, dumps
from tracelet.core.artifacts.plain_values import leaves
from tracelet.core.display.cards import badge, card, copyable, note, number
from tracelet.core.display.html import Html, element, table
from tracelet.core.display.words import one_line, size

__all__ = ["ArtifactDiff", "DiffEntry", "DiffSide", "ValueChange", "diff_of"]

#: Parts of a manifest's identity that are told by path or by key, and not as fields.
_APART = frozenset({"schema", "metadata", "files", "objects", "models", "references", "inputs"})
_SHOWN = 200
#: How many differences a notebook shows.
_ROWS = 100
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@attrs.frozen
class ValueChange:
    """A value that differs. What was added has no value before, and what was removed none after: None stands there."""

    #: ``"added"``, ``"removed"`` or ``"changed"``.
    kind: str
    before: Any
    after: Any

    def __str__(self) -> str:
        values = {"added": [self.after], "removed": [self.before]}.get(self.kind, [self.before, self.after])
        return " → ".join(map(_short, values))


@attrs.frozen
class DiffEntry:
    """An entry of one version, or of both: a file, an object, a file of a model, or a reference."""

    #: The path in the artifact; of a reference to other content its URI.
    path: str
    #: ``"file"``, ``"object"``, ``"model"`` or ``"reference"``, in the later version that has it.
    kind: str
    #: The size in the first version; None where it is not there, or where nobody knows it.
    before_bytes: int | None
    #: The size in the second version.
    after_bytes: int | None

    def __str__(self) -> str:
        sizes = [size(one) for one in (self.before_bytes, self.after_bytes) if one is not None]
        return "  ".join([self.path, " → ".join(dict.fromkeys(sizes))]).rstrip()


@attrs.frozen
class DiffSide:
    """One of the two versions that are compared."""

    name: str
    version: str
    backend: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@attrs.frozen(repr=False)
class ArtifactDiff:
    """What differs between two versions, told from their manifests alone. :meth:`LoggedArtifact.diff` returns it.

    ``added``, ``removed``, ``changed`` and ``same`` are dicts of entries by path: files, objects, the files of models, and
    references by their URI. An entry counts as changed if its bytes, or what is said of it, changed. A file counts
    the same whether a backend or the store of large files holds its bytes. ``str()`` of it is the list that ``tracelet diff`` shows.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> for rate in (0.1, 0.2):
        ...     artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        ...     artifact.metadata["learning_rate"] = rate
        ...     results = exp.log_artifact(artifact)
        >>> diff = exp.get_artifact("classifier", "v0").diff(exp.get_artifact("classifier", "v1"))
        >>> diff
        <ArtifactDiff classifier v0 → classifier v1: 1 same, 1 of metadata>
        >>> list(diff.same), diff.metadata["learning_rate"].after
        (['weights.pt'], 0.2)
    """

    before: DiffSide
    after: DiffSide
    added: dict[str, DiffEntry]
    removed: dict[str, DiffEntry]
    changed: dict[str, DiffEntry]
    same: dict[str, DiffEntry]
    #: By dotted key.
    metadata: dict[str, ValueChange]
    #: ``"type"`` and ``"description"`` where they differ.
    fields: dict[str, ValueChange]
    #: Digests of the versions that only the second was made from.
    inputs_added: tuple[str, ...]
    #: Digests of the versions that only the first was made from.
    inputs_removed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        told = (self.added, self.removed, self.changed, self.metadata, self.fields, self.inputs_added)
        return any(told) or bool(self.inputs_removed)

    def __repr__(self) -> str:
        return f"<ArtifactDiff {self._headline()}>"

    def __str__(self) -> str:
        return "\n".join(map(one_line, self._lines()))

    def _repr_html_(self) -> str:
        """Show in a notebook what differs."""
        rows = list(itertools.islice(self._rows(), _ROWS + 1))
        more = [note("There is more: str() of it has all.")] if len(rows) > _ROWS else []
        differences = [table(("change", "of", "before", "after"), rows[:_ROWS])] if rows else []
        return card("difference", self._headline(), *differences, *more)

    def _rows(self) -> Iterator[tuple[Html | str, ...]]:
        for kind, entries in self._entries():
            for one in entries.values():
                sizes = ("" if count is None else size(count) for count in (one.before_bytes, one.after_bytes))
                yield badge(kind), one.path, *map(number, sizes)
        for kind, digests in (("added", self.inputs_added), ("removed", self.inputs_removed)):
            yield from (
                (badge(kind), element("span", "made from ", copyable(one, short=True)), "", "") for one in digests
            )
        told = [*self.fields.items(), *((f"metadata {key}", value) for key, value in self.metadata.items())]
        for key, value in told:
            before = "" if value.kind == "added" else _short(value.before)
            yield badge(value.kind), key, before, "" if value.kind == "removed" else _short(value.after)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data.

        Returns:
            A dict: ``before`` and ``after`` say what was compared, the lists ``added``, ``removed``, ``changed`` and ``same`` have the
            entries, ``metadata`` and ``fields`` the values by key, and ``inputs_added`` and ``inputs_removed`` digests.

        Example:
            >>> diff.to_dict()["metadata"]
            {'learning_rate': {'kind': 'changed', 'before': 0.1, 'after': 0.2}}
        """
        return {
            "before": attrs.asdict(self.before),
            "after": attrs.asdict(self.after),
            **{
                kind: [attrs.asdict(one) for one in entries.values()]
                for kind, entries in (*self._entries(), ("same", self.same))
            },
            **{
                of: {key: converter().unstructure(attrs.asdict(one), dict[str, Any]) for key, one in values.items()}
                for of, values in (("metadata", self.metadata), ("fields", self.fields))
            },
            "inputs_added": list(self.inputs_added),
            "inputs_removed": list(self.inputs_removed),
        }

    def _entries(self) -> tuple[tuple[str, dict[str, DiffEntry]], ...]:
        return ("added", self.added), ("removed", self.removed), ("changed", self.changed)

    def _headline(self) -> str:
        counts = [f"{len(entries)} {kind}" for kind, entries in (*self._entries(), ("same", self.same)) if entries]
        counts += [f"{len(self.metadata)} of metadata"] if self.metadata else []
        counts += self.fields
        inputs = len(self.inputs_added) + len(self.inputs_removed)
        counts += [f"{inputs} of inputs"] if inputs else []
        counts += [] if self else ["nothing differs"]
        return f"{self.before} → {self.after}: {', '.join(counts)}"

    def _lines(self) -> Iterator[str]:
        yield self._headline()
        for kind, entries in self._entries():
            yield from (f"{_SIGNS[kind]} {one}" for one in entries.values())
        for digest in self.inputs_added:
            yield f"+ made from sha256:{digest[:12]}"
        for digest in self.inputs_removed:
            yield f"- made from sha256:{digest[:12]}"
        for key, value in self.fields.items():
            yield f"~ {key}: {value}"
        for key, value in self.metadata.items():
            yield f"{_SIGNS[value.kind]} metadata {key}: {value}"


def diff_of(first: Manifest, second: Manifest, before: DiffSide, after: DiffSide) -> ArtifactDiff:
    """Compare two manifests."""
    old, new = identity(first.to_dict()), identity(second.to_dict())
    ours, theirs = _by_path(old), _by_path(new)
    told: dict[str, dict[str, DiffEntry]] = {"added": {}, "removed": {}, "changed": {}, "same": {}}
    for path in sorted({*ours, *theirs}):
        one, other = ours.get(path, []), theirs.get(path, [])
        kind = "added" if not one else "removed" if not other else "same" if dumps(one) == dumps(other) else "changed"
        told[kind][path] = DiffEntry(path, (other or one)[0]["kind"], _bytes(one), _bytes(other))
    return ArtifactDiff(
        before,
        after,
        **told,
        metadata=_values(first.metadata, second.metadata),
        fields=_values(*({key: value for key, value in one.items() if key not in _APART} for one in (old, new))),
        inputs_added=tuple(sorted({*new["inputs"]} - {*old["inputs"]})),
        inputs_removed=tuple(sorted({*old["inputs"]} - {*new["inputs"]})),
    )


def _by_path(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return all that is said of each path: of one of a manifest that another program wrote it may be more than one thing."""
    found: dict[str, list[dict[str, Any]]] = {}

    def note(path: str, kind: str, said: Mapping[str, Any]) -> None:
        found.setdefault(path, []).append({**said, "kind": kind})

    for file in document["files"]:
        note(file["artifact_path"], "file", file)
    for item in document["objects"]:
        note(item["artifact_path"], "object", item)
    for model in document["models"]:
        own = {f"model {key}": value for key, value in model.items() if key != "files"}
        for file in model["files"]:
            note(file["artifact_path"], "model", {**own, **file})
        if not model["files"]:
            note(f"models/{model['name']}", "model", own)
    for reference in document["references"]:
        note(reference["uri"], "reference", reference)
    return found


def _bytes(said: list[dict[str, Any]]) -> int | None:
    sizes = [one["size_bytes"] for one in said if one.get("size_bytes") is not None]
    return sum(sizes) if sizes else None


def _values(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, ValueChange]:
    """Return which values differ, by dotted key. What JSON writes in the same way does not."""
    old, new = dict(leaves(before)), dict(leaves(after))
    found: dict[str, ValueChange] = {}
    for path in sorted({*old, *new}):
        one, other = old.get(path), new.get(path)
        if path not in old or path not in new or dumps(one) != dumps(other):
            kind = "added" if path not in old else "removed" if path not in new else "changed"
            found[".".join(path)] = ValueChange(kind, one, other)
    return found


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
