"""What was captured, and so whether something is news: by path and content, whoever saw it, and wherever it went since."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from tracelet.core.capture.journal import Captured
from tracelet.core.capture.snapshots import Look, artifact_name
from tracelet.core.plugins.detector import Detection

__all__ = ["CaptureDedup"]

Content = tuple[tuple[str, str], ...]
#: Whether it is something new, or a version that was captured under one alias more, or nothing new.
News = Literal["new", "alias", "none"]


class CaptureDedup:
    """What was captured last of each thing."""

    def __init__(self, last: Mapping[str, Captured]) -> None:
        self._last = dict(last)
        #: The key of what was captured last of a file, by how that looked: it may have another path by now.
        self._looks: dict[Look, str] = {}

    def news(
        self, key: str, look: Look | None, said: Detection, inside: str, content: Content
    ) -> tuple[Captured, News]:
        """Return what to say of something, and whether it is to be captured with that.

        ``said`` is the detection, with its type; ``inside`` is the path in its artifact.
        """
        place = _real(key)
        kind = said.type
        assert kind is not None
        found = Captured(
            content, attrs.evolve(said, name=said.name or artifact_name(inside, kind)), inside, frozenset(said.aliases)
        )
        before = self._last.get(place)
        if before is not None and before.content == content:
            return self._again(before, found)
        if self._in_folder(place, content):
            return found, "none"
        before = self._last.get(self._looks.get(look, "")) if look is not None else None
        if before is None or before.content != content:
            return found, "new"
        return self._moved(before, found, named=said.name is not None)

    def suspects(self, key: str, look: Look | None) -> bool:
        """Tell, without its content, whether something may be no news."""
        if look is None:
            return False
        return look in self._looks or any(str(folder) in self._last for folder in Path(_real(key)).parents)

    def _again(self, before: Captured, found: Captured) -> tuple[Captured, News]:
        """The same thing once more; under one more alias, said in the same words, it is the same version."""
        if found.aliases <= before.aliases:
            return before, "none"
        said = attrs.evolve(before.detection, aliases=found.detection.aliases)
        return attrs.evolve(before, detection=said, aliases=before.aliases | found.aliases), "alias"

    def _moved(self, before: Captured, found: Captured, *, named: bool) -> tuple[Captured, News]:
        """The same thing at another path: what was known of it is known, and it is news if its name is made of the path."""
        old, new = before.detection, found.detection
        assert old.type is not None
        if not named:
            of_its_path = artifact_name(before.inside, old.type) == old.name
            new = attrs.evolve(new, name=artifact_name(found.inside, old.type) if of_its_path else old.name)
        if new.name == old.name:
            return self._again(before, found)
        told = attrs.evolve(new, type=old.type, description=old.description, metadata={**new.metadata, **old.metadata})
        return attrs.evolve(found, detection=told), "new"

    def _in_folder(self, place: str, content: Content) -> bool:
        """Whether it is a file of a folder that was captured as one thing."""
        (inside, sha256), *others = content or (("", ""),)
        if inside != "." or others:
            return False
        for folder in Path(place).parents:
            whole = self._last.get(str(folder))
            if whole is not None and (str(Path(place).relative_to(folder)), sha256) in whole.content:
                return True
        return False

    def note(self, key: str, look: Look | None, captured: Captured) -> str:
        """Remember what was captured; return what it is known by."""
        place = _real(key)
        self._last[place] = captured
        if look is not None:
            self._looks[look] = place
        return place


def _real(key: str) -> str:
    """A file is known by its real path."""
    return os.path.realpath(key) if Path(key).is_absolute() else key


def covers(places: Iterable[str], key: str) -> bool:
    """Tell whether a key is one of these places, or that of a file in one of these folders."""
    own = Path(_real(key))
    return not {str(own), *map(str, own.parents)}.isdisjoint(map(_real, places))
