"""Which versions there are: records in ClearML itself, found by their tags.

ClearML has no compare-and-swap. So a claim is made first and looked at after: everybody sees the same claims, in the
same order, and whoever comes later in it takes the next number, or is told that the label is taken.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs

from tracelet.exceptions import AmbiguousVersion, BackendError, BackendUnavailable, VersionConflict
from tracelet.plugin import ArtifactType, Labels, Manifest, parse_ref
from tracelet_clearml.api import Api
from tracelet_clearml.names import entity_name
from tracelet_clearml.projects import Projects
from tracelet_clearml.records import (
    GONE,
    RECORD,
    STORED,
    Body,
    Head,
    alias_tag,
    claim_tags,
    configuration,
    digest_tags,
    label_tag,
    name_tag,
    prefix_tag,
    put_tag,
    spent_tag,
    type_tag,
    version_tag,
)

__all__ = ["Catalogue", "Claim", "Found"]

_HEAD = ["id", "created", "tags"]
_WHOLE = [*_HEAD, "configuration"]
#: A record's name ends in the number that it asks for, so that the order of names is the order of versions.
_NEWEST_FIRST = ["-name"]
#: The newest version is looked for among so many: writers at once may have got other numbers than they asked for.
_NEAR = 5
#: So many claims can bear on the next one.
_RECENT = 50
#: Seconds to wait for an earlier claim of the same label, and between looks.
_PATIENCE, _LOOK = 5.0, 0.1
#: From so many records on that an alias was once moved to, it is taken off those where it is no more.
_STALE = 20


@attrs.frozen
class Claim:
    """A number that a put asks for, before it has stored anything."""

    head: Head
    #: Whether nobody else asks for the same number: names made of it are then nobody else's.
    alone: bool


@attrs.frozen
class Found:
    """A record, and the aliases that are on it now."""

    head: Head
    task: Mapping[str, Any]
    aliases: tuple[str, ...]


class Catalogue:
    """The records of one experiment."""

    def __init__(self, api: Api, projects: Projects) -> None:
        self._api = api
        self._projects = projects

    # -- claiming

    def claim(self, manifest: Manifest, labels: Labels) -> Claim | Found:
        """Claim a number, and the label; or return the version of the same content that has the label.

        Raises :class:`VersionConflict` where the label belongs to other content.
        """
        known = self._claims(manifest.name)
        taken = self._taken(manifest, labels.version)
        if taken is not None:
            return self._of(taken)
        mine = next((head for head in known if head.put_id == manifest.put_id and head.is_open), None)
        if mine is None:
            number = 1 + max((max(head.claimed, head.number) for head in known), default=-1)
            made = self._api.call(
                "tasks",
                "create",
                name=f"{entity_name(manifest.name)} {number:010d}",
                type="custom",
                project=self._projects.index(),
                comment="Where Tracelet finds a version of an artifact. Leave it as it is.",
                tags=list(claim_tags(manifest, labels, number)),
                # Hidden itself: a list of all tasks asks nothing of their projects.
                system_tags=["hidden"],
            )
            known = self._claims(manifest.name)
            mine = next((head for head in known if head.id == made["id"]), None)
        if mine is None:
            raise BackendUnavailable(f"ClearML does not show the claim of {manifest.name!r} that it took.")
        rivals = [head for head in known if head.claimed == mine.claimed and head.id != mine.id]
        return Claim(mine, alone=not rivals)

    def commit(self, claim: Claim, manifest: Manifest, labels: Labels, body: Body) -> Found:
        """Make the version exist; or return the one of the same content that took the label meanwhile.

        Raises :class:`VersionConflict` where other content took it.
        """
        known, taken = self._settled(claim, manifest, labels.version)
        if taken is not None:
            self.abandon(claim)
            return self._of(taken)
        number = _numbers(known)[claim.head.id]
        moves = {alias: 1 + self._last_move(manifest.name, alias) for alias in labels.aliases}
        tags = (*claim.head.with_moves(moves), STORED, version_tag(number))
        self._edit(claim.head.id, tags=list(tags), configuration=configuration(body))
        found = self._of(claim.head)
        if not found.head.is_stored or found.head.number != number:
            raise BackendUnavailable(f"ClearML says that it has {manifest.name!r}, and does not show it.")
        return found

    def abandon(self, claim: Claim) -> None:
        """Give a claim up; its number stays a gap."""
        self._edit(claim.head.id, tags=[*claim.head.tags, GONE])

    def _settled(self, claim: Claim, manifest: Manifest, label: str | None) -> tuple[list[Head], Head | None]:
        """Look at the claims again, and at who has the label; an earlier claim of it is waited for, for a while."""
        until = time.monotonic() + _PATIENCE
        while True:
            known = self._claims(manifest.name)
            if all(head.id != claim.head.id for head in known):
                known.append(claim.head)
            if label is None:
                return known, None
            taken = self._taken(manifest, label)
            rivals = [head for head in known if head.is_open and head.label == label]
            if taken is not None or min(rivals, key=lambda head: head.order, default=claim.head).id == claim.head.id:
                return known, taken
            if time.monotonic() > until:
                return known, None  # its writer died, or will be told that the label is taken
            time.sleep(_LOOK)

    def _taken(self, manifest: Manifest, label: str | None) -> Head | None:
        """The version of the same content that has the label already, or None; raises where it is of other content."""
        owners = self._heads(manifest.name, label_tag(label)) if label is not None else []
        for head in owners:
            if head.digest != manifest.digest:
                raise VersionConflict(
                    f"{manifest.name!r} {label!r} is v{head.number}, which has other content: a label belongs to one "
                    "content. Choose a new label."
                )
        if (
            not owners
            and label is not None
            and any(digest != manifest.digest for digest in self._spent(manifest.name, label))
        ):
            raise VersionConflict(
                f"{manifest.name!r} {label!r} was other content, which is deleted: a label belongs to one content. Choose a new label."
            )
        return owners[0] if owners else None

    def _spent(self, name: str, label: str) -> list[str]:
        """The digests of deleted versions that had a label."""
        asked = {"tags": ["__$all", RECORD, GONE, name_tag(name), spent_tag(label)], "only_fields": _HEAD}
        places = self._projects.indexes()
        found = (
            self._api.call("tasks", "get_all", project=places, page=0, page_size=_RECENT, **asked)["tasks"]
            if places
            else []
        )
        return [Head.of(one).digest for one in found]

    def _claims(self, name: str) -> list[Head]:
        """The newest claims of a name, whatever became of them: all that can bear on the next one."""
        places = self._projects.indexes()
        if not places:
            return []
        asked = {"tags": ["__$all", RECORD, name_tag(name)], "only_fields": _HEAD, "order_by": _NEWEST_FIRST}
        found = self._api.call("tasks", "get_all", project=places, page=0, page_size=_RECENT, **asked)["tasks"]
        return sorted(map(Head.of, found), key=lambda head: head.order)

    # -- naming

    def relabel(self, head: Head, labels: Labels) -> Found:
        """Move aliases to a version, and give it a label."""
        if labels.version and labels.version != head.label:
            taken = [other for other in self._heads(head.name, label_tag(labels.version)) if other.id != head.id]
            if taken:
                raise VersionConflict(f"{head.name!r} {labels.version!r} is v{taken[0].number}: choose a new label.")
        moves = {alias: 1 + self._last_move(head.name, alias) for alias in labels.aliases}
        for _ in range(3):
            wanted = self._of(head).head.with_moves(moves, labels.version)
            self._edit(head.id, tags=list(wanted))
            # Another process may have written the tags at the same time: ClearML keeps the last.
            after = self._of(head)
            if set(wanted) <= set(after.head.tags):
                return after
        raise BackendUnavailable(f"ClearML does not keep the names of v{head.number} of {head.name!r}.")

    def forget(self, head: Head) -> None:
        """Take a version out; its number stays taken, and its label its content's."""
        kept = [RECORD, name_tag(head.name), f"tracelet.claimed:{max(head.claimed, head.number)}", GONE]
        if head.label is not None:
            kept += [spent_tag(head.label), *digest_tags(head.digest)]
        self._edit(head.id, tags=kept, configuration={})

    def _last_move(self, name: str, alias: str) -> int:
        """The number of an alias's last move, or -1; where it was on many versions, it is taken off the old ones."""
        holders = sorted(self._heads(name, alias_tag(alias)), key=lambda head: (head.moves.get(alias, -1), head.order))
        if len(holders) > _STALE:
            for stale in holders[:-1]:
                self._edit(stale.id, tags=list(stale.without_moves([alias])))
        return holders[-1].moves.get(alias, -1) if holders else -1

    # -- finding

    def find(self, name: str, ref: str) -> Found | None:
        """Return the record that ``ref`` means, or None; one request, and one more for each of its aliases."""
        wanted = parse_ref(ref)
        if wanted.label is not None:
            return self._first(name, label_tag(wanted.label)) or self._by_alias(name, wanted.label)
        if wanted.number is not None:
            return self._first(name, version_tag(wanted.number))
        if wanted.put_id is not None:
            return self._first(name, put_tag(wanted.put_id))
        if wanted.digest is not None:
            return self._by_digest(name, wanted.digest)
        near = self._whole(["__$all", STORED, name_tag(name)], order_by=_NEWEST_FIRST, page_size=_NEAR)
        return self._found(max(near, key=lambda task: _rank(Head.of(task)), default=None))

    def every(self, name: str | None, type: ArtifactType | None) -> Iterator[Found]:
        """Yield every record of a version, or those of a name or type, newest first within a name."""
        tags = ["__$all", STORED]
        tags += [name_tag(name)] if name is not None else []
        tags += [type_tag(type.value)] if type is not None else []
        places = self._projects.indexes()
        if not places:
            return
        tasks = list(self._api.pages("tasks", project=places, tags=tags, only_fields=_WHOLE, order_by=_NEWEST_FIRST))
        heads = {task["id"]: Head.of(task) for task in tasks}
        owners = _owners(heads.values())
        for task in sorted(tasks, key=lambda task: _rank(heads[task["id"]]), reverse=True):
            head = heads[task["id"]]
            if head.is_stored:
                yield Found(head, task, owners.get(head.id, ()))

    def by_digests(self, digests: Collection[str], type: ArtifactType) -> list[Found]:
        """Return the versions of a type that have one of these digests."""
        found = [self._whole(["__$all", STORED, type_tag(type.value), prefix_tag(one)], page_size=1) for one in digests]
        return [Found(Head.of(task), task, ()) for tasks in found for task in tasks]

    def _by_alias(self, name: str, alias: str) -> Found | None:
        holders = self._heads(name, alias_tag(alias))
        owner = max(holders, key=lambda head: (head.moves.get(alias, -1), head.order), default=None)
        return None if owner is None else self._of(owner)

    def _by_digest(self, name: str, prefix: str) -> Found | None:
        tasks = self._whole(["__$all", STORED, name_tag(name), prefix_tag(prefix)])
        fitting = [task for task in tasks if Head.of(task).digest.startswith(prefix)]
        digests = {Head.of(task).digest for task in fitting}
        if len(digests) > 1:
            raise AmbiguousVersion(
                f"sha256:{prefix} is the beginning of {len(digests)} digests of {name!r}: give more."
            )
        return self._found(max(fitting, key=lambda task: _rank(Head.of(task)), default=None))

    def _first(self, name: str, tag: str) -> Found | None:
        tasks = self._whole(["__$all", STORED, name_tag(name), tag])
        return self._found(min(tasks, key=lambda task: _rank(Head.of(task)), default=None))

    def _of(self, head: Head) -> Found:
        """Return a record as it is now. Raises :class:`BackendError` where it is gone."""
        tasks = self._api.call("tasks", "get_all", id=[head.id], only_fields=_WHOLE)["tasks"]
        found = self._found(tasks[0] if tasks else None)
        if found is None:
            raise BackendError(f"ClearML does not have the record {head.id} of {head.name!r} any more.")
        return found

    def _found(self, task: Mapping[str, Any] | None) -> Found | None:
        if task is None:
            return None
        head = Head.of(task)
        owned = []
        for alias, number in sorted(head.moves.items()):
            others = self._heads(head.name, alias_tag(alias))
            mine = (number, head.order)
            if all((other.moves.get(alias, -1), other.order) <= mine for other in others):
                owned.append(alias)
        return Found(head, task, tuple(owned))

    def _heads(self, name: str, tag: str) -> list[Head]:
        places = self._projects.indexes()
        if not places:
            return []
        tags = ["__$all", STORED, name_tag(name), tag]
        asked = self._api.pages("tasks", project=places, tags=tags, only_fields=_HEAD, order_by=_NEWEST_FIRST)
        return [head for head in map(Head.of, asked) if head.is_stored]

    def _whole(self, tags: Collection[str], *, page_size: int = 500, **more: Any) -> list[Mapping[str, Any]]:
        places = self._projects.indexes()
        if not places:
            return []
        asked = {"project": places, "tags": list(tags), "only_fields": _WHOLE, "page": 0, "page_size": page_size}
        found = self._api.call("tasks", "get_all", **asked, **({"order_by": _NEWEST_FIRST} | more))["tasks"]
        return [task for task in found if Head.of(task).is_stored]

    def _edit(self, key: str, **fields: Any) -> None:
        self._api.call("tasks", "edit", task=key, force=True, **fields)


def _rank(head: Head) -> tuple[int, tuple[int, str, str]]:
    return head.number, head.order


def _numbers(claims: Iterable[Head]) -> dict[str, int]:
    """The number of each claim: the one that it asks for, or the next above those before it."""
    known = sorted(claims, key=lambda head: head.order)
    taken = {head.number for head in known}
    found: dict[str, int] = {}
    last = -1
    for head in known:
        last = head.number if head.number >= 0 else max(head.claimed, last + 1)
        while head.number < 0 and last in taken:
            last += 1
        found[head.id] = last
    return found


def _owners(heads: Iterable[Head]) -> dict[str, tuple[str, ...]]:
    """By record: the aliases that are on it now."""
    best: dict[tuple[str, str], tuple[tuple[int, Any], str]] = {}
    for head in heads:
        for alias, number in head.moves.items():
            mine = ((number, head.order), head.id)
            best[head.name, alias] = max(mine, best.get((head.name, alias), mine))
    found: dict[str, tuple[str, ...]] = {}
    for (_, alias), (_, key) in sorted(best.items()):
        found[key] = (*found.get(key, ()), alias)
    return found
