"""Files that are stored, and careful ways to copy them."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

MB = 1_000_000


def write(path: Path, size: int) -> Path:
    """Write a file that nobody stored before."""
    with path.open("wb") as stream:
        for start in range(0, size, MB):
            stream.write(os.urandom(min(MB, size - start)))
    # Older than the clock's tick, as files of a real run are when they are logged.
    past = time.time() - 60
    os.utime(path, (past, past))
    return path


def fresh_folder(count: int, size: int) -> Path:
    """A folder with so many new files, in place of the one that was there."""
    folder = Path("fresh")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(count):
        write(folder / f"{number:05}.bin", size)
    return folder


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_and_copy(source: Path, target: Path, *, durable: bool = False) -> str:
    """Copy in one pass with the hash."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(MB):
            digest.update(block)
            writer.write(block)
        if durable:
            writer.flush()
            os.fsync(writer.fileno())
    return digest.hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write to a temporary name, have it on the disk, then give it its name."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    sync(path.parent)
