"""For all tests: Ctrl-C means what it means at a terminal, and the long forms of some are asked for by name."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `nox -s reliability` and `nox -s captured` ask for."""
    group = parser.getgroup("tracelet")
    group.addoption("--long", action="store_true", help="run the long forms of the tests in tests/reliability")
    group.addoption("--figures", metavar="PAGE", help="write what they measured into this page")


def pytest_configure(config: pytest.Config) -> None:
    """Have a state folder for the tests alone, and take SIGINT back where whoever started the tests in the background has it ignored, as all their children would."""
    state = tempfile.TemporaryDirectory()
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name  # noqa: TID251 - of the tests' own processes
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
