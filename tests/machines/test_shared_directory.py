"""A tracelet directory that two machines share: each leaves alone what the other is at, and what a filesystem lacks is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machines.places import HERE, Machine, needs

SHARED = {"TRACELET_DIR": f"{HERE}/tracelet"}
#: It submits and captures, and is stopped before anything of that is delivered: its store is away. It goes on when it is told to.
AT_WORK = """
import json, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.core.capture import journal
import tracelet.core.delivery.sealer as sealer
import threading

gate = threading.Event()
was = sealer.Sealer._work
def held(self):
    gate.wait()
    was(self)
sealer.Sealer._work = held
Path("saved").mkdir()
with Experiment("run", artifacts=True, watch_filesystem=True, artifact_watch_dirs=["saved"]) as exp:
    promise = exp.submit_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object({"a": 1}, "o"))
    Path("saved/late.json").write_text("{}")
    print("up", flush=True)
    sys.stdin.readline()
    gate.set()
    result = promise.result(60)
print(json.dumps([result.queued and 1, {n: a.version for n, a in result.items()}]))
"""
