"""MLflow's ``save_model``, one for each kind of model: the folder that it writes is one thing."""

from __future__ import annotations

from tracelet.builtin.model_saves.models import describe, is_model
from tracelet.builtin.saves.destinations import Destination
from tracelet.builtin.saves.save import Args, Kwargs, Save, to_folder
from tracelet.builtin.saves.what import What
from tracelet.plugin import ArtifactType

__all__ = ["MLFLOW_SAVES"]

#: Modules of MLflow with a function that is given a model, and a folder that must not be there.
_FLAVORS = (
    "catboost",
    "diffusers",
    "dspy.save",
    "h2o",
    "johnsnowlabs",
    "keras.save",
    "langchain.model",
    "lightgbm",
    "llama_index.model",
    "onnx",
    "paddle",
    "pmdarima",
    "prophet",
    "pytorch",
    "sentence_transformers",
    "sklearn",
    "spacy",
    "spark",
    "statsmodels",
    "tensorflow",
    "transformers",
    "xgboost",
)


def _model(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    """The model is the first argument, or has a name that each flavor makes up."""
    models = [value for value in (*args[:1], *kwargs.values()) if is_model(value)]
    return What(ArtifactType.MODEL, describe(models[0]) if models else {})


def _save(module: str, position: int) -> Save:
    return Save("mlflow", f"mlflow.{module}", "save_model", to_folder(position, "path"), _model)


MLFLOW_SAVES = (_save("pyfunc", 0), _save("openai.model", 2), *(_save(flavor, 1) for flavor in _FLAVORS))
