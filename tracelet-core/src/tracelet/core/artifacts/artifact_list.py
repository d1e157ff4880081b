"""Stored versions as a list that a person can read."""

from __future__ import annotations

from typing import SupportsIndex, overload

from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.display.words import columns, moment, one_line, size
from tracelet.core.system.messages import many

__all__ = ["ArtifactList"]

#: How many versions are shown as lines of text, and as rows in a notebook.
_LINES, _ROWS = 20, 100


class ArtifactList(list[LoggedArtifact]):
    """A list of stored versions, shown as a table. It is a list in every other way.

    Example:
        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> exp.log_artifact(exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt"))
        <LogResults local: v0>
        >>> versions = exp.list_artifacts()
        >>> len(versions), versions[0].name
        (1, 'classifier')
    """

    def __repr__(self) -> str:
        if not self:
            return "[]"
        header = ("name", "version", "type", "size", "logged", "aliases", "backend")
        rows = [
            (
                one.name,
                _version(one),
                one.type.value,
                size(one.size_bytes),
                moment(one.created_at),
                ", ".join(one.aliases),
                f"{one.backend}, pending" if one.pending else one.backend,
            )
            for one in self[:_LINES]
        ]
        lines = columns([header, *(tuple(map(one_line, row)) for row in rows)])
        return "\n".join([*lines, *([f"… and {len(self) - _LINES:,} more"] if len(self) > _LINES else [])])

    def _repr_html_(self) -> str:
        from tracelet.core.display.cards import card, copyable, marked, note, number
        from tracelet.core.display.html import table

        header = ("name", "version", "type", "size", "logged", "aliases", "backend", "digest")
        rows = (
            (
                one.name,
                _version(one),
                one.type.value,
                number(size(one.size_bytes)),
                moment(one.created_at),
                marked("", *one.aliases),
                marked(one.backend, *["pending"] * one.pending),
                copyable(one.digest, short=True),
            )
            for one in self[:_ROWS]
        )
        more = [note(f"and {len(self) - _ROWS:,} more")] if len(self) > _ROWS else []
        return card("artifacts", many(len(self), "version", "versions"), table(header, rows), *more)

    @overload
    def __getitem__(self, index: SupportsIndex) -> LoggedArtifact: ...
    @overload
    def __getitem__(self, index: slice) -> ArtifactList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> LoggedArtifact | ArtifactList:
        if isinstance(index, slice):
            return ArtifactList(super().__getitem__(index))
        return super().__getitem__(index)


def _version(artifact: LoggedArtifact) -> str:
    return f"{artifact.label} (v{artifact.number})" if artifact.label else artifact.version
