"""What users logged with W&B alone is found with all that W&B knows of it, and fetched. Real client, stand-in server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from servers import programs
from servers import wandb_user as user
from servers.wandb_lab import Lab
from tracelet.exceptions import ArtifactNotFound, BackendError, BackendUnavailable, IntegrityError
from tracelet.plugin import ArtifactType, ForeignArtifact, ForeignFile, Labels
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.samples import Samples

#: A server of today, and one that offers its clients nothing.
pytestmark = pytest.mark.parametrize("lab", ["current", "plain"], indirect=True)


@attrs.frozen
class Study:
    """A project that somebody filled without Tracelet, and the ids of its runs."""

    project: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def study(lab: Lab) -> Study:
    return Study("study", lab.user.call(user.log_study, "study"))


@pytest.fixture
def reading(lab: Lab) -> Iterator[BackendProcess]:
    """A backend in another process and folder than the user's, opened for an experiment that is not there."""
    made = lab.open("nothing-of-it", lab.reader)
    yield made
    lab.server.fault()
    made.close()


def by_version(found: Sequence[ForeignArtifact]) -> dict[str, ForeignArtifact]:
    return {f"{one.name}:{one.version}": one for one in found}


def test_every_version_is_found_with_all_that_w_and_b_knows(lab: Lab, study: Study, reading: BackendProcess) -> None:
    began = time.time()
    found = reading.discover("somebody/study")
    table = f"run-{study.runs['model']}-scores"
    code = next(one.name for one in found if one.kind == "code")
    assert [(one.name, one.version, one.kind, one.type) for one in found if one.name == "data"] == [
        ("data", "v0", "dataset", ArtifactType.DATASET),
        ("data", "v1", "dataset", ArtifactType.DATASET),
    ]
    known = by_version(found)
    assert {*known} == {"data:v0", "data:v1", "net:v0", f"{table}:v0", f"{code}:v0"}
    assert {one.experiment for one in found} == {"study"}
    assert all(began - 3600 < one.created_at <= time.time() for one in found)
    old, new, net = known["data:v0"], known["data:v1"], known["net:v0"]
    assert (sorted(old.aliases), new.aliases, net.aliases) == (["first", "old"], ("golden",), ("best",))
    assert (old.description, net.description) == ("two tables", None)
    assert (old.metadata, new.metadata, net.metadata) == (
        {"rows": 0, "by": {"a": 1}},
        {"rows": 1, "by": {"a": 1}},
        {"wandb_tags": ["reviewed"]},
    )
    assert {one.path: one.size_bytes for one in new.files} == {
        "train.csv": 14,
        "test.csv": 13,
        "in/folder/deep.csv": 13,
    }
    assert [(one.uri, one.description) for one in new.references] == [("s3://bucket/far.bin", "far.bin")]
    assert known[f"{table}:v0"].type is ArtifactType.SAMPLE
    assert known[f"{code}:v0"].type is ArtifactType.CODE
    # A file that another version holds has no size here.
    assert {one.path: one.size_bytes for one in net.files} == {
        "weights.bin": 700,
        "trained/on.csv": None,
        "again.csv": None,
    }


def test_a_run_is_told_with_its_configuration_its_last_values_and_what_it_used(
    study: Study, reading: BackendProcess
) -> None:
    known = by_version(reading.discover("somebody/study"))
    data, net = known["data:v1"].run, known["net:v0"].run
    assert data is not None
    assert net is not None
    assert (data.id, net.id) == (study.runs["data"], study.runs["model"])
    assert net.name.startswith("plain-run-")
    assert (data.parameters, data.metrics) == ({"lr": 0.1, "layers": [8, 4]}, {})
    assert net.parameters == {"depth": 3}
    assert net.metrics == {"loss": {"min": 1.0, "last": 1.0}, "acc": 0.75, "word": "good"}
    assert known["net:v0"].inputs == (known["data:v1"].address, known["data:v0"].address)
    assert known["data:v1"].inputs == ()


