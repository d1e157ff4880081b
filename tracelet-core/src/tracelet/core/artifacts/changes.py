"""What became of a change to a stored version: the backends that made it, those that did not, and why."""

from __future__ import annotations

import attrs

from tracelet.core.artifacts.results import first_error, refusal
from tracelet.core.display.cards import badge, card, copyable
from tracelet.core.display.html import Html, table
from tracelet.core.display.words import one_line, size
from tracelet.exceptions import TraceletError

__all__ = ["Change", "ChangeResults"]


@attrs.frozen
class Change:
    """What one backend has made of a version.

    Example:
        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> exp.log_artifact(artifact)
        <LogResults local: v0>
        >>> change = exp.get_artifact("classifier").add_alias("best")["local"]
        >>> change.version, change.aliases
        ('v0', ('best',))
    """

    backend: str
    #: The caller's label, or ``v0``, ``v1``, … as this backend counts.
    version: str
    uri: str
    #: The aliases that the version has now.
    aliases: tuple[str, ...] = ()
    #: Whether the version is gone from this backend.
    deleted: bool = False
    #: The bytes that became free by that; None where the backend does not know.
    freed_bytes: int | None = None

    def __str__(self) -> str:
        if self.deleted:
            return f"{self.version} deleted" + ("" if self.freed_bytes is None else f", {size(self.freed_bytes)} free")
        return f"{self.version} ({', '.join(self.aliases) or 'no alias'})"


class ChangeResults(dict[str, Change]):
    """What became of a change to a version: a dict of the backends that made it, by name.

    Attributes:
        failed: The error of each backend that is away or refuses. Make the same change again to complete it.
        queued: An error for each backend that a delivery of this content still waits for. The delivery knows nothing of
            the change: make the delivery, then the change again.
        absent: The backends that do not hold this content.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> exp.log_artifact(artifact)
        <LogResults local: v0>
        >>> results = exp.get_artifact("classifier").add_alias("best")
        >>> results
        <ChangeResults local: v0 (best)>
        >>> results.ok, list(results), results.failed, results.absent
        (True, ['local'], {}, ())
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, TraceletError] = {}
        self.queued: dict[str, TraceletError] = {}
        self.absent: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{name}: {change}" for name, change in self.items()]
        parts += [f"{name}: queued ({error})" for name, error in self.queued.items()]
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        parts += [f"{name}: not there" for name in self.absent]
        return one_line(f"<ChangeResults {'; '.join(parts) or 'nothing'}>")

    def _repr_html_(self) -> str:
        """Show in a notebook what became of it in each backend."""
        rows: list[tuple[Html | str, ...]] = [
            (name, badge("done"), str(change), copyable(change.uri)) for name, change in self.items()
        ]
        rows += [(name, badge("queued"), "", str(error)) for name, error in self.queued.items()]
        rows += [(name, badge("failed", bad=True), "", str(error)) for name, error in self.failed.items()]
        rows += [(name, badge("not there"), "", "") for name in self.absent]
        return card("what became of it", "Changed", table(("backend", "outcome", "now", "where, or why not"), rows))

    @property
    def ok(self) -> bool:
        """Whether every backend that holds the content made the change, and no delivery of it waits."""
        return not self.failed and not self.queued

    @property
    def freed_bytes(self) -> int:
        """The bytes that became free, in the backends that know it."""
        return sum(change.freed_bytes or 0 for change in self.values())

    @property
    def misuse(self) -> TraceletError | None:
        """The first error if every backend that was asked refuses the change itself; else None. No retry mends it."""
        return None if self or self.queued else refusal(self.failed)

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed`` and ``queued``, if there is one, with the others in its notes.

        Raises:
            TraceletError: A backend has not made the change.

        Example:
            >>> results.raise_for_errors()
        """
        errors = self.failed | self.queued
        if errors:
            raise first_error(errors)
