"""Files that are one thing are captured as one artifact, though a watched directory shows them one by one."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import struct
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from making import write

from tracelet import ArtifactType, Experiment
from tracelet.builtin.filesystem import groups
from tracelet.builtin.filesystem.onnx_data import external_locations
from tracelet.builtin.filesystem.places import Place
from tracelet.builtin.filesystem.stamps import scan, stamp_of
from tracelet.builtin.filesystem.wholes import MISSING, QUIET, UNKNOWN, Told, Wholes
from tracelet.core.experiment import ExperimentConfig

pytestmark = pytest.mark.capture


# -- how things look that belong together


def field(number: int, value: bytes) -> bytes:
    """One field of protocol buffers that has a length."""
    assert len(value) < 1 << 14
    return bytes([number << 3 | 2, len(value) & 0x7F | 0x80, len(value) >> 7]) + value


def onnx_model(*locations: str) -> bytes:
    """An ONNX model with a tensor in each of these files, written as onnx.proto3 says; half of them in attributes of nodes."""
    graph = b""
    for index, location in enumerate(locations):
        tensor = field(8, b"w") + field(13, field(1, b"location") + field(2, location.encode())) + b"\x70\x01"
        graph += field(1, field(5, field(5, tensor))) if index % 2 else field(5, tensor)
    return b"\x08\x08" + field(2, b"pytorch") + field(7, graph)


def index_of(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"w{number}": shard for number, shard in enumerate(shards)}}).encode()


TENSORS = struct.pack("<Q", 2) + b"{}"
TF_INDEX = b"content" + bytes.fromhex("57fb808b247547db")

GROUPS: dict[str, tuple[dict[str, bytes], str, ArtifactType]] = {
    "onnx": (
        {"m.onnx": onnx_model("m.onnx.data", "m.onnx_data_1"), "m.onnx.data": b"1", "m.onnx_data_1": b"2"},
        "m-model",
        ArtifactType.MODEL,
    ),
    "onnx, its data under names of their own": (
        {
            "n.onnx": onnx_model("e6b1a9c2-cc0f-11f0-8d3e-0242ac120002", "tensors.weights"),
            "e6b1a9c2-cc0f-11f0-8d3e-0242ac120002": b"1",
            "tensors.weights": b"2",
        },
        "n-model",
        ArtifactType.MODEL,
    ),
    "safetensors": (
        {
            "m-00001-of-00002.safetensors": TENSORS,
            "m-00002-of-00002.safetensors": TENSORS,
            "m.safetensors.index.json": index_of("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"),
        },
        "m-weights",
        ArtifactType.WEIGHTS,
    ),
    "bin": (
        {
            "b-00001-of-00002.bin": b"1",
            "b-00002-of-00002.bin": b"2",
            "b.bin.index.json": index_of("b-00001-of-00002.bin", "b-00002-of-00002.bin"),
        },
        "b-weights",
        ArtifactType.WEIGHTS,
    ),
    "tensorflow": (
        {"ckpt.index": TF_INDEX, "ckpt.data-00000-of-00002": b"1", "ckpt.data-00001-of-00002": b"2"},
        "ckpt-checkpoint",
        ArtifactType.CHECKPOINT,
    ),
    "tensorflow, with its list": (
        {
            "epoch-2.index": TF_INDEX,
            "epoch-2.data-00000-of-00001": b"1",
            "checkpoint": b'model_checkpoint_path: "epoch-2"\nall_model_checkpoint_paths: "epoch-2"\n',
        },
        "epoch-checkpoint",
        ArtifactType.CHECKPOINT,
    ),
    "geotiff": (
        {"m.tif": b"II*\0" + bytes(20), "m.tif.aux.xml": b"<PAMDataset/>", "m.tif.ovr": b"II*\0", "m.tfw": b"1.0"},
        "m-image",
        ArtifactType.IMAGE,
    ),
    "openvino": (
        {
            "openvino_model.xml": b'<?xml version="1.0"?><net name="o"><layers></layers></net>',
            "openvino_model.bin": b"1",
        },
        "openvino_model",
        ArtifactType.MODEL,
    ),
    "gensim": (
        {"words.model": b"\x80", "words.model.wv.vectors.npy": b"1", "words.model.syn1neg.npy": b"2"},
        "words-model",
        ArtifactType.MODEL,
    ),
    "analyze": ({"a.hdr": b"\x5c\x01\0\0".ljust(348, b"\0"), "a.img": b"1"}, "a-image", ArtifactType.IMAGE),
    "nifti, packed": (
        {"p.hdr.gz": gzip.compress(b"\0\0\x01\x5c".ljust(344, b"\0") + b"ni1\0"), "p.img.gz": b"1"},
        "p-image",
        ArtifactType.IMAGE,
    ),
    "envi": ({"e.hdr": b"ENVI\nsamples = 1\n", "e.bsq": b"1"}, "e-image", ArtifactType.IMAGE),
    "envi, as GDAL calls it": ({"g.dat.hdr": b"ENVI\n", "g.dat": b"1"}, "g.dat-image", ArtifactType.IMAGE),
    "esri": (
        {"s.hdr": b"NROWS 1\nNCOLS 1\n", "s.flt": b"1", "s.prj": b"GEOGCS[]", "s.flt.aux.xml": b"<PAMDataset/>"},
        "s-image",
        ArtifactType.IMAGE,
    ),
    "metaimage": ({"i.mhd": b"NDims = 3\nElementDataFile = i.zraw\n", "i.zraw": b"1"}, "i-image", ArtifactType.IMAGE),
    "metaimage, in slices": (
        {"j.mhd": b"ElementDataFile = j%02d.raw 1 2 1\n", "j01.raw": b"1", "j02.raw": b"2"},
        "j-image",
        ArtifactType.IMAGE,
    ),
    "nrrd": ({"n.nhdr": b"NRRD0004\ndata file: n.raw.gz\n", "n.raw.gz": b"1"}, "n-image", ArtifactType.IMAGE),
    "nrrd, in slices": (
        {"l.nhdr": b"NRRD0004\r\nDATA FILE: LIST\r\nl 1.raw\r\nl 2.raw\r\n", "l 1.raw": b"1", "l 2.raw": b"2"},
        "l-image",
        ArtifactType.IMAGE,
    ),
    "gltf": (
        {
            "t.gltf": json.dumps(
                {
                    "asset": {"version": "2.0"},
                    "buffers": [{"uri": "t%20buffer0.bin"}, {"uri": "data:;base64,AA=="}],
                    "images": [{"uri": "t_baseColor.png"}, {"uri": "https://example.org/a.png"}, {"bufferView": 0}],
                }
            ).encode(),
            "t buffer0.bin": b"1",
            "t_baseColor.png": b"\x89PNG",
        },
        "t-dataset",
        ArtifactType.DATASET,
    ),
    "obj": (
        {
            "w.obj": b"# a mesh\nmtllib w.mtl\nv 0 0 0\n",
            "w.mtl": b"newmtl a\nmap_Kd -s 1 1 1 -clamp on material_0.png\nbump -bm 0.5 normal.jpg\n",
            "material_0.png": b"\x89PNG",
            "normal.jpg": b"\xff\xd8\xff",
        },
        "w-dataset",
        ArtifactType.DATASET,
    ),
    "shapefile": (
        {"h.shp": b"\0\0\x27\x0a", "h.shx": b"\0\0\x27\x0a", "h.dbf": b"\x03", "h.prj": b"GEOGCS[]"},
        "h-dataset",
        ArtifactType.DATASET,
    ),
}

FOLDERS: dict[str, tuple[dict[str, bytes], ArtifactType]] = {
    "trainer": ({"config.json": b"{}", "rng_state.pth": b"r", "trainer_state.json": b"{}"}, ArtifactType.CHECKPOINT),
    "accelerate": ({"model.safetensors": TENSORS, "random_states_0.pkl": b"r"}, ArtifactType.CHECKPOINT),
    "orbax": ({"default/d/0": b"0", "default/manifest": b"o", "_CHECKPOINT_METADATA": b"{}"}, ArtifactType.CHECKPOINT),
    "deepspeed": ({"global_step1/mp_rank_00.pt": b"m", "latest": b"l", "zero_to_fp32.py": b"#"}, ArtifactType.CHECKPOINT),
    "distributed": ({"__0_0.distcp": b"d", ".metadata": b"m"}, ArtifactType.CHECKPOINT),
    "diffusers": ({"unet/config.json": b"{}", "unet/d.safetensors": TENSORS, "model_index.json": b"{}"}, ArtifactType.MODEL),
    "spacy": ({"vocab/strings.json": b"[]", "config.cfg": b"[nlp]", "meta.json": b"{}"}, ArtifactType.MODEL),
    "mlflow": ({"data/model.pth": b"p", "conda.yaml": b"a: 1", "MLmodel": b"flavors:"}, ArtifactType.MODEL),
    "savedmodel": ({"variables/variables.index": TF_INDEX, "saved_model.pb": b"\x08"}, ArtifactType.MODEL),
    "coreml": ({"Data/com.apple.CoreML/model.mlmodel": b"m", "Manifest.json": b"{}"}, ArtifactType.MODEL),
    "zarr2": ({"0.0": b"0", "0.1": b"1", ".zarray": b"{}"}, ArtifactType.DATASET),
    "zarr3": ({"a/c/0/0": b"0", "a/zarr.json": b"{}", "zarr.json": b"{}"}, ArtifactType.DATASET),
    "ome-zarr": ({"0/0.0": b"0", "0/.zarray": b"{}", ".zattrs": b"{}", ".zgroup": b"{}"}, ArtifactType.DATASET),
    "lance": ({"data/0.lance": b"l", "_versions/1.manifest": b"m"}, ArtifactType.DATASET),
    "parquet": ({"part-0.parquet": b"PAR1\0", "part-1.parquet": b"PAR1\0", "_metadata": b"PAR1\0"}, ArtifactType.DATASET),
    "hive": ({"k=1/a.parquet": b"PAR1\0", "k=2/a.parquet": b"PAR1\0"}, ArtifactType.DATASET),
}  # fmt: skip


# -- what is told of a directory, at times of the test's own


@attrs.define
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


class Directory:
    """A watched directory, whose complete files are told to `Wholes`, and the time."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.clock = folder, clock
        self.place = Place("out", str(folder), None, None)
        self.busy: set[str] = set()
        self.told: list[tuple[str, list[str]]] = []
        self.wholes = Wholes(
            dict(scan(self.place)),
            lambda path: any(one == path or one.startswith(path + "/") for one in self.busy),
            tops={self.place.path},
        )

    def add(self, name: str, content: bytes = b"content") -> None:
        write(self.folder / name, content)
        self.hold(name)

    def hold(self, name: str) -> None:
        """Tell of a file that is there."""
        path = str(self.folder / name)
        stamp = stamp_of(self.place, path)
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if stamp is not None and not hidden and not self.wholes.hold(self.place, path, stamp):
            self._take(Told(self.place, path, stamp))

    def _take(self, told: Told) -> None:
        beside = [str(one.relative_to(self.folder)) for one in told.beside]
        self.told.append((str(Path(told.path).relative_to(self.folder)), beside))

    def after(self, seconds: float) -> list[tuple[str, list[str]]]:
        """Let time pass, and give what was told since the last call."""
        self.clock.now += seconds
        return self.now()

    def now(self, *, ending: bool = False) -> list[tuple[str, list[str]]]:
        for told in self.wholes.complete(ending=ending):
            self._take(told)
        told, self.told = self.told, []
        return told


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    clock = Clock()
    monkeypatch.setattr("tracelet.builtin.filesystem.wholes.time", clock)
    return Directory(tmp_path / "out", clock)


