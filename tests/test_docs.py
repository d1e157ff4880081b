"""A stranger who has only `docs/how-to/write-a-backend.md` gets a backend that keeps the contract."""

from __future__ import annotations

import builtins
import inspect
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import attrs
import pytest

from tracelet import TraceletSettings, exceptions, plugin
from tracelet.core.plugins import hookspecs
from tracelet.core.plugins.backend import PROTOCOLS
from tracelet.plugin import (
    Backend,
    BackendSpec,
    BlobBackend,
    Capability,
    Detection,
    DetectorSpec,
    RoutingSpec,
    SerializerSpec,
)
from tracelet.testing import BackendContract
from tracelet.testing.contract_fixtures import ContractFixtures
from tracelet.testing.guard import contract_tests

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "write-a-backend.md").read_text()
#: "`path`:" or "`path`, at its end:", and the block after it.
BLOCK = re.compile(
    r"^`(?P<path>[^`\n]+)`(?P<end>, at its end)?:\n\n```\w+\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


def write(folder: Path, blocks: list[re.Match[str]]) -> None:
    for block in blocks:
        target = folder / block["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.read_text() + "\n\n" if block["end"] else ""
        target.write_text(before + block["code"])


def install(folder: Path, site: Path) -> dict[str, str]:
    """Install the folder as pip does; return the variables under which Python finds it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--upgrade"]
    subprocess.run([*command, "--target", str(site), str(folder)], check=True, capture_output=True, timeout=1200)
    return {**os.environ, "PYTHONPATH": str(site)}


def python(variables: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, timeout=1200, check=False
    )


@pytest.fixture(scope="module")
def blocks() -> list[re.Match[str]]:
    found = list(BLOCK.finditer(PAGE))
    assert [(block["path"], bool(block["end"])) for block in found] == [
        ("pyproject.toml", False),
        ("src/tracelet_sqlite/__init__.py", False),
        ("src/tracelet_sqlite/__init__.py", False),
        ("tests/test_sqlite.py", False),
        ("src/tracelet_sqlite/__init__.py", True),
        ("tests/test_policy.py", False),
        ("tests/test_rows.py", False),
        ("src/tracelet_sqlite/__init__.py", True),
        ("tests/test_archives.py", False),
    ]
    return found


def test_the_first_ten_lines_are_a_plugin_that_is_shown(blocks: list[re.Match[str]], tmp_path: Path) -> None:
    write(tmp_path / "tracelet-sqlite", blocks[:2])
    variables = install(tmp_path / "tracelet-sqlite", tmp_path / "site")
    shown = python(variables, tmp_path, "-c", "from tracelet.cli import main; main()", "plugins", "--json")
    assert shown.returncode == 0, shown.stderr
    assert '"tracelet-sqlite"' in shown.stdout
    (printed,) = re.findall(r"^Among what this prints is\n\n```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    seen = python(variables, tmp_path, "-c", "from tracelet.cli import main; main()", "plugins")
    assert printed in seen.stdout


def test_the_backend_of_the_page_keeps_the_contract(blocks: list[re.Match[str]], tmp_path: Path) -> None:
    folder = tmp_path / "tracelet-sqlite"
    write(folder, blocks)
    variables = install(folder, tmp_path / "site")
    report = tmp_path / "report.xml"
    done = python(
        variables,
        folder,
        *("-m", "pytest", "--import-mode=importlib", "-q", "-W", "error", "--tb=short", f"--junit-xml={report}"),
    )
    assert done.returncode == 0, done.stdout
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert not [case.get("name") for case in cases if len(case)]
    run = {case.get("name", "").partition("[")[0] for case in cases if "TestSqlite" in case.get("classname", "")}
    assert run == set(contract_tests(BackendContract))
    assert [case for case in cases if "TestSmallOnes" in case.get("classname", "")]
    assert [case for case in cases if "TestRows" in case.get("classname", "")]
    assert [case for case in cases if "TestArchives" in case.get("classname", "")]


USE = """
from tracelet import ArtifactType, Experiment

rows = [["a", "b"], ["1", "2"]]
with Experiment("page", backend=["local", "sqlite"], artifacts=True, routing="small-to-sqlite") as exp:
    table = exp.create_artifact("table", ArtifactType.DATASET).add_object(rows, "rows", serializer="rows")
    results = exp.log_artifact(table)
    results.raise_for_errors()
    assert list(results) == ["sqlite"], results
"""
READ = """
from tracelet import Experiment

table = Experiment("page", backend="sqlite", artifacts=True).get_artifact("table")
assert table.load_object("rows") == [["a", "b"], ["1", "2"]]
"""


def test_what_the_page_ends_with_is_used_by_name(blocks: list[re.Match[str]], tmp_path: Path) -> None:
    write(tmp_path / "tracelet-sqlite", blocks)
    variables = install(tmp_path / "tracelet-sqlite", tmp_path / "site")
    for number, program in enumerate([USE, READ]):
        place = {
            "TRACELET_SQLITE_FILE": str(tmp_path / "artifacts.db"),
            "TRACELET_DIR": str(tmp_path / f"dir-{number}"),
        }
        done = python({**variables, **place}, tmp_path, "-c", program)
        assert done.returncode == 0, done.stderr


def signature(function: object) -> str:
    """A function's name and its arguments as the page writes them."""
    names, keyword = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keyword:
            names.append("*")
            keyword = True
        names.append(parameter.name)
    return f"{function.__name__}({', '.join(names)})"


def methods(cls: type) -> list[str]:
    return [signature(value) for name, value in vars(cls).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("tracelet_")])
def test_every_hook_is_on_the_page_with_its_arguments(hook: str) -> None:
    assert f"`{signature(getattr(hookspecs, hook))}`" in PAGE


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(BackendSpec)])
def test_every_field_of_a_spec_has_its_row(field: str) -> None:
    assert f"\n| `{field}` | " in PAGE


