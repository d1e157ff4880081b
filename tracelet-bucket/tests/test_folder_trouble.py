"""A folder as a bucket: what a filesystem, other users and other programs do to it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tracelet.exceptions import ConfigError, IntegrityError
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket import garbage
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.folder import FolderBucket
from tracelet_bucket.places import open_bucket

Opened = Callable[..., BucketBackend]
Seal = Callable[..., SealedArtifact]


def test_what_is_written_while_another_swaps_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is deleted while it gets a label does not come back."""
    bucket = FolderBucket(tmp_path / "bucket", "file:///bucket")
    bucket.create("key", b"first")
    read = bucket.get
    found = read("key")
    assert found is not None
    writing = Thread(target=bucket.put, args=("key", b"deleted"))

    def get(key: str) -> Any:
        given = read(key)
        writing.start()
        writing.join(0.2)
        return given

    monkeypatch.setattr(bucket, "get", get)
    assert bucket.swap("key", b"swapped", found.etag)
    writing.join()
    assert read("key").data == b"deleted"  # type: ignore[union-attr]


def test_everybody_swaps_who_shares_the_folder(opened: Opened, seal: Seal, tmp_path: Path) -> None:
    root = tmp_path / "team"
    root.mkdir()
    root.chmod(0o2770)
    backend = opened(root.as_uri())
    backend.put(seal({"x": b"one"}), Labels("1.0", ("best",)))
    backend.put(seal({"x": b"two"}), Labels("2.0", ("best",)))
    notes = [path for path in root.rglob("*") if path.is_file() and "objects" not in path.parts]
    assert [path for path in notes if stat.S_IMODE(path.stat().st_mode) & 0o060 != 0o060] == []


def test_a_file_in_the_place_of_the_folder_is_no_empty_bucket(opened: Opened, seal: Seal, tmp_path: Path) -> None:
    place = tmp_path / "bucket"
    place.write_bytes(b"a file")
    backend = opened(place.as_uri())
    with pytest.raises(ConfigError, match="is no folder"):
        backend.find("data", "latest")
    with pytest.raises(ConfigError, match="is no folder"):
        list(backend.list(name=None, type=None))
    with pytest.raises(ConfigError, match="is no folder"):
        backend.put(seal({"x": b"content"}), Labels())


def test_names_that_begin_with_a_dot_are_names(opened: Opened, seal: Seal, folder: str) -> None:
    """Only what is being written is cleared away, and nothing else is passed over."""
    backend = opened(folder)
    stored = backend.put(seal({"x": b"one"}, name=".name", put_id=".put.tmp"), Labels(".1.tmp", (".best",)))
    partial = Path(open_bucket(folder).url.removeprefix("file://")) / f".{'0' * 32}.tmp"
    partial.write_bytes(b"left by a kill")
    assert list(garbage.collect(open_bucket(folder), time.time() + 3600)) == [14]
    reader = opened(folder)
    assert list(reader.list(name=None, type=None)) == [stored]
    for ref in ("latest", ".1.tmp", ".best", "put:.put.tmp"):
        assert reader.find(".name", ref) == stored


def test_a_filesystem_without_hard_links_is_refused_before_anything_is_stored(
    opened: Opened, seal: Seal, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*arguments: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(ConfigError, match="no hard links"):
        opened(folder).put(seal({"x": b"one"}), Labels())
    monkeypatch.undo()
    assert [one.key for one in open_bucket(folder).below("objects")] == []


def test_a_link_that_leads_nowhere_is_told_and_no_endless_loop(opened: Opened, seal: Seal, folder: str) -> None:
    backend = opened(folder)
    backend.put(seal({"x": b"one"}), Labels())
    root = Path(open_bucket(folder).url.removeprefix("file://"))
    (root / "experiments/trials/versions/data/999999999998-v1.json").symlink_to(root / "nothing")
    with pytest.raises(IntegrityError, match="leads nowhere: delete it"):
        backend.put(seal({"x": b"two"}), Labels())
