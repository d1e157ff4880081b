"""An input example and the model's prediction as plain arrays, from which MLflow derives the signature."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracelet.plugin import ModelInfo

__all__ = ["take_example"]

_LOG = logging.getLogger("tracelet.mlflow")
#: What a model raises for an example that does not fit it. The model is then stored without a signature.
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def take_example(model: Any, info: ModelInfo, dest: Path) -> dict[str, Any] | None:
    """Write the example's and the prediction's arrays to ``dest`` and return how they are arranged.

    Returns None, after a warning, where MLflow has no signature for such an example, or it does not fit the model.
    """
    try:
        values = {"inputs": info.input_example, "outputs": _predict(model, info)}
        dest.mkdir()
        return {name: _write(value, dest / f"{name}.npz") for name, value in values.items()}
    except _FAULTS as error:
        _LOG.warning("the model %r has no signature in MLflow, for its input_example: %s", info.name, error)
        return None


def _predict(model: Any, info: ModelInfo) -> Any:
    example = info.input_example
    if info.framework == "pytorch":
        return _predict_torch(model, example)
    if info.framework == "xgboost" and type(model).__name__ == "Booster":
        return model.predict(importlib.import_module("xgboost").DMatrix(example))
    return model.predict(example)


def _predict_torch(model: Any, example: Any) -> Any:
    torch = importlib.import_module("torch")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            first = next(model.parameters(), None)
            given = torch.as_tensor(example, device=first.device if first is not None else None)
            return model(given)
    finally:
        for module, training in modes.items():
            module.training = training


def _write(value: Any, path: Path) -> dict[str, Any]:
    numpy = importlib.import_module("numpy")
    frame = getattr(sys.modules.get("pandas"), "DataFrame", None)
    if frame is not None and isinstance(value, frame):
        kind, columns = "frame", {str(name): value[name].to_numpy() for name in value.columns}
    elif isinstance(value, Mapping):
        kind, columns = "mapping", {str(name): _array(numpy, item) for name, item in value.items()}
    else:
        kind, columns = "array", {"0": _array(numpy, value)}
    arrays = {str(number): _plain(numpy, array) for number, array in enumerate(columns.values())}
    numpy.savez(path, **arrays)
    return {"kind": kind, "names": list(columns)}


def _array(numpy: Any, value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return numpy.asarray(value)


def _plain(numpy: Any, array: Any) -> Any:
    """Return a column of texts as an array of texts. As an array of objects it would be stored as a pickle."""
    if not array.dtype.hasobject:
        return array
    if not all(isinstance(item, str) for item in array.flat):
        raise TypeError("it holds objects that are neither numbers nor text")
    return array.astype(numpy.str_)
