"""Every process of a job gives a part of one artifact: each a process of its own, with a tracelet directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tracelet.settings import TraceletSettings, job_of

PROGRAM = """
import json, os, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.exceptions import TraceletError

rank = int(os.environ["RANK"])
shared = {"same": b"the same everywhere"}

def artifact(exp, files, name="checkpoint", **metadata):
    made = exp.create_artifact(name, ArtifactType.CHECKPOINT, f"as rank {rank} sees it")
    made.metadata.update(metadata)
    for path, content in files.items():
        Path(f"file-{path}").write_bytes(content)
        made.add_file(f"file-{path}", path)
    return made

def told(results):
    return [{name: one.version for name, one in results.items()}, {name: str(e) for name, e in results.failed.items()}]

def tell(call):
    try:
        print(json.dumps(told(call())), flush=True)
    except TraceletError as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)

with Experiment("sharded", artifacts=True) as exp:
"""

SHARDS = """
    mine = artifact(exp, {f"shard-{rank}": bytes([rank]) * 200_000, **shared}, rank=rank)
    if rank == 1:
        mine.add_object({"of": "rank 1"}, "state")
    tell(lambda: exp.log_artifact(mine, version="1.0", aliases=["newest"], all_ranks=True))
"""

Job = Callable[..., list[Any]]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """Runs a job of some processes to its end; returns what each printed last."""
    begun: list[subprocess.Popen[str]] = []

    def run(
        code: str, size: int = 4, environ: Mapping[str, str] | None = None, *, ranks: range | None = None
    ) -> list[Any]:
        mine = []
        for rank in ranks or range(size):
            home = tmp_path / f"rank-{rank}"
            home.mkdir(exist_ok=True)
            own = {
                "RANK": str(rank),
                "WORLD_SIZE": str(size),
                "TRACELET_JOB": "job-1",
                "TRACELET_DIR": str(home / "t"),
                "TRACELET_STORE": str(tmp_path / "store"),
                "TRACELET_RANKS_TIMEOUT": "120",
                **(environ or {}),
            }
            mine.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM + code],
                    cwd=home,
                    env={**os.environ, **own},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        begun.extend(mine)
        outputs = [process.communicate(timeout=300) for process in mine]
        return [json.loads(out.splitlines()[-1]) if out else err for out, err in outputs]

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def read(folder: Path) -> dict[str, Any]:
    """What another process finds in the directory of rank 0."""
    code = """
import json
from tracelet import Experiment
exp = Experiment("sharded", artifacts=True)
found = exp.get_artifact("checkpoint")
got = found.download("got")
files = {str(path.relative_to(got)): path.read_bytes()[:1].hex() for path in sorted(got.rglob("*")) if path.is_file()}
versions = sorted(one.version for one in exp.list_artifacts())
print(json.dumps([files, found.metadata, found.description, found.aliases, versions, found.verify().ok]))
"""
    own = {"TRACELET_DIR": str(folder / "rank-0" / "t"), "TRACELET_STORE": str(folder / "store")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = ("files", "metadata", "description", "aliases", "versions", "whole")
    return dict(zip(names, json.loads(done.stdout), strict=True))


def test_the_shards_of_all_ranks_are_one_version_and_every_rank_is_told(job: Job, tmp_path: Path) -> None:
    assert job(SHARDS) == [[{"local": "1.0"}, {}]] * 4
    found = read(tmp_path)
    shards = {f"shard-{rank}": f"{rank:02x}" for rank in range(4)}
    assert found["files"] == {**shards, "same": b"t".hex(), "objects/state.json": b"{".hex()}
    assert (found["metadata"], found["description"]) == ({"rank": 0}, "as rank 0 sees it")
    assert (found["aliases"], found["versions"], found["whole"]) == (["newest"], ["1.0"], True)


def test_no_bytes_go_through_the_first_rank(job: Job, tmp_path: Path) -> None:
    job(SHARDS)
    held = [path.stat().st_size for path in (tmp_path / "rank-0" / "t").rglob("*") if path.is_file()]
    assert max(held) < 20_000
    objects = [path for path in (tmp_path / "store" / "objects").rglob("*") if path.is_file()]
    assert sorted(path.stat().st_size for path in objects)[-4:] == [200_000] * 4
    assert len(objects) == 6


def test_ranks_log_together_again_and_again(job: Job, tmp_path: Path) -> None:
    """Little is left of what they told each other: of the last call alone."""
    code = """
    for step in range(3):
        results = exp.log_artifact(artifact(exp, {f"shard-{rank}": f"{rank} {step}".encode()}), all_ranks=True)
        other = exp.log_artifact(artifact(exp, {f"shard-{rank}": f"{rank} {step}".encode()}, "other"), all_ranks=True)
    print(json.dumps([results["local"].version, other["local"].version]))
