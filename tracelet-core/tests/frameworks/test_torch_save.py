"""What goes through torch.save and its relatives is emitted once, as it was, and the program notices nothing."""

from __future__ import annotations

import gzip
import inspect
import io
import itertools
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from pacing import pace
from torch import save as early_save

from tracelet.builtin.torch_save import TorchSettings
from tracelet.builtin.torch_save.reading import read
from tracelet.core.plugins.registry import registry
from tracelet.plugin import ArtifactType, Detection, Detector, DetectorContext, saving
from tracelet.testing import DetectorContract

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*torch.jit.*deprecated:DeprecationWarning",
        "ignore:torch.distributed is disabled:UserWarning",
    ),
]

WATCHED = {
    "torch.save": lambda: torch.save,
    "torch.jit.save": lambda: torch.jit.save,
    "ScriptModule.save": lambda: torch.jit._script.RecursiveScriptModule.save,
    "torch.export.save": lambda: torch.export.save,
    "safetensors.torch.save_file": lambda: safetensors.torch.save_file,
    "torch.distributed.checkpoint.save": lambda: dcp.save,
}


@attrs.frozen
class Caught:
    detection: Detection
    content: bytes


class Catch(list[Caught]):
    """What was emitted, with the bytes that were there at that moment."""

    def emit(self, detection: Detection) -> None:
        path = detection.path
        self.append(Caught(detection, path.read_bytes() if path.is_file() else b""))

    @property
    def names(self) -> list[str]:
        return [caught.detection.path.name for caught in self]

    @property
    def only(self) -> Detection:
        assert len(self) == 1, self.names
        return self[0].detection


class Refusing(list[Caught]):
    def emit(self, detection: Detection) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Detector]]:
    spec = registry().detectors.get("torch")
    made: list[Detector] = []

    def one(**settings: bool) -> Detector:
        folder = tmp_path / f"tracelet-{len(made)}"
        context = DetectorContext(experiment="test", directory=folder, workspace=folder / "made")
        made.append(spec.create(TorchSettings(**settings), context))
        return made[-1]

    yield one
    for detector in made:
        detector.stop()


@pytest.fixture
def catch(make: Callable[..., Detector]) -> Catch:
    """A detector that is running, and what it emits."""
    caught = Catch()
    make().start(caught.emit)
    return caught


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    return caplog


def linear() -> torch.nn.Module:
    return torch.nn.Linear(2, 2)


def equal(stored: Any, given: dict[str, torch.Tensor]) -> bool:
    return list(stored) == list(given) and all(torch.equal(stored[key], given[key]) for key in given)


class TestTheContract(DetectorContract):
    @pytest.fixture
    def detector(self) -> str:
        return "torch"

    @pytest.fixture
    def provoke(self, tmp_path: Path) -> Callable[[], Path]:
        numbers = itertools.count()

        def save() -> Path:
            path = tmp_path / f"model-{next(numbers)}.pth"
            torch.save({"weight": torch.ones(2)}, path)
            return path

        return save


