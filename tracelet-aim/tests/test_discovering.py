"""What people logged with Aim alone is found and fetched: in a repo on disk, behind a server, and from a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.aim_elsewhere import Elsewhere
from servers.aim_server import AimServer
from servers.faulty_proxy import FaultyProxy
from servers.processes import free_port
from servers.s3_server import S3Server
from tracelet.exceptions import ArtifactNotFound, BackendError, BackendUnavailable, IntegrityError, UnsafePath
from tracelet.plugin import ArtifactType, ForeignArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver

#: What every program of a user of Aim begins with; it knows nothing of Tracelet.
HEAD = """
import json, os
import aim, numpy
from pathlib import Path

def wrote(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)
    return path

def run(experiment="digits", store=os.environ["STORE"]):
    made = aim.Run(repo=os.environ["REPO"], experiment=experiment, system_tracking_interval=None)
    made.set_artifacts_uri(store)
    return made
"""
#: Two runs of one experiment, one of another, and one without artifacts; their hashes.
LOG = """
first = run()
first["__system_params"] = {"env_variables": {"TOKEN": "secret"}}
first.name, first.description = "baseline", "the first try"
first.add_tag("paper")
first["hparams"] = {"lr": 0.1, "layers": [64, 32], "note": None, "nested": {"on": True}, "3": "three"}
first["seed"] = 7
for value in (0.9, 0.5):
    first.track(value, name="loss")
first.track(3, name="loss", context={"subset": "val"})
first.log_artifact(wrote("out/w.onnx", "weights one"), name="weights", block=True)
for path, content in {"a.csv": "1,2", "sub/b.csv": "3,4", "sub/c/d.csv": ""}.items():
    wrote(f"table/{path}", content)
first.log_artifacts("table", name="data", block=True)
first.close()
second = run()
for step in range(3):
    second.track(aim.Image(numpy.zeros((4, 4, 3), dtype="uint8")), name="seen", step=step)
    second.track(step / 4, name="accuracy", step=step)
second.log_artifact(wrote("out/w.onnx", "weights two"), name="weights", block=True)
second.log_artifact(wrote("out/notes.md", "# gr\\u00f6\\u00dfe"), block=True)
second.close()
other = run("letters")
other.log_artifact(wrote("out/w.onnx", "weights three"), name="weights", block=True)
other.close()
empty = run()
empty["seed"] = 1
empty.close()
print(json.dumps([one.hash for one in (first, second, other, empty)]))
"""

#: Imports the experiment twice, and reads what is stored then.
IMPORT = """
import json
import tracelet
rows = []
for _ in range(2):
    results = tracelet.import_from("aim", "digits", to_backend="local")
    rows.append([[one.name, one.outcome, one.target] for one in results.versions])
read = []
for one in tracelet.Experiment("digits", backend="local", artifacts=True).list_artifacts():
    folder, metadata = one.download(), one.metadata
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    read.append([one.name, one.version, one.type.value, metadata["imported_from"], metadata["run"]["id"], files])
print(json.dumps([*rows, sorted(read)]))
"""

Opened = Callable[..., BackendProcess]


class Lab:
    """Users of Aim who log, each time in a process and a folder of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        self._count = 0

    def __call__(self, code: str, **environ: str) -> Any:
        self._count += 1
        home = self.folder / f"user-{self._count}"
        return programs.run(f"{HEAD}\n{code}", home, {**self.environ, **environ})


@pytest.fixture
def lab(tmp_path: Path, repo: Path) -> Lab:
    """Users with a repo on disk, and a folder for their artifacts beside it."""
    return Lab(tmp_path, {"REPO": str(repo), "STORE": f"file://{tmp_path}/store"})


@pytest.fixture
def opened(tmp_path: Path, repo: Path) -> Iterator[Opened]:
    """Opens the backend in a process whose folder is none of the users', on the repo, or where the variables say."""
    drivers = []

    def begin(**environ: str) -> BackendProcess:
        home = tmp_path / f"lane-{len(drivers)}"
        drivers.append(Driver(home, {"TRACELET_AIM_REPO": str(repo), **environ}))
        return BackendProcess(drivers[-1], "one", "aim", "elsewhere", home / "tracelet")

    yield begin
    for driver in drivers:
        driver.close()


@pytest.fixture
def warned(tmp_path: Path) -> Callable[[], str]:
    """Returns what was told on the side of the backends until now."""
    return lambda: "".join(path.read_text() for path in tmp_path.glob("lane-*/stderr-*.log"))


