"""A bag of blobs in memory, which is a backend by the five methods alone."""

from __future__ import annotations

import io
from typing import BinaryIO

from tracelet.plugin import BlobBackend


class Bag(BlobBackend):
    """The five methods, and nothing else."""

    def __init__(self) -> None:
        super().__init__("bag://here", "trials")
        self.blobs: dict[str, bytes] = {}

    def create_exclusive(self, key: str, data: bytes) -> bool:
        return self.blobs.setdefault(key, data) is data

    def write(self, key: str, data: BinaryIO) -> None:
        self.blobs[key] = data.read()

    def read(self, key: str) -> BinaryIO:
        if key not in self.blobs:
            raise FileNotFoundError(key)
        return io.BytesIO(self.blobs[key])

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.blobs if key.startswith(prefix)]

    def remove(self, key: str) -> None:
        self.blobs.pop(key, None)
