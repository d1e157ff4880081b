"""Retention: which versions are deleted by rules, and which stay whatever the rules say."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.pruned import PrunedVersion, PruneResults
from tracelet.core.management.changes import names_of, waiting_manifests
from tracelet.core.management.deleting import delete_stored
from tracelet.core.management.filters import number_at
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.finder import Finder
from tracelet.exceptions import ConfigError

__all__ = ["Rules", "prune", "rules_of"]

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_RULE = re.compile(r"(.+):(min|max):([0-9]{1,6})", re.DOTALL)
#: Where a version is: its backend, its name and its number there.
_Place = tuple[str, str, int]


@attrs.frozen
class _Best:
    """The rule that keeps the versions with the least, or the largest, numbers at a key of the metadata."""

    key: str
    least: bool
    count: int

    def __str__(self) -> str:
        return f"{_one_of(self.count, 'best')} by {self.key} ({'min' if self.least else 'max'})"


@attrs.frozen
class Rules:
    """What keeps a version. One goes that no rule keeps."""

    last: int | None
    best: _Best | None
    #: Seconds, and how the caller said it.
    older_than: float | None
    age: str

    @property
    def why_not(self) -> str:
        """Say why a version goes."""
        parts = [f"not {_one_of(self.last, 'newest')}"] if self.last else []
        parts += [] if self.best is None else [f"not {self.best}"]
        parts += [] if self.older_than is None else [f"older than {self.age}"]
        return ", ".join(parts) or "no rule keeps it"


def _one_of(count: int, which: str) -> str:
    return f"the {which}" if count == 1 else f"one of the {count} {which}"


def rules_of(keep_last: object = None, keep_best: object = None, older_than: object = None) -> Rules:
    """Return the rules that a caller gives.

    Raises:
        ConfigError: None is given, or one cannot be read; the message says what is expected.
    """
    if keep_last is None and keep_best is None and older_than is None:
        raise ConfigError(
            "no rule is given: say keep_last=10, keep_best='metrics.val_loss:min:3', or older_than='30d'."
        )
    if keep_last is not None and (type(keep_last) is not int or keep_last < 0):
        raise ConfigError(f"keep_last={keep_last!r} is no number of versions: give a whole number.")
    return Rules(
        keep_last,
        None if keep_best is None else _best(keep_best),
        *(None, "") if older_than is None else _age(older_than),
    )


def _best(rule: object) -> _Best:
    parts = rule if isinstance(rule, str) else ""
    if isinstance(rule, (tuple, list)) and len(rule) == 3:
        parts = ":".join(map(str, rule))
    found = _RULE.fullmatch(parts)
    if found is None or not int(found[3]):
        raise ConfigError(
            f"keep_best={rule!r} cannot be read: give a key of the metadata, min or max, and how many, such as "
            "'metrics.val_loss:min:3'."
        )
    return _Best(found[1], found[2] == "min", int(found[3]))


def _age(age: object) -> tuple[float, str]:
    seconds = age.total_seconds() if isinstance(age, timedelta) else age
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= sys.float_info.max:
        return seconds, f"{seconds:g} s"
    found = _AGE.fullmatch(age) if isinstance(age, str) else None
    if found is None:
        raise ConfigError(f"older_than={age!r} is no age: give seconds, or text such as '12h', '30d' or '8w'.")
    return int(found[1]) * _SECONDS[found[2]], found[0]


def prune(
    finder: Finder,
    rules: Rules,
    name: str | None = None,
    backend: str | None = None,
    *,
    dry_run: bool = False,
    shown: Collection[_Place] | None = None,
) -> PruneResults:
    """Delete what no rule keeps, and nothing that others rely on. Of what is not among those ``shown`` nothing goes.

    A version that one backend keeps stays in the others, too. With ``dry_run`` nothing is deleted.
    """
    if not isinstance(dry_run, bool):
        raise ConfigError(f"dry_run={dry_run!r}: give True or False.")
    if name is not None:
        check_name(name)
    asked = {one: {"name": None, "type": None} for one in finder.asked(backend)}
    found, failed = finder.ask("list", asked)
    versions = {(one, hit.manifest.name, hit.number): hit for one, hits in found.items() for hit in hits}
    looked_at = [place for place in versions if name in {None, place[1]}]
    kept = _Kept(versions, looked_at)
    kept.by_names()
    kept.by_rules(rules)
    if shown is not None:
        kept.add({place: "was not among what was shown" for place in looked_at if place not in shown})
    kept.by_use(waiting_manifests(finder))
    going = sorted(
        (place for place in looked_at if place not in kept.why),
        key=lambda place: versions[place].manifest.created_at,
        reverse=True,
    )
    left: dict[_Place, str] = {}
    freed = 0
    if not dry_run:
        by_backend = {one: [versions[place] for place in going if place[0] == one] for one in found}
        for one, deleted in delete_stored(finder, by_backend).items():
            freed += sum(filter(None, deleted.freed.values()))
            for (name_of, number), error in deleted.errors.items():
                failed.setdefault(one, error)
                left[one, name_of, number] = f"was not deleted: {error}"
    stays = kept.why | left
    return PruneResults(
        tuple(_row(place, versions[place], rules.why_not) for place in going if place not in left),
        tuple(_row(place, versions[place], stays[place]) for place in looked_at if place in stays),
        failed,
        dry_run,
        freed,
    )


def _row(place: _Place, stored: StoredArtifact, why: str) -> PrunedVersion:
    manifest = stored.manifest
    return PrunedVersion(
        place[0],
        manifest.name,
        stored.version,
        stored.number,
        manifest.digest,
        manifest.size_bytes,
        manifest.created_at,
        why,
    )


class _Kept:
    """Which versions stay, and why. What one call has logged into several backends stays in all of them or in none."""

    def __init__(self, versions: Mapping[_Place, StoredArtifact], looked_at: Sequence[_Place]) -> None:
        self._versions = versions
        self._looked_at = looked_at
        self._twins: dict[str, list[_Place]] = {}
        for place in looked_at:
            self._twins.setdefault(versions[place].manifest.put_id, []).append(place)
        #: By where the version is.
        self.why: dict[_Place, str] = {}
        #: Those that another backend alone had a reason for so far.
        self._by_twin: set[_Place] = set()

    def add(self, why: Mapping[_Place, str]) -> list[_Place]:
        """Keep versions, each for a reason, with their twins in other backends; return those that were not kept before."""
        new = []
        for place, reason in why.items():
            for twin in self._twins[self._versions[place].manifest.put_id]:
                if twin not in self.why:
                    new.append(twin)
                if twin == place and (twin not in self.why or twin in self._by_twin):
                    self.why[twin] = reason
                    self._by_twin.discard(twin)
                elif twin not in self.why:
                    self.why[twin] = f"{reason} in {place[0]}"
                    self._by_twin.add(twin)
        return new

    def by_names(self) -> None:
        """Keep what has a label or an alias, and what waits to be sent."""
        for place in self._looked_at:
            stored = self._versions[place]
            reasons = [f"has {name}" for name in names_of(stored)] + ["waits to be sent"] * stored.pending
            if reasons:
                self.add({place: ", ".join(reasons)})

    def by_rules(self, rules: Rules) -> None:
        """Keep what the rules keep, of each name in each backend."""
        now = time.time()
        series: dict[tuple[str, str], list[_Place]] = {}
        for place in sorted(self._looked_at, key=lambda place: place[2], reverse=True):
            series.setdefault(place[:2], []).append(place)
        for places in series.values():
            newest = places[: 1 if rules.last is None else rules.last]
            self.add(dict.fromkeys(newest, _one_of(len(newest), "newest")))
            best = self._best_of(places, rules.best)
            self.add(dict.fromkeys(best, str(rules.best)))
            if rules.best is not None and not best and rules.last is None and rules.older_than is None:
                self.add(dict.fromkeys(places, f"no version of it has a number at {rules.best.key}"))
            if rules.older_than is not None:
                young = [one for one in places if self._versions[one].manifest.created_at >= now - rules.older_than]
                self.add(dict.fromkeys(young, f"not older than {rules.age}"))

    def _best_of(self, places: Iterable[_Place], best: _Best | None) -> list[_Place]:
        """Return the best versions. Of equally good ones the newer is better; one without the key is none of them."""
        if best is None:
            return []
        measured = [(number_at(self._versions[place].manifest.metadata, best.key), place) for place in places]
        ranked = [(number, place) for number, place in measured if number is not None]
        ranked.sort(key=lambda one: one[0] if best.least else -one[0])
        return [place for _, place in ranked[: best.count]]

    def by_use(self, waiting: Iterable[Manifest]) -> None:
        """Keep what a version that stays was made from, or what waits in the outbox."""
        by_digest: dict[str, list[_Place]] = {}
        for place in self._looked_at:
            by_digest.setdefault(self._versions[place].manifest.digest, []).append(place)
        going = set(self._looked_at) - set(self.why)
        users = [self._user(place) for place in self._versions if place not in going]
        users += [(f"{manifest.name!r}, which waits in the outbox", manifest.inputs) for manifest in waiting]
        while users:
            user, inputs = users.pop()
            used = {place: f"is an input of {user}" for digest in inputs for place in by_digest.get(digest, ())}
            users += map(self._user, self.add(used))

    def _user(self, place: _Place) -> tuple[str, Sequence[str]]:
        stored = self._versions[place]
        return f"{place[1]!r} {stored.version}", stored.manifest.inputs
