"""For all tests: Ctrl-C means what it means at a terminal."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take SIGINT back where whoever started the tests in the background has it ignored, as all their children would."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
