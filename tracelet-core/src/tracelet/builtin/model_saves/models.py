"""Which objects are models, told by the names of their classes, and what the metadata say of one."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from typing import Any

from tracelet.builtin.libraries import ancestry, class_path
from tracelet.builtin.saves.destinations import logger

__all__ = ["describe", "is_fitted", "is_model"]

#: What all models inherit from, and the library that a class is of: the first that fits.
_ROOTS = {
    "xgboost.core:Booster": "xgboost",
    "xgboost.sklearn:XGBModel": "xgboost",
    "lightgbm.basic:Booster": "lightgbm",
    "lightgbm.sklearn:LGBMModel": "lightgbm",
    "catboost.core:CatBoost": "catboost",
    "keras.src.models.model:Model": "keras",
    "statsmodels.base.wrapper:ResultsWrapper": "statsmodels",
    "statsmodels.base.model:Results": "statsmodels",
    "torch.nn.modules.module:Module": "torch",
    "sklearn.base:BaseEstimator": "sklearn",
}
#: Where these are defined. Most of what is pickled has no class of such a module, and to see that costs least.
_MODULES = frozenset(root.partition(":")[0] for root in _ROOTS)
#: Parameters in the metadata, and characters of one.
_MOST = 50
_LONGEST = 200


def is_model(thing: Any) -> bool:
    """Tell whether this is a model of a known library."""
    near = any(cls.__module__ in _MODULES for cls in type(thing).__mro__)
    return near and not _ROOTS.keys().isdisjoint(ancestry(thing))


def is_fitted(model: Any) -> bool:
    """Tell whether an estimator was fitted. Only scikit-learn's own keep its convention without exception."""
    if not type(model).__module__.startswith("sklearn."):
        return True
    try:
        import_module("sklearn.utils.validation").check_is_fitted(model)
    except import_module("sklearn.exceptions").NotFittedError:
        return False
    return True


def describe(model: Any) -> dict[str, Any]:
    """Return the metadata of a model: what cannot be asked of it is left out."""
    classes = ancestry(model)
    library = next(library for root, library in _ROOTS.items() if root in classes)
    said = {
        "class": class_path(type(model)),
        "library": library,
        "version": getattr(sys.modules.get(library), "__version__", None),
    }
    try:
        said["n_features_in"] = getattr(model, "n_features_in_", None)
        said["params"] = _params(model)
    except Exception as error:  # noqa: BLE001 - the user's own class is asked, and its model is captured all the same
        logger.debug("the parameters of %s are not known: %s: %s", said["class"], type(error).__name__, error)
    return {key: _plain(value) for key, value in said.items() if value is not None}


def _params(model: Any) -> dict[str, Any] | None:
    """Return the parameters that are plain values; what is None is at its default in most libraries."""
    if not hasattr(model, "get_params"):
        return None
    # CatBoost's method has no such argument.
    given = model.get_params() if ancestry(model) & {"catboost.core:CatBoost"} else model.get_params(deep=False)
    kept = {str(key): _plain(value) for key, value in given.items() if _is_small(_plain(value))}
    return dict(list(kept.items())[:_MOST]) or None


def _plain(value: Any) -> Any:
    """Return a Python number for one of NumPy's."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 else value


def _is_small(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= _LONGEST)
