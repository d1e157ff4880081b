"""The names of the hidden tasks that are Tracelet's index. ClearML finds a task by what its name says.

A record is a task in a hidden project below the experiment's. It begins as a claim of a number. The manifest comes to it
last of all, in one request with the word that it is stored. What is not stored does not exist.

The web application offers every tag to everybody, those of hidden tasks among them. So these tasks have no tags. Earlier
releases gave them some: such a record is read, is found by its tags, and loses them when it is changed.

Every name keeps its beginning in all releases: ``<artifact> <ten digits> ;<state>;schema:<number>;``, or ``;run:<run>;``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.plugin import Labels, Manifest, check_schema
from tracelet_clearml.names import entity_name
from tracelet_clearml.records import SCHEMA

__all__ = ["OLD_RECORD", "Head", "Query", "RunNote", "State"]

#: The tag of every record of an earlier release, and those that said how far it was.
OLD_RECORD = "tracelet.record"
_OLD_STORED, _OLD_GONE = "tracelet.stored", "tracelet.gone"
#: How much of a digest such a record had as a tag.
_OLD_PREFIX = 6
_NAME = re.compile(r"(?P<entity>[^ ]+) (?P<claimed>[0-9]{10})(?: ;(?P<facts>.*);)?")
#: The kinds of facts that a name tells.
_KNOWN = frozenset({"schema", "type", "put", "sha256", "number", "label", "moved", "inputs"})
#: How many digits of each input's digest a name tells, and of how many inputs. A name must stay short.
_INPUT, _MOST_INPUTS = 12, 32
#: The end of a name without inputs. No other fact begins with this letter.
_NO_INPUTS = "(.*;)?[^i;][^;]*;$"
#: No schema will have more digits.
_MOST = 999_999
#: What a record of a later release has behind its state.
_NEWER = "schema:([2-9]|[1-9][0-9]+);"


class State(enum.Enum):
    """The state of a record."""

    #: A put is under way, or was when its process ended.
    OPEN = "open"
    STORED = "stored"
    #: Given up, or deleted. Its number is not used again.
    GONE = "gone"


@attrs.frozen
class Head:
    """The part of a record that is in its task's name."""

    id: str
    #: The server's time, as text that sorts.
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
    #: The version's number, or the one that is kept for it. -1 if an earlier release has only claimed one.
    number: int = -1
    #: The label that it has, or claims. A deleted version keeps it: no other content gets it.
    label: str | None = None
    #: The aliases that were moved here, with the number of each move.
    moves: Mapping[str, int] = attrs.field(factory=dict)
    #: The beginnings of its inputs' digests. None if there are too many, or an earlier release wrote it.
    inputs: tuple[str, ...] | None = None
    #: Whether an earlier release wrote it, with tags.
    old: bool = False
    #: The schema that it was written in.
    schema: int = SCHEMA
    #: Facts of a later release, as ``<kind>:<value>``.
    extra: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Head:
        """Read a task of the index. Of a later schema, only the beginning of the name is read: no release changes that."""
        key, created = str(task["id"]), str(task.get("created") or "")
        found = _NAME.fullmatch(str(task.get("name") or ""))
        if found is None or found["facts"] is None:
            return _from_tags(key, created, tuple(task.get("tags") or ()))
        try:
            return cls(key, created, found["entity"].rstrip("~"), int(found["claimed"]), **_facts(found))
        except ValueError:  # somebody has changed the name: it belongs to no artifact
            return cls(key, created, "", -1, State.OPEN)

    @classmethod
    def claim(cls, manifest: Manifest, labels: Labels, number: int) -> Head:
        """Return the head of a new claim."""
        named = (manifest.name, number, State.OPEN, manifest.type.value, manifest.put_id, manifest.digest)
        return cls("", "", *named, number, labels.version, inputs=_told(manifest.inputs))

    @property
    def task_name(self) -> str:
        """The name of its task: the artifact's name, the number that sorts it, and everything else that it is found by."""
        facts = {"schema": str(self.schema), "type": self.type, "put": self.put_id, "sha256": self.digest}
        facts |= {"number": str(self.number)} if self.number >= 0 else {}
        facts |= {"label": self.label} if self.label is not None else {}
        told = [f"{kind}:{value}" for kind, value in facts.items() if value]
        told += [f"moved:{number}:{alias}" for alias, number in self.moves.items()]
        told += self.extra
        # Last of all: where it is missing is known by the fact at the end.
        told += [f"inputs:{','.join(self.inputs) or 'none'}"] if self.inputs is not None else []
        return f"{entity_name(self.name)} {self.claimed:010d} ;{';'.join([self.state.value, *told])};"

    @property
    def order(self) -> tuple[int, str, str]:
        """Its place among claims, which is the same for every reader."""
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
        """Whether a put is under way, or was when its process ended."""
        return self.state is State.OPEN

    @property
    def is_newer(self) -> bool:
        """Whether a later release wrote it, in a form that this one does not know."""
        return self.schema > SCHEMA

    def check(self) -> None:
        """Raise :class:`~tracelet.exceptions.NewerFormat` where a later release wrote it."""
        check_schema({"schema": self.schema}, SCHEMA, f"the record of {self.name!r} v{self.claimed} in ClearML")

    def without(self, aliases: Iterable[str]) -> Head:
        """Return the head without aliases that were moved elsewhere."""
        gone = set(aliases)
        return attrs.evolve(self, moves={one: number for one, number in self.moves.items() if one not in gone})


