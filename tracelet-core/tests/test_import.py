"""What importing tracelet costs, and where its names are."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import tracelet
import tracelet.core

HEAVY = [
    "cattrs", "pluggy", "fsspec", "yaml", "click", "rich", "watchdog", "numpy", "torch", "sklearn", "mlflow", "wandb",
    "clearml", "aim", "lightning", "pytorch_lightning", "keras", "tensorflow", "xgboost", "lightgbm",
]  # fmt: skip


def loaded_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import tracelet", set()),
        ("from tracelet import TraceletArtifact, ArtifactType, TraceletError, TraceletSettings", set()),
        ("from tracelet import ConfigError; import tracelet.settings", set()),
        ("from tracelet import Experiment, ExperimentConfig", {"pluggy"}),
        ("import tracelet; dir(tracelet); tracelet.__version__", set()),
    ],
)
def test_an_import_loads_nothing_heavy(statement: str, allowed: set[str]) -> None:
    assert loaded_after(statement) & set(HEAVY) <= allowed


def test_importing_tracelet_alone_loads_not_even_attrs() -> None:
    assert "attr" not in loaded_after("import tracelet")


def test_an_experiment_on_the_local_backend_loads_no_tracker_and_no_framework() -> None:
    script = "from tracelet import Experiment; Experiment('x', artifacts=True)"
    assert loaded_after(script) & set(HEAVY) <= {"pluggy", "cattrs"}


def test_what_is_listed_is_there_and_what_is_there_is_listed() -> None:
    assert sorted(tracelet.__all__) == tracelet.__all__
    assert dir(tracelet) == tracelet.__all__
    assert dir(importlib.import_module("tracelet.testing")) == tracelet.testing.__all__
    for name in tracelet.__all__:
        assert getattr(tracelet, name) is not None
    modules = {name for names in tracelet._MODULES.values() for name in names}
    errors = set(importlib.import_module("tracelet.exceptions").__all__)
    assert modules <= set(tracelet.__all__)
    assert set(tracelet.__all__) - modules - {"__version__"} <= errors


def test_everything_can_be_imported_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tracelet import *; print(Experiment, ArtifactType.MODEL, __version__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "tracelet.core.experiment.experiment.Experiment" in done.stdout
    assert done.stdout.strip().endswith(tracelet.__version__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tracelet' has no attribute 'Experimnt'"):
        tracelet.Experimnt  # noqa: B018
    with pytest.raises(ImportError):
        from tracelet import nothing_of_that_name  # type: ignore[attr-defined]  # noqa: F401


def test_the_documented_places_have_the_documented_names() -> None:
    from tracelet import Experiment
    from tracelet.core.artifacts import ArtifactType
    from tracelet.core.artifacts.builder import TraceletArtifact
    from tracelet.core.artifacts.entries import ArtifactFile, ArtifactObject, ArtifactReference
    from tracelet.core.experiment import Experiment as SameExperiment
    from tracelet.core.experiment import ExperimentConfig
    from tracelet.settings import TraceletSettings

    assert SameExperiment is Experiment is tracelet.Experiment
    assert TraceletArtifact is tracelet.TraceletArtifact
    assert (ExperimentConfig, TraceletSettings) == (tracelet.ExperimentConfig, tracelet.TraceletSettings)
    assert len(ArtifactType) == 13
    assert all(kind.__doc__ for kind in (ArtifactFile, ArtifactObject, ArtifactReference))


def test_every_module_says_what_it_gives() -> None:
    for found in pkgutil.walk_packages(tracelet.core.__path__, "tracelet.core."):
        module = importlib.import_module(found.name)
        assert module.__doc__
        assert [one for one in getattr(module, "__all__", ()) if not hasattr(module, one)] == []
