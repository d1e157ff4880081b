"""Experiments, their configuration, and the manager of their artifacts with what it owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracelet.core.experiment.experiment import Experiment
from tracelet.lazy_names import lazy_names

if TYPE_CHECKING:
    from tracelet.core.experiment.experiment_config import ExperimentConfig

__all__ = ["Experiment", "ExperimentConfig"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, {"tracelet.core.experiment.experiment_config": ("ExperimentConfig",)})
