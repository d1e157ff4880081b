"""What one would write first works on every launcher: one rank writes, every rank reads, and each task is on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launchers import page
from launchers.conditions import needs
from servers.s3_server import S3Server
from tracelet import Experiment
from tracelet.core.artifacts.logged import LoggedArtifact

RANKS = range(4)
#: Each process is on a machine of its own, so far as Tracelet can tell.
OWN_FOLDERS = "import os; os.environ['TRACELET_DIR'] = os.path.join({!r}, str(os.getpid()))"
#: What Debian's Open MPI needs to be run by root, for more processes than cores, where MPICH is installed too.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "MPI4PY_MPIABI": "openmpi",
}
RAY = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 4}', "RAY_DEDUP_LOGS": "0"}

Do = Callable[..., str]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with S3Server("machines") as server:
        yield server


@pytest.fixture(params=["folder", "S3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where all processes write and read: a folder, or moto's S3."""
    if request.param == "folder":
        (tmp_path / "bucket").mkdir()
        url = f"file://{tmp_path / 'bucket'}"
    else:
        server: S3Server = request.getfixturevalue("s3")
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        url = server.url(tmp_path.name)
    monkeypatch.setenv("TRACELET_BUCKET_URL", url)
    return url


folder_alone = pytest.mark.parametrize("place", ["folder"], indirect=True)


