"""Writers on a bucket are killed at any request: nothing that was told of is lost or doubled, and clearing takes the garbage alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliability.figures import Figures
from reliability.test_kills import GOOD
from reliability.trials import Trial
from servers.faulty_proxy import FaultyProxy
from servers.s3_server import S3Server
from tracelet_bucket import garbage
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.places import open_bucket

KILLS = 100


class BucketTrial(Trial):
    """A trial whose programs die at the requests that come to a door before the store."""

    def write_and_die(self, door: FaultyProxy, times: int) -> None:
        """Kill a writing program, or its lane, when a request comes that is drawn by chance, so many times."""
        begun = len(door.requests)
        assert self.write(4) == 0
        requests = len(door.requests) - begun
        for number in range(times):
            is_lane = number % 2 == 0
            door.at(self.chance.randint(1, requests), lambda is_lane=is_lane: self._kill(is_lane))  # type: ignore[misc]
            self.write(4)
            self.kills += 1
            self.wait_for_lanes()

    def _kill(self, is_lane: bool) -> None:
        for process in self.lanes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process}/cmdline").read_bytes()
                if (b"tracelet.worker" in words) == is_lane:
                    os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with S3Server("artifacts") as started:
        yield started


@pytest.fixture
def door(store: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(store.process.port) as opened:
        yield opened


def objects(store: S3Server) -> set[str]:
    return {key.rpartition("/")[2] for key in store.listing() if "/objects/" in key}


def needed(store: S3Server) -> set[str]:
    """The sha256 of every file of every record, as Amazon's own client reads them."""
    found = set()
    for key in store.listing():
        if "/versions/" in key and key.rpartition("/")[2][0] == "9":
            record = json.loads(store.client().get_object(Bucket=store.bucket, Key=key)["Body"].read())
            manifest = record.get("manifest", {"files": [], "references": []})
            found |= {one["sha256"] for one in (*manifest["files"], *manifest["references"])}
    return found


def test_writers_on_a_bucket_are_killed_at_any_request(
    tmp_path: Path, store: S3Server, door: FaultyProxy, figures: Figures, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store.url("killed")
    environ = {**store.environ, "AWS_ENDPOINT_URL": door.url, "TRACELET_BUCKET_URL": url}
    trial = BucketTrial(tmp_path, ["bucket"], environ, random.Random("bucket"))
    trial.write_and_die(door, KILLS if long else 4)
    came = trial.settled()
    figures.add("bucket (moto's S3): a writing program or its lane killed at a request", came)
    assert {name: came[name] for name in GOOD} == GOOD
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    backend = BucketBackend(open_bucket(url), "kills")
    for stored in list(backend.list(name="name0", type=None)):
        backend.delete(stored)
    # As if all that had been so long ago.
    monkeypatch.setattr(garbage, "STALE_SECONDS", -1.0)
    before = objects(store)
    freed = list(garbage.collect(open_bucket(url), time.time() + 3600))
    assert objects(store) == needed(store)
    assert len(before) - len(objects(store)) == len(freed) > 0
    for stored in backend.list(name=None, type=None):
        dest = tmp_path / stored.manifest.put_id
        dest.mkdir()
        backend.fetch(stored, ["it"], dest)
        assert hashlib.sha256((dest / "it").read_bytes()).hexdigest() == stored.manifest.payload[0].sha256
    figures.add(
        "bucket (moto's S3): the versions of one name in three deleted and cleared after that",
        {"pieces gone": len(freed), "needed and gone": 0, "not needed and there": 0},
    )