class TestWhereASaveGoes:
    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_path_is_emitted_when_the_save_returns(
        self, catch: Catch, home: Path, kind: Callable[[str], Any]
    ) -> None:
        state = linear().state_dict()
        torch.save(state, kind("model.pth"))
        assert catch.only.path == home / "model.pth"
        assert catch.only.snapshot == "copy"
        assert equal(torch.load(io.BytesIO(catch[0].content)), state)

    def test_arguments_may_be_named(self, catch: Catch, home: Path) -> None:
        torch.save(f="model.pth", obj=linear())
        assert catch.only.type is ArtifactType.MODEL
        assert catch.only.path == home / "model.pth"

    def test_a_function_that_was_imported_long_ago_is_seen(self, catch: Catch, tmp_path: Path) -> None:
        early_save(linear(), tmp_path / "model.pth")
        assert catch.names == ["model.pth"]

    @pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
    def test_an_open_file_is_written_out_before_it_is_emitted(
        self, catch: Catch, tmp_path: Path, new_format: bool
    ) -> None:
        state = linear().state_dict()
        with (tmp_path / "model.pth").open("wb", buffering=1 << 20) as stream:
            torch.save(state, stream, _use_new_zipfile_serialization=new_format)
            assert equal(torch.load(io.BytesIO(catch[0].content)), state)
        assert catch.only.path == tmp_path / "model.pth"

    def test_the_legacy_format_is_seen(self, catch: Catch, tmp_path: Path) -> None:
        state = linear().state_dict()
        torch.save(state, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
        assert equal(torch.load(io.BytesIO(catch[0].content)), state)

    def test_a_named_temporary_file_is_an_open_file(self, catch: Catch) -> None:
        with tempfile.NamedTemporaryFile(suffix=".pth") as stream:
            torch.save(linear(), stream)
            assert catch.only.path == Path(stream.name)

    def test_a_buffer_with_a_name_is_kept_as_a_file_of_its_own(self, catch: Catch, tmp_path: Path) -> None:
        class Named(io.BytesIO):
            name = "runs/model.pth"

        state = linear().state_dict()
        torch.save(state, Named())
        assert catch.only.snapshot == "take"
        assert catch.only.path.name == "model.pth"
        assert catch.only.path.is_relative_to(tmp_path / "tracelet-0" / "made")
        assert equal(torch.load(catch.only.path), state)

    def test_a_buffer_without_a_name_is_not_captured_and_the_log_says_why(
        self, catch: Catch, reasons: pytest.LogCaptureFixture
    ) -> None:
        torch.save(linear(), io.BytesIO())
        assert not catch
        assert "BytesIO is not captured: it has no name" in reasons.text

    def test_what_is_complete_only_when_closed_is_not_captured(
        self, catch: Catch, tmp_path: Path, reasons: pytest.LogCaptureFixture
    ) -> None:
        with gzip.open(tmp_path / "model.pth.gz", "wb") as stream:
            torch.save(linear(), stream)
        assert not catch
        assert "complete only when it is closed" in reasons.text

    def test_an_open_file_that_has_another_name_by_now_is_not_taken_for_the_file_of_its_old_name(
        self, catch: Catch, tmp_path: Path, reasons: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "model.pth"
        with path.open("wb") as stream:
            path.rename(tmp_path / "renamed.pth")
            path.write_bytes(b"other")
            torch.save(linear(), stream)
        assert not catch
        assert "is another one" in reasons.text

    def test_an_open_file_that_has_no_name_any_more_is_not_captured(
        self, catch: Catch, tmp_path: Path, reasons: pytest.LogCaptureFixture
    ) -> None:
        with (tmp_path / "model.pth").open("wb") as stream:
            (tmp_path / "model.pth").unlink()
            torch.save(linear(), stream)
        assert not catch
        assert "model.pth is not captured: it is not there" in reasons.text

    def test_a_device_is_not_captured(self, catch: Catch, reasons: pytest.LogCaptureFixture) -> None:
        with Path(os.devnull).open("wb") as stream:
            torch.save(linear(), stream, _use_new_zipfile_serialization=False)
        torch.save(linear(), os.devnull, _use_new_zipfile_serialization=False)
        assert not catch
        assert "a device or a pipe" in reasons.text

    def test_a_file_of_a_filesystem_library_is_an_open_file(self, catch: Catch, tmp_path: Path) -> None:
        with fsspec.open(str(tmp_path / "model.pth"), "wb") as stream:
            torch.save(linear(), stream)
        assert catch.only.path == tmp_path / "model.pth"

    def test_the_temporary_file_of_a_transaction_is_not_captured(
        self, catch: Catch, tmp_path: Path, reasons: pytest.LogCaptureFixture
    ) -> None:
        filesystem = fsspec.filesystem("file")
        with filesystem.transaction, filesystem.open(str(tmp_path / "model.ckpt"), "wb") as stream:
            torch.save(linear(), stream)
        assert (tmp_path / "model.ckpt").is_file()
        assert not catch
        assert "in place only when its transaction ends" in reasons.text

    def test_a_file_that_may_be_renamed_is_called_as_it_is_now_and_a_buffer_never_is(
        self, catch: Catch, tmp_path: Path
    ) -> None:
        class Named(io.BytesIO):
            name = "buffer.pth.tmp"

        torch.save(linear(), tmp_path / "model.pth.tmp")
        torch.save(linear(), Named())
        file, buffer = (caught.detection for caught in catch)
        assert (file.artifact_path, file.place) == (None, tmp_path / "model.pth.tmp")
        assert (buffer.artifact_path, buffer.place) == ("buffer.pth", None)

    def test_what_there_is_no_room_for_is_not_written_aside(self, tmp_path: Path) -> None:
        class Named(io.BytesIO):
            name = "model.pth"

        asked: list[int] = []
        spec = registry().detectors.get("torch")
        folder = tmp_path / "tracelet"
        context = DetectorContext(
            experiment="test",
            directory=folder,
            workspace=folder / "made",
            room=lambda size: bool(asked.append(size)),
        )
        detector = spec.create(TorchSettings(), context)
        caught, buffer = Catch(), Named()
        detector.start(caught.emit)
        try:
            torch.save(linear(), buffer)
        finally:
            detector.stop()
        assert asked == [len(buffer.getvalue())]
        assert not caught
        assert not folder.exists()

    def test_a_directory_of_no_name_is_left_to_torch(self, catch: Catch, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="does not exist"):
            torch.save(linear(), tmp_path / "missing" / "model.pth")
        assert not catch

    def test_a_path_saved_fifty_times_in_a_row_is_fifty_contents(self, catch: Catch, tmp_path: Path) -> None:
        for number in range(50):
            torch.save({"weight": torch.full((3,), float(number))}, tmp_path / "model.pth")
        stored = [torch.load(io.BytesIO(caught.content))["weight"][0].item() for caught in catch]
        assert stored == list(range(50))


class Nested:
    """Saves a file of its own while it is being saved."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        torch.save(torch.ones(1), self.path)
        return (str, ())


class Unsavable:
    def __reduce__(self) -> Any:
        raise ValueError("this cannot be saved")


class TestWhoIsSaving:
    def test_of_nested_saves_the_outermost_is_emitted(self, catch: Catch, tmp_path: Path) -> None:
        torch.save({"inner": Nested(tmp_path / "inner.pth")}, tmp_path / "outer.pth")
        assert catch.names == ["outer.pth"]
        assert (tmp_path / "inner.pth").is_file()

    def test_what_somebody_else_claims_is_theirs(
        self, catch: Catch, tmp_path: Path, reasons: pytest.LogCaptureFixture
    ) -> None:
        with saving(tmp_path / "last.ckpt") as outermost:
            torch.save(linear(), tmp_path / "last.ckpt")
        assert outermost
        assert not catch
        assert "a part of another save" in reasons.text

    def test_threads_save_at_once(self, catch: Catch, tmp_path: Path) -> None:
        def work(thread: int) -> None:
            for number in range(5):
                torch.save({"weight": torch.full((2,), 10.0 * thread + number)}, tmp_path / f"{thread}-{number}.pth")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(catch.names) == sorted(f"{thread}-{number}.pth" for thread in range(8) for number in range(5))
        for caught in catch:
            thread, number = map(int, caught.detection.path.stem.split("-"))
            assert torch.load(io.BytesIO(caught.content))["weight"][0] == 10 * thread + number

    def test_a_save_that_fails_raises_its_own_error_and_is_not_emitted(self, catch: Catch, tmp_path: Path) -> None:
        error = ValueError("this one")

        class Failing:
            def __reduce__(self) -> Any:
                raise error

        with pytest.raises(ValueError, match="this one") as raised:
            torch.save(Failing(), tmp_path / "model.pth")
        assert raised.value is error
        assert error.__context__ is None
        with pytest.raises(TypeError, match="missing"):
            torch.save(linear())
        with pytest.raises(AttributeError, match="write"):
            torch.save(linear(), object())
        assert not catch

    def test_a_save_after_one_that_failed_is_emitted(self, catch: Catch, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot be saved"):
            torch.save(Unsavable(), tmp_path / "model.pth")
        torch.save(linear(), tmp_path / "model.pth")
        assert catch.names == ["model.pth"]

    def test_trouble_of_capture_is_one_warning_and_no_trouble_of_the_user(
        self, make: Callable[..., Detector], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        make().start(Refusing().emit)
        caught = Catch()
        make().start(caught.emit)
        torch.save(linear(), tmp_path / "model.pth")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "model.pth is not captured: OSError: the disk is full" in caplog.text
        assert caught.names == ["model.pth"]

    def test_what_cannot_be_looked_at_is_one_warning(
        self, catch: Catch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Shy(dict[str, Any]):
            def values(self) -> Any:
                raise RuntimeError("do not look")

            def __reduce__(self) -> Any:
                return (dict, ())

        torch.save(Shy(a=1), tmp_path / "shy.pth")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert not catch


class TestTheRelatives:
    def test_scripted_modules(self, catch: Catch, tmp_path: Path) -> None:
        module = torch.jit.script(linear())
        torch.jit.save(module, tmp_path / "saved.pt")
        module.save(str(tmp_path / "own.pt"))
        torch.jit.trace(linear(), torch.zeros(1, 2)).save(tmp_path / "traced.pt")
        with (tmp_path / "open.pt").open("wb") as stream:
            torch.jit.save(module, stream)
        assert catch.names == ["saved.pt", "own.pt", "traced.pt", "open.pt"]
        assert {caught.detection.type for caught in catch} == {ArtifactType.MODEL}
        for caught in catch:
            assert torch.jit.load(io.BytesIO(caught.content))(torch.zeros(1, 2)).shape == (1, 2)

    def test_exported_programs(self, catch: Catch, tmp_path: Path) -> None:
        program = torch.export.export(linear(), (torch.zeros(1, 2),))
        torch.export.save(program, tmp_path / "program.pt2")
        assert catch.only.type is ArtifactType.MODEL
        assert catch.names == ["program.pt2"]
        loaded = torch.export.load(io.BytesIO(catch[0].content))
        assert loaded.module()(torch.zeros(1, 2)).shape == (1, 2)

    def test_safetensors(self, catch: Catch, tmp_path: Path) -> None:
        model = linear()
        safetensors.torch.save_file(model.state_dict(), tmp_path / "tensors.safetensors")
        safetensors.torch.save_model(model, filename=str(tmp_path / "model.safetensors"))
        assert catch.names == ["tensors.safetensors", "model.safetensors"]
        for caught in catch:
            assert caught.detection.type is ArtifactType.WEIGHTS
            assert torch.equal(safetensors.torch.load(caught.content)["weight"], model.weight)

    def test_sharded_checkpoints_are_a_folder(self, catch: Catch, tmp_path: Path) -> None:
        model = linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 4}
        dcp.save(state, checkpoint_id=tmp_path / "by-id")
        dcp.save(state, storage_writer=dcp.FileSystemWriter(tmp_path / "by-writer", thread_count=2))
        dcp.async_save(state, checkpoint_id=str(tmp_path / "async")).result()
        assert catch.names == ["by-id", "by-writer", "async"]
        for caught in catch:
            assert caught.detection.type is ArtifactType.CHECKPOINT
            assert caught.detection.metadata["epoch"] == 4
            assert caught.detection.metadata["learning_rate"] == 0.25
            assert (caught.detection.path / ".metadata").is_file()

    def test_a_checkpoint_on_no_disk_of_this_machine_is_not_captured(
        self, catch: Catch, reasons: pytest.LogCaptureFixture
    ) -> None:
        dcp.save({"weight": torch.ones(2)}, checkpoint_id="memory://sharded")
        assert fsspec.filesystem("memory").exists("/sharded/.metadata")
        assert not catch
        assert "'memory://sharded' is not captured: it is no folder of this machine" in reasons.text

    def test_of_a_library_that_has_no_such_function_the_others_are_watched(
        self,
        make: Callable[..., Detector],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        reasons: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.delattr(safetensors.torch, "save_file")
        caught = Catch()
        make().start(caught.emit)
        assert "safetensors.torch.save_file is not watched: this version has no such function" in reasons.text
        torch.save(linear(), tmp_path / "model.pth")
        assert caught.names == ["model.pth"]

    @pytest.mark.parametrize(
        ("switch", "name"),
        [
            ("save", "torch.save"),
            ("jit", "torch.jit.save"),
            ("jit", "ScriptModule.save"),
            ("export", "torch.export.save"),
            ("safetensors", "safetensors.torch.save_file"),
            ("distributed", "torch.distributed.checkpoint.save"),
        ],
    )
    def test_each_has_a_switch(self, make: Callable[..., Detector], switch: str, name: str) -> None:
        before = {one: get().__code__ for one, get in WATCHED.items()}
        make(**{switch: False}).start(Catch().emit)
        assert WATCHED[name]().__code__ is before[name]
        kin = {"torch.jit.save", "ScriptModule.save"} if switch == "jit" else {name}
        assert all(WATCHED[one]().__code__ is not code for one, code in before.items() if one not in kin)


HUGGING = """
    import transformers
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=11,
        max_position_embeddings=16,
    )
    model = BertModel(config)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    tokenizer.save_pretrained("early")
    model.save_pretrained("early")
    model.save_pretrained("plain")
    tokenizer.save_pretrained("plain")
    Path("shared/checkpoint-500").mkdir(parents=True)
    Path("shared/checkpoint-500/optimizer.pt").write_bytes(b"large")
    Path("shared/notes.txt").write_text("not the model's")
    model.save_pretrained(save_directory="shared")
    tokenizer.save_pretrained("shared")

    from torch import nn
    from huggingface_hub import PyTorchModelHubMixin, save_torch_model

    class Mine(nn.Module, PyTorchModelHubMixin):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

    Mine().save_pretrained("hub")
    Path("shards").mkdir()
    save_torch_model(nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)), "shards", max_shard_size=400)
