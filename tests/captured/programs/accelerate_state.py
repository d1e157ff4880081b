"""Train in a loop of one's own with accelerate, and save the whole state after each epoch."""

import torch
from accelerate import Accelerator

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
rows = torch.utils.data.DataLoader(torch.arange(32.0).reshape(8, 4), batch_size=4, shuffle=True)
model, optimizer, rows = accelerator.prepare(model, torch.optim.Adam(model.parameters(), 0.01), rows)
losses = []
for epoch in range(3):
    for batch in rows:
        loss = (model(batch) - 1).square().mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    accelerator.save_state(f"out/epoch_{epoch}")
accelerator.save_model(model, "out/net")
