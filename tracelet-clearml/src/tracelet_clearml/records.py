"""What is noted of one version: its head, in the name by which ClearML finds it, and its text, which is all there is to know.

A record is a task in a hidden project below the experiment's. It begins as a claim of a number; the manifest comes to it
together with the word that it is stored, in one request, last of all, and what is not stored does not exist.

What people of that server choose from are its tags, those of hidden tasks among them: so there are none. Earlier
releases had them; such a record is read, found by them, and loses them when it is changed.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import Labels, Manifest
from tracelet_clearml.names import entity_name

__all__ = ["OLD_RECORD", "Blob", "Body", "Head", "Place", "Query", "State", "configuration", "read_body"]

#: The tag of every record of an earlier release, and those that said how far it was.
OLD_RECORD = "tracelet.record"
_OLD_STORED, _OLD_GONE = "tracelet.stored", "tracelet.gone"
#: How much of a digest such a record had as a tag.
_OLD_PREFIX = 6
#: The one item of a record's configuration.
ITEM = "tracelet"
_NAME = re.compile(r"(?P<entity>[^ ]+) (?P<claimed>[0-9]{10})(?: ;(?P<facts>.*);)?")


class State(enum.Enum):
    """How far a record is."""

    #: A put is, or was, under way.
    OPEN = "open"
    STORED = "stored"
    #: Given up, or deleted; its number is not used again.
    GONE = "gone"


@attrs.frozen
class Head:
    """The part of a record that is found without reading it."""

    id: str
    #: The server's own time, as text that sorts.
    created: str
    #: The artifact's name.
    name: str
    #: The number that its writer asked for, one above all that it saw.
    claimed: int
    state: State
    type: str = ""
    #: The put that made it.
    put_id: str = ""
    digest: str = ""
    #: The number of the version: its own, or kept for it; -1 where an earlier release has only claimed one.
    number: int = -1
    #: The label that it has, or claims; where it is gone, the one that is not given to other content.
    label: str | None = None
    #: The aliases that were moved here, each with the number of that move.
    moves: Mapping[str, int] = attrs.field(factory=dict)
    #: Whether an earlier release wrote it.
    old: bool = False

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Head:
        """Read a task of the index."""
        key, created = str(task["id"]), str(task.get("created") or "")
        found = _NAME.fullmatch(str(task.get("name") or ""))
        if found is None or found["facts"] is None:
            return _from_tags(key, created, tuple(task.get("tags") or ()))
        try:
            return cls(key, created, found["entity"].rstrip("~"), int(found["claimed"]), **_facts(found["facts"]))
        except ValueError:  # somebody has changed it: it is nothing's record
            return cls(key, created, "", -1, State.OPEN)

    @classmethod
    def claim(cls, manifest: Manifest, labels: Labels, number: int) -> Head:
        """Return the head of a claim that is still to be made."""
        named = (manifest.name, number, State.OPEN, manifest.type.value, manifest.put_id, manifest.digest)
        return cls("", "", *named, number, labels.version)

    @property
    def task_name(self) -> str:
        """The name of its task: that of the artifact, the number that sorts it, and all else that it is found by."""
        facts = {"type": self.type, "put": self.put_id, "sha256": self.digest}
        facts |= {"number": str(self.number)} if self.number >= 0 else {}
        facts |= {"label": self.label} if self.label is not None else {}
        told = [f"{kind}:{value}" for kind, value in facts.items() if value]
        told += [f"moved:{number}:{alias}" for alias, number in self.moves.items()]
        return f"{entity_name(self.name)} {self.claimed:010d} ;{';'.join([self.state.value, *told])};"

    @property
    def order(self) -> tuple[int, str, str]:
        """Its place among claims, the same for everybody who looks."""
        return self.claimed, self.created, self.id

    @property
    def rank(self) -> tuple[int, tuple[int, str, str]]:
        """Its place among versions."""
        return self.number, self.order

    @property
    def is_stored(self) -> bool:
        """Whether the version exists."""
        return self.state is State.STORED

    @property
    def is_open(self) -> bool:
        """Whether a put is, or was, under way."""
        return self.state is State.OPEN

    def without(self, aliases: Iterable[str]) -> Head:
        """Return it without what it says of aliases that went elsewhere."""
        gone = set(aliases)
        return attrs.evolve(self, moves={one: number for one, number in self.moves.items() if one not in gone})


def _facts(text: str) -> dict[str, Any]:
    """Read what follows the number in a title."""
    state, _, rest = text.partition(";")
    told = [fact.partition(":")[::2] for fact in rest.split(";")]
    facts = {kind: value for kind, value in told if kind != "moved"}
    moved = [value.partition(":")[::2] for kind, value in told if kind == "moved"]
    return {
        "state": State(state),
        "type": facts.get("type", ""),
        "put_id": facts.get("put", ""),
        "digest": facts.get("sha256", ""),
        "number": int(facts.get("number", -1)),
        "label": facts.get("label"),
        "moves": {alias: int(number) for number, alias in moved},
    }


def _from_tags(key: str, created: str, tags: tuple[str, ...]) -> Head:
    """Read a record of an earlier release."""
    told: dict[str, list[str]] = {}
    for tag in tags:
        kind, _, value = tag.removeprefix("tracelet.").partition(":")
        told.setdefault(kind, []).append(value)

    def number(kind: str) -> int:
        return max((int(value) for value in told.get(kind, ()) if value.isdecimal()), default=-1)

    state = State.GONE if _OLD_GONE in tags else State.STORED if _OLD_STORED in tags else State.OPEN
    moves: dict[str, int] = {}
    for value in told.get("moved", ()):
        moved, _, alias = value.partition(":")
        moves[alias] = max(int(moved), moves.get(alias, -1))
    labels = told.get("spent" if state is State.GONE else "label", [])
    return Head(
        key,
        created,
        next(iter(told.get("name", ())), ""),
        number("claimed"),
        state,
        next(iter(told.get("type", ())), ""),
        next(iter(told.get("put", ())), ""),
        max(told.get("digest", ()), key=len, default=""),
        number("version"),
        next(iter(labels), None),
        moves,
        old=True,
    )


@attrs.frozen
class Query:
    """What records are looked for; None and empty is any."""

    name: str | None = None
    state: State | None = State.STORED
    type: str | None = None
    put_id: str | None = None
    #: A digest, or six digits or more of its beginning.
    digest: str | None = None
    number: int | None = None
    label: str | None = None
    alias: str | None = None

    @property
    def pattern(self) -> str:
        """The regular expression that the names of such records match; where there is no state, those of earlier ones, too."""
        entity = re.escape(entity_name(self.name)) if self.name is not None else "[^ ]+"
        begins = f"^{entity} [0-9]{{{10}}}"
        if self.state is None:
            return f"{begins}( |$)"
        # In the order of a title.
        facts = {
            "type": self.type,
            "put": self.put_id,
            "sha256": self.digest,
            "number": self.number,
            "label": self.label,
        }
        told = {kind: re.escape(str(value)) for kind, value in facts.items() if value is not None}
        rest = [f"{kind}:{value}{'[0-9a-f]*' if kind == 'sha256' else ''};" for kind, value in told.items()]
        rest += [f"moved:[0-9]+:{re.escape(self.alias)};"] if self.alias is not None else []
        return f"{begins} ;{self.state.value};{''.join(f'(.*;)?{fact}' for fact in rest)}"

    @property
    def old_tags(self) -> list[str]:
        """The tags that such records of earlier releases have."""
        state = {State.STORED: [_OLD_STORED], State.GONE: [_OLD_GONE]}.get(self.state or State.OPEN, [])
        label = "spent" if self.state is State.GONE else "label"
        digest = self.digest if self.digest is None or len(self.digest) == 64 else self.digest[:_OLD_PREFIX]
        asked: dict[str, str | int | None] = {
            "name": self.name,
            "type": self.type,
            "put": self.put_id,
            "digest": digest,
        }
        asked |= {"version": self.number, label: self.label, "alias": self.alias}
        told = [f"tracelet.{kind}:{value}" for kind, value in asked.items() if value is not None]
        return ["__$all", OLD_RECORD, *state, *told]


@attrs.frozen
class Blob:
    """A stored file, and which files of the artifact are in it."""

    uri: str
    size_bytes: int
    #: Of the bytes as they are stored.
    sha256: str
    paths: tuple[str, ...]
    zipped: bool = False


@attrs.frozen
class Place:
    """Where one version is in ClearML."""

    #: ``artifacts``, ``model`` or ``dataset``.
    kind: str
    task: str
    project: str
    blobs: tuple[Blob, ...]
    #: The model's id, or the dataset's.
    entity: str = ""
    #: How many ancestors a dataset has.
    depth: int = 0
    #: Names of the entries in the task.
    keys: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return attrs.asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Place:
        """Read what :meth:`to_plain` gave."""
        blobs = tuple(Blob(**{**one, "paths": tuple(one["paths"])}) for one in data["blobs"])
        return cls(**{**data, "blobs": blobs, "keys": tuple(data["keys"])})


@attrs.frozen
class Body:
    """The part of a record that its text tells."""

    #: Where the files are, plain data of a :class:`Place`.
    place: dict[str, Any]
    manifest: dict[str, Any] | None = None
    #: The blob that holds the manifest, in a record of an earlier release.
    aside: dict[str, Any] | None = None
    #: The blob that holds all of this text where it is long; the place has no more than people need then.
    whole: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """All of it, as text."""
        return json.dumps(attrs.asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, text: str | bytes) -> Body:
        """Read a text. Raises :class:`~tracelet.IntegrityError` where it is none."""
        try:
            data = json.loads(text)
            return cls(dict(data["place"]), data["manifest"], data["aside"], data.get("whole"))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"a record in ClearML was changed, and cannot be read: {error}") from error


def configuration(body: Body) -> dict[str, Any]:
    """Return a record's text as ClearML keeps it: an item of a task's configuration."""
    return {ITEM: {"name": ITEM, "type": "json", "value": body.text, "description": "Leave it as it is."}}


def read_body(task: Mapping[str, Any]) -> Body:
    """Read a record's text. Raises :class:`~tracelet.IntegrityError` where it is none."""
    try:
        text = task["configuration"][ITEM]["value"]
    except (LookupError, TypeError) as error:
        raise IntegrityError(f"the record {task.get('id')} in ClearML has lost its text ({error}).") from error
    return Body.of(text)
