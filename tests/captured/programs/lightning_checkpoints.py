"""Two epochs of Lightning, of whichever package ``PACKAGE`` names; its file names have a metric with a slash."""

import os
from importlib import import_module

import torch

pl = import_module(os.environ["PACKAGE"])
ModelCheckpoint = import_module(f"{pl.__name__}.callbacks").ModelCheckpoint


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.losses = []

    def training_step(self, batch, number):
        loss = (self.layer(batch) - 1).square().mean()
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, number):
        self.log("val/acc", -(self.layer(batch) - 1).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


torch.manual_seed(0)
rows = torch.utils.data.DataLoader(torch.arange(16.0).reshape(4, 4), batch_size=2)
best = ModelCheckpoint(
    "out", filename="{epoch}-{step}-{val/acc:.2f}", monitor="val/acc", mode="max", save_top_k=-1, save_last=True
)
trainer = pl.Trainer(max_epochs=2, callbacks=[best], logger=False, enable_progress_bar=False)
net = Net()
trainer.fit(net, rows, rows)
losses = net.losses
