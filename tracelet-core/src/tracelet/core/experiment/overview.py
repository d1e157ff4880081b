"""What is there besides one experiment."""

from __future__ import annotations

from tracelet.core.experiment.experiment import Experiment
from tracelet.core.management.experiments import experiments_in

__all__ = ["experiments"]

#: A backend is opened for some experiment. It need not be there, and nothing is made of it.
_ANY = "experiments"


def experiments(backend: str | list[str] | None = None) -> dict[str, list[str]]:
    """List the experiments that backends hold versions of. This needs no run.

    Args:
        backend: The backend or backends to ask; by default those of ``TRACELET_BACKEND``, or else ``"local"``.

    Returns:
        The names of the experiments that each backend holds, by the backend's name. What only waits in the outbox is not
        among them.

    Raises:
        BackendError: A backend fails, or cannot say it. The error's ``answers`` has what the others hold.
        ConfigError: A backend's settings cannot be used.
        UnknownPlugin: A backend is not installed.

    Example:
        >>> import tracelet
        >>> with tracelet.Experiment("digits", artifacts=True) as exp:
        ...     exp.log_artifact(exp.create_artifact("settings", "config").add_object({"layers": 2}, "settings"))
        <LogResults local: v0>
        >>> tracelet.experiments()
        {'local': ['digits']}
    """
    asked = Experiment(_ANY, backend, artifacts=True)
    try:
        return experiments_in(asked._artifact_manager.finder)
    finally:
        asked.stop()
