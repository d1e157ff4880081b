"""Pictures and texts of samples: masks and boxes over images, ids of tokens as words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sample_tables import PutsOut, table

from tracelet_lightning import sample_files, samples


def written(folder: Path, batch: Any, outputs: Any = None) -> Path:
    module = PutsOut(outputs)
    view = samples.BatchObserver(module, batch, 16)
    module(batch[0])
    view.close()
    sample_files.write(folder / "s", view.samples(outputs), 16)
    return folder / "s"


def pixel(path: Path, at: tuple[int, int]) -> Any:
    return Image.open(path).convert("RGB").getpixel(at)


def test_masks_are_drawn_over_the_images(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 6, 8, dtype=torch.uint8) + 200
    masks = torch.zeros(2, 6, 8, dtype=torch.long)
    masks[1, 2, 3] = 1
    scores = torch.zeros(2, 5, 6, 8)
    scores[:, 0], scores[1, 4, 5, 7] = 0.5, 1.0
    folder = written(tmp_path, (images, masks), {"logits": scores})
    assert pixel(folder / "targets/0001.png", (3, 2)) == (100 + 115, 100 + 79, 100)
    assert pixel(folder / "targets/0000.png", (3, 2)) == (200, 200, 200)
    assert pixel(folder / "predictions/0001.png", (7, 5)) != (200, 200, 200)
    assert pixel(folder / "predictions/0001.png", (3, 2)) == (200, 200, 200)


def test_a_picture_as_the_target_is_no_mask(tmp_path: Path) -> None:
    images = torch.linspace(0, 1, 2 * 3 * 6 * 8).reshape(2, 3, 6, 8)
    folder = written(tmp_path, (images, images.mean(1, keepdim=True)))
    assert Image.open(folder / "targets/0000.png").mode == "L"


def test_boxes_are_drawn_over_images_of_different_sizes(tmp_path: Path) -> None:
    images = tuple(torch.zeros(3, 20, 30 + 10 * number) for number in range(2))
    targets = tuple({"boxes": torch.tensor([[2.0, 3, 12, 15]]), "labels": torch.tensor([1])} for _ in images)
    folder = written(tmp_path, (images, targets), [{"boxes": torch.zeros(0, 4)} for _ in images])
    assert [Image.open(folder / f"inputs/000{number}.png").size for number in range(2)] == [(30, 20), (40, 20)]
    for corner in ((2, 3), (12, 15), (2, 15), (12, 3)):
        assert pixel(folder / "targets/0001.png", corner) == (230, 159, 0)
    assert pixel(folder / "targets/0001.png", (7, 8)) == (0, 0, 0)
    assert pixel(folder / "predictions/0001.png", (2, 3)) == (0, 0, 0)


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.9, 0.9], [10.0, 10, 4, 4], [2.0, 3, 90, 15]])
def test_boxes_that_are_no_corners_in_pixels_are_not_drawn(box: list[float]) -> None:
    images = tuple(torch.zeros(3, 20, 30) for _ in range(2))
    targets = tuple({"boxes": torch.tensor([box]), "labels": torch.tensor([1])} for _ in images)
    rows = table((images, targets))
    assert "target" not in rows[0]
    assert rows[0]["target_boxes"].startswith("[[")


class Words:
    """A tokenizer of a few words, with two special tokens."""

    words = ("<pad>", "<end>", "a", "red", "cat", "ran")
    pad_token_id = 0

    def __len__(self) -> int:
        return len(self.words)

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return " ".join(self.words[one] for one in ids if one > 1 or not skip_special_tokens)


class Bare(Words):
    """A tokenizer that knows no special tokens."""

    def decode(self, ids: list[int]) -> str:  # type: ignore[override]
        return " ".join(self.words[one] for one in ids)


IDS = torch.tensor([[2, 3, 4, 1, 0, 0], [4, 5, 1, 0, 0, 0]])


@pytest.mark.parametrize(("tokenizer", "end"), [(Words(), ""), (Bare(), " <end>")])
def test_ids_of_tokens_are_shown_as_text(tokenizer: Any, end: str) -> None:
    module = torch.nn.Identity()
    module.tokenizer = tokenizer
    labels = torch.where(IDS == 0, -100, IDS)
    view = samples.BatchObserver(module, {"input_ids": IDS, "labels": labels}, 16)
    module(torch.nn.functional.one_hot(IDS, 6).float())
    view.close()
    found = view.samples(None)
    texts = ["a red cat" + end, "cat ran" + end]
    assert found.source == "forward"
    assert [found.groups[name].values for name in ("input", "target", "prediction")] == [texts] * 3


def test_a_class_for_each_token_is_not_shown_as_text() -> None:
    module = torch.nn.Identity()
    module.tokenizer = Words()
    rows = table({"input_ids": IDS, "labels": IDS % 3}, {"logits": torch.rand(2, 6, 3)}, module)
    assert rows[0]["input"] == "a red cat"
    assert rows[0]["target_1"] == "0"
