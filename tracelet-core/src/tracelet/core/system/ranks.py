"""Which rank a process has among those of one job: read off what launchers leave in the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["launched_rank"]

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
_NUMBER = re.compile(r"[0-9]{1,9}")


def launched_rank(environ: Mapping[str, str]) -> int:
    """Return the rank that a launcher gave this process; 0 where there is none.

    What is no number is not a rank: the variables are other programs' own, and their users need not know of them.
    """
    for variable in _GLOBAL:
        number = _number(environ, variable)
        if number is not None:
            return number
    several = "MASTER_ADDR" in environ or any((_number(environ, name) or 0) > 1 for name in _TOGETHER)
    # Lightning's children of one task of Slurm have the task's number, and one of their own.
    for variable in (*((_SLURM,) if several else ()), *_LOCAL):
        number = _number(environ, variable)
        if number:
            return number
    return 0


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable, "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None
