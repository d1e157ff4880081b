"""What became of reading stored versions back: what is whole, what is wrong, and what was not read."""

from __future__ import annotations

import attrs

from tracelet.core.artifacts.results import first_error
from tracelet.core.display.cards import card, note
from tracelet.core.display.html import table
from tracelet.core.display.words import size
from tracelet.core.system.messages import many
from tracelet.exceptions import ArtifactNotFound, TraceletError

__all__ = ["Verification", "WrongFile"]

#: How many files a notebook shows.
_ROWS = 100


@attrs.frozen
class WrongFile:
    """A file of a stored version that does not come back as it was logged."""

    name: str
    #: The caller's label, or ``v0``, ``v1``, … as the backend counts.
    version: str
    backend: str
    #: The path in the artifact.
    path: str
    size_bytes: int
    #: What is wrong, where it is, and how to mend it.
    error: TraceletError

    @property
    def is_missing(self) -> bool:
        """Whether its bytes are gone. Otherwise they are damaged, or cannot be read."""
        return isinstance(self.error, ArtifactNotFound)

    def __str__(self) -> str:
        return f"{self.name} {self.version} in {self.backend}: {self.error}"


@attrs.frozen(repr=False)
class Verification:
    """What reading stored versions back has shown. :meth:`LoggedArtifact.verify` returns it.

    Example:
        The examples of the methods continue this one.

        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt")
        >>> exp.log_artifact(artifact)
        <LogResults local: v0>
        >>> verification = exp.get_artifact("classifier").verify()
        >>> verification
        <Verification 1 version, 1 file whole (7 B)>
        >>> verification.ok, verification.wrong
        (True, ())
    """

    #: How many versions were read.
    versions: int
    #: How many of their files are whole.
    files: int
    #: The bytes of these files.
    size_bytes: int
    wrong: tuple[WrongFile, ...] = ()
    #: References to content outside: nobody but its owner keeps that as it was, and it is not read.
    outside: int = 0
    #: The error of each backend, or of the store of large files as ``"store"``, that could not be read, or not all of it.
    failed: dict[str, TraceletError] = attrs.field(factory=dict)
    #: How many versions were not read, or not wholly, because of that.
    unread: int = 0
    #: When the oldest of those was logged, in seconds since the epoch.
    unread_since: float | None = None

    @property
    def ok(self) -> bool:
        """Whether everything was read, and is whole."""
        return not self.wrong and not self.failed

    def __repr__(self) -> str:
        return f"<Verification {self}>"

    def __str__(self) -> str:
        parts = [f"{many(self.versions, 'version', 'versions')}, {many(self.files, 'file', 'files')} whole"]
        parts[0] += f" ({size(self.size_bytes)})"
        if self.wrong:
            parts.append(f"{many(len(self.wrong), 'file', 'files')} WRONG")
        if self.unread:
            parts.append(f"{many(self.unread, 'version', 'versions')} not read")
        parts += [f"{name}: FAILED ({error})" for name, error in self.failed.items()]
        if self.outside:
            parts.append(f"{many(self.outside, 'reference', 'references')} to content outside not verified")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        """Show in a notebook what is wrong."""
        rows = ((one.name, one.version, one.backend, one.path, str(one.error)) for one in self.wrong[:_ROWS])
        wrong = [table(("name", "version", "backend", "file", "what is wrong"), rows)] if self.wrong else []
        more = [note(f"and {len(self.wrong) - _ROWS:,} more")] if len(self.wrong) > _ROWS else []
        return card("verification", "All is whole" if self.ok else "Not all is whole", note(str(self)), *wrong, *more)

    def raise_for_errors(self) -> None:
        """Raise the first error, if there is one, with the others in its notes.

        Raises:
            TraceletError: A file is wrong, or a backend could not be read.

        Example:
            >>> verification.raise_for_errors()
        """
        wrong = {f"{one.name} {one.version} in {one.backend}, {one.path!r}": one.error for one in self.wrong}
        if not self.ok:
            raise first_error(wrong | self.failed)
