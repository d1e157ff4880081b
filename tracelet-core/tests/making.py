"""What several test modules need: files, other users, other processes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOBODY = 65534


def write(path: Path, data: bytes | str = b"content") -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def settle(path: Path) -> Path:
    """Make a file look as if nobody had touched it for a while."""
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


@contextlib.contextmanager
def full_disk(room: int = 0) -> Iterator[None]:
    """No file that is written can be larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """Take all rights from a file or folder, and from root its own."""
    mode = path.stat().st_mode
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        path.chmod(mode)


def elsewhere(script: str, *, cwd: Path, **environ: str) -> Any:
    """Run a script in a process of its own, in another folder; return what it gave to `answer`."""
    cwd.mkdir(parents=True, exist_ok=True)
    prelude = "import json, sys\ndef answer(value): print('\\n@' + json.dumps(value))\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(script)],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("\n@")[2])
