"""The same in each tracker: versions of all kinds of entries, with labels, aliases that moved, one that is deleted, and a use.

python trackers.py BACKEND STEP
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

from common import everything, small

from tracelet import ArtifactType, Experiment
from tracelet.plugin import BackendContext
from tracelet.settings import load_plugin

PLACE = Path(os.environ["TRACELET_DIR"]).parent


def held(backend):
    """Versions; offline they are pending, and what they are waits in the outbox."""
    with Experiment("golden", backend=backend, artifacts=True) as exp:
        exp.log_artifact(everything(exp, "everything"), version="1.0", aliases=["best", "first"]).raise_for_errors()
        exp.use_artifact("everything", "best")
        kind = ArtifactType.DATASET
        exp.log_artifact(small(exp, "lives", "one", kind), version="1.0.0", aliases=["best", "old"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "two", kind), version="2.0.0", aliases=["best"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "three", kind), version="3.0.0", aliases=["gone"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "one", kind)).raise_for_errors()
        picture = exp.create_artifact("Named-In-Two-Cases", ArtifactType.REPORT, "metadata alone")
        picture.metadata["rows"] = 0
        exp.log_artifact(picture).raise_for_errors()


def deleted(backend):
    """One version is deleted."""
    (entry,) = entry_points(group="tracelet", name=backend)
    (spec,) = entry.load().tracelet_backends()
    os.environ |= {**spec.environ, **os.environ}
    context = BackendContext(PLACE / "tracelet", spec.context())
    opened = spec.open("golden", load_plugin(spec.settings, backend), context)
    opened.delete(opened.find("lives", "3.0.0"))
    opened.stop(failed=False)


def away(backend):
    """The tracker cannot be reached: a delivery waits, with what the tracker makes of its model."""
    there = PLACE / backend
    there.rename(PLACE / "aside")
    there.write_bytes(b"")
    try:
        with Experiment("golden", backend=backend, artifacts=True) as exp:
            results = exp.log_artifact(everything(exp, "later"), version="1.0", aliases=["best"])
            assert results.queued, results
    finally:
        there.unlink()
        (PLACE / "aside").rename(there)


STEPS = {"held": held, "deleted": deleted, "away": away}

if __name__ == "__main__":
    STEPS[sys.argv[2]](sys.argv[1])
