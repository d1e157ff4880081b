"""Users' code about artifacts, word for word as it is given to them, on MLflow's own server and W&B's own client.

What is given to them about automatic capture runs in ``test_every_backend.py``, on every backend.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers import programs
from servers.mlflow_server import MlflowServer
from servers.wandb_server import wandb_server

ENABLE_ARTIFACT_TRACKING = """
from tracelet import Experiment

# Enable artifact tracking
exp = Experiment(
    name="my_experiment",
    backend=["mlflow", "wandb"],
    artifacts=True,              # Enable artifact system
    automagic_artifacts=True     # Enable automatic detection
)
exp.start()
"""

BASIC_ARTIFACT_LOGGING = """
from tracelet.core.artifacts import ArtifactType

# Create and log a model artifact
model_artifact = exp.create_artifact(
    name="trained_classifier",
    artifact_type=ArtifactType.MODEL,
    description="Trained image classifier model"
)

# Add files to the artifact
model_artifact.add_file("model.pth", "model/classifier.pth")
model_artifact.add_file("config.yaml", "model/config.yaml")

# Add model object with metadata
model_artifact.add_model(pytorch_model, framework="pytorch")

# Log to all backends
results = exp.log_artifact(model_artifact)
print(f"Logged to {len(results)} backends: {list(results.keys())}")
"""

USING_THE_BUILDER_PATTERN = r"""
# Create artifact with builder pattern
artifact = exp.create_artifact(
    name="experiment_results",
    artifact_type=ArtifactType.REPORT,
    description="Complete experiment results and analysis"
)

# Chain operations
artifact.add_file("report.html", "reports/experiment.html") \
        .add_file("metrics.json", "data/metrics.json") \
        .add_object(summary_dict, "summary", "json")
"""

ADDING_FILES = """
# Add local files
artifact.add_file(
    local_path="model.pth",
    artifact_path="model/checkpoint.pth",  # Optional: path in artifact
    description="Best model checkpoint"    # Optional: file description
)

# Add multiple files
files = ["model.pth", "config.yaml", "metrics.json"]
for file_path in files:
    artifact.add_file(file_path)
"""

ADDING_OBJECTS = """
# Add Python objects with serialization
config = {"learning_rate": 0.001, "batch_size": 32}
artifact.add_object(
    obj=config,
    name="hyperparameters",
    serializer="json",  # or "pickle", "yaml"
    description="Training hyperparameters"
)

# Supported serializers: json, pickle, yaml
"""

ADDING_EXTERNAL_REFERENCES = """
# Add reference to external data (large files, cloud storage)
artifact.add_reference(
    uri="s3://my-bucket/large-dataset.tar.gz",
    size_bytes=5_000_000_000,  # 5GB
    description="Training dataset stored in S3"
)

# Supports any URI scheme: s3://, gs://, http://, file://
"""

ADDING_MODEL_OBJECTS = """
# Add PyTorch model with framework detection
artifact.add_model(
    model=pytorch_model,
    framework="pytorch",  # auto-detected if not specified
    input_example=sample_input,  # optional
    description="Trained ResNet50 classifier"
)

# Framework auto-detection supports:
# - pytorch, tensorflow, sklearn, xgboost, lightgbm
"""

CUSTOM_ROUTING = """
# Override routing for specific artifacts
artifact.metadata["preferred_backends"] = ["mlflow", "clearml"]

# Size-based routing (files >100MB use references)
artifact.metadata["force_reference"] = True
"""

FRAMEWORK_INTEGRATION = """
exp = Experiment(
    name="auto_artifacts",
    backend=["mlflow"],
    artifacts=True,
    automagic_artifacts=True  # Enable auto-detection
)
"""

LIST_ARTIFACTS = """
# List all artifacts
artifacts = exp.list_artifacts()

# Filter by type
model_artifacts = exp.list_artifacts(type_filter=ArtifactType.MODEL)

# Filter by backend
mlflow_artifacts = exp.list_artifacts(backend="mlflow")
"""

GET_SPECIFIC_ARTIFACT = """
# Get latest version
artifact = exp.get_artifact("trained_classifier")

# Get specific version
artifact = exp.get_artifact("trained_classifier", version="v1.2.0")

# Get from specific backend
artifact = exp.get_artifact("trained_classifier", backend="mlflow")
"""

EXPERIMENT_CONFIGURATION = """
from tracelet.core.experiment import ExperimentConfig

