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


def pace() -> float:
    """How many times as long as on a quiet machine things take on this one now."""
    global _measured
    told = os.environ.get("TEST_PACE")
    if told:
        return float(told)
    began = time.monotonic()
    if began - _measured[0] > _FRESH:
        for _ in range(1_000_000):
            pass
        took = (time.monotonic() - began) / _QUIET
        # What starts a process waits for more than a loop does; and the machine may be busier in a moment.
        _measured = time.monotonic(), 1.0 if took < 1.3 else 2 * took
    return _measured[1]


def at_this_pace(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits of a quiet machine as they have to be on this one now."""
    return {name: value * pace() if name in _LIMITS else value for name, value in limits.items()}


_LIMITS = {"deadline", "open_timeout", "stop_timeout"}
