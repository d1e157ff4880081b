"""Take the pictures of MLflow's and Aim's own pages that ``docs/trackers`` shows. ``python docs/pictures/screenshots.py``.

It starts ``mlflow server`` and ``aim up`` on this machine, logs one small training to both by Tracelet, and looks at what they make of
it with Chromium, which is installed by ``apt-get install chromium``. It runs in the environment of ``nox -s tests``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tracelet-core" / "tests"))

from browsing import Page, browser

from servers import programs
from servers.aim_server import AimServer
from servers.mlflow_server import MlflowServer

HERE = Path(__file__).parent
#: Seconds until a page shows what it is opened for.
LIMIT = 120.0
#: Bytes that a picture may have.
LARGEST = 200_000
#: What is logged: the same lines for both trackers.
TRAINING = """
import json
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tracelet import ArtifactType, Experiment

digits = load_digits()
train, test = slice(0, 1200), slice(1200, None)
np.savez("digits.npz", images=digits.images[test], labels=digits.target[test])
with Experiment("digits", backend=BACKEND, artifacts=True) as exp:
    data = exp.create_artifact("dataset", ArtifactType.DATASET, "Held-out digits, 8 x 8 pixels")
    exp.log_artifact(data.add_file("digits.npz"), aliases=["held-out"]).raise_for_errors()
    exp.use_artifact("dataset")
    for strength in (0.001, 0.01, 1.0):
        model = LogisticRegression(C=strength, max_iter=300).fit(digits.data[train] / 16, digits.target[train])
        right = model.predict(digits.data[test] / 16)
        accuracy = float((right == digits.target[test]).mean())
        stored = exp.create_artifact("classifier", ArtifactType.MODEL, "Digits, logistic regression")
        stored.add_model(model, input_example=digits.data[:2] / 16).add_object({"C": strength}, "settings")
        stored.metadata.update(accuracy=accuracy, C=strength)
        exp.log_artifact(stored, aliases=["best"]).raise_for_errors()
        counts = np.zeros((10, 10))
        np.add.at(counts, (digits.target[test], right), 1)
        figure = Figure(figsize=(4, 4))
        axes = figure.subplots()
        axes.imshow(counts, cmap="viridis")
        axes.set(xlabel="predicted", ylabel="true", title=f"C = {strength}: {accuracy:.1%}")
        figure.savefig("confusion.png")
        plot = exp.create_artifact("confusion", ArtifactType.VISUALIZATION, "Confusion on the held-out digits")
        plot.metadata.update(accuracy=accuracy, C=strength)
        exp.log_artifact(plot.add_file("confusion.png")).raise_for_errors()
    exp.log_artifact(stored, version="v1.2.0", aliases=["best"]).raise_for_errors()
"""


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as name, browser() as page:
        page.look_as(width=1280, height=760)
        folder = Path(name)
        with MlflowServer(made(folder / "mlflow")) as server:
            of_mlflow(page, server, folder)
        of_aim(page, made(folder / "aim"), folder)


def of_mlflow(page: Page, server: MlflowServer, folder: Path) -> None:
    """The files of a version in its run, and the registered model."""
    program = TRAINING.replace("BACKEND", repr("mlflow")) + MLFLOW_TOLD
    told = programs.run(program, folder / "logs-to-mlflow", {"MLFLOW_TRACKING_URI": server.url})
    run = f"{server.url}/#/experiments/{told['experiment']}/runs/{told['run']}"
    show(page, f"{run}/artifacts/confusion/v2/confusion.png", ["confusion/v2/confusion.png", "tracelet.json"])
    press(page, "Close")  # the assistant beside it
    photograph(page, "mlflow-run")
    show(page, f"{server.url}/#/models/classifier", ["Version 3", "v1-2-0"])
    photograph(page, "mlflow-model")


#: What tells where to look, in MLflow's own words.
MLFLOW_TOLD = """
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("digits").experiment_id
(run,) = client.search_runs([experiment])
print(json.dumps({"experiment": experiment, "run": run.info.run_id}))
"""


def of_aim(page: Page, repo: Path, folder: Path) -> None:
    """The artifacts of a run, and its pictures in the explorer."""
    program = TRAINING.replace("BACKEND", repr("aim")) + AIM_TOLD
    told = programs.run(program, folder / "logs-to-aim", {"TRACELET_AIM_REPO": str(repo)})
    with AimServer(repo, "up") as server:
        run = f"{server.url}/runs/{told['run']}"
        show(page, f"{run}/overview", ["tracelet.artifacts.classifier.latest.label", "classifier/v0/"])
        press(page, "Skip")  # an invitation
        page.look_as(width=1280, height=1000)  # what the run notes, and its files below
        photograph(page, "aim-run")
        page.look_as(width=1280, height=760)
        show(page, f"{run}/images", ["confusion (images)", "confusion.png"])
        photograph(page, "aim-images")


AIM_TOLD = """
import os
from aim import Repo
(run,) = Repo(os.environ["TRACELET_AIM_REPO"]).list_all_runs()
print(json.dumps({"run": run}))
"""


def show(page: Page, address: str, texts: list[str]) -> None:
    """Open a page, and wait until it shows the texts."""
    page.open(address)
    until(page, f"{texts!r}.every(text => document.body.innerText.includes(text))")


def press(page: Page, name: str) -> None:
    """Press the button of that name when it is there, and wait until it is gone."""
    button = f"[...document.querySelectorAll('button')].find(one => [one.ariaLabel, one.innerText].includes({name!r}))"
    until(page, f"{button} !== undefined")
    page.run(f"{button}.click()")
    until(page, f"{button} === undefined")


def photograph(page: Page, name: str) -> None:
    """Write what the page shows, when every picture in it is there and nothing moves any more."""
    until(page, "[...document.images].every(one => one.complete)")
    target, before = HERE / f"{name}.png", b""
    while (now := page.settle().photograph(target).read_bytes()) != before:
        before = now
        time.sleep(0.5)
    if len(now) > LARGEST:
        raise SystemExit(f"{target.name} has {len(now):,} bytes: make the window smaller.")


def until(page: Page, expression: str) -> None:
    """Wait until an expression holds in the page."""
    end = time.monotonic() + LIMIT
    while not page.run(expression):
        if time.monotonic() > end:
            raise SystemExit(f"after {LIMIT:g} seconds this did not hold in the page: {expression}")
        time.sleep(0.2)


def made(folder: Path) -> Path:
    """Make a folder, and return it."""
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
