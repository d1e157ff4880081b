"""What libraries of one field or another write gets its type: medicine, astronomy, climate, geometry, speech, databases."""

from __future__ import annotations

import base64
import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.sniffing import tell_type

#: What coremltools 9.0 saves as `relu.mlmodel`: two numbers, and what is below zero of them made zero.
CORE_ML = base64.b64decode("CAQSIAoOCgF4GgkqBwoBAhDAgARSDgoBeRoJKgcKAQIQwIAEoh8UCg4KAXISAXgaAXmSCAJSACgBMAE=")
#: The layout of a package that coremltools 9.0 saves.
PACKAGE = {
    "Manifest.json": b'{"fileFormatVersion": "1.0.0"}',
    "Data/com.apple.CoreML/model.mlmodel": CORE_ML,
    "Data/com.apple.CoreML/weights/weight.bin": bytes(64),
}
#: The beginning of the only file of data that pylance 14.0 writes of a table, and its end.
LANCE = bytes(8), bytes.fromhex("000000000100000001000000020002004c414e43")


def told(folder: Path) -> dict[str, T]:
    return {path.name: tell_type(path) for path in folder.iterdir()}


def test_arrays_of_matlab_are_a_dataset(tmp_path: Path) -> None:
    import h5py
    from scipy import io as matlab

    for version in ("4", "5"):
        matlab.savemat(tmp_path / f"{version}.mat", {"a": np.eye(2)}, format=version)
    (tmp_path / "5.mat").rename(tmp_path / "renamed")
    # MATLAB writes HDF5 since 7.3, after 512 bytes of its own.
    with h5py.File(tmp_path / "7.3", "w", userblock_size=512) as file:
        file["a"] = np.eye(2)
    with (tmp_path / "7.3").open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    assert told(tmp_path) == dict.fromkeys(("4.mat", "renamed", "7.3"), T.DATASET)


def test_tables_of_stata_and_tracts_of_nerves_are_datasets(tmp_path: Path) -> None:
    import pandas
    from nibabel import streamlines

    pandas.DataFrame({"a": [1, 2]}).to_stata(tmp_path / "table.dta")
    pandas.DataFrame({"a": [1, 2]}).to_stata(tmp_path / "newer", version=118)
    tracts = streamlines.Tractogram([np.zeros((3, 3), np.float32)], affine_to_rasmm=np.eye(4))
    for suffix in ("trk", "tck"):
        streamlines.save(tracts, str(tmp_path / f"tracts.{suffix}"))
        (tmp_path / f"tracts.{suffix}").rename(tmp_path / suffix)
    assert told(tmp_path) == dict.fromkeys(("table.dta", "newer", "trk", "tck"), T.DATASET)


def test_netcdf_is_a_dataset_whatever_its_variables_are_called(tmp_path: Path) -> None:
    """Also where they have the names of what Keras has in its files."""
    import netCDF4

    for kind in ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4", "NETCDF4_CLASSIC"):
        with netCDF4.Dataset(tmp_path / kind, "w", format=kind) as data:
            data.createDimension("layer", 2)
            data.createVariable("layer_names", "f4", ("layer",))[:] = 1
            data.model_config = data.keras_version = "coupled"
    assert set(told(tmp_path).values()) == {T.DATASET}
    assert len(told(tmp_path)) == 5


def test_tables_and_images_of_the_sky_are_a_dataset(tmp_path: Path) -> None:
    from astropy.io import fits
    from astropy.table import Table

    fits.writeto(tmp_path / "image", np.zeros((4, 4)))
    Table({"flux": [1.0, 2.0]}).write(tmp_path / "table", format="fits")
    Table({"flux": [1.0, 2.0]}).write(tmp_path / "table.ecsv", format="ascii.ecsv")
    Table({"flux": [1.0, 2.0]}).write(tmp_path / "table.vot", format="votable")
    assert set(told(tmp_path).values()) == {T.DATASET}


def test_medical_images_are_images_in_one_file_or_two(tmp_path: Path) -> None:
    import nibabel

    voxels = np.zeros((2, 2, 2), np.float32)
    for name, kind in {
        "one.nii": nibabel.Nifti1Image,
        "two.nii": nibabel.Nifti2Image,
        "pair.img": nibabel.Nifti1Pair,
        "pair_of_two.img": nibabel.Nifti2Pair,
        "analyze.img": nibabel.AnalyzeImage,
        "spm.img": nibabel.Spm99AnalyzeImage,
        "packed.nii.gz": nibabel.Nifti1Image,
        "surfer.mgh": nibabel.MGHImage,
        "surfer.mgz": nibabel.MGHImage,
    }.items():
        nibabel.save(kind(voxels, np.eye(4)), tmp_path / name)
    (tmp_path / "one.nii").rename(tmp_path / "one")
    (tmp_path / "two.nii").rename(tmp_path / "two")
    # SPM keeps the place of an image in the room in a file of MATLAB's.
    (tmp_path / "spm.mat").unlink()
    found = told(tmp_path)
    assert {"pair.hdr", "pair_of_two.hdr", "analyze.hdr", "spm.hdr"} <= found.keys()
    assert found == dict.fromkeys(found, T.IMAGE)


