"""What `local` holds, and everything that can wait in a tracelet directory; each step is a process of its own.

    python local.py STEP

The backend `archive` of `golden_archive` fails as the file `mood` beside the tracelet directory says.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from common import LARGE, everything, model, small

from tracelet import ArtifactType, Experiment, ExperimentConfig

PLACE = Path(os.environ["TRACELET_DIR"]).parent
BOTH = ["local", "archive"]


def begin(name, backend, **config):
    settings = ExperimentConfig(routing="all", **config)
    return Experiment(name, backend=backend, artifacts=True, config=settings).start()


def mood(word):
    (PLACE / "mood").write_text(word)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def held():
    """Versions of every type, with labels, aliases that moved, one that is deleted, inputs, and bytes in the store."""
    with begin("golden", "local") as exp:
        for kind in ArtifactType:
            exp.log_artifact(small(exp, f"a-{kind.value}", f"a {kind.value}", kind)).raise_for_errors()
        exp.log_artifact(everything(exp, "everything"), version="1.0", aliases=["best", "first"]).raise_for_errors()
        used = exp.use_artifact("everything", "best")
        exp.log_artifact(small(exp, "lives", "one"), version="1.0.0", aliases=["best", "old"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "two"), version="2.0.0", aliases=["best"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "three"), version="3.0.0", aliases=["gone"]).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "four")).raise_for_errors()
        exp.log_artifact(small(exp, "lives", "one"), aliases=["again"]).raise_for_errors()
        forced = small(exp, "forced", "in the store, however small", ArtifactType.DATASET)
        forced.metadata["force_reference"] = True
        forced.add_object([1, 2, 3], "numbers").add_model(model(), name="line")
        exp.log_artifact(forced).raise_for_errors()
        described = exp.create_artifact("only-described", ArtifactType.REPORT, "")
        described.metadata["rows"] = 0
        exp.log_artifact(described).raise_for_errors()
        assert used.digest
    from tracelet.plugin import FolderBackend

    local = FolderBackend("local", PLACE / "tracelet" / "local", "golden")
    third = local.find("lives", "3.0.0")
    assert third is not None
    local.delete(third)
    with begin("größe 1/2", "local") as exp:
        exp.log_artifact(small(exp, "odd", "in an experiment whose name is encoded")).raise_for_errors()


def away():
    """A delivery waits, with what a tracker would make of its model; another one was tried twice; and a use is to be noted."""
    with begin("waiting", BOTH) as exp:
        exp.log_artifact(small(exp, "data", "used", ArtifactType.DATASET)).raise_for_errors()
    mood("away")
    with begin("waiting", "archive") as exp:
        assert exp.log_artifact(everything(exp, "everything"), version="1.0", aliases=["best"]).queued
    with begin("waiting", BOTH) as exp:
        exp.use_artifact("data", backend="local")
        assert exp.log_artifact(small(exp, "thing", "waits")).queued
        exp.flush(1)


def refused():
    """A delivery that its backend will never take."""
    mood("away")
    with begin("refused", "archive") as exp:
        assert exp.log_artifact(small(exp, "thing", "refused")).queued
    mood("refuses")
    with begin("refused", "archive") as exp:
        exp.flush(30)


def leased():
    """A process died while it had a delivery in hand."""
    mood("away")
    with begin("leased", "archive") as exp:
        assert exp.log_artifact(small(exp, "thing", "in hand"), aliases=["best"]).queued
    mood("dies")
    begin("leased", "archive").flush(60)


def torn():
    """A process died when one of two backends had what it put, and the other one had not."""
    mood("")
    exp = begin("torn", BOTH)
    exp.log_artifact(small(exp, "thing", "whole"), aliases=["best"]).raise_for_errors()
    mood("dies last")
    second = small(exp, "thing", "torn").add_object({"a": 1}, "numbers")
    exp.log_artifact(second, version="1.0", aliases=["best"])


def drafts():
    """Snapshots that are not hashed: the store was away; the process ended, or (see `draft_of_a_dead_process`) died."""
    mood("")
    blocked = PLACE / "blocked"
    blocked.write_bytes(b"")
    exp = begin("drafts", BOTH, store=str(blocked / "store"))
    assert exp.submit_artifact(everything(exp, "everything"), version="1.0", aliases=["best"]).result(60).queued
    exp.stop()


def draft_of_a_dead_process():
    """See `drafts`: this one was not asked whether it is over."""
    exp = begin("drafts", BOTH, store=str(PLACE / "blocked" / "store"), stop_timeout=5.0)
    Path("large.bin").write_bytes(LARGE)
    made = exp.create_artifact("snapshot", ArtifactType.CHECKPOINT).add_file("large.bin")
    assert exp.submit_artifact(made).result(60).queued
    die()


def captured():
    """Captures of a dead process: of two things the first version is stored, and the second one waits."""
    import golden_archive

    from tracelet.plugin import Detection

    own = {"automagic_artifacts": True, "capture_min_interval": 3600.0, "capture_latest_wins": True}
    exp = begin("captured", "local", **own)
    for text in ("first", "second"):
        Path("net.ckpt").write_text(f"{text} checkpoint")
        said = Detection(
            path=Path("net.ckpt"),
            type=ArtifactType.CHECKPOINT,
            name="net",
            artifact_path="saved/net.ckpt",
            description="as it was saved",
            metadata={"epoch": 1, "loss": float("nan")},
            aliases=("newest",),
        )
        golden_archive.emit(said)
        # A second thing, of which the detector knows nothing but its path.
        Path("plain.json").write_text(json.dumps({"a": text}))
        golden_archive.emit(Detection(path=Path("plain.json")))
        while len(exp.list_artifacts()) < 2:
            exp.flush(1)
    die()


STEPS = (held, away, refused, leased, torn, drafts, draft_of_a_dead_process, captured)
#: Those whose process dies.
DIE = {"leased", "torn", "draft_of_a_dead_process", "captured"}

if __name__ == "__main__":
    {step.__name__: step for step in STEPS}[sys.argv[1]]()
