"""Names, and metadata: plain values of limited size."""

from __future__ import annotations

import argparse
import enum
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_nets import data, net, trainer

from tracelet_lightning import metadata, names
from tracelet_lightning.plain import plain


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("LitDigits", "lit-digits"),
        ("MNISTModel", "mnist-model"),
        ("Net2D", "net2-d"),
        ("x", "x"),
        ("Größe", "grose"),
        ("Ö", "o"),
        ("Модель", "model-b68fadf0"),
    ],
)
def test_an_artifact_is_named_after_the_class_of_its_module(name: str, stem: str) -> None:
    assert names.artifact_name(type(name, (), {})(), "checkpoint") == f"{stem}-checkpoint"


def test_a_long_name_is_cut_and_stays_apart_from_others_that_begin_so() -> None:
    one, other = (names.artifact_name(type("A" + "b" * 300 + end, (), {})(), "checkpoint") for end in "xy")
    assert len(one) == len(other) == 128
    assert one != other


def test_a_file_keeps_its_name_where_it_can() -> None:
    assert names.file_name("epoch=0-val loss=0.5.ckpt") == "epoch=0-val loss=0.5.ckpt"
    assert names.file_name("a:b.ckpt") == "checkpoint-a-b.ckpt"
    assert names.file_name("a:x/b:1.ckpt") == "checkpoint-a-x/b-1.ckpt"
    assert names.file_name("tracelet.json") == "checkpoint-tracelet.json"


class Colour(enum.Enum):
    RED = "red"
    ODD = (1, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(1.5), 1.5),
        (torch.tensor([2]), 2),
        (torch.ones(3, 2), "<Tensor of shape (3, 2)>"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.arange(3), "<ndarray of shape (3,)>"),
        (Path("/data"), "/data"),
        (Colour.RED, "red"),
        (Colour.ODD, "ODD"),
        (argparse.Namespace(a=1, b=(2, None)), {"a": 1, "b": [2, None]}),
        ({1: {"x"}}, {"1": ["x"]}),
        (torch.nn.ReLU(), "<ReLU>"),
        (torch.float16, "<dtype>"),
        (len, "<builtin_function_or_method>"),
        (b"bytes", "<bytes>"),
        ("x" * 5000, "x" * 1000),
        ("\ud800", "?"),
    ],
)
def test_values_become_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value))


def test_large_values_and_values_that_hold_themselves_are_cut() -> None:
    assert len(plain(list(range(10_000)))) < 1001
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert json.dumps(plain(loop)).count("again") == 6
    assert isinstance(plain(10**5000), float)


def test_text_has_no_character_that_a_tracker_does_not_store() -> None:
    assert plain({"a\0b": ["c\0", "\ud800"]}) == {"a?b": ["c?", "?"]}


def test_every_artifact_has_the_state_of_the_training_in_its_metadata(
    package: str, tmp_path: Path, watching: Any
) -> None:
    pl = importlib.import_module(package)

    class Data(pl.LightningDataModule):
        def __init__(self, batch: int) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return data()

        val_dataloader = train_dataloader

    seen = watching()
    trainer(package, tmp_path, precision="bf16-mixed").fit(net(package)(hidden=2, lr=0.25), datamodule=Data(batch=8))
    assert {one.kind for one in seen.all} == {"checkpoint", "sample", "model"}
    for one in seen.all:
        said = one.said
        assert json.loads(json.dumps(said)) == said
        assert said["hyperparameters"] == {"hidden": 2, "lr": 0.25}
        assert said["datamodule_hyperparameters"] == {"batch": 8}
        assert said["learning_rates"] == [0.25]
        assert said["precision"] == "bf16-mixed"
        assert said["strategy"] == "SingleDeviceStrategy"
        assert said["world_size"] == 1
        assert said["framework"].startswith(package.partition(".")[0] + " 2.")
        assert set(said["metrics"]) == {"train_loss", "val_loss", "val/gap"}
    assert [(one.said["epoch"], one.said["global_step"]) for one in seen.of("checkpoint")] == [(0, 3), (1, 6)]
    assert seen.of("checkpoint")[0].said["saved_by"] == "ModelCheckpoint"


def test_reading_hyperparameters_makes_none(package: str) -> None:
    bare = importlib.import_module(package).LightningModule()
    assert metadata._hyperparameters(bare) == {}
    assert "_hparams" not in vars(bare)
