"""One artifact, every backend: MLflow's and Aim's real servers; for W&B and ClearML the real client and a stand-in."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.aim_server import AimServer
from servers.clearml_server import ClearmlServer
from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server
from servers.wandb_server import wandb_server

TRACKERS = ["mlflow", "wandb", "clearml", "aim", "bucket"]
EVERYWHERE = ["local", *TRACKERS]

LOG = """
import json, sys, time, wave
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig

def made(exp, name, kind):
    Path("deep").mkdir(exist_ok=True)
    Path("weights.bin").write_bytes(bytes(range(256)) * 400)
    Path("deep/notes äö.txt").write_text("with spaces, and not in ASCII")
    artifact = exp.create_artifact(name, kind, "The same thing, everywhere")
    artifact.metadata.update({"accuracy": 0.93, "epoch": 3, "tags": ["a", "b"], "nested": {"none": None, "yes": True}})
    artifact.add_file("weights.bin", "model/weights.bin").add_file("deep/notes äö.txt", "deep/notes äö.txt")
    artifact.add_object({"learning_rate": 0.001}, "config")
    artifact.add_reference("s3://bucket/not-there.tar.gz", size_bytes=5_000_000_000)
    artifact.add_reference("file:///path/to/large/file.bin")
    return artifact
"""

READ = """
import hashlib, json
from tracelet import Experiment

exp = Experiment("everywhere", backend=BACKENDS, artifacts=True, routing="all")
found = {}
for backend in BACKENDS:
    one = exp.get_artifact("thing", version="best", backend=backend)
    folder = one.download(f"from-{backend}")
    found[backend] = {
        "digest": one.digest, "metadata": one.metadata, "description": one.description, "type": one.type.value,
        "references": [[ref.uri, ref.size_bytes] for ref in one.references], "object": one.load_object("config"),
        "files": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()
        },
        "versions": [each.version for each in exp.list_artifacts(backend=backend)],
    }
print(json.dumps(found))
"""


class Site:
    """Every server, and programs with homes of their own that know where they are."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._homes = 0
        self.mlflow = stack.enter_context(MlflowServer(_made(folder / "mlflow")))
        self.wandb = stack.enter_context(wandb_server(folder / "wandb"))
        self.clearml = stack.enter_context(ClearmlServer(folder / "clearml"))
        self.aim = stack.enter_context(AimServer(_made(folder / "aim")))
        self.bucket = stack.enter_context(S3Server("artifacts"))
        self.servers = [self.mlflow.process, self.wandb, self.clearml.process, self.aim.process, self.bucket]

    def home(self) -> Path:
        self._homes += 1
        return self._folder / f"home-{self._homes}"

    def environ(self, home: Path) -> dict[str, str]:
        return {
            **self.wandb.environ(home),
            **self.clearml.environ(home),
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "TRACELET_AIM_REPO": self.aim.address,
            **self.bucket.environ,
            "TRACELET_BUCKET_URL": self.bucket.url("team"),
            "TRACELET_DIR": str(home / "tracelet"),
        }

    def begin(self, code: str, home: Path) -> Any:
        return programs.begin(f"BACKENDS = {EVERYWHERE}\n{code}", home, self.environ(home))

    def __call__(self, code: str, home: Path | None = None) -> Any:
        return programs.finish(self.begin(code, home or self.home()))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        made = Site(tmp_path_factory.mktemp("site"), stack)
        yield made
        assert made.clearml.strangers() == []


def test_one_artifact_is_the_same_in_every_backend_after_its_process_was_killed(site: Site) -> None:
    home = site.home()
    code = """
exp = Experiment("everywhere", backend=BACKENDS, artifacts=True, routing="all").start()
results = exp.log_artifact(made(exp, "thing", ArtifactType.MODEL), aliases=("best",))
print(json.dumps([list(results), {name: str(error) for name, error in {**results.failed, **results.queued}.items()}]), flush=True)
time.sleep(600)
"""
    writer = site.begin(LOG + code, home)
    try:
        assert json.loads(writer.stdout.readline()) == [EVERYWHERE, {}]
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.communicate()
    there = site(READ.replace("BACKENDS", str(TRACKERS)))
    here = site(READ.replace("BACKENDS", "['local']"), home)
    found = {**there, **here}
    assert sorted(found) == sorted(EVERYWHERE)
    assert len({json.dumps(one, sort_keys=True) for one in found.values()}) == 1, found
    one = found["local"]
    assert one["metadata"] == {"accuracy": 0.93, "epoch": 3, "tags": ["a", "b"], "nested": {"none": None, "yes": True}}
    assert {"model/weights.bin", "deep/notes äö.txt"} <= set(one["files"])
    assert one["references"] == [
        ["s3://bucket/not-there.tar.gz", 5_000_000_000],
        ["file:///path/to/large/file.bin", None],
    ]
    assert one["versions"] == ["v0"]