def test_every_byte_comes_also_what_another_version_holds(
    lab: Lab, study: Study, reading: BackendProcess, tmp_path: Path
) -> None:
    known = by_version(reading.discover("somebody/study"))
    deep, train, test = b"deep.csv\n1,2\n", b"train.csv\n1,2\n", b"test.csv\n1,2\n"
    assert reading.foreign_content(known["data:v0"], tmp_path / "old") == {
        "train.csv": train,
        "in/folder/deep.csv": deep,
    }
    assert reading.foreign_content(known["data:v1"], tmp_path / "new") == {
        "train.csv": train,
        "test.csv": test,
        "in/folder/deep.csv": deep,
    }
    assert reading.foreign_content(known["net:v0"], tmp_path / "net") == {
        "weights.bin": b"weights" * 100,
        "trained/on.csv": train,
        "again.csv": train,
    }
    (table,) = [one for one in known.values() if one.type is ArtifactType.SAMPLE]
    shown = json.loads(reading.foreign_content(table, tmp_path / "table")["scores.table.json"])
    assert (shown["columns"], shown["data"]) == (["a", "b"], [[1, "x"], [2, "y"]])
    (code,) = [one for one in known.values() if one.type is ArtifactType.CODE]
    assert reading.foreign_content(code, tmp_path / "code") == {"run.py": b"print(1)\n"}


@pytest.mark.parametrize(
    ("place", "versions"),
    [
        ("study", ["data:v0", "data:v1", "net:v0"]),
        ("somebody/study/data", ["data:v0", "data:v1"]),
        ("somebody/study/data:golden", ["data:v1"]),
        ("somebody/study/data:v0", ["data:v0"]),
        ("somebody/study/data:latest", ["data:v1"]),
        ("study/net:best", ["net:v0"]),
    ],
)
def test_a_place_is_written_as_w_and_bs_users_do(
    study: Study, reading: BackendProcess, place: str, versions: list[str]
) -> None:
    found = reading.discover(place)
    assert sorted(f"{one.name}:{one.version}" for one in found if one.name in {"data", "net"}) == versions


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("somebody/stduy", "has no project somebody/stduy.*There is .*'study'"),
        ("nobody/study", "has no project nobody/study"),
        ("somebody/study/dat", "has no artifact 'dat'.*There is 'data'"),
        ("somebody/study/data:goldn", "has no version somebody/study/data:goldn.*There is 'golden'"),
        ("somebody/study/data:v7", "has no version"),
        ("somebody/study/data/more", "is no place"),
        ("study:v0", "is no place"),
        ("study//data", "is no place"),
        ("", "is no place"),
    ],
)
def test_a_place_that_is_not_there_names_what_is_near(
    study: Study, reading: BackendProcess, place: str, told: str
) -> None:
    with pytest.raises(ArtifactNotFound, match=told) as raised:
        reading.discover(place)
    assert "ENTITY/PROJECT/NAME:ALIAS" in str(raised.value)


def test_a_place_is_missed_as_clearly_where_projects_are_not_told(
    lab: Lab, study: Study, reading: BackendProcess
) -> None:
    lab.server.fault("GetProjects", "refusal:400:no")
    with pytest.raises(ArtifactNotFound, match="has no project somebody/stduy, or"):
        reading.discover("somebody/stduy")


def test_an_address_has_the_server_and_stays(lab: Lab, study: Study, reading: BackendProcess) -> None:
    """It is made of W&B's id, since names of projects and of artifacts change."""
    found = reading.discover("somebody/study")
    host = lab.server.url.removeprefix("http://")
    assert len({one.address for one in found}) == len(found)
    assert all(one.address.startswith(f"wandb://{host}/artifact/") for one in found)
    assert [one.address for one in reading.discover("somebody/study/data")] == [
        one.address for one in found if one.name == "data"
    ]


