"""Each thing that a library saves is one artifact, with nothing beside it, and the training goes as without capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from captured import page, runs
from captured.libraries import PROGRAMS, Program


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[Program, list[page.Row]]]:
    """Where every test notes what was captured; it is written down where all of them did."""
    noted: dict[Program, list[page.Row]] = {}
    yield noted
    where = request.config.getoption("--figures")
    if where and len(noted) == len(PROGRAMS):
        page.write([row for program in PROGRAMS for row in noted[program]], Path(where))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.name} {program.library}")
def test_each_thing_is_one_artifact_and_the_losses_are_the_same(
    program: Program, rows: dict[Program, list[page.Row]], tmp_path: Path
) -> None:
    run = runs.captured(program, tmp_path)
    found = Counter((one.name, one.type) for one in run.versions)
    assert found == {(thing.name, thing.type): thing.versions for thing in program.things}
    assert run.uncaptured == []
    rows[program] = page.rows_of(program, run)
    assert runs.losses_without_capture(program, tmp_path) == run.losses
    assert bool(run.losses) == program.trains
