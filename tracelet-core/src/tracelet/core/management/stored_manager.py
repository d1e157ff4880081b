"""What a stored version can be asked to do, besides giving its content."""

from __future__ import annotations

from tracelet.core.artifacts.changes import ChangeResults
from tracelet.core.artifacts.lineage import Lineage
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.verified import Verification
from tracelet.core.management import changes, lineage
from tracelet.core.management.verification import verify_one
from tracelet.core.reading.finder import Finder

__all__ = ["StoredManager"]


class StoredManager:
    """Hands each call of a :class:`~tracelet.LoggedArtifact` to the module that does it, for all backends of a finder."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    def add_aliases(self, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return changes.add_aliases(self._finder, artifact, aliases)

    def remove_aliases(self, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return changes.remove_aliases(self._finder, artifact, aliases)

    def verify(self, artifact: LoggedArtifact) -> Verification:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return verify_one(self._finder, artifact)

    def delete(self, artifact: LoggedArtifact, force: bool) -> ChangeResults:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return changes.delete(self._finder, artifact, force)

    def used_by(self, artifact: LoggedArtifact) -> list[LoggedArtifact]:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return lineage.used_by(self._finder, artifact)

    def lineage(self, artifact: LoggedArtifact, depth: int) -> Lineage:
        """See :class:`~tracelet.core.artifacts.logged.Manager`."""
        return lineage.lineage(self._finder, artifact, depth)
