"""How fast this machine is now: limits of tests that are no test's subject grow where it is busy."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

#: Seconds that a million rounds of a loop take where nothing else is at work.
_QUIET = 0.03
#: Seconds for which a measurement is believed.
_FRESH = 5.0
_measured = (float("-inf"), 1.0)
#: The test that asked last, and the slowest pace that it was told: its limits and its bounds agree.
_told = ("", 1.0)


def pace() -> float:
    """How many times as long as on a quiet machine things take on this one now; one test is told of no faster one later."""
    global _measured, _told
    given = os.environ.get("TEST_PACE")
    if given:
        return float(given)
    began = time.monotonic()
    if began - _measured[0] > _FRESH:
        for _ in range(1_000_000):
            pass
        took = (time.monotonic() - began) / _QUIET
        # What starts a process waits for more than a loop does; and the machine may be busier in a moment.
        _measured = time.monotonic(), 1.0 if took < 1.3 else 2 * took
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    _told = (test, max(_measured[1], _told[1] if test == _told[0] else 1.0))
    return _told[1]


def at_this_pace(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits of a quiet machine as they have to be on this one now."""
    return {name: value * pace() if name in _LIMITS else value for name, value in limits.items()}


_LIMITS = {"deadline", "open_timeout", "stop_timeout"}