@pytest.fixture
def do(tmp_path: Path, place: str) -> Do:
    """Run a line of shell in a folder that has the page's programs, each process on a disk of its own; return what is printed."""
    for name, code in page.programs().items():
        (tmp_path / name).write_text(code)
    (tmp_path / "disks").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(OWN_FOLDERS.format(str(tmp_path / "disks")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(line: str, environ: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path / "site"), **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.fixture
def exp(place: str, tmp_path: Path) -> Iterator[Experiment]:
    """What one more machine reads."""
    exp = Experiment("digits", backend="bucket", artifacts=True, dir=tmp_path / "reader")
    yield exp
    exp.stop()


def stored(exp: Experiment) -> list[LoggedArtifact]:
    """All versions, the oldest first."""
    return list(exp.list_artifacts())[::-1]


def assert_one_wrote_and_all_read(exp: Experiment, printed: str, version: str = "v0") -> None:
    """That is what the page's programs print: the rank, the results, the version and the rows."""
    # Ray prints each line twice.
    told = set(re.findall(r"(\d) <LogResults bucket: (.*?)> (\S+) \[1, 2, 3\]", printed))
    rest = [(str(rank), "skipped (only rank 0 writes)", version) for rank in RANKS[1:]]
    assert sorted(told) == [("0", version, version), *rest], printed
    assert [(one.name, one.number) for one in stored(exp)] == [("table", 0)]


def assert_each_wrote(exp: Experiment, names: list[str]) -> None:
    assert sorted((one.name, one.number) for one in stored(exp)) == sorted((name, 0) for name in names)


def shell(beginning: str) -> str:
    """The one line of the page that begins so."""
    (line,) = (line for line in page.lines_of_shell() if line.startswith(beginning))
    return line


def test_torchruns_first_rank_writes_and_all_read(do: Do, exp: Experiment) -> None:
    assert_one_wrote_and_all_read(exp, do(shell("torchrun --nproc-per-node=4 train.py")))


def test_open_mpis_first_rank_writes_and_all_read(do: Do, exp: Experiment) -> None:
    needs("mpirun.openmpi")
    assert_one_wrote_and_all_read(exp, do(shell("mpirun -n 4 python mpi.py"), OPEN_MPI))


def test_slurms_first_task_writes_and_all_read(do: Do, exp: Experiment, cluster: dict[str, str]) -> None:
    printed = do(shell("sbatch job.sh").replace("sbatch", "sbatch --wait --output=log") + "; cat log", cluster)
    (job,) = re.findall("Submitted batch job ([0-9]+)", printed)
    assert_one_wrote_and_all_read(exp, printed, f"job-{job}")


@folder_alone
def test_torchrun_in_a_step_of_slurm_counts_for_itself(do: Do, exp: Experiment, cluster: dict[str, str]) -> None:
    assert_one_wrote_and_all_read(exp, do("srun -n 1 torchrun --nproc-per-node=4 train.py", cluster))


def test_each_job_of_an_array_writes(do: Do, exp: Experiment, cluster: dict[str, str]) -> None:
    do(shell("sbatch --array").replace("sbatch", "sbatch --wait --output=log-%a"), cluster)
    assert_each_wrote(exp, [f"part-{number}" for number in RANKS])


@folder_alone
@pytest.mark.parametrize("launcher", ["torchrun", "mpirun", "srun"])
def test_every_rank_writes_its_own_when_it_is_to(
    do: Do, exp: Experiment, cluster: dict[str, str], launcher: str
) -> None:
    (line,) = (line for line in page.lines_of_shell() if line.startswith(launcher) and "own.py" in line)
    printed = do(f"export TRACELET_RANK=0; {line}", {**OPEN_MPI, **cluster})
    assert sorted(re.findall(r"(\d) <LogResults bucket: v0>", printed)) == [str(rank) for rank in RANKS]
    assert_each_wrote(exp, [f"shard-{rank}" for rank in RANKS])


def test_the_parts_of_all_ranks_are_one_version(do: Do, exp: Experiment) -> None:
    printed = do(shell("torchrun --nproc-per-node=4 shards.py"))
    parts = re.escape(str([f"shard-{rank}.bin" for rank in RANKS]))
    assert sorted(re.findall(rf"(\d) <LogResults bucket: step-1000> {parts}", printed)) == [str(rank) for rank in RANKS]
    assert [(one.name, one.version) for one in stored(exp)] == [("checkpoint", "step-1000")]


# -- preemption

#: Without it, the signal ends the program.
HANDLES = "signal.signal(signal.SIGTERM, leave)\n"


def job_state(do: Do, cluster: dict[str, str], job: str) -> str:
    return do(f"squeue --noheader --states=all --jobs={job} --format=%T", cluster).strip()


def preempted(do: Do, cluster: dict[str, str], folder: Path, how: str, partition: str = "spare") -> str:
    """Let Slurm take the machine from a training that has stored three checkpoints, and give it back; return its log."""
    log = folder / "log"
    job = do(f"sbatch --parsable --partition={partition} --output=log spare.sh", cluster).strip()
    _until(lambda: log.exists() and "epoch 3\n" in log.read_text())
    do(how.format(job), cluster)
    _until(lambda: job_state(do, cluster, job) == "PENDING")
    # Slurm waits two minutes before it starts the job again, and refuses one that starts in the second of its end.
    do(f"scontrol update JobId={job} StartTime=now+3", cluster)
    _until(lambda: job_state(do, cluster, job) not in {"PENDING", "RUNNING", "COMPLETING"})
    assert job_state(do, cluster, job) == "COMPLETED", log.read_text()
    return log.read_text()


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)  # Slurm and the log are there to be asked, and tell nothing by themselves


PREEMPT = "sbatch --wait --partition=urgent --exclusive --output=urgent --wrap true"


@folder_alone
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(PREEMPT, id="preempted"),
        pytest.param("scontrol requeue {}", id="requeued"),
    ],
)
@pytest.mark.parametrize("handles", [True, False], ids=["handles SIGTERM", "does not"])
def test_a_preempted_training_goes_on_from_its_newest_checkpoint(
    do: Do, exp: Experiment, cluster: dict[str, str], tmp_path: Path, how: str, handles: bool
) -> None:
    program = tmp_path / "resumes.py"
    assert HANDLES in program.read_text()
    # Epochs take a while, so that there is one to be interrupted.
    text = program.read_text().replace("flush=True)", "flush=True); import time; time.sleep(0.3)")
    program.write_text(text if handles else text.replace(HANDLES, ""))
    log = preempted(do, cluster, tmp_path, how)
    assert "Traceback" not in log, log
    versions = [one for one in stored(exp) if one.name == "checkpoint"]
    assert [(one.number, one.load_object("state")["epoch"]) for one in versions] == [(n, n) for n in range(20)], log
    assert len({one.manifest.run_id for one in versions}) == 2


