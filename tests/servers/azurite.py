"""Azurite, Microsoft's own emulator of Azure's blobs, with one container."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.processes import ServerProcess, free_port

#: The account and key that every Azurite has.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def azurite() -> str | None:
    """The command, where `nox` or somebody has installed it."""
    beside = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    return str(beside) if beside.exists() else shutil.which("azurite-blob")


class Azurite:
    """`az://<container>`; `environ` has what a client needs to reach it."""

    def __init__(self, container: str) -> None:
        self.container = container
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        self._folder = tempfile.TemporaryDirectory()
        command = azurite()
        assert command is not None, "npm install azurite"
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", self._folder.name]
        log = Path(self._folder.name) / "azurite.log"
        self.process = ServerProcess(
            [command, *where, "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
            port,
            f"/{_ACCOUNT}?comp=list",
            log,
            {},
            status=403,
        )
        self.environ = {
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_ALLOW_HTTP": "true",
        }

    def url(self, prefix: str) -> str:
        return f"az://{self.container}/{prefix}"

    def client(self) -> Any:
        """Microsoft's own client of the container."""
        from azure.storage.blob import ContainerClient

        return ContainerClient(
            self.endpoint, self.container, credential={"account_name": _ACCOUNT, "account_key": _KEY}
        )

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in every blob; return in how many."""
        changed = 0
        with self.client() as client:
            for name in [one.name for one in client.list_blobs()]:
                content = client.download_blob(name).readall()
                if old in content:
                    client.upload_blob(name, content.replace(old, new), overwrite=True)
                    changed += 1
        return changed

    def listing(self) -> dict[str, int]:
        """The size of every blob, by its name."""
        with self.client() as client:
            return {one.name: one.size for one in client.list_blobs()}

    def __enter__(self) -> Azurite:
        self.process.start()
        with self.client() as client:
            client.create_container()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self._folder.cleanup()