config = ExperimentConfig(
    # Artifact settings
    enable_artifacts=True,
    automagic_artifacts=True,
    watch_filesystem=False,  # Resource intensive
    artifact_watch_dirs=["./checkpoints", "./outputs"]
)

exp = Experiment("configured_exp", config=config)
"""

ENVIRONMENT_VARIABLES = """
# Enable artifact tracking
export TRACELET_ENABLE_ARTIFACTS=true
export TRACELET_AUTOMAGIC_ARTIFACTS=true

# Filesystem watching
export TRACELET_WATCH_FILESYSTEM=false
export TRACELET_ARTIFACT_WATCH_DIRS="./checkpoints,./outputs"
"""

SETTINGS_CONFIGURATION = """
from tracelet.settings import TraceletSettings

settings = TraceletSettings(
    enable_artifacts=True,
    automagic_artifacts=True,
    watch_filesystem=False,
    artifact_watch_dirs=["./checkpoints", "./outputs"]
)
"""

CUSTOM_ARTIFACT_TYPES = """
# Use CUSTOM type for specialized artifacts
custom_artifact = exp.create_artifact(
    name="optimization_trace",
    artifact_type=ArtifactType.CUSTOM,
    description="Custom optimization algorithm trace"
)

# Add custom metadata
custom_artifact.metadata.update({
    "algorithm": "custom_optimizer",
    "convergence_criteria": "gradient_norm < 1e-6",
    "custom_type": "optimization_trace"
})
"""

BATCH_OPERATIONS = """
# Create multiple related artifacts
artifacts = []
for fold in range(5):
    artifact = exp.create_artifact(
        name=f"cv_fold_{fold}",
        artifact_type=ArtifactType.MODEL
    )
    artifact.add_file(f"fold_{fold}_model.pth")
    artifacts.append(artifact)

# Log all at once
results = {}
for artifact in artifacts:
    results.update(exp.log_artifact(artifact))
"""

CROSS_PLATFORM_COMPATIBILITY = """
# Ensure artifacts work across all backends
artifact = exp.create_artifact("universal_model", ArtifactType.MODEL)

# Add files in platform-neutral paths
artifact.add_file("model.pth", "model/weights.pth")  # MLflow style
artifact.add_file("config.json", "config.json")     # W&B style

# Add platform-specific metadata
artifact.metadata.update({
    "mlflow_flavor": "pytorch",
    "wandb_type": "model",
    "clearml_framework": "pytorch"
})
"""

LARGE_FILES = """
# For files >100MB, use references instead of uploads
large_artifact = exp.create_artifact("large_dataset", ArtifactType.DATASET)

# Upload small metadata files
large_artifact.add_file("dataset_info.json")
large_artifact.add_file("sample.png")  # Preview

# Reference large data externally
large_artifact.add_reference(
    uri="s3://my-bucket/full-dataset.tar.gz",
    size_bytes=10_000_000_000,  # 10GB
    description="Complete training dataset"
)
"""

MEMORY_USAGE = """
# Avoid loading large objects into memory
artifact = exp.create_artifact("efficient_logging", ArtifactType.REPORT)

# Stream large files instead of loading
with open("large_report.html", "rb") as f:
    artifact.add_file("large_report.html")  # File streamed, not loaded

# Use references for very large objects
artifact.add_reference("file:///path/to/large/file.bin")
"""

ARTIFACTS_NOT_BEING_LOGGED = """
# Check if artifacts are enabled
exp = Experiment("test", artifacts=True)  # Must enable artifacts

# Check backend support
print(exp._artifact_manager.get_stats())  # Debug info
"""

AUTOMAGIC_DETECTION_NOT_WORKING = """
# Enable debug logging
import logging
logging.getLogger("tracelet.automagic").setLevel(logging.DEBUG)

# Check framework availability
exp._is_framework_available("pytorch_lightning")  # Returns bool
"""

FILE_STABILITY_ISSUES = """
# For large files being written, the system waits for stability
# Default: 5 seconds max wait, 3 stable checks
# Files are checked for size stability and lock status
"""

MEMORY_ISSUES_WITH_LARGE_ARTIFACTS = """
# Use references for large files
artifact.add_reference("s3://bucket/large-file.bin", size_bytes=size)

