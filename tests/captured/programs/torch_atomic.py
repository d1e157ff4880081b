"""Train with torch, and save each checkpoint under a temporary name first."""

import os
import tempfile

import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), 0.01)
losses = []
for epoch in range(3):
    loss = (model(torch.arange(8.0).reshape(2, 4)) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "loss": loss.item()}
    with tempfile.NamedTemporaryFile(dir="out", delete=False) as file:
        torch.save(state, file)
    os.replace(file.name, "out/last.pt")
torch.save(model.state_dict(), "out/weights.pth")
torch.save(model, "out/net.pt")
