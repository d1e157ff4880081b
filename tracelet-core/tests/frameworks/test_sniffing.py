"""What the frameworks themselves write gets its type; the samples know nothing of the rules."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.sniffing import looking, tell_type

os.environ["KERAS_BACKEND"] = "torch"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def trained() -> tuple[Net, torch.optim.Optimizer]:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    net(torch.rand(5, 4)).sum().backward()
    optimizer.step()
    return net, optimizer


def saved_by_torch() -> dict[str, tuple[Any, T]]:
    net, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    state, training = net.state_dict(), optimizer.state_dict()
    return {
        "a module": (net, T.MODEL),
        "a module in a dict": ({"model": net, "classes": ["a", "b"]}, T.MODEL),
        "a state dict": (state, T.WEIGHTS),
        "a state dict without its metadata": (dict(state), T.WEIGHTS),
        "a module's parameters": (OrderedDict(net.named_parameters()), T.WEIGHTS),
        "two state dicts": ({"generator": state, "discriminator": state}, T.WEIGHTS),
        "a state dict under its name": ({"state_dict": state}, T.WEIGHTS),
        "a tensor": (torch.rand(3, 3), T.WEIGHTS),
        "tensors of many kinds": (
            {
                "half": torch.zeros(2).half(),
                "sparse": torch.eye(3).to_sparse(),
                "meta": torch.empty(2, device="meta"),
                "view": torch.arange(9)[::2],
            },
            T.WEIGHTS,
        ),
        "a list of tensors": ([torch.rand(2), torch.rand(3)], T.WEIGHTS),
        "a training state": ({"model": state, "optimizer": training, "epoch": 3}, T.CHECKPOINT),
        "a training state by longer names": (
            {"model_state_dict": state, "optimizer_state_dict": training, "loss": 0.3},
            T.CHECKPOINT,
        ),
        "an optimizer": (optimizer, T.CHECKPOINT),
        "an optimizer in a dict": ({"best": optimizer}, T.CHECKPOINT),
        "an epoch and two models": ({"epoch": 3, "models": {"generator": state, "critic": state}}, T.CHECKPOINT),
        "a step and weights in a list": ({"step": 3, "weights": [torch.rand(2)]}, T.CHECKPOINT),
        "a step and results": ({"step": 3, "results": [torch.rand(2)], "loss": torch.rand(2)}, T.CUSTOM),
        "a history": ({"epoch": [1, 2], "loss": [0.5, 0.4]}, T.CUSTOM),
        "an epoch and a module": ({"epoch": 3, "model": net}, T.CHECKPOINT),
        "an optimizer's state": (training, T.CHECKPOINT),
        "a state dict beside its settings": ({"state_dict": state, "hidden": 16}, T.CHECKPOINT),
        "a scheduler and an epoch": ({"scheduler": scheduler.state_dict(), "epoch": 1}, T.CHECKPOINT),
        "a step that is a weight": ({"step": torch.zeros(1), "weight": torch.rand(2)}, T.WEIGHTS),
        "inputs with the names of classes": ({"x": torch.rand(2), "names": ["a"]}, T.CUSTOM),
        "an empty dict": ({}, T.CUSTOM),
        "a number": (3, T.CUSTOM),
        "a string": ("epoch", T.CUSTOM),
        "numbers": ({"accuracy": 0.9}, T.CUSTOM),
    }


def tensors(count: int) -> dict[str, torch.Tensor]:
    return {f"blocks.{number}.attention.weight": torch.ones(1, 1) for number in range(count)}


def large_files_of_torch() -> dict[str, tuple[Any, T]]:
    """More tensors than can be looked at one by one."""
    many, more = tensors(10_000), tensors(20_000)
    optimizer = torch.optim.Adam([torch.ones(3, requires_grad=True)]).state_dict()
    with_metadata = OrderedDict(many)
    with_metadata._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    sparse = {f"{number}": torch.ones(1).to_sparse() for number in range(1500)}
    return {
        "an optimizer after a model": ({"model": many, "optimizer": optimizer, "epoch": 3}, T.CHECKPOINT),
        "an optimizer before a model": ({"optimizer": optimizer, "model": many}, T.CHECKPOINT),
        "an optimizer after a model and its average": (
            {"model": many, "ema": {name: value.clone() for name, value in many.items()}, "optimizer": optimizer},
            T.CHECKPOINT,
        ),
        "an optimizer under another name": ({"model": more, "adam": optimizer}, T.CHECKPOINT),
        "an optimizer after what is not passed over": ({"model": sparse, "optimizer": optimizer}, T.CHECKPOINT),
        "an epoch after what is not passed over": ({"model": sparse, "epoch": 3}, T.CHECKPOINT),
        "an unknown thing after what is not passed over": ({"model": sparse, "hidden": 16}, T.CUSTOM),
        "an epoch alone after a model": ({"model": more, "epoch": 3}, T.CHECKPOINT),
        "settings after a model": ({"model": with_metadata, "hidden": 16}, T.CHECKPOINT),
        "parameters, and an optimizer": (
            {"w": {name: torch.nn.Parameter(value) for name, value in tensors(1500).items()}, "adam": optimizer},
            T.CHECKPOINT,
        ),
        "a state dict": (more, T.WEIGHTS),
        "a state dict with its metadata": (with_metadata, T.WEIGHTS),
        "a state dict under its name": ({"model": more}, T.WEIGHTS),
        "a list": (list(many.values()), T.WEIGHTS),
        "what is not passed over": (sparse, T.WEIGHTS),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_large_file_of_torch_is_told_also_by_what_comes_last(tmp_path: Path, zipped: bool) -> None:
    large = large_files_of_torch()
    told = {}
    for name, (value, _) in large.items():
        torch.save(value, tmp_path / "file", _use_new_zipfile_serialization=zipped)
        told[name] = tell_type(tmp_path / "file")
    assert told == {name: expected for name, (_, expected) in large.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", list(saved_by_torch()))
@pytest.mark.filterwarnings("ignore")
def test_what_torch_saves_is_told_by_what_is_inside(tmp_path: Path, name: str, zipped: bool) -> None:
    value, expected = saved_by_torch()[name]
    path = tmp_path / "file.bin"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    assert tell_type(path) is expected


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int, zipped: bool) -> None:
    net, optimizer = trained()
    for value, expected in (
        (net, T.MODEL),
        (net.state_dict(), T.WEIGHTS),
        ({"epoch": 1, "net": net.state_dict(), "optimizer": optimizer.state_dict()}, T.CHECKPOINT),
    ):
        path = tmp_path / "file.pt"
        torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        assert tell_type(path) is expected


def test_a_checkpoint_of_thousands_of_tensors_is_told_by_the_start_of_its_pickle(tmp_path: Path) -> None:
    many = {f"a.rather.long.name.of.layer.{number}.weight": torch.zeros(1) for number in range(12_000)}
    path = tmp_path / "many.pt"
    torch.save(many, path)
    assert tell_type(path) is T.WEIGHTS
    torch.save({"epoch": 1, "model": many}, path)
    assert tell_type(path) is T.CHECKPOINT


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("parameters", [False, True])
def test_where_the_look_at_a_large_pickle_breaks_off_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: bool, protocol: int
) -> None:
    """Not in the middle of a tensor, nor before what makes it, nor between a name and its tensor."""
    tensors = [torch.nn.Parameter(torch.zeros(1)) if parameters else torch.zeros(1) for _ in range(60)]
    state = {f"layer.{number}.weight": tensor for number, tensor in enumerate(tensors)}
    large = torch.zeros(5000)
    for value, expected in (
        (tensors, T.WEIGHTS),
        (tuple(tensors), T.WEIGHTS),
        (state, T.WEIGHTS),
        ({"generator": state, "discriminator": {"w": large}}, T.WEIGHTS),
        (large, T.WEIGHTS),
        ({"epoch": 1, "model": state}, T.CHECKPOINT),
    ):
        content = pickle.dumps(value, protocol)
        assert len(content) > 16_384
        path = tmp_path / "file.pkl"
        path.write_bytes(content)
        told = set()
        for end in range(8_000, 16_000, 41):
            monkeypatch.setattr(looking, "_PLAIN", end)
            told.add(tell_type(path))
        assert told == {expected}


def test_looking_at_what_torch_saved_runs_nothing_of_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    for zipped in (True, False):
        torch.save(
            {"epoch": 1, "weight": {"a": torch.zeros(1)}, "trap": Trap()},
            tmp_path / "trap.pt",
            _use_new_zipfile_serialization=zipped,
        )
        assert tell_type(tmp_path / "trap.pt") is T.CHECKPOINT
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap()))
    assert tell_type(tmp_path / "trap.pkl") is T.CUSTOM
    assert not (tmp_path / "sprung").exists()


@pytest.mark.filterwarnings("ignore")
def test_torchs_other_formats_are_models(tmp_path: Path) -> None:
    net = Net().eval()
    torch.jit.save(torch.jit.script(net), tmp_path / "scripted")
    torch.jit.save(torch.jit.trace(net, torch.rand(2, 4)), tmp_path / "traced")
    torch.export.save(torch.export.export(net, (torch.rand(2, 4),)), tmp_path / "exported.pt2")
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("scripted", "traced", "exported.pt2"), T.MODEL
    )


def test_a_distributed_checkpoint_of_torch_is_a_checkpoint(tmp_path: Path) -> None:
    from torch.distributed import checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        checkpoint.save({"model": Net().state_dict()}, checkpoint_id=tmp_path / "shards")
    assert tell_type(tmp_path / "shards") is T.CHECKPOINT


def test_safetensors_are_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.rand(3)}, tmp_path / "plain")
    save_file({"a": torch.rand(3)}, tmp_path / "with metadata", metadata={"format": "pt"})
    save_file({}, tmp_path / "empty")
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.WEIGHTS}


def save_keras(model: Any, folder: Path) -> dict[str, T]:
    model.save(folder / "model.keras")
    model.save(folder / "legacy.h5")
    model.save_weights(folder / "only.weights.h5")
    (folder / "only.weights.h5").rename(folder / "renamed.h5")
    return {"model.keras": T.MODEL, "legacy.h5": T.MODEL, "renamed.h5": T.WEIGHTS}


def save_sklearn(model: Any, folder: Path) -> dict[str, T]:
    import joblib
    import skops.io

    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, folder / "model.joblib")
    skops.io.dump(model, folder / "model.skops")
    return dict.fromkeys(("model.pkl", "model.joblib", "model.skops"), T.MODEL)


def save_xgboost(model: Any, folder: Path) -> dict[str, T]:
    model.save_model(folder / "model.json")
    model.save_model(folder / "model.ubj")
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return dict.fromkeys(("model.json", "model.ubj", "model.pkl"), T.MODEL)


def save_lightgbm(model: Any, folder: Path) -> dict[str, T]:
    model.booster_.save_model(folder / "model.txt")
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return dict.fromkeys(("model.txt", "model.pkl"), T.MODEL)


def a_keras_model() -> Any:
    import keras

    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])


def an_sklearn_model() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5).fit(np.random.rand(20, 3), np.arange(20) % 2)


def an_xgboost_model() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=2).fit(np.random.rand(20, 3), np.arange(20) % 2)


def a_lightgbm_model() -> Any:
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(np.random.rand(40, 3), np.arange(40) % 2)


@pytest.mark.parametrize(
    ("make", "save"),
    [
        (a_keras_model, save_keras),
        (an_sklearn_model, save_sklearn),
        (an_xgboost_model, save_xgboost),
        (a_lightgbm_model, save_lightgbm),
    ],
    ids=["keras", "sklearn", "xgboost", "lightgbm"],
)
@pytest.mark.filterwarnings("ignore")
def test_the_models_of_other_frameworks_are_told(
    tmp_path: Path, make: Callable[[], Any], save: Callable[[Any, Path], dict[str, T]]
) -> None:
    expected = save(make(), tmp_path)
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == expected


def test_onnx_is_a_model(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    weight = numpy_helper.from_array(np.random.rand(50_000).astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value], [weight])
    onnx.save(helper.make_model(graph, producer_name="somebody"), tmp_path / "large")
    small = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    onnx.save(helper.make_model(small), tmp_path / "small")
    assert [tell_type(tmp_path / name) for name in ("large", "small")] == [T.MODEL] * 2


def test_gguf_is_a_model(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "file", "llama")
    writer.add_tensor("t", np.zeros(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert tell_type(tmp_path / "file") is T.MODEL


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_events_are_a_report(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 1.0, 1)
    (events,) = tmp_path.iterdir()
    assert tell_type(events) is T.REPORT


def test_columns_are_a_dataset(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import feather, orc, parquet

    table = pyarrow.table({"a": [1, 2], "b": ["x", "y"]})
    parquet.write_table(table, tmp_path / "parquet")
    feather.write_feather(table, str(tmp_path / "feather"))
    orc.write_table(table, str(tmp_path / "orc"))
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.DATASET}


def test_tables_and_arrays_in_pickles_are_datasets(tmp_path: Path) -> None:
    import pandas

    pandas.DataFrame({"a": [1, 2]}).to_pickle(tmp_path / "frame")
    (tmp_path / "array").write_bytes(pickle.dumps(np.arange(9)))
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.DATASET}


def test_hdf5_that_is_no_model_is_a_dataset(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = np.arange(10)
    assert tell_type(tmp_path / "data.h5") is T.DATASET


@pytest.mark.filterwarnings("ignore")
def test_plots_are_visualizations_and_pictures_are_images(tmp_path: Path) -> None:
    import matplotlib
    from matplotlib import pyplot
    from PIL import Image

    matplotlib.use("Agg")
    figure = pyplot.figure()
    figure.add_subplot().plot([1, 2])
    for suffix in ("png", "svg", "pdf", "jpg", "webp"):
        figure.savefig(tmp_path / f"figure.{suffix}")
    figure.savefig(tmp_path / "loss_curve.jpg")
    pyplot.close(figure)
    picture = Image.fromarray(np.random.randint(0, 255, (8, 8, 3), np.uint8))
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
    for kind in kinds:
        picture.save(tmp_path / f"photo {kind}", kind)
    told = {path.name: tell_type(path) for path in tmp_path.iterdir()}
    assert told == {
        "figure.png": T.VISUALIZATION,
        "figure.svg": T.VISUALIZATION,
        "figure.pdf": T.REPORT,
        "figure.jpg": T.IMAGE,
        "figure.webp": T.IMAGE,
        "loss_curve.jpg": T.VISUALIZATION,
        **dict.fromkeys([f"photo {kind}" for kind in kinds], T.IMAGE),
    }


def test_notebooks_are_reports(tmp_path: Path) -> None:
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(book, tmp_path / "book.ipynb")
    nbformat.write(book, tmp_path / "renamed")
    assert [tell_type(tmp_path / name) for name in ("book.ipynb", "renamed")] == [T.REPORT] * 2


def test_sound_is_audio(tmp_path: Path) -> None:
    import soundfile

    for kind in ("WAV", "FLAC", "OGG", "AIFF", "MP3", "AU"):
        soundfile.write(tmp_path / f"sound.{kind.lower()}", np.zeros(2000), 8000, format=kind)
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == {
        path.name: T.AUDIO for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.filterwarnings("ignore")
def test_a_pickle_of_a_model_with_other_things_is_a_model_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    model = an_sklearn_model()
    for name, value in {
        "alone": model,
        "dict": {"features": ["a"], "model": model, "version": 3},
        "list": [model, model],
        "tuple": (model, ["a"]),
    }.items():
        if protocol > 1 or name != "tuple":
            (tmp_path / name).write_bytes(pickle.dumps(value, protocol))
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.MODEL}


@pytest.mark.filterwarnings("ignore")
def test_a_joblib_of_a_model_with_other_things_is_a_model(tmp_path: Path) -> None:
    import joblib

    model = an_sklearn_model()
    joblib.dump({"model": model, "features": ["a"]}, tmp_path / "dict")
    joblib.dump([model, model], tmp_path / "list")
    assert {tell_type(path) for path in tmp_path.iterdir()} == {T.MODEL}


def test_a_pickle_of_a_dict_of_arrays_is_a_dataset_if_all_of_it_is_seen(tmp_path: Path) -> None:
    large = np.zeros(1_000_000)
    written = {
        "arrays": ({"X": np.ones((5, 5)), "y": np.ones(5)}, T.DATASET),
        "arrays and a text": ({"X": np.ones((5, 5)), "note": "a"}, T.CUSTOM),
        "a large array, and a model": ({"X": large, "model": an_sklearn_model()}, T.CUSTOM),
        "an array, and a model": ({"X": np.ones(5), "model": an_sklearn_model()}, T.MODEL),
    }
    for name, (value, _) in written.items():
        (tmp_path / name).write_bytes(pickle.dumps(value))
    assert {path.name: tell_type(path) for path in tmp_path.iterdir()} == {
        name: expected for name, (_, expected) in written.items()
    }