PAGES = """
from tracelet import report

with Experiment("paged", backend=BACKENDS, artifacts=True, routing="all") as exp:
    exp.log_artifact(made(exp, "thing", ArtifactType.MODEL), aliases=["best"])
    exp.flush(600)
pages = {}
for asked in (BACKENDS, *([one] for one in BACKENDS)):
    page = report("paged", "page.html", backend=asked)
    data = json.loads(page.path.read_text().partition('id="data">')[2].partition("</script>")[0])
    (version,) = data["versions"]
    homes = [[home["backend"], home["aliases"]] for home in version.pop("homes")]
    pages[",".join(asked)] = {"ok": page.ok, "homes": sorted(homes), "version": version, "previews": data["previews"]}
print(json.dumps(pages))
"""


def test_a_page_shows_the_same_of_every_backend_and_of_all_of_them_one_version(site: Site) -> None:
    pages = site(LOG + PAGES)
    homes = {asked: page.pop("homes") for asked, page in pages.items()}
    assert homes == {asked: sorted([one, ["best"]] for one in asked.split(",")) for asked in pages}
    page = pages["local"]
    others = {asked: {**one, **one["version"]} for asked, one in pages.items()}
    differ = {
        asked: {key: one[key] for key in one if one[key] != others["local"][key]} for asked, one in others.items()
    }
    assert not any(differ.values()), differ
    assert page["ok"]
    assert sorted(one["text"] for one in page["previews"].values()) == [
        "with spaces, and not in ASCII",
        '{\n  "learning_rate": 0.001\n}',
    ]


KNOW = """
with Experiment("known", backend=BACKENDS, artifacts=True, routing="all") as exp:
    exp.log_artifact(made(exp, "data", ArtifactType.DATASET))
    exp.use_artifact("data")
    for text in ("first", "second"):
        Path("notes.txt").write_text(text)
        exp.log_artifact(made(exp, "net", ArtifactType.MODEL).add_file("notes.txt"))
    exp.flush(600)
    usage = exp.disk_usage()
    told = {}
    for backend in BACKENDS:
        data, old, new = (exp.get_artifact(*one, backend) for one in (("data", "v0"), ("net", "v0"), ("net", "v1")))
        verified = [one.verify() for one in (data, old, new)]
        told[backend] = {
            "diff": [list(part) for part in (old.diff(new).added, old.diff(new).changed, old.diff(new).same)],
            "users": sorted(one.number for one in data.used_by()),
            "bytes": sorted([one.name, one.number, one.own, one.shared] for one in usage.versions if one.backend == backend),
            "whole": [[one.ok, one.files, one.size_bytes, one.outside] for one in verified],
        }
    (data,) = new.lineage().inputs
    print(json.dumps([told, sorted(one.backend for one in data.versions), sorted(usage.failed)]))
"""


def test_what_differs_what_came_of_it_its_bytes_and_whether_it_is_whole_are_the_same_in_every_backend(
    site: Site,
) -> None:
    told, holders, failed = site(LOG + KNOW)
    assert (holders, failed) == (sorted(EVERYWHERE), [])
    assert all(one == told["local"] for one in told.values()), told
    one = told["local"]
    same = ["deep/notes äö.txt", "file:///path/to/large/file.bin", "model/weights.bin", "objects/config.json"]
    assert one["diff"] == [[], ["notes.txt"], [*same, "s3://bucket/not-there.tar.gz"]]
    assert one["users"] == [0, 1]
    assert [own for _, _, own, _ in one["bytes"]] == [0, 5, 6]
    assert [row[0] for row in one["whole"]] == [True, True, True]
    assert [row[3] for row in one["whole"]] == [2, 2, 2]


