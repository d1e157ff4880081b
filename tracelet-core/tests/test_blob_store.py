"""Blobs: what is hashed is what is stored, what is stored is what comes back, and nothing waits for ever."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from making import settle, write
from pacing import pace

from tracelet.core.storage.blob_folder import NewBlob, bring
from tracelet.core.storage.blob_store import LocalStore, RemoteStore, blob_key, open_store
from tracelet.core.system import files as module
from tracelet.core.system.files import FileChanged, atomic_write, copy_blob, copy_file, discard, hash_file, stamp
from tracelet.exceptions import ArtifactNotFound, BackendAuthError, BackendUnavailable, ConfigError, IntegrityError
from tracelet.plugin import ArtifactFile, ArtifactType, Manifest, SealedArtifact


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


BIG = b"0123456789" * 250_000
Store = LocalStore | RemoteStore


# -- looking at files


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=len)
def test_a_file_is_hashed_whole(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "f", data)
    digest, seen = hash_file(path)
    assert digest == sha(data)
    assert seen.size_bytes == len(data)
    assert seen.matches(path.stat())


def test_a_file_that_grows_while_it_is_hashed_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settle(write(tmp_path / "f", BIG))
    whole = module.hash_stream

    def and_meanwhile(stream: Any, size_bytes: int) -> str:
        digest = whole(stream, size_bytes)
        path.write_bytes(BIG + b"more")
        return digest

    monkeypatch.setattr(module, "hash_stream", and_meanwhile)
    with pytest.raises(FileChanged, match="changed while it was read"):
        hash_file(path)
    with pytest.raises(IntegrityError):
        hash_file(path)


def test_a_file_that_has_not_the_size_it_says_is_not_hashed() -> None:
    with pytest.raises(FileChanged):
        hash_file(Path("/proc/self/status"))


@pytest.mark.parametrize("use", [hash_file, lambda path: copy_file(path, path.with_name("copy"))], ids=["hash", "copy"])
def test_what_is_no_regular_file_is_an_error_and_no_endless_wait(tmp_path: Path, use: Callable[[Path], Any]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    began = time.monotonic()
    for path in (fifo, Path("/dev/zero"), tmp_path, tmp_path / "absent"):
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's to say
            use(path)
    with pytest.raises(OSError, match="it is not a regular file"):
        use(fifo)
    assert time.monotonic() - began < 5 * pace()


def test_a_young_file_may_change_unseen_and_an_old_one_not(tmp_path: Path) -> None:
    path = write(tmp_path / "f")
    assert stamp(path.stat()).racy
    assert not stamp(settle(path).stat()).racy


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_stamp_knows_its_file_by_size_time_and_inode(tmp_path: Path, change: str) -> None:
    path = settle(write(tmp_path / "f"))
    seen = stamp(path.stat())
    assert seen.matches(path.stat())
    if change == "size":
        settle(write(path, b"more content"))
    elif change == "time":
        os.utime(path)
    else:
        settle(write(tmp_path / "g")).replace(path)
    assert not seen.matches(path.stat())


# -- copying


def test_a_copy_has_the_bytes_and_tells_how_the_source_looked(tmp_path: Path) -> None:
    path = write(tmp_path / "f", BIG)
    seen = copy_file(path, tmp_path / "copy", durable=False)
    assert (tmp_path / "copy").read_bytes() == BIG
    assert seen.matches(path.stat())
    with pytest.raises(FileExistsError):
        copy_file(path, tmp_path / "copy")


def test_a_file_that_changes_while_it_is_copied_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settle(write(tmp_path / "f", BIG))
    digest, seen = hash_file(path)
    honest = shutil.copyfileobj

    def and_meanwhile(source: Any, target: Any, length: int) -> None:
        honest(source, target, length)
        os.utime(path)

    monkeypatch.setattr(shutil, "copyfileobj", and_meanwhile)
    monkeypatch.setattr(module, "_clone", lambda source, target: False)
    with pytest.raises(FileChanged, match="changed while it was copied"):
        copy_file(path, tmp_path / "copy")
    # Where it is known what the bytes have to be, they tell, and not the time.
    copy_blob(path, tmp_path / "new" / "blob", digest, seen)
    assert hash_file(tmp_path / "new" / "blob")[0] == digest
    with pytest.raises(FileChanged, match="not the file that was hashed any more"):
        copy_blob(path, tmp_path / "newer" / "blob", "0" * 64, seen)
    assert list((tmp_path / "newer").iterdir()) == []


def test_a_blob_is_the_bytes_that_were_hashed_or_nothing(tmp_path: Path) -> None:
    path = settle(write(tmp_path / "f", b"one"))
    digest, seen = hash_file(path)
    settle(write(path, b"two"))
    for known in (None, seen):
        # The same size and time as before: only the bytes tell.
        with pytest.raises(FileChanged, match="not the file that was hashed any more"):
            copy_blob(path, tmp_path / "new" / "blob", digest, attrs.evolve(known, mtime_ns=0) if known else None)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_of_no_known_stamp_is_hashed_again(tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"one")
    copy_blob(path, tmp_path / "blob", sha(b"one"))
    copy_blob(path, tmp_path / "blob", sha(b"one"), stamp(path.stat()))
    assert (tmp_path / "blob").read_bytes() == b"one"


def test_a_file_that_looks_as_it_did_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settle(write(tmp_path / "f", b"one"))
    digest, seen = hash_file(path)
    monkeypatch.setattr(module, "hash_file", lambda path: pytest.fail("hashed again"))
    copy_blob(path, tmp_path / "blob", digest, seen)
    assert (tmp_path / "blob").read_bytes() == b"one"


def test_the_longest_name_that_a_filesystem_takes_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    atomic_write(target, b"one")
    atomic_write(target, b"two", durable=False)
    copy_blob(write(tmp_path / "f", b"three"), target, sha(b"three"))
    assert target.read_bytes() == b"three"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "x" * 255]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write(tmp_path / "f", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert target.read_bytes() == b"old"


# -- stores of every kind


@pytest.fixture(params=["directory", "file-url", "memory", "memory-root"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind."""
    places = {
        "directory": str(tmp_path / "the store"),
        "file-url": (tmp_path / "the store").as_uri(),
        "memory": f"memory://bucket-{uuid.uuid4().hex}/prefix/",
        "memory-root": "memory://",
    }
    yield open_store(places[request.param], tmp_path / "home")
    MemoryFileSystem.store.clear()


