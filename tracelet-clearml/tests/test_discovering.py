"""What was logged with ClearML's own SDK alone is found with all that ClearML knows of it, and fetched byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import pytest

from servers import clearml_plain, clearml_user, programs
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import ArtifactNotFound, BackendUnavailable, IntegrityError, UnsafePath
from tracelet.plugin import ArtifactType, ForeignArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver


@pytest.fixture(scope="module")
def plain(hands: Hands) -> Driver:
    """Programs that use ClearML's SDK alone; its reporting has no process of its own, whose end takes ten seconds."""
    home = hands.folder / "plain" / "home"
    home.mkdir(parents=True)
    (home / "clearml.conf").write_text("sdk.development.report_use_subprocess: false\n")
    return hands.driver("plain")


@pytest.fixture
def opened(hands: Hands) -> BackendProcess:
    """The backend, for an experiment that has nothing to do with what is looked for."""
    return hands.open("no-matter", "importer")


def _by_name(found: Sequence[ForeignArtifact]) -> dict[str, list[ForeignArtifact]]:
    names: dict[str, list[ForeignArtifact]] = {}
    for one in found:
        names.setdefault(one.name, []).append(one)
    return names


def test_runs_artifacts_and_models_are_found_with_all_that_clearml_knows(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    runs = [plain.call(clearml_plain.train, experiment, f"run {number}", number) for number in range(2)]
    found = opened.discover(experiment)
    names = _by_name(found)
    assert {name: len(versions) for name, versions in names.items()} == dict.fromkeys(
        ["scores", "table", "plots", "a file", "far", "net", "pack"], 2
    )
    for number, run in enumerate(runs):
        here = {name: versions[number] for name, versions in names.items()}
        for one in here.values():
            assert one.experiment == experiment
            assert one.run is not None
            assert (one.run.id, one.run.name) == (run["task"], f"run {number}")
            assert one.run.parameters == {"General/lr": "0.5", "General/layers": str(number)}
            assert one.run.metrics == {
                "loss/train": pytest.approx(1 / 3 + number),
                "Summary/accuracy": pytest.approx(0.75),
            }
        content = {name: opened.foreign_content(one, hands.new_folder()) for name, one in here.items() if one.files}
        assert {name: sorted(files) for name, files in content.items() if name not in {"plots", "pack"}} == {
            "scores": ["scores.json"],
            "table": ["table.csv.gz"],
            "a file": ["näme x.yaml"],
            "net": ["net.pt"],
        }
        assert json.loads(content["scores"]["scores.json"]) == {"top": number}
        assert content["a file"]["näme x.yaml"] == b"x: %d" % number
        assert content["net"]["net.pt"] == run["weights"]
        assert zlib.decompress(content["table"]["table.csv.gz"], 31).split() == [b",x", b"0,%d" % number, b"1,2"]
        for name, files in content.items():
            for file in here[name].files if here[name].files_known else ():
                assert file.size_bytes in {None, len(files[file.path])}
    types = {name: versions[0].type for name, versions in names.items()}
    assert types == {
        "scores": ArtifactType.CONFIG,
        "table": ArtifactType.DATASET,
        "plots": ArtifactType.CUSTOM,
        "a file": ArtifactType.CONFIG,
        "far": ArtifactType.CUSTOM,
        "net": ArtifactType.MODEL,
        "pack": ArtifactType.MODEL,
    }
    assert names["scores"][0].metadata["rows"] == "3"
    assert names["scores"][0].metadata["clearml"]["task_tags"] == ["night"]
    net = names["net"][1]
    assert net.description == f"Created by task id: {runs[1]['task']}\nit classifies", "as ClearML writes it"
    assert net.metadata["owner"] == "me"
    assert net.metadata["clearml"] == {
        "tags": ["best"],
        "framework": "PyTorch",
        "labels": {"cat": 1},
        "design": "depth = 3",
        "published": False,
    }


def test_a_folder_and_a_package_come_unpacked_as_clearmls_own_client_gives_them(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    run = plain.call(clearml_plain.train, experiment, "run", 7)
    names = _by_name(opened.discover(experiment))
    for name, content in (("plots", run["plots"]), ("pack", run["parts"])):
        (one,) = names[name]
        assert not one.files_known
        assert opened.foreign_content(one, hands.new_folder()) == content


def test_what_clearml_does_not_hold_is_a_reference(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    plain.call(clearml_plain.train, experiment, "run", 7)
    plain.call(clearml_plain.register_model, experiment, "https://user:secret@example.com/x.onnx")
    plain.call(clearml_plain.register_model, experiment, "file:///home/somebody/model.pt")
    found = [one for one in opened.discover(experiment) if one.references]
    assert [(one.name, [each.uri for each in one.references], one.files) for one in found] == [
        ("far", ["s3://bucket/elsewhere.bin"], ()),
        ("elsewhere", ["https://user@example.com/x.onnx"], ()),
        ("elsewhere", ["file:///home/somebody/model.pt"], ()),
    ]
    assert "secret" not in repr([(one.address, one.metadata, one.references) for one in found])
    assert [opened.foreign_content(one, hands.new_folder()) for one in found] == [{}, {}, {}]


def test_versions_of_a_dataset_have_all_their_files_whichever_of_them_added_them(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    make = plain.call
    large = {f"{number}.bin": bytes([number]) * 1000 for number in range(40)}
    first = make(clearml_plain.dataset, experiment, "flowers", {"a.csv": b"1", "deep/b.csv": b"2"}, version="1.0.0")
    other = make(clearml_plain.dataset, experiment, "leaves", large, version="3.1")
    second = make(
        clearml_plain.dataset, experiment, "flowers", {"a.csv": b"new", "c.csv": b"3"}, version="1.0.1",
        parents=[first, other], removed=["deep/b.csv"],
    )  # fmt: skip
    names = _by_name(one for one in opened.discover(experiment) if one.kind == "dataset")  # type: ignore[arg-type]
    assert [one.version for one in names["flowers"]] == ["1.0.0", "1.0.1"]
    assert [one.aliases for one in names["flowers"]] == [("1.0.0",), ("1.0.1",)]
    assert [one.type for one in names["flowers"]] == [ArtifactType.DATASET] * 2
    host = urlsplit(hands.server.api_url).netloc
    before, after = names["flowers"]
    assert (before.address, before.inputs) == (f"clearml://{host}/datasets/{first}", ())
    assert after.address == f"clearml://{host}/datasets/{second}"
    assert set(after.inputs) == {before.address, names["leaves"][0].address}
    assert after.description == "the training set"
    assert after.metadata["clearml"]["tags"] == ["raw"]
    assert opened.foreign_content(before, hands.new_folder()) == {"a.csv": b"1", "deep/b.csv": b"2"}
    whole = {"a.csv": b"new", "c.csv": b"3", **large}
    assert {file.path: file.size_bytes for file in after.files} == {path: len(data) for path, data in whole.items()}
    assert opened.foreign_content(after, hands.new_folder()) == whole
    assert make(clearml_user.content_of, second) == whole, "as ClearML's own client puts it together"


def test_a_file_that_was_moved_from_one_version_to_the_next_comes_with_its_bytes(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    """The SDK stores it once, under its old path, and does not find it there again."""
    before = {"old/a.bin": b"moved", "twin.bin": b"other"}
    first = plain.call(clearml_plain.dataset, experiment, "moved", before, version="1.0.0")
    after = {"new/b.bin": b"moved", "twin.bin": b"other"}
    plain.call(clearml_plain.move, experiment, "moved", first, after)
    versions = _by_name(opened.discover(experiment))["moved"]
    assert [opened.foreign_content(one, hands.new_folder()) for one in versions] == [before, after]
    hands.server.replace(hashlib.sha256(b"moved").hexdigest().encode(), hashlib.sha256(b"gone").hexdigest().encode())
    newest = versions[-1].locator["state"]
    state = _path(hands.server, newest["uri"])
    lost = attrs.evolve(
        versions[-1],
        locator={
            **versions[-1].locator,
            "state": {**newest, "sha256": hashlib.sha256(state.read_bytes()).hexdigest()},
        },
    )
    with pytest.raises(IntegrityError, match="is in no zip"):
        opened.foreign_content(lost, hands.new_folder())


def test_what_somebody_put_beside_a_datasets_files_is_an_artifact_that_comes_from_it(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    version, facts = opened.discover(experiment)
    assert (facts.name, facts.inputs) == ("flowers.facts", (version.address,))
    (content,) = opened.foreign_content(facts, hands.new_folder()).values()
    assert json.loads(content) == {"rows": 1}


def test_links_of_a_dataset_are_references(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "far.bin").write_bytes(b"far away")
    link = (folder / "far.bin").as_uri()
    plain.call(
        clearml_plain.dataset, experiment, "linked", {"a": b"1"}, version="1.0.0", links=[str(folder / "far.bin")]
    )
    version = opened.discover(experiment)[0]
    assert [(one.uri, one.size_bytes, one.description) for one in version.references] == [(link, 8, "far.bin")]
    assert opened.foreign_content(version, hands.new_folder()) == {"a": b"1"}


def test_a_run_says_from_which_model_and_dataset_it_made_a_model(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    run = plain.call(clearml_plain.train, experiment, "run", 1)
    data = plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    plain.call(clearml_plain.fine_tune, f"{experiment}/elsewhere", run["net"], data)
    (tuned,) = opened.discover(f"{experiment}/elsewhere")
    names = _by_name(opened.discover(experiment))
    assert set(tuned.inputs) == {names["net"][0].address, names["flowers"][0].address}
    assert opened.foreign_content(tuned, hands.new_folder()) == {"tuned.pt": b"tuned"}


# -- places


def test_a_place_is_a_project_with_or_without_what_is_below_it_or_one_thing(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    below = f"{experiment}/below"
    run = plain.call(clearml_plain.train, experiment, "run", 1)
    task = plain.call(clearml_plain.upload_file, below, "deep", b"1")
    data = plain.call(clearml_plain.dataset, below, "flowers", {"a": b"1"}, version="1.0.0")
    plain.call(clearml_plain.upload_file, f"{experiment}/.pipelines/daily", "step", b"1")

    def names(place: str) -> set[str]:
        return {one.name for one in opened.discover(place)}

    of_run = {"scores", "table", "plots", "a file", "far", "net", "pack"}
    own = {*of_run, "step"}
    assert names(experiment) == own
    assert names(below) == {"deep", "flowers", "flowers.facts"}
    assert names(f"{experiment}/*") == own | names(below)
    assert names(run["task"]) == of_run
    assert names(run["net"]) == {"net"}
    assert names(task) == {"deep"}
    assert names(data) == {"flowers", "flowers.facts"}
    assert {one.experiment for one in opened.discover(f"{experiment}/*")} == {experiment, below}


def test_a_place_that_is_not_there_is_told_with_the_nearest_names(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    plain.call(clearml_plain.upload_file, f"{experiment}/vision", "x", b"1")
    for place in (f"{experiment}/visions", f"{experiment}/visions/*", "vision"):
        with pytest.raises(ArtifactNotFound, match=rf"the id of a task.*'{experiment}/vision'"):
            opened.discover(place)
    for place in ("0" * 32, "", "/*"):
        with pytest.raises(ArtifactNotFound, match="there is no"):
            opened.discover(place)


def test_a_project_in_which_nothing_was_logged_has_nothing(
    hands: Hands, experiment: str, opened: BackendProcess
) -> None:
    hands.user.call(clearml_user.make_project, experiment)
    assert opened.discover(experiment) == ()


# -- what is left out


@pytest.mark.parametrize(
    "kind", [ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET], ids=lambda one: one.value
)
def test_what_tracelet_stored_is_left_out(
    hands: Hands, experiment: str, opened: BackendProcess, kind: ArtifactType
) -> None:
    """In its own task, and in one where the user has put something, too."""
    writer = hands.open(experiment)
    files = {f"{number}.txt": b"%d" % number for number in range(3)}
    stored = writer.put(hands.samples.seal("ours", files, type=kind, references=[("s3://bucket/far", 1, None)]))
    assert opened.discover(experiment) == ()
    task = stored.locator["place"]["task"]
    if kind is ArtifactType.CUSTOM:
        hands.user.call(clearml_user.upload, task, "theirs")
        assert [one.name for one in opened.discover(experiment)] == ["theirs"]
    writer.close()
    assert opened.discover(f"{experiment}/*") == opened.discover(experiment)
    assert "left out" not in hands.said("importer")


def test_a_dataset_of_the_users_that_comes_from_one_of_tracelets_is_found(
    hands: Hands, experiment: str, opened: BackendProcess
) -> None:
    """With the files that it has from there."""
    writer = hands.open(experiment)
    ours = writer.put(hands.samples.seal("ours", {"a": b"1"}, type=ArtifactType.DATASET)).locator["place"]["entity"]
    writer.close()
    child = hands.user.call(clearml_user.child_of, ours, experiment, "theirs")
    (found,) = opened.discover(experiment)
    assert found.address.endswith(child)
    assert opened.foreign_content(found, hands.new_folder()) == {"a": b"1", "added.txt": b"added"}


def test_archived_tasks_are_left_out_as_on_clearmls_pages(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    """Whoever says its id means it all the same."""
    task = plain.call(clearml_plain.upload_file, experiment, "old", b"1")
    plain.call(clearml_plain.archive, task)
    assert opened.discover(experiment) == ()
    assert [one.name for one in opened.discover(task)] == ["old"]


def test_a_dataset_that_is_not_finished_is_left_out_and_named(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    key = plain.call(clearml_plain.dataset, experiment, "begun", {"a": b"1"}, version="1.0.0", finished=False)
    assert opened.discover(experiment) == ()
    assert f"'begun' ({key}) is left out: it is not finished" in hands.said("importer")
    hands.user.call(clearml_user.delete_task, key)


def test_a_model_outlives_its_task_and_one_without_a_file_is_named(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    run = plain.call(clearml_plain.train, experiment, "run", 1)
    hands.user.call(clearml_user.publish_model, run["net"])
    hands.user.call(clearml_user.delete_task, run["task"])
    hands.user.call(clearml_user.begin_model, experiment, "begun", f"{hands.server.files_url}/uploading_file")
    (net,) = opened.discover(experiment)
    assert (net.name, net.run) == ("net", None)
    assert opened.foreign_content(net, hands.new_folder()) == {"net.pt": run["weights"]}
    assert "the model 'begun' is left out: the upload of its file was not finished" in hands.said("importer")


# -- addresses


def test_an_address_is_the_same_each_time_and_another_for_what_the_same_key_names_later(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    task = plain.call(clearml_plain.upload_file, experiment, "key of/it", b"1")
    (first,) = opened.discover(experiment)
    assert opened.discover(task) == (first,)
    digest = hashlib.sha256(b"1").hexdigest()[:16]
    host = urlsplit(hands.server.api_url).netloc
    assert first.address == f"clearml://{host}/tasks/{task}/artifacts/key%20of%2Fit#{digest}"
    hands.user.call(clearml_user.rename_project, experiment, f"{experiment}-new")
    (again,) = opened.discover(f"{experiment}-new")
    assert again.address == first.address
    other = plain.call(clearml_plain.upload_file, f"{experiment}-new", "key of/it", b"2")
    assert [one.address.partition("/tasks/")[2][:32] for one in opened.discover(f"{experiment}-new")] == [task, other]


def test_an_input_and_an_output_of_one_key_are_two_things(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    running = hands.open(experiment).put(hands.samples.seal("ours", {"x": b"1"})).locator["place"]["task"]
    for mode in ("input", "output"):
        entry: dict[str, Any] = {
            "key": "both",
            "type": "custom",
            "mode": mode,
            "uri": "s3://bucket/x",
            "timestamp": 2_000_000_000,
        }
        entry["type_data"] = {"preview": "a\0b"}
        hands.user.call(clearml_user.add_artifact, running, entry)
    host = urlsplit(hands.server.api_url).netloc
    found = opened.discover(experiment)
    assert [one.metadata["clearml"]["preview"] for one in found] == ["ab"] * 2, "no artifact can hold such a character"
    assert {one.address: one.metadata["clearml"]["mode"] for one in found} == {
        f"clearml://{host}/tasks/{running}/inputs/both#2000000000": "input",
        f"clearml://{host}/tasks/{running}/artifacts/both#2000000000": "output",
    }


# -- faults


def _path(server: ClearmlServer, uri: str) -> Any:
    return server.files / unquote(urlsplit(uri).path).lstrip("/")


def test_changed_bytes_are_told_and_not_given(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    plain.call(clearml_plain.upload_file, experiment, "one", b"what was uploaded")
    plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    found = {one.name: one for one in opened.discover(experiment)}
    hands.server.replace(b"what was uploaded", b"what was UPLOADED")
    with pytest.raises(IntegrityError, match="sha256"):
        opened.foreign_content(found["one"], hands.new_folder())
    for path in (hands.server.files / experiment).rglob("dataset.*.zip"):
        path.write_bytes(path.read_bytes().replace(b"PK", b"pk"))
    with pytest.raises(IntegrityError):
        opened.foreign_content(found["flowers"], hands.new_folder())


def test_what_was_deleted_meanwhile_is_told_and_the_rest_is_fetched(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    for key in ("kept", "gone"):
        plain.call(clearml_plain.upload_file, experiment, key, key.encode())
    first = plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    plain.call(clearml_plain.dataset, experiment, "flowers", {"b": b"2"}, version="1.0.1", parents=[first])
    found = opened.discover(experiment)
    names = _by_name(found)
    _path(hands.server, names["gone"][0].locator["file"]["uri"]).unlink()
    hands.user.call(clearml_user.delete_task, first)
    with pytest.raises(ArtifactNotFound):
        opened.foreign_content(names["gone"][0], hands.new_folder())
    with pytest.raises(ArtifactNotFound, match=f"'a' is in 'data' of the ClearML dataset {first}"):
        opened.foreign_content(names["flowers"][1], hands.new_folder())
    assert opened.foreign_content(names["kept"][0], hands.new_folder()) == {"x.bin": b"kept"}


def test_what_cannot_be_read_is_named_and_the_rest_is_found(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    task = plain.call(clearml_plain.upload_file, experiment, "whole", b"1")
    running = hands.open(experiment).put(hands.samples.seal("ours", {"x": b"1"})).locator["place"]["task"]
    for entry in (
        {"key": "no file", "type": "custom"},
        {"key": "odd name", "type": "custom", "uri": f"{hands.server.files_url}/x.{task}/tracelet.json"},
    ):
        hands.user.call(clearml_user.add_artifact, running, entry)
    data = plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    for path in (hands.server.files / experiment).rglob("state.json"):
        path.unlink()
    names = _by_name(opened.discover(experiment))
    assert set(names) == {"whole", "flowers", "flowers.facts"}
    said = hands.said("importer")
    assert f"the artifact 'no file' of the task {running} is left out" in said
    assert f"the artifact 'odd name' of the task {running} is left out: path 'tracelet.json'" in said
    assert f"which files are in the ClearML dataset 'flowers' ({data}) is not known" in said
    assert (names["flowers"][0].files_known, names["flowers"][0].size_bytes) == (False, 1)
    with pytest.raises(ArtifactNotFound, match=r"state\.json"):
        opened.foreign_content(names["flowers"][0], hands.new_folder())


def test_paths_that_lead_out_of_an_artifact_are_named_and_never_written(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess
) -> None:
    plain.call(clearml_plain.dataset, experiment, "flowers", {"aaaaaa.csv": b"1", "b.csv": b"2"}, version="1.0.0")
    plain.call(clearml_plain.train, experiment, "run", 1)
    changed = hands.server.replace(b'"relative_path": "aaaaaa.csv"', b'"relative_path": "../../.csv"')
    assert changed == 1
    # The server's own note of the file's bytes goes with them, as whoever has the server would see to.
    (state,) = (hands.server.files / experiment).rglob("state.json")
    (entry,) = [
        one
        for task in hands.server.dump()["tasks"].values()
        for one in task["execution"]["artifacts"]
        if one["key"] == "state" and unquote(one["uri"]).endswith(state.relative_to(hands.server.files).as_posix())
    ]
    hands.server.replace(entry["hash"].encode(), hashlib.sha256(state.read_bytes()).hexdigest().encode())
    flowers = next(one for one in opened.discover(experiment) if one.name == "flowers")
    assert "is without '../../.csv': no artifact can hold such paths" in hands.said("importer")
    assert flowers.metadata["clearml"]["left_out"] == ["../../.csv"]
    assert opened.foreign_content(flowers, hands.new_folder()) == {"b.csv": b"2"}


def test_nothing_in_an_archive_leads_out_of_it(
    hands: Hands, plain: Driver, experiment: str, opened: BackendProcess, tmp_path: Path
) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("../evil", "evil")
    task = plain.call(clearml_plain.upload_file, experiment, "packed", made.getvalue(), "packed.zip")
    running = hands.open(experiment).put(hands.samples.seal("ours", {"x": b"1"})).locator["place"]["task"]
    uri = hands.user.call(clearml_user.task_artifacts, task)["packed"]["url"]
    digest = hashlib.sha256(made.getvalue()).hexdigest()
    entry = {"key": "evil", "type": "archive", "uri": uri, "hash": digest}
    hands.user.call(clearml_user.add_artifact, running, entry)
    no_zip = plain.call(clearml_plain.upload_file, experiment, "no zip", b"no zip", "x.zip")
    uri = hands.user.call(clearml_user.task_artifacts, no_zip)["no zip"]["url"]
    hands.user.call(clearml_user.add_artifact, running, {"key": "odd", "type": "archive", "uri": uri})
    names = _by_name(opened.discover(experiment))
    with pytest.raises(UnsafePath, match="evil"):
        opened.foreign_content(names["evil"][0], tmp_path / "inside" / "dest")
    with pytest.raises(IntegrityError, match="is no zip"):
        opened.foreign_content(names["odd"][0], tmp_path / "inside" / "other")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert opened.foreign_content(names["packed"][0], hands.new_folder()) == {"packed.zip": made.getvalue()}


@pytest.mark.parametrize("match", ["projects.get_all", "tasks.get_all", "models.get_all", "files.GET"])
@pytest.mark.parametrize("kind", ["reset", "503"])
def test_a_server_that_fails_is_an_error_and_no_empty_list(
    hands: Hands, plain: Driver, server: ClearmlServer, experiment: str, opened: BackendProcess, match: str, kind: str
) -> None:
    plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    server.fail({"match": match, "kind": kind, "times": 9})
    with pytest.raises(BackendUnavailable):
        opened.discover(experiment)
    server.fail()
    found = opened.discover(experiment)
    server.fail({"match": "files.GET", "kind": kind, "times": 9})
    with pytest.raises(BackendUnavailable):
        opened.foreign_content(found[0], hands.new_folder())


def test_a_listing_takes_few_requests_and_reads_no_data(
    hands: Hands, plain: Driver, server: ClearmlServer, experiment: str, opened: BackendProcess
) -> None:
    for number in range(6):
        plain.call(clearml_plain.upload_file, experiment, "x", b"%d" % number)
    plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    server.calls(clear=True)
    assert len(opened.discover(experiment)) == 8
    calls = server.calls()
    assert [call["path"] for call in calls if call["name"] == "files.GET" and "state.json" not in call["path"]] == []
    assert len([call for call in calls if not call["name"].startswith("files.")]) <= 5


def test_more_than_a_page_is_found_in_its_order(
    plain: Driver, server: ClearmlServer, experiment: str, opened: BackendProcess
) -> None:
    """The server gives 500 at once."""
    plain.call(clearml_plain.many_tasks, experiment, 510, b"part")
    server.calls(clear=True)
    parts = _by_name(opened.discover(experiment))["part"]
    assert [one.run.name for one in parts if one.run is not None] == [f"number {number}" for number in range(510)]
    assert len({one.address for one in parts}) == 510
    assert len(server.calls()) <= 8


def test_a_server_that_does_not_answer_is_given_up(
    hands: Hands, plain: Driver, server: ClearmlServer, experiment: str
) -> None:
    """Within the limit of one request."""
    impatient = hands.open("no-matter", "impatient", {"TRACELET_CLEARML_REQUEST_TIMEOUT": "1"})
    plain.call(clearml_plain.upload_file, experiment, "x", b"1")
    (found,) = impatient.discover(experiment)
    for match, ask in (
        ("tasks.get_all", lambda: impatient.discover(experiment)),
        ("files.GET", lambda: impatient.foreign_content(found, hands.new_folder())),
    ):
        server.fail({"match": match, "kind": "hang", "times": 9})
        with pytest.raises(BackendUnavailable):
            ask()
        server.fail()


# -- importing

IMPORT = """
import json
import tracelet
told = []
for _ in range(2):
    results = tracelet.import_from("clearml", PLACE, to_backend="local")
    told.append([(one.name, one.version, one.outcome, one.target, one.why) for one in results.versions])
exp = tracelet.Experiment(PLACE, backend="local", artifacts=True)
kept = {}
for name in sorted({row[0] for row in told[0]}):
    one = exp.get_artifact(name)
    folder = one.download(name)
    kept[name] = {
        "files": {path.relative_to(folder).as_posix(): path.read_bytes().hex() for path in folder.rglob("*") if path.is_file()},
        "aliases": list(one.aliases), "metadata": one.metadata, "type": one.type.value,
    }
print(json.dumps([told, kept]))
"""


def test_what_was_logged_is_imported_once_with_all_its_bytes_versions_and_parameters(
    hands: Hands, plain: Driver, experiment: str, tmp_path: Path
) -> None:
    run = plain.call(clearml_plain.train, experiment, "run 1", 1)
    first = plain.call(clearml_plain.dataset, experiment, "flowers", {"a": b"1"}, version="1.0.0")
    plain.call(clearml_plain.dataset, experiment, "flowers", {"b": b"2"}, version="1.0.1", parents=[first])
    environ = {**hands.server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    told, kept = programs.run(IMPORT.replace("PLACE", repr(experiment)), tmp_path / "program", environ)
    names = {"scores", "table", "plots", "a-file", "far", "net", "pack", "flowers", "flowers.facts"}
    assert {name: [row[2:4] for row in told[0] if row[0] == name] for name in names} == {
        **{name: [["copied", "v0"]] for name in names},
        **{name: [["copied", "v0"], ["copied", "v1"]] for name in ("flowers", "flowers.facts")},
    }
    assert {row[4] for row in told[0]} == {""}
    assert {row[2] for row in told[1]} == {"skipped"}
    content = {name: {path: bytes.fromhex(data) for path, data in one["files"].items()} for name, one in kept.items()}
    assert content["flowers"] == {"a": b"1", "b": b"2"}
    assert (content["plots"], content["pack"]) == (run["plots"], run["parts"])
    assert (content["net"], content["far"]) == ({"net.pt": run["weights"]}, {})
    assert kept["flowers"]["aliases"] == ["1.0.1"]
    assert kept["net"]["metadata"]["run"]["parameters"] == {"General/lr": "0.5", "General/layers": "1"}
    assert kept["net"]["metadata"]["run"]["metrics"]["Summary/accuracy"] == 0.75
    assert kept["net"]["metadata"]["imported_from"].startswith(
        f"clearml://{urlsplit(hands.server.api_url).netloc}/models/"
    )
