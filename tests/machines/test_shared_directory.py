"""A directory that two machines share: each leaves alone what the other is at, and what a filesystem lacks is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from machines.places import HERE, Machine, needs

SHARED = {"TRACELET_DIR": f"{HERE}/tracelet"}
#: It submits, captures and puts, and all of that waits until a line comes, with a backend that is away and a store that is.
AT_WORK = """
import json, sys, threading
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.capture.processor import CaptureProcessor

gate = threading.Event()
def gated(kind, name):
    was = getattr(kind, name)
    setattr(kind, name, lambda *args, **kw: (gate.wait(), was(*args, **kw))[1])
gated(Sealer, "_work")
gated(CaptureProcessor, "process")
Path("saved").mkdir()
with Experiment("run", artifacts=True, watch_filesystem=True, artifact_watch_dirs=["saved"]) as exp:
    promise = exp.submit_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object({"a": 1}, "o"))
    Path("saved/late.json").write_text('{"b": 2}')
    while not exp.stats()["capture"]["seen"]:
        pass
    print("up", flush=True)
    sys.stdin.readline()
    gate.set()
    result = promise.result(60)
    exp.flush()
print(json.dumps([[a.version for a in result.values()], exp.stats()]))
"""