def test_a_blob_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    for data in (b"", b"x", BIG):
        path = settle(write(tmp_path / "f", data))
        digest, seen = hash_file(path)
        assert not store.has(digest, len(data))
        store.put(path, digest, seen)
        assert store.has(digest, len(data))
        assert not store.has(digest, len(data) + 1)
        (tmp_path / "back").unlink(missing_ok=True)
        store.fetch(digest, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data


def test_equal_bytes_are_stored_once(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.put(write(tmp_path / name, b"same"), sha(b"same"))
    store.record(sha(b"same"), "put1")
    store.record(sha(b"same"), "put2")
    fs, root = (
        (fsspec.filesystem("file"), str(store.root)) if isinstance(store, LocalStore) else (store._fs, store._root)
    )
    assert [path.rpartition("/objects/")[2] for path in fs.find(f"{root}/objects")] == [blob_key(sha(b"same"))]
    assert {path.rpartition("/refs/")[2] for path in fs.find(f"{root}/refs")} == {
        f"{sha(b'same')}/put1",
        f"{sha(b'same')}/put2",
    }


def test_a_blob_that_is_not_there_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match=f"has no blob {sha(b'x')}"):
        store.fetch(sha(b"x"), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_other_bytes_than_were_hashed_are_not_stored(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"two")
    for known in (None, stamp(path.stat()), attrs.evolve(stamp(settle(path).stat()), inode=1)):
        with pytest.raises(FileChanged):
            store.put(path, sha(b"one"), known)
    assert not store.has(sha(b"one"), 3)
    if isinstance(store, RemoteStore):
        assert [key for key in MemoryFileSystem.store if ".tmp" in key] == []


def test_a_probe_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.probe()
    if isinstance(store, LocalStore):
        assert [path for path in store.root.rglob("*") if path.is_file()] == []
    else:
        assert MemoryFileSystem.store == {}


def test_the_uri_of_a_blob_can_be_read_by_whoever_reaches_the_store(store: Store, tmp_path: Path) -> None:
    store.put(write(tmp_path / "f", b"x"), sha(b"x"))
    uri = store.uri(sha(b"x"))
    if isinstance(store, LocalStore):
        assert uri.startswith(f"file://{socket.gethostname()}/")
        assert "the%20store" in uri
        uri = uri.replace(f"//{socket.gethostname()}", "//").replace("%20", " ")
    with fsspec.open(uri, "rb") as stream:
        assert stream.read() == b"x"


def test_only_a_store_elsewhere_is_portable(store: Store) -> None:
    assert store.portable is isinstance(store, RemoteStore)


# -- where a setting leads


def test_without_a_setting_blobs_are_in_the_tracelet_directory(tmp_path: Path) -> None:
    found = open_store("", tmp_path)
    assert isinstance(found, LocalStore)
    assert found.root == tmp_path


def test_a_relative_store_is_pinned_to_where_it_was_opened(home: Path, tmp_path: Path) -> None:
    found = open_store("here", tmp_path)
    assert isinstance(found, LocalStore)
    assert found.root == home / "here"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file://data/store", "three slashes"),
        ("s3:/bucket", "two slashes after its scheme"),
        ("s3:bucket", "two slashes after its scheme"),
        ("memory://bucket/run?token=hunter2", r"may not hold \* \? or \["),
        ("memory://bucket/[run]", r"may not hold \* \? or \["),
        ("nosuch://me:hunter2@bucket", "Protocol not known"),
        ("gs://me:hunter2@bucket", "gcsfs"),
    ],
)
def test_a_store_that_cannot_be_is_refused_at_once(tmp_path: Path, place: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        open_store(place, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_store_with_credentials_in_its_url_never_writes_them_down(tmp_path: Path) -> None:
    found = open_store("memory://KEY:hunter2@bucket/prefix", tmp_path)
    assert "hunter2" not in found.uri(sha(b"x"))
    with pytest.raises(ArtifactNotFound) as caught:
        found.fetch(sha(b"x"), tmp_path / "back")
    assert "hunter2" not in str(caught.value)


# -- a place that fails


class Flaky(MemoryFileSystem):
    """A place whose client raises what clients raise."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012
    trouble: Exception | None = None
    broken = ""

    def _act(self, what: str) -> None:
        if type(self).trouble is not None and what == type(self).broken:
            raise type(self).trouble

    def info(self, path: str, **kwargs: Any) -> Any:
        self._act("info")
        return super().info(path, **kwargs)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._act(f"open {mode}")
        return super()._open(path, mode, **kwargs)

    def mv(self, *args: Any, **kwargs: Any) -> None:
        self._act("mv")
        super().mv(*args, **kwargs)

    def pipe_file(self, *args: Any, **kwargs: Any) -> None:
        self._act("pipe_file")
        super().pipe_file(*args, **kwargs)


class ClientError(Exception):
    """What a client of a bucket raises: no ``OSError`` at all."""


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[RemoteStore]:
    """A store at a place that fails on demand."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    found = open_store("flaky://bucket/prefix", tmp_path)
    assert isinstance(found, RemoteStore)
    yield found
    Flaky.trouble = None
    Flaky.store.clear()


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (ClientError("no route to flaky://me:hunter2@bucket"), BackendUnavailable),
        (PermissionError("AccessDenied"), BackendAuthError),
        (TimeoutError(), BackendUnavailable),
    ],
)
@pytest.mark.parametrize("broken", ["info", "open wb", "mv", "open rb", "pipe_file"])
def test_what_a_client_raises_comes_out_as_tracelets(
    flaky: RemoteStore, tmp_path: Path, trouble: Exception, kind: type, broken: str
) -> None:
    path = write(tmp_path / "f", b"x")
    if broken == "open rb":
        flaky.put(path, sha(b"x"))
    Flaky.trouble, Flaky.broken = trouble, broken
    calls = {
        "open rb": lambda: flaky.fetch(sha(b"x"), tmp_path / "back"),
        "pipe_file": lambda: flaky.record(sha(b"x"), "put1"),
    }
    with pytest.raises(kind, match="flaky://bucket/prefix") as caught:
        calls.get(broken, lambda: flaky.put(path, sha(b"x")))()
    assert "hunter2" not in str(caught.value)
    Flaky.trouble = None
    assert flaky.has(sha(b"x"), 1) is (broken == "open rb")