"""
    assert job(code, 3) == [["v2", "v2"]] * 3
    notes = [path for path in (tmp_path / "store" / "jobs").rglob("*") if path.is_file()]
    assert len(notes) == 4


def test_a_file_that_two_ranks_have_differently_is_refused_on_every_rank(job: Job) -> None:
    code = """
    tell(lambda: exp.log_artifact(artifact(exp, {"model": f"{rank // 2}".encode()}), all_ranks=True))
    print(json.dumps([len(exp.list_artifacts())]))
"""
    first, *others = job(code.replace("    print(json.dumps([len(exp.list_artifacts())]))\n", ""))
    assert first[0] == "ArtifactError"
    assert "rank 2 has another file 'model' than rank 0" in first[1]
    assert "shard-2.safetensors" in first[1]
    for kind, words in others:
        assert kind == "BackendError"
        assert "rank 0 could not store 'checkpoint'" in words
        assert "rank 2 has another file" in words


def test_a_rank_that_does_not_come_is_named_and_nothing_is_stored(job: Job, tmp_path: Path) -> None:
    told = job(SHARDS, 4, {"TRACELET_RANKS_TIMEOUT": "3"}, ranks=range(3))
    assert told[0] == [{}, {"local": told[0][1]["local"]}]
    assert "rank 3 of 4 gave nothing of 'checkpoint' within 3 s" in told[0][1]["local"]
    assert "TRACELET_STORE" in told[0][1]["local"]
    # The others are told so, and do not blame the first one.
    assert all("rank 3 of 4 gave nothing" in json.dumps(others) for others in told[1:]), told
    assert not list((tmp_path / "rank-0" / "t").rglob("v0.json"))


def test_ranks_whose_first_one_does_not_come_are_told(job: Job) -> None:
    (told,) = job(SHARDS, 4, {"TRACELET_RANKS_TIMEOUT": "1"}, ranks=range(3, 4))
    assert told[0] == "BackendUnavailable"
    assert "rank 0 did not ask for it within 1 s" in told[1]


def test_a_job_that_runs_again_under_its_name_takes_nothing_of_the_first(job: Job, tmp_path: Path) -> None:
    """As a job of Slurm does that was requeued. The first rank died while it waited for the others; or all came to an end."""
    killed = """
    if rank == 0:
        import threading, time
        def die():
            while not list(Path(os.environ["TRACELET_STORE"]).rglob("part-*-1.json")):
                time.sleep(0.01)
            os.kill(os.getpid(), 9)
        threading.Thread(target=die).start()
    tell(lambda: exp.log_artifact(artifact(exp, {f"shard-{rank}": b"old"}), all_ranks=True))
"""
    job(killed, 3, {"TRACELET_RANKS_TIMEOUT": "2"}, ranks=range(2))
    again = """
    tell(lambda: exp.log_artifact(artifact(exp, {f"shard-{rank}": f"new {rank}".encode()}), all_ranks=True))
"""
    assert job(again, 3) == [[{"local": "v0"}, {}]] * 3
    newer = again.replace("new {rank}", "newer {rank}")
    assert job(newer, 3) == [[{"local": "v1"}, {}]] * 3
    found = read(tmp_path)
    assert found["versions"] == ["v0", "v1"]
    assert (tmp_path / "got" / "shard-2").read_text() == "newer 2"


def test_a_job_of_one_process_logs_as_always(job: Job, tmp_path: Path) -> None:
    assert job(SHARDS, 1) == [[{"local": "1.0"}, {}]]
    assert not (tmp_path / "store" / "jobs").exists()


def test_processes_that_nobody_calls_a_job_are_told_what_to_set(job: Job) -> None:
    (told,) = job(SHARDS, 4, {"TRACELET_JOB": ""}, ranks=range(1))
    assert told[0] == "ConfigError"
    assert "Set TRACELET_JOB to a name that no other job has" in told[1]
    (told,) = job(SHARDS, 4, {"WORLD_SIZE": ""}, ranks=range(1, 2))
    assert told[0] == "ConfigError"
    assert "Set TRACELET_RANKS to their number" in told[1]


@pytest.mark.parametrize(
    ("environ", "size"),
    [
        ({"WORLD_SIZE": "4", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3", "PMIX_NAMESPACE": "prterun-host-12@1"}, 3),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}, 2),
        ({"FLUX_JOB_ID": "f7", "FLUX_JOB_SIZE": "5"}, 5),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_launchers_tell_name_and_size_of_a_job(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], size: int
) -> None:
    """Other values of any of these are another job; and what is said explicitly goes before."""
    for name in [
        name for name in os.environ if name.startswith(("SLURM", "MASTER_", "WORLD", "PMI", "OMPI", "TORCHEL"))
    ]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    name, told = job_of(TraceletSettings())
    assert (bool(name), told) == (True, size)
    *_, last = [one for one in environ if "SIZE" not in one and "TASKS" not in one]
    monkeypatch.setenv(last, "another")
    assert job_of(TraceletSettings())[0] not in {"", name}
    assert job_of(TraceletSettings(job="mine", ranks=9)) == ("mine", 9)
