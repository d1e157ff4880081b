"""What became of the versions that were to be copied to another backend, or imported into one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from tracelet.core.artifacts.results import first_error
from tracelet.core.display.cards import badge, card, copyable, note, number
from tracelet.core.display.html import Html, table
from tracelet.core.display.words import size
from tracelet.core.system.messages import many
from tracelet.exceptions import TraceletError

__all__ = ["CopiedVersion", "CopyResults"]

#: How many versions are shown as rows in a notebook.
_ROWS = 100


@attrs.frozen
class CopiedVersion:
    """A version of the source, and what became of it."""

    name: str
    #: What the source calls the version.
    version: str
    #: ``"copied"``, ``"skipped"`` (it is there already), or ``"failed"``. Of a dry run, what would be.
    outcome: str
    #: What the target calls the version; None where it has none.
    target: str | None = None
    #: Its digest; None where the source could not say it, or nothing was fetched yet.
    digest: str | None = None
    #: All that is in it.
    size_bytes: int = 0
    #: The bytes that were brought to the target, or would be.
    moved_bytes: int = 0
    #: What there is to say of it.
    why: str = ""
    error: TraceletError | None = None


@attrs.frozen(repr=False)
class CopyResults:
    """What became of each version, in the order in which they were copied: the oldest first.

    Example:
        The examples of the methods continue this one.

        >>> import tracelet
        >>> with tracelet.Experiment("digits", artifacts=True) as exp:
        ...     exp.log_artifact(exp.create_artifact("settings", "config").add_object({"layers": 2}, "settings"))
        <LogResults local: v0>
        >>> results = tracelet.copy("digits", from_backend="local", to_backend="local", to_dir="elsewhere")
        >>> results
        <CopyResults 1 version copied (16 B)>
        >>> [(one.name, one.version, one.outcome, one.target) for one in results.versions]
        [('settings', 'v0', 'copied', 'v0')]
    """

    versions: tuple[CopiedVersion, ...]
    #: Why not everything of the source could be looked at, by backend.
    failed: dict[str, TraceletError] = attrs.field(factory=dict)
    #: Whether nothing was copied, for it was only asked what would be.
    dry_run: bool = False

    def __repr__(self) -> str:
        return f"<CopyResults {self}>"

    def __str__(self) -> str:
        counts = Counter(one.outcome for one in self.versions)
        done = "to copy" if self.dry_run else "copied"
        parts = [f"{many(counts['copied'], 'version', 'versions')} {done} ({size(self.moved_bytes)})"]
        parts += [f"{counts[outcome]:,} {outcome}" for outcome in ("skipped", "failed") if counts[outcome]]
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        """Show in a notebook what became of each version."""
        rows: list[tuple[Html | str, ...]] = [
            (
                badge(one.outcome, bad=one.outcome == "failed"),
                one.name,
                one.version,
                one.target or "",
                number(size(one.size_bytes)),
                copyable(one.digest or "", short=True),
                one.why,
            )
            for one in self.versions[:_ROWS]
        ]
        more = [note(f"and {len(self.versions) - _ROWS:,} more")] if len(self.versions) > _ROWS else []
        more += [note(f"{name}: {error}") for name, error in self.failed.items()]
        header = ("outcome", "name", "version", "there", "size", "digest", "")
        return card("copy", str(self), table(header, rows), *more)

    @property
    def moved_bytes(self) -> int:
        """The bytes that were brought to the target, or would be."""
        return sum(one.moved_bytes for one in self.versions)

    @property
    def ok(self) -> bool:
        """Whether the target has every version that was asked for."""
        return not self.failed and all(one.outcome != "failed" for one in self.versions)

    def raise_for_errors(self) -> None:
        """Raise the first error, if there is one, with the others in its notes.

        Raises:
            TraceletError: A version is missing in the target.

        Example:
            >>> results.raise_for_errors()
        """
        errors = {f"{one.name} {one.version}".rstrip(): one.error for one in self.versions if one.error is not None}
        if not self.ok:
            raise first_error(errors | self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain data, without the errors.

        Returns:
            A dict with ``dry_run``, ``moved_bytes``, and the list ``versions``.

        Example:
            >>> results.to_dict()["versions"][0]["outcome"]
            'copied'
        """
        leave_out = attrs.filters.exclude(attrs.fields(CopiedVersion).error)
        return {
            "dry_run": self.dry_run,
            "moved_bytes": self.moved_bytes,
            "versions": [attrs.asdict(one, filter=leave_out) for one in self.versions],
        }
