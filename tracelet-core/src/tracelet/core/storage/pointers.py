"""Labels and aliases: the names that point at the versions of an experiment in a bag of blobs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.version_refs import label_conflict
from tracelet.core.storage.notes import Notes, leading_number
from tracelet.core.storage.version_catalogue import VersionCatalogue
from tracelet.exceptions import BackendError

__all__ = ["Pointers"]


class Pointers:
    """The labels and aliases of one experiment. A label belongs to one content for ever; an alias moves."""

    def __init__(self, notes: Notes, versions: VersionCatalogue, uri: str) -> None:
        """``uri`` is where the blobs are, for people to read."""
        self._notes = notes
        self._versions = versions
        self._uri = uri

    def settle_label(self, manifest: Manifest, number: int, label: str) -> tuple[Manifest, int] | None:
        """Take the label for this version; return the version that has it where its content is the same."""
        place = f"labels/{manifest.name}/{label}"
        mine = f"{number} {manifest.digest}"
        if not self._notes.create(place, mine):
            owner, digest = self._label_owner(place)
            if digest != manifest.digest:
                raise label_conflict(manifest.name, label, owner)
            taken = self._versions.manifest(manifest.name, owner)
            if taken is not None:
                return taken, owner
            self._notes.write(place, mine)
        self._notes.write(f"labelled/{manifest.name}/v{number}/{label}")
        return None

    def _label_owner(self, place: str) -> tuple[int, str]:
        for _ in range(20):
            # A later release may say more behind these two.
            number, digest, *_ = (*self._notes.read(place).split(" "), "")
            if digest and (owner := leading_number(number)) is not None:
                return owner, digest
            time.sleep(0.05)  # its writer made it and has not filled it yet
        raise BackendError(
            f"{self._notes.key(place)} in {self._uri} is empty: its writer was interrupted. Use another label."
        )

    def number_of(self, name: str, label: str) -> int | None:
        """Return the number of the version that a label or an alias points at, or None."""
        number = self._notes.number(f"labels/{name}/{label}")
        if number is None or self._versions.manifest(name, number) is None:
            return self._holder(name, self._pointed(name, label))
        return number

    def labels(self, name: str, number: int | None = None) -> dict[int, str]:
        """Return the labels of a name's versions, or of one of them, by number."""
        prefix = f"labelled/{name}/" if number is None else f"labelled/{name}/v{number}/"
        found = ((leading_number(version), label) for _, version, label in self._notes.parts(prefix, 3))
        return {owner: label for owner, label in found if owner is not None}

    def aliases(self, name: str) -> dict[int, tuple[str, ...]]:
        """Return the aliases of a name's versions, by number."""
        found: dict[int, tuple[str, ...]] = {}
        for key in self._notes.below(f"aliases/{name}/"):
            alias = key.rpartition("/")[2]
            number = self._holder(name, self._pointed(name, alias))
            if number is not None:
                found[number] = (*found.get(number, ()), alias)
        return found

    def of_all(
        self, name: str | None, versions: Mapping[str, Collection[int]]
    ) -> tuple[dict[tuple[str, int], str], dict[tuple[str, int], tuple[str, ...]]]:
        """Return the labels and the aliases of these versions, by name and number: of one name, or of every name.

        All are looked at in one pass, and nobody asks again whether a version exists.
        """
        noted = self._notes.parts(_start("labelled", name), 3)
        found = ((owner, leading_number(version), label) for owner, version, label in noted)
        labels = {(owner, number): label for owner, number, label in found if number is not None}
        aliases: dict[tuple[str, int], tuple[str, ...]] = {}
        for owner, alias in self._notes.parts(_start("aliases", name), 2):
            there = versions.get(owner, ())
            number = next((one for one in self._notes.numbers(f"aliases/{owner}/{alias}") if one in there), None)
            if number is not None:
                aliases[owner, number] = (*aliases.get((owner, number), ()), alias)
        return labels, aliases

    def move(self, name: str, alias: str, number: int) -> None:
        """Move an alias to a version that exists."""
        self._notes.write(f"aliases/{name}/{alias}", str(number))

    def move_with(self, name: str, alias: str, number: int) -> None:
        """Move an alias in the moment in which the version begins to exist, and not at all where that never comes."""
        self._notes.write(f"aliases/{name}/{alias}", " ".join(map(str, [number, *self._pointed(name, alias)])))

    def forget_label(self, name: str, number: int) -> None:
        """Take its label from a deleted version. The label means nothing else from now on."""
        for place in self._notes.below(f"labelled/{name}/v{number}/"):
            self._notes.remove(place)

    def remove(self, name: str, aliases: Iterable[str]) -> None:
        """Have aliases name nothing any more."""
        for alias in aliases:
            self._notes.remove(f"aliases/{name}/{alias}")

    def free_labels(self, name: str, number: int) -> None:
        """Free the label of a version that is to have never been: another content may take it."""
        for label in [key.rpartition("/")[2] for key in self._notes.below(f"labelled/{name}/v{number}/")]:
            self._notes.remove(f"labels/{name}/{label}")
            self._notes.remove(f"labelled/{name}/v{number}/{label}")

    def _pointed(self, name: str, alias: str) -> tuple[int, ...]:
        """Return the versions that an alias was moved to, newest first, down to the first that exists."""
        numbers = self._notes.numbers(f"aliases/{name}/{alias}")
        holder = self._holder(name, numbers)
        return numbers if holder is None else numbers[: numbers.index(holder) + 1]

    def _holder(self, name: str, numbers: Iterable[int]) -> int | None:
        return next((number for number in numbers if self._versions.has(name, number)), None)


def _start(kind: str, name: str | None) -> str:
    return f"{kind}/" if name is None else f"{kind}/{name}/"
