"""The code of the guide, and of the page about capture, runs as printed, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tracelet import ArtifactType, Experiment, LogResults, TraceletSettings
from tracelet.settings import WatchedDirectory

GUIDE = Path(__file__).parents[1] / "docs" / "how-to" / "guide.md"
CAPTURE = GUIDE.with_name("capture.md")
FILES = (
    *("model.pth", "config.yaml", "config.json", "metrics.json", "report.html", "large_report.html"),
    *("dataset_info.json", "sample.png", *(f"fold_{fold}_model.pth" for fold in range(5))),
)


def blocks(language: str, page: Path = GUIDE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).write_text(json.dumps({"file": name}))
    return tmp_path


def test_the_guides_code_runs_as_printed(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = {
        "pytorch_model": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()),
        "sample_input": torch.ones(1, 4),
        "summary_dict": {"accuracy": 0.5},
        "size": 12,
    }
    code = blocks("python")
    assert len(code) >= 20
    for number, block in enumerate(code):
        # The embedded backend stands in for the trackers that the page names.
        runnable = block.replace('["mlflow", "wandb"]', '["local"]').replace('backend="mlflow"', 'backend="local"')
        exec(compile(runnable, f"{GUIDE.name}, block {number}", "exec"), space)
        if "model_artifact = exp.create_artifact" in block:
            assert capsys.readouterr().out == "Logged to 1 backends: ['local']\n"
            exp = space["exp"]
            exp.log_artifact(space["model_artifact"], version="v1.2.0")
        if "Chain operations" in block:
            report = space["artifact"]
        if "exp.stats()" in block:
            assert "'backends': {'local'" in capsys.readouterr().out
        if "Use references for very large" in block:
            exp.log_artifact(space["artifact"])
        if "# Log all at once" in block or "hyperparameters" in block:
            logged = exp.log_artifact(report)
            assert isinstance(logged, LogResults)
            assert logged.ok
    exp.stop()

    assert {artifact.name for artifact in space["artifacts"]} >= {"trained_classifier", "cv_fold_4", "universal_model"}
    assert {artifact.name for artifact in space["model_artifacts"]} == {
        "trained_classifier",
        "universal_model",
        *(f"cv_fold_{fold}" for fold in range(5)),
    }
    assert json.loads(space["metrics"]) == {"file": "metrics.json"}
    assert space["summary"] == {"accuracy": 0.5}
    expected = space["pytorch_model"](space["sample_input"])
    assert torch.equal(space["predictor"](space["sample_input"]), expected)
    assert isinstance(space["exp"]._is_framework_available("pytorch_lightning"), bool)
    references = exp.get_artifact("efficient_logging").references
    assert [reference.uri for reference in references] == ["file:///path/to/large/file.bin"]


def test_the_code_about_capture_runs_as_printed(elsewhere: Path) -> None:
    space: dict[str, Any] = {}
    saving, watching = blocks("python", CAPTURE)
    exec(compile(saving, f"{CAPTURE.name}, block 0", "exec"), space)
    (weights,) = space["exp"].list_artifacts()
    assert (weights.name, weights.type) == ("model-weights", ArtifactType.WEIGHTS)
    exec(compile(watching, f"{CAPTURE.name}, block 1", "exec"), space)
    watched = Experiment("watched", config=space["config"]).settings.artifact_watch_dirs
    assert watched == ["./checkpoints", WatchedDirectory("./plots", type="visualization", name="plot-{stem}")]


def test_the_guides_variables_configure_an_experiment(elsewhere: Path) -> None:
    (exports,) = blocks("bash")
    program = (
        "from tracelet import Experiment\n"
        "settings = Experiment('from-variables').settings\n"
        "print(settings.enable_artifacts, settings.automagic_artifacts, settings.watch_filesystem)\n"
        "print(settings.artifact_watch_dirs)\n"
    )
    script = f'{exports}\nexec {sys.executable} -c "{program}"'
    output = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, env=os.environ).stdout
    assert output == "True True False\n['./checkpoints', './outputs']\n"


def test_the_guide_explains_every_setting() -> None:
    text = GUIDE.read_text()
    fields = [field.name for field in TraceletSettings.__attrs_attrs__]
    rows = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert [row for row in rows if row in fields] == fields


def test_another_process_finds_what_the_guide_logged(elsewhere: Path) -> None:
    with Experiment("my_experiment", artifacts=True) as exp:
        artifact = exp.create_artifact("results", ArtifactType.REPORT).add_file("metrics.json")
        digest = exp.log_artifact(artifact)["local"].digest
    program = (
        "from tracelet import Experiment\n"
        "artifact = Experiment('my_experiment', artifacts=True).get_artifact('results')\n"
        "print(artifact.digest, (artifact.download('there') / 'metrics.json').read_text())\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=elsewhere
    ).stdout
    assert output == f'{digest} {{"file": "metrics.json"}}\n'
