"""Serializers for models: pytorch, tensorflow (with keras), sklearn, xgboost and lightgbm.

Each writes its framework's own neutral form, which anybody can open without Tracelet, beside a
``model.json`` that says what it is. Loading runs nothing that the files bring along: what cannot be
loaded so raises :class:`~tracelet.exceptions.UnsafeContent`, and ``trust=True`` allows it.

No framework is imported before a model of it is stored or loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from tracelet.builtin.libraries import ancestry
from tracelet.builtin.models import _keras, _lightgbm, _sklearn, _torch, _xgboost
from tracelet.plugin import SerializerSpec, hookimpl

__all__ = ["tracelet_serializers"]

# The order decides: the wrappers of XGBoost and LightGBM are estimators of scikit-learn too, and a
# Keras model on the torch backend is a torch module.
_ROOTS: dict[str, frozenset[str]] = {
    "xgboost": frozenset({"xgboost.core:Booster", "xgboost.sklearn:XGBModel"}),
    "lightgbm": frozenset({"lightgbm.basic:Booster", "lightgbm.sklearn:LGBMModel"}),
    "tensorflow": frozenset({_keras.KERAS_MODEL, _keras.TENSORFLOW_MODULE}),
    "pytorch": frozenset({"torch.nn.modules.module:Module"}),
    "sklearn": frozenset({"sklearn.base:BaseEstimator"}),
}


def _framework_of(model: Any) -> str | None:
    classes = ancestry(model)
    return next((name for name, roots in _ROOTS.items() if classes & roots), None)


def _matches(framework: str, model: Any) -> bool:
    return _framework_of(model) == framework


def _check(framework: str, model: Any) -> None:
    if not ancestry(model) & _ROOTS[framework]:
        kind = model.__qualname__ if isinstance(model, type) else f"a {type(model).__qualname__}"
        raise TypeError(
            f"{kind} is no model of {framework}: give the live model itself, or add the file that you have of it with "
            "add_file"
        )


@hookimpl
def tracelet_serializers() -> Iterable[SerializerSpec]:
    """Provide ``pytorch``, ``tensorflow``, ``sklearn``, ``xgboost`` and ``lightgbm``."""
    modules = {"pytorch": _torch, "tensorflow": _keras, "sklearn": _sklearn, "xgboost": _xgboost, "lightgbm": _lightgbm}
    return [
        SerializerSpec(
            name=name,
            dump=module.dump,
            load=module.load,
            safe=True,
            matches=partial(_matches, name),
            check=partial(_check, name),
        )
        for name, module in modules.items()
    ]
