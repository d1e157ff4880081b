"""A server that answers 429 is left alone for as long as it asks, and the user is told how long that is."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tracelet import ArtifactType, Experiment, ExperimentConfig


class _Throttling(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer everything in the same way."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(429)
        self.send_header("Retry-After", self.server.asked)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_GET

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["120", "a date"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Throttling)
    asked = formatdate(time.time() + 3600, usegmt=True) if request.param == "a date" else request.param
    server.asked = asked  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("backend", ["mlflow", "clearml", "aim"])
def test_what_a_throttling_server_asks_for_is_said_and_kept(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("TRACELET_AIM_REPO", address.replace("http://", "aim://"))
    for name in ("API_HOST", "WEB_HOST", "FILES_HOST", "API_ACCESS_KEY", "API_SECRET_KEY"):
        monkeypatch.setenv(f"CLEARML_{name}", address if name.endswith("HOST") else "key")
    (tmp_path / "file").write_text("content")
    limits = ExperimentConfig(deadline=60.0, stop_timeout=2.0)
    with Experiment("throttled", backend=backend, artifacts=True, config=limits) as exp:
        results = exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_file("file"))
    (seconds,) = re.findall(r"asks to wait (\d+) s", str(results.queued[backend]))
    assert int(seconds) == 120 or 1800 < int(seconds) <= 3600


@pytest.mark.parametrize("address", ["120"], indirect=True)
def test_a_tracker_whose_client_waits_by_itself_holds_up_no_call(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    (tmp_path / "file").write_text("content")
    limits = ExperimentConfig(deadline=5.0, stop_timeout=2.0)
    with Experiment("throttled", backend="wandb", artifacts=True, config=limits) as exp:
        results = exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_file("file"))
    assert "outbox" in str(results.queued["wandb"])
    assert len(list((tmp_path / ".tracelet" / "outbox").rglob("*.json"))) == 1
