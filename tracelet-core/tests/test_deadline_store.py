"""A store elsewhere that does not answer holds nobody up, and what was meant for it is not lost."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from making import write

from tracelet import ArtifactType, BackendUnavailable, Experiment, ExperimentConfig
from tracelet.core.storage.blob_store import RemoteStore, open_store
from tracelet.core.storage.deadline_store import DeadlineStore
from tracelet.exceptions import ArtifactNotFound
from tracelet.settings import TraceletSettings

CONTENT = b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Tarrying(MemoryFileSystem):
    """A place that does not go on until it is told to, and before a read's last byte does not at all."""

    protocol = "tarrying"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012
    go_on = threading.Event()

    def info(self, path: str, **kwargs: Any) -> Any:
        self.go_on.wait()
        return super().info(path, **kwargs)

    def pipe_file(self, *args: Any, **kwargs: Any) -> None:
        self.go_on.wait()
        super().pipe_file(*args, **kwargs)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self.go_on.wait()
        return super()._open(path, mode, **kwargs)


@pytest.fixture
def tarrying() -> Iterator[threading.Event]:
    fsspec.register_implementation("tarrying", Tarrying, clobber=True)
    Tarrying.go_on.set()
    yield Tarrying.go_on
    Tarrying.go_on.set()
    Tarrying.store.clear()


@pytest.fixture
def bounded(tarrying: threading.Event, tmp_path: Path) -> DeadlineStore:
    store = open_store("tarrying://bucket/prefix", tmp_path)
    assert isinstance(store, RemoteStore)
    return DeadlineStore(store, TraceletSettings(deadline=0.1))


def test_a_store_that_answers_is_as_it_was(bounded: DeadlineStore, tmp_path: Path) -> None:
    bounded.probe()
    bounded.put(write(tmp_path / "f", CONTENT), SHA256)
    bounded.record(SHA256, "put")
    assert bounded.has(SHA256, len(CONTENT))
    bounded.fetch(SHA256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT
    with pytest.raises(ArtifactNotFound):
        bounded.fetch("0" * 64, tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        bounded.put(tmp_path / "none", SHA256)


@pytest.mark.parametrize("what", ["has", "put", "fetch", "record", "probe"])
def test_a_store_that_does_not_answer_is_an_error_in_time(
    bounded: DeadlineStore, tarrying: threading.Event, tmp_path: Path, what: str
) -> None:
    path = write(tmp_path / "f", CONTENT)
    calls = {
        "has": lambda: bounded.has(SHA256, 1),
        "put": lambda: bounded.put(path, SHA256),
        "fetch": lambda: bounded.fetch(SHA256, tmp_path / "back"),
        "record": lambda: bounded.record(SHA256, "put"),
        "probe": bounded.probe,
    }
    tarrying.clear()
    with pytest.raises(BackendUnavailable, match="tarrying://bucket/prefix does not answer in time"):
        calls[what]()


def test_a_download_that_makes_progress_may_take_its_time(
    bounded: DeadlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(self: RemoteStore, sha256: str, dest: Path) -> None:
        with dest.open("wb", buffering=0) as stream:
            for byte in CONTENT:
                threading.Event().wait(0.06)
                stream.write(bytes([byte]))

    monkeypatch.setattr(RemoteStore, "fetch", slowly)
    bounded.fetch(SHA256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_what_a_store_does_not_take_in_time_waits_and_goes_when_it_does(home: Path, tarrying: threading.Event) -> None:
    config = ExperimentConfig(store="tarrying://bucket", large_file_mb=0.000_001, deadline=0.3, stop_timeout=5.0)
    with Experiment("large", artifacts=True, config=config) as exp:
        artifact = exp.create_artifact("big", ArtifactType.DATASET).add_file(write(home / "big.bin", CONTENT))
        tarrying.clear()
        results = exp.log_artifact(artifact)
        assert list(results.queued) == ["local"]
        (home / "big.bin").unlink()
        tarrying.set()
        assert exp.flush(20.0) == 0
        assert exp.get_artifact("big").download().joinpath("big.bin").read_bytes() == CONTENT
