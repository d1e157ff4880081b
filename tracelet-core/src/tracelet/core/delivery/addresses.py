"""Whose address a delivery names: credentials go only where this user's own programs have been set to.

A delivery remembers what the user's SDK said where it was logged, such as a tracking URI that was set in code. The
tracelet directory may have come from elsewhere, and the address in it may be somebody's who wants the credentials that
are sent there. So each address that an SDK of this user's says is noted in the user's own state folder, by its sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.system.files import atomic_write
from tracelet.core.system.redaction import redact, redact_text
from tracelet.exceptions import BackendUnavailable
from tracelet.settings import state_folder

__all__ = ["Addresses"]

#: What a URL, a path, and a host with its port or its domain have; a text with white space is none of these.
_OF_ADDRESSES = re.compile(r"[/\\:]|\w\.\w")
_SPACE = re.compile(r"\s")
#: What makes a URI of a host and what stands before it.
_ANY = "address://"
#: Characters of an address that are told.
_LONGEST = 200


def _addresses(value: Any) -> Iterator[str]:
    """Yield the texts in plain data that could say where something is, without secrets."""
    if isinstance(value, str):
        if _OF_ADDRESSES.search(value) and not _SPACE.search(value):
            yield redact(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)


class Addresses:
    """The addresses that this process is configured for, and those that this user's programs have ever been."""

    def __init__(self, sdk: Mapping[str, Any], settings: attrs.AttrsInstance) -> None:
        """``sdk`` is what the user's own SDK says here, ``settings`` the plugin's."""
        self._own = {*_addresses(sdk), *_addresses(attrs.asdict(settings))}
        self._sdk = sdk

    def note(self) -> None:
        """Remember what the user's own SDK says: what is logged now may be delivered by another process."""
        for address in set(_addresses(self._sdk)):
            note = _note(address)
            with contextlib.suppress(OSError):  # what is logged to it waits then, in other processes
                if note is not None and not note.exists():
                    atomic_write(note, b"", durable=False)

    def check(self, sdk: Mapping[str, Any]) -> None:
        """Raise :class:`~tracelet.BackendUnavailable` where a delivery names an address that is none of this user's."""
        for address in _addresses(sdk):
            note = _note(address)
            if address not in self._own and (note is None or not note.exists()):
                raise BackendUnavailable(
                    f"it is for {_shown(address)!r}, which no program of yours was set to: `tracelet sync --trust-addresses` "
                    "sends it there with your credentials; delete it where you do not know it."
                )


def _shown(address: str) -> str:
    """An address for a message: whoever planted it may have made it long, and it need not be a URI to hold a secret."""
    clean = redact_text(redact(f"{_ANY}{address}").removeprefix(_ANY))
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _note(address: str) -> Path | None:
    folder = state_folder()
    return None if folder is None else folder / "addresses" / hashlib.sha256(address.encode()).hexdigest()
