"""Run a program as its user does, within a run of Tracelet; print its losses, where it has some.

The environment says whether anything is captured. In a job of several processes, the first one prints.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from tracelet import Experiment

if __name__ == "__main__":
    Path("out").mkdir(exist_ok=True)
    with Experiment("captured", artifacts=True):
        names = runpy.run_path(sys.argv[1], run_name="__main__")
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps([float(loss).hex() for loss in names.get("losses", [])]))
