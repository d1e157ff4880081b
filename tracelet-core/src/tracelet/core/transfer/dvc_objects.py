"""Where DVC keeps bytes on this machine: its cache, remotes that are folders, and the working copy. All are compared by md5."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from tracelet.core.artifacts.checks import check_apart, check_count, check_path
from tracelet.core.artifacts.local_files import files_under
from tracelet.core.transfer.copied_file import copied_here
from tracelet.core.transfer.dvc_files import Config, is_within, read_small
from tracelet.exceptions import ArtifactError, ArtifactNotFound, IntegrityError

__all__ = ["Listing", "Objects", "digest_of", "is_md5", "listing_from", "md5_is"]

#: The paths in a directory that DVC tracks, and the md5 of each one's bytes.
Listing = dict[str, str]

_MD5 = re.compile(r"[0-9a-f]{32}")
#: Where a cache of DVC 3 has its objects; before that they were at its top.
_LAYOUTS = ("files/md5", ".")
#: Bytes of a listing: 200,000 files of long names have fewer.
_MOST_LISTED = 256 * 1024 * 1024
#: DVC 2 reads files in pieces of so many bytes, and looks at so many to tell whether it is text.
_PIECE, _LOOK = 1 << 20, 512
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"


def is_md5(value: object) -> bool:
    """Tell whether a value is an md5 in hexadecimal, and nothing that leads elsewhere as a path."""
    return isinstance(value, str) and _MD5.fullmatch(value) is not None


def listing_from(entries: Any) -> Listing:
    """Return the listing that a file of DVC holds. Raises ``ValueError`` where it is none, or names unsafe paths."""
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and is_md5(entry.get("md5")) for entry in entries
    ):
        raise ValueError("it lists files without their md5")
    check_count(len(entries))
    paths = [check_path(entry.get("relpath")) for entry in entries]
    check_apart(paths)
    return {path: entry["md5"] for path, entry in zip(paths, entries, strict=True)}


def md5_is(data: bytes, md5: str, *, old: bool) -> bool:
    """Tell whether bytes are those of an md5; with ``old``, of one that DVC 2 made."""
    return md5 in _md5s_of(io.BytesIO(data), old=old)


def digest_of(listing: Listing) -> str:
    """Return the md5 that DVC gives a directory of these files."""
    entries = [{"md5": listing[path], "relpath": path} for path in sorted(listing)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest()


@attrs.frozen
class Objects:
    """The bytes that a repository can give without its remotes elsewhere."""

    root: Path
    config: Config

    def stored(self, md5: str, suffix: str = "") -> Iterator[Path]:
        """Yield where the bytes of an md5 are, in the cache first. A link out of a cache is not followed."""
        for folder in self.config.folders:
            for layout in _LAYOUTS:
                place = folder / layout / md5[:2] / f"{md5[2:]}{suffix}"
                # It answers for paths that cannot be reached, too.
                if os.path.isfile(place) and is_within(place, folder):  # noqa: PTH113
                    yield place

    def working(self, path: str) -> Path | None:
        """Return the file or folder of a path in the working copy; None where it is not there, or leads out of it."""
        place = self.root / path
        there = os.path.exists(place)  # noqa: PTH110 - it answers for paths that cannot be reached, too
        return place if there and is_within(place, self.root) else None

    def listing(self, md5: str) -> Listing | None:
        """Return the listing of a directory; None where no object has it.

        Raises :class:`~tracelet.IntegrityError` where it is there and damaged.
        """
        damaged = None
        for place in self.stored(md5, ".dir"):
            try:
                data = read_small(place, _MOST_LISTED)
                if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
                    raise ValueError("it does not have the bytes of its md5")
                return listing_from(json.loads(data))
            except (OSError, RecursionError, ValueError) as error:
                damaged = f"{str(place)!r} is no listing of a directory ({error}): delete it, then {self.advice}."
        if damaged:
            raise IntegrityError(damaged)
        return None

    def listing_of_working(self, path: str, md5: str, *, old: bool) -> Listing | None:
        """Return the listing of a directory by its files in the working copy; None where they are not those of the md5."""
        folder = self.working(path)
        if folder is None or not folder.is_dir():
            return None
        with contextlib.suppress(ArtifactError, OSError):
            files = {file.relative_to(folder).as_posix(): file for file in map(Path, files_under(folder, [], []))}
            listing = {name: _md5s(file, old=old)[0] for name, file in files.items()}
            if digest_of(listing) == md5:
                return listing
        return None

    def bring(self, md5: str, path: str, target: Path, *, old: bool) -> None:
        """Copy the bytes of an md5 from wherever they are whole.

        Args:
            md5: The md5.
            path: Where the file is in the working copy.
            target: A file that is not there yet.
            old: Whether DVC 2 made the md5, which reads line ends of text as Unix has them.

        Raises:
            ArtifactNotFound: They are nowhere on this machine.
            IntegrityError: An object has other bytes than its md5 says, and there is no other.
        """
        damaged = None
        working = self.working(path)
        for place in (*self.stored(md5), *([] if working is None or not working.is_file() else [working])):
            copied_here(place, target)
            # What was copied counts: the source may change at any time.
            if md5 in _md5s(target, old=old):
                return
            target.unlink()
            damaged = damaged or (place if place != working else None)
        if damaged is not None:
            raise IntegrityError(f"{str(damaged)!r} does not have the bytes of its md5: delete it, then {self.advice}.")
        raise ArtifactNotFound(
            f"{path!r} (md5 {md5}) is not in the cache, and is not so in the working copy: {self.advice}."
        )

    @property
    def advice(self) -> str:
        """What to do where bytes are missing."""
        names = ", ".join(map(repr, self.config.elsewhere))
        return f"run 'dvc pull', which brings it from the remote {names}" if names else "run 'dvc pull' or 'dvc repro'"


def _md5s(path: Path, *, old: bool) -> list[str]:
    with path.open("rb") as stream:
        return _md5s_of(stream, old=old)


def _md5s_of(stream: BinaryIO, *, old: bool) -> list[str]:
    """Return the md5 that DVC gives to bytes; with ``old`` those that releases of DVC 2 gave them, the most usual one first.

    They leave the carriage returns of text out: some tell by its beginning whether the file is text, others by the beginning
    of each piece of it.
    """
    plain, by_file, by_piece = (hashlib.md5(usedforsecurity=False) for _ in range(3))
    text = None
    while piece := stream.read(_PIECE):
        plain.update(piece)
        if old:
            unix = piece.replace(b"\r\n", b"\n")
            here = _is_text(piece[:_LOOK])
            text = here if text is None else text
            by_file.update(unix if text else piece)
            by_piece.update(unix if here else piece)
    made = (by_file, by_piece, plain) if old else (plain,)
    return [one.hexdigest() for one in made]


def _is_text(block: bytes) -> bool:
    return b"\0" not in block and len(block.translate(None, _TEXT)) <= 0.3 * len(block)
