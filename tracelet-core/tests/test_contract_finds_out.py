"""Each promise of the contract is held by a test: a backend that breaks one is found out by that test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tracelet.testing import BackendContract, installed
from tracelet.testing.guard import contract_tests

pytestmark = pytest.mark.kit

PLUGINS = Path(__file__).parent / "plugins"
#: So many processes of pytest share the broken backends.
PARTS = 4

HEAD = """
import pytest
from tracelet.testing import BackendContract


class Place(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory):
        return {"TRACELET_DIR": str(tmp_path_factory.mktemp("place"))}

    @pytest.fixture
    def backend(self):
        return self.name
"""


def run(folder: Path, source: str, *tests: str) -> Mapping[str, str]:
    """Run tests of a module as an author would; give what became of each, by class and test."""
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(HEAD + source)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\nfilterwarnings = error\n"
    )
    report = folder / "report.xml"
    chosen = [f"test_it.py::{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *chosen]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=300
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        children = {child.tag: child for child in case}
        outcome = next((tag for tag in ("failure", "error", "skipped") if tag in children), "passed")
        if outcome == "skipped":
            outcome = children["skipped"].get("type", "").removeprefix("pytest.")
        found[f"{case.get('classname', '').removeprefix('test_it.')}::{case.get('name')}"] = outcome
    return found


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The backends that break a promise are installed: their names, and which test has to find each out."""
    sys.path.insert(0, str(PLUGINS))
    try:
        with installed(tmp_path / "plugins", {"mutants": "mutants"}):
            import mutants

            yield {kind.__name__: kind.__doc__ for kind in mutants.KINDS}
    finally:
        sys.path.remove(str(PLUGINS))
        sys.modules.pop("mutants", None)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_broken_promise_is_found_out(tmp_path: Path, kinds: dict[str, str], part: int) -> None:
    chosen = dict(list(kinds.items())[part::PARTS])
    source = "".join(f"\n\nclass Test{name}(Place):\n    name = 'mutant-{name}'\n" for name in chosen)
    found = run(tmp_path / "author", source, *(f"Test{name}::{test}" for name, test in chosen.items()))
    assert found == {f"Test{name}::{test}": "failure" for name, test in chosen.items()}


def test_every_promise_is_broken_by_one(kinds: dict[str, str]) -> None:
    caught = {test.partition("[")[0] for test in kinds.values()}
    about_the_spec = {
        "test_importing_the_plugin_leaves_the_sdk_alone",
        "test_the_users_process_never_loads_the_sdk",
        "test_the_context_is_plain_data_and_costs_nothing",
        "test_settings_have_defaults_and_are_plain_data",
        "test_the_spec_says_what_it_is_for",
        "test_no_test_is_left_out_in_silence",
        "test_inputs_are_recorded_or_not_declared",
    }
    assert caught | about_the_spec == set(contract_tests(BackendContract))


SPECS = """
from pathlib import Path

import attrs
import pytest

from tracelet.builtin import local as embedded
from tracelet.plugin import Capability, hookimpl


@attrs.frozen
class Needy:
    url: str


@attrs.frozen
class Odd:
    place: object = attrs.field(factory=object)


def context():
    import hypothesis

    return {"place": "here"}


@hookimpl
def tracelet_backends():
    (local,) = embedded.tracelet_backends()
    return [
        attrs.evolve(local, name="heavy"),
        attrs.evolve(local, name="needy", settings=Needy),
        attrs.evolve(local, name="odd", settings=Odd),
        attrs.evolve(local, name="curious", context=context),
        attrs.evolve(local, name="secretive", context=lambda: {"place": Path("here")}),
        attrs.evolve(local, name="mute", summary=""),
        attrs.evolve(local, name="modest", capabilities=local.capabilities - {Capability.INPUTS}),
    ]
"""

TESTS = """

class TestHeavy(Place):
    name = "heavy"

    @pytest.fixture
    def sdk_modules(self):
        return ("pytest",)


class TestNeedy(Place):
    name = "needy"


class TestOdd(Place):
    name = "odd"


class TestCurious(Place):
    name = "curious"


class TestSecretive(Place):
    name = "secretive"


class TestMute(Place):
    name = "mute"


class TestModest(Place):
    name = "modest"


class TestOverridden(Place):
    name = "local"

    def test_an_empty_place_is_empty(self):
        pass


class TestDeleted(Place):
    name = "local"
    test_an_empty_place_is_empty = None


@pytest.mark.skip(reason="later")
class TestSkipped(Place):
    name = "local"


class TestDeclared(Place):
    name = "local"
    gaps = {"test_an_artifact_may_hold_nothing": "declared, and not true"}

    @pytest.mark.xfail(reason="it is explained")
    def test_an_empty_place_is_empty(self, process):
        raise NotImplementedError


class TestMisspelt(Place):
    name = "local"
    gaps = {"test_an_artefact_may_hold_nothing": "no such test"}


class TestUnfinished(BackendContract):
    pass
"""


