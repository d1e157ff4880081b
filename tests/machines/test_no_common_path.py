"""What one machine has logged another one finds, reads and verifies, though they have no path in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from machines.places import Machine, Net, net
from servers.aim_server import AimServer
from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server

WRITES = """
import json, os
from pathlib import Path
from sklearn.linear_model import LogisticRegression
from tracelet import ArtifactType, Experiment

Path("small.csv").write_text("a,b\\n1,2\\n")
Path("large.bin").write_bytes(bytes(range(256)) * 12_000)
model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
with Experiment("far", backend=os.environ["BACKEND"], artifacts=True) as exp:
    data = exp.create_artifact("data", ArtifactType.DATASET).add_file("small.csv").add_file("large.bin")
    kept = exp.create_artifact("model", ArtifactType.MODEL).add_model(model, name="m")
    first = exp.log_artifact(data, version="1.0", aliases=["best"])
    second = exp.log_artifact(kept)
    Path("small.csv").write_text("a,b\\n3,4\\n")
    third = exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_file("small.csv"))
    results = first, second, third
print(json.dumps([[a.digest for a in one.values()] + [str(e) for e in {**one.failed, **one.queued}.values()] for one in results]))
"""
READS = """
import hashlib, json, os
from tracelet import Experiment

exp = Experiment("far", backend=os.environ["BACKEND"], artifacts=True)
data, model = exp.get_artifact("data", "best"), exp.get_artifact("model")
folder = data.download("there")
files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*.*"))}
said = [str(model.load_model("m", trust=True).predict([[1.0]])), data.verify().ok, model.verify().ok]
moved = exp.get_artifact("data").add_alias("best")
print(json.dumps([[data.version, data.digest, model.digest], files, said, [str(e) for e in moved.failed.values()]]))
"""
FINDS = """
import os
from tracelet import Experiment
print(Experiment("far", backend=os.environ["BACKEND"], artifacts=True).get_artifact("data", "best").digest)
"""


@attrs.frozen
class Two:
    """Two machines that know of each other's work by a server alone."""

    one: Machine
    other: Machine


@pytest.fixture(scope="module")
def wire() -> Iterator[Net]:
    with net() as made:
        yield made


@pytest.fixture(scope="module")
def s3(wire: Net) -> Iterator[S3Server]:
    with S3Server("artifacts", host=wire.address) as started:
        yield started


@pytest.fixture
def two(wire: Net) -> Iterator[Two]:
    with Machine("one", wire) as one, Machine("other", wire) as other:
        yield Two(one, other)


def bucket(wire: Net, s3: S3Server, folder: Path) -> Iterator[dict[str, str]]:
    yield {"TRACELET_BUCKET_URL": s3.url("far"), **s3.environ}


def mlflow(wire: Net, s3: S3Server, folder: Path) -> Iterator[dict[str, str]]:
    options = ["--allowed-hosts", "*"]
    with MlflowServer(
        folder, artifacts=s3.url("mlflow"), options=options, environ=s3.environ, host=wire.address
    ) as server:
        # Large files go where both can read them.
        yield {"MLFLOW_TRACKING_URI": server.url, "TRACELET_STORE": s3.url("store"), **s3.environ}


def aim(wire: Net, s3: S3Server, folder: Path) -> Iterator[dict[str, str]]:
    with AimServer(folder, host=wire.address) as server:
        yield {
            "TRACELET_AIM_REPO": server.address,
            "TRACELET_AIM_ARTIFACTS_URI": s3.url("aim"),
            "TRACELET_STORE": s3.url("store"),
            **s3.environ,
        }


@pytest.mark.parametrize("place", [bucket, mlflow, aim])
def test_what_one_machine_logged_the_other_one_reads_and_verifies_and_moves_an_alias_that_the_first_one_sees(
    place: Callable[..., Iterator[dict[str, str]]], wire: Net, s3: S3Server, two: Two, tmp_path: Path
) -> None:
    for environ in place(wire, s3, tmp_path):
        known = {"BACKEND": place.__name__, "TRACELET_LARGE_FILE_MB": "1", **environ}
        (first,), (model,), (third,) = json.loads(two.one.python(WRITES, known))
        found, files, said, failed = json.loads(two.other.python(READS, known))
        assert found == ["1.0", first, model]
        assert sorted(files) == ["large.bin", "small.csv"]
        assert said == ["[1]", True, True]
        assert failed == []
        assert two.one.python(FINDS, known).strip() == third
        assert "3" in two.other.tracelet("verify", "far", "--backend", place.__name__, environ=known)


def test_what_one_machine_writes_the_other_one_does_not_see(two: Two) -> None:
    two.one.run(["sh", "-c", "echo 1 > x; echo 1 > /tmp/x; echo 1 > /run/x; echo 1 > /dev/shm/x"])
    places = "ls -A . /tmp /run /dev/shm | grep x"
    assert two.other.run(["sh", "-c", places], code=1) == ""
    assert "Read-only" in two.one.run(["sh", "-c", f"echo 1 > {Path(__file__).parent}/x"], code=2)


def test_a_large_file_that_stayed_on_the_machine_that_logged_it_is_told_on_the_other_one(
    wire: Net, s3: S3Server, two: Two, tmp_path: Path
) -> None:
    for environ in aim(wire, s3, tmp_path):
        known = {"BACKEND": "aim", "TRACELET_LARGE_FILE_MB": "1", **environ, "TRACELET_STORE": ""}
        two.one.python(WRITES, known)
        said = two.other.run([*two.other.program, READS], known, code=1)
        assert (
            "ArtifactNotFound: the bytes of 'large.bin' were too large for the backend, and are on one at /mnt/home"
            in said
        )
        assert "Set TRACELET_STORE to the store they were logged to, one that both machines can read." in said
