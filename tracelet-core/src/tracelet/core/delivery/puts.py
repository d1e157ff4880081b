"""Notes of puts. A note is kept until all backends have answered, for a kill leaves the put in some of them, or on its way.

puts/<experiment>/<order>~<put-id>~<name>.json    what is put, and where
puts/<experiment>/<…>.lease                       who completes it in place of a dead process
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.records import encoded, read_record, without_secrets
from tracelet.core.delivery.unreadable import Unreadable, describe
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.files import atomic_write
from tracelet.core.system.processes import ProcessId, current, is_dead
from tracelet.exceptions import IntegrityError, NewerFormat

__all__ = ["Put", "interrupted_puts", "note_put", "noted_puts", "read_put"]

_LOG = logging.getLogger("tracelet.outbox")


@attrs.frozen
class Put:
    """One artifact on its way to backends."""

    owner: ProcessId
    #: The delivery to the first of them.
    parcel: Parcel
    #: By backend: the state of the user's own SDK.
    targets: dict[str, dict[str, Any]]

    @property
    def parcels(self) -> list[Parcel]:
        """The deliveries, one for each backend."""
        return [attrs.evolve(self.parcel, backend=name, sdk=sdk) for name, sdk in self.targets.items()]


def note_put(directory: Path, parcels: Mapping[str, Parcel]) -> Path:
    """Note a put before its first delivery. The caller deletes the note when each delivery is made, or in the outbox."""
    first = next(iter(parcels.values()))
    targets = {name: without_secrets(parcel.sdk) for name, parcel in parcels.items()}
    put = Put(current(), attrs.evolve(first, sdk={}), targets)
    path = directory / "puts" / physical_name(first.run.experiment) / f"{first.key}.json"
    # After a power cut the note may be missing. Then the call of the put had not returned.
    atomic_write(path, encoded(put), durable=False)
    return path


def read_put(path: Path) -> Put:
    """Read a put from its file.

    Raises :class:`~tracelet.IntegrityError` where it is damaged, or a link, and :class:`~tracelet.NewerFormat` where a later
    release wrote it.
    """
    put = read_record(path, Put)
    try:
        put.parcel.manifest.check_sealed()
        for name in (put.parcel.run.id, *put.targets):
            check_name(name)
    except ValueError as error:
        raise Unreadable(describe(path)) from error
    return put


def interrupted_puts(directory: Path) -> Iterator[tuple[Path, Put]]:
    """Yield the puts of processes that are known to be dead, oldest first. Notes of a later release are left out."""
    return ((path, put) for path, put in noted_puts(directory) if is_dead(put.owner))


def noted_puts(directory: Path) -> Iterator[tuple[Path, Put]]:
    """Yield all puts that are noted, also those of living processes, oldest first. Notes of a later release are left out."""
    for path in sorted((directory / "puts").glob("*/*.json"), key=lambda path: path.name):
        try:
            put = read_put(path)
        except FileNotFoundError:
            continue  # it was completed meanwhile
        except NewerFormat as error:
            _LOG.warning("%s", error)
            continue
        except IntegrityError:
            _LOG.warning("%s is damaged, and is passed over: delete it.", path)
            continue
        yield path, put
