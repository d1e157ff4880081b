"""Versions are the same in every tracker that they are copied to, and its own users see them as if they had been logged there.

MLflow's real server, an Aim repository and a bucket in moto's S3; for W&B and ClearML the real client and a stand-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from mlflow import MlflowClient

from copying.places import Places
from copying.work import MAKE_UNSAFE

TRACKERS = ["mlflow", "wandb", "clearml", "aim", "bucket"]
EVERYWHERE = ["local", *TRACKERS]
VERSIONS = 12


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(tmp_path_factory.mktemp("places"), stack)


@pytest.fixture(scope="module")
def start(places: Places) -> list[dict[str, Any]]:
    """What was logged to begin with, and is in every tracker since."""
    told = places.make("maker", 300_000, 200_000)
    for tracker in TRACKERS:
        copied = places.copy("maker", "local", tracker, "digits")
        assert outcomes(copied) == ["copied"] * VERSIONS
    return told


def outcomes(copied: dict[str, Any]) -> list[str]:
    return [one["outcome"] for one in copied["versions"]]


def test_what_is_copied_is_named_ordered_and_used_as_it_was(start: list[dict[str, Any]]) -> None:
    names = ["rows", "net", "picture", "net", "picture", "weights"]
    assert [one["name"] for one in start] == names * 2
    assert [one["whole"][0] for one in start] == [True] * VERSIONS
    pictures = [one["digest"] for one in start if one["name"] == "picture"]
    assert pictures[0] == pictures[2]
    assert {tuple(one["aliases"]) for one in start if one["name"] == "rows"} == {("reviewed",), ("newest",)}


@pytest.mark.parametrize("target", EVERYWHERE)
def test_from_every_tracker_to_every_other_the_versions_are_the_same_and_are_there_once(
    places: Places, start: list[dict[str, Any]], target: str
) -> None:
    others = [source for source in TRACKERS if source != target]
    for source in others:
        into = f"from-{source}"
        assert outcomes(places.copy(f"at-{target}", source, target, "digits", "--to-experiment", into)) == (
            ["copied"] * VERSIONS
        )
    again = places.copy(f"at-{target}", others[0], target, "digits", "--to-experiment", f"from-{others[0]}")
    assert (outcomes(again), again["moved_bytes"]) == (["skipped"] * VERSIONS, 0)
    # From the embedded backend they came before all others.
    asked = [(target, f"from-{source}") for source in others] + [(target, "digits")] * (target != "local")
    reader = "at-local" if target == "local" else "somebody-else"
    told = places.tell(reader, asked)
    assert len(told) == len(TRACKERS)
    for where, found in told.items():
        assert found == start, where


def test_around_the_whole_circle_they_come_back_as_they_were_with_every_byte_of_a_large_file(places: Places) -> None:
    before = places.make("starter", 150_000_000, 400)
    large = ("--to-set", "on_large=upload", "--to-experiment", "circle")
    places.copy("starter", "local", "mlflow", "digits", *large)
    for source, target in (("mlflow", "wandb"), ("wandb", "clearml"), ("clearml", "bucket"), ("bucket", "aim")):
        copied = places.copy(f"{source}-to-{target}", source, target, "circle", *large)
        assert copied["moved_bytes"] > 150_000_000
    places.copy("home", "aim", "local", "circle", "--to-set", "on_large=upload")
    assert places.tell("home", [("local", "circle")])["local circle"] == before


def test_in_mlflow_the_runs_use_what_they_used_and_its_own_client_loads_the_models(
    places: Places, start: list[dict[str, Any]]
) -> None:
    client = MlflowClient(places.mlflow.url)
    (shown,) = (one for one in client.search_experiments() if one.name == "digits")
    found = [client.get_run(one.info.run_id) for one in client.search_runs([shown.experiment_id])]
    runs = sorted(found, key=lambda one: one.info.start_time)
    assert [one.data.tags["tracelet.run_id"] for one in runs] == list(dict.fromkeys(one["run_id"] for one in start))
    assert [one.info.status for one in runs] == ["FINISHED"] * 2
    # They began when they did where they were logged, as far as the versions tell.
    assert [one.info.start_time for one in runs] == [int(start[place]["created_at"] * 1000) for place in (0, 6)]
    assert [[one.dataset.name for one in run.inputs.dataset_inputs] for run in runs] == [["rows"], ["rows"]]
    models = {one.version: one.tags["tracelet.model_id"] for one in client.search_model_versions("name = 'net'")}
    assert [{one.model_id for one in run.inputs.model_inputs} for run in runs] == [
        {models["1"], models["2"]},
        {models["3"], models["4"]},
    ]
    code = """