@folder_alone
def test_a_training_that_leaves_within_the_time_that_slurm_gives_it_asks_to_be_started_again(
    do: Do, cluster: dict[str, str], tmp_path: Path, exp: Experiment
) -> None:
    program = tmp_path / "resumes.py"
    text = program.read_text().replace("flush=True)", "flush=True); import time; time.sleep(0.3)")
    program.write_text(
        text.replace("    sys.exit(", f"    import os, subprocess; {page.asking_again()}\n    sys.exit(")
    )
    log = preempted(do, cluster, tmp_path, PREEMPT, "patient")
    versions = [one for one in stored(exp) if one.name == "checkpoint"]
    assert [(one.number, one.load_object("state")["epoch"]) for one in versions] == [(n, n) for n in range(20)], log


# -- Ray and Dask


@folder_alone
def test_rays_first_worker_writes_and_all_read(do: Do, exp: Experiment) -> None:
    assert_one_wrote_and_all_read(exp, do("python ray_train.py", RAY))


#: What Slurm's third task of four has, and all that it starts.
OF_A_STEP = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}


@folder_alone
def test_each_task_of_ray_writes_whatever_has_started_its_node(do: Do, exp: Experiment) -> None:
    printed = do("python ray_tasks.py", {**RAY, **OF_A_STEP})
    assert printed.count("<LogResults bucket: v0>") == 8
    assert_each_wrote(exp, [f"part-{number}" for number in range(8)])


def test_each_task_of_dask_writes(do: Do, exp: Experiment) -> None:
    printed = do("python dask_tasks.py")
    assert printed.count("<LogResults bucket: v0>") == 16
    assert_each_wrote(exp, [f"part-{number}" for number in range(16)])


#: A worker for each task of a step, and a task for each worker.
IN_SLURM = """
from dask.distributed import Client
from dask_tasks import clean

with Client(scheduler_file="scheduler.json") as client:
    client.wait_for_workers(4)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    print(client.gather([client.submit(clean, number, workers=[one]) for number, one in enumerate(workers)]))
"""
DASK_IN_SLURM = """
dask scheduler --scheduler-file scheduler.json --no-dashboard --port 0 & scheduler=$!
srun -n 4 dask worker --scheduler-file scheduler.json --no-dashboard --nthreads 1 --preload dask_tasks.py & workers=$!
trap 'kill $workers $scheduler; wait' EXIT
python in_slurm.py
"""


@folder_alone
def test_each_task_of_dask_writes_though_its_worker_is_a_rank_of_slurm(
    do: Do, exp: Experiment, cluster: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in_slurm.py").write_text(IN_SLURM)
    printed = do(DASK_IN_SLURM, {**cluster, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{tmp_path}"})
    assert printed.count("<LogResults bucket: v0>") == 4, printed
    assert_each_wrote(exp, [f"part-{number}" for number in RANKS])


#: Two tasks meet in their runs, twenty times, in one process.
AT_ONCE = """
import threading

import psutil
from dask.distributed import Client, LocalCluster, get_worker
from tracelet import ArtifactType, Experiment


def meet(number):
    meeting = vars(get_worker()).setdefault("meeting", threading.Barrier(2))
    with Experiment("digits", backend="bucket", artifacts=True) as exp:
        meeting.wait(120)
        thing = exp.create_artifact("thing", ArtifactType.DATASET).add_object([number], "rows")
        exp.log_artifact(thing).raise_for_errors()
        meeting.wait(120)
    return len(psutil.Process().children(recursive=True)) if meeting.wait(120) == 0 else 0


if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=2) as cluster, Client(cluster) as client:
        print("left:", sum(client.gather(client.map(meet, range(20)))))
"""


@folder_alone
def test_tasks_at_once_and_again_and_again_in_one_worker_of_dask_have_a_run_each_and_leave_nothing(
    do: Do, exp: Experiment, tmp_path: Path
) -> None:
    (tmp_path / "at_once.py").write_text(AT_ONCE)
    assert "left: 0" in do("python at_once.py")
    versions = stored(exp)
    assert sorted(one.load_object("rows") for one in versions) == [[number] for number in range(20)]
    assert len({one.manifest.run_id for one in versions}) == 20
