"""The maps for who changes the code name files, classes and functions that are there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "tracelet-core" / "src" / "tracelet"
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
#: A path in backticks, and a class or function in that file after two colons.
NAMED = re.compile(r"`(?P<path>[\w./-]+?)(?:::(?P<name>[\w.]+))?`")
ENDINGS = {".py", ".md", ".toml", ".json"}


def is_path(text: str) -> bool:
    return (
        Path(text).suffix in ENDINGS
        or text.endswith("/")
        or text.startswith(("core/", "builtin/", "cli/", "tests/", "docs/"))
    )


def place(path: str) -> Path | None:
    """Where a path of a page is: below the repository, or below the core's sources."""
    return next((one / path for one in (ROOT, CORE) if (one / path).exists()), None)


@functools.cache
def defined(path: Path) -> set[str]:
    """Classes, functions and `Class.method` of a file, and the names that it imports to be its own."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def named(page: str) -> list[tuple[str, str | None]]:
    found = [(one["path"], one["name"]) for one in NAMED.finditer((ROOT / page).read_text())]
    return sorted({(path, name) for path, name in found if is_path(path)}, key=str)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_is_there(page: str) -> None:
    paths = {path for path, _ in named(page)}
    assert len(paths) > 20
    assert not [path for path in sorted(paths) if place(path) is None]


@pytest.mark.parametrize("page", PAGES)
def test_every_class_and_function_that_is_named_with_its_file_is_in_it(page: str) -> None:
    wrong = []
    for path, name in named(page):
        file = place(path)
        if name is not None and (file is None or name not in defined(file)):
            wrong.append(f"{path}::{name}")
    assert not wrong


def test_every_method_that_is_named_with_its_class_is_there() -> None:
    """`Class.method` alone, where the page has named the file before."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    known = set().union(*(defined(path) for path in CORE.rglob("*.py")))
    classes = {name.partition(".")[0] for name in known if "." in name}
    used = re.findall(r"`([A-Z]\w+\.\w+)`", text)
    assert not [one for one in used if one.partition(".")[0] in classes and one not in known and not is_field(one)]


def is_field(text: str) -> bool:
    cls, _, name = text.partition(".")
    return any(
        re.search(rf"^class {cls}\b.*?^    {name}: ", path.read_text(), re.DOTALL | re.MULTILINE)
        for path in CORE.rglob("*.py")
    )


def test_the_map_has_every_package_of_core_in_its_order() -> None:
    packages = re.findall(
        r"^\* ``(\w+)``: ", ast.get_docstring(ast.parse((CORE / "core/__init__.py").read_text())) or "", re.M
    )
    drawn = re.findall(r"^   (\w+)  ", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    assert drawn == packages[::-1]


def test_every_session_of_nox_is_named_with_its_time() -> None:
    sessions = [
        node.name
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and any("nox" in ast.unparse(one) for one in node.decorator_list)
    ]
    rows = [row for row in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == set(sessions)