#: Folders of names, with what is in them: several floors, some without files of their own.
TREES = strategies.sets(
    strategies.lists(strategies.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=8
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(before=TREES, later=TREES, ending=strategies.booleans())
def test_each_file_is_told_once_whatever_folders_there_were_at_the_start(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    before: set[str],
    later: set[str],
    ending: bool,
) -> None:
    clock = Clock()
    monkeypatch.setattr("tracelet.builtin.filesystem.wholes.time", clock)
    folder = tmp_path_factory.mktemp("any") / "out"
    for path in before:
        write(folder / path / "before.txt")
    directory = Directory(folder, clock)
    for path in later:
        directory.add(f"{path}/later.txt")
    told = directory.now(ending=True) if ending else directory.after(UNKNOWN) + directory.after(UNKNOWN)
    assert sorted(told) == sorted((f"{path}/later.txt", []) for path in later)
    # Beside files that were there nothing waits.
    for path in before:
        directory.add(f"{path}/last.txt")
    assert sorted(directory.now()) == sorted((f"{path}/last.txt", []) for path in before)


def test_a_file_in_a_folder_below_folders_without_files_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "out" / "run0" / "a" / "before.txt")
    directory = Directory(tmp_path / "out", Clock())
    directory.add("run0/a/x.bin")
    assert directory.now() == [("run0/a/x.bin", [])]
    directory.add("run0/b/x.bin")
    assert directory.now() == []


@pytest.mark.parametrize("kind", GROUPS)
def test_the_files_of_a_group_are_one_in_whatever_order_they_come(directory: Directory, kind: str) -> None:
    files, _, _ = GROUPS[kind]
    for order in itertools.permutations(files):
        for name in order:
            assert directory.after(QUIET / 2) == []
            directory.add(name, files[name])
        ((head, beside),) = directory.after(QUIET)
        assert {head, *beside} == set(files)
        assert directory.after(2 * MISSING) == []
        for name in files:
            (directory.folder / name).unlink()


@pytest.mark.parametrize("kind", GROUPS)
def test_parts_that_came_just_before_their_head_are_in_its_group(directory: Directory, kind: str) -> None:
    files, _, _ = GROUPS[kind]
    head = next(name for name in files if groups.kind_of(name) is not None)
    parts = sorted(files.keys() - {head})
    for name in reversed(parts):
        directory.add(name, files[name])
        directory.clock.now += QUIET / 10
    directory.add(head, files[head])
    assert directory.after(QUIET) == [(head, parts)]
    assert directory.after(2 * MISSING) == []


def test_a_bin_file_waits_only_for_a_head_that_is_there(directory: Directory) -> None:
    directory.add("cat.bin")
    assert directory.now() == [("cat.bin", [])]
    directory.add("cat.xml", b"<net ><layers></layers></net>")
    assert directory.after(QUIET) == [("cat.xml", ["cat.bin"])]
    directory.add("cat.bin", b"more")
    assert directory.now() == []
    assert directory.after(QUIET) == [("cat.xml", ["cat.bin"])]


def test_files_of_one_stem_are_one_thing_only_where_the_head_or_its_format_says_so(directory: Directory) -> None:
    files = {
        "cat.obj": b"v 0 0 0\n",
        "cat.bin": b"1",
        "cat.xml": b"<annotation/>",
        "cat.gltf": b'{"asset": {}}',
        "dog.mhd": b"ElementDataFile = LOCAL\n\0",
        "dog.raw": b"1",
        "sky.hdr": b"#?RADIANCE\n",
        "sky.img": b"1",
        "disk.img": b"1",
    }
    for name, content in files.items():
        directory.add(name, content)
    assert sorted(directory.after(QUIET)) == sorted((name, []) for name in files)


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_files_of_a_folder_that_is_one_thing_are_one_in_whatever_order_they_come(
    directory: Directory, kind: str
) -> None:
    files, _ = FOLDERS[kind]
    for number, order in enumerate(itertools.permutations(files)):
        for name in order:
            # Of hidden files there is no news.
            assert directory.after(QUIET / 4) == []
            directory.add(f"run{number}/{name}", files[name])
        assert directory.after(QUIET) == [(f"run{number}", [])]
        assert directory.after(2 * MISSING) == []


@pytest.mark.parametrize("kind", GROUPS)
def test_a_part_that_is_written_again_makes_the_group_anew(directory: Directory, kind: str) -> None:
    files, _, _ = GROUPS[kind]
    for name, content in files.items():
        directory.add(name, content)
    (first,) = directory.after(QUIET)
    for name, content in files.items():
        directory.add(name, content)
        assert directory.after(QUIET) == [first]


def test_a_part_that_is_written_again_makes_the_folder_anew(directory: Directory) -> None:
    for name in ("config.json", "model.safetensors", "part/a.bin"):
        directory.add(f"run/model/{name}")
    assert directory.after(QUIET) == [("run/model", [])]
    directory.add("run/model/part/a.bin")
    assert directory.after(QUIET) == [("run/model", [])]


def test_a_folder_that_was_one_thing_before_the_start_is_told_anew_as_one(directory: Directory) -> None:
    write(directory.folder / "z" / ".zarray", b"{}")
    write(directory.folder / "z" / "0.0", b"0")
    again = Directory(directory.folder, directory.clock)
    again.add("z/0.0", b"1")
    assert again.after(QUIET) == [("z", [])]


def test_files_that_are_nothing_together_wait_only_in_a_new_folder_and_only_at_first(directory: Directory) -> None:
    directory.add("model.pt")
    assert directory.now() == [("model.pt", [])]
    directory.add("run/a/model.pt")
    assert directory.after(UNKNOWN - 0.1) == []
    assert directory.after(0.1 + QUIET / 2) == [("run/a/model.pt", [])]
    directory.add("run/a/model.pt")
    assert directory.now() == [("run/a/model.pt", [])]


def test_a_folder_in_which_something_always_happens_does_not_wait_for_ever(directory: Directory) -> None:
    told = []
    for _ in range(int(MISSING) + 5):
        directory.add("run/log.txt")
        told += directory.after(QUIET)
    assert ("run/log.txt", []) in told


def test_a_file_that_is_being_written_holds_up_its_folder_and_its_group(directory: Directory) -> None:
    directory.busy = {str(directory.folder / "run" / "model.safetensors"), str(directory.folder / "m.onnx.data")}
    directory.add("run/config.json")
    directory.add("m.onnx", onnx_model("m.onnx.data"))
    write(directory.folder / "m.onnx.data")
    assert directory.after(2 * UNKNOWN) == []
    directory.busy = set()
    directory.add("run/model.safetensors")
    directory.add("m.onnx.data")
    assert directory.after(QUIET) == [("run", []), ("m.onnx", ["m.onnx.data"])]


def test_what_somebody_writes_when_it_would_be_complete_is_waited_for_though_there_was_no_news_of_it(
    directory: Directory,
) -> None:
    directory.add("run/config.json")
    directory.add("m.onnx", onnx_model("m.onnx.data"))
    directory.add("m.onnx.data")
    directory.add("run/model.safetensors")
    with (directory.folder / "run" / "model.safetensors").open("wb"), (directory.folder / "m.onnx.data").open("wb"):
        assert directory.after(2 * UNKNOWN) == []
    assert sorted(directory.after(QUIET)) == [("m.onnx", ["m.onnx.data"]), ("run", [])]


def test_a_shard_that_is_missing_is_waited_for_and_at_the_end_the_others_are_told_by_themselves(
    directory: Directory,
) -> None:
    for folder in ("", "run/"):
        directory.add(f"{folder}m.bin.index.json", index_of("m-00001-of-00002.bin", "m-00002-of-00002.bin"))
        directory.add(f"{folder}m-00001-of-00002.bin")
    directory.add("run/config.json", b"{}")
    directory.add("run/pytorch_model.bin.index.json", index_of("a.bin"))
    assert directory.after(2 * UNKNOWN) == []
    names = ["m-00001-of-00002.bin", "m.bin.index.json"]
    more = ["run/config.json", "run/pytorch_model.bin.index.json"]
    assert sorted(directory.now(ending=True)) == [
        (name, []) for name in sorted([*names, *(f"run/{one}" for one in names), *more])
    ]


def test_a_model_that_is_copied_slowly_is_told_when_all_shards_are_there_of_which_one_says_how_many(
    directory: Directory,
) -> None:
    directory.add("run/config.json")
    for number in (1, 2, 3):
        name = f"run/model-0000{number}-of-00003.safetensors"
        directory.busy = {str(directory.folder / name)}
        assert directory.after(MISSING / 2) == []
        directory.busy = set()
        directory.add(name)
        if number < 3:
            assert directory.after(2 * UNKNOWN) == []
    assert directory.after(QUIET) == [("run", [])]


@pytest.mark.parametrize("name", ["model.safetensors", ".model.safetensors.a7Bx2K", "model.safetensors.partial"])
@pytest.mark.parametrize("before", ["config.json", "tokenizer.json"])
def test_a_folder_waits_for_as_long_as_a_file_of_it_grows_under_whichever_name(
    directory: Directory, name: str, before: str
) -> None:
    directory.add(f"run/{before}")
    if not directory.place.passes_over(str(directory.folder / "run" / name)):
        directory.busy = {str(directory.folder / "run" / name)}
    for size in range(int(3 * MISSING / QUIET)):
        write(directory.folder / "run" / name, bytes(size))
        assert directory.after(QUIET) == []
    directory.busy = set()
    (directory.folder / "run" / name).rename(directory.folder / "run" / "model.safetensors")
    directory.hold("run/model.safetensors")
    directory.add("run/config.json")
    assert directory.after(QUIET) == [("run", [])]


def test_a_group_waits_for_as_long_as_a_part_of_it_grows_or_another_shard_comes(directory: Directory) -> None:
    shards = [f"m-0000{number}-of-00003.bin" for number in (1, 2, 3)]
    for shard in shards:
        directory.busy = {str(directory.folder / shard)}
        for size in range(int(2 * MISSING / QUIET) if shard != shards[0] else 1):
            write(directory.folder / shard, bytes(size))
            assert directory.after(QUIET) == []
        directory.busy = set()
        directory.add(shard)
    directory.add("m.bin.index.json", index_of(*shards))
    assert directory.after(QUIET) == [("m.bin.index.json", shards)]


def test_files_of_a_new_folder_wait_for_no_log_and_for_no_file_that_was_begun_late(directory: Directory) -> None:
    told: list[tuple[str, list[str]]] = []
    directory.busy = {str(directory.folder / "run" / "train.log")}
    directory.add("run/plot.png")
    for size in range(int((MISSING + 10) / QUIET)):
        for name in ("train.log", ".state"):
            write(directory.folder / "run" / name, bytes(size))
        write(directory.folder / "run" / f"{size // 9}.tar", bytes(size))
        directory.hold(f"run/{size // 9 - 1}.tar")
        told += directory.after(QUIET)
    assert ("run/plot.png", []) in told


def test_a_model_in_which_files_are_written_again_does_not_wait_for_the_end_of_that(directory: Directory) -> None:
    told = []
    directory.add("run/config.json")
    for size in range(int((MISSING + 5) / QUIET)):
        directory.add("run/model.safetensors", bytes(size))
        told += directory.after(QUIET / 2)
        directory.add("run/more.safetensors", bytes(size))
        told += directory.after(QUIET / 2)
    assert ("run", []) in told


@pytest.mark.parametrize("what", ["busy", "missing"])
def test_a_model_that_never_becomes_complete_is_told_file_by_file_when_nothing_has_come_for_long(
    directory: Directory, what: str
) -> None:
    names = ["run/config.json", f"run/model-00001-of-0000{1 if what == 'busy' else 2}.safetensors"]
    directory.busy = {str(directory.folder / "run" / "log.txt")} if what == "busy" else set()
    for name in names:
        directory.add(name)
    assert directory.after(MISSING - 1) == []
    # A shard waits once more then, for an index.
    assert sorted(directory.after(2) + directory.after(MISSING + 1)) == [(name, []) for name in names]


def test_parts_whose_head_never_comes_are_told_by_themselves(directory: Directory) -> None:
    directory.add("m-00001-of-00002.bin")
    directory.add("m.onnx.data")
    directory.add("may be a part.weights")
    assert directory.after(QUIET) == [("may be a part.weights", [])]
    assert directory.after(MISSING - 1 - QUIET) == []
    assert sorted(directory.after(2)) == [("m-00001-of-00002.bin", []), ("m.onnx.data", [])]


def test_parts_that_came_before_their_model_are_told_by_themselves_where_another_part_never_comes(
    directory: Directory,
) -> None:
    directory.add("a.weights")
    directory.add("m.onnx", onnx_model("a.weights", "b.weights"))
    assert directory.after(MISSING - 1) == []
    assert sorted(directory.after(2)) == [("a.weights", []), ("m.onnx", [])]


def test_each_checkpoint_of_tensorflow_has_the_list_that_names_it_last(directory: Directory) -> None:
    for step in (1, 2):
        for name in (f"c-{step}.index", f"c-{step}.data-00000-of-00001"):
            directory.add(name, TF_INDEX)
        directory.add("checkpoint", f'model_checkpoint_path: "c-{step}"\n'.encode())
    second = ("c-2.index", ["c-2.data-00000-of-00001", "checkpoint"])
    assert sorted(directory.after(QUIET)) == [("c-1.index", ["c-1.data-00000-of-00001"]), second]


def test_what_a_model_in_a_new_folder_names_belongs_to_it_though_it_came_first(
    directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory.folder / "run").mkdir()
    (directory.folder / "run" / "link").symlink_to(tmp_path)
    for name in ("w0", "w1"):
        directory.add(f"run/{name}")
    directory.add("run/m.onnx", onnx_model("w0", "w1", "../secret", "link/secret"))
    assert [*directory.after(UNKNOWN), *directory.after(UNKNOWN)] == [("run/m.onnx", ["run/w0", "run/w1"])]
    assert len(caplog.records) == 2, "each name that is refused is warned of once"


def test_a_link_out_of_a_folder_is_told_by_itself(directory: Directory) -> None:
    """Its content would not be in the folder, and a folder of such links alone would be empty."""
    write(directory.folder / "elsewhere" / "a", b"{}")
    for name in ("config.json", "model.safetensors"):
        (directory.folder / "run").mkdir(exist_ok=True)
        (directory.folder / "run" / name).symlink_to("../elsewhere/a")
        directory.hold(f"run/{name}")
    assert sorted(directory.after(UNKNOWN)) == [("run/config.json", []), ("run/model.safetensors", [])]


def test_the_checkpoints_of_a_training_are_not_swallowed_by_the_model_around_them(directory: Directory) -> None:
    for step in (1, 2):
        for name in ("model.safetensors", "trainer_state.json"):
            directory.add(f"run/checkpoint-{step}/{name}")
        assert directory.after(QUIET) == [(f"run/checkpoint-{step}", [])]
    for name in ("config.json", "model.safetensors"):
        directory.add(f"run/{name}")
    assert sorted(directory.after(2 * UNKNOWN)) == [("run/config.json", []), ("run/model.safetensors", [])]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "link/secret", "..\\secret", "a\0b"])
