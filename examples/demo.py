"""The main job: train, log, and get everything back, verified, in another process.

Run it with ``python -m nox -s demo``. It trains a classifier on scikit-learn's digits, logs the model, its
predictions, a plot, the configuration, the data and a reference to the embedded ``local`` backend, and
then starts a second Python, in another folder, which finds them, loads the model, and predicts.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracelet import ArtifactType, Experiment, ExperimentConfig

HERE = ".tracelet-demo"
HYPERPARAMETERS = {"C": 0.1, "max_iter": 200, "seed": 7}


def experiment(folder: Path) -> Experiment:
    return Experiment("digits", backend="local", config=ExperimentConfig(enable_artifacts=True, dir=folder / HERE))


@contextlib.contextmanager
def told(doing: str) -> Iterator[None]:
    """Say what is being done before it is, and then how long it took."""
    print(f"  {doing} …", end="", flush=True)
    began = time.perf_counter()
    yield
    print(f" {time.perf_counter() - began:.1f} s", flush=True)


def train(folder: Path) -> None:
    # Libraries take seconds to import, and skops imports all of scikit-learn: nobody is to wait without a word.
    with told("importing scikit-learn, skops and matplotlib"):
        import matplotlib.figure
        import numpy as np
        import skops.io  # noqa: F401  the first model that is logged would wait for it
        from sklearn.datasets import load_digits
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import accuracy_score, confusion_matrix
        from sklearn.model_selection import train_test_split

    with told("training on handwritten digits"):
        digits = load_digits()
        seed = HYPERPARAMETERS["seed"]
        train_x, test_x, train_y, test_y = train_test_split(digits.data, digits.target, random_state=seed)
        np.savez_compressed(folder / "digits.npz", test_x=test_x, test_y=test_y)
        model = LogisticRegression(C=HYPERPARAMETERS["C"], max_iter=HYPERPARAMETERS["max_iter"])
        predicted = model.fit(train_x / 16, train_y).predict(test_x / 16)
    np.savetxt(folder / "predictions.csv", np.c_[test_y, predicted], fmt="%d", header="true,predicted", delimiter=",")
    plot(matplotlib.figure.Figure(figsize=(4, 4)), confusion_matrix(test_y, predicted), folder / "confusion.png")

    with experiment(folder) as exp:
        artifacts = [
            exp.create_artifact("dataset", ArtifactType.DATASET, "Held-out digits, 8 x 8 pixels")
            .add_file(folder / "digits.npz")
            .add_reference("https://archive.ics.uci.edu/dataset/80", description="Where the digits come from"),
            exp.create_artifact("settings", ArtifactType.CONFIG).add_object(HYPERPARAMETERS, "hyperparameters"),
            exp.create_artifact("classifier", ArtifactType.MODEL, "Digits, logistic regression").add_model(model),
            exp.create_artifact("predictions", ArtifactType.SAMPLE).add_file(folder / "predictions.csv"),
            exp.create_artifact("confusion", ArtifactType.VISUALIZATION).add_file(folder / "confusion.png"),
        ]
        artifacts[2].metadata["accuracy"] = accuracy_score(test_y, predicted)
        for artifact in artifacts:
            began = time.perf_counter()
            result = exp.log_artifact(artifact)["local"]
            took = 1000 * (time.perf_counter() - began)
            print(f"  logged {artifact.name:<12} {result.version}  {result.size_bytes:>8,} bytes  {took:6.1f} ms")


def plot(figure: Any, matrix: Any, path: Path) -> None:
    axes = figure.subplots()
    axes.imshow(matrix)
    axes.set(xlabel="predicted", ylabel="true", title="Digits")
    figure.savefig(path)


def read_back(folder: Path) -> None:
    exp = experiment(folder)
    print(f"  {'name':<12} {'type':<14} {'version':<8} {'bytes':>8}  sha256 of the manifest's content")
    for artifact in exp.list_artifacts():
        artifact.download()  # every byte is verified against the manifest, or this raises
        print(
            f"  {artifact.name:<12} {artifact.type.value:<14} {artifact.version:<8} {artifact.size_bytes:>8,}  "
            f"{artifact.digest[:16]}… verified"
        )
    with told("importing scikit-learn and skops"):
        import numpy as np
        import skops.io  # noqa: F401  loading the model would wait for it
        from sklearn.metrics import accuracy_score

    data = np.load(exp.get_artifact("dataset").download() / "digits.npz")
    classifier = exp.get_artifact("classifier")
    accuracy = accuracy_score(data["test_y"], classifier.load_model().predict(data["test_x"] / 16))
    if accuracy != classifier.metadata["accuracy"]:
        raise SystemExit(f"accuracy was {classifier.metadata['accuracy']} when logged, and is {accuracy} now")
    print(f"  the model predicts as it did when it was logged: accuracy {accuracy:.4f}")


def main() -> None:
    if sys.argv[1:2] == ["read"]:
        read_back(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as training, tempfile.TemporaryDirectory() as elsewhere:
        print(f"This process (in {training}) trains and logs:", flush=True)
        train(Path(training))
        print(f"\nAnother process (in {elsewhere}) finds, verifies, loads and predicts:", flush=True)
        command = [sys.executable, str(Path(__file__).resolve()), "read", training]
        subprocess.run(command, cwd=elsewhere, check=True)


if __name__ == "__main__":
    main()
