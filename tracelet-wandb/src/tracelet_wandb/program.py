"""The program that a lane serves. By it a lane knows whether that program or another one began a run."""

from __future__ import annotations

import hashlib
import os
import platform
import time
import uuid
from pathlib import Path

import attrs

__all__ = ["Program", "served_program"]


@attrs.frozen
class Program:
    """The user's process that a lane serves."""

    #: Different for every process on every machine. It is a hash, and reveals neither.
    token: str
    #: Seconds since the epoch; 0 where it cannot be known.
    started_at: float


def served_program() -> Program:
    """Return the program that this process serves, which is its parent."""
    pid = os.getppid()
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        up = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return Program(uuid.uuid4().hex, 0.0)
    token = hashlib.sha256(f"{platform.node()}/{boot}/{pid}/{ticks}".encode()).hexdigest()[:16]
    now = time.time()
    started = now - up + ticks / os.sysconf("SC_CLK_TCK")
    # In some containers the uptime is the container's and the ticks are the machine's.
    return Program(token, started if started <= now else 0.0)