@pytest.mark.parametrize("method", methods(Backend))
def test_every_method_of_the_protocol_has_its_row(method: str) -> None:
    assert f"\n| `{method}" in PAGE


@pytest.mark.parametrize("method", sorted(BlobBackend.__abstractmethods__))
def test_every_method_that_a_bag_of_blobs_needs_has_its_row(method: str) -> None:
    assert f"\n| `{signature(getattr(BlobBackend, method))}" in PAGE


@pytest.mark.parametrize("capability", list(Capability))
def test_every_capability_has_its_row_with_its_methods(capability: Capability) -> None:
    protocol = PROTOCOLS[capability]
    (row,) = (
        line for line in PAGE.splitlines() if line.startswith(f"| `{capability.name}` | `{protocol.__name__}` | `")
    )
    assert [method for method in methods(protocol) if f"`{method}`" not in row] == []


@pytest.mark.parametrize("spec", [RoutingSpec, SerializerSpec, Detection, DetectorSpec])
def test_every_field_of_the_other_specs_is_on_the_page(spec: type) -> None:
    for field in attrs.fields(spec):
        assert re.search(rf"\b{field.name}\b", PAGE)


def test_every_fixture_that_is_yours_to_override_has_its_row() -> None:
    source = inspect.getsource(ContractFixtures).partition("# -- what the tests use")[0]
    fixtures = re.findall(r"    def (\w+)\(self", source)
    assert len(fixtures) == 6
    for fixture in fixtures:
        assert f"\n| `{fixture}` | " in PAGE


def test_the_page_names_nothing_that_is_not_there() -> None:
    known = {*plugin.__all__, *exceptions.__all__, *(capability.name for capability in Capability)}
    known |= {*vars(builtins), "BackendContract", "DetectorContract", "SerializerContract", "Path"}
    variables = {f"TRACELET_{field.name.upper()}" for field in attrs.fields(TraceletSettings)}
    words = set(re.findall(r"`([A-Z]\w+)`", PAGE)) - {"TRACELET_SQLITE_FILE"}
    assert words <= known | variables
