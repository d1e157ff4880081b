"""A folder as a bucket: who swaps is alone, on whatever machine, and a filesystem that cannot tell who was first is refused."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from tracelet import BackendUnavailable, ConfigError
from tracelet_bucket import folder as module
from tracelet_bucket.bucket import Found
from tracelet_bucket.folder import FolderBucket


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    made = FolderBucket(tmp_path / "bucket", (tmp_path / "bucket").as_uri())
    assert made.create("key", b"0")
    return made


def found(bucket: FolderBucket) -> Found:
    seen = bucket.get("key")
    assert seen is not None
    return seen


def test_of_many_that_swap_at_once_none_overwrites_another(bucket: FolderBucket) -> None:
    def count() -> None:
        for _ in range(20):
            seen = found(bucket)
            while not bucket.swap("key", str(int(seen.data) + 1).encode(), seen.etag):
                seen = found(bucket)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(bucket).data == b"80"


def test_who_was_killed_while_it_swapped_is_not_waited_for_for_ever(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.1)
    (tmp_path / "bucket" / ".lock").write_bytes(b"of somebody dead")
    assert bucket.swap("key", b"1", found(bucket).etag)
    assert sorted(path.name for path in (tmp_path / "bucket").iterdir()) == ["key"]


def test_a_lock_that_has_another_holder_by_now_is_given_back(bucket: FolderBucket, tmp_path: Path) -> None:
    lock = tmp_path / "bucket" / ".lock"
    lock.write_bytes(b"of somebody who lives")
    bucket._break(lock, b"of somebody dead")
    assert lock.read_bytes() == b"of somebody who lives"


def test_who_was_too_slow_changes_nothing(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = found(bucket).etag
    read = bucket.get

    def slowly(key: str) -> Found | None:
        (tmp_path / "bucket" / ".lock").write_bytes(b"of who came next")
        return read(key)

    monkeypatch.setattr(bucket, "get", slowly)
    with pytest.raises(BackendUnavailable, match="another process has taken its turn"):
        bucket.swap("key", b"1", etag)
    assert (tmp_path / "bucket" / "key").read_bytes() == b"0"
    assert (tmp_path / "bucket" / ".lock").exists()


def test_without_hard_links_nothing_is_made(bucket: FolderBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ConfigError, match="no hard links"):
        bucket.create("other", b"1")
    with pytest.raises(ConfigError, match="no hard links"):
        bucket.swap("key", b"1", "etag")
    assert bucket.get("other") is None
