"""Names that ClearML takes: three characters or more, not stripped, not taken for a path."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["entity_name", "file_name", "project_name"]

#: ClearML refuses names of fewer characters than this.
_SHORTEST = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_FILE = 100
#: What is left of a project's name: letters of every script and what people put between them.
_PLAIN = re.compile(r"[\w ,;.+=@()\[\]{}'!$^~-]")


def entity_name(name: str) -> str:
    """Return the name of a task, model or dataset for an artifact's: padded where it is too short.

    Artifacts' names are never padded so themselves: ``~`` is none of their characters.
    """
    return name.ljust(_SHORTEST, "~")


def project_name(experiment: str) -> str:
    """Return the name of the ClearML project of an experiment; different for different experiments.

    ``/`` makes projects within projects, as ClearML users know them. What ClearML would strip, refuse or take for
    a path is percent-encoded; and a part that is too short is padded with ``%``, behind which two digits would be
    elsewhere: each part names a project of its own.
    """
    return "/".join(_part(part).ljust(_SHORTEST, "%") for part in experiment.split("/"))


def _part(part: str) -> str:
    """One level of a project: not empty, not ``.`` or ``..``, no blanks around it, and not one of ClearML's own."""
    if not part.strip("."):
        return "".join(f"%{ord(char):02X}" for char in part) or "%"
    text = "".join(char if _PLAIN.fullmatch(char) else quote(char, safe="") for char in part)
    if text.startswith((" ", ".")):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    return f"{text[:-1]}%20" if text.endswith(" ") else text


def file_name(name: str) -> str:
    """Return a name for a file in a URL that nothing on its way changes; its true name is in the manifest."""
    safe = _UNSAFE.sub("_", name)
    return (safe if len(safe) <= _LONGEST_FILE else f"{safe[:60]}{safe[-40:]}").lstrip(".-") or "_"
