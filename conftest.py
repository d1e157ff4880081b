"""For all tests: Ctrl-C means what it means at a terminal, and the long forms of some are asked for by name."""

from __future__ import annotations

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `nox -s reliability` asks for."""
    group = parser.getgroup("tracelet")
    group.addoption("--long", action="store_true", help="run the long forms of the tests in tests/reliability")
    group.addoption("--figures", metavar="PAGE", help="write what they measured into this page")


def pytest_configure() -> None:
    """Take SIGINT back where whoever started the tests in the background has it ignored, as all their children would."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
