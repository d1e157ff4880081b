"""Experiments, their configuration, and the manager of their artifacts with what it owns."""

from tracelet.core.experiment.experiment import Experiment, ExperimentConfig

__all__ = ["Experiment", "ExperimentConfig"]
