"""XGBoost boosters and their scikit-learn wrappers, in XGBoost's own UBJSON format."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import class_path
from tracelet.builtin.models._common import plain_params, read_facts, readable, write_facts

__all__ = ["dump", "load"]

_MODEL = "model.ubj"
_BOOSTER = "xgboost.core:Booster"
_WRAPPERS = frozenset(
    f"xgboost.sklearn:{name}"
    for name in ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")
)


def dump(model: Any, folder: Path) -> None:
    """Write a fitted booster or wrapper as ``model.ubj``.

    Raises ``ValueError`` when it is not fitted, and ``TypeError`` for any other class, a subclass
    too, for XGBoost's format does not hold what the subclass adds.
    """
    xgboost = import_module("xgboost")
    kind = class_path(type(model))
    if kind == _BOOSTER:
        if not _rounds(xgboost, model):
            raise ValueError("the booster has not been trained: there is nothing in it yet")
        params = {}
    elif kind in _WRAPPERS:
        model.get_booster()
        params = plain_params(model)
    else:
        raise TypeError(
            f"{type(model).__name__} is not one of XGBoost's own {', '.join(sorted([_BOOSTER, *_WRAPPERS]))}. "
            "A subclass of a wrapper can be stored with framework='sklearn'."
        )
    model.save_model(folder / _MODEL)
    write_facts(folder, model, xgboost, params=params)


def _rounds(xgboost: Any, booster: Any) -> int:
    try:
        return int(booster.num_boosted_rounds())
    except xgboost.core.XGBoostError:  # it does not know its features yet
        return 0


@readable()
def load(folder: Path, trust: bool) -> Any:
    """Load a booster or wrapper; the format holds no code, so ``trust`` makes no difference."""
    xgboost = import_module("xgboost")
    facts = read_facts(folder)
    kind = facts["class"]
    if kind == _BOOSTER:
        model = xgboost.Booster()
    elif kind in _WRAPPERS:
        # `missing` is the one parameter that changes predictions and that the format leaves out.
        model = getattr(xgboost, kind.partition(":")[2])(**facts["params"])
    else:
        raise ValueError(f"model.json names the class {kind!r}, which is none of XGBoost's")
    model.load_model(folder / _MODEL)
    return model
