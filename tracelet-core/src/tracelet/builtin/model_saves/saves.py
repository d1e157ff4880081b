"""The functions that save a model, Keras' aside: where each is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable

from tracelet.builtin.model_saves.models import describe, is_fitted, is_model
from tracelet.builtin.model_saves.moments import told
from tracelet.builtin.saves.destinations import Destination, file_destination, logger
from tracelet.builtin.saves.save import Args, Kwargs, Save, argument, to_file
from tracelet.builtin.saves.what import What
from tracelet.plugin import ArtifactType

__all__ = ["SAVES"]


def _model_to_file(thing: str, file: str) -> Callable[[Args, Kwargs], Destination | None]:
    """These functions are given anything, in some programs thousands of times: only models in real files are captured."""

    def destination(args: Args, kwargs: Kwargs) -> Destination | None:
        if not is_model(argument(args, kwargs, 0, thing)):
            return None
        found = file_destination(argument(args, kwargs, 1, file))
        return None if found is None or found.memory else found

    return destination


def _model(thing: str) -> Callable[[Args, Kwargs, Destination], What | None]:
    def what(args: Args, kwargs: Kwargs, destination: Destination) -> What | None:
        model = argument(args, kwargs, 0, thing)
        if not is_fitted(model):
            logger.debug("%s is not captured: the estimator is not fitted.", destination.path)
            return None
        return told(ArtifactType.MODEL, describe(model), destination, in_training=ArtifactType.CHECKPOINT)

    return what


def _dump(switch: str, module: str, thing: str = "obj", file: str = "file") -> Save:
    return Save(switch, module, "dump", _model_to_file(thing, file), _model(thing))


def _method(switch: str, module: str, method: str, file: str = "fname") -> Save:
    return Save(switch, module, method, to_file(1, file), _model("self"))


SAVES = (
    _dump("pickle", "pickle"),
    _dump("pickle", "cloudpickle.cloudpickle"),
    _dump("pickle", "dill._dill"),
    _dump("joblib", "joblib.numpy_pickle", "value", "filename"),
    _dump("skops", "skops.io._persist"),
    _method("xgboost", "xgboost.core", "Booster.save_model"),
    _method("xgboost", "xgboost.sklearn", "XGBModel.save_model"),
    _method("lightgbm", "lightgbm.basic", "Booster.save_model", "filename"),
    _method("catboost", "catboost.core", "CatBoost.save_model"),
)
