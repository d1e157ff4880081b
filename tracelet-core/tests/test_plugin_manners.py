"""Plugins that are installed and broken, greedy or rude: what nobody named changes nothing, what is named says what is wrong."""

from __future__ import annotations

import contextlib
import importlib.metadata
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from commanding import program, run_json
from making import write

from tracelet import ArtifactType, BackendError, Experiment, ExperimentConfig, TraceletArtifact
from tracelet.core.plugins.discovery import discover
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import ArtifactError, PluginError, PluginLoadError
from tracelet.testing import installed

HEAD = """
from tracelet.builtin.local import LocalBackend
from tracelet.exceptions import BackendUnavailable, ConfigError, TraceletError
from tracelet.plugin import BackendSpec, Capability, DetectorSpec, RoutingSpec, SerializerSpec, hookimpl
"""


@contextlib.contextmanager
def stranger(folder: Path, source: str) -> Iterator[None]:
    """A plugin of somebody else's is installed."""
    write(folder / "stranger.py", HEAD + textwrap.dedent(source))
    with installed(folder, {"stranger": "stranger"}):
        yield


def thing(name: str = "thing", **metadata: object) -> TraceletArtifact:
    made = TraceletArtifact(name, ArtifactType.CONFIG).add_object({"a": 1}, "o")
    made.metadata.update(metadata)
    return made


# -- what nobody named

RUDE = {
    "claims the embedded backend": """
        @hookimpl
        def tracelet_backends():
            return [BackendSpec(name="local", open=lambda e, s, c: None)]
    """,
    "claims it in capitals": """
        @hookimpl
        def tracelet_backends():
            return [BackendSpec(name="LOCAL", open=lambda e, s, c: None)]
    """,
    "claims the policy that is the default": """
        @hookimpl
        def tracelet_routing():
            return [RoutingSpec(name="by-type", route=lambda summary, configured: 1 / 0)]
    """,
    "claims the serializer of objects": """
        @hookimpl
        def tracelet_serializers():
            def spoil(value, path):
                path.write_text("spoilt")

            return [SerializerSpec(name="json", suffix=".x", dump=spoil, load=lambda path, trust: 0, safe=True)]
    """,
    "claims the detector of files": """
        @hookimpl
        def tracelet_detectors():
            return [DetectorSpec(name="filesystem", create=lambda settings, context: 1 / 0)]
    """,
    "takes every model": """
        @hookimpl
        def tracelet_serializers():
            def fail(value, path):
                raise RuntimeError("mine")

            return [SerializerSpec(name="greedy", matches=lambda m: True, dump=fail, load=lambda p, t: 0, safe=True)]
    """,
    "cannot look at a model": """
        @hookimpl
        def tracelet_serializers():
            return [SerializerSpec(name="blind", matches=lambda m: 1 / 0, dump=print, load=print, safe=True)]
    """,
    "has a detector that cannot be made": """
        @hookimpl
        def tracelet_detectors():
            def create(settings, context):
                raise RuntimeError("no eyes")

            return [DetectorSpec(name="eyes", create=create)]
    """,
    "has a detector that wants a variable": """
        import attrs

        @attrs.frozen
        class Needy:
            token: str

        @hookimpl
        def tracelet_detectors():
            return [DetectorSpec(name="needy", create=print, settings=Needy)]
    """,
    "has a policy that raises": """
        @hookimpl
        def tracelet_routing():
            return [RoutingSpec(name="angry", route=lambda summary, configured: 1 / 0)]
    """,
    "raises when it is imported": "raise RuntimeError('no licence')",
    "ends the program when it is imported": "import sys; sys.exit(3)",
    "raises what no Exception is": "class End(BaseException): pass\nraise End()",
    "prints when it is imported": "print('chatter')",
    "raises from its hook": """
        @hookimpl
        def tracelet_backends():
            raise SystemExit("never")
    """,
}


@pytest.mark.parametrize("manner", RUDE)
def test_what_nobody_named_changes_nothing_of_what_a_textdoes(manner: str, tmp_path: Path, home: Path) -> None:
    sklearn = import_module("sklearn.linear_model")
    with stranger(tmp_path / "plugins", RUDE[manner]):
        model = sklearn.LinearRegression().fit([[0.0], [1.0]], [0, 1])
        with Experiment("manners", artifacts=True, automagic_artifacts=True) as exp:
            assert exp.log_artifact(thing().add_model(model)).ok
            assert list(exp.log_artifact(thing("other"))) == ["local"]
        found = exp.get_artifact("thing")
        assert found.load_object("o") == {"a": 1}
        assert found.load_model().predict([[1.0]]) == pytest.approx([1.0])


