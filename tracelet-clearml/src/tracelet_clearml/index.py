"""Which versions there are: records in ClearML itself, found by their names.

ClearML has no compare-and-swap. So a writer first makes a claim, and then looks at all claims. Every writer sees the same claims in
the same order. The later one takes the next number, or gets an error if the label is taken.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs

from tracelet.exceptions import BackendError, BackendUnavailable
from tracelet.plugin import ArtifactType, Labels, Manifest, label_conflict, look_up, of_digest, parse_ref
from tracelet_clearml.api import PAGE, Api
from tracelet_clearml.projects import Projects
from tracelet_clearml.record_names import OLD_RECORD, Head, Query, State
from tracelet_clearml.records import Body, configuration

__all__ = ["Claim", "Index", "NumberTaken", "Record"]

_HEAD = ["id", "created", "name", "tags"]
_WHOLE = [*_HEAD, "configuration"]
#: A record's name has its number behind the artifact's name. So the order of names is the order of versions.
_NEWEST_FIRST = ["-name"]
#: The newest version is looked for among so many: in an earlier release, writers at the same time left equal names.
_NEAR = 5
#: The next number is found from so many of the newest records.
_RECENT = 50
#: So often a writer tries to get a number that nobody else has.
_TRIES = 20
#: Seconds to wait for an earlier claim of the same label, and between two looks at it.
_LABEL_WAIT, _LOOK = 5.0, 0.1
#: If more records than this say that an alias was moved to them, all but the last are rewritten without it.
_STALE = 20


class NumberTaken(BackendUnavailable):
    """Another writer has stored a version of the same number. A new claim gets another number."""


@attrs.frozen
class Claim:
    """A number that belongs to a put, before anything is stored."""

    head: Head
    #: Whether an earlier attempt of the same put made it, and may have left something.
    again: bool


@attrs.frozen
class Record:
    """A record, and the aliases that it has now."""

    head: Head
    task: Mapping[str, Any]
    aliases: tuple[str, ...]


class Index:
    """The records of one experiment."""

    def __init__(self, api: Api, projects: Projects) -> None:
        self._api = api
        self._projects = projects
        #: Whether there are records of earlier releases. None before the server was asked.
        self._old: bool | None = None

    # -- claiming

    def claim(self, manifest: Manifest, labels: Labels) -> Claim | Record:
        """Claim a number, and the label.

        Returns:
            The claim; or the version that this put has already made, or that has the label and the same content.

        Raises:
            VersionConflict: The label belongs to other content.
            NewerFormat: A later release wrote a version of that name.

        """
        known = self._claims(manifest.name)
        done = next((head for head in known if head.put_id == manifest.put_id and head.is_stored), None)
        taken = done or self._taken(manifest, labels.version)
        if taken is not None:
            return self._of(taken)
        mine = next((head for head in known if head.put_id == manifest.put_id and head.is_open), None)
        again = mine is not None
        if mine is None:
            number = 1 + max((max(head.claimed, head.number) for head in known), default=-1)
            made = self._api.call(
                "tasks",
                "create",
                name=Head.claim(manifest, labels, number).task_name,
                type="custom",
                project=self._projects.index(),
                comment="Where Tracelet finds a version of an artifact. Leave it as it is.",
                # The task is hidden, too: a list of all tasks does not look at their projects.
                system_tags=["hidden"],
            )
            known, mine = self._see(manifest.name, str(made["id"]))
        return self._reserve(mine, known, again=again)

    def _reserve(self, mine: Head, known: list[Head], *, again: bool) -> Claim:
        """Make sure that nobody else has a claim's number. A writer who sees that another one has it takes the next number."""
        for _ in range(_TRIES):
            others = [head for head in known if head.id != mine.id]
            if mine.number >= 0 and not _must_yield(mine, others):
                return Claim(mine, again)
            number = _next_number(mine, known)
            self._write(attrs.evolve(mine, number=number))
            known, mine = self._see(mine.name, mine.id)
        raise BackendUnavailable(f"too many writers want the same number of {mine.name!r} in ClearML.")

    def commit(self, claim: Claim, manifest: Manifest, labels: Labels, body: Body) -> Record:
        """Make the version exist.

        Returns:
            Its record; or that of a version with the same content that took the label meanwhile.

        Raises:
            VersionConflict: Other content took the label.
            NumberTaken: Another writer has stored a version of the same number.

        """
        known, taken = self._settled(claim, manifest, labels.version)
        if taken is not None:
            return self._of(taken)
        mine = claim.head
        if any(head.is_stored and head.number == mine.number and head.id != mine.id for head in known):
            raise NumberTaken(f"v{mine.number} of {mine.name!r} was stored by another writer in that moment.")
        moves = {alias: 1 + self._last_move(manifest.name, alias) for alias in labels.aliases}
        # From now on the record sorts by its number: writers at the same time may all have asked for the same one.
        stored = attrs.evolve(mine, state=State.STORED, claimed=mine.number, moves=moves)
        self._write(stored, configuration=configuration(body))
        found = self._of(stored)
        if not found.head.is_stored or found.head.number != mine.number:
            raise BackendUnavailable(f"ClearML says that it has {manifest.name!r}, and does not show it.")
        return found

    def abandon(self, head: Head) -> None:
        """Give a claim up. Its number is not used again."""
        self._write(attrs.evolve(head, state=State.GONE, label=None))

    def _see(self, name: str, key: str) -> tuple[list[Head], Head]:
        """Return the claims of a name, and the one with this id, which was just written."""
        known = self._claims(name)
        mine = next((head for head in known if head.id == key), None)
        if mine is None:
            raise BackendUnavailable(f"ClearML does not show the claim of {name!r} that it took.")
        return known, mine

    def _settled(self, claim: Claim, manifest: Manifest, label: str | None) -> tuple[list[Head], Head | None]:
        """Look at the claims again, and at who has the label. Wait a while for an earlier claim of the same label."""
        until = time.monotonic() + _LABEL_WAIT
        while True:
            known = self._claims(manifest.name)
            if label is None:
                return known, None
            taken = self._taken(manifest, label)
            rivals = [head for head in known if head.is_open and head.label == label]
            if taken is not None or min(rivals, key=lambda head: head.order, default=claim.head).id == claim.head.id:
                return known, taken
            if time.monotonic() > until:
                return known, None  # its writer has died, or will get an error, for the label is taken
            time.sleep(_LOOK)

    def _taken(self, manifest: Manifest, label: str | None) -> Head | None:
        """Return the version with the same content that has the label, or None. Raises if the label belongs to other content."""
        if label is None:
            return None
        owners = self._heads(Query(manifest.name, label=label))
        for head in owners:
            if head.digest != manifest.digest:
                raise label_conflict(manifest.name, label, head.number)
        spent = [] if owners else self._heads(Query(manifest.name, State.GONE, label=label))
        if any(head.digest != manifest.digest for head in spent):
            raise label_conflict(manifest.name, label)
        return owners[0] if owners else None

    def _claims(self, name: str) -> list[Head]:
        """Return the claims that matter for the next one: the newest of a name, whatever became of them, and all open ones."""
        # The names of earlier releases' records begin in the same way.
        found = self._ask(name=Query(name, None).pattern, only_fields=_HEAD, page=0, page_size=_RECENT)
        heads = {head.id: head for head in map(Head.of, found) if head.name == name}
        if len(found) == _RECENT:
            # A put that takes long, or was killed, made its claim before many others.
            heads |= {head.id: head for head in self._heads(Query(name, State.OPEN))}
        for head in heads.values():
            head.check()
        if any(head.old for head in heads.values()):
            self._old = True
        return sorted(heads.values(), key=lambda head: head.order)

    # -- naming

    def relabel(self, head: Head, labels: Labels) -> Record:
        """Move aliases to a version, and give it a label."""
        if labels.version and labels.version != head.label:
            taken = [other for other in self._heads(Query(head.name, label=labels.version)) if other.id != head.id]
            if taken:
                raise label_conflict(head.name, labels.version, taken[0].number)
        moves = {alias: 1 + self._last_move(head.name, alias) for alias in labels.aliases}
        for _ in range(3):
            now = self._of(head).head
            wanted = attrs.evolve(now, moves={**now.moves, **moves}, label=labels.version or now.label)
            self._write(wanted)
            # If another process writes at the same time, ClearML keeps what comes last.
            after = self._of(head)
            if wanted.moves.items() <= after.head.moves.items() and after.head.label == wanted.label:
                return after
        raise BackendUnavailable(f"ClearML does not keep the names of v{head.number} of {head.name!r}.")

    def take_aliases(self, head: Head, aliases: Collection[str]) -> Record:
        """Take aliases away from a version, and from the records that had them before it. One that it does not have stays."""
        for _ in range(3):
            found = self._of(head)
            gone = [alias for alias in found.aliases if alias in aliases]
            if not gone:
                return found
            for alias in gone:
                self._take(alias, found.head)
        raise BackendUnavailable(f"ClearML does not take the aliases of v{head.number} of {head.name!r} away.")

    def _take(self, alias: str, owner: Head) -> None:
        """Rewrite the records that name an alias without it. The one that has it comes last: until then it has the alias."""
        holders = self._heads(Query(owner.name, alias=alias))
        for holder in sorted(holders, key=lambda one: (one.moves.get(alias, -1), one.order)):
            if holder.moves.get(alias, -1) <= owner.moves[alias]:
                self._write(holder.without([alias]))

    def forget(self, head: Head) -> None:
        """Delete a version. Its number is not used again, and its label stays bound to its content."""
        left = attrs.evolve(head, state=State.GONE, type="", put_id="", moves={}, inputs=None)
        self._write(left if head.label is not None else attrs.evolve(left, digest=""), configuration={})

    def _last_move(self, name: str, alias: str) -> int:
        """Return the number of an alias's last move, or -1. If many records name the alias, rewrite the old ones without it."""
        holders = sorted(
            self._heads(Query(name, alias=alias)), key=lambda head: (head.moves.get(alias, -1), head.order)
        )
        if len(holders) > _STALE:
            for stale in holders[:-1]:
                self._write(stale.without([alias]))
        return holders[-1].moves.get(alias, -1) if holders else -1

    # -- finding

    def find(self, name: str, ref: str) -> Record | None:
        """Return the record that ``ref`` means, or None. This is one request, and one more for each alias of the record."""
        return look_up(
            parse_ref(ref),
            latest=lambda: self._newest(name),
            number=lambda number: self._first(Query(name, number=number)),
            label=lambda label: self._first(Query(name, label=label)) or self._by_alias(name, label),
            digest=lambda beginning: self._by_digest(name, beginning),
            put_id=lambda put_id: self._first(Query(name, put_id=put_id)),
        )

    def every(self, name: str | None, type: ArtifactType | None) -> Iterator[Record]:
        """Yield the records of all versions, or of one name or type. Within a name, the newest comes first."""
        wanted = Query(name, type=type.value if type is not None else None)
        tasks = {task["id"]: task for task in self._pages(wanted, _WHOLE)}
        heads = {key: Head.of(task) for key, task in tasks.items()}
        owners = _owners(heads.values())
        for head in sorted(heads.values(), key=lambda head: head.rank, reverse=True):
            yield Record(head, tasks[head.id], owners.get(head.id, ()))

    def users(self, digest: str) -> Iterator[Record]:
        """Yield the records that may have a digest among their inputs, without their aliases."""
        for task in self._pages(Query(input=digest), _WHOLE):
            yield Record(Head.of(task), task, ())

    def by_digests(self, digests: Collection[str], type: ArtifactType) -> list[Record]:
        """Return the versions of a type that have one of these digests."""
        found = [self._whole(Query(type=type.value, digest=one, newer=False), page_size=1) for one in digests]
        return [Record(Head.of(task), task, ()) for tasks in found for task in tasks]

    def _by_alias(self, name: str, alias: str) -> Record | None:
        holders = self._heads(Query(name, alias=alias))
        owner = max(holders, key=lambda head: (head.moves.get(alias, -1), head.order), default=None)
        return None if owner is None else self._of(owner)

    def _newest(self, name: str) -> Record | None:
        near = self._whole(Query(name), page_size=_NEAR)
        return self._found(max(near, key=lambda task: Head.of(task).rank, default=None))

    def _by_digest(self, name: str, beginning: str) -> Record | None:
        fitting = sorted(self._whole(Query(name, digest=beginning)), key=lambda task: Head.of(task).rank, reverse=True)
        found = of_digest(name, beginning, ((Head.of(task).digest, task) for task in fitting))
        return self._found(found or _newer(fitting))

    def _first(self, wanted: Query) -> Record | None:
        found = self._whole(wanted)
        readable = (task for task in found if not Head.of(task).is_newer)
        return self._found(min(readable, key=lambda task: Head.of(task).rank, default=None) or _newer(found))

    def _of(self, head: Head) -> Record:
        """Return a record as it is now. Raises :class:`BackendError` if it is gone."""
        tasks = self._api.call("tasks", "get_all", id=[head.id], only_fields=_WHOLE)["tasks"]
        found = self._found(tasks[0] if tasks else None)
        if found is None:
            raise BackendError(f"ClearML does not have the record {head.id} of {head.name!r} any more.")
        return found

    def _found(self, task: Mapping[str, Any] | None) -> Record | None:
        if task is None:
            return None
        head = Head.of(task)
        head.check()
        return Record(head, task, self.aliases(head))

    def aliases(self, head: Head) -> tuple[str, ...]:
        """Return the aliases that a version has now. This is one request for each that was moved to it."""
        owned = []
        for alias, number in sorted(head.moves.items()):
            others = self._heads(Query(head.name, alias=alias, newer=False))
            mine = (number, head.order)
            if all((other.moves.get(alias, -1), other.order) <= mine for other in others):
                owned.append(alias)
        return tuple(owned)

    # -- asking

    def _heads(self, wanted: Query) -> list[Head]:
        """Return the heads of records. Raises NewerFormat where a later release wrote one of them."""
        heads = [Head.of(task) for task in self._pages(wanted, _HEAD)]
        for head in heads:
            head.check()
        return heads

    def _whole(self, wanted: Query, *, page_size: int = PAGE) -> list[Mapping[str, Any]]:
        asked = {"only_fields": _WHOLE, "page": 0, "page_size": page_size}
        found = self._ask(name=wanted.pattern, **asked)
        if self._has_old():
            found += self._ask(tags=wanted.old_tags, **asked)
        return [task for task in found if Head.of(task).state is wanted.state]

    def _pages(self, wanted: Query, fields: list[str]) -> Iterator[Mapping[str, Any]]:
        """Yield every record that a query asks for, page by page."""
        ways: list[dict[str, Any]] = [{"name": wanted.pattern}]
        if self._has_old():
            ways.append({"tags": wanted.old_tags})
        places = self._projects.indexes()
        for way in ways if places else ():
            found = self._api.pages("tasks", project=places, only_fields=fields, order_by=_NEWEST_FIRST, **way)
            yield from (task for task in found if Head.of(task).state is wanted.state)

    def _has_old(self) -> bool:
        """Ask once whether there are records of earlier releases, which have to be looked for by tags."""
        if self._old is None and self._projects.indexes():
            self._old = bool(self._ask(tags=[OLD_RECORD], only_fields=["id"], page=0, page_size=1))
        return bool(self._old)

    def _ask(self, **asked: Any) -> list[Mapping[str, Any]]:
        places = self._projects.indexes()
        if not places:
            return []
        found = self._api.call("tasks", "get_all", project=places, order_by=_NEWEST_FIRST, **asked)["tasks"]
        return list(found)

    def _write(self, head: Head, **fields: Any) -> None:
        """Write a record's head, and more fields. The tags of an earlier release are removed."""
        if head.old:
            fields["tags"] = []
        self._api.call("tasks", "edit", task=head.id, force=True, name=head.task_name, **fields)


