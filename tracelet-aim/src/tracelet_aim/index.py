"""The catalogue of one experiment: which versions there are, as values in one tree.

    schema                   the schema of all this; without it, 1
    experiment               its name, which the database's may shorten
    next/<name>              the number that the next put gets; claimed by adding 1
    puts/<put-id>            name and number of that put's version
    digests/<name>/<digest>  the newest version of that content
    labels/<name>/<label>    the version that has it; if that was deleted, also the digest that it belongs to for ever
    labelled/<name>/<n>      the label of version n
    versions/<name>/<n>      the record of version n, as JSON; without it, version n does not exist
    types/<type>/<name>      the names of a type
    aliases/<name>/<alias>   the versions that the alias was moved to, newest first; it points at the first that exists
    inputs/<digest>/<name>/<n>  version n has that digest among its inputs
    noted                    the inputs of all versions are noted; earlier releases noted none

Every function that writes needs a tree that is open for its caller alone. A record is written after all that points at
it. So an interrupted put leaves only pointers to a version that does not exist, and they are ignored.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import attrs

from tracelet.exceptions import IntegrityError, UnsafePath
from tracelet.plugin import (
    ArtifactType,
    Damage,
    Labels,
    Manifest,
    check_name,
    check_path,
    check_schema,
    label_conflict,
    look_up,
    of_digest,
    or_damage,
    parse_ref,
    physical_name,
    sound,
)
from tracelet_aim.trees import Tree

__all__ = [
    "SCHEMA",
    "Entry",
    "Record",
    "begin",
    "check",
    "claim",
    "commit",
    "entries",
    "entry",
    "experiment",
    "find",
    "forget",
    "is_newest",
    "is_noted",
    "listed",
    "note_earlier",
    "owners",
    "relabel",
    "settle",
    "unname",
    "users",
]

#: One number for the catalogue, its records, and the notes on runs: they grow together.
SCHEMA = 1


@attrs.frozen
class Record:
    """One version: its manifest, the Aim run it was logged in, and where its bytes are."""

    manifest: Manifest
    run: str
    #: Path of the version's own folder, below ``base``.
    folder: str
    #: The artifact store's URI. None: the folder inside the repo, wherever that is mounted.
    base: str | None = None

    def to_text(self) -> str:
        """Return the record as JSON."""
        where = {"run": self.run, "folder": self.folder, "base": self.base}
        plain = {"schema": SCHEMA, **where, "manifest": self.manifest.to_json()}
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Read what :meth:`to_text` gave.

        Raises :class:`~tracelet.NewerFormat` for the record of a later release that this one must not guess at, and
        :class:`~tracelet.IntegrityError` for anything else.
        """
        try:
            plain = json.loads(text)
            check_schema(plain, SCHEMA, "the record of a version in Aim's repo")
            manifest, base = Manifest.from_json(plain["manifest"]), plain["base"]
            run, folder = check_name(plain["run"], "run"), check_path(plain["folder"])
            return cls(manifest, run, folder, None if base is None else str(base))
        except UnsafePath:
            raise
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"a record in Aim's repo cannot be read ({error}): it was changed.") from error


@attrs.frozen
class Entry:
    """A version as it is listed."""

    record: Record
    number: int
    label: str | None
    aliases: tuple[str, ...]


def check(tree: Tree) -> None:
    """Raise :class:`~tracelet.NewerFormat` where a later release keeps the catalogue in another way."""
    _check(tree.get("schema"))


def begin(tree: Tree, experiment: str) -> None:
    """Write the schema of the catalogue and the experiment's name, where it has none; raises as :func:`check` does."""
    found = tree.get("schema")
    _check(found)
    if tree.get("experiment") is None:
        if not tree.keys("next"):  # no release has made a version yet
            tree.set(("noted",), True)
        tree.set(("experiment",), experiment)
    if found is None:
        tree.set(("schema",), SCHEMA)


def experiment(tree: Tree, database: str) -> str | None:
    """Return the name of the experiment whose catalogue is in a database; None where it has no version.

    A name that is shortened in the database's is known from the catalogue. Where an earlier release wrote that, the database's
    is returned.
    """
    if not tree.keys("versions"):
        return None
    name = unquote(database)
    said = name if physical_name(name) == database else tree.get("experiment")
    return said if isinstance(said, str) else database


def _check(schema: Any) -> None:
    # Each record has a schema of its own. If this one is lost or damaged, the records can still be read.
    if schema is not None:
        with contextlib.suppress(ValueError):
            check_schema({"schema": schema}, SCHEMA, "the catalogue of this experiment in Aim's repo")


def claim(tree: Tree, manifest: Manifest) -> int:
    """Return a version number that no other put gets, whatever becomes of this one."""
    number = _count(tree, manifest.name)
    tree.set(("next", manifest.name), number + 1)
    return number


def is_newest(tree: Tree, name: str, number: int) -> bool:
    """Tell whether a version exists, and no later put of that name has begun."""
    return _count(tree, name) == number + 1 and tree.get("versions", name, number) is not None


