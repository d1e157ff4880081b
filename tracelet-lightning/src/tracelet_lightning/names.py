"""The names of artifacts, and of the files in them."""

from __future__ import annotations

import re
from typing import Any

from tracelet.exceptions import TraceletError
from tracelet.plugin import check_path, readable_name

__all__ = ["artifact_name", "class_of", "file_name"]


def class_of(module: Any) -> type:
    """Return the class of a module that the user wrote; ``fully_shard`` of torch gives the module a subclass of it."""
    kind = type(module)
    return kind.__bases__[-1] if "FSDPModule" in {base.__name__ for base in kind.__bases__} else kind


def artifact_name(module: Any, kind: str) -> str:
    """Name an artifact by the class of its module: a ``LitDigits`` has a ``lit-digits-checkpoint``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_of(module).__name__)
    return f"{readable_name(words.lower(), 127 - len(kind), strip='-', otherwise='module')}-{kind}"


def file_name(name: str) -> str:
    """Return the file's own name where an artifact can hold it, else a name made of its harmless characters.

    A name with a slash, such as ``epoch=0-val/acc=0.50.ckpt``, keeps it.
    """
    try:
        return check_path(name)
    except TraceletError:
        return f"checkpoint-{re.sub(r'[^A-Za-z0-9_.=/-]+', '-', name)[:200].rstrip('/')}"