"""


def test_pretrained_models_are_folders_and_what_else_is_there_is_left_alone(tmp_path: Path) -> None:
    """A tokenizer makes the folder of its model complete; a folder with other checkpoints in it is not all model."""
    saved = program(tmp_path, HUGGING)
    weights, words = {"config.json", "model.safetensors"}, {"tokenizer.json", "tokenizer_config.json"}
    assert [(one["name"], one["type"]) for one in saved] == [
        ("early", "model"),
        ("plain", "model"),
        ("plain", "model"),
        ("shared", "model"),
        ("hub", "model"),
        ("shards", "weights"),
    ]
    early, plain, complete, shared, hub, shards = (set(one["files"]) for one in saved)
    assert early == complete == weights | words
    assert plain == shared == weights
    assert hub >= {"model.safetensors"}
    assert shards == {f"model-0000{number}-of-00002.safetensors" for number in (1, 2)} | {
        "model.safetensors.index.json"
    }
    assert [one["snapshot"] for one in saved] == ["copy", "copy", "copy", "take", "copy", "copy"]


def things() -> dict[str, tuple[Any, ArtifactType]]:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    state = model.state_dict()
    adam = torch.optim.Adam(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(adam, 10)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam)
    scaler = torch.amp.GradScaler("cpu")
    tensor = torch.ones(3)
    return {
        "a module": (model, ArtifactType.MODEL),
        "a module among other things": ({"net": model, "classes": ["a"]}, ArtifactType.MODEL),
        "a state dict": (state, ArtifactType.WEIGHTS),
        "a state dict as a plain dict": (dict(state), ArtifactType.WEIGHTS),
        "the state dict of a module without parameters": (torch.nn.ReLU().state_dict(), ArtifactType.WEIGHTS),
        "a tensor": (tensor, ArtifactType.WEIGHTS),
        "a parameter": (torch.nn.Parameter(tensor), ArtifactType.WEIGHTS),
        "a list of tensors": ([tensor, tensor], ArtifactType.WEIGHTS),
        "tensors in dicts": ({"generator": dict(state), "discriminator": {"w": tensor}}, ArtifactType.WEIGHTS),
        "a state dict with a config": ({"state_dict": dict(state), "arch": "mlp"}, ArtifactType.WEIGHTS),
        "a checkpoint": ({"model": state, "optimizer": adam.state_dict(), "epoch": 1}, ArtifactType.CHECKPOINT),
        "a checkpoint without an optimizer": ({"model": {"w": tensor}, "epoch": 1}, ArtifactType.CHECKPOINT),
        "a flat checkpoint": ({**state, "epoch": 1}, ArtifactType.CHECKPOINT),
        "a module and an epoch": ({"model": model, "epoch": 1}, ArtifactType.CHECKPOINT),
        "an optimizer's state": (adam.state_dict(), ArtifactType.CHECKPOINT),
        "an optimizer": (adam, ArtifactType.CHECKPOINT),
        "a scheduler's state": (schedule.state_dict(), ArtifactType.CHECKPOINT),
        "a plateau scheduler's state": (plateau.state_dict(), ArtifactType.CHECKPOINT),
        "a scheduler": (schedule, ArtifactType.CHECKPOINT),
        "a scaler's state": (
            {"scaler": scaler.state_dict() or {"growth_factor": 2.0, "backoff_factor": 0.5}},
            ArtifactType.CHECKPOINT,
        ),
        "states of optimizers in a list": ({"optimizer_states": [adam.state_dict()]}, ArtifactType.CHECKPOINT),
        "state dicts in a dict beside an epoch": (
            {"models": {"generator": state, "discriminator": {"w": tensor}}, "epoch": 1},
            ArtifactType.CHECKPOINT,
        ),
        "tensors in dicts beside an epoch": (
            {"batches": {"train": {"x": tensor}, "test": {"x": tensor}}, "epoch": 1},
            ArtifactType.CUSTOM,
        ),
        "a data set": (torch.utils.data.TensorDataset(tensor), ArtifactType.DATASET),
        "tensors with other things": ({"x": tensor, "y": tensor, "names": ["a", "b"]}, ArtifactType.CUSTOM),
        "predictions of an epoch": ({"epoch": 3, "predictions": tensor}, ArtifactType.CUSTOM),
        "a history": ({"epoch": 3, "loss": [0.5, 0.4]}, ArtifactType.CUSTOM),
        "an empty dict": ({}, ArtifactType.CUSTOM),
        "an empty list": ([], ArtifactType.CUSTOM),
        "text": ("text", ArtifactType.CUSTOM),
        "an array": (np.ones(3), ArtifactType.CUSTOM),
    }


class TestWhatIsSaved:
    @pytest.mark.parametrize("name", list(things()))
    def test_its_type_is_told_by_the_object(self, name: str, catch: Catch, tmp_path: Path) -> None:
        thing, expected = things()[name]
        torch.save(thing, tmp_path / "thing.pt")
        assert catch.only.type is expected

    def test_a_checkpoints_metadata_is_read_from_its_keys(self) -> None:
        model = linear()
        adam = torch.optim.Adam(model.parameters(), lr=0.5)
        state = {
            "epoch": 7,
            "global_step": np.int64(700),
            "iteration": 12,
            "loss": torch.tensor(0.25, requires_grad=True),
            "val_loss": np.float32(0.5),
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": adam.state_dict(),
        }
        kind, metadata = read(state)
        assert kind is ArtifactType.CHECKPOINT
        assert metadata == {
            "epoch": 7,
            "global_step": 700,
            "step": 12,
            "loss": 0.25,
            "val_loss": 0.5,
            "learning_rate": 0.5,
        }
        assert {type(value) for value in metadata.values()} == {int, float}

    def test_the_learning_rate_is_what_a_key_says_or_what_the_optimizers_have(self) -> None:
        weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
        several = torch.optim.SGD([{"params": [weights[0]], "lr": 0.1}, {"params": [weights[1]], "lr": 0.2}])
        single = torch.optim.SGD(weights, lr=torch.tensor(0.5))
        assert read({"optimizer": several.state_dict(), "lr": 0.3})[1] == {"learning_rate": 0.3}
        assert read({"optimizer": several.state_dict()})[1] == {"learning_rate": [0.1, 0.2]}
        assert read({"optimizers": [single.state_dict(), single.state_dict()]})[1] == {"learning_rate": 0.5}
        assert read(several)[1] == {"learning_rate": [0.1, 0.2]}
        # Adafactor finds its rate by itself.
        several.param_groups[0]["lr"] = None
        assert read(several)[1] == {"learning_rate": 0.2}

    @pytest.mark.parametrize(
        "value",
        [
            True,
            "3",
            None,
            [3],
            torch.ones(2),
            torch.tensor(3.0, device="meta"),
            torch.tensor(True),
            2j,
            np.complex64(2),
        ],
        ids=repr,
    )
    def test_what_is_no_number_on_this_side_of_a_device_is_left_out(self, value: Any) -> None:
        adam = torch.optim.Adam(linear().parameters(), lr=0.5)
        assert read({"epoch": value, "loss": value, "optimizer": adam.state_dict()})[1] == {"learning_rate": 0.5}

    def test_only_checkpoints_have_metadata(self) -> None:
        assert read({"epoch": 3, "loss": 0.5})[1] == {}
        assert read(linear().state_dict())[1] == {}


class TestTheTraining:
    @staticmethod
    def train(folder: Path) -> tuple[list[str], list[Any]]:
        folder.mkdir()
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)
        data = torch.randn(64, 8)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for epoch in range(5):
            for batch in data[torch.randperm(64)].split(16):
                loss = (model(batch) - batch.sum(1, keepdim=True)).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item().hex())
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "loss": loss}
            torch.save(state, folder / "checkpoint.pth")
            torch.save(model, folder / "model.pth")
        return losses, [torch.rand(1).item(), random.random(), np.random.random()]

    def test_it_goes_bit_for_bit_as_without(self, make: Callable[..., Detector], tmp_path: Path) -> None:
        without = self.train(tmp_path / "without")
        caught = Catch()
        make().start(caught.emit)
        with_it = self.train(tmp_path / "with")
        assert len(caught) == 10
        assert with_it == without
        for name in ("checkpoint.pth", "model.pth"):
            assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


class TestTheFunctions:
    def test_they_look_as_before(self, make: Callable[..., Detector]) -> None:
        def looks() -> dict[str, Any]:
            return {
                name: (inspect.signature(get()), inspect.getsource(get()), get().__name__, get().__doc__)
                for name, get in WATCHED.items()
            }

        before = looks()
        make().start(Catch().emit)
        assert looks() == before
        assert pickle.loads(pickle.dumps(torch.save)) is torch.save

    def test_they_are_as_before_when_the_last_detector_has_stopped(self, make: Callable[..., Detector]) -> None:
        def state() -> dict[str, Any]:
            return {name: (id(get()), id(get().__code__), dict(vars(get()))) for name, get in WATCHED.items()}

        before, finders = state(), list(sys.meta_path)
        first, second = make(), make()
        first.start(Catch().emit)
        second.start(Catch().emit)
        assert sys.meta_path != finders
        first.stop()
        assert all(code != state()[name][1] for name, (_, code, _) in before.items())
        second.stop()
        second.stop()
        assert state() == before
        assert sys.meta_path == finders

    def test_a_wrapper_that_somebody_put_around_meanwhile_stays_and_works(
        self, make: Callable[..., Detector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        detector, caught, original = make(), Catch(), torch.save
        detector.start(caught.emit)
        calls = []

        def wrapper(*args: Any, **kwargs: Any) -> None:
            calls.append(args)
            original(*args, **kwargs)

        monkeypatch.setattr(torch, "save", wrapper)
        torch.save(linear(), tmp_path / "one.pth")
        detector.stop()
        assert torch.save is wrapper
        torch.save(linear(), tmp_path / "two.pth")
        assert caught.names == ["one.pth"]
        assert len(calls) == 2


def program(folder: Path, body: str, before: str = "") -> list[dict[str, Any]]:
    """Run a program in a process of its own in which a detector is started first; return what was emitted."""
    start = textwrap.dedent(
        f"""
        import importlib, json, sys
        from pathlib import Path
        from tracelet.core.plugins.registry import registry
        from tracelet.plugin import DetectorContext

        saved = []

        def emit(one):
            files = sorted(p.relative_to(one.path).as_posix() for p in one.path.rglob("*") if p.is_file())
            saved.append(dict(name=one.path.name, type=one.type.value, files=files, snapshot=one.snapshot))

        spec = registry().detectors.get("torch")
        context = DetectorContext(experiment="x", directory=Path("t").absolute(), workspace=Path("t/made").absolute())
        detector = spec.create(spec.settings(), context)
        finders = list(sys.meta_path)
        {before}
        detector.start(emit)
        """
    )
    end = "detector.stop()\nprint(json.dumps(saved), file=sys.__stdout__)\n"
    text = "\n".join([start, textwrap.dedent(body), end])
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_frameworks_imported_after_the_start_are_watched_and_left_as_they_are(tmp_path: Path) -> None:
    body = """
        assert not {"torch", "safetensors"} & set(sys.modules)
        assert len(sys.meta_path) == len(finders) + 1
        import colorsys  # nothing to do with it
        import torch
        from safetensors.torch import save_file
        import torch.distributed.checkpoint as dcp

        for module in (torch.serialization, torch.export, sys.modules["safetensors.torch"]):
            assert type(module.__loader__).__name__ == type(module.__spec__.loader).__name__ == "SourceFileLoader"
        torch.save(torch.nn.Linear(1, 1), "model.pth")
        save_file({"w": torch.ones(1)}, "weights.safetensors")
        again = importlib.reload(sys.modules["safetensors.torch"])
        assert again.save_file is not save_file
        again.save_file({"w": torch.ones(1)}, "reloaded.safetensors")
        dcp.save({"w": torch.ones(1)}, checkpoint_id="sharded")
        code = torch.save.__code__
        detector.stop()
        assert torch.save.__code__ is not code
        assert sys.meta_path == finders
        torch.save(torch.nn.Linear(1, 1), "unseen.pth")
    """
    saved = program(tmp_path, body)
    assert [(one["name"], one["type"]) for one in saved] == [
        ("model.pth", "model"),
        ("weights.safetensors", "weights"),
        ("reloaded.safetensors", "weights"),
        ("sharded", "checkpoint"),
    ]


def test_an_import_that_fails_fails_as_ever(tmp_path: Path) -> None:
    broken = tmp_path / "safetensors"
    broken.mkdir()
    (broken / "__init__.py").write_text("")
    (broken / "torch.py").write_text("raise ImportError('broken on purpose')")
    body = """
        try:
            import safetensors.torch
        except ImportError as error:
            assert str(error) == "broken on purpose"
        else:
            raise AssertionError("it was imported")
        (Path("safetensors") / "torch.py").write_text("def save_file(tensors, filename): Path(filename).touch()")
        sys.path_importer_cache.clear()
    """
    assert program(tmp_path, body, before="sys.path.insert(0, '.')") == []


def test_who_looks_for_a_module_without_importing_it_finds_it_as_ever(tmp_path: Path) -> None:
    """What runs a module or reads its source asks its loader for more than to be run."""
    body = """
        import importlib.util
        import runpy

        assert not {"torch", "safetensors.torch"} & set(sys.modules)
        spec = importlib.util.find_spec("safetensors.torch")
        assert "def save_file(" in spec.loader.get_source("safetensors.torch")
        again = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(again)
        assert type(spec.loader).__name__ == "SourceFileLoader"
        ran = runpy.run_module("safetensors.torch")
        assert "save_file" in ran
    """
    assert program(tmp_path, body) == []


def test_a_module_that_is_not_there_or_is_a_folder_alone_is_imported_as_ever(tmp_path: Path) -> None:
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors" / "__init__.py").write_text("")
    body = """
        try:
            import safetensors.torch
        except ModuleNotFoundError as error:
            assert error.name == "safetensors.torch"
        else:
            raise AssertionError("it was imported")
        (Path("safetensors") / "torch").mkdir()
        sys.path_importer_cache.clear()
        import safetensors.torch
        assert list(safetensors.torch.__path__) == [str(Path("safetensors/torch").absolute())]
    """
    assert program(tmp_path, body, before="sys.path.insert(0, str(Path.cwd()))") == []


CLEARML = (
    "import torch; from clearml.binding.frameworks.pytorch_bind import PatchPyTorchModelIO as P; P._patch_model_io()"
)


@pytest.mark.parametrize("order", ["clearml first", "clearml second"])
def test_clearmls_own_patch_of_torch_save_and_this_one_do_not_disturb_each_other(tmp_path: Path, order: str) -> None:
    """Each save is emitted once in both orders, and nothing is left of the patch after the stop."""
    first = order == "clearml first"
    body = f"""
        {"pass" if first else CLEARML}
        import torch
        assert torch.save is not torch.serialization.save  # ClearML's wrapper is around it
        theirs, script = torch.save, torch.jit.script(torch.nn.Linear(1, 1))
        torch.save(torch.nn.Linear(1, 1), "model.pth")
        script.save("script.pt")
        detector.stop()
        assert torch.save is theirs
        torch.save(torch.nn.Linear(1, 1), "unseen.pth")
        script.save("unseen.pt")
        assert torch.serialization.save.__code__.co_varnames[:2] == ("obj", "f")
        assert sys.meta_path[: len(finders)] == finders or len(sys.meta_path) == len(finders)
    """
    saved = program(tmp_path, body, before=CLEARML if first else "")
    assert [(one["name"], one["type"]) for one in saved] == [("model.pth", "model"), ("script.pt", "model")]


def test_a_stop_in_the_middle_of_a_save_ends_it_well(make: Callable[..., Detector], tmp_path: Path) -> None:
    detector, caught = make(), Catch()
    detector.start(caught.emit)

    class Slow:
        def __reduce__(self) -> Any:
            stopping = threading.Thread(target=detector.stop)
            stopping.start()
            stopping.join(60)
            assert not stopping.is_alive()
            return (str, ())

    torch.save(Slow(), tmp_path / "slow.pth")
    assert torch.load(tmp_path / "slow.pth", weights_only=False) == ""
    assert not caught


def test_a_detector_that_is_stopped_while_another_is_told_is_told_no_more(
    make: Callable[..., Detector], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, caught = make(), make(), Catch()
    first.start(lambda detection: second.stop())
    second.start(caught.emit)
    torch.save(linear(), tmp_path / "model.pth")
    assert not caught
    assert not caplog.records


def test_an_import_of_something_else_costs_next_to_nothing(make: Callable[..., Detector]) -> None:
    make().start(Catch().emit)
    finder = sys.meta_path[0]
    began = time.perf_counter()
    for _ in range(10_000):
        finder.find_spec("colorsys", None)
    assert (time.perf_counter() - began) / 10_000 < 20e-6 * pace()
