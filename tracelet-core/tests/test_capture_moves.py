# ruff: noqa: F811 - a fixture is a parameter of what uses it
"""What was captured and is moved then is no new artifact; a copy is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from making import write
from test_capture import hand, run  # noqa: F401 - fixtures

from tracelet import ArtifactType, Experiment
from tracelet.core.system.files import stamp
from tracelet.plugin import Detection

pytestmark = pytest.mark.capture

Run = Callable[..., Experiment]
Act = Callable[[Path, Path], object]


def saved(path: Path, *, folder: bool, name: str | None = None) -> Detection:
    """What a function saved; it says nothing of how that looks."""
    return Detection(path=path, type=ArtifactType.MODEL if folder else ArtifactType.WEIGHTS, name=name)


def watched(path: Path, name: str | None = None) -> Detection:
    """What a watcher found; it names a folder by its path."""
    if not path.is_dir():
        return Detection(path=path, type=ArtifactType.WEIGHTS, name=name, stamp=stamp(path.stat()))
    looks = {file: stamp(file.stat()) for file in path.iterdir()}
    return Detection(path=path, type=ArtifactType.MODEL, name=name or f"out.{path.name}-model", stamps=looks)


def make(path: Path, text: str, *, folder: bool) -> Path:
    if folder:
        write(path / "weights.bin", text)
        write(path / "config.json", "{}")
    else:
        write(path, text)
    return path


def to_another_disk(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
        shutil.rmtree(source)
    else:
        shutil.copy2(source, target)
        source.unlink()


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def stored(exp: Experiment) -> dict[str, int]:
    exp.stop()
    versions = [one.name for one in exp.list_artifacts()]
    return {name: versions.count(name) for name in versions}


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("move", [os.rename, to_another_disk])
def test_what_is_moved_after_it_was_captured_is_no_new_artifact(
    run: Run, hand: ModuleType, home: Path, move: Act, folder: bool
) -> None:
    exp = run()
    for text in "ab":
        hand.show(saved(make(home / "net", text, folder=folder), folder=folder, name="net"))
        for source, target in (("net", "best"), ("best", "last")):
            shutil.rmtree(home / target, ignore_errors=True)
            move(home / source, home / target)
            hand.show(watched(home / target))
            # Another save to the old place would look as if this were a copy.
            assert exp.flush(60.0) == 0
    assert stored(exp) == {"net": 2}


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_is_put_aside_for_the_next_save_is_no_new_artifact_and_is_one_when_it_is_put_back(
    run: Run, hand: ModuleType, home: Path, folder: bool
) -> None:
    exp = run()
    path, aside = home / "net", home / "previous"
    for text in "abc":
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            path.rename(aside)
        hand.show(saved(make(path, text, folder=folder), folder=folder, name="net"))
        if aside.exists():
            hand.show(watched(aside))
    shutil.rmtree(path) if folder else path.unlink()
    hand.show(watched(aside.rename(path)))
    assert stored(exp) == {"net": 4}


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_copy_elsewhere_is_an_artifact_also_if_its_source_is_overwritten(
    run: Run, hand: ModuleType, home: Path, folder: bool
) -> None:
    exp = run()
    hand.show(saved(make(home / "net", "a", folder=folder), folder=folder, name="net"))
    copy(home / "net", home / "one")
    hand.show(watched(home / "one"))
    copy(home / "net", home / "two")
    hand.show(saved(make(home / "net", "b", folder=folder), folder=folder, name="net"))
    hand.show(watched(home / "two"))
    copies = {"out.one-model": 1, "out.two-model": 1} if folder else {"one-weights": 1, "two-weights": 1}
    assert stored(exp) == {"net": 2, **copies}


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_is_moved_to_where_another_name_is_asked_for_is_captured_by_it(
    run: Run, hand: ModuleType, home: Path, folder: bool
) -> None:
    exp = run()
    hand.show(saved(make(home / "net", "a", folder=folder), folder=folder, name="net"))
    hand.show(watched((home / "net").rename(home / "moved"), name="the-final-one"))
    assert stored(exp) == {"net": 1, "the-final-one": 1}
