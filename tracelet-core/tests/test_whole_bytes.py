"""Bytes that are there are taken only where they are whole; else those in hand replace them, and a warning says so."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import fsspec
import pytest
from bags import Bag
from fsspec.implementations.memory import MemoryFileSystem
from making import settle, write
from watching import Scripted

from tracelet import ArtifactType, Experiment, ExperimentConfig, IntegrityError, LoggedArtifact
from tracelet.core.storage.blob_store import LocalStore, RemoteStore, open_store
from tracelet.exceptions import ArtifactNotFound, BackendUnavailable
from tracelet.plugin import ArtifactFile, Labels, Manifest, SealedArtifact

BYTES = b"0123456789" * 300
SHA256 = hashlib.sha256(BYTES).hexdigest()


def last_byte(blob: Path) -> None:
    blob.write_bytes(BYTES[:-1] + b"!")


def cut(blob: Path) -> None:
    blob.write_bytes(BYTES[:-1])


def grown(blob: Path) -> None:
    blob.write_bytes(BYTES + b"!")


def emptied(blob: Path) -> None:
    blob.write_bytes(b"")


def gone(blob: Path) -> None:
    blob.unlink()


def read_only(blob: Path) -> None:
    last_byte(blob)
    blob.chmod(0o400)


def a_folder(blob: Path) -> None:
    blob.unlink()
    write(blob / "deep" / "kept", "what somebody put there")


def a_link(blob: Path) -> None:
    """A link to a file that is whole, and not Tracelet's."""
    mine = write(blob.parents[2] / "mine", BYTES)
    blob.unlink()
    blob.symlink_to(mine)


def a_link_to_nothing(blob: Path) -> None:
    blob.unlink()
    blob.symlink_to(blob.parents[2] / "nothing")


DAMAGES = [last_byte, cut, grown, emptied, read_only, a_folder, a_link, a_link_to_nothing]
damaged = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "tracelet.artifacts" and record.levelno == logging.WARNING
    ]


# -- large files, and what waits


@damaged
@pytest.mark.parametrize("use", ["put", "adopt"])
def test_a_damaged_blob_of_the_store_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], use: str
) -> None:
    store, source = LocalStore(tmp_path / "store"), write(tmp_path / "source", BYTES)
    store.put(source, SHA256)
    blob = store.path(SHA256)
    damage(blob)
    assert not store.has(SHA256, len(BYTES))
    getattr(store, use)(source, SHA256)
    assert not blob.is_symlink()
    assert blob.read_bytes() == BYTES
    assert len(warnings(caplog)) == 1
    assert f"{blob} is damaged" in warnings(caplog)[0]
    getattr(store, use)(source, SHA256)
    assert len(warnings(caplog)) == 1
    assert source.read_bytes() == BYTES


def test_what_lies_at_a_blobs_place_and_is_somebodys_is_not_lost(tmp_path: Path) -> None:
    store, source = LocalStore(tmp_path / "store"), write(tmp_path / "source", BYTES)
    store.put(source, SHA256)
    a_folder(store.path(SHA256))
    store.put(source, SHA256)
    assert [kept.read_text() for kept in tmp_path.rglob("kept")] == ["what somebody put there"]
    for path in store.path(SHA256).parent.iterdir():
        settle(path)
    assert [path for path, _ in store.collect((), 1_700_000_000)] == [store.path(SHA256)]
    assert len(list(tmp_path.rglob("kept"))) == 1


def test_who_reads_a_damaged_blob_goes_on_while_it_is_replaced(tmp_path: Path) -> None:
    store, source = LocalStore(tmp_path / "store"), write(tmp_path / "source", BYTES)
    store.put(source, SHA256)
    last_byte(store.path(SHA256))
    with store.path(SHA256).open("rb") as reader:
        store.put(source, SHA256)
        assert reader.read() == BYTES[:-1] + b"!"


