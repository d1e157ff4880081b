"""What pandas, joblib and torch write packed is what it is without being packed."""

from __future__ import annotations

import gzip
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import joblib
import numpy as np
import pandas
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.sniffing import tell_type

FRAME = pandas.DataFrame({"id": np.arange(20_000), "x": np.random.default_rng(0).random(20_000)})


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_what_pandas_writes_packed_is_told_by_what_is_inside(tmp_path: Path, suffix: str) -> None:
    FRAME.to_csv(tmp_path / f"rows.csv.{suffix}")
    FRAME.head(3).to_csv(tmp_path / f"predictions.csv.{suffix}")
    FRAME.to_json(tmp_path / f"rows.jsonl.{suffix}", orient="records", lines=True)
    FRAME.to_json(tmp_path / f"columns.json.{suffix}")
    FRAME.to_pickle(tmp_path / f"frame.pkl.{suffix}")
    assert {path.name.partition(".")[0]: tell_type(path) for path in tmp_path.iterdir()} == {
        "rows": T.DATASET,
        "predictions": T.SAMPLE,
        "columns": T.CONFIG,
        "frame": T.DATASET,
    }


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_pandas_writes_into_an_archive_is_told_by_its_name_there(tmp_path: Path, suffix: str) -> None:
    FRAME.to_csv(tmp_path / f"rows.csv.{suffix}")
    FRAME.head(3).to_csv(tmp_path / f"predictions.csv.{suffix}")
    FRAME.head(3).to_csv(tmp_path / f"unknown.{suffix}")
    assert {path.name.partition(".")[0]: tell_type(path) for path in tmp_path.iterdir()} == {
        "rows": T.DATASET,
        "predictions": T.SAMPLE,
        "unknown": T.CUSTOM,
    }


@pytest.mark.parametrize("packing", ["zlib", "gzip", "bz2", "xz", "lzma", "lz4", None])
def test_what_joblib_writes_packed_is_told_by_the_pickle_inside(tmp_path: Path, packing: str | None) -> None:
    inputs, targets = np.random.default_rng(0).random((500, 8)), np.arange(500) % 5
    written = {
        "forest": (RandomForestClassifier(30).fit(inputs, targets), T.MODEL),
        "array": (inputs, T.DATASET),
        "frame": (FRAME, T.DATASET),
        "state": ({"epoch": 3, "weights": {"layer": inputs, "bias": targets}}, T.CHECKPOINT),
        "numbers": ({"accuracy": 0.9}, T.CUSTOM),
    }
    for name, (value, _) in written.items():
        joblib.dump(value, tmp_path / name, compress=(packing, 3) if packing else 0)
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == {
        name: expected for name, (_, expected) in written.items()
    }


def saved_by_torch(folder: Path) -> None:
    """Files of hundreds of kilobytes, of which the directory at the end is not unpacked, and small ones."""
    for size in (2, 40):
        net = torch.nn.Sequential(*(torch.nn.Linear(size, size) for _ in range(20)))
        optimizer = torch.optim.Adam(net.parameters())
        net(torch.rand(2, size)).sum().backward()
        optimizer.step()
        training = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
        for kind, value in (("module", net), ("weights", net.state_dict()), ("training", training)):
            torch.save(value, folder / f"{kind}-{size}.pt")
            torch.save(value, folder / f"{kind}-{size}.old.pt", _use_new_zipfile_serialization=False)


def pack(path: Path, opened: Callable[[str, str], IO[bytes]]) -> None:
    with path.open("rb") as stream, opened(f"{path}.packed", "wb") as packed:
        shutil.copyfileobj(stream, packed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["gzip", "bz2", "lzma", "zstandard", "lz4.frame"])
def test_what_torch_saves_is_told_by_what_is_inside_when_it_is_packed(tmp_path: Path, library: str) -> None:
    opened: Any = importlib.import_module(library).open
    saved_by_torch(tmp_path)
    expected = {path.name: tell_type(path) for path in tmp_path.iterdir()}
    for path in list(tmp_path.iterdir()):
        pack(path, opened)
    told = {path.stem: tell_type(path) for path in tmp_path.glob("*.packed")}
    assert told == expected
    assert set(told.values()) == {T.MODEL, T.WEIGHTS, T.CHECKPOINT}


def test_what_numpy_writes_packed_is_a_dataset(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "table.csv.gz", np.eye(3))
    np.savez(tmp_path / "arrays.npz", a=np.random.default_rng(0).random(100_000))
    with gzip.open(tmp_path / "arrays.npz.gz", "wb") as packed:
        packed.write((tmp_path / "arrays.npz").read_bytes())
    with gzip.open(tmp_path / "array.npy.gz", "wb") as packed:
        np.save(packed, np.arange(90_000))
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("table.csv.gz", "arrays.npz", "arrays.npz.gz", "array.npy.gz"), T.DATASET
    )