def _facts(found: re.Match[str]) -> dict[str, Any]:
    """Read what follows the number in a name. Raises ValueError if Tracelet did not write it."""
    state, _, rest = found["facts"].partition(";")
    told = [fact.partition(":")[::2] for fact in rest.split(";") if fact]
    facts = dict(told)
    schema = schema_of(facts)
    if schema > SCHEMA:
        return {"state": State(state), "schema": schema, "number": int(found["claimed"])}
    moved = [value.partition(":")[::2] for kind, value in told if kind == "moved"]
    return {
        "state": State(state),
        "type": facts.get("type", ""),
        "put_id": facts.get("put", ""),
        "digest": facts.get("sha256", ""),
        "number": int(facts.get("number", -1)),
        "label": facts.get("label"),
        "moves": {alias: int(number) for number, alias in moved},
        "inputs": _told(facts["inputs"].replace("none", "").split(",")) if "inputs" in facts else None,
        "extra": tuple(fact for fact in rest.split(";") if fact and fact.partition(":")[0] not in _KNOWN),
    }


def _told(digests: Iterable[str]) -> tuple[str, ...] | None:
    """Return what a name tells of inputs; None if they are too many for it."""
    told = tuple(digest[:_INPUT] for digest in digests if digest)
    return told if len(told) <= _MOST_INPUTS else None


def schema_of(facts: Mapping[str, str]) -> int:
    """Return the schema that a name says. Raises ValueError if it is no number."""
    schema = int(facts.get("schema", SCHEMA))
    check_schema({"schema": schema}, _MOST, "a name")
    return schema


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
    """Which records to look for. None means any."""

    name: str | None = None
    state: State | None = State.STORED
    type: str | None = None
    put_id: str | None = None
    #: A digest, or at least its first six digits.
    digest: str | None = None
    number: int | None = None
    label: str | None = None
    alias: str | None = None
    #: The digest of an input. Records that do not tell their inputs are found, too.
    input: str | None = None
    #: Whether to find every record of a later schema, too: this release cannot tell whether it is one of those.
    newer: bool = True

    @property
    def pattern(self) -> str:
        """The regular expression that the records' names match. Without a state it also matches names of earlier releases."""
        entity = re.escape(entity_name(self.name)) if self.name is not None else "[^ ]+"
        begins = f"^{entity} [0-9]{{{10}}}"
        if self.state is None:
            return f"{begins}( |$)"
        # In the order of a name.
        asked = {
            "type": self.type,
            "put": self.put_id,
            "sha256": self.digest,
            "number": self.number,
            "label": self.label,
        }
        told = {kind: re.escape(str(value)) for kind, value in asked.items() if value is not None}
        rest = [f"{kind}:{value}{'[0-9a-f]*' if kind == 'sha256' else ''};" for kind, value in told.items()]
        rest += [f"moved:[0-9]+:{re.escape(self.alias)};"] if self.alias is not None else []
        facts = "".join(f"(.*;)?{fact}" for fact in rest)
        if self.input is not None:
            facts = f"((.*;)?inputs:([0-9a-f]+,)*{re.escape(self.input[:_INPUT])}|{_NO_INPUTS})"
        return f"{begins} ;{self.state.value};{f'({_NEWER}|{facts})' if facts and self.newer else facts}"

    @property
    def old_tags(self) -> list[str]:
        """The tags that such records have if an earlier release wrote them."""
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
class RunNote:
    """The hidden task that says which task a run has. All of it is in its name, for people would see a tag."""

    run: str
    task: str
    schema: int = SCHEMA

    @property
    def task_name(self) -> str:
        """The name of the hidden task."""
        return f";run:{self.run};task:{self.task};schema:{self.schema};"

    @classmethod
    def of(cls, name: str) -> RunNote:
        """Read the name of a hidden task that one of the patterns matches."""
        facts = dict(fact.partition(":")[::2] for fact in name.split(";") if fact)
        try:
            schema = schema_of(facts)
        except ValueError:  # somebody has changed the name: it names no task
            return cls(facts["run"], "")
        return cls(facts["run"], facts.get("task", ""), schema)

    def check(self) -> None:
        """Raise :class:`~tracelet.exceptions.NewerFormat` where a later release wrote it."""
        check_schema({"schema": self.schema}, SCHEMA, f"the note of the run {self.run} in ClearML")

    @staticmethod
    def pattern_of_run(run: str) -> str:
        """Return the regular expression that the notes of a run match."""
        return f"^;run:{re.escape(run)};"

    @staticmethod
    def pattern_of_task(task: str) -> str:
        """Return the regular expression that the notes of a task match."""
        return f"^;run:[^;]+;task:{re.escape(task)};"