def settle(tree: Tree, manifest: Manifest, label: str | None) -> Entry | None:
    """Return the version of the same content that has the label, or None where it is free.

    Raises :class:`~tracelet.exceptions.VersionConflict` where other content has it.
    """
    if label is None:
        return None
    owner = _labelled(tree, manifest.name, label)
    found = None if owner is None else entry(tree, manifest.name, owner)
    digest = _digest_of_deleted(tree, manifest.name, label) if found is None else found.record.manifest.digest
    if digest not in {None, manifest.digest}:
        raise label_conflict(manifest.name, label, None if found is None else owner)
    return found


def commit(tree: Tree, record: Record, number: int, labels: Labels) -> Entry:
    """Make a version exist. If a version of the same content has the label, return that one instead."""
    manifest, name = record.manifest, record.manifest.name
    taken = settle(tree, manifest, labels.version)
    if taken is not None:
        return taken
    tree.set(("puts", manifest.put_id), [name, number])
    tree.set(("digests", name, manifest.digest), number)
    tree.set(("types", manifest.type.value, name), True)
    _note_inputs(tree, manifest, number)
    _name(tree, name, number, Labels(labels.version))
    for alias in labels.aliases:
        # It points at the version from the moment in which that exists. Readers take no lock.
        tree.set(("aliases", name, alias), [number, *_moves(tree, name, alias)])
    tree.set(("versions", name, number), record.to_text())
    return Entry(record, number, labels.version, tuple(sorted(set(labels.aliases))))


def owners(tree: Tree, name: str, aliases: Iterable[str]) -> list[Entry]:
    """Return the versions that the aliases are on now, as far as they can be read."""
    numbers = {_holder(tree, name, alias) for alias in aliases}
    read = or_damage(partial(entry, tree, name), str)
    found = [read(number) for number in sorted(one for one in numbers if one is not None)]
    return [one for one in found if isinstance(one, Entry)]


def relabel(tree: Tree, manifest: Manifest, number: int, labels: Labels) -> Entry | None:
    """Give a version a label, and move aliases to it. Return it as it is then, or None where it was deleted."""
    if entry(tree, manifest.name, number) is None:
        return None
    taken = settle(tree, manifest, labels.version)
    _name(tree, manifest.name, number, labels if taken is None else Labels(None, labels.aliases))
    return entry(tree, manifest.name, number)


def unname(tree: Tree, name: str, number: int, aliases: Iterable[str]) -> Entry | None:
    """Take aliases away from a version. Return it as it is then, or None where it was deleted."""
    for alias in aliases:
        if _holder(tree, name, alias) == number:
            tree.drop("aliases", name, alias)
    return entry(tree, name, number)


def is_noted(tree: Tree) -> bool:
    """Tell whether :func:`users` finds every version. Otherwise :func:`note_earlier` is due."""
    return tree.get("noted") is not None


def users(tree: Tree, digest: str) -> Iterator[Entry | Damage]:
    """Yield the versions that are made from a digest, and in place of one that cannot be read, its error."""
    for name in map(str, tree.keys("inputs", digest)):
        read = or_damage(partial(entry, tree, name), partial("{0!r} v{1}".format, name))
        for found in map(read, map(int, tree.keys("inputs", digest, name))):
            if found is not None:
                yield found


def note_earlier(tree: Tree) -> None:
    """Note the inputs of the versions of earlier releases, once all of them can be read."""
    found = [*listed(tree, None, None)]
    whole = [one for one in found if isinstance(one, Entry)]
    if len(whole) == len(found):
        for one in whole:
            _note_inputs(tree, one.record.manifest, one.number)
        tree.set(("noted",), True)


def _note_inputs(tree: Tree, manifest: Manifest, number: int) -> None:
    for digest in manifest.inputs:
        tree.set(("inputs", digest, manifest.name, number), True)


def forget(tree: Tree, name: str, number: int) -> list[str]:
    """Delete a version; return the aliases that it had. Its label still belongs to its content."""
    had = entry(tree, name, number)
    if had is None:
        return []
    tree.drop("versions", name, number)
    for digest in had.record.manifest.inputs:
        tree.drop("inputs", digest, name, number)
    if had.label is not None:
        tree.set(("labels", name, had.label), [number, had.record.manifest.digest])
        tree.drop("labelled", name, number)
    for alias in had.aliases:
        tree.drop("aliases", name, alias)
    return list(had.aliases)


def find(tree: Tree, name: str, ref: str) -> Entry | None:
    """Return the version that ``ref`` means. Raises as :func:`~tracelet.plugin.parse_ref` does."""
    return look_up(
        parse_ref(ref),
        latest=partial(_newest, tree, name),
        number=partial(entry, tree, name),
        label=partial(_named, tree, name),
        digest=partial(_of_digest, tree, name),
        put_id=partial(_of_put, tree, name),
    )


def entry(tree: Tree, name: str, number: int) -> Entry | None:
    """Return a version, or None."""
    text = tree.get("versions", name, number)
    if text is None:
        return None
    record = _read(text, name)
    aliases = sorted(alias for alias, owner in _holders(tree, name).items() if owner == number)
    return Entry(record, number, tree.get("labelled", name, number), tuple(aliases))


