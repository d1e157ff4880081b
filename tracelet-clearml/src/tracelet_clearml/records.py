"""What is noted of one version: its tags, by which ClearML finds it, and its text, which is all there is to know.

A record is a task in a hidden project below the experiment's. It begins as a claim of a number; the manifest and the
tag :data:`STORED` come to it in one request, last of all, and what has none does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import Labels, Manifest

__all__ = [
    "GONE",
    "RECORD",
    "STORED",
    "Body",
    "Head",
    "alias_tag",
    "digest_tags",
    "label_tag",
    "name_tag",
    "put_tag",
    "read_body",
    "spent_tag",
    "type_tag",
    "version_tag",
]

RECORD = "tracelet.record"
#: Its manifest is there.
STORED = "tracelet.stored"
#: Given up, or deleted; its number is not used again.
GONE = "tracelet.gone"
#: The one item of a record's configuration.
ITEM = "tracelet"
#: How much of a digest a reference must give at least.
_PREFIX = 6


def name_tag(name: str) -> str:
    """The tag of every record of a name."""
    return f"tracelet.name:{name}"


def type_tag(kind: str) -> str:
    """The tag of every record of a type."""
    return f"tracelet.type:{kind}"


def put_tag(put_id: str) -> str:
    """The tag of the record of a put."""
    return f"tracelet.put:{put_id}"


def version_tag(number: int) -> str:
    """The tag of the record that is this version."""
    return f"tracelet.version:{number}"


def label_tag(label: str) -> str:
    """The tag of the record that has a label, or claims it."""
    return f"tracelet.label:{label}"


def spent_tag(label: str) -> str:
    """The tag of a deleted version's record, which says what its label was: that is not given to other content."""
    return f"tracelet.spent:{label}"


def alias_tag(alias: str) -> str:
    """The tag of every record that an alias was ever moved to."""
    return f"tracelet.alias:{alias}"


def digest_tags(digest: str) -> tuple[str, str]:
    """The tags of the records of a digest, and of all digests that begin like it."""
    return f"tracelet.digest:{digest}", f"tracelet.digest:{digest[:_PREFIX]}"


def prefix_tag(prefix: str) -> str:
    """The tag of every record whose digest begins with at least six digits of ``prefix``."""
    return f"tracelet.digest:{prefix if len(prefix) == 64 else prefix[:_PREFIX]}"


@attrs.frozen
class Head:
    """The part of a record that its tags tell."""

    id: str
    #: The server's own time, as text that sorts.
    created: str
    tags: tuple[str, ...]

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Head:
        """Read a task of the index."""
        return cls(str(task["id"]), str(task.get("created") or ""), tuple(task.get("tags") or ()))

    def _values(self, kind: str) -> list[str]:
        prefix = f"tracelet.{kind}:"
        return [tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix)]

    def _number(self, kind: str) -> int:
        return max((int(value) for value in self._values(kind) if value.isdecimal()), default=-1)

    @property
    def claimed(self) -> int:
        """The number that its writer asked for, one above all that it saw."""
        return self._number("claimed")

    @property
    def number(self) -> int:
        """The number of the version; -1 until it is stored."""
        return self._number("version")

    @property
    def order(self) -> tuple[int, str, str]:
        """Its place among claims, the same for everybody who looks."""
        return self.claimed, self.created, self.id

    @property
    def is_stored(self) -> bool:
        """Whether the version exists."""
        return STORED in self.tags and GONE not in self.tags

    @property
    def is_open(self) -> bool:
        """Whether a put is, or was, under way."""
        return STORED not in self.tags and GONE not in self.tags

    @property
    def name(self) -> str:
        """The artifact's name."""
        return next(iter(self._values("name")), "")

    @property
    def put_id(self) -> str:
        """The put that made it."""
        return next(iter(self._values("put")), "")

    @property
    def digest(self) -> str:
        """The artifact's digest."""
        return max(self._values("digest"), key=len, default="")

    @property
    def label(self) -> str | None:
        """The label that it has, or claims."""
        return next(iter(self._values("label")), None)

    @property
    def moves(self) -> dict[str, int]:
        """The aliases that were moved here, each with the number of that move."""
        pairs = (value.partition(":") for value in self._values("moved"))
        found: dict[str, int] = {}
        for number, _, alias in pairs:
            found[alias] = max(int(number), found.get(alias, -1))
        return found

    def with_moves(self, moves: Mapping[str, int], label: str | None = None) -> tuple[str, ...]:
        """Return its tags with aliases moved here, and maybe a label."""
        kept = [tag for tag in self.tags if not any(tag.endswith(f":{alias}") and _is_move(tag) for alias in moves)]
        new = [tag for alias, number in moves.items() for tag in (alias_tag(alias), f"tracelet.moved:{number}:{alias}")]
        return tuple(dict.fromkeys([*kept, *new, *([label_tag(label)] if label else [])]))

    def without_moves(self, aliases: Iterable[str]) -> tuple[str, ...]:
        """Return its tags without what they say of aliases that went elsewhere."""
        gone = set(aliases)
        return tuple(
            tag
            for tag in self.tags
            if tag not in {alias_tag(alias) for alias in gone} and not (_is_move(tag) and tag.split(":", 2)[2] in gone)
        )


def _is_move(tag: str) -> bool:
    return tag.startswith("tracelet.moved:")


def claim_tags(manifest: Manifest, labels: Labels, number: int) -> tuple[str, ...]:
    """Return the tags of a claim."""
    own = [RECORD, name_tag(manifest.name), type_tag(manifest.type.value), put_tag(manifest.put_id)]
    own += [f"tracelet.claimed:{number}", *digest_tags(manifest.digest)]
    return (*own, label_tag(labels.version)) if labels.version else tuple(own)


@attrs.frozen
class Body:
    """The part of a record that its text tells."""

    #: Where the files are, plain data that :mod:`~tracelet_clearml.shelves` reads.
    place: dict[str, Any]
    #: The manifest, or the blob that holds it where it is large.
    manifest: dict[str, Any] | None = None
    aside: dict[str, Any] | None = None


def configuration(body: Body) -> dict[str, Any]:
    """Return a record's text as ClearML keeps it: an item of a task's configuration."""
    text = json.dumps(attrs.asdict(body), ensure_ascii=False)
    return {ITEM: {"name": ITEM, "type": "json", "value": text, "description": "Leave it as it is."}}


def read_body(task: Mapping[str, Any]) -> Body:
    """Read a record's text. Raises :class:`~tracelet.IntegrityError` where it is none."""
    try:
        data = json.loads(task["configuration"][ITEM]["value"])
        return Body(dict(data["place"]), data["manifest"], data["aside"])
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the record {task.get('id')} in ClearML was changed, and cannot be read: {error}"
        ) from error
