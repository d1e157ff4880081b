"""What importing tracelet costs, and where its names are."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tracelet
import tracelet.core
import tracelet.plugin
from tracelet.core.plugins.discovery import discover_installed
from tracelet.core.plugins.registry import BUILT_IN, registry

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
        ("from tracelet import Experiment, ExperimentConfig", set()),
        ("import tracelet; dir(tracelet); tracelet.__version__", set()),
    ],
)
def test_an_import_loads_nothing_heavy(statement: str, allowed: set[str]) -> None:
    assert loaded_after(statement) & set(HEAVY) <= allowed


@pytest.mark.parametrize("statement", ["import tracelet", "from tracelet import Experiment"])
def test_an_import_loads_not_even_attrs(statement: str) -> None:
    assert "attr" not in loaded_after(statement)


def modules_after(statement: str) -> set[str]:
    """The modules of Tracelet that a statement loads."""
    script = f"import sys\n{statement}\nprint(*(name for name in sys.modules if name.split('.')[0] == 'tracelet'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_experiment_loads_its_own_module_and_the_errors() -> None:
    assert modules_after("from tracelet import Experiment") == {
        "tracelet",
        "tracelet.lazy_names",
        "tracelet.exceptions",
        "tracelet.core",
        "tracelet.core.experiment",
        "tracelet.core.experiment.experiment",
    }


def test_what_only_a_run_needs_is_loaded_when_a_run_begins() -> None:
    made = "from tracelet import Experiment; exp = Experiment('x', artifacts=True)"
    rooms = {f"tracelet.core.{room}" for room in ("delivery", "lanes", "sealing", "reading", "management", "display")}
    assert not modules_after(made) & rooms


def test_storing_one_file_loads_nothing_that_manages_captures_or_shows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    stored = f"""
from tracelet import Experiment
with Experiment('x', artifacts=True, dir={str(tmp_path / "own")!r}) as exp:
    assert exp.log_artifact(exp.create_artifact('a', 'report').add_file({str(tmp_path / "a.txt")!r})).ok
"""
    unneeded = {
        "tracelet.core.capture.sniffing",
        "tracelet.core.display.pictures",
        "tracelet.core.management.changes",
        "tracelet.core.management.retention",
        "tracelet.core.management.usage",
        "tracelet.core.capture.journal",
        "tracelet.core.display.html",
        "tracelet.core.plugins.detector",
        "tracelet.core.plugins.discovery",
        "tracelet.core.sealing.input_example",
        "tracelet.builtin.objects",
        "tracelet.builtin.torch_save",
    }
    assert not modules_after(stored) & unneeded


def test_storing_plain_data_looks_for_no_plugins(tmp_path: Path) -> None:
    stored = f"""
from tracelet import Experiment
with Experiment('x', artifacts=True, dir={str(tmp_path / "own")!r}) as exp:
    assert exp.log_artifact(exp.create_artifact('a', 'config').add_object({{'a': 1}}, 'it')).ok
"""
    assert not modules_after(stored) & {"tracelet.core.plugins.discovery", "tracelet.builtin.torch_save"}


def test_what_is_built_in_is_what_looking_for_it_finds() -> None:
    found = discover_installed()
    sets = {
        "tracelet_backends": found.backends, "tracelet_routing": found.routing,
        "tracelet_serializers": found.serializers,
    }  # fmt: skip
    for hook, modules in BUILT_IN.items():
        for name in modules:
            spec = getattr(registry(), hook.removeprefix("tracelet_")).get(name)
            assert spec == sets[hook].get(name)
            assert name in sets[hook].own


#: What starting a command may not import where there is nothing to send, to draw or to look for.
NEVER = {
    "rich", "email", "importlib.metadata", "asyncio", "multiprocessing", "subprocess", "tracelet.core.plugins.discovery",
    "tracelet.core.plugins.hookspecs", "tracelet.core.plugins.detector", "tracelet.core.delivery.courier",
    "tracelet.core.delivery.outbox", "tracelet.core.experiment.manager", "tracelet.core.lanes.process_lane",
    "tracelet.core.capture.journal", "tracelet.core.management.stored_manager", "tracelet.core.artifacts.diff",
    "tracelet.core.display.html", "tracelet.core.maintenance.sync", "tracelet.core.maintenance.doctor",
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "besides"),
    [
        (["--help"], {"attr", "cattrs", "pluggy", "tracelet.settings", "tracelet.cli.sync"}),
        (["sync"], {"cattrs", "pluggy", "tracelet.core.artifacts", "tracelet.core.lanes", "tracelet.core.reading"}),
        (["ls", "bench"], set()),
        (["get", "bench", "it"], set()),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_command_with_little_to_do_imports_nothing_for_more(
    tmp_path: Path, arguments: list[str], besides: set[str]
) -> None:
    exp = tracelet.Experiment("bench", artifacts=True, dir=tmp_path / ".tracelet")
    with exp:
        exp.log_artifact(exp.create_artifact("it", "config").add_object({"a": 1}, "it")).raise_for_errors()
    script = """import sys
from tracelet.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert not set(done.stderr.split()) & (NEVER | besides)


def test_a_plugins_author_imports_what_the_plugin_names() -> None:
    assert not {name for name in modules_after("from tracelet.plugin import hookimpl") if "storage" in name}
    assert tracelet.plugin.__all__ == sorted(tracelet.plugin.__all__, key=lambda name: (not name.isupper(), name))


def test_an_experiment_on_the_local_backend_loads_no_tracker_and_no_framework() -> None:
    script = "from tracelet import Experiment; Experiment('x', artifacts=True)"
    assert loaded_after(script) & set(HEAVY) <= {"pluggy", "cattrs"}


def test_what_is_listed_is_there_and_what_is_there_is_listed() -> None:
    assert sorted(tracelet.__all__) == tracelet.__all__
    assert dir(tracelet) == tracelet.__all__
    assert dir(importlib.import_module("tracelet.testing")) == tracelet.testing.__all__
    for name in tracelet.__all__:
        assert getattr(tracelet, name) is not None
    for name in tracelet.plugin.__all__:
        assert getattr(tracelet.plugin, name) is not None


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
