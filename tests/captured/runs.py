"""Run a program with and without capture, and read from another process what was captured."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import attrs

from captured.libraries import Program
from servers import programs

__all__ = ["Run", "Version", "captured", "losses_without_capture"]

_HERE = Path(__file__).parent
_READ = """
import json
from tracelet import Experiment

print(json.dumps([
    [
        one.name, one.type.value, one.version, sorted(one.aliases), sorted(one.metadata),
        {file.artifact_path: file.sha256 for file in one.files},
    ]
    for one in Experiment("captured", artifacts=True).list_artifacts()
]))
"""


@attrs.frozen
class Version:
    """A version of an artifact, as it is read back."""

    name: str
    type: str
    version: str
    aliases: list[str]
    metadata: list[str]
    #: The digest of each file.
    files: dict[str, str]


@attrs.frozen
class Run:
    """What came of a program that was captured."""

    losses: list[str]
    #: The newest first.
    versions: list[Version]
    #: The files that the program left and no artifact has.
    uncaptured: list[str]


def captured(program: Program, folder: Path) -> Run:
    """Run a program with capture, in a folder of its own."""
    environ = {"TRACELET_DIR": str(folder / "tracelet"), "TRACELET_BACKEND": "local"}
    switches = {
        "TRACELET_AUTOMAGIC_ARTIFACTS": str(not program.watched_alone),
        "TRACELET_WATCH_FILESYSTEM": "true",
        "TRACELET_ARTIFACT_WATCH_DIRS": "out",
    }
    losses = _run(program, folder / "captured", {**environ, **switches})
    versions = [Version(*one) for one in programs.run(_READ, folder / "reading", environ)]
    digests = {digest for one in versions for digest in one.files.values()}
    out = folder / "captured" / "out"
    left = [path for path in sorted(out.rglob("*")) if path.is_file() and _digest(path) not in digests]
    return Run(losses, versions, [str(path.relative_to(out)) for path in left])


def losses_without_capture(program: Program, folder: Path) -> list[str]:
    """Run a program in a run that captures nothing."""
    environ = {"TRACELET_DIR": str(folder / "nothing"), "TRACELET_BACKEND": "local"}
    return _run(program, folder / "without", environ)


def _run(program: Program, folder: Path, environ: dict[str, str]) -> list[str]:
    folder.mkdir(parents=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={program.processes}"]
    done = subprocess.run(
        [
            sys.executable,
            *(launcher if program.processes else []),
            str(_HERE / "begin.py"),
            str(_HERE / "programs" / f"{program.name}.py"),
        ],
        cwd=folder,
        env=programs.paced({**program.environ, **environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}),
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    losses: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return losses


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
