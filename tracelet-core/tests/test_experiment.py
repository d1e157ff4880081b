"""Experiments: what is said where wins, what is said wrong is answered, and the calls of the documentation run."""

from __future__ import annotations

import gc
import inspect
import logging
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs
import pytest
from making import elsewhere, write
from watching import Scripted

from tracelet import Experiment, ExperimentConfig, LogResults, TraceletArtifact, TraceletSettings
from tracelet.core.experiment import configured
from tracelet.exceptions import (
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    PluginLoadError,
    TraceletError,
    UnknownPlugin,
)
from tracelet.plugin import ArtifactType


@pytest.fixture(autouse=True)
def at_home(home: Path) -> Path:
    """Every test of this module is in an empty folder."""
    return home


def thing(exp: Experiment, name: str = "thing", content: Any = 1) -> TraceletArtifact:
    return exp.create_artifact(name, ArtifactType.CUSTOM).add_object(content, "o")


# -- the documented interface


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create_artifact", ["name", "artifact_type", "description=None"]),
        ("log_artifact", ["artifact"]),
        ("get_artifact", ["name", "version='latest'", "backend=None"]),
        ("list_artifacts", ["type_filter=None", "backend=None"]),
        ("_is_framework_available", ["name"]),
    ],
)
def test_every_documented_method_has_exactly_its_arguments(method: str, arguments: list[str]) -> None:
    given = list(inspect.signature(getattr(Experiment, method)).parameters.values())[1:]
    plain = [one for one in given if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert [
        one.name if one.default is inspect.Parameter.empty else f"{one.name}={one.default!r}" for one in plain
    ] == arguments


def test_an_experiment_is_made_in_every_documented_way() -> None:
    config = ExperimentConfig(
        enable_artifacts=True, automagic_artifacts=True, watch_filesystem=False, artifact_watch_dirs=["./a", "./b"]
    )
    made = [
        Experiment(name="my_experiment", backend=["local"], artifacts=True, automagic_artifacts=True),
        Experiment("lightning_training", artifacts=True, automagic_artifacts=True),
        Experiment("filesystem_watch", config=config, artifacts=True),
        Experiment("configured_exp", config=config),
        Experiment("test", artifacts=True),
        Experiment("by position", "local", config, True, True),
    ]
    assert all(exp.settings.enable_artifacts for exp in made)
    assert made[2].settings.artifact_watch_dirs == ["./a", "./b"]
    assert ExperimentConfig(watch_filesystem=False).watch_filesystem is False


def test_troubleshooting_works_as_it_is_printed() -> None:
    exp = Experiment("test", artifacts=True)
    stats = exp._artifact_manager.get_stats()
    assert stats["enabled"] is True
    assert list(stats["backends"]) == ["local"]
    assert exp.stats() == stats
    assert exp._is_framework_available("pytorch_lightning") in {True, False}


def test_what_there_is_to_know_is_there_before_during_and_after_a_run() -> None:
    for enabled in (False, True):
        exp = Experiment("test", artifacts=enabled)
        assert exp._artifact_manager.get_stats()["enabled"] is enabled
        with exp:
            assert exp._artifact_manager.get_stats()["run"] == (exp.run_id if enabled else None)
        assert exp._artifact_manager.get_stats()["run"] is None


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("json", True),
        ("xml.dom", True),
        ("tracelet", True),
        ("no_such_module", False),
        ("no_such.module", False),
        ("json.no_such", False),
        ("", False),
        (".", False),
        (".relative", False),
        ("blocked_module", False),
    ],
)
def test_a_framework_is_available_when_it_could_be_imported(
    monkeypatch: pytest.MonkeyPatch, name: str, there: bool
) -> None:
    monkeypatch.setitem(sys.modules, "blocked_module", None)
    assert Experiment("test")._is_framework_available(name) is there


def test_asking_for_a_framework_does_not_import_it() -> None:
    script = """
        from tracelet import Experiment
        import sys
        answer([Experiment("test")._is_framework_available("sklearn"), "sklearn" in sys.modules])
    """
    assert elsewhere(script, cwd=Path.cwd()) == [True, False]


# -- what is said where

