"""Where deliveries and drafts lie in a tracelet directory, and what the names of their files say.

outbox/<experiment>/<backend>/<order>~<put-id>~<name>.json   one delivery; its bytes are blobs of the store
outbox/<experiment>/<backend>/<…>.lease                      who is on it
outbox/<experiment>/<backend>/<…>.rendered/                  the tracker's own form of its models
outbox/<experiment>/<backend>/<…>.refused                    one that the backend will never take, and why
outbox/<experiment>/<backend>/<…>.damaged                    one that could not be read, put aside
outbox/<experiment>/~drafts/<…>.json                          snapshots that are not hashed yet
outbox/<experiment>/~drafts/<…>.lease                         who is finishing one
outbox/<experiment>/~drafts/<session>.lease                   whose drafts nobody else finishes as long as it is there
clock/<experiment>                                            the last order that was given out

The order is the time in nanoseconds, or more where the clock has stepped back: see :mod:`tracelet.core.delivery.clock`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tracelet.core.storage.paths import physical_name

__all__ = ["DRAFTS", "drafted_at", "drafted_name", "order_of", "outbox_of", "place_of", "waiting_in"]

#: Where a backend's folder would be. No backend has this name: it holds a character that names do not.
DRAFTS = "~drafts"


def outbox_of(directory: Path) -> Path:
    """Return the folder of all that waits in a tracelet directory."""
    return directory / "outbox"


def place_of(directory: Path, experiment: str, backend: str) -> Path:
    """Return the folder of an experiment's deliveries to a backend, or of its drafts."""
    return outbox_of(directory) / physical_name(experiment) / backend


def waiting_in(folder: Path) -> list[str]:
    """Return the names of the files that wait in a folder, oldest first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if name.endswith(".json"))


def drafted_name(path: Path) -> str:
    """Return the artifact's name that the name of a draft's or a delivery's file holds."""
    return path.stem.split("~", 2)[-1]


def drafted_at(path: Path) -> float:
    """Return about when a draft or a delivery was made, in seconds since the epoch, as its file's name says it; or 0."""
    return order_of(path) / 1e9


def order_of(path: Path) -> int:
    """Return the place in the order of submission that the name of a draft's or a delivery's file holds; or 0."""
    order = path.name.partition("~")[0]
    return int(order) if len(order) <= 20 and order.isdecimal() else 0
