"""Copies that are killed, and what must be at both ends afterwards."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

from copying.work import TELL
from reliability.trials import TRACELET, Trial

#: Logs versions of three names by turns, with labels, aliases that move, inputs, a content that comes again, and large files.
MAKER = """
from pathlib import Path
from tracelet import Experiment

for lot in range(2):
    with Experiment("copied", backend="local", artifacts=True) as exp:
        for n in range(9):
            Path("it").write_bytes(f"{n % 6:08d}".encode() * (20_000 if n % 4 == 0 else 500))
            artifact = exp.create_artifact(f"name{n % 3}", "custom").add_file("it")
            artifact.metadata.update({"n": n % 6, "lot": lot * (n > 3)})
            aliases = ["last", *["best"] * (n in {1, 5, 6})]
            exp.log_artifact(artifact, version=f"{lot}.{n}" if n % 2 else None, aliases=aliases).raise_for_errors()
            if n == 4:
                exp.use_artifact("name0")
"""


@attrs.define
class CopyTrial(Trial):
    """A source that stays as it is, and a target for each copy that is killed."""

    copies: int = 0
    skipped: int = 0

    def _tell(self, backend: str, experiment: str, directory: Path) -> list[dict[str, Any]]:
        code = f"PLACES = {[(backend, experiment)]!r}\n{TELL}"
        done = self._run([sys.executable, "-c", code], {"TRACELET_DIR": str(directory)})
        assert done.returncode == 0, done.stderr[-3000:]
        told: list[dict[str, Any]] = json.loads(done.stdout)[f"{backend} {experiment}"]
        return told

    def make(self, source: str) -> list[dict[str, Any]]:
        """Log what is copied, and bring it to the source."""
        done = self._run([sys.executable, "-c", MAKER])
        assert done.returncode == 0, done.stderr[-3000:]
        if source != "local":
            self.command("copy", "copied", "--from", "local", "--to", source)
        return self._tell(source, "copied", self.folder / "t")

    def copy_and_be_killed(self, source: str, target: str, times: int) -> list[dict[str, Any]]:
        """Copy to a place of its own, killed so many times on the way, and then to its end; return what is told of it there."""
        self.copies += 1
        experiment, directory = f"copy-{self.copies}", self.folder / f"there-{self.copies}"
        arguments = ["copy", "copied", "--from", source, "--to", target, "--to-experiment", experiment]
        arguments += ["--dir", str(self.folder / "t"), "--to-dir", str(directory)]
        most = 400
        for _ in range(times):
            role = self.chance.choice(["program", "program", "lane"]) if {source, target} != {"local"} else "program"
            self._run([TRACELET, *arguments], self._dying(role, self.chance.randint(1, most)))
            self.kills += (self.folder / "deeds.died").exists()
            most = max(self._deeds(), 20)
        answer = self.command(*arguments)
        self.skipped += Counter(one["outcome"] for one in answer["versions"])["skipped"]
        self.wait_for_lanes()
        return self._tell(target, experiment, directory)
