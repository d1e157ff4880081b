"""The contract of backends, in a folder, in moto's S3 and in Azurite, over HTTP, and in real clouds where one has buckets there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from servers.azurite import Azurite
from servers.cloud import Cloud
from servers.s3_server import S3Server
from tracelet.testing import BackendContract

#: URLs of buckets, or of prefixes in them, with blanks between them.
CLOUDS = os.environ.get("TRACELET_TEST_CLOUDS", "").split()


class _Bucket(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "bucket"

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("obstore", "boto3", "botocore")


class _Served(_Bucket):
    """In a store that is reached over HTTP: ``server`` looks at what is there by a client of its own."""

    @pytest.fixture
    def tamper(self, server: S3Server | Azurite | Cloud) -> Callable[[bytes, bytes], int]:
        return server.replace

    @pytest.fixture
    def footprint(self, server: S3Server | Azurite | Cloud) -> Callable[[], object]:
        return server.listing


class TestFolder(_Bucket):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return {"TRACELET_BUCKET_URL": tmp_path_factory.mktemp("place").as_uri()}

    @pytest.fixture
    def unreachable(self, own_folder) -> dict[str, str]:
        (own_folder / "file").write_bytes(b"")
        return {"TRACELET_BUCKET_URL": (own_folder / "file" / "below").as_uri()}


class TestS3(_Served):
    @pytest.fixture
    def server(self, s3: S3Server) -> S3Server:
        return s3

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, s3: S3Server) -> dict[str, str]:
        return {"TRACELET_BUCKET_URL": s3.url(f"team/{uuid.uuid4().hex}"), **s3.environ}

    @pytest.fixture
    def unreachable(self, environ: dict[str, str]) -> dict[str, str]:
        return {**environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.mark.azure
class TestAzure(_Served):
    @pytest.fixture
    def server(self, azure: Azurite) -> Azurite:
        return azure

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, azure: Azurite) -> dict[str, str]:
        return {"TRACELET_BUCKET_URL": azure.url(f"team/{uuid.uuid4().hex}"), **azure.environ}

    @pytest.fixture
    def unreachable(self, environ: dict[str, str]) -> dict[str, str]:
        return {**environ, "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9/devstoreaccount1"}


@pytest.mark.cloud
class TestCloud(_Served):
    @pytest.fixture(scope="class", params=CLOUDS)
    @classmethod
    def server(cls, request: pytest.FixtureRequest) -> Iterator[Cloud]:
        made = Cloud(request.param)
        yield made
        made.clear()

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, server: Cloud) -> dict[str, str]:
        return server.environ

    @pytest.fixture
    def unreachable(self, server: Cloud) -> dict[str, str]:
        away = "http://127.0.0.1:9"
        google = '{"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}'
        own = {"s3": {"AWS_ENDPOINT_URL": away}, "az": {"AZURE_STORAGE_ENDPOINT": away}}
        scheme = server.url.partition("://")[0]
        return {**server.environ, **own.get(scheme, {"GOOGLE_SERVICE_ACCOUNT_KEY": google})}
