"""Every block of code on every page runs, in the order of its page, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pages.blocks import DOCS, blocks
from pages.places import PLACES
from pages.session import Session

#: Pages that other tests follow.
ELSEWHERE = {
    "how-to/many-machines.md": "tests/launchers",
    "how-to/run-on-slurm.md": "tests/launchers",
    "reference/cli.md": "tracelet-core/tests/test_cli.py",
    "reference/format.md": "tests/test_format_page.py",
}
PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md"))}
RUN = [
    name
    for name, page in PAGES.items()
    if name not in ELSEWHERE and any(one.language in ("python", "bash") for one in blocks(page))
]


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_the_page_runs_as_printed(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place: Callable[[pytest.FixtureRequest, Path], dict[str, str]] = PLACES.get(name, lambda request, folder: {})
    folder = tmp_path / "folder"
    folder.mkdir()
    with Session(name, folder, place(request, folder)) as session:
        for block in blocks(PAGES[name]):
            session.follow(block)


def test_what_is_not_run_says_why() -> None:
    reasons = {(name, one.line): one.why for name in RUN for one in blocks(PAGES[name]) if one.why}
    assert all(len(why) > 10 for why in reasons.values()), reasons


def test_other_tests_follow_the_pages_that_these_leave_out() -> None:
    root = DOCS.parent
    assert [(page, test) for page, test in ELSEWHERE.items() if page not in PAGES or not (root / test).exists()] == []
