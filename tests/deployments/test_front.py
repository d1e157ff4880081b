"""Addresses as people write them, and a TLS that is not what it should be: what is wrong is told, and the right thing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.places import Deployment
from servers import programs
from servers.front import Front

LOG = """
import json
from pathlib import Path
from tracelet import ArtifactType, Experiment

Path("notes äö#1.txt").write_text("notes")
with Experiment("addressed", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.DATASET).add_file("notes äö#1.txt")
    results = exp.log_artifact(artifact)
    got = exp.get_artifact("data").open("notes äö#1.txt").read().decode() if results.ok else None
error = results.queued.get("mlflow")
print(json.dumps([list(results), got, type(error).__name__, str(error)]))
"""


@pytest.mark.parametrize(("path", "end"), [("team/mlflow", "/"), ("a%20team/ml%2Fflow", ""), ("m", "/")])
def test_an_address_may_have_any_path(behind_a_front: Deployment, tmp_path: Path, path: str, end: str) -> None:
    """With a slash at its end or without, and with what is written as `%20`."""
    with Front(tmp_path / "front", behind_a_front.server.process.port, path) as front:
        environ = {
            "MLFLOW_TRACKING_URI": f"{front.url}{end}",
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(front.certificate),
        }
        assert programs.run(LOG, tmp_path / "program", environ)[:2] == [["mlflow"], "notes"]


@pytest.mark.parametrize(
    ("wrong", "told"), [("host", "has a certificate for another host"), ("scheme", "does not speak TLS")]
)
def test_each_thing_that_is_wrong_with_tls_is_told_as_what_it_is(
    behind_a_front: Deployment, tmp_path: Path, wrong: str, told: str
) -> None:
    """To trust a certificate helps neither of them."""
    front = behind_a_front.environ["MLFLOW_TRACKING_URI"]
    address = front.replace("127.0.0.1", "localhost")
    if wrong == "scheme":
        address = behind_a_front.server.url.replace("http:", "https:")
    environ = {**behind_a_front.environ, "MLFLOW_TRACKING_URI": address, "TRACELET_STOP_TIMEOUT": "5"}
    stored, _, kind, message = programs.run(LOG, tmp_path / "program", environ)
    assert (stored, kind) == ([], "BackendUnavailable")
    assert told in message


TOO_LONG = """
import json
from pathlib import Path
from tracelet import ArtifactType, Experiment

told = []
with Experiment("too-long", backend="mlflow", artifacts=True) as exp:
    for size in (10, 2_000_000, 20):
        Path("file.bin").write_bytes(bytes(size))
        results = exp.log_artifact(exp.create_artifact(f"of-{size}", ArtifactType.DATASET).add_file("file.bin"))
        error = results.queued.get("mlflow")
        told.append([list(results), type(error).__name__, str(error)])
print(json.dumps(told))
"""


def test_a_file_that_is_too_long_for_the_front_holds_up_nothing_else(
    behind_a_front: Deployment, tmp_path: Path
) -> None:
    """As many have it before their server without knowing it; the error says what to change."""
    with Front(tmp_path / "front", behind_a_front.server.process.port, "m", largest=1_000_000) as front:
        trust = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(front.certificate), "TRACELET_STOP_TIMEOUT": "5"}
        first, second, third = programs.run(TOO_LONG, tmp_path / "program", {"MLFLOW_TRACKING_URI": front.url, **trust})
    assert (first[0], third[0]) == (["mlflow"], ["mlflow"])
    assert second[:2] == [[], "BackendError"]
    assert "client_max_body_size" in second[2]
