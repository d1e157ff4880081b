"""Watched directories: ``python benchmarks/watcher.py``.

Another process makes 10,000 files in 1,000 folders, which are there or are made as it goes: most are written at once, some slowly
with a pause, some renamed into place, some overwritten. The detector runs here with an ``emit`` that takes the time
and reads the file, as a snapshot would. A file that is missed, or detected with a content that it never had, is a
failure. What is measured is the time from the close to the detection, with two clocks of one machine: 95 of 100 files
take less than the figure.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measuring
from measuring import OURS, Line, Step, Way, at_most

EACH = 10
#: A file, the sha256 of what it held, and when that was.
State = tuple[str, str, float]


def write_all(root: Path, folders: int) -> None:
    """Make the files, and print every version of each, with the time when it was complete."""
    said: list[State] = []
    slow = []

    def done(path: Path, content: bytes) -> None:
        said.append((str(path.relative_to(root)), hashlib.sha256(content).hexdigest(), time.time()))

    for folder in range(folders):
        place = place_of(root, folder)
        place.mkdir(parents=True, exist_ok=True)
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
        while len(slow) > 50 or (slow and folder == folders - 1):
            path, stream, content = slow.pop(0)
            stream.write(content[500:])
            stream.close()
            done(path, content)
        time.sleep(0.005)
    print(json.dumps(said))


def place_of(root: Path, folder: int) -> Path:
    return root / f"run{folder // 100}" / f"{folder:04}"


def detected(folder: Path, folders: int, *, made_before: bool) -> tuple[list[State], list[State]]:
    """Return what was detected, and what was written."""
    from tracelet.builtin.filesystem import FilesystemSettings, tracelet_detectors
    from tracelet.plugin import Detection, DetectorContext, WatchedDirectory

    seen: list[State] = []

    def emit(detection: Detection) -> None:
        assert detection.path is not None
        moment = time.time()
        content = detection.path.read_bytes()
        seen.append((detection.artifact_path or "", hashlib.sha256(content).hexdigest(), moment))

    root = folder / "out"
    root.mkdir()
    # A folder that holds a file already does not wait whether it becomes one artifact.
    for number in range(folders if made_before else 0):
        place = place_of(root, number)
        place.mkdir(parents=True)
        (place / "before.txt").write_text("before")
        (place.parent / "before.txt").write_text("before")
    own = folder / ".tracelet"
    context = DetectorContext(
        experiment="benchmark", directory=own, workspace=own / "made", watched=(WatchedDirectory(str(root)),)
    )
    (spec,) = tracelet_detectors()
    detector = spec.create(FilesystemSettings(), context)
    detector.start(emit)
    answer = subprocess.run(
        [sys.executable, __file__, "--write", str(root), str(folders)], capture_output=True, text=True, check=True
    )
    time.sleep(0.5)
    detector.stop()
    return seen, [(path, sha256, moment) for path, sha256, moment in json.loads(answer.stdout)]


def p95(seen: list[State], said: list[State]) -> float:
    """Seconds from close to detection, which 95 of 100 files do not exceed."""
    # The last version of each file is what exists in the end.
    last = {path: (sha256, moment) for path, sha256, moment in said}
    emitted = {path: sha256 for path, sha256, _ in seen}
    written = {(path, sha256) for path, sha256, _ in said}
    wrong = [path for path, (sha256, _) in last.items() if emitted.get(path) != sha256]
    partial = [path for path, sha256, _ in seen if (path, sha256) not in written]
    if wrong or partial:
        raise AssertionError(f"{len(wrong)} files missed or wrong, {len(partial)} detected with a partial content")
    first: dict[tuple[str, str], float] = {}
    for path, sha256, moment in seen:
        first.setdefault((path, sha256), moment)
    waits = sorted(first[path, sha256] - moment for path, (sha256, moment) in last.items())
    return waits[int(0.95 * len(waits))]


@contextlib.contextmanager
def watching(folders: int, *, made_before: bool) -> Iterator[Step]:
    def step(number: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return p95(*detected(Path(folder), folders, made_before=made_before))

    yield step


def lines(*, quick: bool) -> list[Line]:
    # The files of a new folder wait for 3 s, because they may be one artifact.
    count = 200 if quick else 1_000
    title = f"a watched directory: from close to detection, 95 of 100 of {EACH * count:,} files, none missed"
    return [
        Line(
            f"watcher-{name}",
            f"{title}, in folders that {which}",
            {OURS: Way("watcher:watching", {"folders": count, "made_before": made_before})},
            at_most(0.05) if made_before else None,
            warm=0,
        )
        for name, which, made_before in (("old", "hold some already", True), ("new", "are made with them", False))
    ]


if __name__ == "__main__":
    write_all(Path(sys.argv[2]), int(sys.argv[3])) if sys.argv[1:2] == ["--write"] else measuring.main(
        sys.modules[__name__]
    )
