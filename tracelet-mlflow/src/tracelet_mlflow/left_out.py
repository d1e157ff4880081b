"""What cannot be read in MLflow is named, and the rest is found all the same.

What was found and cannot be read is listed, too, and its fetch says why: a listing without it would look as if it were not
there, and an import of the rest as if it were whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import requests

from tracelet.exceptions import ArtifactNotFound, BackendUnavailable, TraceletError
from tracelet.plugin import ForeignArtifact, ForeignFile
from tracelet_mlflow.errors import translated

__all__ = ["LeftOut", "check_read"]

_LOG = logging.getLogger("tracelet.import")
#: The key of a locator of what cannot be read.
_REASON = "reason"


class LeftOut:
    """What one look at MLflow cannot read, or leaves out."""

    def __init__(self, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._place = place
        self._failures: list[TraceletError] = []
        self._read = 0

    def note(self, what: str, why: object) -> None:
        """Tell at once that something is left out."""
        _LOG.warning("%s is left out: %s", what, why)

    def attempt(
        self, what: str, read: Callable[[], list[ForeignArtifact]], instead: Callable[[], ForeignArtifact]
    ) -> list[ForeignArtifact]:
        """Read something. Where it cannot be read, it is what ``instead`` gives; a server that is away is an error."""
        try:
            with translated(self._place):
                found = read()
        except TraceletError as error:
            if isinstance(error, BackendUnavailable) and not _is_of_a_disk(error.__cause__):
                raise
            self._failures.append(error)
            _LOG.warning("%s cannot be read: %s", what, error)
            made = instead()
            kind = f"{made.kind} that cannot be read"
            reason = f"{what} could not be read when it was looked for: {error} Look for it again."
            files = (ForeignFile("unknown"),)
            return [attrs.evolve(made, kind=kind, files=files, files_known=False, locator={_REASON: reason})]
        self._read += len(found)
        return found

    def raise_first(self) -> None:
        """Raise the first error, if there was one and nothing could be read: then the place itself cannot be read."""
        if self._failures and not self._read:
            raise self._failures[0]


def check_read(found: ForeignArtifact) -> None:
    """Raise :class:`~tracelet.ArtifactNotFound` for what could not be read when it was found."""
    if _REASON in found.locator:
        raise ArtifactNotFound(found.locator[_REASON])


def _is_of_a_disk(error: BaseException | None) -> bool:
    """Whether a folder of this machine cannot be read: an error of the system, and none of the network."""
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)
