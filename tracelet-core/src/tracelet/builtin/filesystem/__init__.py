"""Detector ``filesystem``: files that appear or change in the watched directories, once they are complete.

It needs watchdog (``tracelet-core[watch]``), and is on with ``watch_filesystem=True``; ``artifact_watch_dirs`` says
which directories. Which files are complete, and which names are passed over, is in ``docs/reference/capture.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from tracelet.exceptions import ConfigError
from tracelet.plugin import Detector, DetectorContext, DetectorSpec, hookimpl

__all__ = ["FilesystemSettings", "tracelet_detectors"]

_LONGEST = 3600


def _positive(instance: object, field: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value <= _LONGEST:
        raise ConfigError(f"{field.name}={value!r}: give a number above 0, and {_LONGEST} at most.")


@attrs.frozen
class FilesystemSettings:
    """When a file counts as complete that nobody was seen to close; read from ``TRACELET_FILESYSTEM_*``."""

    #: Seconds between two looks at a file that may not be complete. The waits for files that belong together are in proportion.
    interval: float = attrs.field(default=0.5, validator=_positive)
    #: Looks in a row in which the file must be the same.
    checks: int = attrs.field(default=3, validator=_positive)
    #: Seconds after its last change at which a file is complete at the latest, unless a process is seen to write it.
    max_wait: float = attrs.field(default=5.0, validator=_positive)
    #: Look at the directories each second and wait for no events, as network filesystems need it.
    polling: bool = False


def _create(settings: FilesystemSettings, context: DetectorContext) -> Detector:
    from tracelet.builtin.filesystem.detector import FilesystemDetector

    return FilesystemDetector(settings, context)


@hookimpl
def tracelet_detectors() -> Iterable[DetectorSpec]:
    """Provide the detector ``filesystem``."""
    return [
        DetectorSpec(name="filesystem", create=_create, settings=FilesystemSettings, switch="watch_filesystem"),
    ]