# Or disable filesystem watching
config = ExperimentConfig(watch_filesystem=False)
"""

#: What the pages' reader has: files, a model, and values of other parts of the program.
PREPARED = """
import json
from pathlib import Path
import torch

for name in (
    "config.yaml", "config.json", "metrics.json", "report.html", "large_report.html", "dataset_info.json", "sample.png",
    *(f"fold_{number}_model.pth" for number in range(5)),
):
    Path(name).write_text(json.dumps({"file": name}))
pytorch_model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
torch.save(pytorch_model.state_dict(), "model.pth")
sample_input = torch.ones(1, 4)
summary_dict = {"accuracy": 0.5}
size = 12
told = {}
"""

#: The page from its beginning; between its blocks stands what a reader does with them.
LOGGED = "\n".join(
    [
        PREPARED,
        ENABLE_ARTIFACT_TRACKING,
        "started = exp",
        BASIC_ARTIFACT_LOGGING,
        "told['model'] = dict(results)['mlflow'].version, list(results)",
        "assert started.log_artifact(model_artifact, version='v1.2.0').ok",
        USING_THE_BUILDER_PATTERN,
        ADDING_FILES,
        ADDING_OBJECTS,
        ADDING_EXTERNAL_REFERENCES,
        ADDING_MODEL_OBJECTS,
        "told['report'] = sorted(exp.log_artifact(artifact))",
        "artifact = exp.create_artifact('routed', ArtifactType.IMAGE).add_file('sample.png')",
        CUSTOM_ROUTING,
        "told['routed'] = list(exp.log_artifact(artifact))",
        FRAMEWORK_INTEGRATION,
        "with exp:",
        "    Path('auto').mkdir()",
        "    torch.save(pytorch_model.state_dict(), 'auto/captured.pth')",
        "told['captured'] = [[one.name, one.backend] for one in exp.list_artifacts()]",
        "assert started.flush(60) == 0",
        "exp = started",
        LIST_ARTIFACTS,
        "told['all'] = sorted({one.name for one in artifacts})",
        "told['models'] = sorted({one.name for one in model_artifacts})",
        "told['mlflow'] = sorted({one.backend for one in mlflow_artifacts})",
        GET_SPECIFIC_ARTIFACT,
        "told['got'] = [artifact.name, artifact.backend, artifact.type.value]",
        EXPERIMENT_CONFIGURATION,
        "told['configured'] = [exp.settings.automagic_artifacts, exp.settings.artifact_watch_dirs]",
        SETTINGS_CONFIGURATION,
        "told['settings'] = [settings.automagic_artifacts, settings.artifact_watch_dirs]",
        "exp = started",
        CUSTOM_ARTIFACT_TYPES,
        "told['custom'] = sorted(exp.log_artifact(custom_artifact))",
        BATCH_OPERATIONS,
        "told['batch'] = list(results), [one.name for one in artifacts]",
        CROSS_PLATFORM_COMPATIBILITY,
        "told['universal'] = list(exp.log_artifact(artifact))",
        LARGE_FILES,
        "told['large'] = sorted(exp.log_artifact(large_artifact))",
        MEMORY_USAGE,
        "told['efficient'] = sorted(exp.log_artifact(artifact))",
        ARTIFACTS_NOT_BEING_LOGGED,
        AUTOMAGIC_DETECTION_NOT_WORKING,
        "told['available'] = exp._is_framework_available('pytorch_lightning')",
        FILE_STABILITY_ISSUES,
        "exp = started",
        "artifact = exp.create_artifact('referring', ArtifactType.DATASET)",
        MEMORY_ISSUES_WITH_LARGE_ARTIFACTS,
        "told['referring'] = sorted(exp.log_artifact(artifact))",
        "told['unwatched'] = config.watch_filesystem",
        "told['weights'] = [value.tolist() for value in pytorch_model.parameters()]",
        "exp.stop()",
        "print(json.dumps(told))",
    ]
)

READ = """
import json
import torch
from tracelet import Experiment

