"""Real servers of object stores, each started once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.azurite import Azurite
from servers.s3_server import S3Server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """moto's S3, over HTTP."""
    with S3Server("artifacts") as started:
        yield started


@pytest.fixture(scope="session")
def azure() -> Iterator[Azurite]:
    """Azurite, over HTTP."""
    with Azurite("artifacts") as started:
        yield started
