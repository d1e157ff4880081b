"""The directories to watch: what was configured, checked, and which files in them are looked at."""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Iterable
from pathlib import Path

import attrs

from tracelet.exceptions import ConfigError, UnsafePath
from tracelet.plugin import (
    TEMPORARY,
    ArtifactType,
    DetectorContext,
    WatchedDirectory,
    check_path,
    readable_name,
    stem_of,
    tell_type,
)

__all__ = ["IGNORED", "Place", "ignored", "places"]

#: Names of files and folders that are passed over, as patterns of regular expressions, and why.
IGNORED: tuple[tuple[str, str], ...] = (
    *TEMPORARY,
    (r"(?:models|datasets|spaces)--[^-].*--.+", "it was downloaded by huggingface_hub"),
    (r"__pycache__|.*\.pyc", "it is compiled by Python"),
)
# A group for each pattern: its number tells why.
_IGNORED = re.compile("|".join(f"({pattern})" for pattern, _ in IGNORED), re.IGNORECASE)
_FIELDS = frozenset({"stem", "parent", "type"})
_NO_PATH = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 128


def ignored(name: str) -> str | None:
    """Say why a file or folder of this name is passed over: it is temporary, hidden or partial; None where it is not."""
    found = _IGNORED.fullmatch(name)
    return None if found is None else IGNORED[(found.lastindex or 1) - 1][1]


@attrs.frozen
class Place:
    """A directory to watch."""

    #: As it was configured.
    given: str
    #: Absolute; it may lead through links.
    path: str
    type: ArtifactType | None
    #: The pattern of the artifacts' names.
    pattern: str | None
    #: What in it is not its own, as absolute paths: the tracelet directory, and other watched directories.
    others: tuple[str, ...] = ()

    # The paths are text in what follows: a Path of each would cost more than all the rest.

    @property
    def prefix(self) -> str:
        """What the absolute path of everything in it begins with."""
        return self.path.rstrip(os.sep) + os.sep

    def passes_over(self, path: str) -> tuple[str, str] | None:
        """Tell what is not to be looked at, and why: a file or folder in it, or the folder that it is in.

        Paths are absolute; None is for what is to be looked at.
        """
        for other in self.others:
            if path == other or path.startswith(other + os.sep):
                return other, "it is Tracelet's own, or watched by a rule of its own"
        at = len(self.prefix) - 1
        for name in self._relative(path).split("/"):
            at += 1 + len(name)
            if (why := ignored(name)) is not None:
                return path[:at], why
        return None

    def leads_out(self, path: str) -> bool:
        """Tell whether a link in it is to something outside of it."""
        return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.path))

    def artifact_path(self, path: str) -> str:
        """Return a file's path in its artifact: relative to the directory, and with nothing that no artifact can hold."""
        relative = self._relative(path)
        try:
            return check_path(relative)
        except UnsafePath:
            # Other files may look the same without what was taken out.
            mark = hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
            folder, _, name = _NO_PATH.sub("_", relative).rpartition("/")
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem}-{mark}.{suffix}" if dot else f"{name}-{mark}"
            return f"{folder}/{name}" if folder and len(os.fsencode(relative)) < 900 else name

    def name(self, path: str, kind: ArtifactType | None) -> str | None:
        """Return the artifact's name by the pattern; None where there is no pattern, or nothing is left of it."""
        if self.pattern is None:
            return None
        folder, _, name = self._relative(path).rpartition("/")
        words = {"stem": stem_of(name), "parent": folder.replace("/", "."), "type": kind.value if kind else ""}
        return readable_name(self.pattern.format(**words), _LONGEST_NAME, strip=".-") or None

    def _relative(self, path: str) -> str:
        return path[len(self.prefix) :].replace(os.sep, "/")

    def told(self, path: str) -> ArtifactType | None:
        """Return the type, where the configuration gives it or the name needs it."""
        if self.type is None and self.pattern is not None and "{type}" in self.pattern:
            return tell_type(Path(path))
        return self.type


def places(watched: Iterable[WatchedDirectory], context: DetectorContext, cwd: Path) -> tuple[Place, ...]:
    """Check what is configured; paths are relative to ``cwd``.

    Raises :class:`~tracelet.ConfigError` for a file, a URL, an unknown type, a pattern that makes no name, or one for
    files of two types, two rules for one directory, and a directory in the tracelet directory. One that is missing may
    appear later.
    """
    own = {str(context.directory), os.path.realpath(context.directory)}
    found: dict[str, Place] = {}
    for one in watched:
        place = Place(one.path, os.path.normpath(cwd / one.path), _type(one), _pattern(one))
        _check(place, own)
        same = found.setdefault(place.path, place)
        if (same.type, same.pattern) != (place.type, place.pattern):
            raise ConfigError(f"artifact_watch_dirs has two rules for {one.path!r}: leave one of them out.")
    return tuple(attrs.evolve(place, others=_others(place, found, own)) for place in found.values())


def _check(place: Place, own: set[str]) -> None:
    if not place.given or "://" in place.given:
        raise ConfigError(f"artifact_watch_dirs: {place.given!r} is no directory of this machine: give a path.")
    if Path(place.path).exists() and not Path(place.path).is_dir():
        raise ConfigError(f"artifact_watch_dirs: {place.given!r} is a file: give the directory that it is in.")
    if any(Path(path).is_relative_to(one) for path in (place.path, os.path.realpath(place.path)) for one in own):
        raise ConfigError(f"artifact_watch_dirs: {place.given!r} is Tracelet's own: watch another directory.")


def _others(place: Place, found: Iterable[str], own: set[str]) -> tuple[str, ...]:
    """What lies in a place and is not its own, by the paths that its files have in it."""
    real = os.path.realpath(place.path)
    inside = {one for one in {*found, *own} if one != place.path and Path(one).is_relative_to(place.path)}
    behind = {str(Path(place.path) / Path(one).relative_to(real)) for one in own if Path(one).is_relative_to(real)}
    return tuple(sorted(inside | behind))


def _type(one: WatchedDirectory) -> ArtifactType | None:
    try:
        return None if one.type is None else ArtifactType(one.type)
    except ValueError:
        choices = ", ".join(kind.value for kind in ArtifactType)
        raise ConfigError(f"artifact_watch_dirs: {one.path!r} has type={one.type!r}: say one of {choices}.") from None


def _pattern(one: WatchedDirectory) -> str | None:
    if one.name is None:
        return None
    try:
        parts = list(string.Formatter().parse(one.name))
    except (ValueError, TypeError, AttributeError):
        parts = [("", None, None, None)]
    fields = {field for _, field, _, _ in parts if field is not None}
    plain = not any(spec or conversion for _, _, spec, conversion in parts)
    if not fields or not fields <= _FIELDS or not plain:
        raise ConfigError(
            f"artifact_watch_dirs: {one.path!r} has name={one.name!r}: make it of text with {{stem}}, {{parent}} or "
            "{type} in it, such as 'run1-{stem}-{type}'."
        )
    if one.type is None and "type" not in fields:
        raise ConfigError(
            f"artifact_watch_dirs: {one.path!r} has name={one.name!r}, by which files of two types could have one name, "
            f"and a name has one type: put {{type}} in it, such as {one.name + '-{type}'!r}, or give the directory a type=."
        )
    return one.name
