"""Queueing what dead processes left: captures become drafts, drafts become deliveries, interrupted puts are completed."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import attrs

from tracelet.core.capture.journal import leftovers
from tracelet.core.delivery.completion import Completion
from tracelet.core.delivery.drafts import seal_some
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import interrupted_puts
from tracelet.core.experiment.configured import configured_backends
from tracelet.core.experiment.manager import ArtifactManager
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.store import Store
from tracelet.core.storage.large_files import configured_store
from tracelet.core.system.messages import sentence
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["queue_captures", "queue_drafts", "queue_interrupted_puts"]

#: By the file of what is not queued: why.
Failures = dict[Path, str]
#: How many threads hash drafts.
_AT_ONCE = 4
#: Seconds for what is in hand where the user interrupts.
_LAST = 2.0


def queue_captures(directory: Path, settings: TraceletSettings, plugins: Registry) -> Failures:
    """Make drafts of what dead processes captured, for the backends that their experiments used."""
    failures = {}
    for left in leftovers(directory):
        own = {"backend": left.head.backends, "routing": left.head.routing, "dir": directory}
        theirs = TraceletSettings(**{**attrs.asdict(settings, recurse=False), **own})
        try:
            backends = configured_backends(theirs, plugins)
            manager = ArtifactManager(left.head.run.experiment, theirs, backends, directory, lambda: plugins)
            manager.draft_captures(left)
        except (TraceletError, OSError) as error:
            failures[left.path] = _reason(error, left.path)
    return failures


def queue_drafts(directory: Path, settings: TraceletSettings, plugins: Registry, outbox: Outbox) -> Failures:
    """Hash the drafts of dead processes, and queue one delivery a backend.

    Several are hashed at the same time: the order of the deliveries is in the drafts' names.
    """
    drafts = deque(outbox.drafts.files())
    if not drafts:
        return {}
    failures = {}

    @functools.cache
    def store_of(*backends: str) -> tuple[Store, float | None]:
        return configured_store(backends, settings, directory, plugins)

    ended: SimpleQueue[None] = SimpleQueue()

    def queue_some() -> None:
        try:
            while drafts:
                for path, error in seal_some(drafts, outbox, store_of).items():
                    failures[path] = _reason(error, path)
        finally:
            ended.put(None)

    try:
        all_at_once({str(number): queue_some for number in range(_AT_ONCE)})
    finally:
        drafts.clear()  # whoever interrupts this wants no more of it
        # Those that are in hand are kept, or given back.
        until = time.monotonic() + _LAST
        with contextlib.suppress(Empty):
            for _ in range(_AT_ONCE):
                ended.get(timeout=max(0.0, until - time.monotonic()))
    return failures


def queue_interrupted_puts(
    directory: Path,
    settings: TraceletSettings,
    plugins: Registry,
    outbox: Outbox,
    check_address: Callable[[Parcel], None],
) -> Failures:
    """Queue what a dead process put into some of its backends for the others."""
    failures = {}
    with Completion(directory, settings, plugins, outbox) as completion:
        for path, put in interrupted_puts(directory):
            try:
                for parcel in put.parcels:
                    check_address(parcel)
                completion.complete(path, put)
            except (TraceletError, OSError) as error:
                failures[path] = _reason(error, path)
    return failures


def _reason(error: Exception, path: Path) -> str:
    return f"{sentence(error)} It is {path}."
