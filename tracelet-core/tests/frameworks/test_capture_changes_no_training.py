"""A training goes on bit for bit as without capture: its losses, its weights, and what chance gives after it."""

from __future__ import annotations

import hashlib
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from tracelet import Experiment, ExperimentConfig

#: Trains in the folder that it is in, saves there on the way, and returns losses and weights.
Training = Callable[[], tuple[list[float], list[bytes]]]


def net() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1))


def weights(model: torch.nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


def with_torch() -> tuple[list[float], list[bytes]]:
    data, model = torch.randn(64, 8), net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for epoch in range(3):
        for batch in data[torch.randperm(64)].split(16):
            loss = (model(batch) - batch.sum(1, keepdim=True)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "loss": loss}
        torch.save(state, "last.ckpt")
    torch.save(model.state_dict(), "model.pth")
    return losses, weights(model)


def with_transformers() -> tuple[list[float], list[bytes]]:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, **sizes))
    rows = [{"input_ids": torch.randint(20, (4,)), "labels": torch.tensor(row % 2)} for row in range(8)]
    how = TrainingArguments(
        "trained", max_steps=4, save_steps=2, logging_steps=1, per_device_train_batch_size=2, use_cpu=True,
        report_to=[], disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, how, train_dataset=rows)
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line], weights(model)


def with_accelerate() -> tuple[list[float], list[bytes]]:
    from accelerate import Accelerator

    accelerator, bare = Accelerator(cpu=True), net()
    rows = torch.utils.data.DataLoader(torch.randn(32, 8), batch_size=8, shuffle=True)
    model, optimizer, loader = accelerator.prepare(bare, torch.optim.SGD(bare.parameters(), lr=0.1), rows)
    losses = []
    for epoch in range(2):
        for batch in loader:
            loss = model(batch).pow(2).mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        accelerator.save_state(f"state-{epoch}")
    accelerator.save_model(model, "final")
    return losses, weights(bare)


def with_keras() -> tuple[list[float], list[bytes]]:
    import keras

    keras.utils.set_random_seed(5)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse")
    rows = np.random.rand(16, 4).astype("float32")
    saver = keras.callbacks.ModelCheckpoint("{epoch}.weights.h5", save_weights_only=True)
    seen = model.fit(rows, rows.sum(1), epochs=3, batch_size=8, callbacks=[saver], verbose=0)
    model.save("model.keras")
    return seen.history["loss"], [np.asarray(weight).tobytes() for weight in model.get_weights()]


def with_sklearn() -> tuple[list[float], list[bytes]]:
    from sklearn.linear_model import SGDRegressor

    rows = np.random.rand(32, 4)
    model, losses = SGDRegressor(shuffle=True), []
    for step in range(4):
        model.partial_fit(rows, rows.sum(1))
        losses.append(float(((model.predict(rows) - rows.sum(1)) ** 2).mean()))
        joblib.dump(model, f"step-{step}.joblib")
        Path("last.pkl").write_bytes(pickle.dumps(model))
    return losses, [model.coef_.tobytes(), model.intercept_.tobytes()]


def bits(train: Training) -> list[Any]:
    """Train from one seed; return all that may not depend on who looks on."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    losses, held = train()
    chance = (random.getstate(), np.random.get_state(), torch.get_rng_state().numpy().tobytes())
    return [
        [loss.hex() for loss in losses],
        [hashlib.sha256(one).hexdigest() for one in held],
        hashlib.sha256(repr(chance).encode()).hexdigest(),
    ]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Transformers and accelerate keep the state of a process; another test is to begin without it."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("train", [with_torch, with_transformers, with_accelerate, with_keras, with_sklearn])
def test_a_training_goes_bit_for_bit_as_without_capture(
    train: Training, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: home / name for name in ("first", "without", "captured")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["first"])
    train()  # a library that is loaded by it may take from chance as it is loaded
    monkeypatch.chdir(folders["without"])
    expected = bits(train)
    monkeypatch.chdir(folders["captured"])
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["."], dir=home / "tracelet")
    with Experiment("training", artifacts=True, automagic_artifacts=True, config=config) as exp:
        found = bits(train)
    assert found == expected
    assert len(expected[0]) >= 3
    assert len(exp.list_artifacts()) >= 2