def test_what_a_model_names_outside_of_its_folder_is_refused(
    directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    write(tmp_path / "secret", b"secret")
    (directory.folder / "link").symlink_to(tmp_path)
    directory.add("m.onnx", onnx_model(name))
    directory.add("m.bin.index.json", index_of(name))
    assert directory.now() == [("m.onnx", []), ("m.bin.index.json", [])]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.mark.parametrize("name", ["../secret", "link/secret"])
def test_what_a_header_names_outside_of_its_folder_is_refused_and_what_is_named_there_is_not_read(
    directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    write(tmp_path / "secret", b"map_Kd stolen.png\n")
    (directory.folder / "link").symlink_to(tmp_path)
    headers = {
        "a.mhd": f"ElementDataFile = {name}",
        "b.nhdr": f"NRRD0004\ndata file: {name}",
        "c.gltf": json.dumps({"asset": {}, "buffers": [{"uri": name.replace("s", "%73")}]}),
        "d.obj": f"mtllib {name}",
    }
    for head, content in headers.items():
        directory.add(head, content.encode())
    assert directory.now() == [(head, []) for head in headers]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * len(headers)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"asset": 1, "buffers": [1, {"uri": 2}], "images": 3}', b"[" * 9999, b"\xff"]
)
@pytest.mark.parametrize(
    "before", [b"", b"NRRD0004\n", b"ElementDataFile = a%99d.raw 0 9999999999 0\n", b"mtllib \0.mtl\n"]
)
def test_a_broken_header_raises_nothing(directory: Directory, content: bytes, before: bytes) -> None:
    names = ["a.mhd", "a.nhdr", "a.gltf", "a.obj", "a.hdr", "a.hdr.gz", "a.xml"]
    for name in names:
        directory.add(name, before + content)
    assert {name for name, _ in directory.now(ending=True)} == set(names)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"\x3a\xff\xff\xff\x7f", onnx_model("a")[:-3], b"\xff" * 100, b"\x0b" * 9]
)
def test_a_broken_model_names_what_was_read_of_it_and_no_more(tmp_path: Path, content: bytes) -> None:
    assert external_locations(write(tmp_path / "m.onnx", content)) <= {"a"}