def contents(backend: BackendProcess, found: ForeignArtifact, folder: Path) -> dict[str, str]:
    number = len(list(folder.glob("got-*")))
    return {path: data.decode() for path, data in backend.foreign_content(found, folder / f"got-{number}").items()}


@pytest.mark.parametrize("way", ["disk", "server"])
def test_an_experiments_runs_are_versions_with_every_byte_and_parameter(
    way: str, lab: Lab, opened: Opened, repo: Path, server: AimServer, tmp_path: Path
) -> None:
    """The oldest first; what other experiments have is left out."""
    address = f"aim://{repo}"
    if way == "server":
        address = server.address
        lab.environ["REPO"] = str(server.folder)
    first, second, other, _ = lab(LOG)
    backend = opened(**({"TRACELET_AIM_REPO": server.address} if way == "server" else {}))
    found = {one.address: one for one in backend.discover("digits")}
    assert [*found] == [
        f"{address}/{first}/data/",
        f"{address}/{first}/weights",
        f"{address}/{second}/notes.md",
        f"{address}/{second}/weights",
    ]
    assert {one.name: one.type for one in found.values()} == {
        "data": ArtifactType.DATASET,
        "weights": ArtifactType.MODEL,
        "notes.md": ArtifactType.REPORT,
    }
    assert [contents(backend, one, tmp_path) for one in found.values()] == [
        {"a.csv": "1,2", "sub/b.csv": "3,4", "sub/c/d.csv": ""},
        {"weights": "weights one"},
        {"notes.md": "# größe"},
        {"weights": "weights two"},
    ]
    data, weights, _, later = found.values()
    assert [(file.path, file.size_bytes) for file in data.files] == [("a.csv", 3), ("sub/b.csv", 3), ("sub/c/d.csv", 0)]
    assert data.metadata == {
        "uri": f"file://{tmp_path}/store/{first}/data/",
        "tags": ["paper"],
        "run_description": "the first try",
    }
    assert weights.metadata["uri"] == f"file://{tmp_path}/store/{first}/weights"
    assert weights.metadata["path"].endswith("out/w.onnx")
    assert {(one.kind, one.experiment, one.version, one.aliases) for one in found.values()} == {
        ("run artifact", "digits", "", ())
    }
    assert weights.created_at < later.created_at
    assert weights.run is not None
    assert weights.run == data.run
    assert (weights.run.id, weights.run.name) == (first, "baseline")
    hparams = {"lr": 0.1, "layers": [64, 32], "note": None, "nested": {"on": True}, "3": "three"}
    assert weights.run.parameters == {"hparams": hparams, "seed": 7}
    assert weights.run.metrics == {"loss": 0.5, 'loss {"subset": "val"}': 3}
    assert later.run is not None
    assert later.run.metrics == {"accuracy": 0.5}
    (alone,) = backend.discover(other)
    assert (alone.experiment, contents(backend, alone, tmp_path)) == ("letters", {"weights": "weights three"})


def test_what_tracelet_stored_is_left_out_and_what_a_user_added_to_its_run_is_not(
    lab: Lab, opened: Opened, program: Any, repo: Path, tmp_path: Path
) -> None:
    """Also when a run of the user has a parameter of Tracelet's name."""
    program(
        "with opened('digits') as exp:\n    exp.log_artifact(made(exp, weights=b'1'), version='1.0').raise_for_errors()",
        TRACELET_AIM_REPO=str(repo),
    )
    lab(
        """
(own,) = [one.hash for one in aim.Repo(os.environ["REPO"]).iter_runs()]
again = aim.Run(own, repo=os.environ["REPO"], system_tracking_interval=None)
again.set_artifacts_uri(os.environ["STORE"])
again["seed"] = 7
again.log_artifact(wrote("extra.txt", "mine"), name="extra/v1.txt", block=True)
again.close()
mine = run()
mine["tracelet"] = "0.1"
mine.log_artifact(wrote("w.txt", "also mine"), name="model/v0/weights", block=True)
mine.close()
"""
    )
    backend = opened()
    found = backend.discover("digits")
    assert [(one.name, contents(backend, one, tmp_path)) for one in found] == [
        ("extra", {"v1.txt": "mine"}),
        ("model", {"v0/weights": "also mine"}),
    ]
    assert [one.run.parameters for one in found if one.run] == [{"seed": 7}, {"tracelet": "0.1"}]


