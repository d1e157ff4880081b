"""Names that W&B accepts. Different names stay different, and most stay as they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from urllib.parse import unquote, urlsplit

from tracelet.plugin import MANIFEST_NAME, ArtifactType, Manifest

__all__ = [
    "TYPES",
    "artifact_type",
    "experiment_name",
    "file_name",
    "file_names",
    "project_name",
    "reference_names",
    "table_name",
    "types_of",
]

#: What W&B refuses in a project's name, and the character that marks what was encoded.
_NOT_IN_PROJECTS = re.compile(r"[/\\#?%:~\x00-\x1f\x7f-\x9f]|^\s|\s$")
#: W&B's client puts a file's name into a URL as it is. These characters would end or change the path.
_NOT_IN_FILES = re.compile(r"[#?%~]")
#: Projects of W&B's own.
_RESERVED = re.compile(r"wandb-registry-.*|model-registry", re.DOTALL)
_LONGEST = 128
_ENCODED = re.compile(r"(?:~[0-9A-F]{2})+")
#: Bytes of a file's name that every file system takes, less what the client adds to a table's: a step and a digest.
_LONGEST_FILE = 200
#: All but the characters that the client leaves in an artifact's name. It replaces the others, and appends this many characters.
_NOT_IN_ARTIFACTS, _CHANGED = re.compile(r"[^a-zA-Z0-9_.-]"), 7
#: W&B reserves artifacts of the type ``code`` whose names begin so.
_CODE_PREFIX = "source-"
_OTHER_CODE = "source-code"

#: The types that Tracelet's artifacts have in W&B.
TYPES = frozenset({*(one.value for one in ArtifactType), _OTHER_CODE})


def _encoded(text: str) -> str:
    return "".join(f"~{byte:02X}" for byte in text.encode())


def project_name(experiment: str) -> str:
    """Return the project of an experiment: its name, with ``~`` and two digits for each byte that W&B refuses.

    A name that is too long is cut, and ends in ``~-`` and a part of its sha256.
    """
    name = _NOT_IN_PROJECTS.sub(lambda match: _encoded(match[0]), experiment)
    if name in {".", ".."} or _RESERVED.fullmatch(name):
        name = _encoded(name[0]) + name[1:]
    if len(name) > _LONGEST:
        name = f"{name[:90]}~-{hashlib.sha256(experiment.encode()).hexdigest()[:32]}"
    return name


def experiment_name(project: str) -> str | None:
    """Return the experiment whose project has this name; None where the name is a cut one, or is not of Tracelet's making."""
    try:
        name = _ENCODED.sub(lambda match: bytes.fromhex(match[0].replace("~", "")).decode(), project)
    except UnicodeDecodeError:
        return None
    return name if project_name(name) == project else None


def table_name(name: str, run: str) -> str:
    """Return the name under which a table is shown on a run: its own name, if W&B accepts that.

    The client stores each table as an artifact ``run-<id of the run>-<name>``, and in a file of that name with more at its
    end. It refuses names that are too long. Those are cut in the middle, where a part of the sha256 stands: the end says most.
    """
    most = _LONGEST - len(f"run-{run}-") - (_CHANGED if _NOT_IN_ARTIFACTS.search(name) else 0)
    if len(name) <= most and all(len(part.encode()) <= _LONGEST_FILE for part in name.split("/")):
        return name
    mark = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}-"
    end = (most - len(mark)) // 2
    start, rest = name.encode()[: most - len(mark) - end], name.encode()[-end:]
    return f"{start.decode(errors='ignore')}{mark}{rest.decode(errors='ignore')}"


def types_of(kind: ArtifactType) -> frozenset[str]:
    """Return the types in W&B that artifacts of a type may have."""
    return frozenset({kind.value, *([_OTHER_CODE] if kind is ArtifactType.CODE else [])})


def artifact_type(manifest: Manifest) -> str:
    """Return W&B's type of an artifact: Tracelet's type, except for names that W&B reserves for its own code."""
    if manifest.type is ArtifactType.CODE and manifest.name.startswith(_CODE_PREFIX):
        return _OTHER_CODE
    return manifest.type.value


def file_name(path: str) -> str:
    """Return the name of a file in W&B: its path, with ``#``, ``?``, ``%`` and ``~`` encoded."""
    return _NOT_IN_FILES.sub(lambda match: _encoded(match[0]), path)


def file_names(manifest: Manifest) -> dict[str, str]:
    """Return the name in W&B of every file, by its path."""
    return {file.artifact_path: file_name(file.artifact_path) for file in manifest.payload}


def reference_names(manifest: Manifest) -> list[str]:
    """Return the name in W&B of every reference, in order: its path or the last part of its URI, made unique."""
    taken = {MANIFEST_NAME, *file_names(manifest).values()}
    names = []
    for reference in manifest.references:
        leaf = unquote(urlsplit(reference.uri).path).rstrip("/").rpartition("/")[2]
        name = _free(file_name(reference.path or _tame(leaf)), taken)
        taken.add(name)
        names.append(name)
    return names


def _tame(leaf: str) -> str:
    """Return the last part of a URI without what W&B's client refuses, and without control characters."""
    tame = re.sub(r"[\x00-\x1f\x7f\\]", "_", leaf)[:200]
    return "reference" if tame in {"", ".", ".."} else tame


def _free(name: str, taken: Collection[str]) -> str:
    folders = {"/".join(one.split("/")[:depth]) for one in taken for depth in range(1, one.count("/") + 1)}
    number, free = 0, name
    while free in taken or free in folders:
        number += 1
        free = f"references/{number}/{name}"
    return free
