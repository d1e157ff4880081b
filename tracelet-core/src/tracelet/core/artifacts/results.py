"""What became of an artifact that was logged: who has it, who does not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from tracelet.core.display.words import size
from tracelet.exceptions import ArtifactError, TraceletError

if TYPE_CHECKING:
    from tracelet.core.display.html import Html

__all__ = ["LogResult", "LogResults", "first_error", "refusal"]


@attrs.frozen
class LogResult:
    """What one backend has: all bytes of the artifact, and its manifest.

    Example:
        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> result = exp.log_artifact(artifact)["local"]
        >>> result.version, result.created, result.portable
        ('v0', True, True)
    """

    backend: str
    #: The caller's label, or ``v0``, ``v1``, … as the backend counts.
    version: str
    uri: str
    size_bytes: int
    digest: str
    #: False where large files' bytes stay in a store that only this machine reads.
    portable: bool
    #: False where the newest version had the same content, and nothing was sent.
    created: bool
    #: True where it is kept on this machine until the tracker can be reached: the version is not yet the tracker's.
    pending: bool = False


class LogResults(dict[str, LogResult]):
    """What became of an artifact that was logged: a dict of the backends that have it, by name.

    Attributes:
        failed: The error of each backend that does not have it; these deliveries are not tried again.
        queued: The error of each delivery that waits in the outbox and is tried again.
        skipped: Why a backend was not asked, such as in a process that is not rank 0.
        warnings: What is stored in another way than it was given, such as a reference without its password.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> results = exp.log_artifact(artifact)
        >>> results.ok, list(results), results.failed
        (True, ['local'], {})
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, TraceletError] = {}
        self.queued: dict[str, TraceletError] = {}
        self.skipped: dict[str, str] = {}
        self.warnings: list[str] = []

    def __repr__(self) -> str:
        parts = [f"{name}: {result.version}" for name, result in self.items()]
        parts += [f"{name}: queued ({error})" for name, error in self.queued.items()]
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        parts += [f"{name}: skipped ({reason})" for name, reason in self.skipped.items()]
        return f"<LogResults {'; '.join(parts) or 'nothing'}>"

    def _repr_html_(self) -> str:
        """Show in a notebook what became of it in each backend."""
        from tracelet.core.display.cards import badge, card, copyable, note, number
        from tracelet.core.display.html import table

        rows: list[tuple[Html | str, ...]] = [
            (
                name,
                badge("pending" if result.pending else "stored" if result.created else "already there"),
                result.version,
                number(size(result.size_bytes)),
                copyable(result.digest, short=True),
                copyable(result.uri),
            )
            for name, result in self.items()
        ]
        rows += [(name, badge("queued"), "", "", "", str(error)) for name, error in self.queued.items()]
        rows += [(name, badge("failed", bad=True), "", "", "", str(error)) for name, error in self.failed.items()]
        rows += [(name, badge("skipped"), "", "", "", reason) for name, reason in self.skipped.items()]
        header = ("backend", "outcome", "version", "size", "digest", "where, or why not")
        return card("what became of it", "Logged", table(header, rows), *map(note, self.warnings))

    @property
    def ok(self) -> bool:
        """Whether every backend that was asked to store the artifact has it."""
        return not self.failed and not self.queued

    @property
    def misuse(self) -> TraceletError | None:
        """The first error if every backend refuses the artifact itself, its labels or its type; else None.

        No retry mends such an error.
        """
        return None if self or self.queued else refusal(self.failed)

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed`` and ``queued``, if there is one, with the others in its notes.

        Raises:
            TraceletError: A backend does not have the artifact.

        Example:
            >>> results.raise_for_errors()
        """
        errors = self.failed | self.queued
        if errors:
            raise first_error(errors)


def refusal(errors: Mapping[str, TraceletError]) -> TraceletError | None:
    """Return the first error if each of them refuses what was asked for good; else, or where there is none, None."""
    if not errors or not all(isinstance(error, ArtifactError) for error in errors.values()):
        return None
    return first_error(errors)


def first_error(errors: Mapping[str, TraceletError]) -> TraceletError:
    """Return the first error, with the others in its notes."""
    (_, first), *others = errors.items()
    for other in (f"{name}: {error}" for name, error in others):
        if other not in getattr(first, "__notes__", ()):
            first.add_note(other)
    return first
