"""Samples of the validation: which are taken, when, and how they are written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_nets import data, net, trainer
from PIL import Image
from sample_tables import PutsOut
from torch.utils.data import DataLoader, TensorDataset

from tracelet_lightning import roles, sample_files, samples


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def look(batch: Any, outputs: Any = None, module: Any = None, count: int = 16) -> samples.Samples:
    module = module or torch.nn.Identity()
    view = samples.BatchObserver(module, batch, count)
    module(next(iter(batch.values() if isinstance(batch, dict) else batch)))
    view.close()
    return view.samples(outputs)


def test_images_targets_and_predictions_of_a_fit(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching(samples_count=5)
    torch.manual_seed(1)
    model = net(package)()
    trainer(package, tmp_path, max_epochs=1).fit(model, data(), data())
    (kept,) = seen.of("sample")
    assert kept.detection.name == f"lit-{'unified' if '.' in package else 'classic'}-samples"
    table = rows(kept.path)
    assert [row["target"] for row in table] == ["0", "1", "2", "0", "1"]
    x = torch.linspace(0, 1, 24 * 16).reshape(24, 1, 4, 4)[:5]
    for number, (row, predicted) in enumerate(zip(table, model(x).tolist(), strict=True)):
        picture = Image.open(kept.path / row["input"])
        assert (picture.size, picture.mode) == ((4, 4), "L")
        assert list(picture.tobytes()) == (x[number] * 255).round().flatten().int().tolist()
        assert [float(row[f"prediction_{index}"]) for index in range(3)] == pytest.approx(predicted, rel=1e-5)
        assert int(row["predicted_class"]) == max(range(3), key=predicted.__getitem__)
    assert {key: kept.said[key] for key in ("epoch", "global_step", "samples", "inputs", "predictions_from")} == {
        "epoch": 0,
        "global_step": 3,
        "samples": 5,
        "inputs": "images of 4 x 4",
        "predictions_from": "forward",
    }
    assert kept.said["metrics"]["val_loss"] > 0


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (10, [4]), (0, [])])
def test_samples_come_every_n_epochs_and_at_the_end(
    tmp_path: Path, watching: Any, package: str, every: int, epochs: list[int]
) -> None:
    seen = watching(samples_every_n_epochs=every)
    trainer(package, tmp_path, max_epochs=5, enable_checkpointing=False).fit(net(package)(), data(8), data(8))
    assert [one.said["epoch"] for one in seen.of("sample")] == epochs


def test_only_the_last_validation_of_an_epoch_is_captured(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    trainer(package, tmp_path, val_check_interval=1 / 3, enable_checkpointing=False).fit(net(package)(), data(), data())
    assert [one.said["global_step"] for one in seen.of("sample")] == [3, 6]


def test_without_a_validation_there_are_no_samples(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    trainer(package, tmp_path, limit_val_batches=0).fit(net(package)(), data(), data())
    assert not seen.of("sample")


def test_predictions_of_the_step_go_before_those_of_forward() -> None:
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
    by_name = look((x, y), {"loss": torch.tensor(1.0), "preds": torch.ones(4)})
    assert (by_name.source, by_name.groups["prediction"].values.tolist()) == ("validation_step", [[1.0]] * 4)
    as_tensor = look((x, y), x.softmax(1))
    assert (as_tensor.source, as_tensor.groups["prediction"].values.shape) == ("validation_step", (4, 2))
    neither = look((x, y), {"loss": torch.tensor(1.0)})
    assert (neither.source, neither.groups["prediction"].values.tolist()) == ("forward", x.tolist())


def test_where_forward_is_not_called_the_last_child_gives_the_predictions() -> None:
    class Parts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.cost = torch.nn.Linear(2, 5), torch.nn.Linear(5, 3), torch.nn.MSELoss()

    module = Parts()
    batch = [torch.rand(4, 2), torch.rand(4, 3)]
    view = samples.BatchObserver(module, batch, 2)
    scores = module.head(module.body(batch[0]))
    module.cost(scores, torch.rand(4, 3))
    view.close()
    found = view.samples(None)
    assert found.source == "head"
    assert torch.equal(found.groups["prediction"].values, scores[:2])
    assert not any(part._forward_hooks for part in module.modules())


def test_batches_may_have_names_and_text(tmp_path: Path) -> None:
    scores = {"logits": torch.tensor([[1.0, 2], [4, 3]])}
    found = look({"text": ["one", "two\n=2"], "label": torch.tensor([1, 0])}, scores, PutsOut(scores))
    said = sample_files.write(tmp_path / "s", found, 16)
    assert rows(tmp_path / "s") == [
        {
            "sample": "0",
            "input": "one",
            "target": "1",
            "prediction_0": "1",
            "prediction_1": "2",
            "predicted_class": "1",
        },
        {
            "sample": "1",
            "input": "two\n=2",
            "target": "0",
            "prediction_0": "4",
            "prediction_1": "3",
            "predicted_class": "0",
        },
    ]
    assert said["inputs"] == "1 column"


def test_the_most_likely_class_is_shown_even_if_its_column_is_not(tmp_path: Path) -> None:
    scores = torch.zeros(3, 1000)
    scores[[0, 1, 2], [900, 3, 256]] = 1.0
    found = look((torch.rand(3, 2), torch.tensor([900, 4, 5])), {"logits": scores}, PutsOut(scores))
    said = sample_files.write(tmp_path / "s", found, 16)
    assert [row["predicted_class"] for row in rows(tmp_path / "s")] == ["900", "3", "256"]
    assert "prediction_255" in rows(tmp_path / "s")[0]
    assert "prediction_256" not in rows(tmp_path / "s")[0]
    assert said["predictions"] == "1000 columns, of which 256 are here"


def test_masks_and_scores_of_pixels_are_images_too(tmp_path: Path) -> None:
    x, mask, scores = torch.rand(3, 3, 6, 5), torch.randint(0, 4, (3, 6, 5)), torch.rand(3, 7, 6, 5)
    found = look((x, mask), {"logits": scores}, PutsOut(scores))
    said = sample_files.write(tmp_path / "s", found, 2)
    assert (said["inputs"], said["targets"], said["predictions"]) == ("images of 6 x 5",) * 3
    assert len(rows(tmp_path / "s")) == 2
    assert Image.open(tmp_path / "s" / "inputs" / "0001.png").mode == "RGB"
    assert Image.open(tmp_path / "s" / "targets" / "0001.png").size == (5, 6)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "inputs",
        "predictions",
        "samples.csv",
        "targets",
    ]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float64, torch.bfloat16, torch.bool, torch.int64])
def test_images_of_every_kind_of_number(tmp_path: Path, kind: torch.dtype) -> None:
    found = look((torch.arange(32).reshape(2, 1, 4, 4).to(kind), torch.zeros(2)))
    sample_files.write(tmp_path / "s", found, 2)
    pixels = Image.open(tmp_path / "s" / "inputs" / "0001.png").tobytes()
    assert max(pixels) == (31 if kind is torch.uint8 else 255)


def test_sizes_are_bounded(tmp_path: Path) -> None:
    large = torch.randn(16, 3, 1100, 700)
    large[0, 0, 0, 0] = torch.nan
    many = torch.rand(16, 300, 2)
    found = look((large, torch.rand(16, 5000)), {"preds": many}, PutsOut(many))
    said = sample_files.write(tmp_path / "s", found, 16)
    assert max(Image.open(tmp_path / "s" / "inputs" / "0000.png").size) <= 256
    assert len(rows(tmp_path / "s")[0]) == 2 + 256 + 1 + 256 + 1
    assert said["targets"] == "5000 columns, of which 256 are here"
    assert sum(path.stat().st_size for path in (tmp_path / "s").rglob("*.*")) < 5_000_000


@pytest.mark.parametrize("batch", [None, 3, [], {}, {"other": 1}, torch.tensor(1.0), object(), [torch.tensor(2.0)]])
def test_a_batch_that_has_no_samples_gives_none(batch: Any) -> None:
    with pytest.raises(roles.UnclearBatchError):
        samples.BatchObserver(torch.nn.Identity(), batch, 4)


def test_no_hook_is_left_when_a_validation_fails(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    model = net(package)()
    model.validation_step = lambda batch, batch_idx: 1 / (0 if model.trainer.global_step else 1)
    with pytest.raises(ZeroDivisionError):
        trainer(package, tmp_path).fit(model, data(), data())
    assert not model._forward_hooks
    assert not seen.of("sample")


def test_inputs_are_shown_as_they_were_before_the_step_changed_them(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    model = net(package)()

    def spoil(batch: Any, batch_idx: int) -> None:
        batch[0].zero_()

    model.validation_step = spoil
    ones = DataLoader(TensorDataset(torch.full((4, 2), 7.0), torch.zeros(4)), batch_size=4)
    trainer(package, tmp_path, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False).fit(
        model, data(), ones
    )
    (kept,) = seen.of("sample")
    assert {row["input_0"] for row in rows(kept.path)} == {"7"}
    assert kept.said["predictions_from"] == ""
