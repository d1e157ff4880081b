"""Names that ClearML takes: of three characters or more, without what it would strip or take for a path."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

__all__ = ["entity_name", "experiment_name", "file_name", "project_name"]

#: ClearML refuses names of fewer characters than this.
_SHORTEST = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_FILE = 100
#: Characters that a project's name keeps: letters of every script, and what people put between them.
_PLAIN = re.compile(r"[\w ,;.+=@()\[\]{}'!$^~-]")


def entity_name(name: str) -> str:
    """Return the name of a task, model or dataset for an artifact. A name that is too short is padded with ``~``.

    An artifact's own name never has a ``~``.
    """
    return name.ljust(_SHORTEST, "~")


def project_name(experiment: str) -> str:
    """Return the name of an experiment's ClearML project. Different experiments have different projects.

    ``/`` makes projects within projects, as ClearML's users know them. What ClearML would strip, refuse or take for
    a path is percent-encoded. A part that is too short is padded with ``%``. An encoded character has two digits behind
    its ``%``, so no two parts get the same name.
    """
    return "/".join(_part(part).ljust(_SHORTEST, "%") for part in experiment.split("/"))


def _part(part: str) -> str:
    """Return the name of one level: not empty, not ``.`` or ``..``, no blanks around it, not one of ClearML's own."""
    if not part.strip("."):
        return "".join(f"%{ord(char):02X}" for char in part) or "%"
    text = "".join(char if _PLAIN.fullmatch(char) else quote(char, safe="") for char in part)
    if text.startswith((" ", ".")):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    return f"{text[:-1]}%20" if text.endswith(" ") else text


def experiment_name(project: str) -> str | None:
    """Return the experiment whose project has this name; None where somebody has given the project a name of their own."""
    name = "/".join(unquote(part.rstrip("%")) for part in project.split("/"))
    return name if project_name(name) == project else None


def file_name(name: str) -> str:
    """Return a file's name for a URL, in characters that nothing on the way changes. The manifest has the true name."""
    safe = _UNSAFE.sub("_", name)
    return (safe if len(safe) <= _LONGEST_FILE else f"{safe[:60]}{safe[-40:]}").lstrip(".-") or "_"