def entries(tree: Tree, name: str | None, type: ArtifactType | None) -> Iterator[Entry]:
    """Yield every version, or those of a name or type, the newest of each name first.

    If versions cannot be read, the first error is raised after all others are yielded.
    """
    return sound(listed(tree, name, type))


def listed(tree: Tree, name: str | None, type: ArtifactType | None) -> Iterator[Entry | Damage]:
    """Yield what :func:`entries` does, and in place of a version that cannot be read, its error."""
    names = [str(key) for key in (tree.keys("versions") if type is None else tree.keys("types", type.value))]
    for owner in names if name is None else [one for one in names if one == name]:
        labels = dict(tree.items("labelled", owner))
        aliases: dict[int, list[str]] = {}
        for alias, holder in _holders(tree, owner).items():
            aliases.setdefault(holder, []).append(alias)
        for number, text in sorted(tree.items("versions", owner), reverse=True):
            own = int(number)
            record = or_damage(partial(_read, name=owner), partial("{0!r} v{1}".format, owner, own))(text)
            yield (
                Entry(record, own, labels.get(number), tuple(sorted(aliases.get(own, ()))))
                if isinstance(record, Record)
                else record
            )


def _read(text: str, name: str) -> Record:
    record = Record.from_text(text)
    if record.manifest.name != name:
        raise IntegrityError(f"a record of {name!r} in Aim's repo is another artifact's: it was changed.")
    return record


def _count(tree: Tree, name: str) -> int:
    found = tree.get("next", name)
    return 0 if found is None else int(found)


def _labelled(tree: Tree, name: str, label: str) -> int | None:
    found = tree.get("labels", name, label)
    return None if found is None else int(found[0] if isinstance(found, list) else found)


def _digest_of_deleted(tree: Tree, name: str, label: str) -> str | None:
    found = tree.get("labels", name, label)
    return str(found[1]) if isinstance(found, list) else None


def _holder(tree: Tree, name: str, alias: str) -> int | None:
    """Return the version that an alias points at: the first that exists of those that it was moved to."""
    return _first(tree, name, tree.get("aliases", name, alias))


def _holders(tree: Tree, name: str) -> dict[str, int]:
    found = {str(alias): _first(tree, name, moves) for alias, moves in _below(tree, name)}
    return {alias: number for alias, number in found.items() if number is not None}


def _below(tree: Tree, name: str) -> list[tuple[str, Any]]:
    return [(str(alias), tree.get("aliases", name, alias)) for alias in tree.keys("aliases", name)]


def _first(tree: Tree, name: str, moves: Any) -> int | None:
    return next((one for one in _numbers(moves) if tree.get("versions", name, one) is not None), None)


def _moves(tree: Tree, name: str, alias: str) -> list[int]:
    """Return the versions that an alias was moved to, newest first, down to the first that exists."""
    numbers = _numbers(tree.get("aliases", name, alias))
    holder = _holder(tree, name, alias)
    return numbers if holder is None else numbers[: numbers.index(holder) + 1]


def _numbers(moves: Any) -> list[int]:
    if moves is None:
        return []
    return [int(one) for one in (moves if isinstance(moves, list) else [moves])]


def _name(tree: Tree, name: str, number: int, labels: Labels) -> None:
    if labels.version is not None:
        tree.set(("labels", name, labels.version), number)
        tree.set(("labelled", name, number), labels.version)
    for alias in labels.aliases:
        tree.set(("aliases", name, alias), number)


def _newest(tree: Tree, name: str) -> Entry | None:
    # Higher numbers are those of puts that are under way or failed, or of deleted versions. Mostly there are none.
    for number in range(_count(tree, name) - 1, -1, -1):
        found = entry(tree, name, number)
        if found is not None:
            return found
    return None


def _named(tree: Tree, name: str, label: str) -> Entry | None:
    owner = _labelled(tree, name, label)
    found = None if owner is None else entry(tree, name, owner)
    if found is not None:
        return found
    holder = _holder(tree, name, label)
    return None if holder is None else entry(tree, name, holder)


def _of_put(tree: Tree, name: str, put_id: str) -> Entry | None:
    owner = tree.get("puts", put_id)
    found = entry(tree, name, int(owner[1])) if owner is not None and owner[0] == name else None
    return found if found is not None and found.record.manifest.put_id == put_id else None


def _of_digest(tree: Tree, name: str, beginning: str) -> Entry | None:
    digests = [str(digest) for digest in tree.keys("digests", name) if str(digest).startswith(beginning)]
    held = ((digest, _with_digest(tree, name, digest)) for digest in digests)
    return of_digest(name, beginning, ((digest, one) for digest, one in held if one is not None))


def _with_digest(tree: Tree, name: str, digest: str) -> Entry | None:
    own = entry(tree, name, int(tree.get("digests", name, digest)))
    # An older version of the content may be left where the newest was deleted.
    return own or next((one for one in entries(tree, name, None) if one.record.manifest.digest == digest), None)
