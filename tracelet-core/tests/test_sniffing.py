"""What a file is, told by its content and its name: samples that need no framework, and everything strange."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import socket
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.capture.sniffing.rules import FILES, FOLDERS

pytestmark = pytest.mark.capture

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "capture.md"
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MP4 = b"\0\0\0\x1cftypmp42\0\0\0\0mp42isom\0\0\0\x08free"
#: One record without content: its length, and the masked CRC-32C of that and of nothing, as TFRecord's format has them.
TFRECORD = bytes(8) + b"\x29\x03\x98\x07" + b"\xd8\xea\x82\xa2"

#: More than what is read of a pickle.
FACTORS = {number: number / 7 for number in range(9999)}
TRAINING = {"epoch": 1, "optimizer": {"state": {}, "param_groups": []}}

#: Names and contents, as somebody would write them who never saw the rules.
SAMPLES: list[tuple[str, bytes, T]] = [
    ("notes.txt", b"remember the milk", T.CUSTOM),
    ("train.log", b"epoch 1 loss 0.3\n", T.CUSTOM),
    ("unknown.bin", bytes(range(256)), T.CUSTOM),
    ("empty", b"", T.CUSTOM),
    ("archive.tar", b"a" * 257 + b"ustar", T.CUSTOM),
    ("photo.png", b"this is no picture", T.CUSTOM),
    ("model.pth", b"these are no weights", T.CUSTOM),
    ("model.onnx", b"this is no graph", T.CUSTOM),
    ("data.json", b"{'a': 1}", T.CUSTOM),
    ("vectors.index", b"IxFI" + bytes(64), T.CUSTOM),
    ("ORCHIDS", b"ORCHIDS are flowers", T.CUSTOM),
    ("settings.bin", pickle.dumps({"a": 1}), T.CUSTOM),
    ("last.ckpt", b"what\0ever", T.CHECKPOINT),
    ("notes.ckpt", b"do not forget to try the other seed\n", T.CUSTOM),
    ("history.pkl", pickle.dumps({"epoch": [1, 2], "loss": [0.5, 0.4]}), T.CUSTOM),
    ("history_of_arrays.pkl", pickle.dumps({"step": [1, 2], "loss": np.arange(2), "model": "mlp"}), T.CUSTOM),
    ("mean.pkl", pickle.dumps({"step": 2, "model": [np.float64(0.5)], "models": {"a": 1}}), T.CUSTOM),
    ("how_far.pkl", pickle.dumps({"step": 3}), T.CUSTOM),
    ("random.pkl", pickle.dumps({"epoch": 3, "rng_state": np.random.RandomState(0).get_state()}), T.CUSTOM),
    ("settings.pkl", pickle.dumps({"epochs": 3, "optimizer": {"name": "adam"}, "scheduler": None}), T.CUSTOM),
    ("state.pkl", pickle.dumps({"epoch": 3, "params": {"layer": [{"w": np.eye(2)}]}}), T.CHECKPOINT),
    ("state_of_optimizer.pkl", pickle.dumps({"optimizer": {"m": {"w": np.eye(2)}}}), T.CHECKPOINT),
    ("states.pkl", pickle.dumps({"optimizers": [{"state": {0: 1}, "param_groups": []}]}), T.CHECKPOINT),
    ("long.pkl", pickle.dumps({"epoch": 1, "optimizer": {"state": FACTORS, "param_groups": []}}), T.CHECKPOINT),
    ("long_ones.pkl", pickle.dumps({"epoch": 1, "optimizers": [{"state": FACTORS, "x": 1}] * 2}), T.CHECKPOINT),
    ("scaler.pkl", pickle.dumps({"amp": {"growth_factor": 2.0, "backoff_factor": 0.5}}), T.CHECKPOINT),
    ("model.xml", b"<?xml version='1.0'?>\n<PMML version='4.4'/>", T.MODEL),
    ("tokenizer.json", b'{"version": "1.0", "model": {"type": "BPE"}}', T.MODEL),
    ("yolo.engine", b"ftrt\x61\0\0\0" + bytes(20), T.MODEL),
    ("old.plan", b"ptrt\0\0\0\0" + bytes(20), T.MODEL),
    ("of_ultralytics", b"\x0e\0\0\0" + b'{"imgsz": 640}' + b"ftrt" + bytes(20), T.MODEL),
    ("of_an_unknown_version.engine", bytes(range(64)), T.MODEL),
    ("search.engine", b"name = fast\n", T.CUSTOM),
    ("ftrt.txt", b"ftrt is how engines begin\n", T.CUSTOM),
    ("notebook.schema.json", b'{"cells": {"type": "array"}, "items": {"cell_type": 1}}', T.CONFIG),
    ("old_figure.png", b"\x89PNG\r\n\x1a\n\0\0\0\x38tEXtSoftware\0matplotlib version 2.2", T.VISUALIZATION),
    ("too_much_description.mlmodel", b"\x08\4\x12\xa0\x8d\6" + bytes(100_000), T.MODEL),
    ("MLmodel", b"flavors:\n  python_function: {}\n", T.CUSTOM),
    ("sample-data.csv", b"a,b\n1,2\n", T.DATASET),
    ("test_sample.csv", b"a,b\n1,2\n", T.SAMPLE),
    ("requirements-dev.txt", b"numpy>=2\n", T.CONFIG),
    ("part_of_a_drawing.svg", b"<path d='M0 0'/>\n", T.VISUALIZATION),
    ("mobile", b"\x1c\0\0\0TFL3" + bytes(20), T.MODEL),
    ("trees", b"CBM1\x20\0\0\0" + bytes(20), T.MODEL),
    ("film.ogv", b"OggS\0\2" + bytes(22) + b"\x80theora", T.VIDEO),
    ("film.mkv", b"\x1aE\xdf\xa3" + bytes(20), T.VIDEO),
    ("film.avi", b"RIFF\0\1\0\0AVI LIST", T.VIDEO),
    ("ckpt-1.index", bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", T.CHECKPOINT),
    ("manifest.ocdbt", b"\x0c\xdb\x3a\x2a" + bytes(20), T.CHECKPOINT),
    ("survey", b"$FL2@(#) SPSS DATA FILE", T.DATASET),
    ("savetxt.txt", b"# epoch loss\n0 1.5e-01\n1 1.2e-01\n", T.DATASET),
    ("000001.txt", b"0 0.5 0.5 0.1 0.2\n", T.DATASET),
    ("predictions.txt", b"1\n0\n1\n1\n", T.SAMPLE),
    ("best_epoch.txt", b"12\n", T.CUSTOM),
    ("ragged.txt", b"1 2 3\n4 5\n", T.CUSTOM),
    ("spectrum.dat", bytes(64), T.DATASET),
    ("iris.data", b"5.1,3.5,1.4,0.2,Iris-setosa\n", T.DATASET),
    ("weights_of_a_graph.data", bytes(64), T.CUSTOM),
    ("model.onnx.data", bytes(64), T.WEIGHTS),
    ("CIFAR.pkl", pickle.dumps((np.eye(2), np.arange(3))), T.DATASET),
    ("some_arrays.pkl", pickle.dumps([np.eye(2), "and a text"]), T.CUSTOM),
    ("generator.pkl", pickle.dumps(np.random.default_rng(0)), T.CUSTOM),
    ("score.pkl", pickle.dumps(np.float64(0.5)), T.CUSTOM),
    ("net.xml", b'<?xml version="1.0"?>\n<net name="Model0" version="11">\n\t<layers>', T.MODEL),
    ("page.htm", b"<div>a figure without a head</div>", T.REPORT),
    ("figure.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", T.VISUALIZATION),
    ("picture.ppm", b"P6\n1 1\n255\n\0\0\0", T.IMAGE),
    ("without_preamble.dcm", b"\x08\0\5\0CS\x0a\0ISO_IR 100", T.IMAGE),
    ("long.wav", b"RF64\xff\xff\xff\xffWAVEds64", T.AUDIO),
    ("train.rec", b"\x0a\x23\xd7\xce" + bytes(8), T.DATASET),
    ("style.css", b"a { color: red }\n", T.CODE),
    ("shape.stl", bytes(80) + b"\1\0\0\0" + bytes(50), T.DATASET),
    ("trust.stl", b"a list of who is trusted\n", T.CUSTOM),
    ("compiled.obj", b"d\x86\x02\0" + bytes(40), T.CUSTOM),
    ("cloud.pcd", b"# .PCD v0.7\nVERSION 0.7\n", T.DATASET),
    ("points.ply", b"ply\nformat ascii 1.0\n", T.DATASET),
    ("shape.glb", b"glTF\x02\0\0\0", T.DATASET),
    ("cloud.las", b"LASF" + bytes(100), T.DATASET),
    ("rows.csv.gz", gzip.compress(b"a,b\n1,2\n"), T.DATASET),
    ("rows.csv.gz", b"this is not packed", T.CUSTOM),
    ("scan", bytes(128) + b"DICM" + bytes(8), T.IMAGE),
    ("scan.nii", bytes(344) + b"n+1\0", T.IMAGE),
    ("scan.nii.gz", gzip.compress(bytes(344) + b"n+1\0"), T.IMAGE),
    ("big-endian", b"RIFX\0\0\0\x04WAVE", T.AUDIO),
    ("records", TFRECORD, T.DATASET),
    ("no records", TFRECORD.replace(b"\x03", b"\x04", 1), T.CUSTOM),
    ("picture", PNG, T.IMAGE),
    ("picture.dat", GIF, T.IMAGE),
    ("confusion_matrix.png", PNG, T.VISUALIZATION),
    ("attention-maps.PNG", PNG, T.VISUALIZATION),
    ("clip", MP4, T.VIDEO),
    ("report.html", b"<!DOCTYPE html>\n<html><body>done</body></html>", T.REPORT),
    ("report", b"\n  <html lang='en'>", T.REPORT),
    ("README.md", "# Ergebnisse für Köln\n".encode(), T.REPORT),
    ("paper", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", T.REPORT),
    (
        "drawing",
        b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        T.VISUALIZATION,
    ),
    ("config.yaml", b"lr: 0.1\n", T.CONFIG),
    ("config.toml", b"lr = 0.1\n", T.CONFIG),
    ("config.json", json.dumps({"lr": 0.1}).encode(), T.CONFIG),
    ("settings", json.dumps({"lr": 0.1}, indent=2).encode(), T.CONFIG),
    ("log.txt", b'{"epoch": 0, "loss": 1.2}\n{"epoch": 1, "loss": 1.1}\n', T.CUSTOM),
    ("eval.log", b'{"step": 0}\n{"step": 1}\n', T.CUSTOM),
    ("one_object.log", b'{"step": 0} and that was all\n', T.CUSTOM),
    ("deep", b'{"a":' + b"[" * 9000, T.CUSTOM),
    ("too_long_to_be_seen", json.dumps({str(n): n for n in range(3000)}).encode(), T.CUSTOM),
    ("too_long_to_be_seen.json", json.dumps({str(n): n for n in range(3000)}).encode(), T.CONFIG),
    ("broken.yaml", b"\x00\x01\x02", T.CUSTOM),
    ("data.json", b'[{"x": 1}]', T.DATASET),
    ("train.csv", b"a,b\n1,2\n", T.DATASET),
    ("from_excel.csv", "a;b\n1;2\n".encode("utf-16"), T.DATASET),
    ("old.csv", "Stra\xdfe;Ort\n".encode("latin-1"), T.DATASET),
    ("rows.jsonl", b'{"x": 1}\n{"x": 2}\n', T.DATASET),
    ("predictions.csv", b"id,label\n1,cat\n", T.SAMPLE),
    ("val_samples.json", b"[1, 2]", T.SAMPLE),
    ("train.py", b"import torch\n", T.CODE),
    ("__init__.py", b"", T.CODE),
    ("run", b"#!/usr/bin/env bash\nset -e\n", T.CODE),
    ("Dockerfile", b"FROM python:3.13\n", T.CODE),
    ("compiled.py", b"\x00\x00\x00", T.CUSTOM),
    ("model.txt", b"tree\nversion=v4\nnum_class=1\n", T.MODEL),
    ("graph", b"\x08\x0a:\x02\x0a\x00", T.MODEL),
    ("a graph of a version that there never was", b"\x08\x7f:\x02\x0a\x00", T.CUSTOM),
    ("a graph of a version without end", b"\x08" + b"\xff" * 16, T.CUSTOM),
]


#: How files of the ISO base media format begin, by what writes them.
BRANDS: list[tuple[str, bytes, T]] = [
    ("phone.mp4", b"isom", T.VIDEO),
    ("phone.mov", b"qt  ", T.VIDEO),
    ("old_phone.3gp", b"3gp4", T.VIDEO),
    ("shop.m4v", b"M4V ", T.VIDEO),
    ("song.m4a", b"M4A ", T.AUDIO),
    ("bought_song.m4p", b"M4P ", T.AUDIO),
    ("book.m4b", b"M4B ", T.AUDIO),
    ("photo.heic", b"heic", T.IMAGE),
    ("deep_photo.heic", b"heix", T.IMAGE),
    ("burst.heics", b"msf1", T.IMAGE),
    ("photo.heif", b"mif1", T.IMAGE),
    ("photo.avif", b"avif", T.IMAGE),
    ("moving.avif", b"avis", T.IMAGE),
    ("IMG_0001.CR3", b"crx ", T.IMAGE),
    ("film.crm", b"crx ", T.CUSTOM),
    ("part_of_a_stream.mp4", b"dash", T.CUSTOM),
    ("whatever", b"none", T.CUSTOM),
]


@pytest.mark.parametrize(("name", "brand", "expected"), BRANDS, ids=[row[0] for row in BRANDS])
def test_a_file_of_the_format_of_mp4_is_what_its_brand_says(
    tmp_path: Path, name: str, brand: bytes, expected: T
) -> None:
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    assert tell_type(tmp_path / name) is expected


@pytest.mark.parametrize(("name", "content", "expected"), SAMPLES, ids=[f"{row[0]}-{row[2].value}" for row in SAMPLES])
def test_a_file_is_what_its_content_and_name_say(tmp_path: Path, name: str, content: bytes, expected: T) -> None:
    (tmp_path / name).write_bytes(content)
    assert tell_type(tmp_path / name) is expected


def test_arrays_of_numpy_are_a_dataset_whatever_they_are_called(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(10))
    np.savez(tmp_path / "more.npz", a=np.arange(10), b=np.eye(3))
    np.savez_compressed(tmp_path / "less.npz", a=np.arange(10))
    for path in tmp_path.iterdir():
        path.rename(path.with_suffix(""))
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.DATASET}


def test_arrays_of_predictions_are_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "val-predictions.npy", np.arange(10))
    assert tell_type(tmp_path / "val-predictions.npy") is T.SAMPLE


def test_sound_of_the_standard_library_is_audio(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(100))
    assert tell_type(tmp_path / "sound") is T.AUDIO


def test_an_archive_of_something_else_is_custom(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("a.py", "print()")
    assert tell_type(tmp_path / "code.zip") is T.CUSTOM


@pytest.mark.parametrize(
    ("name", "inside", "expected"),
    [
        ("scores.xlsx", "xl/workbook.xml", T.DATASET),
        ("report.docx", "word/document.xml", T.REPORT),
        ("talk.pptx", "ppt/presentation.xml", T.REPORT),
    ],
)
def test_sheets_are_data_and_documents_are_reports(tmp_path: Path, name: str, inside: str, expected: T) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(inside, "<xml/>")
    assert tell_type(tmp_path / name) is expected


def test_an_archive_whose_directory_or_content_is_broken_is_custom(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", pickle.dumps(TRAINING, 2))
    content = path.read_bytes()
    assert tell_type(path) is T.CHECKPOINT
    path.write_bytes(content.replace(b"optimizer", b"aptimizer", 1))
    assert tell_type(path) is T.CUSTOM
    path.write_bytes(content[:-8])
    assert tell_type(path) is T.CUSTOM


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["saved_model.pb", "fingerprint.pb", "variables/variables.index"], T.MODEL),
        (["config.json", "model.safetensors", "tokenizer.json"], T.MODEL),
        (["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"], T.MODEL),
        (["config.json", "model.safetensors", "optimizer.pt", "trainer_state.json"], T.CHECKPOINT),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], T.WEIGHTS),
        (["adapter_config.json", "adapter_model.safetensors"], T.WEIGHTS),
        (["model_index.json", "unet/config.json"], T.MODEL),
        ([".metadata", "__0_0.distcp", "__1_0.distcp"], T.CHECKPOINT),
        (["checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"], T.CHECKPOINT),
        (["a.md", "b.csv"], T.CUSTOM),
        (["a.py", "package/b.py"], T.CODE),
        ([], T.CUSTOM),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value.value,
)
def test_a_folder_is_what_is_in_it(tmp_path: Path, names: list[str], expected: T) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("a")
    assert tell_type(folder) is expected


def test_a_folder_of_images_is_one_until_there_are_more_than_anybody_looks_at(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.gif").write_bytes(GIF)
    assert tell_type(tmp_path) is T.IMAGE
    (tmp_path / "one more.gif").write_bytes(GIF)
    assert tell_type(tmp_path) is T.CUSTOM


def test_what_is_no_file_and_no_folder_is_custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("nowhere").symlink_to("gone")
    Path("round").symlink_to("round")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        names = ["pipe", "nowhere", "round", "socket", "missing", "/dev/zero", "a\0b", "x" * 5000, "missing/a/b"]
        assert {name: tell_type(Path(name)) for name in names} == dict.fromkeys(names, T.CUSTOM)


def test_a_folder_in_which_something_cannot_be_read_is_custom(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    (tmp_path / "gone.py").symlink_to("nowhere")
    assert tell_type(tmp_path) is T.CUSTOM


def magic() -> list[bytes]:
    """How files begin that one rule or another looks into."""
    return [
        b"\x80\x02", b"\x80\x04\x95", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n",
        b"\x08\x07\x12", b"\x08\x0a:", b"{\"", b"[", b"RIFF", b"\0\0\0\x1cftyp", struct.pack("<Q", 4) + b"{\"a", b"\xff\xfe", b"GGUF",
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", *magic()]), rest=st.binary(max_size=300), suffix=st.sampled_from(["", ".json", ".csv"])
)
@example(b"\x80\x02", b"}(", "")
@example(b"\x80\x02", b"(((((t.", "")
@example(b"\x80\x04", b"\x94\x94", "")
@example(b"\x80\x02", b"g5\n.", "")
@example(b"\x80\x02", b"]e.", "")
@example(b"", b"\xff\xfe\x00", "")
def test_arbitrary_bytes_raise_nothing(tmp_path: Path, start: bytes, rest: bytes, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(start + rest)
    assert isinstance(tell_type(path), T)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_archive_raises_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """One byte of an archive as torch writes it is another, or its end is missing."""
    path = tmp_path / "file.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", pickle.dumps({"epoch": 1, "list": [1, (2, 3)]}, 2))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert isinstance(tell_type(path), T)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            | st.tuples(inner, inner)
            | st.frozensets(st.text(max_size=3), max_size=3)
        ),
    ),
    protocol=st.integers(2, 5),
)
def test_a_training_state_is_seen_in_every_pickle(tmp_path: Path, value: object, protocol: int) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"before": value, **TRAINING, "after": value}, protocol))
    assert tell_type(path) is T.CHECKPOINT
    path.write_bytes(pickle.dumps([value, "epoch", "optimizer"], protocol))
    assert tell_type(path) is T.CUSTOM


class Settings(dict[str, object]):
    """Pickled with an opcode of its own for arguments that have names."""

    def __init__(self, *, name: str = "") -> None:
        self.name = name

    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, str]]:
        return (), {"name": "mine"}

    def __new__(cls, *, name: str) -> Settings:
        return super().__new__(cls)


class History(list[float]):
    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, str]]:
        return (), {"name": "mine"}

    def __new__(cls, *, name: str = "") -> History:
        return super().__new__(cls)


def in_itself() -> tuple[object, ...]:
    inside: list[object] = []
    around = (1, 2, 3, inside)
    inside.append(around)
    return around


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_training_state_is_seen_after_what_is_rare_in_pickles(tmp_path: Path, protocol: int) -> None:
    settings, history = Settings(name="mine"), History()
    settings.update(rate=0.1, width=3)
    history.extend([0.5, 0.4])
    for value in (settings, history, Settings(name="empty"), in_itself()):
        path = tmp_path / "file.pkl"
        path.write_bytes(pickle.dumps({"before": value, **TRAINING}, protocol))
        assert tell_type(path) is T.CHECKPOINT


def test_objects_that_are_in_many_places_are_looked_at_once(tmp_path: Path) -> None:
    """A list of lists that are all the same one, to a depth at which looking at each would not end."""
    nested: list[object] = [1]
    for _ in range(40):
        nested = [nested, nested]
    nested.append(nested)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"epoch": 1, "model": nested}))
    assert tell_type(path) is T.CUSTOM


def test_every_type_but_the_users_own_has_a_rule() -> None:
    assert {rule.type for rule in FILES} == set(T) - {T.CUSTOM}


def rows(rules: tuple[object, ...]) -> list[str]:
    return [f"| {rule.what} | {rule.how.replace('|', chr(92) + '|')} | `{rule.type.name}` |" for rule in rules]


def test_the_page_shows_the_rules_as_they_are() -> None:
    section = PAGE.read_text().partition("\n## What is captured as what\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("| ") and line.endswith("` |")]
    assert shown == [*rows(FILES), *rows(FOLDERS)]
