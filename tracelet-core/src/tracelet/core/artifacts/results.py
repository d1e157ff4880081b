"""What became of an artifact that was logged: who has it, who does not, and why."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tracelet.exceptions import ArtifactError, TraceletError

__all__ = ["LogResult", "LogResults"]


@attrs.frozen
class LogResult:
    """A backend has the artifact: its bytes, and its manifest after them."""

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
    """The backends that have the artifact, by name; the others are in the attributes.

    ``failed`` maps backends to the error of what will not be tried again, ``queued`` to why a delivery
    waits in the outbox, and ``skipped`` to why there was nothing to do (this process writes nothing).
    ``warnings`` has what is stored otherwise than it was given, such as a reference without its password.
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

    @property
    def ok(self) -> bool:
        """Whether every backend that was to get it has it."""
        return not self.failed and not self.queued

    @property
    def misuse(self) -> TraceletError | None:
        """The first error where every backend refused what no retry mends: the artifact, its labels or its type are at fault."""
        if self or self.queued or not all(isinstance(error, ArtifactError) for error in self.failed.values()):
            return None
        return _first(self.failed) if self.failed else None

    def raise_for_errors(self) -> None:
        """Raise the first error of ``failed`` and ``queued``, with the others in its notes."""
        errors = self.failed | self.queued
        if errors:
            raise _first(errors)


def _first(errors: Mapping[str, TraceletError]) -> TraceletError:
    """The first error, with the others in its notes."""
    (_, first), *others = errors.items()
    for note in (f"{name}: {error}" for name, error in others):
        if note not in getattr(first, "__notes__", ()):
            first.add_note(note)
    return first
