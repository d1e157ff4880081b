"""Which versions an experiment has in a bag of blobs: their numbers, their manifests, and what finds them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.damage import Damage, or_damage
from tracelet.core.plugins.version_refs import of_digest
from tracelet.core.storage.notes import Bag, Notes, leading_number
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.schemas import check_schema
from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath

__all__ = ["VersionCatalogue"]

_SCHEMA = 1
_CATALOGUE = "catalogue.json"
#: It says that each version which has inputs is noted under their digests.
_INDEXED = "inputs.json"
#: A longer number is not Tracelet's.
_VERSION_KEY = re.compile(r"v([0-9]{1,18})\.json")
_BLOCK = 1 << 18


class VersionCatalogue:
    """The versions of one experiment. One exists from the moment in which its manifest is written."""

    def __init__(self, bag: Bag, notes: Notes, uri: str, experiment: str) -> None:
        """``uri`` is where the blobs are, for people to read."""
        self._bag = bag
        self._notes = notes
        self._uri = uri
        self._experiment = experiment
        #: Whether the catalogue is known to be one that can be read, and to say its schema.
        self._is_known = self._is_begun = False

    def check(self) -> None:
        """Raise :class:`~tracelet.NewerFormat` where a later release keeps versions in another way here."""
        if not self._is_known:
            self.check_at(self._notes.key(_CATALOGUE))
            self._is_known = True

    def begin(self) -> None:
        """Check the catalogue, and write its schema where it has none."""
        self.check()
        if not self._is_begun:
            text = json.dumps({"schema": _SCHEMA, "experiment": self._experiment})
            if self._notes.create(_CATALOGUE, text):
                self._notes.write(_INDEXED, json.dumps({"schema": _SCHEMA}))
            self._is_begun = True

    def check_at(self, key: str) -> None:
        """Raise :class:`~tracelet.NewerFormat` where the catalogue of an experiment, with its schema at a key, is a later release's."""
        with contextlib.suppress(ValueError):  # what is no number says nothing
            check_schema(self._read_catalogue(key), _SCHEMA, f"{self._uri}/{key.rpartition('/')[0]}")

    def _read_catalogue(self, key: str) -> dict[str, Any]:
        # Each manifest has a schema of its own: where this file is lost or damaged, nothing else is.
        with contextlib.suppress(FileNotFoundError, RecursionError, ValueError), self._bag.read(key) as stream:
            found = json.loads(stream.read(_BLOCK))
            if isinstance(found, dict):
                return found
        return {"schema": _SCHEMA}

    def experiment_at(self, prefix: str) -> str:
        """Return the name of the experiment whose keys have this prefix.

        A name that was shortened in the prefix is known from its catalogue. Where an earlier release wrote that, the prefix is
        returned.
        """
        name = unquote(prefix)
        if physical_name(name) == prefix:
            return name
        said = self._read_catalogue(f"{prefix}/{_CATALOGUE}").get("experiment")
        return said if isinstance(said, str) else prefix

    def claim(self, manifest: Manifest) -> int:
        """Reserve the next number of a name for a put, and note the number under the put's id."""
        name = manifest.name
        latest = self._notes.number(f"latest/{name}")
        number = 0 if latest is None else latest + 1
        while not self._claimed(manifest, number):
            number += 1
        return number

    def claim_after(self, manifest: Manifest, newest: int) -> int | None:
        """Do the same where a version is still the newest; return None where others were faster, or have deleted it."""
        return newest + 1 if self.has(manifest.name, newest) and self._claimed(manifest, newest + 1) else None

    def _claimed(self, manifest: Manifest, number: int) -> bool:
        """Try to reserve a number; tell whether nobody had."""
        name = manifest.name
        # A claim may be lost, to a power cut or a partial restore, and the version that it was for may be there.
        if not self._notes.create(f"claims/{name}/v{number}", manifest.put_id) or self.has(name, number):
            return False
        self._notes.write(f"puts/{manifest.put_id}", str(number))
        return True

    def note_digest(self, manifest: Manifest, number: int) -> None:
        """Note which digest a version is to have."""
        self._notes.write(f"digests/{manifest.name}/{manifest.digest}/v{number}")

    def note_inputs(self, manifest: Manifest, number: int) -> None:
        """Note under the digest of each input that a version is made from it."""
        for digest in manifest.inputs:
            self._notes.write(f"inputs/{digest}/{manifest.name}/v{number}")

    def users(self, digest: str) -> Iterator[tuple[str, int] | Damage]:
        """Yield name and number of each version that is made from a digest, and an error for what cannot be read.

        Versions of a release that noted no inputs are noted first, once.
        """
        yield from self._note_earlier()
        for _, name, version in self._notes.parts(f"inputs/{digest}/", 3):
            number = leading_number(version)
            if number is not None and self.has(name, number):
                yield name, number

    def _note_earlier(self) -> Iterator[Damage]:
        if self._notes.exists(_INDEXED):
            return
        damaged: list[Damage] = []
        for name, numbers in self.numbers(None).items():
            read = or_damage(self.manifests(name), partial("{0!r} v{1}".format, name))
            for number, found in zip(numbers, map(read, numbers), strict=True):
                if isinstance(found, Manifest):
                    self.note_inputs(found, number)
                elif found is not None:
                    damaged.append(found)
        if not damaged:
            self._notes.write(_INDEXED, json.dumps({"schema": _SCHEMA}))
        yield from damaged

    def commit(self, manifest: Manifest, number: int) -> None:
        """Write a version's manifest: the version exists from then on."""
        self._notes.write(_place(manifest.name, number), manifest.pieces())
        self._notes.write(f"latest/{manifest.name}", str(number))

    def remove(self, name: str, number: int) -> None:
        """Delete a version's manifest: the version exists no more, and its number is not used again."""
        self._notes.remove(_place(name, number))

    def has(self, name: str, number: int) -> bool:
        """Tell whether a version exists."""
        return self._notes.exists(_place(name, number))

    def uri(self, name: str, number: int) -> str:
        """Return where a version's manifest is."""
        return f"{self._uri}/{self._notes.key(_place(name, number))}"

    def manifest(self, name: str, number: int) -> Manifest | None:
        """Return a version's manifest, or None where the version does not exist. Raises as :meth:`read_manifest` does."""
        return self.manifests(name)(number)

    def manifests(self, name: str) -> Callable[[int], Manifest | None]:
        """Return what reads the versions of a name by their numbers, as :meth:`manifest` does."""
        read = self._reader(self._notes.key(f"versions/{name}"))
        return lambda number: read(f"v{number}.json")

    def read_manifest(self, key: str) -> Manifest | None:
        """Return the manifest at a key, or None where there is none.

        Raises :class:`~tracelet.IntegrityError` or :class:`~tracelet.UnsafePath` where it was changed, and
        :class:`~tracelet.NewerFormat` where a later release wrote it.
        """
        folder, _, leaf = key.rpartition("/")
        return self._reader(folder)(leaf)

    def _reader(self, folder: str) -> Callable[[str], Manifest | None]:
        """Return what reads the manifests in the folder of a name, as :meth:`read_manifest` does."""
        small = self._bag.small_reader(folder)
        name = folder.rpartition("/")[2]
        return lambda leaf: self._read(name, f"{folder}/{leaf}", small(leaf))

    def _read(self, name: str, key: str, text: bytes | None) -> Manifest | None:
        try:
            manifest = Manifest.read(partial(self._bag.read, key)) if text is None else Manifest.from_json(text)
        except FileNotFoundError:
            return None
        except NewerFormat as error:
            raise NewerFormat(f"{error} It is {self._uri}/{key}.") from error
        except (IntegrityError, UnsafePath) as error:
            raise self._damaged(key, error) from error
        if manifest.name != name:
            raise self._damaged(key, IntegrityError(f"the manifest is that of {manifest.name!r}."))
        return manifest

    def _damaged(self, key: str, error: Damage) -> Damage:
        return type(error)(
            f"{error} It is {self._uri}/{key}: restore it, delete it to forget that version, or get another one by its "
            "number, such as version='v0'."
        )

    def numbers(self, name: str | None) -> dict[str, list[int]]:
        """Return the numbers of all versions of a name, or of every name, by name."""
        numbers: dict[str, list[int]] = {}
        for owner, leaf in self._notes.parts("versions/" if name is None else f"versions/{name}/", 2):
            if match := _VERSION_KEY.fullmatch(leaf):
                numbers.setdefault(owner, []).append(int(match[1]))
        return numbers

    def newest(self, name: str) -> int | None:
        """Return the number of the newest version of a name, or None where it has none."""
        hint = self._notes.number(f"latest/{name}")
        number = -1 if hint is None else hint
        newest = number if hint is not None and self.has(name, hint) else None
        while self._notes.exists(f"claims/{name}/v{number + 1}") or self.has(name, number + 1):
            number += 1
            newest = number if self.has(name, number) else newest
        if newest is None:
            leaves = (_VERSION_KEY.fullmatch(key.rpartition("/")[2]) for key in self._notes.below(f"versions/{name}/"))
            newest = max((int(leaf[1]) for leaf in leaves if leaf), default=None)
        return newest

    def number_of_digest(self, name: str, prefix: str) -> int | None:
        """Return the number of the newest version whose digest begins so, or None."""
        whole = len(prefix) == hashlib.sha256().digest_size * 2
        digests = (
            [prefix] if whole else [one for one in self._notes.folders(f"digests/{name}/") if one.startswith(prefix)]
        )
        keys = chain.from_iterable(self._notes.parts(f"digests/{name}/{digest}/", 3) for digest in digests)
        numbers = ((digest, leading_number(version)) for _, digest, version in keys)
        found = [(digest, number) for digest, number in numbers if number is not None and self.has(name, number)]
        return of_digest(name, prefix, sorted(found, key=itemgetter(1), reverse=True))

    def number_of_put(self, put_id: str) -> int | None:
        """Return the number that a put has claimed last, or None."""
        return self._notes.number(f"puts/{put_id}")


def _place(name: str, number: int) -> str:
    return f"versions/{name}/v{number}.json"
