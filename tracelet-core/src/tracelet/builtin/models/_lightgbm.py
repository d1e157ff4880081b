"""LightGBM boosters and their scikit-learn wrappers, in LightGBM's own text format.

The format holds the booster alone and LightGBM has no way to load a wrapper, so what a wrapper knows
beyond its booster (classes, parameters) is kept in ``model.json`` and put back through attributes
that are LightGBM's own business. A loaded wrapper is tried at once, and where another version of
LightGBM keeps them elsewhere, the error says so; ``model.txt`` opens with ``lightgbm.Booster`` in
any version.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import class_path
from tracelet.builtin.models._common import plain_params, read_facts, readable, write_facts
from tracelet.exceptions import ArtifactError, ConfigError

__all__ = ["dump", "load"]

_MODEL = "model.txt"
_BOOSTER = "lightgbm.basic:Booster"
_CLASSIFIER = "lightgbm.sklearn:LGBMClassifier"
_WRAPPERS = frozenset({_CLASSIFIER, "lightgbm.sklearn:LGBMRegressor", "lightgbm.sklearn:LGBMRanker"})


def dump(model: Any, folder: Path) -> None:
    """Write a fitted booster or wrapper as ``model.txt``, with what a wrapper adds in ``model.json``.

    Raises ``ValueError`` when it is not fitted, and ``TypeError`` for any other class, for an
    objective that is a function, and for class labels that are neither numbers nor strings.
    """
    lightgbm = import_module("lightgbm")
    kind = class_path(type(model))
    if kind == _BOOSTER:
        booster, facts = model, {}
    elif kind in _WRAPPERS:
        # Raises LightGBM's own error, a ValueError, before anything is written.
        booster, facts = model.booster_, _wrapper_facts(model, kind)
    else:
        raise TypeError(
            f"{type(model).__name__} is not one of LightGBM's own {', '.join(sorted([_BOOSTER, *_WRAPPERS]))}. "
            "A subclass of a wrapper can be stored with framework='sklearn'."
        )
    # All trees, and not only those up to the best iteration, which is LightGBM's default.
    booster.save_model(folder / _MODEL, num_iteration=-1)
    write_facts(folder, model, lightgbm, best_iteration=booster.best_iteration, **facts)


def _wrapper_facts(model: Any, kind: str) -> dict[str, Any]:
    if callable(model.objective_):
        raise TypeError(
            "an objective that is a function has no form in LightGBM's format: store model.booster_, which gives "
            "raw scores, or use framework='sklearn'"
        )
    facts = {
        "params": plain_params(model),
        "objective": model.objective_,
        "n_features": model.n_features_in_,
        "named_features": hasattr(model, "feature_names_in_"),
    }
    if kind == _CLASSIFIER:
        labels = model.classes_
        values = labels.tolist()
        if not all(isinstance(value, (bool, int, float, str)) for value in values):
            raise TypeError(f"class labels of type {type(values[0]).__name__} cannot be stored: use numbers or strings")
        facts["classes"] = {"dtype": labels.dtype.str, "values": values}
    return facts


@readable()
def load(folder: Path, trust: bool) -> Any:
    """Load a booster or wrapper; the format holds no code, so ``trust`` makes no difference.

    Raises :class:`ConfigError` where this version of LightGBM cannot be given a wrapper's parts.
    """
    lightgbm = import_module("lightgbm")
    facts = read_facts(folder)
    kind = facts["class"]
    if kind != _BOOSTER and kind not in _WRAPPERS:
        raise ValueError(f"model.json names the class {kind!r}, which is none of LightGBM's")
    try:
        booster = lightgbm.Booster(model_file=folder / _MODEL)
    except lightgbm.basic.LightGBMError as error:
        raise ArtifactError(f"{_MODEL} is not a model of LightGBM: {error}") from error
    booster.best_iteration = int(facts["best_iteration"])
    if kind == _BOOSTER:
        return booster
    model = getattr(lightgbm, kind.partition(":")[2])(**facts["params"])
    try:
        _put_back(model, booster, facts)
        model.predict(import_module("numpy").zeros((1, booster.num_feature())))
    except AttributeError as error:
        raise ConfigError(
            f"LightGBM {lightgbm.__version__} keeps the parts of a {type(model).__name__} in another way than "
            f"{facts['version']}, which wrote this one ({error}): install that version, or open {_MODEL} with "
            "lightgbm.Booster."
        ) from error
    return model


def _put_back(model: Any, booster: Any, facts: dict[str, Any]) -> None:
    model._Booster = booster
    model._best_iteration = booster.best_iteration
    model._objective = str(facts["objective"])
    model._n_features = booster.num_feature()
    model._n_features_in = int(facts["n_features"])
    model._fitted_with_feature_names = bool(facts["named_features"])
    model.fitted_ = True
    if "classes" in facts:
        numpy = import_module("numpy")
        classes = numpy.array(facts["classes"]["values"], dtype=numpy.dtype(str(facts["classes"]["dtype"])))
        encoder = import_module("sklearn.preprocessing").LabelEncoder()
        encoder.classes_ = classes
        model._le = encoder
        model._classes = classes
        model._n_classes = len(classes)
        model._class_map = {label: number for number, label in enumerate(classes)}
