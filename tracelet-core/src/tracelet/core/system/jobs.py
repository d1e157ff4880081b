"""Which processes are one job, and how many they are: read off what launchers leave in the environment, or told by Ray or torch."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping

__all__ = ["group_size", "launched_job", "launched_size", "ray_job"]

#: The number of all processes of a job. The first that is set decides, in the order of what gives ranks.
_SIZES = (
    "WORLD_SIZE",
    "HOROVOD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "JSM_NAMESPACE_SIZE",
    "FLUX_JOB_SIZE",
    "JAX_NUM_PROCESSES",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
)
#: What all processes of a job have alike, and those of another job at the same time have not, taken together.
_NAMES = (
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "TORCHELASTIC_RUN_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
    "OMPI_MCA_ess_base_jobid",
    "PMIX_NAMESPACE",
    "PBS_JOBID",
    "LSB_JOBID",
    "FLUX_JOB_ID",
)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def launched_size(environ: Mapping[str, str]) -> int | None:
    """Return how many processes a launcher says that the job has; None where it says nothing."""
    texts = (environ.get(name, "").strip() for name in _SIZES)
    return next((int(text) for text in texts if _NUMBER.fullmatch(text)), None)


def launched_job(environ: Mapping[str, str]) -> str:
    """Return a name that all processes of a job have alike; an empty text where launchers leave nothing that tells."""
    told = [f"{name}={environ[name]}" for name in _NAMES if environ.get(name)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32] if told else ""


def ray_job() -> tuple[str, int] | None:
    """Return name and size of the job of a worker of Ray Train; None in any other process."""
    train = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        context = train.get_context()
        told = f"{context.get_experiment_name()}/{context.get_trial_id()}"
        return hashlib.sha256(told.encode()).hexdigest()[:32], int(context.get_world_size())
    except (AttributeError, DeprecationWarning, RuntimeError, TypeError):  # a worker that trains nothing
        return None


def group_size() -> int | None:
    """Return the size of torch's process group; None where there is none, or no other process in it."""
    torch = sys.modules.get("torch.distributed")
    if torch is None or not (torch.is_available() and torch.is_initialized()) or torch.get_world_size() < 2:
        return None
    return int(torch.get_world_size())
