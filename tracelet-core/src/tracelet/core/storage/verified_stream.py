"""A stream whose bytes are hashed as they pass."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

from tracelet.core.system.files import FileChanged

__all__ = ["VerifiedStream"]


class VerifiedStream(io.RawIOBase):
    """The bytes of a stream; their end is given only when their hash is the expected one."""

    def __init__(self, stream: BinaryIO, sha256: str, source: Path) -> None:
        """``source`` is the file that the stream reads, for the error message."""
        self._stream = stream
        self._expected = sha256
        self._digest = hashlib.sha256()
        self._source = source

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer. Raises :class:`~tracelet.plugin.FileChanged` at the end where the bytes are others."""
        block = self._stream.read(len(buffer))
        if not block and self._digest.hexdigest() != self._expected:
            raise FileChanged(f"{str(self._source)!r} is not the file that was hashed any more.")
        self._digest.update(block)
        buffer[: len(block)] = block
        return len(block)
