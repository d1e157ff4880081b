"""moto's S3 server with one bucket."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.processes import ServerProcess, free_port


class S3Server:
    """`s3://<bucket>` at an endpoint; `environ` has what a client needs to reach it."""

    def __init__(self, bucket: str, host: str = "127.0.0.1") -> None:
        self.bucket = bucket
        port = free_port()
        self.endpoint = f"http://{host}:{port}"
        self._folder = tempfile.TemporaryDirectory()
        self.process = ServerProcess(
            [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)],
            port,
            "/moto-api/",
            Path(self._folder.name) / "moto.log",
            {},
            host=host,
        )
        self.environ = {
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def url(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}"

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in every object; return in how many."""
        changed, client = 0, self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for found in page.get("Contents", []):
                content = client.get_object(Bucket=self.bucket, Key=found["Key"])["Body"].read()
                if old in content:
                    client.put_object(Bucket=self.bucket, Key=found["Key"], Body=content.replace(old, new))
                    changed += 1
        return changed

    def listing(self) -> dict[str, int]:
        """The size of every object, by its key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}

    def start(self) -> None:
        """Start it, with an empty bucket: it keeps nothing on a disk."""
        self.process.start()
        self.client().create_bucket(Bucket=self.bucket)

    def kill(self) -> None:
        self.process.kill()

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()