#: Field, what the variable says, and three values: of the settings, of the configuration, of the argument.
LAYERS = [
    ("enable_artifacts", "true", False, True, False),
    ("enable_artifacts", "false", True, False, True),
    ("automagic_artifacts", "true", False, True, False),
    ("automagic_artifacts", "false", True, False, True),
    ("backend", "mlflow", ["wandb"], ["aim"], ["local"]),
    ("routing", "nothing", "nothing else", "by-type", "all"),
]
ARGUMENTS = {"enable_artifacts": "artifacts"}


@pytest.mark.parametrize(("field", "variable", "settings", "config", "argument"), LAYERS)
def test_the_nearest_layer_wins(
    monkeypatch: pytest.MonkeyPatch, field: str, variable: str, settings: Any, config: Any, argument: Any
) -> None:
    def resolved(**layers: Any) -> Any:
        settings, config = layers.pop("settings", TraceletSettings()), layers.pop("config", ExperimentConfig())
        return getattr(configured._resolve(settings, config, layers), field)

    default = getattr(TraceletSettings(), field)
    assert resolved() == default
    monkeypatch.setenv(f"TRACELET_{field.upper()}", variable)
    assert resolved() == getattr(TraceletSettings(), field)
    layers: dict[str, Any] = {"settings": TraceletSettings(**{field: settings})}
    assert resolved(**layers) == settings
    layers["config"] = ExperimentConfig(**{field: config})
    assert resolved(**layers) == config
    layers[field] = argument
    assert resolved(**layers) == argument


