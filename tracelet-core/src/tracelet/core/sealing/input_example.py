"""A model's ``input_example`` as a file: JSON, or a format of NumPy's, which can be read without Tracelet."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_example", "write_example"]

_LOG = logging.getLogger("tracelet.sealing")
_NAME = "input_example"


def write_example(example: Any, folder: Path, model: str) -> None:
    """Write ``input_example.json``, ``.npy`` or ``.npz`` beside a model's files.

    Text, numbers, lists and dicts become JSON, an array or tensor ``.npy``, a dict of arrays ``.npz``, and a data frame
    JSON of its columns. Anything else is left out, with a WARNING. Raises ``OSError`` where the folder
    cannot be written.
    """
    if any(folder.glob(f"{_NAME}.*")):
        return  # its framework has one of its own
    try:
        _write(example, folder)
    except (TypeError, ValueError, RuntimeError) as error:
        for path in folder.glob(f"{_NAME}.*"):
            path.unlink()
        _LOG.warning(
            "the input_example of the model %r is not stored, for it is a %s.%s (%s): give numbers, text, lists, dicts or "
            "arrays.",
            model,
            type(example).__module__,
            type(example).__qualname__,
            error,
        )


def _write(example: Any, folder: Path) -> None:
    if _is_array(example):
        with (folder / f"{_NAME}.npy").open("xb") as stream:
            _numpy().save(stream, _array(example), allow_pickle=False)
    elif isinstance(example, Mapping) and example and all(map(_is_array, example.values())):
        with zipfile.ZipFile(folder / f"{_NAME}.npz", "w") as archive:
            for name, value in example.items():
                # Without a date, so that the same example gives the same bytes.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                    _numpy().lib.format.write_array(stream, _array(value), allow_pickle=False)
    else:
        columns = getattr(example, "to_dict", None)
        plain = columns("list") if columns is not None and hasattr(example, "columns") else example
        text = json.dumps(plain, ensure_ascii=False, indent=1, default=_plain)
        (folder / f"{_NAME}.json").write_text(text, encoding="utf-8")


def read_example(folder: Path) -> Any:
    """Return the input example that :func:`write_example` wrote beside a model's files; None where there is none.

    A data frame comes back as a dict of its columns, and what is damaged or NumPy cannot read here as None.
    """
    path = next(iter(sorted(folder.glob(f"{_NAME}.*"))), None)
    with contextlib.suppress(EOFError, ImportError, OSError, ValueError, zipfile.BadZipFile):
        if path is not None and path.suffix == ".json":
            return json.loads(path.read_bytes())
        if path is not None:
            import numpy as np

            with path.open("rb") as stream:
                found = np.load(stream, allow_pickle=False)
                return dict(found) if path.suffix == ".npz" else found
    return None


def _plain(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        raise TypeError(f"a {type(value).__qualname__} in it has no form in JSON")
    return value.tolist()


def _numpy() -> Any:
    return sys.modules["numpy"]


def _is_array(value: Any) -> bool:
    """Return whether NumPy, if the program has loaded it, can make an array of a value. Data frames are no arrays here."""
    return "numpy" in sys.modules and hasattr(value, "__array__") and not hasattr(value, "columns")


def _array(value: Any) -> Any:
    # A tensor may be on another device, and bound to its history.
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return _numpy().asarray(value)
