"""The reference has every public name once, and says of every error what it means."""

from __future__ import annotations

import functools
import importlib
import re
from collections import Counter
from typing import Any

import pytest

from pages.blocks import DOCS
from tracelet import exceptions

MODULES = ("tracelet", "tracelet.exceptions", "tracelet.plugin", "tracelet.testing")
PUBLIC = [(module, name) for module in MODULES for name in importlib.import_module(module).__all__]
ERRORS = DOCS / "reference" / "errors.md"


@functools.cache
def described() -> Counter[tuple[str, str, str]]:
    """How often each object is described."""
    pages = sorted((DOCS / "reference").rglob("*.md"))
    names = [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    return Counter(map(key, names))


def key(path: str) -> tuple[str, str, str]:
    """What tells an object from others, wherever it is imported from."""
    value = named(path)
    return path.rpartition(".")[2], getattr(value, "__module__", ""), getattr(value, "__qualname__", "")


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda part: part)
def test_every_public_name_is_described_once(module: str, name: str) -> None:
    assert described()[key(f"{module}.{name}")] == 1


@pytest.mark.parametrize("name", exceptions.__all__)
def test_the_page_of_errors_says_of_each_what_it_means_and_what_to_do(name: str) -> None:
    page = ERRORS.read_text()
    assert f"\n::: tracelet.exceptions.{name}\n" in page
    assert f"[`{name}`](#tracelet.exceptions.{name}) | " in page
    if name != "TraceletError":
        assert "\n    What to do: " in (getattr(exceptions, name).__doc__ or "")


def test_the_page_of_errors_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^\| (.*?)\[`(\w+)`\]", ERRORS.read_text(), re.MULTILINE)
    parents = [name for _, name in drawn[:1]]
    for lead, name in drawn[1:]:
        parents[_depth(lead) :] = [name]
        assert getattr(exceptions, parents[-2]) in getattr(exceptions, name).__bases__, name
    assert {name for _, name in drawn} == set(exceptions.__all__)


def _depth(lead: str) -> int:
    """How deep a row is in the tree: its own branch, and one more if another branch goes past it or ended before it."""
    return 2 if "&nbsp;" in lead else 1