@pytest.mark.parametrize("field", ["enable_artifacts", "automagic_artifacts"])
def test_an_explicit_false_beats_everything_below_it(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    argument = ARGUMENTS.get(field, field)
    monkeypatch.setenv(f"TRACELET_{field.upper()}", "true")
    yes = {"settings": TraceletSettings(**{field: True}), "config": ExperimentConfig(**{field: True})}
    assert getattr(Experiment("x").settings, field) is True
    assert getattr(Experiment("x", **yes).settings, field) is True
    assert getattr(Experiment("x", **yes, **{argument: False}).settings, field) is False
    no = {"config": ExperimentConfig(**{field: False}), "settings": TraceletSettings(**{field: True})}
    assert getattr(Experiment("x", **no).settings, field) is False
    assert getattr(Experiment("x", settings=TraceletSettings(**{field: False})).settings, field) is False


def test_every_field_of_the_settings_can_be_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [field.name for field in attrs.fields(ExperimentConfig)] == [
        field.name for field in attrs.fields(TraceletSettings)
    ]
    values = {
        "enable_artifacts": True, "automagic_artifacts": False, "watch_filesystem": False, "artifact_watch_dirs": ["x"],
        "capture_min_interval": 6.0, "capture_max_per_minute": 7, "capture_include": ["a"], "capture_exclude": ["b"],
        "capture_latest_wins": True, "capture_disk_share": 0.1,
        "backend": ["local"], "routing": "all", "dir": str(tmp_path / "d"), "store": str(tmp_path / "s"),
        "large_file_mb": 1.0, "on_large": "upload", "deadline": 2.0, "min_rate": 3.0, "open_timeout": 4.0,
        "stop_timeout": 5.0, "strict": True, "rank": 0, "ranks": 3, "job": "job-1", "ranks_timeout": 9.0,
    }  # fmt: skip
    for name in values:
        monkeypatch.setenv(f"TRACELET_{name.upper()}", "")
    assert attrs.asdict(Experiment("x", config=ExperimentConfig(**values)).settings) == values
    assert attrs.asdict(Experiment("x", settings=TraceletSettings(**values)).settings) == values
    assert attrs.asdict(Experiment("x", **values).settings) == values


def test_every_field_of_the_configuration_is_an_argument_of_an_experiment() -> None:
    def told_of(cls: type) -> dict[str, str]:
        arguments = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
        return dict(re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", f"{arguments}\n", re.DOTALL | re.MULTILINE))

    config = inspect.signature(ExperimentConfig).parameters
    given = inspect.signature(Experiment).parameters
    assert {name: one.annotation for name, one in given.items() if name in config} == {
        name: one.annotation for name, one in config.items()
    }
    assert {one.default for name, one in given.items() if name in config} == {None}
    assert list(given)[:5] == ["name", "backend", "config", "artifacts", "automagic_artifacts"]
    told, mine = told_of(ExperimentConfig), told_of(Experiment)
    assert {name: mine[name] for name in config} == told


def test_an_argument_beats_the_layers_below_it() -> None:
    config = ExperimentConfig(strict=False, deadline=7.0, enable_artifacts=False)
    exp = Experiment("x", config=config, settings=TraceletSettings(deadline=8.0), strict=True, enable_artifacts=True)
    assert (exp.settings.strict, exp.settings.deadline, exp.settings.enable_artifacts) == (True, 7.0, True)


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'strickt'"):
        Experiment("x", strickt=True)  # type: ignore[call-arg]


def test_what_nobody_says_is_the_default_and_artifacts_are_off() -> None:
    exp = Experiment("x")
    assert attrs.asdict(exp.settings) == attrs.asdict(TraceletSettings())
    assert exp.settings.enable_artifacts is False


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ExperimentConfig().strict = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        ExperimentConfig(True)  # type: ignore[misc]


# -- what is said wrong


@pytest.mark.parametrize("name", ["", "  ", "x" * 129, "a\nb", "a\0b", "\ud800", None, 5, ["x"]], ids=repr)
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="1 to 128 printable characters"):
        Experiment(name)


@pytest.mark.parametrize("name", ["a b/c", ".", "..", "~", "実験" * 64, "a" * 128, "#?%"])
def test_any_other_name_works_to_the_end(name: str) -> None:
    with Experiment(name, artifacts=True) as exp:
        assert exp.log_artifact(thing(exp)).ok
    assert Experiment(name, artifacts=True).get_artifact("thing").load_object("o") == 1
    assert [path.name for path in Path.cwd().iterdir()] == [".tracelet"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"artifacts": "yes"},
        {"artifacts": 1},
        {"automagic_artifacts": "no"},
        {"artifacts": True, "enable_artifacts": True},
        {"enable_artifacts": "yes"},
        {"strict": 1},
        {"on_large": "ask"},
        {"deadline": -1},
        {"dir": "s3://bucket"},
        {"backend": 5},
        {"backend": []},
        {"backend": [5]},
        {"backend": ["local", "local"]},
        {"backend": {"local": True}},
        {"config": {"enable_artifacts": True}},
        {"config": TraceletSettings()},
        {"settings": ExperimentConfig()},
        {"settings": {}},
        {"config": ExperimentConfig(large_file_mb=-1)},
        {"config": ExperimentConfig(on_large="ask")},
        {"config": ExperimentConfig(dir="")},
        {"config": ExperimentConfig(dir=5)},
        {"config": ExperimentConfig(artifact_watch_dirs=5)},
        {"config": ExperimentConfig(rank="0")},
        {"config": ExperimentConfig(deadline=float("nan"))},
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_used_is_a_config_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Experiment("x", **arguments)
    assert list(Path.cwd().iterdir()) == []


def test_what_is_not_installed_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownPlugin, match=r"no backend 'lokal' is installed; .* Did you mean 'local'"):
        Experiment("x", backend=["lokal"])
    with pytest.raises(UnknownPlugin, match=r"no routing policy 'by-typ' is installed; .* Did you mean 'by-type'"):
        Experiment("x", routing="by-typ")


def test_variables_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_ENABLE_ARTIFACTS", "perhaps")
    monkeypatch.setenv("TRACELET_RANK", "first")
    with pytest.raises(ConfigError, match="ENABLE_ARTIFACTS='perhaps' is not true or false; TRACELET_RANK='first'"):
        Experiment("x")


@pytest.mark.parametrize("started", [False, True])
def test_without_artifacts_every_call_says_how_to_switch_them_on(started: bool) -> None:
    exp = Experiment("x")
    on = Experiment("x", artifacts=True)
    calls: list[Callable[[], object]] = [
        lambda: exp.create_artifact("a", ArtifactType.MODEL),
        lambda: exp.log_artifact(thing(on)),
        lambda: exp.submit_artifact(thing(on)),
        lambda: exp.get_artifact("a"),
        lambda: exp.list_artifacts(),
        lambda: exp.use_artifact("a"),
        lambda: exp.flush(),
    ]
    if started:
        exp.start()
    for call in calls:
        with pytest.raises(ConfigError) as caught:
            call()
        for way in (
            "Experiment('x', artifacts=True)",
            "ExperimentConfig(enable_artifacts=True)",
            "TRACELET_ENABLE_ARTIFACTS",
        ):
            assert way in str(caught.value)
    exp.stop()
    assert list(Path.cwd().iterdir()) == []