def test_the_fields_of_a_model_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", onnx_model("a", *["b"] * 50))
    assert external_locations(path) == {"a", "b"}
    monkeypatch.setattr("tracelet.builtin.filesystem.onnx_data._MOST_FIELDS", 10)
    assert external_locations(path) == set()


def test_every_kind_of_group_is_tried() -> None:
    heads = [name for files, _, _ in GROUPS.values() for name in files if groups.kind_of(name) is not None]
    assert {kind.what for kind in groups.KINDS} == {kind.what for name in heads if (kind := groups.kind_of(name))}


# -- what becomes of it


def captured(home: Path, act: Callable[[Experiment], None]) -> list[tuple[str, str, ArtifactType, dict[str, bytes]]]:
    """All that is captured of a watched directory: name, version, type, and what a download gives."""
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["out"])
    (home / "out").mkdir()
    with Experiment("wholes", config=config, artifacts=True) as exp:
        act(exp)
    found = []
    for one in Experiment("wholes", artifacts=True).list_artifacts():
        back = one.download()
        files = {file.artifact_path: (back / file.artifact_path).read_bytes() for file in one.files}
        found.append((one.name, one.version, one.type, files))
    return sorted(found, key=lambda one: one[:2])


def test_everything_is_one_artifact_each_and_comes_back_as_it_was(home: Path) -> None:
    expected = [("note-custom", "v0", ArtifactType.CUSTOM, {"note.txt": b"alone"})]
    for folder, (files, name, kind) in itertools.product(("", "run/"), GROUPS.values()):
        inside = {f"{folder}{file}": content for file, content in files.items()}
        expected.append((folder.replace("/", ".") + name, "v0", kind, inside))
    for name, (files, kind) in FOLDERS.items():
        expected.append((f"{name}-{kind.value}", "v0", kind, files))

    def act(exp: Experiment) -> None:
        write(home / "out" / "note.txt", "alone")
        for folder, (files, _, _) in itertools.product(("", "run/"), GROUPS.values()):
            for name, content in files.items():
                write(home / "out" / f"{folder}{name}", content)
        for folder, (files, _) in FOLDERS.items():
            for name, content in files.items():
                write(home / "out" / folder / name, content)

    assert captured(home, act) == sorted(expected, key=lambda one: one[:2])


def test_checkpoints_that_differ_in_their_step_are_versions_of_one_name(home: Path) -> None:
    def act(exp: Experiment) -> None:
        for number, step in enumerate((3, 12)):
            part = home / "out" / "run" / f"step_{step}.tmp"
            for name in ("model.safetensors", "trainer_state.json"):
                write(part / name, f"{step}")
            part.rename(part.with_suffix(""))
            while exp._artifact_manager.get_stats()["capture"].get("captured", 0) <= number:
                time.sleep(0.01)

    steps = [(name, version, files["trainer_state.json"]) for name, version, _, files in captured(home, act)]
    assert steps == [("run.step-checkpoint", "v0", b"3"), ("run.step-checkpoint", "v1", b"12")]
    metadata = [one.metadata["global_step"] for one in Experiment("wholes", artifacts=True).list_artifacts()]
    assert sorted(metadata) == [3, 12]