def test_a_place_that_is_not_there_is_told_with_the_nearest_names(
    lab: Lab, opened: Opened, repo: Path, server: AimServer
) -> None:
    """Where there is no repo, none is made."""
    backend = opened()
    with pytest.raises(ArtifactNotFound, match=r"no experiment 'digits'.*hash of a run.*TRACELET_AIM_REPO"):
        backend.discover("digits")
    assert not any(repo.iterdir())
    lab(LOG)
    with pytest.raises(ArtifactNotFound, match=r"no experiment 'digit', .* It has 'digits', 'letters'\."):
        backend.discover("digit")
    with pytest.raises(ArtifactNotFound, match="no run of this hash"):
        opened(TRACELET_AIM_REPO=server.address).discover("0" * 24)


def test_a_server_that_is_away_is_told_as_such(opened: Opened) -> None:
    with pytest.raises(BackendUnavailable, match="does not answer"):
        opened(TRACELET_AIM_REPO=f"aim://127.0.0.1:{free_port()}")


def test_bytes_that_are_gone_are_told_by_name_and_stop_no_other(
    lab: Lab, opened: Opened, repo: Path, tmp_path: Path
) -> None:
    """They went before the look, or after it; a run that was deleted meanwhile takes no bytes along."""
    first, second, *_ = lab(LOG)
    (tmp_path / "store" / first / "weights").unlink()
    backend = opened()
    data, lost, notes, weights = backend.discover("digits")
    assert [file.size_bytes for file in lost.files] == [None]
    (tmp_path / "store" / first / "data/sub/b.csv").unlink()
    lab(f"assert aim.Repo(os.environ['REPO']).delete_run({second!r})")
    for gone, name in (
        (lost, f"'weights' are not at file://{tmp_path}/store/{first}/weights"),
        (data, "data/sub/b.csv: "),
    ):
        with pytest.raises(ArtifactNotFound, match=name) as told:
            contents(backend, gone, tmp_path)
        assert "or never uploaded" in str(told.value)
    assert contents(backend, weights, tmp_path) == {"weights": "weights two"}
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(ArtifactNotFound):
        contents(backend, notes, tmp_path)
    assert [one.address for one in backend.discover("digits")] == [data.address, lost.address]


def test_a_run_that_cannot_be_read_is_told_and_hides_no_other(
    lab: Lab, opened: Opened, repo: Path, warned: Callable[[], str]
) -> None:
    """Its database is damaged, gone, or holds a damaged value; or Aim's table of runs does not know it. Asked for alone, it is an error."""
    first, second, other, empty = lab(LOG)
    chunks = repo / ".aim/meta/chunks"
    for file in (chunks / second).iterdir():
        file.write_bytes(b"damaged")
    (chunks / empty / "CURRENT").unlink()
    (chunks / ("f" * 24)).mkdir()
    (damaged,) = lab("made = run()\nmade.log_artifact(wrote('w', '4'), block=True)\nprint(json.dumps([made.hash]))")
    lab(
        f"""
from aim.storage.rockscontainer import RocksContainer
container = RocksContainer(os.environ["REPO"] + "/.aim/meta/chunks/{damaged}")
key = next(key for key, _ in container.items() if b"base_uri" in key)
container[key] = b"\\x04\\xff\\xfe"
container.close()
"""
    )
    backend = opened()
    assert [one.address.rpartition(f"/{first}/")[2] for one in backend.discover("digits")] == ["data/", "weights"]
    told = warned()
    assert all(f"the run {one} in Aim's repo {repo} cannot be read" in told for one in (second, empty, damaged)), told
    assert f"does not know the experiment of the run {'f' * 24}" in told
    assert other not in told
    with pytest.raises(IntegrityError, match=second):
        backend.discover(second)
    with AimServer(repo) as own:
        behind = opened(TRACELET_AIM_REPO=own.address)
        assert [one.name for one in behind.discover("digits")] == ["data", "weights"]
        told = warned()
        assert all(f"the run {one} behind {own.address} cannot be read" in told for one in (second, damaged)), told
        own.process.kill()
        with pytest.raises(BackendUnavailable):
            behind.discover("digits")