def test_specs_and_test_classes_that_hide_something_are_found_out(tmp_path: Path) -> None:
    guard, empty = "test_no_test_is_left_out_in_silence", "test_an_empty_place_is_empty"
    wanted = {
        "TestHeavy::test_importing_the_plugin_leaves_the_sdk_alone": "failure",
        "TestHeavy::test_the_users_process_never_loads_the_sdk": "failure",
        "TestNeedy::test_settings_have_defaults_and_are_plain_data": "failure",
        "TestOdd::test_settings_have_defaults_and_are_plain_data": "failure",
        "TestCurious::test_the_context_is_plain_data_and_costs_nothing": "failure",
        "TestSecretive::test_the_context_is_plain_data_and_costs_nothing": "failure",
        "TestMute::test_the_spec_says_what_it_is_for": "failure",
        "TestModest::test_inputs_are_recorded_or_not_declared": "failure",
        f"TestOverridden::{guard}": "failure",
        f"TestOverridden::{empty}": "passed",
        f"TestDeleted::{guard}": "failure",
        f"TestDeclared::{guard}": "passed",
        f"TestDeclared::{empty}": "xfail",
        "TestDeclared::test_an_artifact_may_hold_nothing": "failure",
        f"TestMisspelt::{guard}": "failure",
        f"TestSkipped::{empty}": "skip",
        f"TestUnfinished::{empty}": "error",
    }
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "odd_specs.py").write_text(SPECS)
    with installed(folder, {"odd-specs": "odd_specs"}):
        assert run(tmp_path / "author", TESTS, *wanted) == wanted


ABLE = """
import subprocess

import attrs

from tracelet.builtin import local as embedded
from tracelet.plugin import BackendSpec, hookimpl


class Plain(embedded.LocalBackend):
    relabel = remove_aliases = delete = collect = record_input = experiments = used_by = None


class Indirect(embedded.LocalBackend):
    def write_files(self, files):
        for file in files:
            target = self._root / file.key
            target.parent.mkdir(parents=True, exist_ok=True)
            # The backend's own process never opens what it stores.
            copy = 'sleep 0.1; cp "$1" "$2.part" && mv "$2.part" "$2"'
            subprocess.run(["sh", "-c", copy, "cp", file.source, target], check=True)


def spec(kind, **more):
    def open_it(experiment, settings, context):
        return kind(context.directory / "local", experiment)

    return BackendSpec(name=kind.__name__.lower(), open=open_it, in_process=True, summary="It works.", **more)


@hookimpl
def tracelet_backends():
    return [spec(Plain, atomic_versions=False), spec(Indirect)]
"""


def test_a_backend_that_can_do_less_and_says_so_passes(tmp_path: Path) -> None:
    tests = [
        "test_names_given_afterwards_are_moved_or_refused",
        "test_an_alias_that_is_taken_away_names_nothing",
        "test_experiments_are_listed_by_their_names",
        "test_what_a_version_was_used_for_is_found",
        "test_a_deleted_version_is_gone_and_its_number_is_not_used_again",
        "test_versions_that_are_deleted_together_are_gone_together",
        "test_declared_capabilities_are_the_implemented_ones",
        "test_two_processes_that_race_for_numbers_lose_nothing",
        "test_two_processes_that_race_for_a_label_do_not_share_it",
        "test_two_programs_with_many_threads_lose_nothing",
    ]
    source = """

class TestPlain(Place):
    name = "plain"


class TestAnywhere(BackendContract):
    @pytest.fixture
    def backend(self):
        return "plain"


class TestAPlaceEach(TestAnywhere):
    @pytest.fixture
    def environ(self, tmp_path):
        return {"TRACELET_DIR": str(tmp_path / "place")}
"""
    empty = ["test_an_empty_place_is_empty", "test_empty_files_come_back_empty"]
    chosen = [f"TestPlain::{test}" for test in tests]
    chosen += [f"{place}::{test}" for place in ("TestAnywhere", "TestAPlaceEach") for test in empty]
    with able(tmp_path):
        assert run(tmp_path / "author", source, *chosen) == dict.fromkeys(chosen, "passed")


def test_a_backend_that_stores_by_another_process_is_killed_by_the_clock_and_passes(tmp_path: Path) -> None:
    source = "\n\nclass TestIndirect(Place):\n    name = 'indirect'\n"
    chosen = [
        f"TestIndirect::test_an_interrupted_put_lists_nothing_and_is_stored_once[{moment}]"
        for moment in ("the first file", "the last file")
    ]
    with able(tmp_path):
        assert run(tmp_path / "author", source, *chosen) == dict.fromkeys(chosen, "passed")


@contextlib.contextmanager
def able(tmp_path: Path) -> Iterator[None]:
    """Two backends that keep the contract, each in its own way."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "able.py").write_text(ABLE)
    with installed(folder, {"able": "able"}):
        yield


def test_a_contract_that_is_skipped_as_a_whole_is_silent_about_it() -> None:
    class Skipped(BackendContract):
        pytestmark = pytest.mark.skip(reason="later")

    with pytest.raises(AssertionError):
        Skipped().test_no_test_is_left_out_in_silence()
