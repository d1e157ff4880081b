"""The checks of names, paths, texts and numbers in artifacts.

What comes back from a backend is not to be trusted, so the data classes make these checks whenever one is made:
when an artifact is written, and when it is read.
"""

from __future__ import annotations

import functools
import itertools
import operator
import os
import re
import reprlib
from collections.abc import Collection, Iterable
from typing import Any

import attrs

from tracelet.exceptions import ArtifactError, ConfigError, UnsafePath
from tracelet.settings import can_be_path

__all__ = [
    "LARGEST_SIZE",
    "MANIFEST_NAME",
    "MOST_ENTRIES",
    "check_apart",
    "check_count",
    "check_experiment",
    "check_name",
    "check_new_text",
    "check_path",
    "check_paths",
    "check_place",
    "check_text",
    "count_field",
    "digests_field",
    "name_field",
    "optional_name_field",
    "optional_path_field",
    "path_field",
    "sha256_field",
    "size_field",
    "text_field",
    "time_field",
    "whole_number",
]

#: The file that holds the manifest, beside the data, wherever a backend stores files.
MANIFEST_NAME = "tracelet.json"

#: Bytes; the trackers' databases hold numbers in 64 bits.
LARGEST_SIZE = 2**63 - 1
#: Files, objects, models and references of one artifact, all together.
MOST_ENTRIES = 200_000
#: Seconds since the epoch at the end of the year 9999, after which no calendar goes on.
_LAST_MOMENT = 253_402_300_800

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:")
#: A backslash, or a character of Unicode's category Cc.
_UNPORTABLE = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")


def check_name(name: object, what: str = "name") -> str:
    """Return ``name`` if it is one: ``[A-Za-z0-9_.-]``, 1 to 128 characters, not ``.`` or ``..``.

    Raises :class:`UnsafePath` otherwise.
    """
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in {".", ".."}:
        return name
    if isinstance(name, str):
        # The beginning is enough to recognise a long one.
        wrong = f"{what} {name!r}" if len(name) <= 150 else f"{what} {name[:100]!r}…, which has {len(name)} characters"
    elif type(name) in {int, float}:
        wrong = f"{what} {_shown(name)} is a number, and not text: say '{_shown(name)}'"
    else:
        wrong = f"{what} {_shown(name)} is not text"
    raise UnsafePath(f"{wrong}: use 1 to 128 of A-Z a-z 0-9 _ . - there, and more than a dot or two.")


def check_experiment(name: object) -> str:
    """Return the name of an experiment if it is one. Raises :class:`~tracelet.ConfigError` otherwise."""
    if not isinstance(name, str) or not name.strip() or len(name) > 128 or not name.isprintable():
        raise ConfigError(f"an experiment's name is 1 to 128 printable characters; this is {name!r}.")
    return name