def test_a_server_cannot_make_a_reader_copy_files_of_its_own(
    lab: Lab, opened: Opened, server: AimServer, tmp_path: Path
) -> None:
    """A folder that only a server's run names is read where the user says so. A run without artifacts costs three requests."""
    lab.environ["REPO"] = str(server.folder)
    lab("for number in range(20):\n    run('many').close()")
    lab(LOG.replace("run()", "run('away')"))
    with Elsewhere(server.process.port, str(server.folder)) as relay:
        address = {"TRACELET_AIM_REPO": f"aim://127.0.0.1:{relay.port}"}
        backend = opened(**address)
        before = len(relay.requests)
        found = backend.discover("away")
        runs = len(list((server.folder / ".aim/meta/chunks").iterdir()))
        assert len(relay.requests) - before < 3 * runs + 60
        weights = next(one for one in found if one.name == "weights")
        assert [file.size_bytes for file in weights.files] == [None]
        with pytest.raises(BackendError, match="TRACELET_AIM_SHARED_FILES=true"):
            contents(backend, weights, tmp_path)
        shared = opened(**address, TRACELET_AIM_SHARED_FILES="true")
        assert contents(shared, weights, tmp_path) == {"weights": "weights one"}


def test_an_older_run_and_odd_parameters_are_read_and_what_is_elsewhere_is_a_reference(
    lab: Lab, opened: Opened, tmp_path: Path
) -> None:
    """An earlier Aim noted no kinds of what was tracked; a place that Aim cannot read is only pointed at."""
    lab(
        """
from aim.sdk.objects.artifact import Artifact
made = run()
made["text"], made["said"], made["picture"] = "t", aim.Text("seen"), aim.Image(numpy.zeros((2, 2, 3), dtype="uint8"))
made.track(0.25, name="loss")
made.track(aim.Text("hello"), name="said")
del made.meta_run_tree["typed_traces"]
made.log_artifact(wrote("table/a.csv", "1"), name="table/a.csv", block=True)
for name in ("table/b.csv", "far.onnx"):
    made.meta_run_tree.subtree("artifacts")[name] = Artifact(name, uri=f"gs://bucket/{made.hash}", name=name)
made.close()
"""
    )
    backend = opened()
    far, table = backend.discover("digits")
    assert far.run is not None
    assert far.run.metrics == {"loss": 0.25}
    picture = far.run.parameters.pop("picture")
    assert (picture["width"], picture["data"]) == (2, "(BLOB)")
    assert far.run.parameters == {"text": "t", "said": {"data": "(BLOB)"}}
    assert [(one.name, one.type, [file.path for file in one.files]) for one in (far, table)] == [
        ("far.onnx", ArtifactType.MODEL, []),
        ("table", ArtifactType.DATASET, ["a.csv"]),
    ]
    assert [[ref.uri for ref in one.references] for one in (far, table)] == [
        [f"gs://bucket/{far.run.id}/far.onnx"],
        [f"gs://bucket/{far.run.id}/table/b.csv"],
    ]
    assert [contents(backend, one, tmp_path) for one in (far, table)] == [{}, {"a.csv": "1"}]


def test_names_that_no_artifact_can_hold_are_told_and_the_others_come(
    lab: Lab, opened: Opened, tmp_path: Path, warned: Callable[[], str]
) -> None:
    """Aim itself follows `..` out of its folder; what it only spells otherwise is taken as it stores it."""
    lab(
        """
made = run()
path = wrote("w.txt", "w")
for name in ("../../out", "a/../../b", "tracelet.json", "data/tracelet.json", "back\\\\slash", "./plain//w.txt"):
    made.log_artifact(path, name=name, block=True)
made.meta_run_tree.subtree("artifacts")["odd"] = 5
made.meta_run_tree.subtree("artifacts")["blank"] = {"base_uri": None, "path": "w.txt"}
made.close()
"""
    )
    backend = opened()
    (found,) = backend.discover("digits")
    assert (found.name, contents(backend, found, tmp_path)) == ("plain", {"w.txt": "w"})
    told = warned()
    names = ("../../out", "a/../../b", "tracelet.json", "data/tracelet.json", "back\\slash", "odd", "blank")
    assert all(f"{name!r} of the run" in told for name in names), told


def test_what_comes_from_another_process_is_no_way_out_of_the_folders(lab: Lab, opened: Opened, tmp_path: Path) -> None:
    lab(LOG)
    backend = opened()
    found = backend.discover("digits")[1]
    ((path, base, name),) = found.locator["files"]
    for change in ([path, base, "../x"], ["../x", base, name]):
        found.locator["files"][0] = change
        with pytest.raises(UnsafePath):
            contents(backend, found, tmp_path)


