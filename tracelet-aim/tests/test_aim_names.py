"""Which experiments a server has: it tells one name of a folder at a time, and all of them are found."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tracelet_aim.names import every_name

#: What names of databases are made of. With few letters, many names begin alike.
NAMES = st.sets(st.text("ab-%.2", min_size=1, max_size=5).filter(lambda name: name.strip(".") != ""), max_size=12)


@given(NAMES)
def test_every_name_of_a_folder_is_found_by_asking_for_the_last_one_of_a_pattern(names: set[str]) -> None:
    """As Aim's server answers: `max` of what `glob` finds."""
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            Path(place, name).mkdir()
        (Path(place) / "beside").mkdir()

        def poll(pattern: str) -> str | None:
            return max((path.name for path in Path(place, "beside").glob(f"../{pattern}")), default=None)

        assert every_name(poll) == names | {"beside"}


def test_a_name_costs_two_questions_for_each_of_its_letters() -> None:
    asked: list[str] = []

    def poll(pattern: str) -> str | None:
        asked.append(pattern)
        return "experiment" if pattern == "*" else None

    assert every_name(poll) == {"experiment"}
    assert len(asked) <= 2 * len("experiment")
