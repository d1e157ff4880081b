"""What does not arrive in MLflow as it was sent is not called logged; and what it costs to know."""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from servers import programs
from servers.faulty_proxy import FaultyProxy
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import BackendUnavailable
from tracelet_mlflow.readback import ReadBack

LOG = """
import json, time
from pathlib import Path
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

def step(name):
    Path(f"at-{name}").touch()
    while not Path(f"past-{name}").exists():
        time.sleep(0.02)

def made(exp, content):
    Path("mark.bin").write_bytes(b"a file of a model: MARK" * 2000 + content)
    artifact = exp.create_artifact("marked", ArtifactType.MODEL)
    return artifact.add_file("mark.bin").add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))

report = {}
with Experiment("uploads", backend="mlflow", artifacts=True) as exp:
    assert exp.log_artifact(made(exp, b"first")).ok
    for name in STEPS:
        step(name)
        results = exp.log_artifact(made(exp, name.encode()))
        step(f"{name}-over")
        left = exp.flush(600)
        got = (exp.get_artifact("marked").download(f"got-{name}") / "mark.bin").read_bytes()
        report[name] = [list(results), str(results.queued.get("mlflow")), left, got == Path("mark.bin").read_bytes()]
    versions = [one.version for one in exp.list_artifacts()]
print(json.dumps([report, versions]))
"""

#: What is changed on its way, and how often.
STEPS = {
    "a-file": (b"a file of a model: MARK", 1_000_000),
    "the-manifest": (b'"artifact_path": "mark.bin"', 1_000_000),
    "mlflows-own-form": (b"sklearn_version", 1_000_000),
    "a-file-once": (b"a file of a model: MARK", 1),
    "the-record-once": (rb"\"folder\":\"marked/v", 1),
    "nothing": (b"nowhere to be seen", 0),
}
ALWAYS = [name for name, (_, times) in STEPS.items() if times > 1]


def wait_for(path: Path, process: Any) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def told(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program says, by step, the versions there are, and the requests of each step."""
    folder = tmp_path_factory.mktemp("uploads")
    requests = {}
    with FaultyProxy(server.process.port) as proxy:
        code = LOG.replace("in STEPS", f"in {list(STEPS)}")
        process = programs.begin(code, folder, {"MLFLOW_TRACKING_URI": proxy.url})
        for name, (what, times) in STEPS.items():
            wait_for(folder / f"at-{name}", process)
            before = len(proxy.requests)
            proxy.damage(what, times)
            (folder / f"past-{name}").touch()
            wait_for(folder / f"at-{name}-over", process)
            proxy.damage(b"", 0)
            requests[name] = proxy.requests[before:]
            (folder / f"past-{name}-over").touch()
        report, versions = programs.finish(process)
    return report, versions, requests


def test_a_bit_that_changes_on_its_way_each_time_is_noticed_and_made_good_later(told: Any) -> None:
    """Wherever it is in what is sent. The version is not called logged before it is."""
    report, _, _ = told
    for name in ALWAYS:
        done, why, left, same = report[name]
        assert (done, left, same) == ([], 0, True), (name, why)
        assert "did not arrive in MLflow as it is" in why


def test_a_bit_that_changes_once_is_noticed_and_sent_again_at_once(told: Any) -> None:
    """Nobody has to wait for the next try."""
    report, _, _ = told
    for name in STEPS.keys() - set(ALWAYS):
        assert report[name] == [["mlflow"], "None", 0, True], name


def test_no_version_comes_of_what_did_not_arrive(told: Any) -> None:
    """Each content is there once, in its order."""
    _, versions, _ = told
    assert versions == [f"v{number}" for number in range(len(STEPS), -1, -1)]


def test_it_costs_one_request_a_file_and_one_for_the_record(told: Any) -> None:
    """Each file that goes up comes back once; the model's own file, which the artifact has, too, goes up once."""
    _, _, requests = told
    artifacts = "/api/2.0/mlflow-artifacts/artifacts/"
    by_path = collections.defaultdict(list)
    for request in requests["nothing"]:
        method, _, path = request.partition(" ")
        if path.startswith(artifacts):
            by_path[path].append(method)
    names = sorted(path.rpartition("/")[2] for path in by_path)
    own = ["mark.bin", "model.json", "tracelet.json"]
    assert names == sorted([*own, "MLmodel", "model.skops", "conda.yaml", "python_env.yaml", "requirements.txt"])
    assert set(map(tuple, by_path.values())) == {("PUT", "GET")}
    searched = [request for request in requests["nothing"] if request == "POST /api/2.0/mlflow/runs/search"]
    assert len(searched) == 1  # whether MLflow has another record than the one that was sent


class Lossy(LocalArtifactRepository):
    """A repository that stores no more than the beginning of a file, so often as it is told."""

    def __init__(self, root: Path, times: int) -> None:
        super().__init__(root.as_uri())
        self._times = times

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        super().log_artifact(local_file, artifact_path)
        if self._times:
            self._times -= 1
            os.truncate(Path(self.artifact_dir, artifact_path or "", Path(local_file).name), 3)


def on_disk(artifact_uri: str, path: str) -> Iterator[bytes]:
    """What a folder has of a file, in blocks that no other has the length of."""
    with Path(url2pathname(urlsplit(artifact_uri).path), path).open("rb") as file:
        yield from iter(lambda: file.read(3), b"")


@pytest.mark.parametrize("limit", [0, 1000])
def test_of_a_file_that_is_too_large_to_read_back_the_size_is_compared(tmp_path: Path, limit: int) -> None:
    """So that one that was cut off is noticed all the same."""
    (tmp_path / "file").write_bytes(b"content")
    for times, folder in ((0, "deep/down"), (1, None)):
        ReadBack(Lossy(tmp_path / "stored", times), limit, on_disk).log_artifact(str(tmp_path / "file"), folder)
        assert (tmp_path / "stored" / (folder or "") / "file").read_bytes() == b"content"
    with pytest.raises(BackendUnavailable, match="did not arrive in MLflow as it is"):
        ReadBack(Lossy(tmp_path / "stored", 2), limit, on_disk).log_artifact(str(tmp_path / "file"), None)


def test_what_is_not_there_afterwards_has_not_arrived(tmp_path: Path) -> None:
    """An answer of the server's that nothing is there is no failure to look."""
    (tmp_path / "file").write_bytes(b"content")

    class Forgetful(Lossy):
        def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
            """Store nothing at all."""

    with pytest.raises(BackendUnavailable, match="did not arrive in MLflow as it is"):
        ReadBack(Forgetful(tmp_path / "stored", 0), 1000, on_disk).log_artifact(str(tmp_path / "file"), None)