def test_what_is_not_used_is_told_with_where_it_came_from(tmp_path: Path, home: Path) -> None:
    with stranger(tmp_path / "plugins", RUDE["claims the embedded backend"]):
        (record,) = [one for one in registry().records if one.name == "stranger"]
        assert record.error is None
        assert record.provides == ()
        (reason,) = record.refused.values()
        assert str(reason).startswith("backend 'local' is Tracelet's own, of tracelet-core ")
        assert f"that of {record.distribution} 0 is not used" in str(reason)
        env = {"PYTHONPATH": str(tmp_path / "plugins")}
        (told,) = [one for one in run_json("plugins", **env)["plugins"] if one["name"] == "stranger"]
        assert told["provides"] == [{"kind": "backend", "name": "local", "error": str(reason)}]
        (check,) = [one for one in run_json("doctor", **env)["checks"] if one["subject"] == "plugins"]
        assert (check["verdict"], check["detail"]) == ("note", str(reason))


def test_what_tracelets_other_distributions_provide_is_theirs_too(tmp_path: Path, home: Path) -> None:
    import_module("tracelet_mlflow")
    source = """
        @hookimpl
        def tracelet_backends():
            return [BackendSpec(name="mlflow", open=print)]
    """
    with stranger(tmp_path / "plugins", source):
        assert registry().backends.get("mlflow").open is not print
        (record,) = [one for one in registry().records if one.name == "stranger"]
        assert list(record.refused) == ["backend mlflow"]


@pytest.mark.parametrize("file", ["entry_points.txt", "METADATA"])
def test_a_distribution_that_is_damaged_hides_no_other(tmp_path: Path, home: Path, file: str) -> None:
    damaged = tmp_path / "plugins" / "damaged-1.0.dist-info"
    write(damaged / "METADATA", "Metadata-Version: 2.1\nName: damaged\nVersion: 1.0\n")
    write(damaged / "entry_points.txt", "[tracelet]\ndamaged = damaged\n")
    if file == "METADATA":
        (damaged / file).unlink()
    else:
        write(damaged / file, "[tracelet]\nno assignment here\n")
    with stranger(tmp_path / "plugins", "@hookimpl\ndef tracelet_routing():\n    return []"):
        assert "local" in registry().backends.specs
        names = {record.name: record for record in registry().records}
        assert names["stranger"].error is None
        if file == "METADATA":
            assert "the plugin 'damaged' of unknown does not load: ModuleNotFoundError" in str(names["damaged"].error)


class Mute(importlib.metadata.Distribution):
    """A distribution that says nothing but its entry points."""

    def read_text(self, filename: str) -> str | None:
        if filename == "entry_points.txt":
            return "[tracelet]\nmute = nowhere_at_all\n"
        raise ValueError("it is not to be read")

    def locate_file(self, path: Any) -> Path:
        raise NotImplementedError


def test_a_distribution_whose_metadata_cannot_be_read_is_unknown() -> None:
    (record,) = discover(Mute().entry_points).records
    assert (record.name, record.distribution, record.version) == ("mute", "unknown", "")


def test_what_a_plugin_prints_is_not_the_output_of_a_command(tmp_path: Path, home: Path) -> None:
    with stranger(tmp_path / "plugins", RUDE["prints when it is imported"]):
        assert run_json("plugins", apart=True, PYTHONPATH=str(tmp_path / "plugins"))["plugins"]


def test_a_stranger_that_takes_a_model_is_asked_where_nobody_else_takes_it(tmp_path: Path, home: Path) -> None:
    with (
        stranger(tmp_path / "plugins", RUDE["takes every model"]),
        Experiment("manners", artifacts=True) as exp,
        pytest.raises(
            ArtifactError, match=r"cannot be stored as greedy: mine\. .* 'greedy' is of tracelet-installed-\w+ 0\."
        ),
    ):
        exp.log_artifact(TraceletArtifact("odd", ArtifactType.MODEL).add_model(object()))


# -- what is half right


