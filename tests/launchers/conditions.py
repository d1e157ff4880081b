"""What has to be installed."""

from __future__ import annotations

import shutil

import pytest


def needs(*commands: str) -> None:
    """Fail where a launcher is not installed: a test that is left out proves nothing."""
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        pytest.fail(
            f"not installed: {', '.join(absent)}. On Debian: apt-get install openmpi-bin mpich slurm-wlm munge",
            pytrace=False,
        )
