"""One place with its backends, programs that are killed in it, and what must be so afterwards."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from reliability.victims import LEAVER, READER, WRITER
from servers.programs import clean_environment

TRACELET = str(Path(sys.executable).with_name("tracelet"))
DYING = str(Path(__file__).parent / "dying")
#: Seconds, for what must come to its end on the busiest machine.
PATIENCE = 600.0


@attrs.define
class Trial:
    """A tracelet directory that survives its programs."""

    folder: Path
    backends: Sequence[str]
    environ: Mapping[str, str]
    chance: random.Random
    kills: int = 0
    #: What programs were told that is kept, by number.
    told: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    _next: int = 1
    _token: str = attrs.field(factory=lambda: uuid.uuid4().hex)

    def _environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        own = {
            "TRACELET_DIR": str(self.folder / "t"),
            "TRACELET_BACKEND": ",".join(self.backends),
            "TRACELET_ROUTING": "all",
            "TRACELET_LARGE_FILE_MB": "0.1",
            # None of these may be met: an SDK takes its time on a busy machine.
            "TRACELET_OPEN_TIMEOUT": str(PATIENCE),
            "TRACELET_DEADLINE": str(PATIENCE),
            "TRACELET_STOP_TIMEOUT": str(PATIENCE),
            "TRIAL": self._token,
        }
        return clean_environment({**own, **self.environ, **extra})

    def _run(self, command: Sequence[str], extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        here = self.folder / f"cwd-{uuid.uuid4().hex[:8]}"
        here.mkdir()
        return subprocess.run(
            command, cwd=here, env=self._environ(extra or {}), capture_output=True, text=True, timeout=PATIENCE
        )

    def _dying(self, role: str, at: int) -> dict[str, str]:
        (self.folder / "deeds.died").unlink(missing_ok=True)
        path = os.pathsep.join([DYING, *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path, "DYING": f"{role}:{at}", "DYING_COUNT": str(self.folder / "deeds")}

    def _deeds(self) -> int:
        return int.from_bytes((self.folder / "deeds").read_bytes(), "little")

    def write(self, count: int, extra: Mapping[str, str] | None = None) -> int:
        """Let a program log and submit; return how it ended."""
        diary = self.folder / "diary"
        diary.write_text("")
        command = [sys.executable, "-c", WRITER, str(self._next), str(count), str(diary)]
        done = self._run(command, extra)
        self._next += count
        self.told |= {line["n"]: line for line in map(json.loads, diary.read_text().splitlines())}
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr[-3000:]
        return done.returncode

    def write_and_be_killed(self, role: str, times: int, count: int = 4) -> None:
        """Kill a writing program, or its lane, before a deed that is drawn by chance, so many times."""
        assert self.write(count, self._dying(role, 0)) == 0
        deeds = self._deeds()
        for _ in range(times):
            before = len(self.told)
            ended = self.write(count, self._dying(role, self.chance.randint(1, deeds)))
            self.kills += 1
            # A program outlives its lane; and a killed one's last word may not have reached its diary.
            assert role == "program" or (ended, len(self.told) - before) == (0, count)
            self.wait_for_lanes()

    def leave(self, count: int) -> None:
        """Let a program submit, and die at once."""
        done = self._run([sys.executable, "-c", LEAVER, str(self._next), str(count)])
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
        self.told |= {int(n): {"n": int(n), "stored": {}, "queued": ["submitted"]} for n in done.stdout.split()}
        self._next += count
        self.wait_for_lanes()

    def command_and_be_killed(self, *arguments: str, times: int, role: str = "program") -> None:
        """Kill a command before a deed that is drawn by chance, so many times; each draw is from what the last one did."""
        most = 400
        for _ in range(times):
            self._run([TRACELET, *arguments], self._dying(role, self.chance.randint(1, most)))
            most = max(self._deeds(), 20)
            self.kills += 1
            self.wait_for_lanes()

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run a command to its end, which must be good."""
        done = self._run([TRACELET, *arguments, "--json"])
        assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def lanes(self) -> list[int]:
        """The processes of this trial that are still there."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"TRIAL={self._token}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def wait_for_lanes(self) -> None:
        """A lane whose program was killed finishes what it has in hand, and ends."""
        until = time.monotonic() + PATIENCE
        while left := self.lanes():
            assert time.monotonic() < until, f"processes {left} do not end"
            time.sleep(0.05)

    def age(self) -> None:
        """Make everything in the tracelet directory look old, so that gc takes what nobody needs."""
        long_ago = time.time() - 90 * 86400
        for path in [*(self.folder / "t").rglob("*")][::-1]:
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (long_ago, long_ago), follow_symlinks=False)

    def settled(self) -> dict[str, int]:
        """Deliver what waits, read everything back, and hold it against what programs were told; return the figures."""
        self.command("sync")
        waiting = [one for one in self.command("doctor")["checks"] if one["verdict"] == "wrong"]
        assert not waiting
        done = self._run([sys.executable, "-c", READER, *self.backends])
        assert done.returncode == 0, done.stderr[-3000:]
        there = json.loads(done.stdout)
        figures = {
            "kills": self.kills,
            "acknowledged": len(self.told),
            "lost": len(list(self._lost(there))),
            "wrong": sum(not one["whole"] for one in there),
            "doubled": sum(
                count - 1 for count in Counter((one["backend"], one["n"]) for one in there).values() if count > 1
            ),
            "out of order": len(list(self._out_of_order(there))),
            "in one backend alone": len(self._uneven(there)),
        }
        self.wait_for_lanes()
        return figures

    def _lost(self, there: Sequence[Mapping[str, Any]]) -> Iterator[int]:
        numbers = {(one["backend"], one["n"]): one["version"] for one in there}
        for n, said in self.told.items():
            promised = {**dict.fromkeys(self.backends), **said["stored"]}
            if any(
                numbers.get((name, n)) != (version or numbers.get((name, n), "")) for name, version in promised.items()
            ):
                yield n

    def _out_of_order(self, there: Sequence[Mapping[str, Any]]) -> Iterator[int]:
        """A name's versions have the order in which its artifacts were logged."""
        names: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for one in there:
            names.setdefault((one["backend"], one["name"]), []).append((int(one["version"][1:]), one["n"]))
        for versions in names.values():
            numbers = [n for _, n in sorted(versions)]
            yield from (n for n, follower in itertools.pairwise(numbers) if follower < n)

    def _uneven(self, there: Sequence[Mapping[str, Any]]) -> set[int]:
        held = [{one["n"] for one in there if one["backend"] == name} for name in self.backends]
        return set.union(*held) - set.intersection(*held)
