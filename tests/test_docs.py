"""What `docs/reference/hooks.md` and `docs/reference/backend.md` say of plugins is all that there is. `tests/pages` follows the how-to pages."""

from __future__ import annotations

import builtins
import inspect
import re
from pathlib import Path
from typing import Protocol

import attrs
import pytest

from tracelet import TraceletSettings, exceptions, plugin
from tracelet.core.plugins import backend, hookspecs
from tracelet.plugin import (
    ArtifactSummary,
    Backend,
    BackendContext,
    BackendSpec,
    BlobBackend,
    Capability,
    Detection,
    Detector,
    DetectorContext,
    DetectorSpec,
    ModelInfo,
    RoutingSpec,
    SerializerSpec,
    StoredArtifact,
)
from tracelet.testing import DetectorContract, RoutingContract, SerializerContract
from tracelet.testing.contract_fixtures import ContractFixtures

DOCS = Path(__file__).parents[1] / "docs"
BACKEND = (DOCS / "reference" / "backend.md").read_text()
HOOKS = (DOCS / "reference" / "hooks.md").read_text()
HOW_TOS = ("write-a-backend.md", "write-a-detector.md", "write-a-policy.md", "write-a-serializer.md")
NAMES = [name for name in vars(hookspecs) if name.startswith("tracelet_")]


def rows(page: str) -> set[str]:
    """What the first cells of a page's tables have in backticks; a cell may have several."""
    return {
        name for cell in re.findall(r"^\| (`[^|]+) \| ", page, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)
    }


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


def section(hook: str) -> str:
    _, _, rest = HOOKS.partition(f"\n## {hook}\n")
    return rest.partition("\n## ")[0]


def fixtures(contract: type) -> list[str]:
    """The fixtures that a contract's docstrings tell its author to override."""
    found = re.findall(r'@pytest\.fixture\n    def (\w+)\([^"]*?\n        """Override', inspect.getsource(contract))
    assert found
    return found


@pytest.mark.parametrize("hook", NAMES)
def test_every_hook_has_its_row_and_a_section_with_its_signature(hook: str) -> None:
    returns = inspect.signature(getattr(hookspecs, hook)).return_annotation
    call = signature(getattr(hookspecs, hook))
    assert f"\n| [`{call}`](#{hook}) | `{returns}` | " in HOOKS
    assert f"\n`{call} -> {returns}`\n" in section(hook)


@pytest.mark.parametrize("hook", NAMES)
def test_every_section_says_when_it_is_called_what_it_returns_and_what_happens_when_it_raises(hook: str) -> None:
    for row in ("called", "must return", "used when", "tested by"):
        assert f"\n| {row} | " in section(hook)
    assert re.search(r"\n\| if .* raises? \| ", section(hook))


@pytest.mark.parametrize("hook", NAMES)
def test_the_example_of_every_hook_returns_its_specs(hook: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", section(hook), re.DOTALL)
    space: dict[str, object] = {}
    exec(compile(example, f"hooks.md, {hook}", "exec"), space)
    (spec,) = space[hook]()
    assert type(spec).__name__ in inspect.signature(getattr(hookspecs, hook)).return_annotation


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        *((BACKEND, kind) for kind in (BackendSpec, BackendContext, ModelInfo, StoredArtifact)),
        *((HOOKS, kind) for kind in (RoutingSpec, ArtifactSummary, SerializerSpec)),
        *((HOOKS, kind) for kind in (DetectorSpec, DetectorContext, Detection)),
    ],
    ids=lambda given: given.__name__ if isinstance(given, type) else "",
)
def test_every_field_has_its_row(page: str, kind: type) -> None:
    assert [field.name for field in attrs.fields(kind) if field.name not in rows(page)] == []


@pytest.mark.parametrize("method", methods(Backend))
def test_every_method_of_the_protocol_has_its_row(method: str) -> None:
    assert f"\n| `{method}" in BACKEND


@pytest.mark.parametrize("method", methods(Detector))
def test_every_method_of_a_detector_has_its_row(method: str) -> None:
    assert f"\n| `{method}` | " in HOOKS


@pytest.mark.parametrize("method", sorted(BlobBackend.__abstractmethods__))
def test_every_method_that_a_bag_of_blobs_needs_has_its_row(method: str) -> None:
    assert f"\n| `{signature(getattr(BlobBackend, method))}" in BACKEND


@pytest.mark.parametrize("method", ["write_files", "exists", "holds", "small_reader", "folders_below"])
def test_every_method_that_a_bag_of_blobs_may_override_has_its_row(method: str) -> None:
    assert f"\n| `{signature(getattr(BlobBackend, method))}` | " in BACKEND


@pytest.mark.parametrize("capability", list(Capability))
def test_every_capability_has_its_row_with_its_methods(capability: Capability) -> None:
    protocol = backend.PROTOCOLS[capability]
    (row,) = (
        line for line in BACKEND.splitlines() if line.startswith(f"| `{capability.name}` | `{protocol.__name__}` | `")
    )
    assert [method for method in methods(protocol) if f"`{method}`" not in row] == []


def test_every_ability_that_needs_no_declaration_has_its_row_with_its_methods() -> None:
    every = {one for one in vars(backend).values() if getattr(one, "_is_protocol", False)} - {Protocol, Backend}
    undeclared = every - set(backend.PROTOCOLS.values())
    assert len(undeclared) == 6
    for protocol in undeclared:
        (row,) = (line for line in BACKEND.splitlines() if line.startswith(f"| `{protocol.__name__}` | "))
        assert [method for method in methods(protocol) if f"`{method}`" not in row] == []


@pytest.mark.parametrize("function", [plugin.wrap_calls, plugin.when_imported])
def test_every_function_that_patches_a_library_has_its_row(function: object) -> None:
    assert f"\n| `{signature(function)}` | " in HOOKS


def test_every_fixture_that_is_yours_to_override_has_its_row() -> None:
    assert len(fixtures(ContractFixtures)) == 6
    for fixture in fixtures(ContractFixtures):
        assert f"\n| `{fixture}` | " in BACKEND
    for contract in (DetectorContract, SerializerContract):
        for fixture in fixtures(contract):
            assert f"\n| `{fixture}` | " in HOOKS
    assert fixtures(RoutingContract) == ["policy"]
    assert "with the fixture `policy`" in section("tracelet_routing")


@pytest.mark.parametrize(
    "page", [*(f"how-to/{name}" for name in HOW_TOS), "reference/backend.md", "reference/hooks.md"]
)
def test_the_page_names_nothing_that_is_not_there(page: str) -> None:
    known = {*plugin.__all__, *exceptions.__all__, *(capability.name for capability in Capability)}
    known |= {*vars(builtins), "BackendContract", "DetectorContract", "RoutingContract", "SerializerContract", "Path"}
    variables = {f"TRACELET_{field.name.upper()}" for field in attrs.fields(TraceletSettings)}
    words = set(re.findall(r"`([A-Z]\w+)`", (DOCS / page).read_text())) - {"TRACELET_SHELF_PLACE"}
    assert words <= known | variables