def test_dicom_is_an_image_unless_its_class_is_another(tmp_path: Path) -> None:
    from pydicom import uid
    from pydicom.examples import ct

    classes = {"report": uid.BasicTextSRStorage, "plan": uid.RTPlanStorage, "curve": uid.TwelveLeadECGWaveformStorage}
    ct.save_as(tmp_path / "image")
    for name, kind in classes.items():
        ct.file_meta.MediaStorageSOPClassUID = ct.SOPClassUID = kind
        ct.save_as(tmp_path / name)
    assert told(tmp_path) == {"image": T.IMAGE, "report": T.REPORT, "plan": T.DATASET, "curve": T.DATASET}


def test_point_clouds_and_meshes_are_datasets(tmp_path: Path) -> None:
    import laspy
    import trimesh

    laspy.LasData(laspy.LasHeader()).write(tmp_path / "cloud")
    box = trimesh.creation.box()
    for kind in ("ply", "obj", "stl", "off", "glb"):
        box.export(tmp_path / f"box.{kind}")
    box.export(tmp_path / "ascii.stl", file_type="stl_ascii")
    box.export(tmp_path / "ascii.ply", encoding="ascii")
    for name, content in trimesh.Scene(box).export(None, file_type="gltf").items():
        if name.endswith(".gltf"):
            (tmp_path / name).write_bytes(content)
    found = told(tmp_path)
    assert len(found) >= 9
    assert found == dict.fromkeys(found, T.DATASET)


def test_databases_are_datasets(tmp_path: Path) -> None:
    import duckdb

    duckdb.connect(str(tmp_path / "duck")).execute("create table t as select 1 as a").close()
    connection = sqlite3.connect(tmp_path / "lite")
    connection.execute("create table t (a)")
    connection.close()
    assert told(tmp_path) == dict.fromkeys(("duck", "lite"), T.DATASET)