def test_what_tracelet_stored_is_left_out(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, reading: BackendProcess
) -> None:
    """With the tables that it showed on its runs; also where somebody took its note from the metadata."""
    lab.user.call(user.log_natively, experiment, "native", "dataset", b"native")
    opened.put(samples.seal("model", {"x": b"0"}), Labels("1.0", ("best",)))
    opened.put(samples.seal("rows", {"r.csv": b"a,b\n1,2\n"}, type=ArtifactType.SAMPLE))
    opened.put(samples.seal("several", {"r.csv": b"a,b\n1,2\n", "s.csv": b"a\n1\n"}, type=ArtifactType.SAMPLE))
    opened.close()
    kinds = {one["type"] for one in lab.server.project(experiment)["collections"].values()}
    assert "run_table" in kinds
    assert [one.name for one in reading.discover(experiment)] == ["native"]
    lab.user.call(user.edit, f"somebody/{experiment}/model:v0", metadata={"mine": 1})
    assert [one.name for one in reading.discover(experiment)] == ["native"]


#: The user's own run is in W&B's shared mode, so what Tracelet shows is on it.
SHARED = """
import json
from pathlib import Path
import wandb
from tracelet import ArtifactType, Experiment

mine = wandb.init(project={experiment!r}, mode="shared", settings=wandb.Settings(x_disable_stats=True))
for name in ("r.csv", "s.csv"):
    Path(name).write_text("a,b\\n1,2\\n")
with Experiment({experiment!r}, backend="wandb", artifacts=True) as exp:
    for name, paths in {{"rows": ["r.csv"], "several": ["r.csv", "s.csv"]}}.items():
        made = exp.create_artifact(name, ArtifactType.SAMPLE)
        for path in paths:
            made.add_file(path)
        assert exp.log_artifact(made).ok
mine.log({{"rows2": wandb.Table(columns=["a"], data=[[1]])}})
mine.finish()
print(json.dumps(mine.id))
"""


