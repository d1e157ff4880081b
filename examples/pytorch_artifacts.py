"""Train a small network on scikit-learn's digits, and find what ``torch.save`` wrote: ``python examples/pytorch_artifacts.py``.

It needs tracelet-core, torch and scikit-learn, and keeps what it logs in ``.tracelet/`` of the current folder. The
training code knows nothing of Tracelet: it saves a checkpoint after every epoch, over the one before, and the weights
of the best epoch. With ``automagic_artifacts=True`` each of these becomes a version of its own.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from tracelet import Experiment

EPOCHS = 5
BATCH = 64


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """1,797 images of 8 x 8 pixels; every fifth is held out."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    return (model(images).argmax(1) == labels).float().mean().item()


def train(folder: Path) -> float:
    """Plain torch: nothing in it is there for Tracelet. Returns the best accuracy."""
    torch.manual_seed(7)
    images, labels, test_images, test_labels = digits()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    best = 0.0
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(labels)).split(BATCH):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        state = {
            "epoch": epoch,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": total / len(labels),
        }
        torch.save(state, folder / "checkpoint.pth")
        reached = accuracy(model, test_images, test_labels)
        if reached > best:
            best = reached
            torch.save(model.state_dict(), folder / "best.pth")
    torch.save(model, folder / "network.pt")
    return best


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        with Experiment("digits", artifacts=True, automagic_artifacts=True):
            best = train(Path(folder))
        print(f"trained for {EPOCHS} epochs; the training code wrote {', '.join(sorted(os.listdir(folder)))}")

    # The files are gone. From here on this could be another process.
    exp = Experiment("digits", artifacts=True)
    print(f"{'name':<14} {'version':<8} {'type':<11} {'file':<15} metadata")
    for one in reversed(exp.list_artifacts()):
        facts = ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in sorted(one.metadata.items())
        )
        print(f"{one.name:<14} {one.version:<8} {one.type.value:<11} {one.files[0].artifact_path:<15} {facts}".rstrip())

    model = network()
    model.load_state_dict(torch.load(exp.get_artifact("best-weights").download() / "best.pth"))
    *_, test_images, test_labels = digits()
    same = accuracy(model, test_images, test_labels) == best
    print(f"the best weights, loaded again, reach the accuracy that they had: {same}")


if __name__ == "__main__":
    main()
