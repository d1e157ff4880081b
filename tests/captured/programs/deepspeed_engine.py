"""Train with DeepSpeed on the CPU, and save checkpoints."""

import deepspeed
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1))
deepspeed.init_distributed("gloo", dist_init_required=True)
engine, *_ = deepspeed.initialize(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), 0.01),
    config={"train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 1}},
)
losses = []
for step in range(1, 5):
    loss = (engine(torch.arange(8.0).reshape(2, 4) + step) - 1).square().mean()
    engine.backward(loss)
    engine.step()
    losses.append(loss.item())
    if step % 2 == 0:
        engine.save_checkpoint("out/run")