def test_a_blob_of_the_store_that_nobody_touched_is_not_read_again(tmp_path: Path) -> None:
    """Storing 500 MB again costs one hash of the source, and none of what is stored."""
    store, source = LocalStore(tmp_path / "store"), write(tmp_path / "source", BYTES)
    store.put(source, SHA256)
    before = store.path(SHA256).stat()
    last_byte(store.path(SHA256))
    os.utime(store.path(SHA256), ns=(before.st_atime_ns, before.st_mtime_ns))
    for use in (store.put, store.adopt):
        use(source, SHA256)
    assert store.path(SHA256).read_bytes() != BYTES


@pytest.mark.parametrize("damage", [*DAMAGES, gone], ids=lambda damage: damage.__name__)
def test_a_large_file_that_is_logged_can_be_read(home: Path, damage: Callable[[Path], None]) -> None:
    """Whatever became of its bytes in the store since they were logged before, in this experiment or in another."""
    write(home / "big.bin", BYTES)
    config = ExperimentConfig(large_file_mb=0.001)
    for name in ("one", "one", "two"):
        with Experiment(name, artifacts=True, config=config) as exp:
            exp.log_artifact(exp.create_artifact("big", ArtifactType.DATASET).add_file("big.bin"))
            folder = exp.get_artifact("big").download(home / "out")
        assert (folder / "big.bin").read_bytes() == BYTES
        (folder / "big.bin").unlink()
        damage(LocalStore(home / ".tracelet").path(SHA256))


@damaged
def test_a_version_that_is_unchanged_is_whole(
    home: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    write(home / "f", BYTES)
    for _ in range(2):
        with Experiment("study", artifacts=True) as exp:
            result = exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_file("f"))["local"]
            folder = exp.get_artifact("data").download(home / "out")
        assert result.version == "v0"
        assert (folder / "f").read_bytes() == BYTES
        (folder / "f").unlink()
        (blob,) = (path for path in (home / ".tracelet" / "local" / "blobs").rglob(SHA256) if path.is_file())
        damage(blob)
    assert len(warnings(caplog)) == 1


@damaged
def test_what_waits_does_not_rest_on_a_damaged_blob(
    experiment: Callable[..., Experiment], scripted: Scripted, home: Path, damage: Callable[[Path], None]
) -> None:
    scripted.told(put="away")
    exp = experiment()
    write(home / "f", BYTES)

    def log(name: str) -> None:
        exp.log_artifact(exp.create_artifact(name, ArtifactType.DATASET).add_file("f"))

    log("first")
    damage(LocalStore(home / ".tracelet").path(SHA256))
    log("second")
    scripted.told()
    assert exp.flush() == 0
    for name in ("first", "second"):
        assert (exp.get_artifact(name).download() / "f").read_bytes() == BYTES


# -- a store elsewhere, and a plugin's bag of blobs


class Tagging(MemoryFileSystem):
    """A bucket: each state of a file has an etag, and what is read is counted."""

    protocol = "tagging"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012
    reads = 0

    def info(self, path: str, **kwargs: Any) -> Any:
        said = super().info(path, **kwargs)
        if said["type"] == "file":
            said["ETag"] = hashlib.md5(self.store[self._strip_protocol(path)].getvalue()).hexdigest()
        return said

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        type(self).reads += mode == "rb" and "/objects/" in path
        return super()._open(path, mode, **kwargs)


