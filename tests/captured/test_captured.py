"""Each thing that a library saves is one artifact, with nothing beside it, and the training goes as without capture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from captured import page, runs
from captured.libraries import PROGRAMS, Program


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.name} {program.library}")
def test_each_thing_is_one_artifact_and_the_losses_are_the_same(
    program: Program, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = runs.captured(program, tmp_path)
    found = Counter((one.name, one.type) for one in run.versions)
    assert found == {(thing.name, thing.type): thing.versions for thing in program.things}
    assert run.uncaptured == []
    assert bool(run.losses) == program.trains
    if program.trains:
        assert runs.losses_without_capture(program, tmp_path) == run.losses
    if where := request.config.getoption("--figures"):
        page.write(page.rows_of(program, run), Path(where))
