"""What the serializers of models share: the fact sheet, versions, and errors that say what to do."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tracelet.builtin.libraries import class_path
from tracelet.exceptions import ArtifactError, ConfigError, TraceletError
from tracelet.plugin import check_schema

__all__ = [
    "UNREADABLE",
    "logger",
    "pack_again",
    "plain_params",
    "read_facts",
    "readable",
    "write_facts",
]

logger = logging.getLogger("tracelet.models")

_FACTS = "model.json"
#: Which files there are for a model, and what is in them.
_FORMAT = 1
#: The system that a zip says it was made on.
_UNIX = 3

#: What libraries raise about files that they cannot make a model from.
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def write_facts(folder: Path, model: Any, library: ModuleType, **more: Any) -> None:
    """Write ``model.json``: the model's class, the library and its version, and what else is given."""
    facts = {
        "format": _FORMAT,
        "class": class_path(type(model)),
        "library": library.__name__,
        "version": library.__version__,
        **more,
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` says.

    Raises :class:`NewerFormat` for the model of a later release that this one cannot load, and ``ValueError`` when it
    says nothing.
    """
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError(f"{_FACTS} holds no facts")
    check_schema({"schema": facts.get("format", _FORMAT)}, _FORMAT, "this model")
    return facts


@contextmanager
def readable() -> Iterator[None]:
    """Turn what a library raises about files that it cannot use into Tracelet's errors.

    Raises :class:`ConfigError` when something cannot be imported, and :class:`ArtifactError` when
    the files are damaged or made up.
    """
    try:
        yield
    except TraceletError:
        raise
    except ImportError as error:
        raise ConfigError(
            f"Loading this model needs {error.name}, which cannot be imported here ({error}): "
            "install it, or make it importable."
        ) from error
    except UNREADABLE as error:
        raise ArtifactError(
            f"The files do not hold a model that can be loaded here: {type(error).__name__}: {str(error).rstrip('. ')}. "
            "If they are whole, try the library version that model.json names."
        ) from error


def pack_again(path: Path, names: Mapping[str, str], changes: Mapping[str, Callable[[bytes], bytes]]) -> None:
    """Write a zip anew without its dates, so that what is in it alone decides its bytes.

    ``names`` gives members other names, ``changes`` other content.
    """
    partial = path.with_name(f"{path.name}.partial")
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(partial, "w") as after:
        for member in before.infolist():
            info = zipfile.ZipInfo(names.get(member.filename, member.filename))
            info.compress_type = member.compress_type
            info.create_system = _UNIX
            if member.filename in changes:
                after.writestr(info, changes[member.filename](before.read(member)))
                continue
            info.file_size = member.file_size
            with before.open(member) as source, after.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    partial.replace(path)


def plain_params(model: Any) -> dict[str, Any]:
    """Return the estimator's parameters that JSON can hold, and log the names of the others."""
    numpy = import_module("numpy")
    kept: dict[str, Any] = {}
    left: list[str] = []
    for name, value in model.get_params().items():
        plain = value.item() if isinstance(value, numpy.generic) else value
        if plain is None or isinstance(plain, (bool, int, float, str)):
            kept[name] = plain
        else:
            left.append(name)
    if left:
        logger.warning(
            "%s: %s not stored with the model; it predicts the same, and needs them again only to be fitted again.",
            type(model).__name__,
            ", ".join(left) + (" is" if len(left) == 1 else " are"),
        )
    return kept
