"""What became of the versions that retention looked at: which go, which stay, and why."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.core.artifacts.results import first_error
from tracelet.core.display.cards import badge, card, copyable, note, number
from tracelet.core.display.html import Html, table
from tracelet.core.display.words import moment, size
from tracelet.core.system.messages import many
from tracelet.exceptions import TraceletError

__all__ = ["PruneResults", "PrunedVersion"]

#: How many versions are shown as rows in a notebook.
_ROWS = 100


@attrs.frozen
class PrunedVersion:
    """A version in one backend, and why it goes or stays."""

    backend: str
    name: str
    #: The caller's label, or ``v0``, ``v1``, … as the backend counts.
    version: str
    number: int
    digest: str
    #: All that is in it; what other versions share is counted in each.
    size_bytes: int
    #: Seconds since the epoch.
    created_at: float
    why: str


@attrs.frozen(repr=False)
class PruneResults:
    """What goes and what stays, in each backend that was asked.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> for epoch in range(3):
        ...     checkpoint = exp.create_artifact("checkpoint", ArtifactType.CHECKPOINT).add_object({"epoch": epoch}, "state")
        ...     results = exp.log_artifact(checkpoint)
        >>> pruned = exp.prune(keep_last=1, dry_run=True)
        >>> [(one.version, one.size_bytes, one.why) for one in pruned.goes]
        [('v1', 15, 'not the newest'), ('v0', 15, 'not the newest')]
    """

    #: The versions that were deleted, or would be, the newest first.
    goes: tuple[PrunedVersion, ...]
    stays: tuple[PrunedVersion, ...]
    #: The error of each backend that is away or refuses. Prune again to complete it.
    failed: dict[str, TraceletError]
    #: Whether nothing was deleted, for it was only asked what would be.
    dry_run: bool
    #: The bytes that became free, in the backends that know it.
    freed_bytes: int = 0

    def __repr__(self) -> str:
        fate = "would go" if self.dry_run else f"deleted, {size(self.freed_bytes)} free"
        parts = [f"{many(len(self.goes), 'version', 'versions')} ({size(self.size_bytes)}) {fate}"]
        parts += [f"{many(len(self.stays), 'stays', 'stay')}"]
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        return f"<PruneResults {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        """Show in a notebook what goes and what stays, and why."""
        fate = "would go" if self.dry_run else "deleted"
        every = [(fate, one) for one in self.goes] + [("stays", one) for one in self.stays]
        rows: list[tuple[Html | str, ...]] = [
            (
                badge(said, bad=said != "stays"),
                one.name,
                one.version,
                number(size(one.size_bytes)),
                moment(one.created_at),
                one.backend,
                one.why,
                copyable(one.digest, short=True),
            )
            for said, one in every[:_ROWS]
        ]
        notes = [note(f"and {len(every) - _ROWS:,} more")] if len(every) > _ROWS else []
        notes += [note(f"{name}: {error}") for name, error in self.failed.items()]
        header = ("outcome", "name", "version", "size", "logged", "backend", "why", "digest")
        title = f"{many(len(self.goes), 'version', 'versions')} ({size(self.size_bytes)}) {fate}"
        return card("retention", title, table(header, rows), *notes)

    @property
    def size_bytes(self) -> int:
        """The size in bytes of all that goes: what becomes free at most."""
        return sum(one.size_bytes for one in self.goes)

    @property
    def ok(self) -> bool:
        """Whether every backend answered, and deleted what was to go."""
        return not self.failed

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed``, if there is one, with the others in its notes.

        Raises:
            TraceletError: A backend is away or refuses.

        Example:
            >>> pruned.raise_for_errors()
        """
        if self.failed:
            raise first_error(self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain data, without the errors.

        Returns:
            A dict with ``dry_run``, ``freed_bytes``, ``size_bytes``, and the lists ``goes`` and ``stays``.

        Example:
            >>> pruned.to_dict()["size_bytes"]
            30
        """
        return {
            "dry_run": self.dry_run,
            "freed_bytes": self.freed_bytes,
            "size_bytes": self.size_bytes,
            "goes": [attrs.asdict(one) for one in self.goes],
            "stays": [attrs.asdict(one) for one in self.stays],
        }