def _newer(tasks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """A record of a later release, which may be the one that is looked for."""
    return next((task for task in tasks if Head.of(task).is_newer), None)


def _must_yield(mine: Head, others: Iterable[Head]) -> bool:
    """Say whether a claim has to leave its number to others that have the same one.

    It keeps the number that it asked for if all others asked later and have stored nothing, for they see it, too.
    """
    rivals = [head for head in others if head.number == mine.number]
    keeps = mine.number == mine.claimed and all(
        head.is_open and head.number == head.claimed and mine.order < head.order for head in rivals
    )
    return bool(rivals) and not keeps


def _next_number(mine: Head, known: Iterable[Head]) -> int:
    """Return a number above all that anybody has or asks for. Writers that look for one at the same time get different ones."""
    others = [head for head in known if head.id != mine.id]
    if mine.number < 0 and all(mine.claimed not in {head.claimed, head.number} for head in others):
        return mine.claimed
    before = sum(head.is_open and head.number == mine.number and head.order < mine.order for head in others)
    asking = any(head.is_open and head.number == mine.number == head.claimed for head in others)
    return max(max(head.claimed, head.number) for head in known) + max(1, before + (0 if asking else 1))


def _owners(heads: Iterable[Head]) -> dict[str, tuple[str, ...]]:
    """Return the aliases that each record has now, by its id."""
    best: dict[tuple[str, str], tuple[tuple[int, Any], str]] = {}
    for head in heads:
        for alias, number in head.moves.items():
            mine = ((number, head.order), head.id)
            best[head.name, alias] = max(mine, best.get((head.name, alias), mine))
    found: dict[str, tuple[str, ...]] = {}
    for (_, alias), (_, key) in sorted(best.items()):
        found[key] = (*found.get(key, ()), alias)
    return found
