"""The tables of types, serializers, frameworks and routes on the pages are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from tracelet import ArtifactType
from tracelet.builtin.models import tracelet_serializers as models
from tracelet.builtin.objects import tracelet_serializers as objects
from tracelet.builtin.routing import BEST

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "reference" / "objects.md").read_text()


def section(title: str, page: str = PAGE) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_type_is_on_the_page() -> None:
    assert re.findall(r"`([A-Z]+)`", section("Types")) == [one.name for one in ArtifactType]


def test_every_serializer_of_objects_has_its_row() -> None:
    table = section("Objects").partition("\n### ")[0]
    rows = re.findall(r"^\| (?:\d|named only) \| `(\w+)`", table, re.MULTILINE)
    assert set(rows) == {one.name for one in objects()}


def test_every_framework_has_its_row() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Models"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)} - {"framework"}
    assert named == {one.name for one in models()}


def test_the_routes_are_those_of_the_default_policy() -> None:
    page = (DOCS / "how-to" / "choose-where-artifacts-go.md").read_text()
    rows = re.findall(r"^\| (`[A-Z].*?) \| `(\w+)` \|", page, re.MULTILINE)
    told = {ArtifactType[name]: backend for names, backend in rows for name in re.findall(r"\w+", names)}
    assert told == BEST
