"""Programs that tests run in processes of their own: ``python lightning_programs.py NAME PACKAGE``, in a folder."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import time
from typing import Any

import torch
from lightning_nets import checkpoints, data, net, trainer

from tracelet import Experiment, ExperimentConfig

X = torch.linspace(0, 1, 32).reshape(2, 1, 4, 4)


def as_the_spec_says(package: str) -> None:
    pl = importlib.import_module(package)
    model = net(package)()

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return data()

        val_dataloader = train_dataloader

    datamodule = Data()

    # Enable artifact auto-detection
    exp = Experiment("lightning_training", artifacts=True, automagic_artifacts=True)
    exp.start()

    # Your normal Lightning training - artifacts captured automatically
    trainer = pl.Trainer(max_epochs=10)
    trainer.fit(model, datamodule)
    # Checkpoints, final model, and samples logged automatically

    exp.stop()
    model.eval()
    print(json.dumps({"predicted": model(X).tolist()}))


def read(package: str) -> None:
    """Get everything, and resume the training from the newest checkpoint."""
    exp = Experiment("lightning_training", artifacts=True)
    net(package)
    model = exp.get_artifact(f"{name(package)}-model", "final").load_model().eval()
    newest = exp.get_artifact(f"{name(package)}-checkpoint")
    (path,) = newest.download().rglob("*.ckpt")
    resumed = net(package)()
    run = trainer(package, ".", max_epochs=newest.metadata["epoch"] + 3, enable_checkpointing=False)
    steps: list[int] = []
    resumed.on_train_batch_start = lambda batch, batch_idx: steps.append(run.global_step)
    run.fit(resumed, data(), data(), ckpt_path=str(path))
    stored = [
        {"name": one.name, "type": one.type.value, "aliases": sorted(one.aliases), **one.metadata}
        for one in reversed(exp.list_artifacts())
    ]
    print(json.dumps({"predicted": model(X).tolist(), "first_step": steps[0], "file": path.name, "stored": stored}))


def name(package: str) -> str:
    return "lit-unified" if "." in package else "lit-classic"


def in_parallel(package: str, strategy: str) -> None:
    """Two processes on the CPU, each epoch's checkpoint, last and final model."""
    saver = checkpoints(package, "c", monitor="val_loss", save_top_k=-1, save_last=True, filename="{epoch}")
    exp = Experiment("parallel", artifacts=True, automagic_artifacts=True)
    exp.start()
    run = trainer(package, ".", strategy=strategy, devices=2, callbacks=[saver])
    run.fit(net(package)(), data(), data())
    exp.stop()
    if run.is_global_zero:
        print("WEIGHT", run.lightning_module.net[1].weight[0, 0].item(), flush=True)


def in_shards(package: str, on: str) -> None:
    """Two processes that have half of each parameter, and write each checkpoint as one folder."""
    from torch.distributed import checkpoint as shards
    from torch.distributed.fsdp import fully_shard

    class Sharding(importlib.import_module(f"{package}.strategies").DDPStrategy):
        """FSDP on the CPU: Lightning's own strategy wants GPUs."""

        def _setup_model(self, model: Any) -> Any:
            return fully_shard(model)

        def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
            shards.save({"state_dict": checkpoint["state_dict"]}, checkpoint_id=filepath)

    torch.manual_seed(5)
    model = net(package)()
    model.on_train_batch_end = lambda outputs, batch, batch_idx: losses.append(outputs["loss"].item())
    losses: list[float] = []
    saver = checkpoints(package, "c", save_top_k=-1, filename="{epoch}-{val/gap:.2f}", every_n_epochs=1)
    with Experiment("sharded", artifacts=True, automagic_artifacts=on == "on"):
        run = trainer(package, ".", strategy=Sharding(process_group_backend="gloo"), devices=2, callbacks=[saver])
        run.fit(model, data(), data())
    if run.is_global_zero:
        print(json.dumps({"losses": losses}))


def beside_loggers() -> None:
    """Train without capture and with it, with loggers that upload checkpoints."""
    import mlflow

    package = "lightning.pytorch"
    loggers = importlib.import_module(f"{package}.loggers")
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    for on in (False, True):
        place = {"tracking_uri": "sqlite:///mlflow.db", "artifact_location": f"file:{os.getcwd()}/uploads"}
        mlflows = {f"mlflow {option}": loggers.MLFlowLogger("e", log_model=option, **place) for option in (True, "all")}
        wandb = loggers.WandbLogger(log_model="all")
        torch.manual_seed(5)
        losses: list[float] = []
        model = net(package)()
        model.on_train_batch_end = lambda outputs, batch, batch_idx, to=losses: to.append(outputs["loss"].item())
        saver = checkpoints(package, f"c{on}", monitor="val/gap", save_top_k=2, save_last=True, filename="{epoch}")
        used = [*mlflows.values(), wandb, loggers.TensorBoardLogger("tensorboard")]
        with Experiment("beside", artifacts=True, automagic_artifacts=on):
            trainer(package, ".", callbacks=[saver], logger=used).fit(model, data(), data())
        uploads = {
            name: sorted(
                os.path.basename(file.path)
                for folder in client.list_artifacts(one.run_id)
                for file in client.list_artifacts(one.run_id, folder.path)
                if file.path.endswith(".ckpt")
            )
            for name, one in mlflows.items()
        }
        uploads["wandb all"] = sorted(map(os.path.basename, wandb._logged_model_time))
        wandb.experiment.finish()
        print(json.dumps({"losses": losses, "uploads": uploads}))


def broken_off(package: str, how: str) -> None:
    """A training that ends in its second epoch, by an exception, Ctrl-C or a kill."""

    def end() -> None:
        if model.current_epoch == 1:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
            else:
                raise RuntimeError("enough")

    model = net(package)()
    model.on_train_epoch_start = end
    with Experiment("broken", artifacts=True, automagic_artifacts=True):
        trainer(package, ".", max_epochs=3).fit(model, data(), data())


def with_all_detectors(package: str, on: str) -> None:
    """Train with every detector, or with none, and print the losses and weights."""
    torch.manual_seed(5)
    logging.getLogger("tracelet.automagic").setLevel(logging.DEBUG)
    config = ExperimentConfig(artifact_watch_dirs=["c"], watch_filesystem=on == "on")
    losses: list[float] = []
    model = net(package)()
    model.on_train_batch_end = lambda outputs, batch, batch_idx: losses.append(outputs["loss"].item())
    savers = [
        checkpoints(package, "c/deep", monitor="val_loss", save_last=True, filename="{epoch}-{step}-{val/gap:.2f}"),
        checkpoints(package, "c", monitor="val/gap", save_top_k=-1, filename="same"),
    ]
    run = trainer(package, ".", max_epochs=3, callbacks=savers)
    with Experiment("all", artifacts=True, automagic_artifacts=on == "on", config=config):
        run.fit(model, torch.utils.data.DataLoader(data().dataset, batch_size=4, shuffle=True), data())
        run.save_checkpoint("c/mine.ckpt")
    print(json.dumps({"losses": losses, "weights": [value.tolist() for value in model.parameters()]}))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
