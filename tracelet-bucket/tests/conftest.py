"""Real servers of object stores, each started once a session, and buckets with nothing in them."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from servers.azurite import Azurite
from servers.faulty_proxy import FaultyProxy
from servers.gcs_server import GCSServer
from servers.s3_server import S3Server
from tracelet.plugin import ArtifactFile, ArtifactType, Manifest, SealedArtifact
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.places import open_bucket

Seal = Callable[..., SealedArtifact]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """moto's S3, over HTTP."""
    with S3Server("artifacts") as started:
        yield started


@pytest.fixture(scope="session")
def azure() -> Iterator[Azurite]:
    """Azurite, over HTTP."""
    with Azurite("artifacts") as started:
        yield started


@pytest.fixture
def door(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A door before moto's S3, which this process uses."""
    with FaultyProxy(s3.process.port) as proxy:
        for name, value in {**s3.environ, "AWS_ENDPOINT_URL": proxy.url}.items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def url(s3: S3Server, door: FaultyProxy) -> str:
    """A prefix in moto's S3 with nothing below it."""
    return s3.url(f"team/{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def gcs() -> Iterator[GCSServer]:
    """A stand-in of Google's store, over HTTP."""
    with GCSServer("artifacts") as started:
        yield started


@pytest.fixture
def google_url(gcs: GCSServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix in Google's store with nothing below it."""
    from tracelet_bucket import objects

    for name, value in gcs.environ.items():
        monkeypatch.setenv(name, value)
    # Its own address begins with https, which nothing changes but this.
    monkeypatch.setitem(objects._CLIENT, "allow_http", True)
    return gcs.url(f"team/{uuid.uuid4().hex}")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with nothing in it, by its URL."""
    return (tmp_path / "bucket").as_uri()


@pytest.fixture
def opened() -> Callable[..., BucketBackend]:
    """Opens an experiment in the bucket of a URL."""
    return lambda url, experiment="trials": BucketBackend(open_bucket(url), experiment)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    """Seals an artifact of files by their contents; each has a put-id of its own."""
    numbers = itertools.count()

    def sealed(
        files: Mapping[str, bytes], name: str = "data", put_id: str = "", inputs: tuple[str, ...] = ()
    ) -> SealedArtifact:
        place = tmp_path / f"sources-{next(numbers)}"
        place.mkdir()
        entries, sources = [], {}
        for number, (path, content) in enumerate(files.items()):
            sources[path] = place / str(number)
            sources[path].write_bytes(content)
            entries.append(ArtifactFile(path, len(content), hashlib.sha256(content).hexdigest()))
        manifest = Manifest(
            name,
            ArtifactType.DATASET,
            put_id or uuid.uuid4().hex,
            1.0,
            files=tuple(entries),
            inputs=inputs,
        )
        return SealedArtifact(manifest, sources)

    return sealed
