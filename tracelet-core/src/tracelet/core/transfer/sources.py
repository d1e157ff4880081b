"""What can be imported from: a backend's tracker, a folder, a DVC repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tracelet.core.plugins.backend import Discovers
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.reading.reader import Reader
from tracelet.core.transfer.dvc import DvcRepository
from tracelet.core.transfer.folders import Folders
from tracelet.core.transfer.side import open_side
from tracelet.exceptions import ConfigError

__all__ = ["opened_source"]

#: What is no backend, and what gives it.
_ON_DISK: Mapping[str, type[Discovers]] = {"dir": Folders, "dvc": DvcRepository}
#: A backend is opened for some experiment. It need not be there, and nothing is made of it.
_ANY = "import"


@attrs.frozen
class _Tracker:
    """What a backend's tracker holds, asked for on a lane."""

    reader: Reader

    def discover(self, place: str) -> tuple[ForeignArtifact, ...]:
        """See :class:`~tracelet.plugin.Discovers`."""
        found: tuple[ForeignArtifact, ...] = self.reader.request("discover", unhurried=True, place=place)
        return found

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        self.reader.request("fetch_foreign", unhurried=True, found=found, dest=dest)


@contextmanager
def opened_source(
    kind: str, directory: Path, given: Mapping[str, str]
) -> Iterator[tuple[Discovers, Callable[[], None]]]:
    """Give what says what was logged without Tracelet, and what ends it at once, as an interruption does.

    Args:
        kind: The name of a backend, ``"dir"`` or ``"dvc"``.
        directory: The tracelet directory, absolute.
        given: Settings for the source alone, as for :func:`~tracelet.core.transfer.side.open_side`.

    Raises :class:`~tracelet.ConfigError` for settings that cannot be used.
    """
    if kind in _ON_DISK:
        if given:
            raise ConfigError(f"{kind!r} has no settings: leave out {', '.join(given)}.")
        yield _ON_DISK[kind](), lambda: None
        return
    side = open_side(_ANY, kind, directory, given)
    reader = side.reader()
    try:
        yield _Tracker(reader), reader.lane.kill
    except BaseException:
        reader.lane.kill()
        raise
    finally:
        reader.close(time.monotonic() + side.settings.stop_timeout)