def test_what_is_whole_of_a_plugin_can_be_used_and_what_is_not_is_told(tmp_path: Path, home: Path) -> None:
    source = """
        @hookimpl
        def tracelet_backends():
            yield BackendSpec(name="good", open=lambda e, s, c: LocalBackend(c.directory / "good", e), in_process=True)
            yield "a backend"
            raise RuntimeError("midway")

        @hookimpl
        def tracelet_routing(config):
            return []

        def tracelet_serializers():
            return []

        @hookimpl(hookwrapper=True)
        def tracelet_detectors():
            yield
    """
    with stranger(tmp_path / "plugins", source):
        with Experiment("manners", backend="good", artifacts=True) as exp:
            assert exp.log_artifact(thing()).ok
        (record,) = [one for one in registry().records if one.name == "stranger"]
        assert record.provides == ("backend good",)
        told = str(record.error)
        assert "does not load whole: " in told
        for reason in (
            "tracelet_backends returned 'a backend': it must return a list of BackendSpec",
            "RuntimeError: midway",
            "config",
            "tracelet_serializers has no mark, and is not asked: decorate tracelet_serializers with",
            "tracelet_detectors is a wrapper",
        ):
            assert reason in told


def test_a_name_given_twice_by_one_plugin_is_neithers(tmp_path: Path, home: Path) -> None:
    source = """
        @hookimpl
        def tracelet_routing():
            return [RoutingSpec(name="twice", route=print), RoutingSpec(name="twice", route=print)]
    """
    with (
        stranger(tmp_path / "plugins", source),
        pytest.raises(PluginLoadError, match="routing policy 'twice' is provided twice by tracelet-installed"),
    ):
        Experiment("manners", routing="twice")


# -- specs that could never be used

SPECS = {
    "open takes (experiment, settings, context), and takes (experiment)": (
        "BackendSpec(name='x', open=lambda experiment: None)",
        r"open of 'x' cannot be called: it must take \(experiment, settings, context\), and takes \(experiment\)",
    ),
    "open is none": ("BackendSpec(name='x', open=None)", "it must be a function that takes .*, and is None"),
    "settings are text": ("BackendSpec(name='x', open=print, settings='s')", "settings of 'x' must be an attrs class"),
    "settings are a dict": ("BackendSpec(name='x', open=print, settings=dict)", "must be an attrs class"),
    "settings mean nothing": (
        "BackendSpec(name='x', open=print, settings=Meaningless)",
        "settings of 'x' has annotations that mean nothing",
    ),
    "context takes something": ("BackendSpec(name='x', open=print, context=lambda it: {})", "context of 'x'"),
    "render takes less": ("BackendSpec(name='x', open=print, render=lambda model: 0)", "render of 'x'"),
    "the name leads out": ("BackendSpec(name='../x', open=print)", r"backend '../x': use"),
    "the name is a home": ("BackendSpec(name='~drafts', open=print)", "backend '~drafts': use"),
    "the name is a number": ("BackendSpec(name=5, open=print)", "backend 5 "),
}


@pytest.mark.parametrize("fault", SPECS)
def test_a_spec_that_could_never_be_used_is_told_when_the_experiment_is_made(
    tmp_path: Path, home: Path, fault: str
) -> None:
    spec, reason = SPECS[fault]
    source = f"""
        import attrs

        @attrs.frozen
        class Meaningless:
            field: "Nowhere"

        @hookimpl
        def tracelet_backends():
            return [{spec}]
    """
    with stranger(tmp_path / "plugins", source), pytest.raises(PluginLoadError, match=reason):
        Experiment("manners", backend="stranger", artifacts=True)


@pytest.mark.parametrize(
    "spec",
    [
        "DetectorSpec(name='x', create=lambda: None)",
        "DetectorSpec(name='x', create=print, switch='always')",
        "DetectorSpec(name='x', create=print, settings=5)",
        "RoutingSpec(name='x', route=lambda summary: [])",
        "SerializerSpec(name='x', dump=None, load=None, safe=True)",
        "SerializerSpec(name='x', dump=print, load=lambda path: 0, safe=True)",
        "SerializerSpec(name='x', dump=print, load=print, safe='yes')",
        "SerializerSpec(name='x', dump=print, load=print, safe=True, suffix='json')",
        "SerializerSpec(name='x', dump=print, load=print, safe=True, suffix='./../x')",
        "SerializerSpec(name='x', dump=print, load=print, safe=True, matches=lambda: True)",
    ],
)
def test_the_other_kinds_of_specs_are_looked_at_as_well(tmp_path: Path, home: Path, spec: str) -> None:
    hooks = {"Det": "tracelet_detectors", "Rou": "tracelet_routing", "Ser": "tracelet_serializers"}
    source = f"@hookimpl\ndef {hooks[spec[:3]]}():\n    return [{spec}]"
    with stranger(tmp_path / "plugins", source):
        (record,) = [one for one in registry().records if one.name == "stranger"]
        assert record.provides == ()
        assert record.error is not None


