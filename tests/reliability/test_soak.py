"""Ten thousand artifacts in one program: its memory, threads and open files stay as they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from reliability.figures import Figures
from reliability.trials import PATIENCE
from reliability.victims import SOAKER
from servers.programs import clean_environment

#: Bytes that 10,000 artifacts may leave behind in memory: what is kept of each is less than 2 KB.
ROOM = 16_000_000


def test_a_long_run_stays_small(tmp_path: Path, figures: Figures, long: bool) -> None:
    count, steps = (10_000, 10) if long else (300, 3)
    variables = clean_environment(
        {
            "TRACELET_DIR": str(tmp_path / "t"),
            "TRACELET_BACKEND": "local,fsfiles",
            "TRACELET_ROUTING": "all",
            "TRACELET_FSFILES_URL": f"file://{tmp_path}/bag",
        }
    )
    command = [sys.executable, "-c", SOAKER, str(count), str(steps)]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    early, late = told["steps"][0], told["steps"][-1]
    grown = late["resident"] - early["resident"]
    assert (late["threads"], late["files"]) == (early["threads"], early["files"])
    assert grown < ROOM
    figures.add(
        f"{count:,} artifacts logged in one program, to a directory and through a lane",
        {
            "seconds": f"{told['seconds']:.0f}",
            "MB more memory at the end than after a tenth": f"{grown / 1e6:.1f}",
            "more threads": 0,
            "more open files": 0,
        },
    )