def test_shards_of_webdataset_are_datasets_and_other_archives_are_not(tmp_path: Path) -> None:
    import webdataset

    with webdataset.TarWriter(str(tmp_path / "shard-000000.tar")) as shard:
        for number in range(300):
            shard.write({"__key__": f"{number:06}", "cls": number, "seg.png": b"png", "txt": "a cat"})
    for name, members in {
        "code.tar": ("src/a.py", "src/b.py", "README.md"),
        "one.tar": ("model.pt", "model.json"),
    }.items():
        with tarfile.open(tmp_path / name, "w") as archive:
            for member in members:
                archive.addfile(tarfile.TarInfo(member))
    assert told(tmp_path) == {"shard-000000.tar": T.DATASET, "code.tar": T.CUSTOM, "one.tar": T.CUSTOM}


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_a_model_of_nemo_is_a_model_wherever_its_configuration_is_in_it(tmp_path: Path, mode: Any) -> None:
    """NeMo makes an archive of a folder: a tokenizer may come first, and be large."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in {
        "0a1b_tokenizer.model": np.random.default_rng(0).bytes(100_000),
        "model_config.yaml": b"target: nemo.Model\n",
        "model_weights.ckpt": bytes(100),
    }.items():
        (folder / name).write_bytes(content)
    with tarfile.open(tmp_path / "model.nemo", mode) as archive:
        archive.add(folder, arcname="./")
    assert tell_type(tmp_path / "model.nemo") is T.MODEL


def test_models_of_sentencepiece_are_models(tmp_path: Path) -> None:
    import sentencepiece

    for kind in ("unigram", "bpe", "char", "word"):
        content = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the cat sat on the mat"] * 20),
            model_writer=content,
            model_type=kind,
            vocab_size=16,
            hard_vocab_limit=False,
            pad_id=3,
            minloglevel=2,
        )
        (tmp_path / kind).write_bytes(content.getvalue())
    assert set(told(tmp_path).values()) == {T.MODEL}


def test_a_tokenizer_is_a_model_however_many_tokens_were_added(tmp_path: Path) -> None:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.add_special_tokens([f"<|reserved_{number}|>" for number in range(300)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert (tmp_path / "tokenizer.json").stat().st_size > 50_000
    assert tell_type(tmp_path / "tokenizer.json") is T.MODEL


def test_records_as_tensorflow_writes_them_are_a_dataset(tmp_path: Path) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (tmp_path / "train").open("wb") as stream:
        RecordWriter(stream).write(b"an example")
    assert tell_type(tmp_path / "train") is T.DATASET


def test_an_archive_of_torchserve_is_a_model(tmp_path: Path) -> None:
    """As torch-model-archiver 0.12 makes it."""
    with zipfile.ZipFile(tmp_path / "net.mar", "w") as archive:
        archive.writestr("model.pt", bytes(16))
        archive.writestr("MAR-INF/MANIFEST.json", '{"runtime": "python"}')
    assert tell_type(tmp_path / "net.mar") is T.MODEL


def test_core_ml_is_a_model_alone_and_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "alone").write_bytes(CORE_ML)
    for name, content in PACKAGE.items():
        path = tmp_path / "net.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert told(tmp_path) == {"alone": T.MODEL, "net.mlpackage": T.MODEL}


def test_a_file_of_lance_is_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"".join(LANCE))
    assert tell_type(tmp_path / "file") is T.DATASET


def test_graphs_of_tensorflow_and_tensors_of_onnx_are_a_model_and_a_dataset(tmp_path: Path) -> None:
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(np.zeros((100, 100), np.float32), "x")
    (tmp_path / "input_0.pb").write_bytes(tensor.SerializeToString())
    # A GraphDef of one node: `x`, a Placeholder.
    (tmp_path / "frozen.pb").write_bytes(b"\n\x10\n\1x\x12\x0bPlaceholder\x22\4\x08\x01\x10\x01")
    (tmp_path / "labels.pb").write_bytes(b"\n\x07\n\3cat\x10\1")
    assert told(tmp_path) == {"input_0.pb": T.DATASET, "frozen.pb": T.MODEL, "labels.pb": T.CUSTOM}


def test_images_of_older_kinds_and_of_more_than_four_gigabytes_are_images(tmp_path: Path) -> None:
    import tifffile
    from PIL import Image

    for order in "<>":
        tifffile.imwrite(tmp_path / f"big {order}", np.zeros((8, 8), np.uint8), bigtiff=True, byteorder=order)
    for kind in ("tga", "pcx", "dds", "icns", "sgi"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"image.{kind}")
    found = told(tmp_path)
    assert found == dict.fromkeys(found, T.IMAGE)
    assert len(found) == 7


@pytest.mark.filterwarnings("ignore")
def test_models_and_figures_as_json_are_no_configuration(tmp_path: Path) -> None:
    import json

    import catboost
    import lightgbm
    from plotly import graph_objects

    inputs, targets = np.random.rand(40, 3), np.arange(40) % 2
    lightgbm_model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(inputs, targets)
    (tmp_path / "lightgbm.json").write_text(json.dumps(lightgbm_model.booster_.dump_model()))
    catboost_model = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False)
    catboost_model.fit(inputs, targets).save_model(str(tmp_path / "catboost.json"), format="json")
    graph_objects.Figure(graph_objects.Scatter(y=[1, 2])).write_json(tmp_path / "plotly.json")
    graph_objects.Figure().write_json(tmp_path / "empty.json")
    (tmp_path / "settings.json").write_text('{"name": "tree", "data": [{"path": "a"}], "features_info": {"x": 1}}')
    assert told(tmp_path) == {
        "lightgbm.json": T.MODEL,
        "catboost.json": T.MODEL,
        "plotly.json": T.VISUALIZATION,
        "empty.json": T.VISUALIZATION,
        "settings.json": T.CONFIG,
    }


def test_sparse_matrices_weights_of_flax_and_plots_as_postscript_are_told(tmp_path: Path) -> None:
    import matplotlib
    from flax import serialization
    from matplotlib import pyplot
    from scipy import io as scipy_io
    from scipy import sparse

    matplotlib.use("Agg")
    scipy_io.mmwrite(tmp_path / "matrix.mtx", sparse.eye(5))
    (tmp_path / "flax_model.msgpack").write_bytes(serialization.to_bytes({"params": {"w": np.ones(3)}}))
    pyplot.figure().savefig(tmp_path / "plot.ps")
    pyplot.close()
    (tmp_path / "paper.ps").write_text("%!PS-Adobe-3.0\n%%Creator: dvips\n")
    assert told(tmp_path) == {
        "matrix.mtx": T.DATASET,
        "flax_model.msgpack": T.WEIGHTS,
        "plot.ps": T.VISUALIZATION,
        "paper.ps": T.CUSTOM,
    }
