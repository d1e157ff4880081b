"""Trackers log models by themselves: what they have is the same with capture, and only what the user saved is captured.

The loggers of Lightning are tried in tracelet-lightning, and ClearML in tracelet-clearml.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from servers import programs
from tracelet.builtin.model_saves.mlflow_saves import MLFLOW_SAVES

HEAD = """
import json, os, tempfile
import numpy, torch
from tracelet import Experiment

X = numpy.linspace(0, 1, 24, dtype="float32").reshape(8, 3)
Y = (X[:, 0] > 0.5).astype("int64")

def under_capture(work):
    found = []
    for on in (False, True):
        exp = Experiment("beside", artifacts=True, automagic_artifacts=on).start()
        found.append(work(f"on-{on}"))
        exp.stop()
    return [*found, sorted([one.name, one.version, one.type.value] for one in exp.list_artifacts())]
"""

MLFLOW = """
os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = "1"
import joblib, lightgbm, lightning, mlflow, xgboost
from sklearn.linear_model import LogisticRegression
from xgboost.callback import TrainingCheckPoint

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
    def forward(self, x):
        return self.layer(x)
    def training_step(self, batch):
        return self(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

mlflow.set_tracking_uri(f"sqlite:///{os.getcwd()}/mlflow.db")
os.environ["TRACELET_LIGHTNING_FINAL_MODEL"] = os.environ["TRACELET_LIGHTNING_SAMPLES"] = "false"

def work(name):
    mlflow.create_experiment(name, artifact_location=f"file:{os.getcwd()}/{name}")
    mlflow.set_experiment(name)
    needs = dict(pip_requirements=["numpy"])
    model, net = LogisticRegression().fit(X, Y), torch.nn.Linear(3, 1)
    mlflow.sklearn.save_model(model, f"{name}-own", **needs)
    mlflow.pytorch.save_model(net, path=f"{name}-own-net", input_example=X, **needs)
    with mlflow.start_run():
        mlflow.sklearn.log_model(model, name="sklearn", **needs)
        mlflow.pytorch.log_model(net, name="torch", input_example=X, **needs)
        mlflow.pytorch.log_state_dict(net.state_dict(), "state")
        # A temporary folder that the tracker gives to the user.
        given = mlflow.artifacts.download_artifacts(mlflow.get_artifact_uri("state"))
    joblib.dump(model, f"{given}/tuned.joblib")
    mlflow.xgboost.autolog()
    mlflow.lightgbm.autolog()
    mlflow.pytorch.autolog(checkpoint_monitor="loss", checkpoint_save_best_only=False)
    try:
        # The user's own temporary folder, within the tracker's work.
        with tempfile.TemporaryDirectory() as folder:
            saver = TrainingCheckPoint(folder, "mine", interval=1)
            xgboost.XGBClassifier(n_estimators=2, callbacks=[saver]).fit(X, Y)
        lightgbm.LGBMClassifier(n_estimators=1, verbose=-1, min_child_samples=1).fit(X, Y)
        data = torch.utils.data.TensorDataset(torch.tensor(X))
        lightning.Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
        ).fit(Net(), torch.utils.data.DataLoader(data, batch_size=4))
    finally:
        for flavor in (mlflow.xgboost, mlflow.lightgbm, mlflow.pytorch):
            flavor.autolog(disable=True)
    models = sorted(one.name for one in mlflow.search_logged_models(output_format="list"))
    runs = mlflow.search_runs(output_format="list")
    client = mlflow.MlflowClient()
    files = sorted(file.path for run in runs for file in client.list_artifacts(run.info.run_id))
    return [models, files]

found = under_capture(work)
exp = Experiment("beside", artifacts=True)
own, net = (exp.get_artifact(f"on-True-{name}-model").download() for name in ("own", "own-net"))
answers = mlflow.sklearn.load_model(str(own)).predict(X).tolist(), mlflow.pytorch.load_model(str(net))(torch.tensor(X)).shape
print(json.dumps([*found, answers]))
"""


def test_models_that_mlflow_logs_stay_its_own_and_one_that_the_user_saves_is_one_folder(tmp_path: Path) -> None:
    off, on, captured, answers = programs.run(HEAD + MLFLOW, tmp_path, {})
    assert on == off
    models, files = on
    assert {"sklearn", "torch"} < set(models)
    assert len(models) == 5
    assert {"checkpoints", "state"} <= set(files)
    assert captured == [
        ["mine-checkpoint", "v0", "checkpoint"],
        ["on-True-own-model", "v0", "model"],
        ["on-True-own-net-model", "v0", "model"],
        ["tuned-model", "v0", "model"],
    ]
    assert answers == [[0] * 4 + [1] * 4, [8, 1]]


WANDB = """
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_LOG_MODEL="end", HF_HUB_OFFLINE="1")
import joblib, wandb
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

