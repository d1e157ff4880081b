"""A server's `Retry-After` is read as RFC 9110 has it, and whatever else it says is no time to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet.plugin import seconds_asked


@pytest.mark.parametrize(("said", "seconds"), [("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("", 0.0), (None, 0.0)])
def test_a_number_is_seconds(said: str | None, seconds: float) -> None:
    assert seconds_asked(said) == seconds


def test_a_date_is_when_to_come_back() -> None:
    assert 3500 < seconds_asked(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert seconds_asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@given(st.text())
def test_whatever_else_it_says_is_no_time_to_wait(said: str) -> None:
    assert seconds_asked(said) >= 0.0


@pytest.mark.parametrize("said", ["-1", "1.5", "soon", "١٢", "Wed, 99 Oct 2015 07:28:00 GMT", "1 Jan 1 00:00:00 +2359"])
def test_what_is_no_such_header_asks_for_nothing(said: str) -> None:
    assert seconds_asked(said) == 0.0
