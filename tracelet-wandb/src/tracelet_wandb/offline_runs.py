"""W&B's offline runs of ours: which artifacts are in them, and when ``wandb sync`` need not send them any more."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tracelet.plugin import make_folder
from tracelet_wandb.staging import drop_copy

__all__ = ["forget", "remember"]

#: How W&B itself marks a run's file that is sent; ``wandb sync`` then leaves it alone.
_SENT = ".synced"


def remember(folder: Path, run_file: Path, put_id: str, copies: list[str]) -> None:
    """Note that an artifact is in an offline run, and where the SDK keeps the copies of its files until it is sent."""
    notes = folder / run_file.stem
    make_folder(notes)
    (notes / "run").write_text(str(run_file))
    (notes / f"{put_id}.waits").write_text("\n".join(copies))
    run_file.with_name(run_file.name + _SENT).unlink(missing_ok=True)


def forget(folder: Path, put_id: str) -> None:
    """Note that the server has an artifact.

    With the last one of a run, the run is marked as sent and the copies go: else ``wandb sync`` would store its
    artifacts a second time.
    """
    for note in folder.glob(f"*/{put_id}.waits"):
        note.replace(note.with_suffix(".sent"))
        if list(note.parent.glob("*.waits")):
            continue
        run_file = Path(os.path.realpath((note.parent / "run").read_text()))
        # Another place than the SDK's folder beside this one is not ours to mark, whatever the note says.
        if run_file.is_relative_to(os.path.realpath(folder.parent)) and run_file.exists():
            run_file.with_name(run_file.name + _SENT).touch()
        for sent in note.parent.glob("*.sent"):
            for copy in filter(None, sent.read_text().split("\n")):
                drop_copy(copy)
            sent.unlink()
        (note.parent / "run").unlink()
        with contextlib.suppress(OSError):
            note.parent.rmdir()
