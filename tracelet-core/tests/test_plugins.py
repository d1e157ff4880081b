"""Discovery: what is installed is found, what is broken is named, and neither costs the other anything."""

from __future__ import annotations

import importlib.metadata
import textwrap
import uuid
from pathlib import Path

import pytest
from making import elsewhere, write

from tracelet import ArtifactType, Experiment
from tracelet.core.plugins.discovery import discover
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.specs import Installed
from tracelet.exceptions import PluginLoadError, UnknownPlugin
from tracelet.plugin import ArtifactSummary

GOOD = """
    from tracelet.plugin import BackendSpec, hookimpl

    @hookimpl
    def tracelet_backends():
        return [BackendSpec(name={name!r}, open=lambda experiment, settings, context: None)]
"""


class Shelf:
    """A folder on the path, with distributions as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, entry: str, source: str, *, dist: str | None = None, version: str = "1.0", target: str = ""
    ) -> str:
        """Put a distribution with one entry point there; return its module's name."""
        module = f"plugin_{uuid.uuid4().hex}"
        dist = dist or f"dist-{entry}"
        write(self.folder / f"{module}.py", textwrap.dedent(source))
        info = self.folder / f"{dist.replace('-', '_')}-{version}.dist-info"
        write(info / "METADATA", f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        points = info / "entry_points.txt"
        before = points.read_text() if points.exists() else "[tracelet]\n"
        write(points, f"{before}{entry} = {module}{target}\n")
        return module

    def found(self) -> Installed:
        """What discovery makes of it."""
        points = [
            point
            for found in importlib.metadata.distributions(path=[str(self.folder)])
            for point in found.entry_points
            if point.group == "tracelet"
        ]
        return discover(points)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """An empty shelf that is on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return Shelf(tmp_path)


def error_of(found: Installed, entry: str) -> str:
    (record,) = [record for record in found.records if record.name == entry]
    return str(record.error)


# -- what is there


def test_a_plugin_is_found_with_where_it_came_from(shelf: Shelf) -> None:
    module = shelf.install("mine", GOOD.format(name="mine"), dist="my-plugin", version="2.3")
    found = shelf.found()
    (record,) = found.records
    assert (record.name, record.distribution, record.version, record.target) == ("mine", "my-plugin", "2.3", module)
    assert record.provides == ("backend mine",)
    assert record.error is None
    assert found.backends.get("mine").name == "mine"
    assert [spec.name for spec in found.backends] == ["mine"]
    assert list(found.detectors) == []


def test_a_plugin_may_provide_all_four_kinds_and_be_lazy(shelf: Shelf) -> None:
    shelf.install(
        "many",
        """
        from tracelet.plugin import BackendSpec, DetectorSpec, RoutingSpec, SerializerSpec, hookimpl

        @hookimpl
        def tracelet_backends():
            yield BackendSpec(name="b", open=print)

        @hookimpl
        def tracelet_detectors():
            return (DetectorSpec(name="d", create=print),)

        @hookimpl
        def tracelet_routing():
            return {RoutingSpec(name="r", route=print): None}

        @hookimpl
        def tracelet_serializers():
            return []
        """,
    )
    assert shelf.found().records[0].provides == ("backend b", "detector d", "routing policy r")


def test_an_entry_point_may_be_an_object_with_hooks(shelf: Shelf) -> None:
    source = """
        from tracelet.plugin import BackendSpec, hookimpl

        class Plugin:
            @hookimpl
            def tracelet_backends(self):
                return [BackendSpec(name="objective", open=print)]

        plugin = Plugin()
    """
    shelf.install("objective", source, target=":plugin")
    assert shelf.found().backends.get("objective").name == "objective"


def test_a_distribution_that_is_found_twice_is_one(shelf: Shelf) -> None:
    shelf.install("mine", GOOD.format(name="mine"))
    (point,) = [
        point for found in importlib.metadata.distributions(path=[str(shelf.folder)]) for point in found.entry_points
    ]
    found = discover([point, point])
    assert len(found.records) == 1
    assert found.backends.get("mine")


def test_an_entry_point_of_no_distribution_is_named_unknown(shelf: Shelf) -> None:
    module = shelf.install("mine", GOOD.format(name="mine"))
    (record,) = discover([importlib.metadata.EntryPoint("mine", module, "tracelet")]).records
    assert (record.distribution, record.version, record.error) == ("unknown", "", None)


# -- what is wrong

BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "imports": ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "syntax": ("def", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "no-hooks": ("def tracelet_backends(): return []", "has no hook of Tracelet's: decorate one with"),
    "empty": ("", "has no hook of Tracelet's"),
    "misspelt": (
        """
        from tracelet.plugin import hookimpl

        @hookimpl
        def tracelet_backend():
            return []
        """,
        "unknown hook 'tracelet_backend'",
    ),
    "arguments": (
        """
        from tracelet.plugin import hookimpl

        @hookimpl
        def tracelet_backends(config):
            return []
        """,
        "config",
    ),
    "none": (
        """
        from tracelet.plugin import hookimpl

        @hookimpl
        def tracelet_backends():
            pass
        """,
        "tracelet_backends returned None: it must return a list of BackendSpec",
    ),
    "single": (
        """
        from tracelet.plugin import RoutingSpec, hookimpl

        @hookimpl
        def tracelet_routing():
            return RoutingSpec(name="x", route=print)
        """,
        "tracelet_routing returned RoutingSpec.*must return a list of RoutingSpec",
    ),
    "text": (
        """
        from tracelet.plugin import hookimpl

        @hookimpl
        def tracelet_detectors():
            return "torch"
        """,
        "tracelet_detectors returned 'torch'",
    ),
    "wrong-kind": (
        """
        from tracelet.plugin import RoutingSpec, hookimpl

        @hookimpl
        def tracelet_serializers():
            return [RoutingSpec(name="x", route=print)]
        """,
        "must return a list of SerializerSpec",
    ),
    "late": (
        """
        from tracelet.plugin import hookimpl

        @hookimpl
        def tracelet_backends():
            yield
            raise ValueError("too late")
        """,
        "ValueError: too late",
    ),
    "bad-name": (
        """
        from tracelet.plugin import BackendSpec, hookimpl

        @hookimpl
        def tracelet_backends():
            return [BackendSpec(name="a/b", open=print)]
        """,
        "UnsafePath: backend 'a/b'",
    ),
}


@pytest.mark.parametrize("entry", BROKEN)
def test_a_broken_plugin_is_named_with_its_reason_and_breaks_no_other(shelf: Shelf, entry: str) -> None:
    source, reason = BROKEN[entry]
    shelf.install(entry, source, dist="sad", version="0.1")
    shelf.install("fine", GOOD.format(name="fine"))
    found = shelf.found()
    assert found.backends.get("fine").name == "fine"
    assert list(found.backends.broken) == [entry]
    for spec_set in (found.backends, found.detectors, found.routing, found.serializers):
        with pytest.raises(PluginLoadError, match=f"the plugin '{entry}' of sad 0.1 does not load: ") as caught:
            spec_set.get(entry)
        assert caught.value.__cause__ is not None
    with pytest.raises(PluginLoadError, match=reason):
        found.backends.get(entry)
    assert "Repair it, or uninstall it" in error_of(found, entry)


def test_an_interrupt_while_a_plugin_loads_is_no_broken_plugin(shelf: Shelf) -> None:
    shelf.install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        shelf.found()


def test_the_same_error_raised_again_is_not_longer_than_before(shelf: Shelf) -> None:
    shelf.install("sad", "raise RuntimeError")
    found = shelf.found()

    def depth() -> int:
        with pytest.raises(PluginLoadError) as caught:
            found.backends.get("sad")
        return len(caught.traceback)

    assert len({depth() for _ in range(3)}) == 1


@pytest.mark.parametrize("entries", [("one", "two"), ("two", "one")])
def test_a_name_that_two_provide_is_neithers_until_one_goes(shelf: Shelf, entries: tuple[str, str]) -> None:
    for entry in entries:
        shelf.install(entry, GOOD.format(name="shared"))
    shelf.install("fine", GOOD.format(name="fine"))
    found = shelf.found()
    message = "backend 'shared' is provided by dist-one and by dist-two: uninstall one of them"
    with pytest.raises(PluginLoadError, match=message):
        found.backends.get("shared")
    assert [spec.name for spec in found.backends] == ["fine"]
    assert all(record.error is None for record in found.records)


def test_three_that_provide_one_name_are_refused_as_well(shelf: Shelf) -> None:
    for entry in ("one", "three", "two"):
        shelf.install(entry, GOOD.format(name="shared"))
    with pytest.raises(PluginLoadError, match="uninstall one of them"):
        shelf.found().backends.get("shared")


@pytest.mark.parametrize("entry", ["aaa", "zzz"])
def test_a_name_whose_own_plugin_is_broken_may_be_anothers(shelf: Shelf, entry: str) -> None:
    shelf.install("mine", "raise RuntimeError", dist="sad")
    shelf.install(entry, GOOD.format(name="mine"), dist="fork")
    found = shelf.found()
    assert found.backends.get("mine").name == "mine"
    with pytest.raises(PluginLoadError):
        found.detectors.get("mine")


# -- what is not there


def test_an_unknown_name_is_answered_with_what_there_is_and_the_nearest(shelf: Shelf) -> None:
    for name in ("alpha", "beta"):
        shelf.install(name, GOOD.format(name=name))
    found = shelf.found()
    with pytest.raises(UnknownPlugin) as caught:
        found.backends.get("alhpa")
    assert str(caught.value) == "no backend 'alhpa' is installed; there is alpha, beta. Did you mean 'alpha'?"
    with pytest.raises(UnknownPlugin, match=r"there is none. Install the distribution that provides it"):
        found.detectors.get("zzz")
    with pytest.raises(UnknownPlugin, match="no backend 5 is installed"):
        found.backends.get(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mlflow", "wandb", "clearml", "aim"])
def test_a_plugin_that_is_an_extra_is_answered_with_how_to_install_it(name: str) -> None:
    with pytest.raises(UnknownPlugin) as caught:
        discover([]).backends.get(name)
    assert str(caught.value).endswith(f"Install it: pip install 'tracelet-core[{name}]'")


# -- what is really installed


def test_the_builtins_are_plugins_like_any_other() -> None:
    found = registry()
    assert registry() is found
    own = {record.name: record for record in found.records if record.distribution == "tracelet-core"}
    assert {"local", "routing", "objects", "models"} <= set(own)
    assert [record.error for record in own.values()] == [None] * len(own)
    assert found.records[0].distribution == "tracelet-core"
    assert {"json", "yaml", "pickle", "pytorch", "sklearn", "xgboost", "lightgbm"} <= set(found.serializers.specs)
    summary = ArtifactSummary("n", ArtifactType.MODEL, 0, {})
    assert list(found.routing.get("all").route(summary, ("local", "mlflow"))) == ["local", "mlflow"]


def test_an_installed_plugin_is_used_by_its_name_in_another_process(shelf: Shelf, tmp_path: Path) -> None:
    source = """
        from pathlib import Path
        from tracelet.plugin import RoutingSpec, hookimpl

        @hookimpl
        def tracelet_routing():
            return [RoutingSpec(name="first", route=lambda summary, configured: configured[:1])]
    """
    shelf.install("first", source)
    shelf.install("sad", "raise RuntimeError('nobody asked')")
    script = """
        from tracelet import ArtifactType, Experiment
        from tracelet.exceptions import PluginLoadError, UnknownPlugin
        with Experiment("x", artifacts=True, routing="first") as exp:
            said = [list(exp.log_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object(1, "one")))]
        for name in ("sad", "frist"):
            try:
                Experiment("x", routing=name)
            except (PluginLoadError, UnknownPlugin) as error:
                said.append(str(error))
        answer(said)
    """
    logged, sad, unknown = elsewhere(script, cwd=tmp_path / "there", PYTHONPATH=str(shelf.folder))
    assert logged == ["local"]
    assert "RuntimeError: nobody asked" in sad
    assert "Did you mean 'first'?" in unknown


def test_a_backend_that_is_not_installed_is_refused_when_the_experiment_is_made(home: Path) -> None:
    with pytest.raises(UnknownPlugin, match="Did you mean 'local'"):
        Experiment("x", backend="locall")
    assert list(home.iterdir()) == []
