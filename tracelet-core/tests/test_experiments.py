"""Which experiments there are, and what a user is told who asks for one that is not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from making import write
from watching import Scripted

import tracelet
from tracelet import ArtifactType, BackendError, ConfigError, Experiment, UnsafePath


def log(name: str, **more: str) -> None:
    write(Path("w.pt"))
    with Experiment(name, artifacts=True, **more) as exp:
        exp.log_artifact(exp.create_artifact("net", ArtifactType.MODEL).add_file("w.pt"))


def test_each_backend_says_which_experiments_it_holds(home: Path) -> None:
    assert tracelet.experiments() == {"local": []}
    log("iris")
    log("digits")
    assert tracelet.experiments() == tracelet.experiments("local") == {"local": ["digits", "iris"]}
    assert not (home / ".tracelet" / "local" / "experiments").exists()


def test_a_backend_that_cannot_say_it_raises_with_the_answers_of_the_others(scripted: Scripted) -> None:
    log("iris")
    with pytest.raises(BackendError, match="scripted cannot say which experiments it holds: name yours") as caught:
        tracelet.experiments(["scripted", "local"])
    assert caught.value.answers == {"local": ["iris"]}
    assert "(1 in number)" in str(caught.value)


def test_variables_say_which_backends_are_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_BACKEND", "locl")
    with pytest.raises(tracelet.UnknownPlugin, match="Did you mean 'local'"):
        tracelet.experiments()


def warnings_of(call: Callable[[], object], caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert call() == []
    assert {record.name for record in caplog.records} <= {"tracelet.artifacts"}
    return [record.getMessage() for record in caplog.records]


def test_an_empty_list_comes_with_the_name_that_may_be_meant(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    log("iris")
    here = f"of local (directory {home / '.tracelet'})"
    exp = Experiment("irs", artifacts=True)
    told = [f"nothing was found in experiment 'irs' {here}: did you mean 'iris'?"]
    assert warnings_of(exp.list_artifacts, caplog) == told
    assert warnings_of(lambda: exp.list_artifacts(name="net", backend="local"), caplog) == told


def test_an_empty_list_that_is_right_comes_without_a_word(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    log("iris")
    log("iris2")
    exp = Experiment("iris", artifacts=True)
    assert warnings_of(lambda: exp.list_artifacts(ArtifactType.DATASET), caplog) == []
    assert warnings_of(lambda: exp.list_artifacts(where="loss < 1"), caplog) == []
    assert warnings_of(Experiment("something else", artifacts=True).list_artifacts, caplog) == []


def test_a_directory_that_is_not_there_is_told_with_the_one_above(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = home / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    list_all = Experiment("iris", artifacts=True).list_artifacts
    there_is_none = f"(directory {below / '.tracelet'}): there is no such directory; "
    (told,) = warnings_of(list_all, caplog)
    assert told.endswith(f"{there_is_none}say dir=, or set TRACELET_DIR")
    monkeypatch.chdir(home)
    log("iris")
    # The directory is the one in the folder where the experiment was made.
    (told,) = warnings_of(list_all, caplog)
    assert told.endswith(f"{there_is_none}{home / '.tracelet'} is one: say dir={str(home / '.tracelet')!r}")


def test_what_waits_is_told_where_nothing_else_is_there(queue: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    (told,) = warnings_of(Experiment("trials", artifacts=True).list_artifacts, caplog)
    assert told.endswith("): 3 deliveries of it wait, to scripted: `tracelet sync` sends them")


@pytest.mark.parametrize("name", ["net:v3", "net@v3"])
def test_a_name_with_its_version_is_told_how_to_be_asked_for(home: Path, name: str) -> None:
    with pytest.raises(UnsafePath, match=r"give them apart, as get_artifact\('net', 'v3'\)"):
        Experiment("trials", artifacts=True).get_artifact(name)


@pytest.mark.parametrize("name", ["net:", ":v3", "a/b", 3])
def test_any_other_bad_name_is_told_what_names_are(home: Path, name: str) -> None:
    with pytest.raises(UnsafePath, match="use 1 to 128 of"):
        Experiment("trials", artifacts=True).get_artifact(name)


def test_artifacts_that_are_off_are_told_before_anything_else(home: Path) -> None:
    with pytest.raises(ConfigError, match="artifacts are off"):
        Experiment("irs").list_artifacts()
