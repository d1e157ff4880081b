"""A later release that has one field more, of an entry and of the manifest, and this one read what the other wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import tracelet
from formats import sets

#: What a later release has: a field that is left out while it has its default. A variable sets it.
LATER = {"ArtifactFile": "colour", "Manifest": "licence"}
FIELD = """    {name}: str = attrs.field(default="", kw_only=True, validator=_later)
"""
HELPER = """

def _later(instance, field, value):
    import os

    object.__setattr__(instance, field.name, value or os.environ.get(field.name.upper(), ""))


"""

PROGRAMS = """
import json, os, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.cli import main

def write(name):
    Path("a.txt").write_text(name)
    Path("../mood").write_text("away")
    with Experiment("growing", backend=["local", "archive"], artifacts=True, routing="all") as exp:
        made = exp.create_artifact(name, ArtifactType.CONFIG, "described").add_file("a.txt", "deep/a.txt")
        made.metadata["loss"] = float("nan")
        results = exp.log_artifact(made.add_object([1], "numbers"), version="1.0", aliases=["best"])
        assert list(results) == ["local"] and list(results.queued) == ["archive"], results
    Path("../mood").unlink()
    return results["local"].digest

def read():
    found = {}
    for backend in ("local", "archive"):
        exp = Experiment("growing", backend=backend, artifacts=True)
        for one in exp.list_artifacts():
            again = exp.get_artifact(one.name, f"sha256:{one.digest}")
            text = (again.download(f"{backend}-{one.name}-{os.getpid()}") / "deep/a.txt").read_text()
            own = [getattr(one.files[0], "colour", None), getattr(one.manifest, "licence", None)]
            found[f"{one.name} in {backend}"] = [one.digest, text, one.load_object("numbers"), own]
    return found

def sync():
    sys.argv = ["tracelet", "sync", "--json"]
    sys.stdout = sys.stderr
    try:
        main()
    except SystemExit as ended:
        return ended.code or 0
    finally:
        sys.stdout = sys.__stdout__

print(json.dumps([globals()[word](*arguments) for word, *arguments in json.loads(sys.argv[1])]))
"""


@attrs.frozen
class Releases:
    """This release and a later one, which share a tracelet directory."""

    folder: Path
    later: Path

    def now(self, *steps: list[str], **variables: str) -> list[Any]:
        return self._run(steps, [], variables)

    def later_on(self, *steps: list[str], **variables: str) -> list[Any]:
        return self._run(steps, [self.later], variables)

    def _run(self, steps: tuple[list[str], ...], sources: list[Path], variables: dict[str, str]) -> list[Any]:
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        paths = [*sources, sets.FORMATS / "plugin", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        own = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "TRACELET_DIR": str(self.folder / "tracelet")}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAMS, json.dumps(steps)],
            cwd=work,
            env={**os.environ, **own, **variables},
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for word in ("damaged", "changed", "delete"):
            assert word not in done.stderr
        found: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def document(self, name: str, backend: str) -> dict[str, Any]:
        place = self.folder / ("tracelet/local" if backend == "local" else "archive")
        found: dict[str, Any] = json.loads((place / "growing" / "versions" / name / "v0.json").read_text())
        return found


def _grow(sources: Path) -> None:
    """Give classes of a copy of the sources a field more, wherever they are by now."""
    for name, field in LATER.items():
        (path,) = [path for path in sources.rglob("*.py") if f"\nclass {name}:" in path.read_text()]
        head, own = path.read_text().split(f"\nclass {name}:")
        assert own.count("\n    extra: ") >= 1, f"{name} carries what it does not know"
        own = own.replace("\n    extra: ", f"\n{FIELD.format(name=field)}    extra: ", 1)
        own = own.replace("extra=unknown(", f"{field}=data.get({field!r}, ''), extra=unknown(", 1)
        text = head + f"\nclass {name}:" + own
        # After the last import of the file's head.
        last = [match.end() for match in re.finditer(r"^(?:from|import) [^\n]*(?:\([^)]*\))?\n", text, re.MULTILINE)][
            -1
        ]
        if "def _later(" not in text:
            text = text[:last] + HELPER + text[last:]
        path.write_text(text)


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    later = tmp_path / "later"
    shutil.copytree(Path(tracelet.__file__).parent, later / "tracelet", ignore=shutil.ignore_patterns("__pycache__"))
    _grow(later / "tracelet")
    return Releases(tmp_path, later)


SET = {"COLOUR": "red", "LICENCE": "MIT"}


def test_a_later_release_leaves_out_what_is_not_set_and_this_one_gives_the_same_digest(releases: Releases) -> None:
    (digest,) = releases.later_on(["write", "thing"])
    assert "licence" not in releases.document("thing", "local")
    code, found = releases.now(["sync"], ["read"])
    assert code == 0
    assert found == {f"thing in {backend}": [digest, "thing", [1], [None, None]] for backend in ("local", "archive")}


def test_what_a_later_release_set_is_verified_carried_and_delivered_by_this_one(releases: Releases) -> None:
    (digest,) = releases.later_on(["write", "thing"], **SET)
    code, found = releases.now(["sync"], ["read"])
    assert code == 0
    assert found == {f"thing in {backend}": [digest, "thing", [1], [None, None]] for backend in ("local", "archive")}
    for backend in ("local", "archive"):
        document = releases.document("thing", backend)
        assert (document["licence"], document["files"][0]["colour"]) == ("MIT", "red")
    (again,) = releases.later_on(["read"])
    assert again == {f"thing in {backend}": [digest, "thing", [1], ["red", "MIT"]] for backend in ("local", "archive")}


def test_what_is_set_makes_it_another_artifact(releases: Releases) -> None:
    assert releases.later_on(["write", "thing"]) != releases.later_on(["write", "other"], **SET)


def test_what_this_release_wrote_is_verified_and_delivered_by_a_later_one(releases: Releases) -> None:
    (digest,) = releases.now(["write", "thing"])
    code, found = releases.later_on(["sync"], ["read"])
    assert code == 0
    assert found == {f"thing in {backend}": [digest, "thing", [1], ["", ""]] for backend in ("local", "archive")}
    assert releases.document("thing", "archive") == releases.document("thing", "local")
    assert "licence" not in releases.document("thing", "archive")
