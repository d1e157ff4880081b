"""What is in packed files is told as if it were not packed, and what cannot be unpacked by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.packed_names import unpacked_name
from tracelet.core.capture.sniffing import tell_type
from tracelet.plugin import artifact_name, tell_type_by_names

pytestmark = pytest.mark.capture


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_ALONE)


def lz4_as_its_program(content: bytes) -> bytes:
    """In blocks of four megabytes, of which each is unpacked as a whole."""
    return lz4.frame.compress(content, block_size=lz4.frame.BLOCKSIZE_MAX4MB)


def zstd_as_a_stream(content: bytes) -> bytes:
    """Its size is not in it."""
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    return packer.compress(content) + packer.flush()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".GZ": gzip.compress,
    ".z": zlib.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lzma": lzma_alone,
    ".zst": zstandard.compress,
    ".zstd": zstd_as_a_stream,
    ".lz4": lz4.frame.compress,
    ".LZ4": lz4_as_its_program,
}


def arrays(count: int) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.random.default_rng(0).random(count), b=np.eye(3))
    return file.getvalue()


def keras(size: int) -> bytes:
    """An archive as Keras writes it; what is to be seen of it comes before its weights."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        archive.writestr("model.weights.h5", random.Random(0).randbytes(size))
    return file.getvalue()