def test_logging_without_a_run_says_how_to_start_one() -> None:
    exp = Experiment("x", artifacts=True)
    for call in (exp.log_artifact, exp.submit_artifact):
        with pytest.raises(ConfigError, match="has no run: call start\\(\\) first, or use it in a with statement"):
            call(thing(exp))


@pytest.mark.parametrize("artifact", [None, "thing", {}, 5])
def test_what_is_no_artifact_is_refused(artifact: Any) -> None:
    with Experiment("x", artifacts=True) as exp, pytest.raises(ArtifactError, match="make one with create_artifact"):
        exp.log_artifact(artifact)


@pytest.mark.parametrize(
    "labels",
    [
        {"aliases": "best"},
        {"version": "latest"},
        {"version": "v3"},
        {"version": ""},
        {"version": "a b"},
        {"version": 5},
        {"aliases": ["latest"]},
        {"aliases": ["V3"]},
        {"aliases": [""]},
        {"aliases": [None]},
    ],
    ids=str,
)
def test_labels_that_cannot_be_are_refused(labels: dict[str, Any]) -> None:
    with Experiment("x", artifacts=True) as exp:
        for call in (exp.log_artifact, exp.submit_artifact):
            with pytest.raises(TraceletError) as caught:
                call(thing(exp), **labels)
            assert isinstance(caught.value, ValueError)
        assert exp.list_artifacts() == []


def test_a_directory_that_cannot_be_made_says_what_to_set() -> None:
    write(Path.cwd() / "a file")
    exp = Experiment("x", artifacts=True, config=ExperimentConfig(dir="a file/below"))
    with pytest.raises(ConfigError, match=r"the tracelet directory 'a file/below' cannot be used: .* Set TRACELET_DIR"):
        exp.start()
    assert exp.run_id is None
    exp.stop()


# -- the life of a run


def test_a_run_begins_and_ends_as_often_as_it_is_asked_to() -> None:
    exp = Experiment("x", artifacts=True)
    assert exp.run_id is None
    assert "no run" in repr(exp)
    exp.stop()
    assert exp.start() is exp
    first = exp.run_id
    assert first is not None
    assert repr(exp) == f"<Experiment 'x' on local, run {first}>"
    assert exp.start().run_id == first
    exp.stop()
    assert exp.run_id is None
    exp.stop()
    assert exp.start().run_id not in {None, first}
    exp.stop(failed=True)


def test_a_with_statement_is_a_run_and_an_exception_ends_it_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    exp = Experiment("x", artifacts=True)
    ends: list[bool] = []
    honest = exp._artifact_manager.end

    def end(*, failed: bool) -> None:
        ends.append(failed)
        honest(failed=failed)

    monkeypatch.setattr(exp._artifact_manager, "end", end)
    with exp as same:
        assert same is exp
        assert exp.run_id is not None
    with pytest.raises(ZeroDivisionError), exp:
        raise ZeroDivisionError
    assert exp.run_id is None
    assert ends == [False, True]


class Odd(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (Odd(), True),
        (KeyboardInterrupt(), True),
        (SystemExit(1), True),
        (SystemExit("no"), True),
        (SystemExit(0), False),
        (SystemExit(), False),
        (StopIteration(), False),
        (None, False),
    ],
    ids=repr,
)
def test_a_run_that_is_stopped_while_an_exception_passes_has_failed(
    monkeypatch: pytest.MonkeyPatch, error: BaseException | None, failed: bool
) -> None:
    exp = Experiment("x", artifacts=True).start()
    ends: list[bool] = []
    honest = exp._artifact_manager.end
    monkeypatch.setattr(exp._artifact_manager, "end", lambda *, failed: (ends.append(failed), honest(failed=failed)))
    caught = None
    try:
        try:
            if error is not None:
                raise error
        finally:
            exp.stop()
    except BaseException as other:  # noqa: BLE001
        caught = other
    assert caught is error
    assert ends == [failed]


