"""A cluster for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from launchers import slurm
from launchers.conditions import needs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    needs(*slurm.NEEDED)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environ:
        yield environ
