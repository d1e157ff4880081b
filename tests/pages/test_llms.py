"""The map of the pages, for programs that read, is up to date."""

from __future__ import annotations

import runpy

from pages.blocks import DOCS


def test_the_map_is_that_of_the_pages_as_they_are() -> None:
    made = runpy.run_path(str(DOCS / "llms.py"))
    assert (DOCS / "llms.txt").read_text() == made["text"](), "say: python docs/llms.py"


def test_the_map_names_pages_that_are_there_each_once() -> None:
    made = runpy.run_path(str(DOCS / "llms.py"))
    listed = [page for _, page in made["pages"]()]
    assert len(listed) == len(set(listed)) > 40
    assert [page for page in listed if not (DOCS / page).exists()] == []
