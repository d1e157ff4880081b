"""Train with FSDP in two processes, and save sharded checkpoints, the last of them in the background."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.fsdp import fully_shard

torch.distributed.init_process_group("gloo")
torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1))
for layer in (*model, model):
    fully_shard(layer)
optimizer = torch.optim.Adam(model.parameters(), 0.01)
losses = []
for step in range(1, 4):
    loss = (model(torch.arange(8.0).reshape(2, 4) + step) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments, "step": step}
    if step < 3:
        dcp.save(state, checkpoint_id=f"out/step_{step}")
    else:
        dcp.async_save(state, checkpoint_id=f"out/step_{step}").result()
torch.distributed.barrier()
torch.distributed.destroy_process_group()