def test_a_bucket_gives_its_bytes_and_lacks_what_was_never_uploaded(
    lab: Lab, opened: Opened, bucket: S3Server, tmp_path: Path
) -> None:
    """Without `block` Aim notes an artifact whose upload fails later. It has no checksums: bytes come as they are."""
    store, client = bucket.url(f"plain/{tmp_path.name}"), bucket.client()
    (made,) = lab(
        """
made = run()
for path, content in {"data": "in the way", "data/a": "1", "data/a/b": "2", "data/c": "3"}.items():
    made.log_artifact(wrote(f"out/{path.replace('/', '-')}", content), name=path, block=True)
made.log_artifact(wrote("gone.png", "?"), block=True)
made.set_artifacts_uri("s3://no-such-bucket/x")
made.log_artifact(wrote("never.txt", "?"))
made.close()
print(json.dumps([made.hash]))
""",
        STORE=store,
        **bucket.environ,
    )
    key = f"plain/{tmp_path.name}/{made}"
    client.delete_object(Bucket=bucket.bucket, Key=f"{key}/gone.png")
    client.put_object(Bucket=bucket.bucket, Key=f"{key}/data/c", Body=b"another")
    with FaultyProxy(bucket.process.port) as door:
        backend = opened(**{**bucket.environ, "AWS_ENDPOINT_URL": door.url})
        found = {one.address.partition(f"/{made}/")[2]: one for one in backend.discover("digits")}
        assert {key: one.name for key, one in found.items()} == {
            "data": "data",
            "data/": "data",
            "data/a": "data/a",
            "gone.png": "gone.png",
            "never.txt": "never.txt",
        }
        assert [contents(backend, found[one], tmp_path) for one in ("data", "data/", "data/a")] == [
            {"data": "in the way"},
            {"a/b": "2", "c": "another"},
            {"a": "1"},
        ]
        for gone in ("gone.png", "never.txt"):
            with pytest.raises(ArtifactNotFound, match=f"'{gone}' are not at s3://.*/{made}/{gone}"):
                contents(backend, found[gone], tmp_path)
        door.set("refused")
        with pytest.raises(BackendUnavailable):
            contents(backend, found["data"], tmp_path)


def test_imported_runs_are_versions_once_also_of_runs_that_were_killed_or_go_on(lab: Lab, tmp_path: Path) -> None:
    """Through the public functions. A folder keeps its type, whatever a later run puts there; what is lost fails alone."""
    first, second, *_ = lab(LOG)
    (tmp_path / "store" / first / "weights").unlink()
    lab("made = run()\nmade.log_artifact(wrote('a.png', 'p'), name='data/a.png', block=True)\nos._exit(0)")
    running, rows, again, stored = lab(
        f"""
import subprocess, sys
made = run()
made.log_artifact(wrote("out/w.onnx", "weights four"), name="weights", block=True)
other = {{**os.environ, "TRACELET_AIM_REPO": os.environ["REPO"]}}
done = subprocess.run([sys.executable, "-c", {IMPORT!r}], env=other, stdout=subprocess.PIPE, text=True, check=True)
print(json.dumps([made.hash, *json.loads(done.stdout.splitlines()[-1])]))
made.close()
"""
    )
    assert sorted(rows) == [
        ["data", "copied", "v0"],
        ["data", "copied", "v1"],
        ["notes.md", "copied", "v0"],
        ["weights", "copied", "v0"],
        ["weights", "copied", "v1"],
        ["weights", "failed", None],
    ]
    assert sorted(outcome for _, outcome, _ in again) == ["failed", *["skipped"] * 5]
    assert [(name, label, kind, files) for name, label, kind, _, _, files in stored] == [
        ("data", "v0", "dataset", {"a.csv": "1,2", "sub/b.csv": "3,4", "sub/c/d.csv": ""}),
        ("data", "v1", "dataset", {"a.png": "p"}),
        ("notes.md", "v0", "report", {"notes.md": "# größe"}),
        ("weights", "v0", "model", {"weights": "weights two"}),
        ("weights", "v1", "model", {"weights": "weights four"}),
    ]
    assert [run for name, *_, run, _ in stored if name == "weights"] == [second, running]
    assert stored[-1][3] == f"aim://{lab.environ['REPO']}/{running}/weights"