@pytest.fixture(params=["memory", "tagging"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RemoteStore]:
    """A store at a place without etags, and one with them."""
    fsspec.register_implementation("tagging", Tagging, clobber=True)
    store = open_store(f"{request.param}://bucket/prefix", tmp_path)
    assert isinstance(store, RemoteStore)
    yield store
    MemoryFileSystem.store.clear()
    Tagging.store.clear()


@pytest.mark.parametrize(
    "data", [BYTES[:-1] + b"!", BYTES[:-1], BYTES + b"!", b""], ids=["flipped", "cut", "more", "none"]
)
@pytest.mark.parametrize("uses", [1, 2], ids=["stored", "seen to be whole"])
def test_a_damaged_blob_of_a_store_elsewhere_is_brought_anew(
    elsewhere: RemoteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, uses: int
) -> None:
    source = write(tmp_path / "source", BYTES)
    for _ in range(uses):
        elsewhere.put(source, SHA256)
    elsewhere._fs.pipe_file(elsewhere._key(SHA256), data)
    elsewhere.put(source, SHA256)
    elsewhere.fetch(SHA256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == BYTES
    assert [elsewhere.uri(SHA256) in warning for warning in warnings(caplog)] == [True]


def test_a_folder_in_the_place_of_a_blob_elsewhere_is_told_and_takes_nothing_in_silence(
    elsewhere: RemoteStore, tmp_path: Path
) -> None:
    elsewhere._fs.pipe_file(f"{elsewhere._key(SHA256)}/inner", b"")
    with pytest.raises(BackendUnavailable, match=f"{SHA256} does not take a file: delete what is in its place"):
        elsewhere.put(write(tmp_path / "source", BYTES), SHA256)


def test_a_blob_elsewhere_is_read_once_to_see_that_it_is_whole_and_known_by_its_etag_then(tmp_path: Path) -> None:
    fsspec.register_implementation("tagging", Tagging, clobber=True)
    store, source = open_store("tagging://bucket/once", tmp_path), write(tmp_path / "source", BYTES)
    Tagging.reads, reads = 0, []
    for _ in range(4):
        store.put(source, SHA256)
        reads.append(Tagging.reads)
    Tagging.store.clear()
    assert reads == [0, 1, 1, 1]


@pytest.mark.parametrize("way", ["heal", "put"])
def test_a_damaged_blob_of_a_plugins_bag_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    bag, source = Bag(), write(tmp_path / "source", BYTES)
    sealed = SealedArtifact(
        Manifest("thing", ArtifactType.CONFIG, "put", 1.0, files=(ArtifactFile("f", len(BYTES), SHA256),)),
        {"f": source},
    )
    stored = bag.put(sealed, Labels())
    key = bag.place(stored, "f").removeprefix("bag://here/")
    bag.blobs[key] = BYTES[:-1] + b"!"
    bag.heal(stored, sealed) if way == "heal" else bag.put(sealed, Labels())
    assert bag.blobs[key] == BYTES
    assert [f"bag://here/{key} is damaged" in warning for warning in warnings(caplog)] == [True]


# -- what is read


@pytest.fixture
def logged(home: Path) -> LoggedArtifact:
    """One small file, and one in the store."""
    with Experiment("study", artifacts=True, config=ExperimentConfig(large_file_mb=0.001)) as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET)
        exp.log_artifact(artifact.add_file(write(home / "small", b"small")).add_file(write(home / "large", BYTES)))
    return exp.get_artifact("data")


def on_a_bad_line(logged: LoggedArtifact, *damages: bytes | None) -> LoggedArtifact:
    """The same artifact, where each thing that is fetched comes as that, or, for None, as it is."""
    honest, coming = logged._content, list(damages)

    def request(what: str, size: int | None = None, **arguments: Any) -> Any:
        if what == "remedy":
            return honest.request(what, **arguments)
        assert size is not None
        honest.request(what, size, **arguments)
        data = coming.pop(0) if coming else None
        if data is not None:
            for path in arguments["paths"]:
                (arguments["dest"] / path).write_bytes(data)
        return None

    return attrs.evolve(logged, content=attrs.evolve(honest, request=request))


def test_what_was_damaged_on_its_way_is_fetched_once_more(logged: LoggedArtifact, tmp_path: Path) -> None:
    folder = on_a_bad_line(logged, b"SMALL").download(tmp_path / "out")
    assert (folder / "small").read_bytes() == b"small"
    assert sorted(path.name for path in folder.iterdir()) == ["large", "small"]


def test_what_a_backend_finds_damaged_itself_is_fetched_once_more(logged: LoggedArtifact, tmp_path: Path) -> None:
    honest, refusals = logged._content, ["a zip of the artifact is damaged"]

    def request(what: str, size: int | None = None, **arguments: Any) -> Any:
        if refusals:
            raise IntegrityError(refusals.pop())
        return honest.request(what, size, **arguments)

    folder = attrs.evolve(logged, content=attrs.evolve(honest, request=request)).download(tmp_path / "out")
    assert (folder / "small").read_bytes() == b"small"


def test_a_reference_that_was_damaged_on_its_way_is_fetched_once_more(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("tagging", Tagging, clobber=True)
    fs, path = fsspec.core.url_to_fs("tagging://bucket/key")
    fs.pipe_file(path, BYTES)
    with Experiment("study", artifacts=True) as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET)
        exp.log_artifact(artifact.add_reference("tagging://bucket/key", size_bytes=len(BYTES)))
    honest, lengths = Tagging.get_file, [10, len(BYTES)]

    def cut_off(self: Tagging, path: str, target: str, **more: Any) -> None:
        honest(self, path, target, **more)
        os.truncate(target, lengths.pop(0))

    monkeypatch.setattr(Tagging, "get_file", cut_off)
    folder = exp.get_artifact("data").download(tmp_path / "out", references=True)
    Tagging.store.clear()
    assert (folder / "references" / "key").read_bytes() == BYTES


def test_a_line_that_damages_everything_is_told_from_bytes_that_were_changed(
    logged: LoggedArtifact, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match=r"'small' has .* damaged on its way here.* try again later"):
        on_a_bad_line(logged, b"SMALL", b"smell").download(tmp_path / "out")
    with pytest.raises(IntegrityError, match=r"'small' has .* the stored bytes were changed. local holds them"):
        on_a_bad_line(logged, b"SMALL", b"SMALL").download(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_cut_blob_of_the_store_is_told_as_damaged_and_a_missing_one_as_missing(
    logged: LoggedArtifact, home: Path
) -> None:
    blob = LocalStore(home / ".tracelet").path(SHA256)
    cut(blob)
    with pytest.raises(IntegrityError, match=r"'large' has .* The store holds them: delete .* log the same content"):
        logged.download(home / "out")
    gone(blob)
    with pytest.raises(ArtifactNotFound, match=r"are gone from the store: .* Log the same content again"):
        logged.download(home / "out")


def holed(path: Path, pieces: dict[int, bytes], size: int) -> Path:
    """Write a sparse file with these bytes at these places."""
    with path.open("wb") as stream:
        stream.truncate(size)
        for place, piece in pieces.items():
            stream.seek(place)
            stream.write(piece)
    return path


@pytest.mark.parametrize(
    "pieces",
    [{}, {0: b"begin"}, {1_000_000: b"x" * 70_000, 5_000_000: b"y"}, {7_999_999: b"z"}],
    ids=["nothing but a hole", "a hole at the end", "holes between", "a hole at the beginning"],
)
def test_a_sparse_file_is_stored_and_comes_back_with_its_holes(pieces: dict[int, bytes], home: Path) -> None:
    source = settle(holed(home / "sparse.bin", pieces, 8_000_000))
    with Experiment("digits", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("sparse", ArtifactType.DATASET).add_file(source)).raise_for_errors()
        came = exp.get_artifact("sparse").download(home / "out") / "sparse.bin"
    (blob,) = (home / ".tracelet" / "local" / "blobs").rglob("*/" + hashlib.sha256(source.read_bytes()).hexdigest())
    for copy in (blob, came):
        assert copy.read_bytes() == source.read_bytes()
        assert copy.stat().st_blocks <= source.stat().st_blocks + 64
