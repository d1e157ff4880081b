"""Where everything is in a bucket: docs/reference/format.md says what each object holds.

Below the prefix of the URL::

    objects/sha256/ab/abcd…                         bytes, by their sha256; all experiments share them
    refs/<sha256>/<put-id>                          a version of another backend points at these bytes
    aside/<sha256>/<id>                             bytes that are being cleared away
    jobs/…                                          notes that processes of one job leave each other
    experiments/<experiment>/experiment.json        the schema, and the experiment's name
    experiments/<experiment>/versions/<name>/999999999996-v3.json   the record of v3, made exclusively: newest first in a listing
    experiments/<experiment>/versions/<name>/0-aliases.json         the aliases of the name
    experiments/<experiment>/labels/<name>/<label>  the number and the digest that a label belongs to
    experiments/<experiment>/digests/<name>/<digest>/v3
    experiments/<experiment>/inputs/<digest>/<name>/v3
    experiments/<experiment>/puts/<put-id>.json     the number that a put is about to take, and the bytes that it needs
"""

from __future__ import annotations

import re
from typing import TypeGuard

from tracelet.plugin import physical_name

__all__ = [
    "ASIDE",
    "EXPERIMENTS",
    "NOTES",
    "OBJECTS",
    "REFS",
    "Keys",
    "aside_blob",
    "aside_folder",
    "blob_key",
    "blob_of",
    "is_note",
    "is_number",
    "listed_key",
    "note_key",
    "number_in",
    "ref_key",
]

OBJECTS, REFS, ASIDE, NOTES, EXPERIMENTS = "objects", "refs", "aside", "jobs", "experiments"
#: Numbers are below it, so that the newest version comes first.
_LIMIT = 10**12
_VERSION = re.compile(r"([0-9]{12})-v(0|[1-9][0-9]{0,11})\.json")
_NUMBER = re.compile(r"v(0|[1-9][0-9]{0,11})")
_BLOB = re.compile(rf"{OBJECTS}/sha256/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
_ASIDE_BLOB = re.compile(rf"{ASIDE}/([0-9a-f]{{64}})/[^/]+")
#: What the processes of a job leave each other, and what is written to see whether it is listed.
_NOTE = re.compile(
    rf"{NOTES}/(?:[^/]+/[^/]+/[^/]+/[0-9]+/(?:call|part-[0-9a-f]{{32}}-[0-9]+|done-[0-9a-f]{{32}})\.json|listed-[0-9a-f]{{32}})"
)


def blob_key(sha256: str) -> str:
    """Return the key of bytes."""
    return f"{OBJECTS}/sha256/{sha256[:2]}/{sha256}"


def aside_folder(sha256: str) -> str:
    """Return the folder of bytes while they are being cleared away. Each time they have another key there."""
    return f"{ASIDE}/{sha256}"


def ref_key(sha256: str, put_id: str) -> str:
    """Return the key that keeps bytes for a version of another backend."""
    return f"{REFS}/{sha256}/{put_id}"


def note_key(key: str) -> str:
    """Return the key of a note that processes of one job leave each other."""
    return f"{NOTES}/{key}"


def listed_key(token: str) -> str:
    """Return a key that is written to see whether it is listed."""
    return f"{NOTES}/listed-{token}"


def blob_of(key: str) -> str | None:
    """Return the sha256 whose bytes are at a key; None where they are not ours: others may have folders of these names."""
    found = _BLOB.fullmatch(key)
    return found[2] if found else None


def aside_blob(key: str) -> str | None:
    """Return the sha256 whose bytes are being cleared away from a key, or None as :func:`blob_of` does."""
    found = _ASIDE_BLOB.fullmatch(key)
    return found[1] if found else None


def is_note(key: str) -> bool:
    """Tell whether processes of one job left a key."""
    return _NOTE.fullmatch(key) is not None


def number_in(key: str) -> int | None:
    """Return the number of the version that the last part of a key is of, or None."""
    leaf = key.rpartition("/")[2]
    if found := _NUMBER.fullmatch(leaf):
        return int(found[1])
    found = _VERSION.fullmatch(leaf)
    # One whose halves do not belong together is not ours: it would be the newest for ever.
    return int(found[2]) if found and int(found[1]) + int(found[2]) == _LIMIT - 1 else None


def is_number(number: object) -> TypeGuard[int]:
    """Tell whether a version can have this number."""
    return type(number) is int and 0 <= number < _LIMIT


class Keys:
    """The keys of one experiment."""

    def __init__(self, experiment: str) -> None:
        """``experiment`` is its name, as users say it."""
        self._prefix = f"{EXPERIMENTS}/{physical_name(experiment)}"

    @property
    def experiment(self) -> str:
        """The key of what says the schema."""
        return f"{self._prefix}/experiment.json"

    def versions(self, name: str | None) -> str:
        """Return the folder of a name's versions and aliases, or that of all names."""
        return f"{self._prefix}/versions" if name is None else f"{self._prefix}/versions/{name}"

    def version(self, name: str, number: int) -> str:
        """Return the key of a version's record."""
        return f"{self.versions(name)}/{_LIMIT - 1 - number:012d}-v{number}.json"

    def aliases(self, name: str) -> str:
        """Return the key of a name's aliases: it comes before the versions."""
        return f"{self.versions(name)}/0-aliases.json"

    def label(self, name: str, label: str) -> str:
        """Return the key of a label."""
        return f"{self._prefix}/labels/{name}/{label}"

    def digests(self, name: str) -> str:
        """Return the folder of the digests of a name's versions."""
        return f"{self._prefix}/digests/{name}"

    def digest(self, name: str, digest: str, number: int) -> str:
        """Return the key that says that a version is to have a digest."""
        return f"{self.digests(name)}/{digest}/v{number}"

    def inputs(self, digest: str) -> str:
        """Return the folder of the versions that are made from a digest."""
        return f"{self._prefix}/inputs/{digest}"

    def input(self, digest: str, name: str, number: int) -> str:
        """Return the key that says that a version is made from a digest."""
        return f"{self.inputs(digest)}/{name}/v{number}"

    def put(self, put_id: str) -> str:
        """Return the key of what a put is about to do."""
        return f"{self._prefix}/puts/{put_id}.json"