def check_place(place: object) -> str:
    """Return a path on this machine as absolute text. Raises :class:`ArtifactError` for what cannot be one."""
    text = os.fspath(place) if isinstance(place, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise ArtifactError(f"{place!r} is no path: give text or a pathlib.Path.")
    if not text:
        raise ArtifactError("'' is no path: give one. If you mean the folder that you are in, say '.'.")
    if not can_be_path(text):
        raise ArtifactError(f"{text!r} cannot be the path of a file: no system takes such characters. Correct it.")
    return os.path.abspath(text)


def check_path(path: object) -> str:
    """Return ``path`` if it is a safe path in an artifact: relative, normalised, portable.

    Raises :class:`UnsafePath` for absolute paths, ``..``, ``.``, empty parts, backslashes, drive
    letters, control characters, text that is not UTF-8, parts over 255 bytes, more than 1024 bytes
    in all, and ``tracelet.json``, which is the manifest's own.
    """
    reason = "it is not text" if not isinstance(path, str) else _path_fault(path)
    if reason:
        raise UnsafePath(f"path {path!r}: {reason}. Give a relative path such as 'model/weights.pt'.")
    assert isinstance(path, str)
    return path


@functools.lru_cache(1 << 14)
def _path_fault(path: str) -> str | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    parts = path.split("/")
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute"
    if _UNPORTABLE.search(path):
        return "it has a backslash or a control character"
    if any(part in {"", ".", ".."} for part in parts):
        return "it is empty or has an empty part, '.' or '..'"
    if any(len(part.encode()) > 255 for part in parts):
        return "a part of it is longer than 255 bytes"
    if len(path.encode()) > 1024:
        return "it is longer than 1024 bytes"
    if parts[0].casefold() == MANIFEST_NAME:
        return f"{MANIFEST_NAME} is the manifest's own name"
    return None


def check_paths(paths: Iterable[str], files: Collection[str] = (), folders: Collection[str] = ()) -> set[str]:
    """Return the folders that paths need and that are not among the ``folders`` of an artifact yet.

    Raises :class:`ArtifactError` where a path is given twice, or is among the artifact's ``files``, or is a file and a
    folder at once.
    """
    new: set[str] = set()
    above: set[str] = set()
    for path in paths:
        if path in new or path in files:
            raise ArtifactError(_twice(path))
        new.add(path)
        folder = path.rpartition("/")[0]
        while folder and folder not in above and folder not in folders:
            above.add(folder)
            folder = folder.rpartition("/")[0]
    clash = sorted(
        {path for path in new if path in above or path in folders} | {path for path in above if path in files}
    )
    if clash:
        raise ArtifactError(_both(clash[0]))
    return above


def check_apart(paths: Iterable[str]) -> None:
    """Check the paths of a whole artifact as :func:`check_paths` does, in less time and memory, however deep they are."""
    # A file in a folder comes right after a file that has the folder's name.
    ordered = sorted(path.replace("/", "\0") for path in paths)
    for before, after in itertools.pairwise(ordered):
        if before == after:
            raise ArtifactError(_twice(before.replace("\0", "/")))
        if after.startswith(f"{before}\0"):
            raise ArtifactError(_both(before.replace("\0", "/")))


def _twice(path: str) -> str:
    return f"{path!r} is in the artifact already: give the second one another path."


def _both(path: str) -> str:
    return f"{path!r} is a file and a folder at once: give one of them another path."


def check_count(count: int) -> None:
    """Raise :class:`ArtifactError` where an artifact would have too many entries."""
    if count > MOST_ENTRIES:
        raise ArtifactError(
            f"an artifact has {MOST_ENTRIES:,} files and other entries at most: put them into an archive, such as a zip "
            "file, or log several artifacts."
        )


def check_text(value: object, what: str) -> str | None:
    """Return ``value`` if it is text or None; raises :class:`ArtifactError` for anything else, or invalid Unicode."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ArtifactError(f"{what}={value!r} is not text: give a str, or leave it out.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArtifactError(f"{what}={value!r} is not valid Unicode: take the lone surrogate out.") from None
    return value


def check_new_text(value: object, what: str) -> str | None:
    """Return ``value``, which is to be stored, as :func:`check_text` does. Raises also for NUL, which databases refuse.

    Text with NUL that was stored once is still read: :func:`check_text` takes it.
    """
    text = check_text(value, what)
    if text is not None and "\0" in text:
        raise ArtifactError(f"{what}={_shown(text)} has a NUL character, which trackers cannot store: take it out.")
    return text


def name_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a name."""
    check_name(value, field.name)


def path_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a path in an artifact."""
    check_path(value)


def optional_path_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a path in an artifact, or None."""
    if value is not None:
        check_path(value)


def whole_number(value: Any) -> Any:
    """Return a whole number of any library, such as NumPy's, as Python's own; any other value as it is."""
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def size_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a number of bytes, or None."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SIZE):
        raise ArtifactError(
            f"{field.name}={_shown(value)} is not a size: give a whole number of bytes below 2**63, or nothing."
        )


def _shown(value: object) -> str:
    """Return a value as text for a message, also a number that Python refuses to write."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write whole numbers of more than some thousand digits
        return "a number of thousands of digits"


def sha256_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a sha256 in hexadecimal, or None."""
    if value is not None and (not isinstance(value, str) or not _SHA256.fullmatch(value)):
        raise ArtifactError(f"{field.name}={value!r} is not a sha256: it has 64 lower-case hexadecimal digits.")


def text_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds text or None."""
    check_text(value, field.name)


def optional_name_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a name, or None."""
    if value is not None:
        check_name(value, field.name)


def time_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds seconds since the epoch."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _LAST_MOMENT:
        raise ArtifactError(
            f"{field.name}={_shown(value)} is not a time: give seconds since the epoch, before the year 10000."
        )


def count_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate a field that holds a whole number of 64 bits, from 0 on."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SIZE:
        raise ArtifactError(f"{field.name}={_shown(value)} is not a count: give a whole number from 0 on.")


def digests_field(instance: object, field: attrs.Attribute[Any], value: Iterable[object]) -> None:
    """Validate a field that holds sha256 digests."""
    for digest in value:
        sha256_field(instance, field, digest)
