"""`docs/reference/capture.md` says what is captured of each library, as the programs that show it have it."""

from __future__ import annotations

from pathlib import Path

from captured.libraries import PROGRAMS
from captured.page import rows_in

ROOT = Path(__file__).parents[1]


def test_every_thing_that_a_program_saves_has_its_row_in_the_page_and_every_row_is_of_one() -> None:
    rows = [row[:4] for row in rows_in(ROOT / "docs" / "reference" / "capture.md")]
    assert rows == [
        (f"{program.library}: {thing.call}", f"`{thing.name}`", f"`{thing.type.upper()}`", str(thing.versions))
        for program in PROGRAMS
        for thing in program.things
    ]


def test_every_program_is_run() -> None:
    programs = {path.stem for path in (ROOT / "tests" / "captured" / "programs").glob("*.py")}
    assert programs == {program.name for program in PROGRAMS}