USE = """
exp = Experiment("lineage", backend=BACKENDS, artifacts=True, routing="all").start()
exp.log_artifact(made(exp, "data", ArtifactType.DATASET))
used = exp.use_artifact("data")
left = exp.flush(600)
exp.stop()
print(json.dumps([used.backend, used.digest, left]))
"""
AIMS = """
import json, os, aim
runs = aim.Repo(os.environ["TRACELET_AIM_REPO"]).iter_runs()
print(json.dumps([run["tracelet"]["inputs"] for run in runs if run.experiment == "lineage"]))
"""


def test_what_a_run_uses_is_in_the_lineage_of_every_backend_wherever_the_copy_came_from(site: Site) -> None:
    home = site.home()
    backend, digest, left = site(LOG + USE, home)
    assert (backend, left) == ("local", 0)
    assert len(list((home / "tracelet" / "local" / "lineage" / "uses" / "data" / "v0").iterdir())) == 1
    client = MlflowClient(site.mlflow.url)
    (shown,) = (one for one in client.search_experiments() if one.name == "lineage")
    (run,) = client.search_runs([shown.experiment_id])
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["data"]
    project = site.wandb.project("lineage")
    assert [one["used"] for one in project["runs"]] == [[project["collections"]["data"]["versions"][0]["id"]]]
    tasks = site.clearml.dump()["tasks"].values()
    assert any("data v0" in task.get("hyperparams", {}).get("Datasets", {}) for task in tasks)
    assert [one["data"]["digest"] for one in site(AIMS)] == [digest]


ROUTES = {
    "MODEL": ["mlflow"],
    "CHECKPOINT": ["mlflow"],
    "WEIGHTS": ["mlflow"],
    "DATASET": ["clearml"],
    "SAMPLE": TRACKERS,
    "IMAGE": ["wandb"],
    "AUDIO": ["wandb"],
    "VIDEO": ["wandb"],
    "VISUALIZATION": ["wandb"],
    "REPORT": TRACKERS,
    "CONFIG": TRACKERS,
    "CODE": TRACKERS,
    "CUSTOM": TRACKERS,
}


def test_each_type_is_held_by_the_backends_that_suit_it(site: Site) -> None:
    answered = site(
        LOG
        + f"""
with Experiment("routed", backend={TRACKERS}, artifacts=True) as exp:
    print(json.dumps({{
        kind.name: sorted(exp.log_artifact(made(exp, f"a-{{kind.value}}", kind))) for kind in ArtifactType
    }}))
"""
    )
    assert answered == {kind: sorted(backends) for kind, backends in ROUTES.items()}
    held = site(
        f"""
import json
from tracelet import Experiment
exp = Experiment("routed", backend={TRACKERS}, artifacts=True)
print(json.dumps({{backend: sorted(one.type.name for one in exp.list_artifacts(backend=backend)) for backend in {TRACKERS}}}))
"""
    )
    assert held == {
        backend: sorted(kind for kind, backends in ROUTES.items() if backend in backends) for backend in TRACKERS
    }


@pytest.fixture
def dead(site: Site) -> Iterator[Callable[[], None]]:
    """Every server is dead; what is given brings them back."""
    for server in site.servers:
        server.kill()
    up = False

    def revive() -> None:
        nonlocal up
        for server in site.servers:
            server.start()
        up = True

    yield revive
    if not up:
        revive()


def test_with_every_server_dead_nothing_hangs_and_a_later_process_delivers_once(
    site: Site, dead: Callable[[], None]
) -> None:
    home = site.home()
    began = time.monotonic()
    told = site(
        LOG
        + f"""
config = ExperimentConfig(deadline=10, stop_timeout=10)
exp = Experiment("outage", backend={TRACKERS}, artifacts=True, routing="all", config=config).start()
began = time.monotonic()
results = exp.log_artifact(made(exp, "thing", ArtifactType.MODEL))
logged = time.monotonic()
exp.stop()
print(json.dumps([len(results), sorted(results.queued), logged - began, time.monotonic() - logged]))
""",
        home,
    )
    whole = time.monotonic() - began
    assert told[:2] == [0, sorted(TRACKERS)]
    assert programs.soon(told[2], 25), f"log_artifact took {told[2]:.1f} s"
    assert programs.soon(told[3], 25), f"stop took {told[3]:.1f} s"
    assert programs.soon(whole, 90), f"the program took {whole:.1f} s"
    dead()
    for _ in range(2):
        left = site(
            f"""
import json
from tracelet import Experiment
with Experiment("outage", backend={TRACKERS}, artifacts=True) as exp:
    print(json.dumps(exp.flush(600)))
""",
            home,
        )
        assert left == 0
    held = site(
        f"""
import json
from tracelet import Experiment
exp = Experiment("outage", backend={TRACKERS}, artifacts=True)
print(json.dumps({{backend: [one.version for one in exp.list_artifacts(backend=backend)] for backend in {TRACKERS}}}))
"""
    )
    assert held == {backend: ["v0"] for backend in TRACKERS}


