"""Aim keeps the contract: in a repo on disk, behind a server, and, for the bytes, in a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.aim_server import AimServer, catalogues, replace_in_catalogues
from servers.processes import free_port
from servers.s3_server import S3Server
from tracelet.testing import BackendContract
from tracelet.testing.contents import Contents
from tracelet.testing.durability import Durability


class OnDisk:
    """Fixtures for a repo of its own in a folder."""

    @pytest.fixture
    def backend(self) -> str:
        return "aim"

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("aim", "aimrocks", "sqlalchemy", "boto3", "PIL", "numpy")

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("place")

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, place: Path) -> dict[str, str]:
        return {"TRACELET_AIM_REPO": str(place)}


class TestRepoOnDisk(OnDisk, BackendContract):
    """With its bytes in the repo."""


class TestServer(OnDisk, BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, place: Path) -> Iterator[AimServer]:
        with AimServer(place) as server:
            yield server

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, server: AimServer) -> dict[str, str]:
        return {"TRACELET_AIM_REPO": server.address}

    @pytest.fixture
    def unreachable(self) -> dict[str, str]:
        return {"TRACELET_AIM_REPO": f"aim://127.0.0.1:{free_port()}"}

    @pytest.fixture
    def tamper(self, place: Path) -> Callable[[bytes, bytes], int]:
        """Also in the catalogue, where the manifest beside the bytes is left alone."""
        return lambda old, new: _replace_files(place, old, new) + replace_in_catalogues(place, old, new)

    @pytest.fixture
    def footprint(self, place: Path) -> Callable[[], object]:
        """Runs, catalogues and files: a server itself renames its logs when it opens a database."""
        return lambda: (
            sorted(path.name for path in (place / ".aim" / "meta" / "chunks").glob("*")),
            catalogues(place),
            sorted(str(path) for path in (place / ".aim" / "tracelet" / "artifacts").rglob("*")),
        )


class TestBucket(OnDisk, Contents, Durability):
    """What has to do with bytes; the catalogue is that of a repo on disk."""

    @pytest.fixture(scope="class")
    @classmethod
    def s3(cls) -> Iterator[S3Server]:
        with S3Server("aim-artifacts") as server:
            yield server

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, place: Path, s3: S3Server) -> dict[str, str]:
        return {"TRACELET_AIM_REPO": str(place), "TRACELET_AIM_ARTIFACTS_URI": s3.url("some/prefix"), **s3.environ}

    @pytest.fixture
    def tamper(self, place: Path, s3: S3Server) -> Callable[[bytes, bytes], int]:
        return lambda old, new: s3.replace(old, new) + replace_in_catalogues(place, old, new)


def _replace_files(place: Path, old: bytes, new: bytes) -> int:
    """Replace bytes in stored files, without those beside which the manifest is."""
    changed = 0
    for path in (place / ".aim" / "tracelet" / "artifacts").rglob("*"):
        if path.is_file() and path.name != "tracelet.json" and old in (content := path.read_bytes()):
            path.write_bytes(content.replace(old, new))
            changed += 1
    return changed
