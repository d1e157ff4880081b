"""The pages about the promises name tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from marked import part

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "why" / "reliability.md").read_text()


@pytest.mark.parametrize("page", ["reliability.md", "index.md"])
def test_every_test_that_the_page_names_is_there(page: str) -> None:
    named = re.findall(r"`([\w/.-]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "why" / page).read_text())
    assert named
    for path, name in named:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert not name or name in functions, f"{path} has no {name}"


def test_the_last_long_run_made_every_kind_of_trouble_and_lost_nothing() -> None:
    figures = part(PAGE, "figures")
    assert sum(int(kills) for kills in re.findall(r"\| (\d+) kills,", figures)) >= 200
    for kind in ("local", "fsfiles", "mlflow", "lane killed", "sync killed", "gc killed", "refused", "slow", "reset"):
        assert kind in figures
    for kind in ("corrupt", "a disk", "a tracelet directory damaged", "10,000 artifacts"):
        assert kind in figures
    bad = r"(\d+) (?:lost|wrong|doubled|out of order|in one backend alone|foreign errors|more threads|more open files)"
    assert set(re.findall(bad, figures)) == {"0"}
