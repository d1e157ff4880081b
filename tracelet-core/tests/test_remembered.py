"""What a backend remembers of few names."""

from __future__ import annotations

from tracelet.plugin import Remembered


def test_what_was_kept_longest_ago_is_forgotten_for_more() -> None:
    seen = Remembered[int](2)
    seen.keep("model", 0)
    seen.keep("data", 0)
    seen.keep("model", 1)
    seen.keep("report", 0)
    assert [seen.of(name) for name in ("model", "data", "report")] == [1, None, 0]


def test_a_name_can_be_forgotten_and_every_name() -> None:
    seen = Remembered[int]()
    seen.keep("model", 0)
    seen.keep("data", 0)
    assert (seen.forget("model"), seen.forget("model"), seen.of("data")) == (0, None, 0)
    seen.clear()
    assert seen.of("data") is None
