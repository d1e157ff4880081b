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
#: A file, the sha256 of what it held, and when that was.
State = tuple[str, str, float]


def write_all(root: Path) -> None:
    """Make the files, and print every version of each, with the time when it was complete."""
    said: list[State] = []
    slow = []

    def done(path: Path, content: bytes) -> None:
        said.append((str(path.relative_to(root)), hashlib.sha256(content).hexdigest(), time.time()))

    for folder in range(FOLDERS):
        place = root / f"run{folder // 100}" / f"{folder:04}"
        place.mkdir(parents=True)
        for number in range(EACH):
            path = place / f"file{number}.bin"
            content = os.urandom(1000)
            if number == 3:
                temporary = place / f"file{number}.bin.tmp"
                temporary.write_bytes(content)
                temporary.rename(path)
            elif number == 5:
                stream = path.open("wb", buffering=0)
                stream.write(content[:500])
                slow.append((path, stream, content))
                continue
            else:
                path.write_bytes(content)
                if number == 7:
                    done(path, content)
                    content = os.urandom(1000)
                    path.write_bytes(content)
            done(path, content)
        while len(slow) > 50 or (slow and folder == FOLDERS - 1):
            path, stream, content = slow.pop(0)
            stream.write(content[500:])
            stream.close()
            done(path, content)
        time.sleep(0.005)
    print(json.dumps(said))


def watch_all(folder: Path) -> tuple[list[State], list[State], dict[str, str]]:
    """Return what was detected, what was written, and what exists in the end; print how long things took."""
    seen: list[State] = []

    def emit(detection: Detection) -> None:
        assert detection.path is not None
        moment = time.time()
        content = detection.path.read_bytes()
        seen.append((detection.artifact_path or "", hashlib.sha256(content).hexdigest(), moment))

    root = folder / "out"
    root.mkdir()
    own = folder / ".tracelet"
    context = DetectorContext(
        experiment="benchmark", directory=own, workspace=own / "made", watched=(WatchedDirectory(str(root)),)
    )
    (spec,) = tracelet_detectors()
    detector = spec.create(FilesystemSettings(), context)
    detector.start(emit)
    cpu, began = time.process_time(), time.perf_counter()
    answer = subprocess.run([sys.executable, __file__, str(root)], capture_output=True, text=True, check=True)
    took = time.perf_counter() - began
    time.sleep(0.5)
    before_stop = len({path for path, _, _ in seen})
    stopping = time.perf_counter()
    detector.stop()
    print(f"writing, s                               {took:>10.2f}")
    print(f"stop(), s                                {time.perf_counter() - stopping:>10.2f}")
    print(f"CPU of the watching process, s           {time.process_time() - cpu:>10.2f}   it reads and hashes, too")
    print(f"files detected before stop()             {before_stop:>10,}")
    there = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }
    return seen, [(path, sha256, moment) for path, sha256, moment in json.loads(answer.stdout)], there


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seen, said, there = watch_all(Path(folder))
    last = {path: (sha256, moment) for path, sha256, moment in said}
    emitted = {path: sha256 for path, sha256, _ in seen}
    written = {(path, sha256) for path, sha256, _ in said}
    first: dict[tuple[str, str], float] = {}
    for path, sha256, moment in seen:
        first.setdefault((path, sha256), moment)
    waits = sorted(
        1000 * (first[path, sha256] - moment) for path, (sha256, moment) in last.items() if (path, sha256) in first
    )
    wrong = [path for path, sha256 in emitted.items() if there.get(path) != sha256]
    partial = [path for path, sha256, _ in seen if (path, sha256) not in written]
    print(f"files that exist                         {len(there):>10,}")
    print(f"files detected                           {len(emitted):>10,}   budget: all")
    print(f"missed                                   {len(there.keys() - emitted.keys()):>10,}   0")
    print(f"detected last with another content       {len(wrong):>10,}   0")
    print(f"detections of a partial content          {len(partial):>10,}   0")
    print(f"versions written                         {len(said):>10,}")
    print(f"detections                               {len(seen):>10,}   capture drops those with the same content")
    print(f"close to detection, ms: median           {statistics.median(waits):>10.2f}")
    print(f"                        p95              {waits[int(0.95 * len(waits))]:>10.2f}   50")
    print(f"                        p99              {waits[int(0.99 * len(waits))]:>10.2f}")
    print(f"                        longest          {waits[-1]:>10.2f}")


if __name__ == "__main__":
    write_all(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
