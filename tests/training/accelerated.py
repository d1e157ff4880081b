"""Train with accelerate's own loop: eight steps, and the whole state at every second."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

NAME = "step-checkpoint"


def train(resumed: Path | None = None) -> dict[int, float]:
    """Return the loss of each step."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    first = 0
    if resumed is not None:
        accelerator.load_state(str(resumed))
        first = 4
    losses = {}
    for step in range(first + 1, 9):
        inputs = torch.arange(8.0).reshape(2, 4) + step
        loss = (model(inputs) - 1).square().mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()
        losses[step] = loss.item()
        if step % 2 == 0:
            accelerator.save_state(f"out/step_{step}")
    return losses
