"""What ClearML's own users see of what Tracelet stored, through ClearML's own SDK, in a process of their own."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from servers.s3_server import S3Server
from tracelet.plugin import ArtifactType, Labels


def test_few_files_are_artifacts_of_the_runs_task_under_their_own_paths(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    files = {"report.html": b"<p>fine</p>", "data/metrics.json": b"{}"}
    opened.put(
        hands.samples.seal(
            "results", files, type=ArtifactType.REPORT, description="the results", metadata={"accuracy": 0.5}
        )
    )
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert task["status"] == "completed"
    assert "tracelet" in task["tags"]
    shown = hands.user.call(clearml_user.task_artifacts, task["id"])
    assert set(shown) == {"results.v0/report.html", "results.v0/data/metrics.json"}
    assert shown["results.v0/report.html"]["content"] == {"report.html": b"<p>fine</p>"}
    assert shown["results.v0/data/metrics.json"]["size"] == 2
    told = shown["results.v0/report.html"]["metadata"]
    assert (told["version"], told["type"], told["accuracy"], told["description"]) == (
        "v0",
        "report",
        "0.5",
        "the results",
    )


def test_a_single_file_is_an_artifact_of_the_names_own(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("config", {"a/config.yaml": b"x: 1"}), Labels("v1.2.0"))
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    (entry,) = hands.user.call(clearml_user.task_artifacts, task["id"]).items()
    assert entry[0] == "config.v0"
    assert entry[1]["content"] == {"config.yaml": b"x: 1"}
    assert entry[1]["metadata"]["version"] == "v1.2.0"


def test_many_small_files_are_one_zip_that_the_sdk_unpacks(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    files = {f"part-{number % 3}/{number}.txt": b"%d" % number for number in range(30)}
    large = os.urandom(1_000_000)
    opened.put(hands.samples.seal("parts", {**files, "large.bin": large}))
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    shown = hands.user.call(clearml_user.task_artifacts, task["id"])
    assert shown["parts.v0"]["content"] == files
    assert shown["parts.v0/large.bin"]["content"] == {"large.bin": large}


def test_a_failed_run_is_a_failed_task(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("x", {"x": b"1"}))
    opened.close(failed=True)
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert task["status"] == "failed"


def test_references_are_links_in_the_task_whatever_their_scheme(hands: Hands, experiment: str) -> None:
    uris = [
        "s3://bucket/key",
        "file:///path/to/large/file.bin",
        "hf://org/name",
        "https://user:secret@host/x?token=abc",
    ]
    opened = hands.open(experiment)
    sealed = hands.samples.seal("elsewhere", references=[(uri, 12, "far away") for uri in uris])
    opened.put(sealed)
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    shown = hands.user.call(clearml_user.task_artifacts, task["id"])
    urls = [one["url"] for one in shown.values()]
    assert set(uris[:3]) < set(urls)
    assert not [url for url in urls if "secret" in url or "abc" in url]
    found = hands.open(experiment, "reader").find("elsewhere")
    assert found is not None
    assert found.manifest == sealed.manifest


def test_a_model_is_an_output_model_that_the_sdk_loads(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    metadata = {"clearml_framework": "pytorch", "accuracy.top": 0.9}
    for number in range(2):
        sealed = hands.samples.seal(
            "classifier", {"model.pt": b"weights %d" % number}, type=ArtifactType.MODEL, description="it classifies",
            metadata=metadata,
        )  # fmt: skip
        opened.put(sealed, Labels(f"1.{number}"))
    opened.close()
    newest, oldest = hands.user.call(clearml_user.models, experiment, "classifier")
    assert list(newest["content"].values()) == [b"weights 1"]
    assert list(oldest["content"].values()) == [b"weights 0"]
    assert newest["framework"] == "PyTorch"
    assert {"tracelet", "model", "1.1"} <= set(newest["tags"])
    assert "it classifies" in newest["comment"]
    assert newest["metadata"]["accuracy_top"] == "0.9"


def test_a_model_of_several_files_is_a_package(hands: Hands, experiment: str) -> None:
    files = {"model.pt": b"1", "config/config.json": b"{}", "empty": b""}
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("net", files, type=ArtifactType.CHECKPOINT))
    opened.close()
    (model,) = hands.user.call(clearml_user.models, experiment, "net")
    assert model["content"] == files


def test_every_version_of_a_model_stays_among_the_tasks_own(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    for number in range(3):
        opened.put(hands.samples.seal("net", {"same.pt": b"%d" % number}, type=ArtifactType.WEIGHTS))
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert len(server.dump()["tasks"][task["id"]]["models"]["output"]) == 3


def test_a_dataset_is_a_dataset_with_our_version_and_its_parent(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    first = {"train.csv": b"a,b\n1,2\n", "deep/er/test.csv": b"a,b\n3,4\n"}
    second = {**first, "more.csv": b"5,6\n"}
    third = {"train.csv": b"a,b\n9,9\n"}
    for content, label in ((first, "v1.2.0"), (second, "1.3"), (third, None)):
        opened.put(
            hands.samples.seal("flowers", content, type=ArtifactType.DATASET, metadata={"rows": 2}), Labels(label)
        )
    opened.close()
    got = [hands.user.call(clearml_user.dataset, experiment, "flowers", one) for one in ("v1.2.0", "1.3", "v2")]
    assert [one["content"] for one in got] == [first, second, third]
    assert [one["parents"] for one in got] == [[], ["v1.2.0"], ["1.3"]]
    assert all(one["final"] for one in got)
    assert got[1]["own"] == ["more.csv"], "what the parent has is not stored again"
    assert got[0]["metadata"]["manifest"]["name"] == "flowers"
    reader = hands.open(experiment, "reader")
    for content, ref in ((first, "v1.2.0"), (second, "1.3"), (third, "v2")):
        found = reader.find("flowers", ref)
        assert found is not None
        assert reader.content(found, hands.new_folder()) == content


def test_a_new_file_with_a_parents_bytes_is_not_lost(hands: Hands, experiment: str) -> None:
    """The SDK by itself leaves it out, and the dataset can then not be got at all."""
    opened = hands.open(experiment)
    first, second = {"a": b"same"}, {"a": b"same", "b": b"same"}
    for content in (first, second):
        opened.put(hands.samples.seal("twins", content, type=ArtifactType.DATASET))
    opened.close()
    assert hands.user.call(clearml_user.dataset, experiment, "twins", "v1")["content"] == second


@pytest.mark.parametrize("which", [0, 1], ids=["the first", "the one before"])
@pytest.mark.parametrize("how", ["deleted", "reset"])
def test_a_dataset_whose_ancestor_is_gone_begins_a_new_line(
    hands: Hands, server: ClearmlServer, experiment: str, which: int, how: str
) -> None:
    """The SDK goes back to the first of them, and makes none where one is missing."""
    opened = hands.open(experiment)
    content: dict[str, bytes] = {}
    stored = []
    for number in range(2):
        content[f"{number}.csv"] = b"%d" % number
        stored.append(opened.put(hands.samples.seal("flowers", content, type=ArtifactType.DATASET)))
    key = stored[which].locator["place"]["entity"]
    if how == "deleted":
        hands.user.call(clearml_user.delete_task, key)
    else:
        server.set_status(key, "created")
    content["2.csv"] = b"2"
    sealed = hands.samples.seal("flowers", content, type=ArtifactType.DATASET)
    assert opened.put(sealed).number == 2
    opened.close()
    assert hands.content(hands.open(experiment, "reader"), sealed) == content
    got = hands.user.call(clearml_user.dataset, experiment, "flowers", "v2")
    assert got["content"] == content


def test_a_dataset_keeps_old_files_odd_names_and_empty_files(hands: Hands, experiment: str) -> None:
    files = {".hidden": b"1", "ünï [x]*?.txt": b"2", "empty": b"", "old": b"3"}
    sealed = hands.samples.seal("odd", files, type=ArtifactType.DATASET)
    os.utime(sealed.sources["old"], (0, 0))
    opened = hands.open(experiment)
    opened.put(sealed)
    opened.close()
    assert hands.user.call(clearml_user.dataset, experiment, "odd", "v0")["content"] == files
    assert hands.content(hands.open(experiment, "reader"), sealed) == files


def test_a_dataset_may_be_of_references_only(hands: Hands, experiment: str) -> None:
    """A link that cannot be reached is no reason not to store what there is to know."""
    sealed = hands.samples.seal(
        "far", type=ArtifactType.DATASET, references=[("s3://no-such-bucket/x.tar", None, None)]
    )
    opened = hands.open(experiment)
    opened.put(sealed)
    found = hands.open(experiment, "reader").find("far")
    assert found is not None
    assert found.manifest == sealed.manifest


def test_a_long_line_of_versions_does_not_get_slower_for_ever(hands: Hands, experiment: str) -> None:
    """ClearML looks at every ancestor: after some a version begins a new line, and holds all its files itself."""
    opened = hands.open(experiment)
    content: dict[str, bytes] = {}
    for number in range(7):
        content[f"{number}"] = b"%d" % number
        opened.put(hands.samples.seal("line", content, type=ArtifactType.DATASET))
    depths = [stored.locator["place"]["depth"] for stored in reversed(opened.list("line"))]
    assert depths == [0, 1, 2, 3, 4, 5, 0]
    found = opened.find("line")
    assert found is not None
    assert opened.content(found, hands.new_folder()) == content


def test_images_are_debug_samples_from_where_they_are_stored(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    files = {f"{number}.png": b"\x89PNG %d" % number for number in range(12)}
    opened.put(hands.samples.seal("cats", {**files, "notes.txt": b"n"}, type=ArtifactType.IMAGE))
    opened.put(hands.samples.seal("plots", {"loss.html": b"<svg/>"}, type=ArtifactType.VISUALIZATION))
    opened.put(hands.samples.seal("not-media", {"x.png": b"1"}, type=ArtifactType.CUSTOM))
    opened.close()
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    events = [event for event in server.dump()["events"] if event["task"] == task["id"]]
    samples = [event for event in events if event["type"] == "training_debug_image"]
    assert [event["metric"] for event in samples] == ["cats"] * 12 + ["plots"]
    for event in samples:
        path = server.files / event["url"].removeprefix(server.files_url).lstrip("/")
        assert path.read_bytes() in {*files.values(), b"<svg/>"}


def test_what_a_run_uses_is_noted_where_clearml_shows_it(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    opened = hands.open(experiment)
    model = opened.put(hands.samples.seal("net", {"x.pt": b"1"}, type=ArtifactType.MODEL))
    data = opened.put(hands.samples.seal("data", {"x": b"1"}, type=ArtifactType.DATASET), Labels("1.0"))
    opened.close()
    user = hands.open(experiment, "reader")
    user.record_input(model)
    user.record_input(data)
    newest = max(hands.user.call(clearml_user.tasks, experiment), key=lambda task: task["status"] == "in_progress")
    task = server.dump()["tasks"][newest["id"]]
    assert [one["model"] for one in task["models"]["input"]] == [model.locator["place"]["entity"]]
    assert task["hyperparams"]["Datasets"]["data 1.0"]["value"] == data.locator["place"]["entity"]
    user.close()


def test_records_are_in_a_hidden_project_and_no_where_else(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("x", {"x": b"1"}))
    opened.close()
    projects = {one["name"]: one["system_tags"] for one in server.dump()["projects"].values()}
    assert projects[experiment] == []
    assert projects[f"{experiment}/.tracelet"] == ["hidden"]
    assert len(hands.user.call(clearml_user.tasks, experiment)) == 1


def test_records_are_not_among_all_tasks(hands: Hands, experiment: str) -> None:
    """Such a list, without a project, asks each task whether it is hidden, and not its project."""
    opened = hands.open(experiment)
    for name in ("unlisted-a", "unlisted-b"):
        opened.put(hands.samples.seal(name, {"x": b"1"}))
    opened.close()
    listed = hands.user.call(clearml_user.every_task)
    assert [name for name in listed if experiment in name] != []
    assert [name for name in listed if name.startswith("unlisted")] == []
    assert {one.manifest.name for one in hands.open(experiment, "reader").list()} == {"unlisted-a", "unlisted-b"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with S3Server("clearml-files") as server:
        yield server


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_files_go_to_the_place_that_is_set(
    hands: Hands, experiment: str, tmp_path: Path, place: str, bucket: S3Server
) -> None:
    """A shared folder, or a bucket, through ClearML's own storage; models and datasets, too."""
    more = {"TRACELET_CLEARML_OUTPUT_URI": tmp_path.as_uri()}
    if place == "bucket":
        more = {**bucket.environ, "TRACELET_CLEARML_OUTPUT_URI": bucket.url("shared")}
    files = {"a": b"1", "b": b"", "c": b"3"}
    opened = hands.open(experiment, f"sharer-{place}", more)
    for kind in (ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET):
        sealed = hands.samples.seal(f"shared-{kind.value}", files, type=kind)
        opened.put(sealed)
        assert hands.content(hands.open(experiment, f"reader-{place}", more), sealed) == files
    if place == "bucket":
        assert bucket.client().list_objects_v2(Bucket=bucket.bucket)["KeyCount"] >= 5
    else:
        assert [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not (hands.server.files / experiment).exists()


def test_the_address_of_a_version_can_be_followed(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """It is the page that the SDK itself prints for the task, and so are the bytes where they are said to be."""
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("x", {"x": b"1"}))
    page = hands.user.call(clearml_user.page, stored.locator["place"]["task"])
    assert page.startswith(f"{server.api_url}/projects/")
    assert stored.uri == f"{page.removesuffix('/output/log')}/artifacts"
    (blob,) = stored.locator["place"]["blobs"]
    request = urllib.request.Request(blob["uri"], headers={"Authorization": f"Bearer {server.token()}"})
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b"1"
