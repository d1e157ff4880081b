"""Filesystems of one folder, each as one machine sees it, that lack what some network disks lack."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest

__all__ = ["OddDisks"]

_PROGRAM = Path(__file__).with_name("odd_disk.py")


class OddDisks:
    """Views of a folder; see `odd_disk.py` for what they may lack, and for how many seconds they believe what they have seen."""

    def __init__(self, folder: Path, lacks: str = "", seconds: float = 0.0) -> None:
        absent = [] if importlib.util.find_spec("mfusepy") else ["mfusepy (the session `machines` of nox installs it)"]
        absent += [] if os.path.exists("/dev/fuse") else ["/dev/fuse (modprobe fuse)"]
        if absent:
            pytest.fail(f"not there: {', '.join(absent)}", pytrace=False)
        self._folder, self._lacks, self._seconds = folder, lacks, seconds
        (folder / "all").mkdir(parents=True)
        self._views: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def view(self) -> Path:
        """Mount it once more."""
        mount = self._folder / f"view-{len(self._views)}"
        mount.mkdir()
        command = [sys.executable, "-W", "ignore", str(_PROGRAM), str(self._folder / "all"), str(mount)]
        child = subprocess.Popen([*command, self._lacks, str(self._seconds)])
        self._views.append((mount, child))
        until = time.monotonic() + 60
        while not os.path.ismount(mount):
            assert child.poll() is None, "it ended"
            assert time.monotonic() < until, "it is not mounted"
            time.sleep(0.01)
        return mount

    def __enter__(self) -> OddDisks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mount, child in self._views:
            subprocess.run(["umount", "--lazy", str(mount)], check=False)
            child.wait(60)
