"""What the parts of one experiment share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tracelet.core.experiment.configured import ConfiguredBackends
from tracelet.core.plugins.registry import Registry
from tracelet.settings import TraceletSettings

if TYPE_CHECKING:
    from tracelet.core.delivery.outbox import Outbox

__all__ = ["ExperimentContext"]


@attrs.frozen(eq=False, slots=False)
class ExperimentContext:
    """The name of an experiment, its settings, its backends, its directory, its plugins and its outbox."""

    experiment: str
    settings: TraceletSettings
    backends: ConfiguredBackends
    #: The tracelet directory, absolute.
    directory: Path
    #: Looks the plugins up; the first time that takes a while.
    plugins: Callable[[], Registry]

    @functools.cached_property
    def outbox(self) -> Outbox:
        """Imported when it is needed: most of reading needs none."""
        from tracelet.core.delivery.outbox import Outbox

        return Outbox(self.directory)

    @property
    def limit_mb(self) -> float | None:
        """Files over this many megabytes go to the store; None where backends get the bytes of all files."""
        from tracelet.core.storage.large_files import limit_mb

        return limit_mb(self.settings, self.backends.specs.values())
