"""PyTorch Lightning for Tracelet. Importing this package imports neither Lightning nor torch.

Its modules, from the top down; each uses only modules below its own line:

    detector                      starts and stops a capture session
    patches                       wraps `fit`, `save_checkpoint` and the calls of callbacks while a session is active
    fits                          gives a Trainer our hooks for one `fit`
    hooks                         the hooks
    validation, final_model, checkpoints             what is captured, and when
    sample_files                  samples as CSV and PNG files
    drawing                       masks and boxes over images
    own_samples                   samples that the user's module makes
    samples                       the samples of one validation batch
    evidence                      what the step shows: the roles of unclear parts, and what a prediction is
    roles, axes                   which parts are inputs and targets by their names and places; where the samples are
    losses, matching              what losses of torch are given; whether two values hold the same samples
    graphs, texts, compiled       batches of graphs; ids of tokens; modules that take no hook
    sample_values                 the values of some samples
    rows, png                     the rows of any value; the image format
    savers, aliases               who saves a checkpoint, and its aliases
    async_checkpoints             checkpoints that a thread writes
    sessions                      the active capture sessions
    handoff                       detections that child processes leave for their parent
    metadata                      the state of the training
    names, plain                  names of artifacts and files; values for JSON
    settings, failures            the settings; how failures are logged
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracelet.plugin import DetectorContext, DetectorSpec, hookimpl
from tracelet_lightning.settings import LightningSettings

if TYPE_CHECKING:
    from tracelet_lightning.detector import LightningDetector

__all__ = ["LightningSettings", "callbacks_factory", "tracelet_detectors"]


def _create(settings: LightningSettings, context: DetectorContext) -> LightningDetector:
    from tracelet_lightning.detector import LightningDetector

    return LightningDetector(settings, context.workspace, context.outcome)


@hookimpl
def tracelet_detectors() -> Iterable[DetectorSpec]:
    """Provide the detector ``lightning``."""
    return [DetectorSpec(name="lightning", create=_create, settings=LightningSettings)]


def callbacks_factory() -> list[Any]:
    """Return no callbacks; wrap the Trainers of a package that was imported since the last detector started.

    Both packages call this function, by an entry point, whenever a Trainer is made. Raises nothing: an error would break
    the user's Trainer.
    """
    patches = sys.modules.get("tracelet_lightning.patches")
    if patches is not None:
        patches.refresh()
    return []
