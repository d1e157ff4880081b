"""What the docstrings of the public classes, and of what plugins are, show is so: examples run, and arguments are named."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tracelet import (
    ArtifactDiff,
    ArtifactList,
    ArtifactNotFound,
    ChangeResults,
    CopyResults,
    DiskUsage,
    Experiment,
    ExperimentConfig,
    Lineage,
    LoggedArtifact,
    LogResult,
    LogResults,
    PruneResults,
    TraceletArtifact,
    Verification,
    copy,
    discover,
    experiments,
    import_from,
    plugin,
)
from tracelet.core.artifacts.changes import Change
from tracelet.core.reporting.report import Report

CLASSES = (
    Experiment, ExperimentConfig, TraceletArtifact, LoggedArtifact, ArtifactDiff, ArtifactList, LogResult, LogResults, Change,
    ChangeResults, CopyResults, PruneResults, Report, Verification, Lineage, DiskUsage,
)  # fmt: skip


#: What the author of a plugin implements, or makes.
OF_PLUGINS = (
    plugin.Backend,
    plugin.BackendSpec,
    plugin.Detection,
    plugin.Detector,
    plugin.DetectorSpec,
    plugin.RoutingSpec,
    plugin.SerializerSpec,
    plugin.when_imported,
    plugin.wrap_calls,
)
PROTOCOLS = (
    plugin.Backend,
    plugin.Collects,
    plugin.Deletes,
    plugin.DeletesMany,
    plugin.Detector,
    plugin.Discovers,
    plugin.GivesRendered,
    plugin.Heals,
    plugin.MovesAliases,
    plugin.Recalls,
    plugin.RecordsInputs,
    plugin.TakesBack,
)


def methods_of(classes: tuple[type, ...]) -> list[tuple[type, str]]:
    return [
        (cls, name)
        for cls in classes
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that an example makes, in a folder with the files that the examples add."""
    monkeypatch.chdir(tmp_path)
    Path("weights.pt").write_bytes(b"weights")
    Path("report.html").write_text("<h1>It went well</h1>")
    Path("data").mkdir()
    for number in range(2):
        Path("data", f"{number}.png").write_bytes(bytes([number]))
    names: dict[str, Any] = {}
    yield names
    if isinstance(names.get("exp"), Experiment):
        names["exp"].stop()


def run(text: str, name: str, space: dict[str, Any]) -> None:
    """Run the examples of a docstring as they are printed; an example must be there."""
    examples = doctest.DocTestParser().get_doctest(text, space, name, None, None)
    assert examples.examples, f"{name} shows no example"
    examples.globs = space
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=told.append, clear_globs=False)
    assert not told, "".join(told)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_example_of_a_class_runs_as_printed(cls: type, space: dict[str, Any]) -> None:
    run(inspect.getdoc(cls) or "", cls.__name__, space)


@pytest.mark.parametrize("function", [experiments, copy, discover, import_from])
def test_the_example_of_a_function_runs_as_printed(function: Callable[..., Any], space: dict[str, Any]) -> None:
    run(inspect.getdoc(function) or "", function.__name__, space)


@pytest.mark.parametrize("cls", OF_PLUGINS)
def test_the_example_of_what_a_plugin_has_runs_where_its_module_is_imported(cls: type, space: dict[str, Any]) -> None:
    own = {
        **{name: getattr(plugin, name) for name in plugin.__all__},
        "attrs": attrs,
        "Path": Path,
        "ArtifactNotFound": ArtifactNotFound,
    }
    run(inspect.getdoc(cls) or "", cls.__name__, space | own)


@pytest.mark.parametrize(("cls", "name"), methods_of(CLASSES))
def test_the_example_of_a_method_continues_that_of_its_class(cls: type, name: str, space: dict[str, Any]) -> None:
    run(inspect.getdoc(cls) or "", cls.__name__, space)
    run(inspect.getdoc(getattr(cls, name)) or "", f"{cls.__name__}.{name}", space)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Experiment, ""),
        (ExperimentConfig, ""),
        (TraceletArtifact, ""),
        (plugin.when_imported, ""),
        (plugin.wrap_calls, ""),
        *methods_of((*CLASSES, *PROTOCOLS)),
    ],
)
def test_a_docstring_names_every_argument(cls: type, name: str) -> None:
    subject = getattr(cls, name) if name else cls
    arguments = [one for one in inspect.signature(subject).parameters if one != "self"]
    text = inspect.getdoc(subject) or ""
    assert not [one for one in arguments if f"\n    {one}: " not in text]