CAPTURED = """
import json, logging, warnings
import pytorch_lightning as pl
import torch
from pathlib import Path
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
DATA = DataLoader(TensorDataset(torch.linspace(0, 1, 16).reshape(8, 2), torch.linspace(0, 1, 8).reshape(8, 1)), batch_size=4)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.layer(x)
    def training_step(self, batch, number):
        return mse_loss(self(batch[0]), batch[1])
    validation_step = training_step
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DATA
    val_dataloader = train_dataloader
"""

#: The specification's own snippets, as printed there.
SNIPPETS = """
from tracelet import Experiment
from tracelet.core.experiment import ExperimentConfig

model, datamodule = Net(), Data()
import pytorch_lightning as pl

# Enable artifact auto-detection
exp = Experiment("lightning_training", artifacts=True, automagic_artifacts=True)
exp.start()

# Your normal Lightning training - artifacts captured automatically
trainer = pl.Trainer(max_epochs=10)
trainer.fit(model, datamodule)
# Checkpoints, final model, and samples logged automatically

exp.stop()

epoch, loss, optimizer = 3, 0.25, torch.optim.SGD(model.parameters(), 0.1)
import torch

# Enable auto-detection
exp = Experiment("pytorch_training", artifacts=True, automagic_artifacts=True)
exp.start()

# Your normal PyTorch code - saves captured automatically
torch.save(model.state_dict(), "model.pth")  # Automatically logged
torch.save({
    'epoch': epoch,
    'model_state_dict': model.state_dict(),
    'optimizer_state_dict': optimizer.state_dict(),
    'loss': loss,
}, "checkpoint.pth")  # Automatically logged as checkpoint

exp.stop()

from tracelet.core.experiment import ExperimentConfig

config = ExperimentConfig(
    enable_artifacts=True,
    watch_filesystem=True,  # Enable filesystem watching
    artifact_watch_dirs=["./checkpoints", "./outputs", "./models"]
)

exp = Experiment("filesystem_watch", config=config, artifacts=True)
exp.start()

# Any files created in watched directories are automatically logged
# with type detection based on filename and content
for folder in ("checkpoints", "outputs", "models"):
    Path(folder).mkdir()
Path("outputs/report.html").write_text("<!doctype html><p>fine")
torch.save(model.state_dict(), "models/net.pth")
Path("checkpoints/notes.bin").write_bytes(bytes(9))
exp.stop()
print(json.dumps([value.tolist() for value in model.parameters()]))
"""

CAPTURES_READ = """
from tracelet import ArtifactType, Experiment

def held(name, backend):
    found = Experiment(name, backend=backend, artifacts=True).list_artifacts()
    return sorted([one.type.value, one.name, one.version] for one in found)

def read(backend):
    lightning = Experiment("lightning_training", backend=backend, artifacts=True)
    final = lightning.get_artifact("net-model", version="final").load_model(trust=True)
    newest = lightning.get_artifact("net-checkpoint", version="periodic")
    (path,) = newest.download(f"ckpt-{backend}").rglob("*.ckpt")
    resumed, steps = Net(), []
    trainer = pl.Trainer(max_epochs=11, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    resumed.on_train_batch_start = lambda batch, number: steps.append(trainer.global_step)
    trainer.fit(resumed, Data(), ckpt_path=str(path))

    state = Experiment("pytorch_training", backend=backend, artifacts=True).get_artifact("checkpoint")
    loaded = torch.load(state.download(f"state-{backend}") / "checkpoint.pth", weights_only=True)
    return {
        "lightning": held("lightning_training", backend), "torch": held("pytorch_training", backend),
        "files": held("filesystem_watch", backend), "final": [value.tolist() for value in final.parameters()],
        "resumed": steps[0], "newest": newest.metadata["epoch"], "state": [loaded["epoch"], loaded["loss"]],
        "metadata": {key: state.metadata[key] for key in ("epoch", "loss", "learning_rate")},
    }

print(json.dumps({backend: read(backend) for backend in READ_FROM}))
"""


