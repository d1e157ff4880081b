"""What the parts of one experiment share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from tracelet.core.delivery.outbox import Outbox
from tracelet.core.experiment.configured import ConfiguredBackends
from tracelet.core.plugins.specs import Registry
from tracelet.settings import TraceletSettings

__all__ = ["ExperimentContext"]


@attrs.frozen(eq=False)
class ExperimentContext:
    """The name of an experiment, its settings, its backends, its directory and its outbox."""

    experiment: str
    settings: TraceletSettings
    backends: ConfiguredBackends
    #: The tracelet directory, absolute.
    directory: Path
    #: Looks the plugins up; the first time that takes a while.
    plugins: Callable[[], Registry]
    outbox: Outbox

    @property
    def limit_mb(self) -> float | None:
        """Files over this many megabytes go to the store; None where backends get the bytes of all files."""
        return None if self.settings.on_large == "upload" else self.settings.large_file_mb