def test_tables_that_tracelet_showed_on_the_users_run_are_left_out_and_the_users_own_is_not(
    lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path
) -> None:
    environ = {**lab.server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    run = programs.run(SHARED.format(experiment=experiment), tmp_path / "program", environ)
    kinds = [one["type"] for one in lab.server.project(experiment)["collections"].values()]
    assert kinds.count("run_table") == 4
    assert [one.name for one in reading.discover(experiment)] == [f"run-{run}-rows2"]


def test_a_link_is_listed_where_it_is_asked_for(
    lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path
) -> None:
    """Under its own name it is there anyway; what links to another project is there by the link alone."""
    lab.user.call(user.log_natively, experiment, "net", "model", b"native")
    lab.user.call(user.link, f"somebody/{experiment}/net:v0", f"somebody/{experiment}/shelf", ["prod"])
    lab.user.call(user.link, f"somebody/{experiment}/net:v0", f"somebody/{experiment}-far/shelf", ["prod"])
    assert [one.name for one in reading.discover(experiment)] == ["net"]
    (linked,) = reading.discover(f"somebody/{experiment}/shelf:prod")
    (far,) = reading.discover(f"{experiment}-far")
    assert (linked.name, linked.aliases, far.name, far.aliases) == ("shelf", ("prod",), "shelf", ("prod",))
    (net,) = reading.discover(f"somebody/{experiment}/net")
    assert {net.address} == {linked.address, far.address}
    assert far.run == net.run
    assert reading.foreign_content(far, tmp_path / "far") == {"native.bin": b"native"}


def test_what_is_deleted_during_a_listing_is_not_in_it(lab: Lab, reading: BackendProcess, experiment: str) -> None:
    lab.user.call(user.log_natively, experiment, "net", "model", b"native")
    lab.server.fault("TraceletForeignVersions", "hold")
    before = lab.asked().count("TraceletForeignVersions")
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(reading.discover, experiment)
        lab.server.wait_for("TraceletForeignVersions", before + 1)
        lab.server.delete_project(experiment)
        lab.server.fault()
        assert not coming.result()


#: Import a project twice, and say what became of it and what there is then.
IMPORT = """
import json
import tracelet
from tracelet import Experiment

outcomes = []
for _ in range(2):
    done = tracelet.import_from("wandb", "somebody/study", to_backend="local")
    outcomes.append(sorted([one.name, one.version, one.outcome] for one in done.versions))
exp = Experiment("study", backend="local", artifacts=True)
listed = [
    [one.name, one.number, one.type.value, sorted(one.aliases), one.run_id, one.metadata["imported_from"]]
    for one in exp.list_artifacts()
]
net = exp.get_artifact("net", "best")
print(json.dumps([outcomes, sorted(listed), sorted(net.metadata["run"]["metrics"]), net.open("again.csv").read().decode()]))
"""


def test_an_import_stores_every_version_once(lab: Lab, study: Study, reading: BackendProcess, tmp_path: Path) -> None:
    known = by_version(reading.discover("study"))
    environ = {**lab.server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    outcomes, listed, metrics, again = programs.run(IMPORT, tmp_path / "program", environ)
    assert [sorted({one[2] for one in each}) for each in outcomes] == [["copied"], ["skipped"]]
    assert sorted(address for *_, address in listed) == sorted(one.address for one in known.values())
    assert [one[:5] for one in listed if one[0] in {"data", "net"}] == [
        ["data", 0, "dataset", ["first", "old"], study.runs["data"]],
        ["data", 1, "dataset", ["golden"], study.runs["data"]],
        ["net", 0, "model", ["best"], study.runs["model"]],
    ]
    assert metrics == ["acc", "loss", "word"]
    assert again == "train.csv\n1,2\n"


def test_requests_are_few_and_no_file_is_fetched(lab: Lab, reading: BackendProcess, experiment: str) -> None:
    """One for the types, one for the names of each, one for each hundred versions, one for each twenty runs, and the manifests."""
    for number in range(5):
        lab.user.call(user.log_natively, experiment, "net", "model", b"%d" % number)
    before = len(lab.asked())
    found = reading.discover(experiment)
    assert [one.version for one in found] == [f"v{number}" for number in range(5)]
    asked = [one for one in lab.asked()[before:] if one != "GET storage"]
    assert sorted(asked) == [
        "TraceletForeignNames",
        "TraceletForeignRuns",
        "TraceletForeignTypes",
        "TraceletForeignVersions",
    ]
    assert len(lab.asked()) - before == len(asked) + len(found)


def test_every_page_is_read(lab: Lab, study: Study, reading: BackendProcess) -> None:
    whole = reading.discover("study")
    lab.server.fault(longest_page=1)
    assert reading.discover("study") == whole


def test_a_version_whose_list_of_files_is_gone_is_told_by_the_fetch_and_the_others_come(
    lab: Lab, study: Study, reading: BackendProcess, tmp_path: Path
) -> None:
    """So that an import counts it as one that failed; who asked for it alone hears of it, too."""
    whole = reading.discover("somebody/study/data")
    lab.server.fault("GET storage", "status:404", 1)
    found = reading.discover("somebody/study/data")
    assert [one.address for one in found] == [one.address for one in whole]
    ((lost, _),) = [pair for pair in zip(found, whole, strict=True) if pair[0] != pair[1]]
    assert (lost.kind, lost.files_known) == ("dataset that cannot be read", False)
    with pytest.raises(ArtifactNotFound, match=rf"'data' {lost.version} .*lost the list of its files"):
        reading.foreign_content(lost, tmp_path / "lost")
    lab.server.fault("GET storage", "status:404", 1)
    (asked,) = reading.discover("somebody/study/data:v0")
    assert not asked.files_known


@pytest.mark.parametrize("damage", [b"[]", b'{"contents": []}', b'{"contents": {"a": 1}}', b"{"])
def test_a_version_whose_list_of_files_is_damaged_is_told_by_the_fetch(
    lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path, damage: bytes
) -> None:
    lab.user.call(user.log_natively, experiment, "net", "model", experiment.encode())
    (found,) = reading.discover(experiment)
    manifest = max((lab.server.folder / "blobs").glob("manifest-*"), key=lambda one: one.stat().st_mtime_ns)
    whole = manifest.read_bytes()
    manifest.write_bytes(damage)
    (lost,) = reading.discover(experiment)
    assert (lost.address, lost.name, lost.files_known) == (found.address, "net", False)
    with pytest.raises(ArtifactNotFound, match=r"'net' v0 .*could not be read"):
        reading.foreign_content(lost, tmp_path / "lost")
    with pytest.raises((BackendError, ArtifactNotFound)):
        reading.foreign_content(found, tmp_path / "found")
    manifest.write_bytes(whole)
    assert reading.foreign_content(found, tmp_path / "whole") == {"native.bin": experiment.encode()}


def test_a_list_of_files_that_goes_between_the_listing_and_the_fetch_is_told(
    lab: Lab, study: Study, reading: BackendProcess, tmp_path: Path
) -> None:
    (found,) = reading.discover("somebody/study/net")
    lab.server.fault("GET storage", "status:404", 1)
    with pytest.raises(ArtifactNotFound, match="lost the list"):
        reading.foreign_content(found, tmp_path / "lost")


def test_a_run_that_is_not_told_takes_nothing_with_it(lab: Lab, study: Study, reading: BackendProcess) -> None:
    """What it logged comes without it; where the server refuses several runs at once, they are asked for one by one."""
    whole = reading.discover("study")
    lab.server.fault("TraceletForeignRuns", "refusal:400:too complex", 1)
    assert reading.discover("study") == whole
    lab.server.fault("TraceletForeignRuns", "refusal:400:broken")
    lab.reader.call(user.listen)
    without = by_version(reading.discover("study"))
    assert [*without] == [*by_version(whole)]
    assert {one.run for one in without.values()} == {None}
    assert without["net:v0"].inputs == (without["data:v1"].address,), "the version that holds its file, by the manifest"
    told = lab.reader.call(user.heard)
    assert [sum(run in one for one in told) for run in study.runs.values()] == [1, 1]


def test_a_run_that_was_deleted_is_missing_alone(lab: Lab, reading: BackendProcess, experiment: str) -> None:
    lab.user.call(user.log_natively, experiment, "net", "model", b"native")
    (run,) = lab.server.project(experiment)["runs"]
    lab.server.delete_run(experiment, run["name"])
    (found,) = reading.discover(experiment)
    assert (found.name, found.run) == ("net", None)


@pytest.mark.parametrize(
    "match", ["TraceletForeignTypes", "TraceletForeignVersions", "TraceletForeignRuns", "GET storage"]
)
def test_a_server_that_is_away_loses_nothing(lab: Lab, study: Study, reading: BackendProcess, match: str) -> None:
    lab.server.fault(match, "status:503")
    with pytest.raises(BackendUnavailable):
        reading.discover("study")


def test_a_store_that_is_busy_for_a_moment_loses_nothing(lab: Lab, study: Study, reading: BackendProcess) -> None:
    whole = reading.discover("study")
    lab.server.fault("GET storage", "status:503", 2)
    assert reading.discover("study") == whole


def test_a_changed_byte_is_noticed(lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path) -> None:
    algorithm = "XXH128" if lab.server.current else "MD5"
    lab.user.call(user.log_natively, experiment, "net", "model", b"native one", algorithm=algorithm)
    (found,) = reading.discover(experiment)
    assert reading.foreign_content(found, tmp_path / "whole") == {"native.bin": b"native one"}
    (blob,) = [one for one in (lab.server.folder / "blobs").iterdir() if one.read_bytes() == b"native one"]
    blob.write_bytes(b"native two")
    with pytest.raises(IntegrityError, match=r"'native.bin' of 'net' v0"):
        reading.foreign_content(found, tmp_path / "changed")


def test_bytes_that_are_gone_are_named(lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path) -> None:
    content = experiment.encode()
    lab.user.call(user.log_natively, experiment, "net", "model", content)
    (found,) = reading.discover(experiment)
    with pytest.raises(ArtifactNotFound, match=r"'none.bin' of 'net' v0"):
        reading.foreign_content(attrs.evolve(found, files=(ForeignFile("none.bin"),)), tmp_path / "none")
    (blob,) = [one for one in (lab.server.folder / "blobs").iterdir() if one.read_bytes() == content]
    blob.unlink()
    with pytest.raises(ArtifactNotFound, match=r"'native.bin' of 'net' v0"):
        reading.foreign_content(found, tmp_path / "gone")


def test_a_large_file_is_never_in_memory(lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path) -> None:
    """Neither while it comes, nor while it is compared."""
    lab.user.call(user.log_natively, experiment, "net", "model", bytes(128 << 20))
    (found,) = reading.discover(experiment)
    before = lab.reader.call(user.peak)
    content = reading.foreign_content(found, tmp_path / "large")
    assert content == {"native.bin": bytes(128 << 20)}
    assert lab.reader.call(user.peak) - before < 32 << 20


def test_a_version_that_holds_files_of_another_and_is_gone_is_told(
    lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path
) -> None:
    lab.user.call(user.log_natively, experiment, "held", "dataset", b"native")
    lab.user.call(user.log_held, experiment, "net", f"somebody/{experiment}/held:v0", "native.bin")
    (net,) = reading.discover(f"somebody/{experiment}/net")
    assert reading.foreign_content(net, tmp_path / "whole") == {"native.bin": b"native"}
    lab.user.call(user.delete, f"somebody/{experiment}/held:v0")
    with pytest.raises(ArtifactNotFound, match="or a version that holds files of it is"):
        reading.foreign_content(net, tmp_path / "gone")


def test_a_server_that_is_away_during_a_fetch_says_so(
    lab: Lab, study: Study, reading: BackendProcess, tmp_path: Path
) -> None:
    found = by_version(reading.discover("study"))["data:v0"]
    lab.server.fault("GET storage|GET file", "status:503")
    with pytest.raises(BackendUnavailable):
        reading.foreign_content(found, tmp_path / "away")


def test_what_w_and_b_makes_by_itself_is_left_out_but_no_table(
    lab: Lab, reading: BackendProcess, experiment: str
) -> None:
    """A user logs a table whose rows come one after the other under a type of W&B's own."""
    lab.user.call(user.log_as_w_and_b_does, experiment)
    (table,) = reading.discover(experiment)
    assert (table.kind, table.type) == ("wandb-run-incremental-table", ArtifactType.SAMPLE)
    with pytest.raises(ArtifactNotFound, match="no artifact 'job-of-it' that a user logged"):
        reading.discover(f"somebody/{experiment}/job-of-it")


def test_a_type_that_is_w_and_bs_users_own_is_told_by_the_files(
    lab: Lab, reading: BackendProcess, experiment: str
) -> None:
    """By those of all versions of a name, for these have one type."""
    lab.user.call(user.log_file, experiment, "curves", "my things", "a.png")
    lab.user.call(user.log_file, experiment, "curves", "my things", "a.png", "b.png")
    lab.user.call(user.log_file, experiment, "both", "my things", "a.png")
    lab.user.call(user.log_file, experiment, "both", "my things", "a.csv")
    lab.user.call(user.log_file, experiment, "words", "Training Data", "a.png")
    assert sorted((one.name, one.version, one.kind, one.type.value) for one in reading.discover(experiment)) == [
        ("both", "v0", "my things", "custom"),
        ("both", "v1", "my things", "custom"),
        ("curves", "v0", "my things", "image"),
        ("curves", "v1", "my things", "image"),
        ("words", "v0", "Training Data", "dataset"),
    ]


def test_a_path_that_no_artifact_can_hold_is_told_and_the_rest_comes(
    lab: Lab, reading: BackendProcess, experiment: str
) -> None:
    lab.user.call(user.log_file, experiment, "odd", "dataset", "a.csv", "Tracelet.JSON")
    lab.reader.call(user.listen)
    (found,) = reading.discover(experiment)
    assert [one.path for one in found.files] == ["a.csv"]
    (told,) = lab.reader.call(user.heard)
    assert "Tracelet.JSON" in told
    assert f"somebody/{experiment}/odd:v0" in told


def test_a_version_that_was_deleted_meanwhile_is_told(
    lab: Lab, reading: BackendProcess, experiment: str, tmp_path: Path
) -> None:
    lab.user.call(user.log_natively, experiment, "net", "model", b"native")
    (found,) = reading.discover(experiment)
    lab.user.call(user.delete, f"somebody/{experiment}/net:v0")
    with pytest.raises(ArtifactNotFound, match=r"'net' v0 .* is gone"):
        reading.foreign_content(found, tmp_path / "gone")