def test_what_the_specification_captures_comes_back_from_each_backend(site: Site) -> None:
    home = site.home()
    chosen = f"import os\nos.environ |= {{'TRACELET_BACKEND': {','.join(EVERYWHERE)!r}, 'TRACELET_ROUTING': 'all'}}\n"
    weights = site(chosen + CAPTURED + SNIPPETS, home)
    # Who reads from a tracker has nothing of the home of whoever logged.
    found = site(f"READ_FROM = ['local']\n{CAPTURED}{CAPTURES_READ}", home)
    found |= site(f"READ_FROM = {TRACKERS}\n{CAPTURED}{CAPTURES_READ}")
    epochs = [f"v{number}" for number in range(10)]
    expected = {
        "lightning": sorted(
            [
                *(["checkpoint", "net-checkpoint", version] for version in epochs),
                *(["sample", "net-samples", version] for version in epochs),
                ["model", "net-model", "v0"],
            ]
        ),
        "torch": [["checkpoint", "checkpoint", "v0"], ["weights", "model-weights", "v0"]],
        "files": [["custom", "notes-custom", "v0"], ["report", "report", "v0"], ["weights", "net-weights", "v0"]],
        "final": weights,
        "newest": 9,
        "resumed": 20,
        "state": [3, 0.25],
        "metadata": {"epoch": 3, "loss": 0.25, "learning_rate": 0.1},
    }
    assert found == dict.fromkeys(EVERYWHERE, expected)


MANAGE = """
import json
from tracelet import Experiment, ProtectedVersion

def states(exp):
    return {
        backend: sorted([one.name, one.number, list(one.aliases)] for one in exp.list_artifacts(backend=backend))
        for backend in BACKENDS
    }

def refused(artifact):
    try:
        artifact.delete()
    except ProtectedVersion as error:
        return str(error)

told = {}
with Experiment("managed", backend=BACKENDS, artifacts=True, routing="all") as exp:
    for number, loss in enumerate([0.3, 0.1, 0.4, 0.2, 0.5]):
        net = exp.create_artifact("net", "custom").add_object({"number": number}, "numbers")
        net.metadata["loss"] = loss
        exp.log_artifact(net, aliases=["best"] if number == 0 else []).raise_for_errors()
    second = exp.get_artifact("net", "v1", backend="local")
    second.add_alias("best", "candidate").raise_for_errors()
    second.remove_alias("candidate").raise_for_errors()
    told["moved"] = states(exp)
    told["aliased"] = refused(second)
    exp.use_artifact("net", "v2", backend="local")
    exp.log_artifact(exp.create_artifact("report", "custom").add_object([1], "numbers")).raise_for_errors()
    told["used"] = refused(exp.get_artifact("net", "v2", backend="local"))
    pruned = exp.prune("net", keep_best="loss:min:2")
    pruned.raise_for_errors()
    told["goes"] = sorted([one.backend, one.number] for one in pruned.goes)
    told["pruned"] = states(exp)
    exp.get_artifact("report", backend="local").delete().raise_for_errors()
    exp.get_artifact("net", "v2", backend="local").delete().raise_for_errors()
    exp.get_artifact("net", "v1", backend="local").delete(force=True).raise_for_errors()
    told["left"] = states(exp)
print(json.dumps(told))
"""


def test_aliases_move_and_versions_go_in_every_backend_alike(site: Site) -> None:
    told = site(MANAGE)
    everywhere = ", ".join(EVERYWHERE)
    expected = {
        "moved": [["net", 0, []], ["net", 1, ["best"]], ["net", 2, []], ["net", 3, []], ["net", 4, []]],
        "pruned": [["net", 1, ["best"]], ["net", 2, []], ["net", 3, []], ["net", 4, []], ["report", 0, []]],
        "left": [["net", 3, []], ["net", 4, []]],
    }
    for step, state in expected.items():
        assert told[step] == dict.fromkeys(EVERYWHERE, state), step
    assert f"it has the alias 'best' ({everywhere})" in told["aliased"]
    assert f"it is an input of 'report' v0 ({everywhere})" in told["used"]
    assert told["goes"] == sorted([one, 0] for one in EVERYWHERE)
