"""Settings: what may be said, where it is said, and what a wrong word is answered with."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from tracelet import ArtifactType, Experiment
from tracelet.exceptions import ConfigError
from tracelet.settings import (
    NoSettings,
    TraceletSettings,
    WatchedDirectory,
    child_environment,
    environment,
    global_rank,
    load,
    load_plugin,
    own_variable,
    unknown_variables,
)


@attrs.frozen
class Everything:
    """A field of each kind."""

    flag: bool = False
    count: int = 0
    rate: float = 0.0
    word: str = ""
    place: Path = Path()
    names: list[str] = attrs.field(factory=list)
    maybe: int | None = None
    _hidden: str = ""


def test_every_kind_of_field_is_read_from_its_variable() -> None:
    found = load(
        Everything,
        "T_",
        {
            "T_FLAG": " Yes ",
            "T_COUNT": "-3",
            "T_RATE": "1e-3",
            "T_WORD": " as it is ",
            "T_PLACE": "/a b",
            "T_NAMES": "a, b,,c ",
            "T_MAYBE": "7",
            "T_HIDDEN": "h",
            "T_OTHER": "not ours",
        },
    )
    assert found == Everything(True, -3, 0.001, " as it is ", Path("/a b"), ["a", "b", "c"], 7, "h")


@pytest.mark.parametrize("word", ["1", "true", "TRUE", "yes", "On"])
def test_words_for_true(word: str) -> None:
    assert load(Everything, "T_", {"T_FLAG": word}).flag is True


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_words_for_false(word: str) -> None:
    assert load(Everything, "T_", {"T_FLAG": word}).flag is False


def test_an_empty_variable_is_not_set() -> None:
    assert load(Everything, "T_", {"T_FLAG": "", "T_COUNT": "", "T_NAMES": ""}) == Everything()


def test_all_bad_variables_are_named_together() -> None:
    bad = {"T_FLAG": "perhaps", "T_COUNT": "1.5", "T_RATE": "fast", "T_MAYBE": "x", "T_WORD": "good"}
    with pytest.raises(ConfigError) as caught:
        load(Everything, "T_", bad)
    assert str(caught.value) == (
        "T_FLAG='perhaps' is not true or false; T_COUNT='1.5' is not a whole number; T_RATE='fast' is not a number; "
        "T_MAYBE='x' is not a whole number. Correct or unset what is named here."
    )


def test_what_the_class_refuses_is_a_config_error_with_the_variable() -> None:
    @attrs.frozen
    class Picky:
        word: str = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))

    assert load(Picky, "P_", {"P_WORD": "b"}).word == "b"
    with pytest.raises(
        ConfigError, match=r"^P_WORD='c': 'word' must be in \['a', 'b'\] \(got 'c'\)\. Correct or unset"
    ):
        load(Picky, "P_", {"P_WORD": "c"})


def test_all_that_a_class_refuses_is_named_together_with_what_cannot_be_read() -> None:
    @attrs.frozen
    class Picky:
        first: str = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))
        port: int = attrs.field(default=1, validator=attrs.validators.gt(0))
        rate: float = 1.0
        place: Path = attrs.field(default=Path(), validator=attrs.validators.instance_of(str))

        def __attrs_post_init__(self) -> None:
            if self.rate > self.port:
                raise ValueError("the rate is above the port.")

    with pytest.raises(ConfigError) as caught:
        load(Picky, "P_", {"P_FIRST": "c", "P_PORT": "0", "P_RATE": "fast"})
    assert str(caught.value) == (
        "P_RATE='fast' is not a number; P_FIRST='c': 'first' must be in ['a', 'b'] (got 'c'); P_PORT='0': 'port' must be "
        "> 0: 0. Correct or unset what is named here."
    )
    made = attrs.make_class("Both", {}, bases=(Picky,), frozen=True)
    with pytest.raises(ConfigError, match=r"^P_\*: .*'place' must be"):
        load(made, "P_", {"P_PORT": "3"})


def test_what_two_variables_contradict_each_other_in_is_said_with_both() -> None:
    @attrs.frozen
    class Range:
        least: int = 0
        most: int = 5
        step: int = 1

        def __attrs_post_init__(self) -> None:
            if self.least > self.most:
                raise ValueError("least is above most.")

    with pytest.raises(ConfigError, match=r"^R_LEAST='4', R_MOST='3': least is above most\. Correct"):
        load(Range, "R_", {"R_LEAST": "4", "R_MOST": "3", "R_STEP": "2"})


def test_what_the_class_refuses_whatever_is_set_is_said_with_the_prefix() -> None:
    @attrs.frozen
    class Never:
        word: str = attrs.field()

    with pytest.raises(ConfigError, match=r"^N_\*: .*missing 1 required"):
        load(Never, "N_", {})


def test_a_config_error_of_the_class_says_its_own_words_after_the_variable() -> None:
    def refuse(instance: object, field: object, value: object) -> None:
        if value:
            raise ConfigError("my own words")

    @attrs.frozen
    class Own:
        word: str = attrs.field(default="", validator=refuse)

    with pytest.raises(ConfigError, match=r"^O_WORD='x': my own words\. Correct or unset what is named here\.$"):
        load(Own, "O_", {"O_WORD": "x"})


@pytest.mark.parametrize("kind", [dict, int | str, "int | str | None"])
def test_a_field_that_no_variable_can_hold_is_the_plugin_authors_error(kind: Any) -> None:
    made = attrs.make_class("Odd", {"x": attrs.field(default=None, type=kind)}, frozen=True)
    assert load(made, "ODD_", {}).x is None
    with pytest.raises(ConfigError, match="cannot be read from a variable: use bool, int"):
        load(made, "ODD_", {"ODD_X": "1"})


def test_a_plugin_has_variables_of_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_MY_TRACKER_COUNT", "4")
    assert load_plugin(Everything, "my-tracker").count == 4
    assert load_plugin(NoSettings, "my-tracker") == NoSettings()


# -- Tracelet's own


def test_the_defaults_are_the_documented_ones() -> None:
    assert attrs.asdict(TraceletSettings()) == {
        "enable_artifacts": False,
        "automagic_artifacts": False,
        "watch_filesystem": False,
        "artifact_watch_dirs": [],
        "capture_min_interval": 0.0,
        "capture_max_per_minute": 0,
        "capture_include": [],
        "capture_exclude": [],
        "capture_latest_wins": False,
        "capture_disk_share": 0.5,
        "backend": ["local"],
        "routing": "by-type",
        "dir": ".tracelet",
        "store": "",
        "large_file_mb": 100.0,
        "on_large": "reference",
        "deadline": 30.0,
        "min_rate": 1.0,
        "open_timeout": 120.0,
        "stop_timeout": 30.0,
        "strict": False,
        "rank": None,
        "ranks": None,
        "job": "",
        "ranks_timeout": 600.0,
    }


def test_every_field_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "ENABLE_ARTIFACTS": "true", "AUTOMAGIC_ARTIFACTS": "true", "WATCH_FILESYSTEM": "false",
        "ARTIFACT_WATCH_DIRS": "./checkpoints,./outputs", "CAPTURE_MIN_INTERVAL": "6", "CAPTURE_MAX_PER_MINUTE": "7",
        "CAPTURE_INCLUDE": "*.pt,*.ckpt", "CAPTURE_EXCLUDE": "tmp*", "CAPTURE_LATEST_WINS": "on",
        "CAPTURE_DISK_SHARE": "0.1", "BACKEND": "mlflow,local", "ROUTING": "all", "DIR": "/t",
        "STORE": "s3://b/p", "LARGE_FILE_MB": "0.5", "ON_LARGE": "upload", "DEADLINE": "1", "MIN_RATE": "2",
        "OPEN_TIMEOUT": "3", "STOP_TIMEOUT": "4", "STRICT": "1", "RANK": "5",
        "RANKS": "8", "JOB": "job-1", "RANKS_TIMEOUT": "60",
    }  # fmt: skip
    for name, text in said.items():
        monkeypatch.setenv(f"TRACELET_{name}", text)
    assert list(attrs.asdict(TraceletSettings()).values()) == [
        True, True, False, ["./checkpoints", "./outputs"], 6.0, 7, ["*.pt", "*.ckpt"], ["tmp*"], True, 0.1, ["mlflow", "local"], "all", "/t", "s3://b/p", 0.5, "upload",
        1.0, 2.0, 3.0, 4.0, True, 5, 8, "job-1", 60.0,
    ]  # fmt: skip


def test_what_is_passed_beats_the_variable_also_false_and_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_ENABLE_ARTIFACTS", "true")
    monkeypatch.setenv("TRACELET_ARTIFACT_WATCH_DIRS", "a,b")
    settings = TraceletSettings(enable_artifacts=False, artifact_watch_dirs=[])
    assert settings.enable_artifacts is False
    assert settings.artifact_watch_dirs == []
    assert TraceletSettings().enable_artifacts is True


def test_the_settings_of_the_documentation_can_be_made() -> None:
    settings = TraceletSettings(
        enable_artifacts=True,
        automagic_artifacts=True,
        watch_filesystem=False,
        artifact_watch_dirs=["./checkpoints", "./outputs"],
    )
    assert settings.artifact_watch_dirs == ["./checkpoints", "./outputs"]


def test_names_and_places_may_be_written_in_several_ways() -> None:
    assert TraceletSettings(backend="mlflow, local").backend == ["mlflow", "local"]
    assert TraceletSettings(backend=("local",)).backend == ["local"]
    assert TraceletSettings(dir=Path("/a"), store=Path("/b")).dir == "/a"


@pytest.mark.parametrize(
    "field",
    [
        {"enable_artifacts": "yes"},
        {"automagic_artifacts": 1},
        {"watch_filesystem": None},
        {"strict": "false"},
        {"artifact_watch_dirs": None},
        {"artifact_watch_dirs": 1},
        {"artifact_watch_dirs": [1]},
        {"capture_min_interval": -1},
        {"capture_max_per_minute": "3"},
        {"capture_latest_wins": 1},
        {"capture_disk_share": 0},
        {"capture_disk_share": 1.5},
        {"backend": 5},
        {"backend": None},
        {"backend": [5]},
        {"backend": [["local"]]},
        {"backend": [""]},
        {"routing": None},
        {"routing": ""},
        {"dir": None},
        {"dir": b"x"},
        {"dir": ""},
        {"dir": "s3://bucket/x"},
        {"store": None},
        {"store": 5},
        {"large_file_mb": 0},
        {"large_file_mb": -1},
        {"large_file_mb": float("nan")},
        {"large_file_mb": True},
        {"large_file_mb": "100"},
        {"on_large": "ask"},
        {"deadline": 0},
        {"deadline": float("inf")},
        {"deadline": 1e10},
        {"min_rate": 0},
        {"open_timeout": float("inf")},
        {"stop_timeout": "30"},
        {"stop_timeout": float("nan")},
        {"rank": "0"},
        {"rank": -1},
        {"rank": True},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TraceletSettings(**field)


def test_a_variable_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_ON_LARGE", "ask")
    with pytest.raises(ConfigError, match=r"^TRACELET_ON_LARGE='ask': say one of reference, upload\. Correct"):
        TraceletSettings()
    monkeypatch.setenv("TRACELET_STRICT", "maybe")
    monkeypatch.setenv("TRACELET_DEADLINE", "soon")
    with pytest.raises(
        ConfigError, match="DEADLINE='soon' is not a number; TRACELET_STRICT='maybe' is not true or false"
    ):
        TraceletSettings()


def test_all_variables_that_are_refused_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "DEADLINE": "-1", "ON_LARGE": "foo", "RANK": "-3", "LARGE_FILE_MB": "0", "DIR": "s3://bucket/x", "STRICT": "maybe",
        "CAPTURE_DISK_SHARE": "2", "STOP_TIMEOUT": "2e9", "CAPTURE_MIN_INTERVAL": "-2",
    }  # fmt: skip
    for name, text in bad.items():
        monkeypatch.setenv(f"TRACELET_{name}", text)
    with pytest.raises(ConfigError) as caught:
        TraceletSettings()
    assert set(str(caught.value).removesuffix(". Correct or unset what is named here.").split("; ")) == {
        "TRACELET_STRICT='maybe' is not true or false",
        "TRACELET_DEADLINE='-1' is not a number above zero",
        "TRACELET_ON_LARGE='foo': say one of reference, upload",
        "TRACELET_RANK='-3' is no rank: give a whole number from 0 on",
        "TRACELET_LARGE_FILE_MB='0' is not a number above zero",
        "TRACELET_DIR='s3://bucket/x': the tracelet directory is a local folder",
        "a URL may be the store",
        "TRACELET_CAPTURE_DISK_SHARE='2' is no share: give a number above 0, and 1 at most",
        "TRACELET_STOP_TIMEOUT='2e9' is too long: give up to 1000000000 seconds",
        "TRACELET_CAPTURE_MIN_INTERVAL='-2' is not a number from 0 on",
    }


def test_a_variable_that_an_argument_beats_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_DEADLINE", "soon")
    monkeypatch.setenv("TRACELET_ON_LARGE", "ask")
    assert TraceletSettings(deadline=2.0, on_large="upload").deadline == 2.0


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("enable_artefacts", "TraceletSettings has no field 'enable_artefacts': did you mean 'enable_artifacts'?"),
        ("zzz", "TraceletSettings has no field 'zzz': it has enable_artifacts, automagic_artifacts, "),
    ],
)
def test_a_field_that_does_not_exist_is_a_type_error_with_the_nearest_name(field: str, told: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
        TraceletSettings(**{field: True})


def test_a_tilde_is_the_home_wherever_a_place_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "somebody"))
    monkeypatch.setenv("TRACELET_DIR", "~/x")
    monkeypatch.setenv("TRACELET_STORE", "~/store")
    monkeypatch.setenv("TRACELET_ARTIFACT_WATCH_DIRS", "~/a,b~")
    settings = TraceletSettings()
    assert (settings.dir, settings.store) == (f"{home}/somebody/x", f"{home}/somebody/store")
    assert settings.artifact_watch_dirs == [f"{home}/somebody/a", "b~"]
    assert TraceletSettings(dir=Path("~/y"), store="s3://bucket/~/z").dir == f"{home}/somebody/y"
    assert TraceletSettings(store="s3://bucket/~/z").store == "s3://bucket/~/z"
    assert WatchedDirectory("~/out").path == f"{home}/somebody/out"
    assert load(Everything, "T_", {"T_PLACE": "~/file"}).place == Path(f"{home}/somebody/file")
    with Experiment("tilde", artifacts=True, settings=TraceletSettings(dir="~/y")) as exp:
        assert Path(exp.settings.dir).is_dir()
    assert not Path("~").exists()


def test_variables_that_nobody_reads_are_told_with_the_nearest_that_somebody_does() -> None:
    environ = {
        "TRACELET_ENABLE_ARTIFACT": "true",
        "TRACELET_ENABLE_ARTIFACTS": "true",
        "TRACELET_MY_TRACKER_COUNT": "1",
        "TRACELET_MY_TRACKER_RAET": "1",
        "TRACELET_MY_TRACKER_HIDDEN": "h",
        "TRACELET_": "",
        "OTHERS": "x",
    }
    assert unknown_variables([("my-tracker", Everything)], environ) == {
        "TRACELET_": "TRACELET_JOB",
        "TRACELET_ENABLE_ARTIFACT": "TRACELET_ENABLE_ARTIFACTS",
        "TRACELET_MY_TRACKER_RAET": "TRACELET_MY_TRACKER_RATE",
    }
    assert (
        unknown_variables([], {"TRACELET_XXXXXXXXXXXXXXXXXXXXXXXXXXXX": "x"})["TRACELET_XXXXXXXXXXXXXXXXXXXXXXXXXXXX"]
        == ""
    )


def test_settings_do_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TraceletSettings().strict = True  # type: ignore[misc]


def test_a_file_may_be_of_any_size_before_it_is_large() -> None:
    assert TraceletSettings(large_file_mb=float("inf")).large_file_mb == float("inf")


# -- ranks


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        pytest.param({}, 0, id="a program alone"),
        pytest.param({"RANK": "3"}, 3, id="torchrun"),
        pytest.param({"RANK": "0", "LOCAL_RANK": "2"}, 0, id="the global rank beats the local one"),
        pytest.param({"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2"}, 1, id="horovodrun"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, 1, id="Open MPI"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, 0, id="Open MPI's first"),
        pytest.param({"MV2_COMM_WORLD_RANK": "1"}, 1, id="MVAPICH"),
        pytest.param({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"}, 1, id="MPICH on a second machine"),
        pytest.param({"PMI_RANK": "0", "PMI_SIZE": "1"}, 0, id="MPICH with one process"),
        pytest.param({"PMIX_RANK": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, 1, id="Slurm with PMIx"),
        pytest.param({"PALS_RANKID": "1"}, 1, id="PALS"),
        pytest.param({"ALPS_APP_PE": "1"}, 1, id="ALPS"),
        pytest.param({"JSM_NAMESPACE_RANK": "1"}, 1, id="jsrun"),
        pytest.param({"FLUX_TASK_RANK": "1"}, 1, id="Flux"),
        pytest.param({"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}, 1, id="JAX"),
        pytest.param({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, 1, id="srun"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, 0, id="srun's first"),
        pytest.param({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, 1, id="srun in an allocation"),
        pytest.param({"SLURM_PROCID": "1", "SLURM_NPROCS": "2"}, 1, id="srun by the older name of its size"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, 0, id="a batch script of several tasks"),
        pytest.param({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, 0, id="the shell of salloc"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "3"}, 0, id="an array of jobs"),
        pytest.param({"SLURM_PROCID": "4"}, 0, id="a number of Slurm's that stands for one task alone"),
        pytest.param({"SLURM_PROCID": "4", "MASTER_ADDR": "node0"}, 4, id="srun with an address to meet at"),
        pytest.param({"SLURM_PROCID": "4", "WORLD_SIZE": "8"}, 4, id="srun with a size"),
        pytest.param({"SLURM_PROCID": "4", "WORLD_SIZE": "1"}, 0, id="one task, as Slurm and its user say"),
        pytest.param(
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "RANK": "0"}, 0, id="torchrun's first, on Slurm's second"
        ),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "RANK": "5"}, 5, id="torchrun in a step of Slurm"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "PMI_RANK": "3"}, 3, id="mpiexec in a job of Slurm"),
        pytest.param({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "PMI_RANK": "0"}, 0, id="its first, on a second node"),
        pytest.param({"LOCAL_RANK": "2"}, 2, id="a child of Lightning"),
        pytest.param({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1, id="Lightning on a second machine"),
        pytest.param({"MASTER_ADDR": "node0", "LOCAL_RANK": "1"}, 1, id="a child of Lightning that knows its first"),
        pytest.param(
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "MASTER_ADDR": "127.0.0.1", "LOCAL_RANK": "1"},
            1,
            id="a child of Lightning in a job of Slurm",
        ),
        pytest.param({"MPI_LOCALRANKID": "1"}, 1, id="a second process of MPI on a machine"),
        pytest.param({"RANK": "-1"}, 0, id="a negative rank"),
        pytest.param({"RANK": "²"}, 0, id="a digit that is no number"),
        pytest.param({"RANK": "", "PMI_RANK": "1"}, 1, id="an empty variable"),
        pytest.param({"RANK": "9" * 5000, "PMI_RANK": "1"}, 1, id="a number without end"),
        pytest.param({"PMI_RANK": " 1\n"}, 1, id="spaces"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "first", "SLURM_PROCID": "one", "SLURM_NTASKS": "two"}, 0, id="words"),
        pytest.param({"LOCAL_RANK": "one", "WORLD_SIZE": "many"}, 0, id="words of Lightning's"),
    ],
)
def test_the_rank_is_the_launchers(environ: dict[str, str], rank: int) -> None:
    assert global_rank(TraceletSettings(), environ) == rank


def test_a_rank_that_is_set_beats_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert global_rank(TraceletSettings(rank=0), {"RANK": "3"}) == 0
    monkeypatch.setenv("RANK", "6")
    assert global_rank(TraceletSettings()) == 6
    monkeypatch.setenv("TRACELET_RANK", "0")
    assert global_rank(TraceletSettings()) == 0


class WorkerOfDask:
    """What ``distributed.get_worker`` gives in a task, and raises elsewhere."""

    def __init__(self, address: str | None) -> None:
        self.address = address

    def get_worker(self) -> WorkerOfDask:
        if self.address is None:
            raise ValueError("No worker found")
        return self


@pytest.mark.parametrize(
    ("address", "environ", "rank"),
    [
        pytest.param("tcp://10.0.0.7:4000", {"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, 0, id="srun dask worker"),
        pytest.param("tcp://10.0.0.7:4000", {"OMPI_COMM_WORLD_RANK": "3"}, 0, id="dask-mpi"),
        pytest.param("tcp://10.0.0.7:4000", {"OMPI_COMM_WORLD_RANK": "3", "RANK": "1"}, 1, id="a job within workers"),
        pytest.param("inproc://10.0.0.7/1/2", {"OMPI_COMM_WORLD_RANK": "3"}, 3, id="threads of a rank"),
        pytest.param(None, {"OMPI_COMM_WORLD_RANK": "3"}, 3, id="a client"),
    ],
)
def test_a_task_of_dask_has_no_rank_by_what_has_started_its_worker(
    monkeypatch: pytest.MonkeyPatch, address: str | None, environ: dict[str, str], rank: int
) -> None:
    monkeypatch.setitem(sys.modules, "distributed.worker", WorkerOfDask(address))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert global_rank(TraceletSettings()) == rank


@pytest.mark.parametrize(
    ("environ", "rank"),
    [({}, 0), ({"RANK": "2"}, 2), ({"HOROVOD_RANK": "2"}, 2), ({"RANK": "0", "HOROVOD_RANK": "2"}, 0)],
)
def test_a_task_of_ray_has_no_rank_but_what_its_program_sets(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], rank: int
) -> None:
    # Ray's own daemon has started the process, as a task of Slurm.
    inherited = {"RAY_RAYLET_PID": str(os.getppid()), "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}
    for name, value in {**inherited, **environ}.items():
        monkeypatch.setenv(name, value)
    assert global_rank(TraceletSettings()) == rank


def test_what_a_worker_of_ray_has_started_has_the_rank_of_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RAYLET_PID", str(os.getpid()))
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    assert global_rank(TraceletSettings()) == 3


# -- the environment of others


def test_a_childs_environment_has_what_is_set_before_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDK_MODE", "the user's")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    made = child_environment({"TOKEN": "t"}, {"SDK_MODE": "ours", "SDK_SILENT": "1"}, "/ours")
    assert (made["TOKEN"], made["SDK_MODE"], made["SDK_SILENT"]) == ("t", "the user's", "1")
    assert made["PYTHONPATH"] == os.pathsep.join(["/ours", "/theirs"])
    assert child_environment({}, {}, None)["PYTHONPATH"] == "/theirs"
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment({}, {}, "/ours")["PYTHONPATH"] == "/ours"


def test_one_variable_is_read_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_LANE", "x")
    assert own_variable("TRACELET_LANE") == "x"
    assert own_variable("TRACELET_NOT_SET") == ""


def test_the_environment_gives_only_what_is_set() -> None:
    assert environment(Everything, "T_", {"T_COUNT": "1"}) == {"count": 1}


def test_a_watched_directory_may_say_more_than_its_path() -> None:
    rich = WatchedDirectory(Path("out"), type=ArtifactType.REPORT, name="run-{stem}")
    assert rich == WatchedDirectory("out", "report", "run-{stem}")
    assert TraceletSettings(artifact_watch_dirs=[Path("a"), rich]).artifact_watch_dirs == ["a", rich]
    assert TraceletSettings(artifact_watch_dirs=rich).artifact_watch_dirs == [rich]
    with pytest.raises(ConfigError, match="path=3 is no path"):
        WatchedDirectory(3)


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("dir", 3, "dir=3 is no path"),
        ("dir", b"x", "dir=b'x' is no path"),
        ("dir", "a\0b", "dir has a character that no system takes in a path"),
        ("store", "\ud800", "store has a character that no system takes in a path"),
        ("artifact_watch_dirs", 3, "artifact_watch_dirs=3 is no list of directories"),
        ("artifact_watch_dirs", [3], "artifact_watch_dirs=3 is no path"),
        ("backend", 3, "backend=3 is no list of names"),
        ("backend", ["local", 3], "is no list of names"),
        ("capture_include", {}, "capture_include={} is no list of names"),
        ("capture_exclude", [""], r"capture_exclude=\[''\] is no list of names"),
    ],
)
def test_what_a_field_cannot_be_is_told_with_its_name(field: str, value: Any, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        TraceletSettings(**{field: value})