exp = Experiment("my_experiment", backend=["mlflow", "wandb"], artifacts=True)
names = ["trained_classifier", "experiment_results", "optimization_trace", "cv_fold_4", "universal_model", "large_dataset"]
held = {name: exp.get_artifact(name) for name in [*names, "efficient_logging", "referring", "routed"]}
report = held["experiment_results"]
print(json.dumps({
    "files": {name: sorted(file.artifact_path for file in one.files) for name, one in held.items()},
    "references": {name: [[ref.uri, ref.size_bytes] for ref in one.references] for name, one in held.items()},
    "metadata": {name: one.metadata for name, one in held.items()},
    "objects": [report.load_object("summary"), report.load_object("hyperparameters")],
    "report": (report.download("report") / "reports/experiment.html").read_text(),
    "weights": [value.tolist() for value in report.load_model().parameters()],
    "classifier": [value.tolist() for value in held["trained_classifier"].load_model().parameters()],
}))
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a program that knows where both trackers are."""
    folder = tmp_path_factory.mktemp("spec")
    (folder / "mlflow").mkdir()
    with ExitStack() as stack:
        mlflow = stack.enter_context(MlflowServer(folder / "mlflow"))
        wandb = stack.enter_context(wandb_server(folder / "wandb"))
        yield {**wandb.environ(folder / "home"), "MLFLOW_TRACKING_URI": mlflow.url}


def test_what_is_printed_runs_and_another_process_finds_all_of_it(environ: dict[str, str], tmp_path: Path) -> None:
    program = programs.begin(LOGGED, tmp_path / "there", environ)
    out, err = program.communicate(timeout=600)
    assert program.returncode == 0, (out, err)
    first, *_, stats, last = out.splitlines()
    assert first == "Logged to 1 backends: ['mlflow']"
    assert "'backends': {'local'" in stats
    told = json.loads(last)
    weights = told.pop("weights")
    both = ["mlflow", "wandb"]
    directories = ["./checkpoints", "./outputs"]
    folds = [f"cv_fold_{number}" for number in range(5)]
    assert told.pop("captured") == [["captured-weights", "mlflow"]]
    assert told == {
        "model": ["v0", ["mlflow"]],
        "report": both,
        "routed": ["mlflow"],
        # Both experiments capture what is saved while both run.
        "all": ["captured-weights", "experiment_results", "routed", "trained_classifier"],
        "models": ["trained_classifier"],
        "mlflow": ["mlflow"],
        "got": ["trained_classifier", "mlflow", "model"],
        "configured": [True, directories],
        "settings": [True, directories],
        "custom": both,
        "batch": [["mlflow"], folds],
        "universal": ["mlflow"],
        "large": both,
        "efficient": both,
        "available": True,
        "referring": both,
        "unwatched": False,
    }
    found = programs.run(READ, tmp_path / "elsewhere", environ)
    assert found["weights"] == found["classifier"] == weights
    assert found["objects"] == [{"accuracy": 0.5}, {"learning_rate": 0.001, "batch_size": 32}]
    assert json.loads(found["report"]) == {"file": "report.html"}
    files = found["files"]
    assert {"model/classifier.pth", "model/config.yaml"} <= set(files["trained_classifier"])
    assert {"reports/experiment.html", "data/metrics.json", "model/checkpoint.pth", "model.pth", "config.yaml"} <= set(
        files["experiment_results"]
    )
    assert files["universal_model"] == ["config.json", "model/weights.pth"]
    assert files["cv_fold_4"] == ["fold_4_model.pth"]
    references = found["references"]
    assert references["experiment_results"] == [["s3://my-bucket/large-dataset.tar.gz", 5_000_000_000]]
    assert references["large_dataset"] == [["s3://my-bucket/full-dataset.tar.gz", 10_000_000_000]]
    assert references["efficient_logging"] == [["file:///path/to/large/file.bin", None]]
    assert references["referring"] == [["s3://bucket/large-file.bin", 12]]
    assert found["metadata"]["optimization_trace"]["convergence_criteria"] == "gradient_norm < 1e-6"
    assert found["metadata"]["universal_model"]["clearml_framework"] == "pytorch"


def test_the_printed_variables_configure_an_experiment(tmp_path: Path) -> None:
    program = (
        "from tracelet import Experiment\n"
        "settings = Experiment('from-variables').settings\n"
        "print(settings.enable_artifacts, settings.automagic_artifacts, settings.watch_filesystem)\n"
        "print(settings.artifact_watch_dirs)\n"
    )
    script = f'{ENVIRONMENT_VARIABLES}\nexec {sys.executable} -c "{program}"'
    done = subprocess.run(
        ["bash", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=programs.clean_environment({}),
    )
    assert done.stdout == "True True False\n['./checkpoints', './outputs']\n"
