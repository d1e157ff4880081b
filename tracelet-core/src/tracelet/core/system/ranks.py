"""Which rank a process has among those of one job: read off what launchers leave in the environment, or told by Ray, torch or Dask."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

__all__ = ["group_rank", "launched_rank", "ray_rank", "task_rank"]

#: Ranks over all processes of a job. The first that is set decides: what is started inside something else comes before it,
#: as torchrun does in a step of Slurm, whose processes inherit the variables of both.
_GLOBAL = (
    "RANK",
    "HOROVOD_RANK",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "PALS_RANKID",
    "ALPS_APP_PE",
    "JSM_NAMESPACE_RANK",
    "FLUX_TASK_RANK",
    "JAX_PROCESS_ID",
)
#: Slurm counts the tasks of a step. A batch script is no step, and its own processes all have the number 0.
_SLURM = "SLURM_PROCID"
#: What says that the tasks of a step are several, and so one job.
_TOGETHER = ("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE")
#: Ranks on one machine, and of machines: where there is nothing better, the first on the first is the first of all.
_LOCAL = ("LOCAL_RANK", "NODE_RANK", "MPI_LOCALRANKID")
#: Ray sets it in each of its workers. Elsewhere its library is not asked, for that loads more of it.
_RAY = "RAY_RAYLET_PID"
#: What programs set in workers of Ray and Dask that they make one job of.
_OF_TASKS = ("RANK", "HOROVOD_RANK")
_NUMBER = re.compile(r"[0-9]{1,9}")


def launched_rank(environ: Mapping[str, str]) -> int:
    """Return the rank that a launcher gave this process; 0 where there is none.

    What is no number is not a rank: the variables are other programs' own, and their users need not know of them.
    """
    told = _first_of(_GLOBAL, environ)
    if told is not None:
        return told
    several = "MASTER_ADDR" in environ or any((_number(environ, name) or 0) > 1 for name in _TOGETHER)
    # Lightning's children of one task of Slurm have the task's number, and one of their own.
    for variable in (*((_SLURM,) if several else ()), *_LOCAL):
        number = _number(environ, variable)
        if number:
            return number
    return 0


def ray_rank(environ: Mapping[str, str]) -> int | None:
    """Return the rank of a worker of Ray Train; None in any other process.

    Only its trainer for torch sets variables. The workers of the others have those of whatever started their node.
    """
    train = sys.modules.get("ray.train")
    if train is None or _RAY not in environ:
        return None
    try:
        return int(train.get_context().get_world_rank())
    except (
        AttributeError,
        DeprecationWarning,
        RuntimeError,
        TypeError,
    ):  # a worker that trains nothing, or one of Tune
        return None


def group_rank() -> int | None:
    """Return the rank in torch's process group; None where there is none, or no other process in it.

    Who starts processes with ``torch.multiprocessing`` gives each its rank as an argument, and sets no variable.
    """
    torch = sys.modules.get("torch.distributed")
    if torch is None or not (torch.is_available() and torch.is_initialized()) or torch.get_world_size() < 2:
        return None
    return int(torch.get_rank())


def task_rank(environ: Mapping[str, str]) -> int | None:
    """Return the rank of a task of Ray or Dask: 0, for each is on its own, or what the program set. None in any other process.

    ``srun -n 4 dask worker`` and ``srun ray symmetric-run`` number the workers, which are no ranks of the job that runs in them.
    """
    if not (_is_worker_of_ray(environ) or _is_worker_of_dask()):
        return None
    return _first_of(_OF_TASKS, environ) or 0


def _is_worker_of_ray(environ: Mapping[str, str]) -> bool:
    # What a worker starts inherits the variable, such as the entrypoint of a job of Ray, which may be any launcher.
    return _number(environ, _RAY) == os.getppid()


def _is_worker_of_dask() -> bool:
    module = sys.modules.get("distributed.worker")
    if module is None:
        return False
    try:
        worker = module.get_worker()
    except (AttributeError, ValueError):  # a client, or a worker that is still being imported
        return False
    # A cluster of threads is within the process of its client, and that has its own rank.
    return not str(worker.address).startswith("inproc://")


def _first_of(variables: tuple[str, ...], environ: Mapping[str, str]) -> int | None:
    numbers = (_number(environ, variable) for variable in variables)
    return next((number for number in numbers if number is not None), None)


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable, "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None
