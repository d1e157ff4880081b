"""Which versions an experiment has in a bag of blobs: their numbers, their manifests, and what finds them."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
from functools import partial
from operator import itemgetter

from tracelet.core.artifacts.manifest import MOST_BYTES, Manifest
from tracelet.core.plugins.damage import Damage
from tracelet.core.plugins.version_refs import of_digest
from tracelet.core.storage.notes import Bag, Notes, leading_number
from tracelet.core.system.schemas import check_schema
from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath

__all__ = ["VersionCatalogue"]

_SCHEMA = 1
_CATALOGUE = "catalogue.json"
#: A longer number is not Tracelet's.
_VERSION_KEY = re.compile(r"v([0-9]{1,18})\.json")
_BLOCK = 1 << 18


class VersionCatalogue:
    """The versions of one experiment. One exists from the moment in which its manifest is written."""

    def __init__(self, bag: Bag, notes: Notes, uri: str) -> None:
        """``uri`` is where the blobs are, for people to read."""
        self._bag = bag
        self._notes = notes
        self._uri = uri
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
            self._notes.create(_CATALOGUE, json.dumps({"schema": _SCHEMA}))
            self._is_begun = True

    def check_at(self, key: str) -> None:
        """Raise :class:`~tracelet.NewerFormat` where the catalogue of an experiment, with its schema at a key, is a later release's."""
        # Each manifest has a schema of its own: where this file is lost or damaged, nothing else is.
        with (
            contextlib.suppress(FileNotFoundError, AttributeError, RecursionError, ValueError),
            self._bag.read(key) as stream,
        ):
            check_schema(json.loads(stream.read(_BLOCK)), _SCHEMA, f"{self._uri}/{key.rpartition('/')[0]}")

    def claim(self, manifest: Manifest) -> int:
        """Reserve the next number of a name for a put, and note the number under the put's id."""
        name = manifest.name
        number = self._notes.number(f"latest/{name}") or 0
        # A claim may be lost, to a power cut or a partial restore, and the version that it was for may be there.
        while not self._notes.create(f"claims/{name}/v{number}", manifest.put_id) or self.has(name, number):
            number += 1
        self._notes.write(f"puts/{manifest.put_id}", str(number))
        return number

    def note_digest(self, manifest: Manifest, number: int) -> None:
        """Note which digest a version is to have."""
        self._notes.write(f"digests/{manifest.name}/{manifest.digest}/v{number}")

    def commit(self, manifest: Manifest, number: int) -> None:
        """Write a version's manifest: the version exists from then on."""
        self._notes.write(_place(manifest.name, number), manifest.to_json())
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
        return self.read_manifest(self._notes.key(_place(name, number)))

    def read_manifest(self, key: str) -> Manifest | None:
        """Return the manifest at a key, or None where there is none.

        Raises :class:`~tracelet.IntegrityError` or :class:`~tracelet.UnsafePath` where it was changed, and
        :class:`~tracelet.NewerFormat` where a later release wrote it.
        """
        try:
            with self._bag.read(key) as stream:
                # One block more than what may be there, so that more is found out.
                blocks = itertools.islice(iter(partial(stream.read, _BLOCK), b""), MOST_BYTES // _BLOCK + 1)
                manifest = Manifest.from_json(b"".join(blocks))
        except FileNotFoundError:
            return None
        except NewerFormat as error:
            raise NewerFormat(f"{error} It is {self._uri}/{key}.") from error
        except (IntegrityError, UnsafePath) as error:
            raise self._damaged(key, error) from error
        if manifest.name != key.split("/")[-2]:
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
        keys = self._notes.parts(f"digests/{name}/{prefix}/" if whole else f"digests/{name}/", 3)
        numbers = ((digest, leading_number(version)) for _, digest, version in keys if digest.startswith(prefix))
        found = [(digest, number) for digest, number in numbers if number is not None and self.has(name, number)]
        return of_digest(name, prefix, sorted(found, key=itemgetter(1), reverse=True))

    def number_of_put(self, put_id: str) -> int | None:
        """Return the number that a put has claimed last, or None."""
        return self._notes.number(f"puts/{put_id}")


def _place(name: str, number: int) -> str:
    return f"versions/{name}/v{number}.json"