def test_a_source_that_vanishes_after_the_upload_is_not_stored(
    flaky: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "f", b"x")
    honest = Flaky._open

    def and_then(self: Flaky, *args: Any, **kwargs: Any) -> Any:
        path.unlink(missing_ok=True)
        return honest(self, *args, **kwargs)

    monkeypatch.setattr(Flaky, "_open", and_then)
    with pytest.raises(FileNotFoundError):
        flaky.put(path, sha(b"x"))
    assert Flaky.store == {}


# -- the directory, in particular


def test_a_truncated_blob_is_stored_anew(tmp_path: Path) -> None:
    own = LocalStore(tmp_path)
    write(own.path(sha(b"whole")), b"who")
    own.put(write(tmp_path / "f", b"whole"), sha(b"whole"))
    assert own.path(sha(b"whole")).read_bytes() == b"whole"


def test_a_blob_that_is_needed_again_looks_young(tmp_path: Path) -> None:
    own = LocalStore(tmp_path)
    path = write(tmp_path / "f", b"x")
    own.put(path, sha(b"x"))
    for use in (own.put, own.adopt):
        settle(own.path(sha(b"x")))
        use(path, sha(b"x"))
        assert own.path(sha(b"x")).stat().st_mtime > time.time() - 100


def test_a_blob_of_another_user_can_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = LocalStore(tmp_path)
    path = write(tmp_path / "f", b"x")
    own.put(path, sha(b"x"))

    def not_yours(path: Path, ns: object = None) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "utime", not_yours)
    own.put(path, sha(b"x"))
    assert own.has(sha(b"x"), 1)


