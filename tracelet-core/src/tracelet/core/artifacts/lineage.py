"""What a version was made from, and what was made from it, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from tracelet.core.artifacts.results import first_error
from tracelet.core.display.cards import card, note
from tracelet.core.display.html import element
from tracelet.core.display.words import moment, one_line
from tracelet.exceptions import TraceletError

__all__ = ["Lineage", "LineageNode", "LineageVersion"]

#: How many branches of a node are shown as text.
_SHOWN = 20
_CUT = {"again": " (more of it is shown elsewhere here)", "deeper": " (and so on)"}


@attrs.frozen
class LineageVersion:
    """A version that has the content of a node, in one backend."""

    name: str
    #: The caller's label, or ``v0``, ``v1``, … as the backend counts.
    version: str
    type: str
    backend: str
    #: Seconds since the epoch.
    created_at: float


@attrs.frozen
class LineageNode:
    """One content in the tree."""

    digest: str
    #: The versions that have this content, the oldest first. None: no backend that was asked knows it.
    versions: tuple[LineageVersion, ...]
    #: What it was made from, or what was made from it.
    nodes: tuple[LineageNode, ...] = ()
    #: ``"again"`` where ``nodes`` is empty because they are at another place of the tree, ``"deeper"`` where the tree is no deeper.
    cut: str = ""

    def __str__(self) -> str:
        if not self.versions:
            return f"sha256:{self.digest[:12]} (no backend that was asked knows it)"
        names = ", ".join(dict.fromkeys(f"{one.name} {one.version}" for one in self.versions))
        backends = ", ".join(dict.fromkeys(one.backend for one in self.versions))
        first = self.versions[0]
        said = (names, first.type, moment(first.created_at), backends, f"sha256:{self.digest[:12]}")
        return "  ".join(said) + _CUT.get(self.cut, "")

    def to_dict(self) -> dict[str, Any]:
        """Return the node, and those below it, as plain data."""
        return {
            "digest": self.digest,
            "versions": [attrs.asdict(one) for one in self.versions],
            "nodes": [one.to_dict() for one in self.nodes],
            "cut": self.cut,
        }


@attrs.frozen(repr=False)
class Lineage:
    """What a version was made from, and what was made from it. :meth:`LoggedArtifact.lineage` returns it.

    ``str()`` of it is the tree that ``tracelet lineage`` shows. A content that is reached in several ways is followed once,
    where it is nearest.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> exp.log_artifact(exp.create_artifact("images", ArtifactType.DATASET).add_dir("data"))
        <LogResults local: v0>
        >>> images = exp.use_artifact("images")
        >>> exp.log_artifact(exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt"))
        <LogResults local: v0>
        >>> lineage = images.lineage()
        >>> lineage
        <Lineage of images v0: made from 0, used by 1>
        >>> lineage.users[0].versions[0].name
        'classifier'
    """

    #: The version itself, with every backend that has its content.
    root: LineageNode
    inputs: tuple[LineageNode, ...]
    users: tuple[LineageNode, ...]
    #: The error of each backend that could not say all that it holds: what it holds may be missing here.
    failed: dict[str, TraceletError] = attrs.field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every backend has said all that it holds."""
        return not self.failed

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed``, if there is one, with the others in its notes.

        Raises:
            TraceletError: A backend could not say all that it holds.

        Example:
            >>> lineage.raise_for_errors()
        """
        if self.failed:
            raise first_error(self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return the lineage as plain data.

        Returns:
            A dict with ``root``, ``inputs`` and ``users``. Each node has its ``digest``, ``versions``, ``nodes`` and ``cut``.

        Example:
            >>> lineage.to_dict()["inputs"]
            []
        """
        return {
            "root": self.root.to_dict(),
            "inputs": [one.to_dict() for one in self.inputs],
            "users": [one.to_dict() for one in self.users],
        }

    def __repr__(self) -> str:
        first = self.root.versions[0]
        failed = "".join(f"; {name}: FAILED ({error})" for name, error in self.failed.items())
        return f"<Lineage of {first.name} {first.version}: made from {len(self.inputs)}, used by {len(self.users)}{failed}>"

    def _repr_html_(self) -> str:
        """Show the tree in a notebook."""
        first = self.root.versions[0]
        failed = (note(f"{name}: {error}") for name, error in self.failed.items())
        return card("lineage", f"{first.name} {first.version}", element("pre", str(self)), *failed)

    def __str__(self) -> str:
        lines = [str(self.root)]
        for said, nodes, stem, indent in (
            ("made from", self.inputs, "├─", "│  "),
            ("used by", self.users, "└─", "   "),
        ):
            lines.append(f"{stem} {said}{'' if nodes else ' nothing that is known'}")
            lines += (f"{indent}{line}" for line in _branches(nodes))
        return "\n".join(map(one_line, lines))


def _branches(nodes: tuple[LineageNode, ...]) -> Iterator[str]:
    shown, left = nodes[:_SHOWN], len(nodes) - _SHOWN
    for number, node in enumerate(shown, 1):
        last = number == len(shown) and left <= 0
        yield f"{'└─' if last else '├─'} {node}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in _branches(node.nodes))
    if left > 0:
        yield f"└─ … and {left:,} more"