def work(name):
    with wandb.init(project="p", dir=os.getcwd()) as run:
        torch.manual_seed(0)
        model, net = LogisticRegression().fit(X, Y), torch.nn.Linear(3, 1)
        torch.save(net.state_dict(), "mine.pt")
        run.log_model("mine.pt", name=name)
        own = wandb.Artifact("made", "model")
        with own.new_file("model.joblib", "wb") as file:
            joblib.dump(model, file)
        with own.new_file("net.pt", "wb") as file:
            torch.save(net.state_dict(), file)
        run.log_artifact(own)
        # One in ten of the names that it would give reads like a user's own.
        at_random, tempfile._get_candidate_names = tempfile._get_candidate_names, lambda: iter(["7k2qx_9a"])
        with tempfile.NamedTemporaryFile(suffix=".joblib") as file:
            tempfile._get_candidate_names = at_random
            joblib.dump(model, file)
        shape = dict(vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        Trainer(
            BertForSequenceClassification(BertConfig(**shape)),
            TrainingArguments("out", max_steps=1, save_strategy="no", report_to=["wandb"], use_cpu=True, disable_tqdm=True),
            train_dataset=Dataset.from_dict({"input_ids": [[0, 1]] * 8, "labels": [0, 1] * 4}),
        ).train()
        files = {entry: item.size for entry, item in sorted(own.manifest.entries.items())}
    return files

print(json.dumps(under_capture(work)))
"""


def test_files_that_wandb_is_given_or_makes_to_upload_are_not_captured(tmp_path: Path) -> None:
    """The user's own temporary file is, by its type: it has no other name."""
    off, on, captured = programs.run(HEAD + WANDB, tmp_path, {})
    assert on == off
    assert set(on) == {"model.joblib", "net.pt"}
    assert captured == [["mine-weights", "v0", "weights"], ["model", "v0", "model"]]


AIM = """
import lightning
from aim import Run
from aim.pytorch_lightning import AimLogger
from lightning.pytorch.callbacks import ModelCheckpoint

os.environ.update(TRACELET_LIGHTNING_FINAL_MODEL="false", TRACELET_LIGHTNING_SAMPLES="false", TRACELET_ARTIFACT_WATCH_DIRS=os.getcwd())

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
    def training_step(self, batch):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss
    def on_train_end(self):
        run = self.logger.experiment
        self.values = [metric.values.values_list() for metric in run.metrics() if metric.name == "loss"]
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

def work(name):
    torch.manual_seed(0)
    net = Net()
    logger = AimLogger(repo=os.getcwd(), experiment=name, system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False)
    data = torch.utils.data.TensorDataset(torch.tensor(X))
    lightning.Trainer(
        max_epochs=2, logger=logger, callbacks=[ModelCheckpoint(name, "net")], log_every_n_steps=1,
        enable_progress_bar=False, accelerator="cpu",
    ).fit(net, torch.utils.data.DataLoader(data, batch_size=4))
    run = Run(repo=os.getcwd(), log_system_params=False, system_tracking_interval=None)
    run.set_artifacts_uri(f"file://{os.getcwd()}/.stored/{name}")
    torch.save(torch.nn.Linear(3, 1).state_dict(), f"{name}.pt")
    run.log_artifact(f"{name}.pt", name="given")
    given = sorted(run.artifacts)
    run.close()
    return [net.values, given]

print(json.dumps(under_capture(work)))
"""


def test_what_aim_writes_and_stores_is_not_captured_and_its_metrics_stay_the_same(tmp_path: Path) -> None:
    """The folder that is watched holds Aim's own, and what Aim stores for the user."""
    off, on, captured = programs.run(HEAD + AIM, tmp_path, {})
    assert on == off
    assert [len(values) for values in on[0]] == [4]
    assert on[1] == ["given"]
    assert captured == [
        ["net-checkpoint", "v0", "checkpoint"],
        ["net-checkpoint", "v1", "checkpoint"],
        ["on-True-weights", "v0", "weights"],
    ]


def test_the_functions_of_mlflow_that_are_watched_have_their_path_where_it_is_looked_for() -> None:
    """They are not imported for that: each flavor imports much."""
    package = find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    for one in MLFLOW_SAVES:
        module = Path(package.origin).parent.joinpath(*one.module.split(".")[1:])
        source = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        body = ast.parse(source.read_text(encoding="utf-8")).body
        (function,) = (node for node in body if isinstance(node, ast.FunctionDef) and node.name == one.function)
        destination = one.destination(tuple(argument.arg for argument in function.args.args), {})
        assert destination is not None, one
        assert destination.path.name == "path", one
