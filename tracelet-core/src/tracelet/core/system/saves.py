"""Who is saving which file at this moment: a file that one detector tells of is not for the others to tell of.

A framework's checkpoint is a ``torch.save`` in a watched directory: three detectors see one file. The one that
knows most about it says so while it lasts, with :func:`saving`. A child process that trains says it to the process
that captures by a file in a folder that both know, see :func:`share`.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from tracelet.core.system.files import create, make_folder
from tracelet.core.system.processes import ProcessId, alive, current
from tracelet.core.system.schemas import SCHEMA, check_schema
from tracelet.exceptions import NewerFormat

__all__ = ["Claim", "announce_save", "being_saved", "saving", "share", "unshare"]

_SUFFIX = ".save"


class Claim:
    """A folder whose saves are nobody's to tell of by themselves.

    They are parts of a larger one, for somebody who sees when that is complete, but not its code, or they are another
    tool's own. Until the claim is released, no save of a path in the folder is an outermost one, and what detectors see there waits.
    """

    def take(self, folder: str | os.PathLike[str]) -> None:
        """Claim this folder, which need not be there; an earlier one is released."""
        _CLAIMS[self] = os.path.abspath(folder)

    def release(self) -> None:
        """Claim nothing any more; a second call does nothing."""
        _CLAIMS.pop(self, None)


@attrs.frozen(eq=False)
class _Save:
    paths: frozenset[str]
    #: Of the outermost save that it is in; a smaller one is older.
    rank: int


_RANKS = itertools.count()
#: Files and folders that are being saved in this process. Single operations on a dict need no lock.
_SAVES: dict[_Save, None] = {}
#: Folders that are claimed in this process.
_CLAIMS: dict[Claim, str] = {}
#: The saves that this thread (or task) is inside of.
_OWN: contextvars.ContextVar[tuple[_Save, ...]] = contextvars.ContextVar("tracelet_saving", default=())
#: Folders where children note their saves, and the process that captures.
_SHARED: dict[Path, int] = {}


@contextlib.contextmanager
def saving(*paths: str | os.PathLike[str]) -> Iterator[bool]:
    """Say that the block saves these files or folders, and emits them before it ends.

    Gives True where this is the outermost save of the thread, and nobody claims the place: only then is it the caller's to emit. What another
    detector sees of these paths meanwhile waits for the end of the block, and is captured then if it is news.
    """
    own = _OWN.get()
    save = _Save(frozenset(map(os.path.abspath, paths)), own[0].rank if own else next(_RANKS))
    token = _OWN.set((*own, save))
    _SAVES[save] = None
    noted = _note(save) if _SHARED else []
    try:
        yield not own and not any(map(_claimed, save.paths))
    finally:
        del _SAVES[save]
        _OWN.reset(token)
        for file in noted:
            file.unlink(missing_ok=True)


def being_saved(path: str | os.PathLike[str]) -> bool:
    """Tell whether somebody else is saving this file, or a folder that it is in, who is to be waited for.

    A thread that saves it itself waits only for those who began before: a framework that had it saved by another thread.
    """
    if _claimed(path):
        return True
    if not _SAVES and not _SHARED:
        return False
    own = _OWN.get()
    others = [save for save in list(_SAVES) if save not in own]
    if not others and not _SHARED:
        return False
    place = Path(os.path.abspath(path))
    places = {str(place), *map(str, place.parents)}
    mine = [save.rank for save in own if save.paths & places]
    if any(save.paths & places and (not mine or save.rank < mine[0]) for save in others):
        return True
    return not mine and any(paths & places for paths in _noted())


def _claimed(path: str | os.PathLike[str]) -> bool:
    if not _CLAIMS:
        return False
    place = Path(os.path.abspath(path))
    return not {str(place), *map(str, place.parents)}.isdisjoint(list(_CLAIMS.values()))


# -- between a process that captures, and its children that train


def share(folder: Path, captures: int) -> None:
    """Have what is saved in the children of the process with the id ``captures`` known there, by files in a folder."""
    _SHARED[folder] = captures


def unshare(folder: Path) -> None:
    """End that; children that still save are not waited for any more."""
    _SHARED.pop(folder, None)


def _note(save: _Save) -> list[Path]:
    """Write a save down where this process is a child; what cannot be written is not waited for."""
    noted, mine = [], current()
    for folder in [folder for folder, captures in list(_SHARED.items()) if captures != os.getpid()]:
        with contextlib.suppress(OSError):
            noted.append(_write(folder, save.paths, (mine.host, mine.pid, mine.started)))
    return noted


def announce_save(folder: Path, paths: Iterable[str | os.PathLike[str]]) -> Path:
    """Say, in a folder that is shared, that these files are the business of who reads it; that ends with the file.

    Raises ``OSError`` where it cannot be written.
    """
    return _write(folder, map(os.path.abspath, paths), None)


def _write(folder: Path, paths: Iterable[str], owner: tuple[object, ...] | None) -> Path:
    make_folder(folder)
    file = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
    part = file.with_suffix(".part")
    with create(part) as writer:
        writer.write(json.dumps({"schema": SCHEMA, "owner": owner, "paths": sorted(paths)}).encode())
    return part.replace(file)


def _noted() -> Iterator[frozenset[str]]:
    for folder in [folder for folder, captures in list(_SHARED.items()) if captures == os.getpid()]:
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        for file in (folder / name for name in names if name.endswith(_SUFFIX)):
            with contextlib.suppress(OSError, NewerFormat):  # deleted meanwhile, or of a later release
                said = json.loads(file.read_text(encoding="utf-8"))
                check_schema(said, SCHEMA, str(file))
                if said["owner"] is None or alive(ProcessId(*said["owner"])):
                    yield frozenset(said["paths"])
