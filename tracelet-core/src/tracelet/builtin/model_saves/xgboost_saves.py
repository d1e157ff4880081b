"""XGBoost's callback ``TrainingCheckPoint``, which saves in the course of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.model_saves.moments import Checkpoints, finite
from tracelet.builtin.saves.destinations import Destination
from tracelet.builtin.saves.naming import numbered
from tracelet.builtin.saves.save import Args, Kwargs, argument
from tracelet.builtin.saves.what import LAST
from tracelet.plugin import ArtifactType, checkpoint_name

__all__ = ["XGBOOST_CALLBACKS"]


@attrs.frozen
class _Moment:
    """After an iteration, with the metrics of all iterations until then, by data set and name."""

    log: dict[str, dict[str, list[Any]]]

    @property
    def aliases(self) -> tuple[str, ...]:
        return LAST

    def metadata(self, destination: Destination) -> dict[str, Any]:
        """The iteration is the number at the end of the file's name, which counts those of an earlier training, too."""
        latest = {
            f"{data}-{metric}": values[-1]
            for data, metrics in self.log.items()
            for metric, values in metrics.items()
            if values
        }
        return {"iteration": numbered(_stem(destination)), "metrics": finite(latest)}

    def name(self, kind: ArtifactType, destination: Destination) -> str | None:
        """Files that differ in this number have one name."""
        return checkpoint_name(_stem(destination))


def _stem(destination: Destination) -> Path:
    return destination.path.with_suffix("")


def _after_iteration(args: Args, kwargs: Kwargs) -> _Moment:
    return _Moment(argument(args, kwargs, 3, "evals_log"))


XGBOOST_CALLBACKS = (
    Checkpoints("xgboost", "xgboost.callback", "TrainingCheckPoint.after_iteration", _after_iteration),
)