def test_an_exception_that_was_being_handled_when_a_run_began_is_not_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    exp = Experiment("x", artifacts=True)
    ends: list[bool] = []
    honest = exp._artifact_manager.end
    monkeypatch.setattr(exp._artifact_manager, "end", lambda *, failed: (ends.append(failed), honest(failed=failed)))
    try:
        raise Odd
    except Odd:
        exp.start().stop()
        exp.start().stop(failed=True)
        exp.start()
    try:
        raise Odd
    except Odd:
        exp.stop(failed=False)
    assert ends == [False, True, False]


def test_reading_needs_no_run_and_leaves_nothing_of_one() -> None:
    exp = Experiment("x", artifacts=True)
    assert exp.list_artifacts() == []
    assert not (Path.cwd() / ".tracelet" / "outbox").exists()
    with exp:
        exp.log_artifact(thing(exp))
    assert exp.get_artifact("thing").load_object("o") == 1


def test_a_run_without_artifacts_touches_nothing() -> None:
    with Experiment("x"):
        pass
    assert list(Path.cwd().iterdir()) == []


def test_the_tracelet_directory_stays_where_it_was_when_the_experiment_was_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exp = Experiment("x", artifacts=True)
    home = Path.cwd()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with exp:
        exp.log_artifact(thing(exp))
    assert (home / ".tracelet").is_dir()
    assert list(Path.cwd().iterdir()) == []


def test_logging_tells_each_backend_and_submitting_promises_it() -> None:
    with Experiment("x", artifacts=True) as exp:
        results = exp.log_artifact(thing(exp), version="v1.2.0", aliases=["best"])
        assert isinstance(results, LogResults)
        assert list(results) == ["local"]
        assert results["local"].version == "v1.2.0"
        promise = exp.submit_artifact(thing(exp, "other"), aliases=("a", "b"))
        assert isinstance(promise, Future)
        assert promise.result(60)["local"].version == "v0"
        assert exp.flush(5) == 0
        assert exp.flush() == 0
        assert set(exp.get_artifact("other").aliases) == {"a", "b"}


def test_batches_of_the_documentation_can_be_logged() -> None:
    with Experiment("x", artifacts=True) as exp:
        results: dict[str, Any] = {}
        for fold in range(3):
            write(Path(f"fold_{fold}_model.pth"), str(fold))
            artifact = exp.create_artifact(name=f"cv_fold_{fold}", artifact_type=ArtifactType.MODEL)
            artifact.add_file(f"fold_{fold}_model.pth")
            results.update(exp.log_artifact(artifact))
        assert list(results) == ["local"]
        assert len(exp.list_artifacts(type_filter=ArtifactType.MODEL)) == 3


def test_what_a_run_uses_is_an_input_of_what_it_logs() -> None:
    with Experiment("x", artifacts=True) as exp:
        exp.log_artifact(thing(exp, "data", 1))
    with exp:
        used = exp.use_artifact("data", "latest", "local")
        exp.log_artifact(thing(exp, "net", 2))
    assert exp.get_artifact("net").manifest.inputs == (used.digest,)
    with pytest.raises(ConfigError, match="has no run"):
        exp.use_artifact("data")


def test_strict_raises_what_a_backend_raised(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    exp = experiment("scripted-inline", strict=True)
    scripted.told(put="away")
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        exp.log_artifact(thing(exp))
    lax = experiment("scripted-inline", name="lax")
    assert "scripted-inline" in lax.log_artifact(thing(lax)).queued


# -- ranks


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({"RANK": "1"}, {}),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, {}),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, {}),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, {}),
        ({"TRACELET_RANK": "2"}, {}),
        ({"TRACELET_RANK": "", "PMI_RANK": "1"}, {}),
        ({}, {"rank": 3}),
        ({"RANK": "0"}, {"rank": 1}),
    ],
)
def test_only_rank_0_writes_and_every_rank_reads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environ: dict[str, str], config: dict[str, Any]
) -> None:
    with Experiment("x", artifacts=True) as exp:
        exp.log_artifact(thing(exp))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO, "tracelet")
    with Experiment("x", artifacts=True, config=ExperimentConfig(**config)) as exp:
        results = exp.log_artifact(thing(exp, content=2))
        assert (dict(results), results.skipped) == ({}, {"local": "only rank 0 writes"})
        assert results.ok
        assert exp.submit_artifact(thing(exp, content=2)).result(0).skipped == {"local": "only rank 0 writes"}
        assert exp.flush(1) == 0
        assert exp.get_artifact("thing").load_object("o") == 1
        assert exp._artifact_manager.get_stats()["writes"] is False
    assert caplog.text.count("not rank 0: it reads, and writes nothing. TRACELET_RANK=0 lets it write.") == 1
    assert len(Experiment("x", artifacts=True).list_artifacts()) == 1


