"""Filesystems without hard links: a tracelet directory on one is refused before anything is lost there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from commanding import run_both

from tracelet import ArtifactType, ConfigError, Experiment
from tracelet.core.system import filesystems


@pytest.fixture
def linkless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all filesystems be of another kind, and without hard links."""

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(filesystems, "kind_of", lambda folder: "fuse")
    monkeypatch.setattr(os, "link", refuse)


def test_no_run_begins_there_and_nothing_is_written(home: Path, linkless: None) -> None:
    with pytest.raises(ConfigError, match=r"has no hard links.*set TRACELET_DIR to a folder on a disk of each machine"):
        Experiment("e", artifacts=True).start()
    assert [path for path in (home / ".tracelet").rglob("*") if path.is_file()] == []


def test_nobody_is_the_first_there(home: Path, linkless: None) -> None:
    with pytest.raises(ConfigError, match="has no hard links"):
        filesystems.link_or_refuse(home / "a", home / "b")


@pytest.mark.parametrize(("command", "code"), [("gc", 2), ("doctor", 1)])
def test_commands_say_so(home: Path, linkless: None, command: str, code: int) -> None:
    (home / ".tracelet").mkdir()
    assert "has no hard links" in "".join(run_both(command, code=code))


def test_other_kinds_that_have_them_are_tried_and_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "kind_of", lambda folder: "nfs4")
    with Experiment("e", artifacts=True) as exp:
        assert exp.log_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object(1, "o")).ok
    assert not list((home / ".tracelet").glob(".*.tmp"))


def test_what_else_goes_wrong_is_told_as_it_is(home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        filesystems.link_or_refuse(home / "nothing", home / "b")
