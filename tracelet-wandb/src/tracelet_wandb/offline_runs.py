"""Tracelet's offline runs of W&B: which artifacts they have, and when ``wandb sync`` need not send them any more.

``offline-runs/<run>/`` in the SDK's folder has, as text:

    schema            the schema of these notes
    run               the path of the run's file
    <put-id>.waits    the paths of the SDK's copies of one artifact's files, a line each; ``.sent`` when the server has it
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from tracelet.exceptions import NewerFormat
from tracelet.plugin import make_folder
from tracelet_wandb.schemas import SCHEMA, check_text
from tracelet_wandb.staging import drop_copy

__all__ = ["forget", "remember", "withdraw"]

_LOG = logging.getLogger("tracelet.wandb")
#: How W&B itself marks a run's file that is sent; ``wandb sync`` then leaves it alone.
_SENT = ".synced"


def remember(folder: Path, run_file: Path, put_id: str, copies: list[str]) -> None:
    """Note that an artifact is in an offline run, and where the SDK keeps the copies of its files until it is sent."""
    notes = folder / run_file.stem
    make_folder(notes)
    (notes / "schema").write_text(str(SCHEMA))
    (notes / "run").write_text(str(run_file))
    (notes / f"{put_id}.waits").write_text("\n".join(copies))
    run_file.with_name(run_file.name + _SENT).unlink(missing_ok=True)


def forget(folder: Path, put_id: str) -> None:
    """Note that the server has an artifact.

    When it has all of a run, the run is marked as sent and the copies are removed. Otherwise ``wandb sync`` would store its
    artifacts a second time. Notes of a later release stay as they are.
    """
    for note in folder.glob(f"*/{put_id}.waits"):
        if _is_newer(note.parent):
            continue
        note.replace(note.with_suffix(".sent"))
        if list(note.parent.glob("*.waits")):
            continue
        run_file = Path(os.path.realpath((note.parent / "run").read_text()))
        # Only runs in the SDK's folder are marked, whatever the note says.
        if run_file.is_relative_to(os.path.realpath(folder.parent)) and run_file.exists():
            run_file.with_name(run_file.name + _SENT).touch()
        for sent in note.parent.glob("*.sent"):
            _drop(sent)
            sent.unlink()
        for about in ("run", "schema"):
            (note.parent / about).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            note.parent.rmdir()


def withdraw(folder: Path, put_id: str) -> int:
    """Note that an artifact is not to be sent, and remove the copies of its files; return their bytes. ``wandb sync`` completes nothing without them."""
    freed = sum(_drop(note) for note in folder.glob(f"*/{put_id}.waits") if not _is_newer(note.parent))
    forget(folder, put_id)
    return freed


def _drop(note: Path) -> int:
    return sum(map(drop_copy, filter(None, note.read_text().split("\n"))))


def _is_newer(notes: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            check_text((notes / "schema").read_text(), f"{notes}, which is about an offline run,")
        except NewerFormat as error:
            _LOG.warning("`wandb sync` may send what is sent already: %s", error)
            return True
    return False