def test_a_rank_that_is_set_to_0_writes_whatever_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "5")
    with Experiment("x", artifacts=True, config=ExperimentConfig(rank=0)) as exp:
        assert exp.log_artifact(thing(exp)).ok
        assert len(exp.list_artifacts()) == 1


def test_a_run_with_capture_switched_on_is_a_run_like_any_other() -> None:
    with Experiment("x", artifacts=True, automagic_artifacts=True) as exp:
        assert exp.log_artifact(thing(exp)).ok
    assert exp.get_artifact("thing").load_object("o") == 1


# -- notebooks, and the end of the interpreter


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What IPython looks like from outside: it is loaded, and there is a shell."""
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    yield
    gc.collect()


@pytest.mark.usefixtures("notebook")
def test_in_a_notebook_a_cell_that_is_run_again_ends_its_first_run(caplog: pytest.LogCaptureFixture) -> None:
    first = Experiment("x", artifacts=True).start()
    with caplog.at_level(logging.WARNING, "tracelet"):
        second = Experiment("x", artifacts=True).start()
    assert first.run_id is None
    assert second.run_id is not None
    assert "experiment 'x' is started again: its earlier run ends" in caplog.text
    first.stop()
    assert second.run_id is not None
    second.stop()


def test_elsewhere_two_runs_of_one_name_stand_side_by_side() -> None:
    first, second = Experiment("x", artifacts=True).start(), Experiment("x", artifacts=True).start()
    assert first.run_id != second.run_id
    for number, exp in enumerate((first, second)):
        assert exp.log_artifact(thing(exp, content=number))["local"].version == f"v{number}"
    first.stop()
    second.stop()


def test_a_program_that_ends_without_stop_loses_nothing() -> None:
    script = """
        from tracelet import ArtifactType, Experiment
        exp = Experiment("x", artifacts=True).start()
        exp.submit_artifact(exp.create_artifact("late", ArtifactType.CUSTOM).add_object([1], "o"))
        answer(exp.run_id)
    """
    run = elsewhere(script, cwd=Path.cwd())
    found = Experiment("x", artifacts=True).get_artifact("late")
    assert found.load_object("o") == [1]
    assert found.manifest.run_id == run


def test_a_plugin_that_does_not_load_is_refused_when_it_is_named(tmp_path: Path) -> None:
    info = tmp_path / "path" / "sad-1.0.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: sad\nVersion: 1.0\n")
    write(info / "entry_points.txt", "[tracelet]\nsad = no_module_of_that_name\n")
    script = f"""
        from tracelet import Experiment
        from tracelet.exceptions import {PluginLoadError.__name__}
        Experiment("x", artifacts=True)
        try:
            Experiment("x", backend="sad")
        except PluginLoadError as error:
            answer([str(error), type(error.__cause__).__name__])
    """
    said, cause = elsewhere(script, cwd=tmp_path / "there", PYTHONPATH=str(tmp_path / "path"))
    assert "the plugin 'sad' of sad 1.0 does not load" in said
    assert cause == "ModuleNotFoundError"


@pytest.mark.parametrize(
    ("end", "failed"),
    [("", False), ("raise RuntimeError", True), ("raise KeyboardInterrupt", True), ("sys.exit(0)", False)],
    ids=["its end", "an exception", "Ctrl-C", "exit"],
)
def test_a_run_that_its_program_does_not_end_ends_as_the_program_does(
    scripted: Scripted, home: Path, end: str, failed: bool
) -> None:
    script = f"""
import sys
from tracelet import ArtifactType, Experiment
exp = Experiment("ends", backend="scripted", artifacts=True).start()
assert exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_object(1, "one")).ok
{end}
"""
    subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, check=False, timeout=180)
    assert len(scripted.calls(f"stop_failed_{failed}")) == 1
    assert not scripted.calls(f"stop_failed_{not failed}")