def shard(size: int) -> bytes:
    """A tar archive of pictures and their classes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(4):
            for suffix in ("jpg", "cls"):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = size
                archive.addfile(member, io.BytesIO(random.Random(number).randbytes(size)))
    return file.getvalue()


def numbers(rows: int) -> bytes:
    some = random.Random(0)
    return b"".join(b"%d,%f\n" % (row, some.random()) for row in range(rows))


TRAINING = {"epoch": 1, "optimizer": {"state": {}, "param_groups": []}}
WEIGHTS = json.dumps({"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()

#: By name: a small content, and one of which only the beginning is unpacked.
CONTENTS: dict[str, tuple[bytes, bytes]] = {
    "rows.csv": (b"a,b\n1,2\n", numbers(9000)),
    "predictions-3.csv": (b"id,label\n1,cat\n", numbers(9000)),
    "rows.jsonl": (b'{"x": 1}\n', b'{"x": 1}\n' * 9000),
    "list.json": (b"[1, 2]", b"[1" + b", 2" * 90_000 + b"]"),
    "config.json": (b'{"lr": 0.1}', json.dumps({str(n): n for n in range(30_000)}).encode()),
    "settings": (b'{"lr": 0.1}', b'{"lr": 0.1}' + b" " * 90_000),
    "train.py": (b"import torch\n", b"import torch\n" * 9000),
    "page.html": (b"<html>done</html>", b"<html>" + b"done " * 90_000),
    "drawing.svg": (b"<svg/>", b"<svg>" + b"<g/>" * 90_000),
    "points.ply": (b"ply\nformat ascii 1.0\n", b"ply\n" + numbers(9000)),
    "scan.nii": (bytes(344) + b"n+1\0", bytes(344) + b"n+1\0" + random.Random(0).randbytes(300_000)),
    "photo.png": (b"this is no picture", b"this is no picture " * 9000),
    "notes": (b"remember the milk", b"remember the milk " * 9000),
    "arrays.npz": (arrays(10), arrays(100_000)),
    "shard-000000.tar": (shard(10), shard(40_000)),
    "network.keras": (keras(10), keras(100_000)),
    "last.ckpt": (b"what\0ever", random.Random(1).randbytes(90_000)),
    "state.pkl": (pickle.dumps(TRAINING), pickle.dumps({**TRAINING, "rest": random.Random(0).randbytes(200_000)})),
    "net.safetensors": (
        len(WEIGHTS).to_bytes(8, "little") + WEIGHTS + bytes(4000),
        len(WEIGHTS).to_bytes(8, "little") + WEIGHTS + random.Random(0).randbytes(200_000),
    ),
    "date.txt": (b'date: 12{"a": 1}', b'date: 12{"a": 1}' * 9000),
    "empty.csv": (b"", b""),
}


@pytest.mark.parametrize("suffix", list(PACKINGS))
def test_a_packed_file_is_what_it_is_without_being_packed(tmp_path: Path, suffix: str) -> None:
    told, expected = {}, {}
    for name, contents in CONTENTS.items():
        for size, content in zip(("small", "large"), contents, strict=True):
            plain, packed = tmp_path / size / name, tmp_path / size / f"{name}{suffix}"
            plain.parent.mkdir(exist_ok=True)
            plain.write_bytes(content)
            packed.write_bytes(PACKINGS[suffix](content))
            expected[size, name], told[size, name] = tell_type(plain), tell_type(packed)
    assert told == expected
    assert len(set(expected.values())) > 7


@pytest.mark.parametrize("suffix", list(PACKINGS))
def test_what_is_packed_needs_no_suffix_that_says_so(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "state.joblib").write_bytes(PACKINGS[suffix](pickle.dumps(TRAINING)))
    (tmp_path / "records.tfrecord").write_bytes(PACKINGS[suffix](bytes(40)))
    assert tell_type(tmp_path / "state.joblib") is T.CHECKPOINT
    assert tell_type(tmp_path / "records.tfrecord") is T.DATASET


@pytest.mark.parametrize("suffix", list(PACKINGS))
def test_what_is_cut_off_or_damaged_is_told_by_its_name(tmp_path: Path, suffix: str) -> None:
    content = PACKINGS[suffix](numbers(20))
    wrong = bytes([*content[:20], *(byte ^ 0xFF for byte in content[20:])])
    for damaged in (*(content[:end] for end in range(15, len(content) - 1, 7)), wrong):
        for name, expected in (("rows.csv", T.DATASET), ("scan.nii", T.IMAGE), ("state.pkl", T.CUSTOM)):
            (tmp_path / f"{name}{suffix}").write_bytes(damaged)
            assert tell_type(tmp_path / f"{name}{suffix}") is expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(suffix=st.sampled_from(sorted(PACKINGS)), data=st.data())
def test_whatever_follows_the_beginning_of_what_is_packed_raises_nothing(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(PACKINGS[suffix](b"PK\x03\x04" + numbers(9)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"file{suffix}").write_bytes(content + data.draw(st.binary(max_size=50)))
    assert isinstance(tell_type(tmp_path / f"file{suffix}"), T)


@pytest.mark.parametrize(
    ("module", "suffix"), [("bz2", ".bz2"), ("lzma", ".xz"), ("zstandard", ".zst"), ("lz4.frame", ".lz4")]
)
def test_without_a_decoder_the_name_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, suffix: str
) -> None:
    """Also where a module of the user's has its name."""
    for name in ("rows.csv", "state.pkl"):
        (tmp_path / f"{name}{suffix}").write_bytes(PACKINGS[suffix](pickle.dumps(TRAINING)))
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.CHECKPOINT}
    for instead in (None, ModuleType(module)):
        monkeypatch.setitem(sys.modules, module, instead)
        assert tell_type(tmp_path / f"rows.csv{suffix}") is T.DATASET
        assert tell_type(tmp_path / f"state.pkl{suffix}") is T.CUSTOM


def test_what_is_packed_twice_is_told_by_its_name(tmp_path: Path) -> None:
    for name, expected in (("rows.csv", T.DATASET), ("state.pkl", T.CUSTOM)):
        path = tmp_path / f"{name}.gz.xz"
        path.write_bytes(lzma.compress(gzip.compress(pickle.dumps(TRAINING))))
        assert tell_type(path) is expected


def test_a_block_of_bzip2_that_would_take_long_is_told_by_its_name(tmp_path: Path) -> None:
    for name, expected in (("scan.nii", T.IMAGE), ("state.pkl", T.CUSTOM)):
        content = bz2.compress(pickle.dumps([TRAINING, random.Random(0).randbytes(800_000)]))
        (tmp_path / f"{name}.bz2").write_bytes(content)
        assert tell_type(tmp_path / f"{name}.bz2") is expected


def lzma_with_dictionary(size: int) -> bytes:
    content = lzma_alone(pickle.dumps(TRAINING))
    return content[:1] + size.to_bytes(4, "little") + content[5:]


def zstd_with_window(power: int) -> bytes:
    content = pickle.dumps(TRAINING)
    return b"\x28\xb5\x2f\xfd\0" + bytes([power - 10 << 3]) + (len(content) << 3 | 1).to_bytes(3, "little") + content


