"""Whether a snapshot is news: its path and content are compared with what was captured, also after the file moved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs

from tracelet.core.capture.journal import Captured
from tracelet.core.capture.moves import CapturedFiles
from tracelet.core.capture.snapshots import Look, artifact_name
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import Stamp

__all__ = ["CaptureDedup", "places_of"]

Content = tuple[tuple[str, str], ...]
#: Whether it is something new, or a version that was captured under one alias more, or nothing new.
News = Literal["new", "alias", "none"]


class CaptureDedup:
    """The last capture of each thing."""

    def __init__(self, last: Mapping[str, Captured]) -> None:
        self._last = dict(last)
        #: The key of what was captured last of a file, by how that looked: it may have another path by now.
        self._looks: dict[Look, str] = {}
        self._files = CapturedFiles()
        #: Paths and digests of the files of folders that were captured in parts, one after the other.
        self._parts: set[tuple[str, str]] = set()
        #: By the name of an artifact and an alias: the key of what got that alias last.
        self._aliases: dict[tuple[str | None, str], str] = {}
        for place, captured in self._last.items():
            self._note_aliases(place, captured)

    def news(
        self,
        key: str,
        look: Look | None,
        said: Detection,
        inside: str,
        content: Content,
        stamps: Mapping[str, Stamp],
    ) -> tuple[Captured, News]:
        """Return how to describe something, and whether it is news.

        ``said`` is the detection, with its type; ``inside`` is the path in its artifact, and ``stamps`` tells how its files looked.
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
        if self._in_folder(place, content) or self._in_parts(place, before, found):
            return found, "none"
        left = self._files.moved(place, found, stamps)
        if left is not None:
            return self._again(left, found)
        moved = self._last.get(self._looks.get(look, "")) if look is not None else None
        if moved is not None and moved.content == content:
            return self._moved(moved, found, named=said.name is not None)
        if before is not None and (said.stamp is not None or said.stamps):
            found = self._later(place, before, found)
        return found, "new"

    def knows(self, content: Content) -> bool:
        """Tell whether this content was captured, under whichever name."""
        return any(one.content == content for one in self._last.values())

    def suspects(self, key: str, look: Look | None) -> bool:
        """Tell whether something may be known already. Its content is not read."""
        if look is None:
            return False
        return look in self._looks or any(str(folder) in self._last for folder in Path(_real(key)).parents)

    def _again(self, before: Captured, found: Captured) -> tuple[Captured, News]:
        """Compare a thing with its own last capture. One more alias makes no new version."""
        if found.aliases <= before.aliases:
            return before, "none"
        said = attrs.evolve(before.detection, aliases=found.detection.aliases)
        return attrs.evolve(before, detection=said, aliases=before.aliases | found.aliases), "alias"

    def _moved(self, before: Captured, found: Captured, *, named: bool) -> tuple[Captured, News]:
        """Compare a file with its capture at another path. It is news only if its name comes from the path."""
        old, new = before.detection, found.detection
        assert old.type is not None
        if not named:
            of_its_path = artifact_name(before.inside, old.type) == old.name
            new = attrs.evolve(new, name=artifact_name(found.inside, old.type) if of_its_path else old.name)
        if new.name == old.name:
            return self._again(before, found)
        told = attrs.evolve(new, type=old.type, description=old.description, metadata={**new.metadata, **old.metadata})
        return attrs.evolve(found, detection=told), "new"

    def _later(self, place: str, before: Captured, found: Captured) -> Captured:
        """Call what a watcher sees as its saver called it. A folder that only got more files is as it was described, too."""
        old, new = before.detection, found.detection
        files = [_is_file(before.content), _is_file(found.content)]
        if (all(files) and old.type is not new.type) or any(files) != all(files):
            return found
        told = attrs.evolve(new, name=old.name, type=old.type)
        if not any(files) and set(before.content) <= set(found.content):
            # Another checkpoint may be the last one by now.
            left = [alias for alias in sorted(before.aliases) if self._aliases.get((old.name, alias)) == place]
            told = attrs.evolve(
                told,
                description=old.description,
                metadata={**new.metadata, **old.metadata},
                aliases=tuple(dict.fromkeys((*left, *new.aliases))),
            )
        inside = before.inside if all(files) or new.beside else found.inside
        return attrs.evolve(found, detection=told, inside=inside, aliases=frozenset(told.aliases))

    def _in_folder(self, place: str, content: Content) -> bool:
        """Tell whether a file is part of a folder that was captured as one thing."""
        if not _is_file(content):
            return False
        ((_, sha256),) = content
        if (place, sha256) in self._parts:
            return True
        for folder in Path(place).parents:
            whole = self._last.get(str(folder))
            if whole is not None and (str(Path(place).relative_to(folder)), sha256) in whole.content:
                return True
        return False

    def _in_parts(self, place: str, before: Captured | None, found: Captured) -> bool:
        """Tell whether every file of a folder or group was captured as it is: by itself, or in a folder, such as a checkpoint in it.

        One that has lost a file of its own capture ``before`` is another one.
        """
        content = found.content
        if before is not None and not _is_file(before.content) and not set(before.content) <= set(content):
            return False
        folder = Path(place).parent if found.detection.beside else place
        parts = [(f"{folder}{os.sep}{inside}", sha256) for inside, sha256 in content if inside != "."]
        return bool(parts) and all(self._has(path, ((".", sha256),)) for path, sha256 in parts)

    def _has(self, place: str, content: Content) -> bool:
        own = self._last.get(place)
        return (own is not None and own.content == content) or self._in_folder(place, content)

    def note(self, key: str, look: Look | None, captured: Captured, stamps: Mapping[str, Stamp]) -> str:
        """Remember a capture; return the key under which it is known."""
        place = _real(key)
        self._last[place] = captured
        self._files.note(place, captured, stamps)
        if captured.detection.snapshot == "take" and captured.detection.place is not None:
            self._parts.update((f"{place}{os.sep}{inside}", sha256) for inside, sha256 in captured.content)
        self._note_aliases(place, captured)
        if look is not None:
            self._looks[look] = place
        return place

    def _note_aliases(self, place: str, captured: Captured) -> None:
        self._aliases.update(((captured.detection.name, alias), place) for alias in captured.detection.aliases)


def _is_file(content: Content) -> bool:
    return [inside for inside, _ in content] == ["."]


def _real(key: str) -> str:
    """Return the real path of a file; other keys stay as they are."""
    return os.path.realpath(key) if Path(key).is_absolute() else key


def places_of(key: str) -> list[str]:
    """Return the real path that a key is, and those of the folders around it."""
    own = Path(_real(key))
    return [str(own), *map(str, own.parents)]