import json, mlflow, numpy as np
given = np.array([[5.0], [35.0]])
print(json.dumps([mlflow.sklearn.load_model("models:/net@production").predict(given).tolist(), mlflow.pyfunc.load_model("models:/net/1").predict(given).tolist()]))
"""
    assert places.run("reader-of-mlflow", code) == [[False, True]] * 2


def test_in_wandb_the_runs_use_what_they_used_and_show_the_pictures(
    places: Places, start: list[dict[str, Any]]
) -> None:
    project = places.wandb.project("digits")
    versions = {name: [one["id"] for one in held["versions"]] for name, held in project["collections"].items()}
    assert [run["name"] for run in project["runs"]] == list(dict.fromkeys(one["run_id"] for one in start))
    rows, nets = versions["rows"], versions["net"]
    assert [run["used"] for run in project["runs"]] == [[rows[0], *nets[:2]], [rows[0], *nets[2:]]]
    pictures = [line["picture"] for run in project["runs"] for line in run["history"] if "picture" in line]
    assert len(pictures) == len([one for one in start if one["name"] == "picture"])
    assert {(one["_type"], one["caption"], one["width"]) for one in pictures} == {("image-file", "what/it is.png", 8)}


def test_in_clearml_the_tasks_use_what_they_used_show_the_pictures_and_have_output_models(
    places: Places, start: list[dict[str, Any]]
) -> None:
    held = places.clearml.dump()
    (project,) = (one["id"] for one in held["projects"].values() if one["name"] == "digits")
    tasks = [one for one in held["tasks"].values() if one.get("project") == project and one.get("type") == "training"]
    assert len(tasks) == 2
    for task in tasks:
        assert list(task["hyperparams"]["Datasets"]) == ["rows 2024.0"]
        events = [one for one in held["events"] if one["task"] == task["id"]]
        assert [one["metric"] for one in events if one["type"] == "training_debug_image"] == ["picture"] * 2
        made = [held["models"][one["model"]]["name"] for one in task["models"]["output"]]
        assert made == ["net", "net"]
        own = {one["model"] for one in task["models"]["output"]}
        assert {one["model"] for one in task["models"]["input"]} == own


def test_in_aim_the_runs_note_what_they_used_and_track_the_pictures(
    places: Places, start: list[dict[str, Any]]
) -> None:
    code = """
import json, os, aim
repo = aim.Repo(os.environ["TRACELET_AIM_REPO"])
runs = {run["tracelet"]["run_id"]: run["tracelet"]["inputs"] for run in repo.iter_runs() if run.experiment == "digits"}
found = (one for one in repo.query_images("True", report_mode=0).iter() if one.run.experiment == "digits")
pictures = [[one.width, one.height, one.caption] for each in found for _, (images, *_) in each.data.items() for one in images]
print(json.dumps([runs, pictures]))
"""
    runs, pictures = places.run("reader-of-aim", code)
    assert {key: sorted(used) for key, used in runs.items()} == {one["run_id"]: ["net", "rows"] for one in start}
    assert pictures == [[8, 8, "what/it is.png"]] * 4


def test_a_model_that_runs_code_is_files_until_it_is_trusted_and_then_mlflows_own(places: Places) -> None:
    places.run("maker-of-code", MAKE_UNSAFE)
    (distrusted,) = places.copy("maker-of-code", "local", "mlflow", "own")["versions"]
    assert distrusted["outcome"] == "copied"
    assert distrusted["why"].startswith(
        "the model 'model' is there as files: with --trust it is loaded, and made mlflow's own"
    )
    again = ("--to-experiment", "trusted", "--trust")
    (trusted,) = places.copy("maker-of-code", "local", "mlflow", "own", *again)["versions"]
    assert (trusted["outcome"], trusted["why"]) == ("copied", "")
    code = """
import json, mlflow, numpy as np
found = {one.tags["tracelet.experiment"]: one for one in mlflow.MlflowClient().search_model_versions("name = 'turned'")}
model = mlflow.sklearn.load_model(f"models:/turned/{found['trusted'].version}")
print(json.dumps([found["own"].tags["tracelet.model"], model.predict(np.array([[5.0], [35.0]])).tolist()]))
"""
    assert places.run("reader-of-code", code) == ["", [False, True]]