def test_what_is_tracelets_own_is_taken_in_without_a_copy(tmp_path: Path) -> None:
    own = LocalStore(tmp_path / "store")
    path = write(tmp_path / "f", b"x")
    assert own.adopt(path, sha(b"x")).samefile(path)
    assert own.adopt(write(tmp_path / "g", b"x"), sha(b"x")).samefile(path)


def test_where_there_are_no_hard_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", none)
    own = LocalStore(tmp_path / "store")
    path = write(tmp_path / "f", b"x")
    assert own.adopt(path, sha(b"x")).read_bytes() == b"x"
    assert not own.path(sha(b"x")).samefile(path)


def test_writers_of_the_same_blob_do_not_meet(tmp_path: Path) -> None:
    own = LocalStore(tmp_path / "store")
    path = write(tmp_path / "f", BIG)
    threads = [threading.Thread(target=own.put, args=(path, sha(BIG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.read_bytes() for found in (tmp_path / "store").rglob("*") if found.is_file()] == [BIG]


# -- clearing up


def test_only_what_nobody_needs_and_is_old_is_deleted(tmp_path: Path) -> None:
    own = LocalStore(tmp_path / "store")
    blobs = {}
    for name in ("kept", "old", "young"):
        own.put(write(tmp_path / name, name), sha(name.encode()))
        blobs[name] = own.path(sha(name.encode()))
    settle(blobs["kept"])
    settle(blobs["old"])
    own.record(sha(b"kept"), "put1")
    assert own.recorded() == {sha(b"kept")}
    assert list(own.collect(own.recorded(), time.time() - 3600)) == [(blobs["old"], 3)]
    assert [name for name, path in blobs.items() if path.exists()] == ["kept", "young"]


def test_an_empty_store_has_nothing_to_clear(tmp_path: Path) -> None:
    assert LocalStore(tmp_path).recorded() == set()
    assert list(LocalStore(tmp_path).collect((), time.time())) == []


def test_a_file_with_another_name_frees_nothing(tmp_path: Path) -> None:
    path = settle(write(tmp_path / "f", b"xyz"))
    os.link(path, tmp_path / "g")
    assert discard(path, time.time()) == 0
    assert discard(tmp_path / "g", time.time()) == 3


def test_what_somebody_else_deleted_first_is_no_error(tmp_path: Path) -> None:
    assert discard(tmp_path / "absent", time.time()) is None


@pytest.mark.parametrize("stored_again", [False, True])
def test_what_is_marked_as_needed_in_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored_again: bool
) -> None:
    path = settle(write(tmp_path / "f", b"xyz"))
    honest = Path.rename

    def a_moment_late(self: Path, target: Path) -> Path:
        os.utime(self)
        moved = honest(self, target)
        if stored_again:
            write(path, b"xyz")
        return moved

    monkeypatch.setattr(Path, "rename", a_moment_late)
    assert discard(path, time.time() - 3600) is None
    assert path.read_bytes() == b"xyz"
    assert [found.name for found in tmp_path.iterdir()] == ["f"]


def test_a_copy_on_a_filesystem_without_reflinks_is_a_copy(tmp_path: Path) -> None:
    # On a filesystem that has them it shares blocks, and this holds as well.
    path = write(tmp_path / "f", BIG)
    copy_file(path, tmp_path / "g")
    write(path, b"changed")
    assert (tmp_path / "g").read_bytes() == BIG
    assert subprocess.run(["cmp", "-s", path, tmp_path / "g"], check=False).returncode == 1


def test_what_is_written_durably_has_its_name_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def seen(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", seen)
    module.atomic_write(tmp_path / "a" / "b" / "file", b"x")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)
    synced.clear()
    module.atomic_write(tmp_path / "a" / "b" / "file", b"y", durable=False)
    assert synced == []


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_filesystem_that_cannot_sync_folders_is_no_trouble_and_a_broken_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raises: bool
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output") if raises else contextlib.nullcontext():
        module.make_names_durable(tmp_path)


def test_what_another_thread_has_just_written_is_not_called_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "source", "content")
    digest = hashlib.sha256(b"content").hexdigest()
    target = write(tmp_path / "blobs" / digest, "content")
    bring([NewBlob(source, target, digest, len("content"))], tmp_path)
    assert not caplog.messages
    target.write_text("CONTENT")
    bring([NewBlob(source, target, digest, len("content"))], tmp_path)
    assert [one for one in caplog.messages if "is damaged" in one]
    assert target.read_text() == "content"


def test_the_names_of_blobs_are_on_the_disk_whoever_brought_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may be killed when it has brought them, and before their names are there."""
    source = write(tmp_path / "source", "content")
    digest = hashlib.sha256(b"content").hexdigest()
    manifest = Manifest("thing", ArtifactType.DATASET, "put", 1.0, files=(ArtifactFile("file", 7, digest),))
    sealed, store = SealedArtifact(manifest, {"file": source}), LocalStore(tmp_path / "store")
    store.bring(sealed)
    synced: list[str] = []
    sync = os.fsync

    def seen(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", seen)
    LocalStore(tmp_path / "store").keep(sealed)
    folder = store.path(digest).parent
    assert set(synced) == {str(one) for one in (folder, *folder.parents[:3])}


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "cut"])
def test_what_was_brought_is_kept_whatever_becomes_of_the_users_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], Any]
) -> None:
    """The bytes are there: nobody has to ask the file that they came from, and nothing is called damaged."""
    source = write(tmp_path / "source", "content")
    digest, seen = hash_file(source)
    manifest = Manifest("thing", ArtifactType.DATASET, "put", 1.0, files=(ArtifactFile("file", 7, digest),))
    sealed, store = SealedArtifact(manifest, {"file": source}, {"file": seen}), LocalStore(tmp_path / "store")
    store.bring(sealed)
    spoil(source)
    store.keep(sealed)
    assert store.path(digest).read_bytes() == b"content"
    assert not caplog.messages