def test_code_that_says_nothing_of_its_arguments_is_believed(tmp_path: Path, home: Path) -> None:
    source = "@hookimpl\ndef tracelet_routing():\n    return [RoutingSpec(name='x', route=max)]"
    with stranger(tmp_path / "plugins", source):
        assert registry().routing.get("x").route is max


# -- policies

ANSWERS = {
    "1 / 0": "failed with ZeroDivisionError: division by zero",
    "exit(3)": "failed with SystemExit: 3",
    "None": "failed with TypeError",
    "5": "failed with TypeError",
    "'local'": "chose 'local'",
    "b'local'": "chose b'local'",
    "[]": r"chose \[\]",
    "[None]": r"chose \[None\]",
    "[[]]": r"chose \[\[\]\]",
    "['elsewhere']": r"chose \['elsewhere'\]",
    "['local', 'elsewhere']": "chose ",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_policy_that_was_named_and_chooses_nothing_useful_is_named(tmp_path: Path, home: Path, answer: str) -> None:
    source = f"@hookimpl\ndef tracelet_routing():\n    return [RoutingSpec(name='odd', route=lambda s, c: {answer})]"
    with (
        stranger(tmp_path / "plugins", source),
        Experiment("manners", routing="odd", artifacts=True) as exp,
        pytest.raises(PluginError, match=f"the routing policy 'odd' {ANSWERS[answer]}") as told,
    ):
        exp.log_artifact(thing())
    assert "it may choose from ['local'], and must choose at least one, as a list of names." in str(told.value)
    assert "'odd' is of tracelet-installed-" in str(told.value)
    assert not isinstance(told.value, BackendError)


@pytest.mark.parametrize("answer", ["{'local'}", "('local', 'local')", "(name for name in c)", "dict.fromkeys(c)"])
def test_any_collection_of_names_is_an_answer(tmp_path: Path, home: Path, answer: str) -> None:
    source = f"@hookimpl\ndef tracelet_routing():\n    return [RoutingSpec(name='odd', route=lambda s, c: {answer})]"
    with (
        stranger(tmp_path / "plugins", source),
        Experiment("manners", routing="odd", artifacts=True) as exp,
    ):
        assert list(exp.log_artifact(thing())) == ["local"]


def test_a_policy_that_changes_what_it_is_told_changes_nothing(tmp_path: Path, home: Path) -> None:
    source = """
        def route(summary, configured):
            summary.metadata["deep"]["list"].append("mine")
            summary.metadata.clear()
            return configured

        @hookimpl
        def tracelet_routing():
            return [RoutingSpec(name="rough", route=route)]
    """
    with (
        stranger(tmp_path / "plugins", source),
        Experiment("manners", routing="rough", artifacts=True) as exp,
    ):
        exp.log_artifact(thing(deep={"list": [1]}))
        assert exp.get_artifact("thing").metadata == {"deep": {"list": [1]}}


# -- backends that were named, and are broken

BACKENDS = {
    "opens nothing": ("open=lambda e, s, c: None", "NoneType.start cannot be called: it must be a function that takes"),
    "opens itself": ("open=lambda e, s, c: c", "BackendContext.start cannot be called"),
    "has no fetch": ("open=lambda e, s, c: NoFetch(c.directory / 'x', e)", "NoFetch.fetch cannot be called"),
    "puts without labels": (
        "open=lambda e, s, c: NoLabels(c.directory / 'x', e)",
        r"NoLabels.put cannot be called: it must take \(sealed, labels\), and takes \(sealed\)",
    ),
    "is abstract": (
        "open=lambda e, s, c: Abstract(c.directory / 'x', e)",
        "Can't instantiate abstract class Abstract",
    ),
    "relabels nothing": (
        "open=lambda e, s, c: NoNames(c.directory / 'x', e)",
        r"NoNames.relabel cannot be called: it must take \(stored, labels\)",
    ),
    "declares what it cannot do": (
        "open=lambda e, s, c: KeepsAll(c.directory / 'x', e), capabilities=frozenset({Capability.DELETE})",
        "KeepsAll.delete cannot be called: it must be a function that takes",
    ),
}
KINDS = """
import abc

class NoFetch(LocalBackend):
    fetch = None

class Abstract(LocalBackend):
    @abc.abstractmethod
    def forgotten(self):
        pass

class NoLabels(LocalBackend):
    def put(self, sealed):
        pass

class NoNames(LocalBackend):
    def relabel(self, stored):
        pass

class KeepsAll(LocalBackend):
    delete = None

class Puts(LocalBackend):
    def put(self, sealed, labels):
        return {"version": 1}

class Finds(LocalBackend):
    def find(self, name, ref):
        return True

class FindsAnother(LocalBackend):
    def find(self, name, ref):
        return next(iter(self.list(name=None, type=None)), None)

class Lists(LocalBackend):
    def list(self, *, name, type):
        return None

class ListsJunk(LocalBackend):
    def list(self, *, name, type):
        return [*super().list(name=name, type=type), "v1"]

class Points(LocalBackend):
    def _stored(self, *arguments):
        import attrs
        return attrs.evolve(super()._stored(*arguments), locator=object())

class Numbers(LocalBackend):
    def put(self, sealed, labels):
        import attrs
        return attrs.evolve(super().put(sealed, labels), **WRONG)

class NumbersAll(LocalBackend):
    def list(self, *, name, type):
        import attrs
        return [attrs.evolve(one, **WRONG) for one in super().list(name=name, type=type)]

class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Unmade(BackendUnavailable):
    def __init__(self):
        pass

class Away(BackendUnavailable):
    pass

class Mine(TraceletError):
    pass

def answering(error, answers):
    error.answers = answers
    return error

class Raises(LocalBackend):
    def put(self, sealed, labels):
        if not (self._root / "mended").exists():
            raise RAISED
        return super().put(sealed, labels)

def opens(kind):
    return lambda e, s, c: kind(c.directory / kind.__name__, e)
"""


@contextlib.contextmanager
def backend(folder: Path, spec: str, more: str = "") -> Iterator[None]:
    """A stranger's backend, called ``odd``."""
    source = f"{KINDS}\n{more}\n@hookimpl\ndef tracelet_backends():\n    return [BackendSpec(name='odd', {spec})]"
    write(folder / "stranger.py", HEAD + source)
    with installed(folder, {"stranger": "stranger"}):
        yield


def is_final(error: Any) -> bool:
    return isinstance(error, PluginError) or (isinstance(error, BackendError) and not error.retryable)


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize("fault", BACKENDS)
def test_a_backend_that_lacks_a_method_is_told_at_once_and_waits_for_nothing(
    tmp_path: Path, home: Path, fault: str, in_process: bool
) -> None:
    spec, reason = BACKENDS[fault]
    with (
        backend(tmp_path / "plugins", f"{spec}, in_process={in_process}"),
        Experiment("manners", backend=["local", "odd"], routing="all", artifacts=True) as exp,
    ):
        results = exp.log_artifact(thing())
        assert list(results) == ["local"]
        with pytest.raises(PluginError, match=f"the plugin of the backend 'odd' is broken: {reason}"):
            raise results.failed["odd"]
        assert not results.queued
        assert exp.flush(0.0) == 0


ANSWERED = {
    "Puts": r"put must return a StoredArtifact, and returned \{'version': 1\}",
    "Finds": "find must return a StoredArtifact, and returned True",
    "FindsAnother": "find was asked about 'other', and answered about 'thing'",
}


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_backend_that_answers_something_else_is_told_at_once(tmp_path: Path, home: Path, kind: str) -> None:
    with (
        backend(tmp_path / "plugins", f"open=opens({kind}), in_process=True"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        exp.log_artifact(thing())
        results = exp.log_artifact(thing("other"))
        assert is_final(results.failed["odd"])
        with pytest.raises(BackendError, match=ANSWERED[kind]):
            raise results.failed["odd"]
        assert not results.queued


INTERRUPTED = """
def interrupted(*arguments):
    raise KeyboardInterrupt

@hookimpl
def tracelet_backends():
    return [BackendSpec(name="odd", open=opens(LocalBackend), context=interrupted)]

@hookimpl
def tracelet_routing():
    return [RoutingSpec(name="odd", route=interrupted)]

@hookimpl
def tracelet_serializers():
    return [SerializerSpec(name="odd", matches=interrupted, dump=interrupted, load=interrupted, safe=True)]
"""


def logged_by(policy: str) -> None:
    with Experiment("manners", routing=policy, artifacts=True) as exp:
        exp.log_artifact(thing())


@pytest.mark.parametrize(
    "asked",
    [
        lambda: logged_by("odd"),
        lambda: Experiment("manners", backend="odd", artifacts=True).start(),
        lambda: Experiment("manners", artifacts=True).create_artifact("net", ArtifactType.MODEL).add_model(object()),
    ],
    ids=["policy", "context", "serializer"],
)
def test_the_users_own_interruption_is_no_fault_of_a_plugins(
    tmp_path: Path, home: Path, asked: Callable[[], object]
) -> None:
    with stranger(tmp_path / "plugins", textwrap.dedent(KINDS) + INTERRUPTED), pytest.raises(KeyboardInterrupt):
        asked()


FLAWS = {
    "number='3'": "number is no whole number from 0 on",
    "number=True": "number is no whole number from 0 on",
    "number=10**30": "number is no whole number from 0 on",
    "manifest=None": "manifest is no Manifest",
    "uri=None": "uri is no text",
    "label=5": "label is no text",
    "aliases='best'": "aliases are no tuple of texts",
    "aliases=(1,)": "aliases are no tuple of texts",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_version_with_a_field_of_another_kind_is_told_at_once(tmp_path: Path, home: Path, flaw: str) -> None:
    with (
        backend(tmp_path / "plugins", "open=opens(Numbers), in_process=True", f"WRONG = dict({flaw})"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        results = exp.log_artifact(thing())
        assert is_final(results.failed["odd"])
        assert f"put returned a StoredArtifact whose {FLAWS[flaw]}" in str(results.failed["odd"])


def test_a_listing_with_a_field_of_another_kind_is_an_error(tmp_path: Path, home: Path) -> None:
    with (
        backend(tmp_path / "plugins", "open=opens(NumbersAll)", "WRONG = dict(number=1.5)"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        exp.log_artifact(thing())
        with pytest.raises(BackendError, match="list gave a StoredArtifact whose number is no whole number from 0 on"):
            exp.list_artifacts()


RAISED = {
    "SystemExit(3)": "SystemExit: 3",
    "KeyboardInterrupt()": "KeyboardInterrupt",
    "GeneratorExit('mine')": "GeneratorExit: mine",
    "BaseExceptionGroup('mine', [SystemExit()])": "BaseExceptionGroup: mine",
    "Speechless()": "Speechless in put",
    "BackendUnavailable('')": "BackendUnavailable in put",
    "Unmade()": "Unmade in put",
    "Mine('mine')": "mine",
    "BackendUnavailable('mine', retry_after='soon')": "mine",
    "BackendUnavailable('mine', retry_after=float('nan'))": "mine",
    "answering(BackendUnavailable('mine'), None)": "mine",
    "answering(BackendUnavailable('mine'), [1, 2])": "mine",
}


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_backend_raises_is_told_and_later_deliveries_are_made(
    tmp_path: Path, home: Path, raised: str, in_process: bool
) -> None:
    with (
        backend(tmp_path / "plugins", f"open=opens(Raises), in_process={in_process}", f"RAISED = {raised}"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        results = exp.log_artifact(thing())
        assert RAISED[raised] in str(results.queued["odd"])
        write(home / ".tracelet" / "Raises" / "mended", "")
        assert exp.flush(60.0) == 0
        assert [one.name for one in exp.list_artifacts()] == ["thing"]


def test_a_kind_of_away_that_a_backend_made_itself_leaves_it_alone_for_a_while(tmp_path: Path, home: Path) -> None:
    with (
        backend(tmp_path / "plugins", "open=opens(Raises)", "RAISED = Away('mine', retry_after=1000.0)"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        exp.log_artifact(thing())
        assert "odd is away, and is asked again in " in str(exp.log_artifact(thing("other")).queued["odd"])


@pytest.mark.parametrize(
    "raised",
    [
        "OSError('no way to https://me:hunter2@host/x?token=hunter2')",
        "BackendUnavailable('no way to https://me:hunter2@host/x?token=hunter2')",
    ],
)
def test_secrets_in_what_a_backend_raises_are_not_written_down(
    tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture, raised: str
) -> None:
    with (
        backend(tmp_path / "plugins", "open=opens(Raises), in_process=True", f"RAISED = {raised}"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        results = exp.log_artifact(thing())
        assert "no way to https://me@host/x" in str(results.queued["odd"])
        exp.flush(0.1)
    notes = [path.read_text() for path in (home / ".tracelet" / "outbox").rglob("*.json")]
    assert "hunter2" not in " ".join([caplog.text, *notes])


def test_secrets_in_the_last_words_of_a_lane_are_not_told(tmp_path: Path, home: Path) -> None:
    source = """
        import os, sys
        class Dies(LocalBackend):
            def put(self, sealed, labels):
                sys.stderr.write("no way to https://me:hunter2@host/x\\n")
                sys.stderr.flush()
                os._exit(3)
    """
    with (
        backend(tmp_path / "plugins", "open=opens(Dies)", textwrap.dedent(source)),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        assert "It wrote last: no way to https://me@host/x" in str(exp.log_artifact(thing()).queued["odd"])


@pytest.mark.parametrize(("kind", "answer"), [("Lists", "returned None"), ("ListsJunk", "one of them is 'v1'")])
def test_a_listing_of_something_else_is_an_error_that_names_the_backend(
    tmp_path: Path, home: Path, kind: str, answer: str
) -> None:
    with (
        backend(tmp_path / "plugins", f"open=opens({kind}), in_process=True"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        exp.log_artifact(thing())
        with pytest.raises(BackendError, match=f"'odd' is broken: list must return .*{answer}") as told:
            exp.list_artifacts()
    assert len(told.value.answers) == (kind == "ListsJunk")


def test_an_answer_that_no_pipe_can_carry_is_told_at_once(tmp_path: Path, home: Path) -> None:
    with (
        backend(tmp_path / "plugins", "open=opens(Points)"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        results = exp.log_artifact(thing())
        assert is_final(results.failed["odd"])
        assert "what it answers is no plain JSON data" in str(results.failed["odd"])


CONTEXTS = {
    "1 / 0": "ZeroDivisionError",
    "exit(3)": "SystemExit: 3",
    "None": "TypeError: None is no dict",
    "[1]": "TypeError",
    "{'run': {1, 2}}": "TypeError",
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_that_fails_is_one_warning_and_none(
    tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture, context: str
) -> None:
    with (
        backend(tmp_path / "plugins", f"open=opens(LocalBackend), in_process=True, context=lambda: {context}"),
        Experiment("manners", backend="odd", artifacts=True) as exp,
    ):
        assert exp.log_artifact(thing()).ok
        assert exp.log_artifact(thing("other")).ok
    said = [one.message for one in caplog.records if "cannot tell what your own use" in one.message]
    assert len(said) == 1
    assert caplog.text.count(CONTEXTS[context]) == len(said)


def test_a_form_of_its_own_that_fails_is_a_warning(
    tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sklearn = import_module("sklearn.linear_model")
    model = sklearn.LinearRegression().fit([[0.0], [1.0]], [0, 1])
    spec = "open=opens(LocalBackend), in_process=True, render=lambda model, info, dest: 1 / 0"
    with (
        backend(tmp_path / "plugins", spec),
        Experiment("manners", backend="odd", artifacts=True, config=ExperimentConfig(strict=True)) as exp,
    ):
        assert exp.log_artifact(thing().add_model(model)).ok
    assert "odd has no form of its own for the model 'model': odd: ZeroDivisionError" in caplog.text


def test_what_a_textprints_while_several_threads_look_for_plugins_is_printed(tmp_path: Path, home: Path) -> None:
    text = """
    import threading
    from tracelet.core.plugins.registry import registry
    both = threading.Barrier(2)

    def look():
        both.wait()
        registry()

    threads = [threading.Thread(target=look) for _ in range(2)]
    [thread.start() for thread in threads]
    print("meanwhile", flush=True)
    [thread.join() for thread in threads]
    print("after")
    """
    assert program(text) == "meanwhile\nafter\n"
