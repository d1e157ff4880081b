"""Watched directories beside what exists: ``python benchmarks/watcher.py``.

Another process makes 10,000 files in 1,000 folders, which it makes as it goes: most are written at once, some slowly
with a pause, some renamed into place, some overwritten. The detector runs here with an ``emit`` that takes the time
and reads the file, as a snapshot would. Counts are exact; the time from the close to the detection is of two clocks
of one machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tracelet.builtin.filesystem import FilesystemSettings, tracelet_detectors
from tracelet.plugin import Detection, DetectorContext, WatchedDirectory

FOLDERS, EACH = 1_000, 10


def write_all(root: Path) -> None:
    """Make the files, and print when each was complete: path, sha256 and time of every version."""
    said: list[tuple[str, str, float]] = []
    slow = []

    def done(path: Path, content: bytes) -> None:
        said.append((str(path.relative_to(root)), hashlib.sha256(content).hexdigest(), time.time()))

    for folder in range(FOLDERS):
        place = root / f"run{folder // 100}" / f"{folder:04}"
        place.mkdir(parents=True)
        for number in range(EACH):
            path = place / f"file{number}.bin"
            content = os.urandom(1000)
            kind = (folder * EACH + number) % 10
            if kind == 3:
                written = {(path, sha256) for path, sha256, _ in said}
    partial = sum((path, sha256) not in written for path, sha256, _ in seen)
    print(f"files that exist                         {len(there):>10,}")
    print(f"files detected                           {len(emitted):>10,}   all of them, each as it is in the end")
    print(f"   of these before stop()                {before_stop:>10,}")
    print(f"missed                                   {len(there.keys() - emitted.keys()):>10,}   0")
    print(f"detected last with another content       {len(wrong):>10,}   0 ({partial} partial)")
    print(f"detections (a file may be told twice)    {len(seen):>10,}")
    print(f"versions written                         {len(said):>10,}")
    print(f"close to detection, ms: median           {statistics.median(waits):>10.2f}")
    print(f"                        p95              {waits[int(0.95 * len(waits))]:>10.2f}   50")
    print(f"                        p99              {waits[int(0.99 * len(waits))]:>10.2f}")
    print(f"                        longest          {waits[-1]:>10.2f}")
    print(f"writing, s                               {took:>10.2f}")
    print(f"CPU of the watching process, s           {cpu:>10.2f}   (it reads and hashes each file, too)")
    print(f"stop(), s                                {stopped:>10.2f}")


if __name__ == "__main__":
    write_all(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