def test_what_asks_for_gigabytes_of_memory_is_told_by_its_name(tmp_path: Path) -> None:
    asking = {
        "state.pkl.lzma": (lzma_with_dictionary(1 << 26), lzma_with_dictionary(1 << 31)),
        "state.pkl.zst": (zstd_with_window(26), zstd_with_window(31)),
    }
    for name, (some, much) in asking.items():
        (tmp_path / name).write_bytes(some)
        assert tell_type(tmp_path / name) is T.CHECKPOINT
        (tmp_path / name).write_bytes(much)
        assert tell_type(tmp_path / name) is T.CUSTOM


def test_text_that_begins_as_what_is_packed_is_text(tmp_path: Path) -> None:
    """Two letters are the beginning of what zlib packed, too."""
    for begins in (b"x^2,y^2\n1,4\n", b"x^2,y^2\n1,4\n" * 9000):
        (tmp_path / "squares.csv").write_bytes(begins)
        assert tell_type(tmp_path / "squares.csv") is T.DATASET
        (tmp_path / "squares.txt").write_bytes(begins)
        assert tell_type(tmp_path / "squares.txt") is T.CUSTOM


def test_of_several_streams_in_a_file_the_first_is_looked_at(tmp_path: Path) -> None:
    """As of a program that packs each line that it adds."""
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(b'{"step": 1}\n') * 99)
    # It is no single object, so its name is needed.
    (tmp_path / "log.gz").write_bytes(gzip.compress(b'{"step": 1}\n') * 99)
    assert [tell_type(tmp_path / name) for name in ("log.jsonl.gz", "log.gz")] == [T.DATASET, T.CUSTOM]


def test_a_suffix_that_says_both_is_read_as_two(tmp_path: Path) -> None:
    contents = {
        "drawing.svgz": (b"<svg/>", T.VISUALIZATION),
        "shard-000000.tgz": (shard(10), T.DATASET),
        "brain.mgz": (b"\0\0\0\x01" + bytes(400), T.IMAGE),
    }
    for name, (content, _) in contents.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    assert {name: tell_type(tmp_path / name) for name in contents} == {name: one for name, (_, one) in contents.items()}


def test_an_archive_whose_names_are_not_seen_is_told_by_its_own(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/0", random.Random(0).randbytes(200_000))
        archive.writestr("archive_format", "pt2")
    for name, expected in (("net.pt2.gz", T.MODEL), ("net.zip.gz", T.CUSTOM), ("photo.png.gz", T.CUSTOM)):
        (tmp_path / name).write_bytes(gzip.compress(file.getvalue()))
        assert tell_type(tmp_path / name) is expected


def test_a_folder_of_packed_files_has_their_type(tmp_path: Path) -> None:
    """Also where there are too many to unpack each."""
    for number in range(900):
        (tmp_path / f"{number}.csv.gz").write_bytes(gzip.compress(numbers(2000), 1))
    assert tell_type(tmp_path) is T.DATASET


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("rows.csv.gz", "rows.csv"),
        ("Rows.CSV.GZ", "Rows.CSV"),
        ("data.tar.zst", "data.tar"),
        ("data.tgz", "data.tar"),
        ("drawing.svgz", "drawing.svg"),
        ("rows.csv", "rows.csv"),
        (".gz", ".gz"),
        ("gz", "gz"),
    ],
)
def test_a_packed_file_is_called_what_is_in_it(name: str, inside: str) -> None:
    assert unpacked_name(name) == inside


def test_an_artifact_of_a_packed_file_has_the_name_that_it_has_without_being_packed() -> None:
    for name in ("run/predictions-3.csv", "run/predictions-3.csv.gz", "run/predictions-3.csv.ZST"):
        assert artifact_name(name, T.DATASET) == "run.predictions-3-dataset"
    assert artifact_name("model.pkl.xz", T.MODEL) == "model"


def test_a_packed_file_that_nobody_fetched_is_what_its_name_says_without_being_packed() -> None:
    assert tell_type_by_names(["a.csv.gz", "b.csv", "deep/c.csv.zst"]) is T.DATASET
    assert tell_type_by_names(["a.gz"]) is T.CUSTOM
