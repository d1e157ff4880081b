"""Names that are temporary, or may be: however odd a name is, it is told at once."""

from __future__ import annotations

import pytest

from tracelet.core.capture.temporary_names import final_name, is_temporary, may_be_temporary

pytestmark = pytest.mark.capture


@pytest.mark.parametrize("part", ["ab1_", "a_", "1_", "_a1", "x.tmp", "new_", "bcdfgh", ".", "old_", ".1", "~"])
def test_a_name_of_many_parts_is_told_at_once(part: str) -> None:
    """A pattern that tried each part in two ways would not end in this century."""
    for name in ((part * 128)[:255], f"{(part * 128)[:254]}!", f"tmp{(part * 128)[:250]}"):
        assert {is_temporary(name), may_be_temporary(name)} <= {True, False}
        assert (final_name(name) or name) in name


@pytest.mark.parametrize(
    "name",
    ["model.pt", "v1.2.3", "step.3", "step_10", "fold0.joblib", "newton.pt", "savings.csv", "backups", "goldfish.pt"],
)
def test_a_name_of_which_a_word_only_looks_so_waits_for_nothing(name: str) -> None:
    assert not is_temporary(name)
    assert not may_be_temporary(name)
