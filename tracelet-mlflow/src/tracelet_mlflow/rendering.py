"""Write MLflow's form of a live model in the user's process, without MLflow.

MLflow promises to load what its earlier versions stored. So the layout of its flavors is stable, and it is written here by
hand. To import MLflow would cost the user's process seconds and memory at the first model, and MLflow's ``save_model`` runs
pip to find the model's requirements. A file that the artifact has as well is linked, and stored once. ``MLmodel`` with the
signature needs MLflow itself: ``flavors.build`` adds it at delivery, in the lane.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tracelet.plugin import ModelInfo
from tracelet_mlflow.examples import take_example
from tracelet_mlflow.schemas import SCHEMA

__all__ = ["render"]

_LOG = logging.getLogger("tracelet.mlflow")
_ENVIRONMENT_PACKAGES = ("numpy", "pandas")
#: Classes that wrap a torch module for training, and the attribute in which the module is.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def render(model: Any, info: ModelInfo, dest: Path) -> None:
    """Write a model's files and the recipe for its ``MLmodel`` to ``dest``, an empty folder. On errors it is empty again.

    Raises ``TypeError`` for a model for which MLflow has no flavor.
    """
    write = _WRITERS.get(info.framework)
    if write is None:
        raise TypeError(f"MLflow has no flavor for models of {info.framework}")
    try:
        payload = dest / "payload"
        payload.mkdir()
        recipe = write(model, payload, info)
        recipe["requirements"] += [found for name in _ENVIRONMENT_PACKAGES if (found := _pinned(name))]
        example = take_example(model, info, dest / "example") if info.input_example is not None else None
        facts = {"framework": info.framework, "python": platform.python_version(), "example": example, **recipe}
        (dest / "recipe.json").write_text(json.dumps({"schema": SCHEMA, **facts}), encoding="utf-8")
    except BaseException:
        for path in dest.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _pinned(*names: str) -> str:
    """Return the requirement of the first of these distributions that is installed, or an empty text."""
    for name in names:
        try:
            return f"{name}=={importlib.metadata.version(name).partition('+')[0]}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _class_of(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__name__}"


def _take(info: ModelInfo, name: str, target: Path) -> str | None:
    """Link the artifact's own file of a name into the payload. Return its path in the artifact, or None."""
    path = next((path for path in info.files if path.endswith(f"/{name}")), None)
    if path is not None:
        _link(info.files[path], target)
    return path


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a filesystem without links
        shutil.copyfile(source, target)


def _sklearn(model: Any, folder: Path, info: ModelInfo) -> dict[str, Any]:
    own = _take(info, "model.skops", folder / "model.skops")
    stored = _dump_estimator(model, folder, ("sklearn.",), is_there=own is not None)
    conf = {
        "pickled_model": stored["path"],
        "sklearn_version": importlib.metadata.version("scikit-learn"),
        "serialization_format": stored["format"],
        "skops_trusted_types": stored["trusted"],
        "code": None,
    }
    function = {"model_path": stored["path"], "predict_fn": "predict"} if hasattr(model, "predict") else None
    needed = [_pinned("scikit-learn"), _pinned(stored["format"])]
    shared = {"model.skops": own} if own is not None and stored["format"] == "skops" else {}
    return {"flavor": "sklearn", "conf": conf, "pyfunc": function, "requirements": needed, "shared": shared}


def _xgboost(model: Any, folder: Path, info: ModelInfo) -> dict[str, Any]:
    own = _take(info, "model.ubj", folder / "model.ubj")
    if own is None:
        model.save_model(folder / "model.ubj")
    conf = {
        "xgb_version": importlib.import_module("xgboost").__version__,
        "data": "model.ubj",
        "model_class": _class_of(model),
        "model_format": "ubj",
        "code": None,
    }
    needed = [_pinned("xgboost", "xgboost-cpu"), *filter(None, [_pinned("scikit-learn")])]
    return {
        "flavor": "xgboost",
        "conf": conf,
        "pyfunc": {"data": "model.ubj"},
        "requirements": needed,
        "shared": {} if own is None else {"model.ubj": own},
    }


def _lightgbm(model: Any, folder: Path, info: ModelInfo) -> dict[str, Any]:
    lightgbm = importlib.import_module("lightgbm")
    needed = [_pinned("lightgbm")]
    if isinstance(model, lightgbm.Booster):
        model.save_model(folder / "model.lgb")
        stored: dict[str, Any] = {"path": "model.lgb", "format": "cloudpickle", "trusted": None}
    else:
        stored = _dump_estimator(model, folder, ("lightgbm.", "collections.", "sklearn."))
        needed += [_pinned("scikit-learn"), _pinned(stored["format"])]
    conf = {
        "lgb_version": lightgbm.__version__,
        "data": stored["path"],
        "model_class": _class_of(model),
        "serialization_format": stored["format"],
        "skops_trusted_types": stored["trusted"],
        "code": None,
    }
    return {"flavor": "lightgbm", "conf": conf, "pyfunc": {"data": stored["path"]}, "requirements": needed}


def _dump_estimator(model: Any, folder: Path, known: tuple[str, ...], *, is_there: bool = False) -> dict[str, Any]:
    """Store an estimator with skops if that can hold all of it, else with cloudpickle.

    With ``is_there`` skops has stored it already.
    """
    try:
        skops = importlib.import_module("skops.io")
        path = folder / "model.skops"
        if not is_there:
            skops.dump(model, path)
        trusted = skops.get_untrusted_types(file=path)
        if all(name.startswith(known) for name in trusted):
            return {"path": path.name, "format": "skops", "trusted": trusted}
        path.unlink()
    except (ImportError, AttributeError, LookupError, TypeError, ValueError) as error:
        _LOG.debug("skops does not take this model: %s", error)
        (folder / "model.skops").unlink(missing_ok=True)
    with (folder / "model.pkl").open("wb") as stream:
        importlib.import_module("cloudpickle").dump(model, stream)
    return {"path": "model.pkl", "format": "cloudpickle", "trusted": None}


def _pytorch(model: Any, folder: Path, info: ModelInfo) -> dict[str, Any]:
    """Store a module with cloudpickle. MLflow's other form, ``pt2``, fixes the shapes of the inputs."""
    torch = importlib.import_module("torch")
    pickling = "mlflow.pytorch.pickle_module"
    while attribute := _WRAPPERS.get(type(model).__name__):
        model = getattr(model, attribute)
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise TypeError("its weights are offloaded, and MLflow's form needs them in memory")
    data = folder / "data"
    data.mkdir()
    (data / "pickle_module_info.txt").write_text(pickling, encoding="utf-8")
    if isinstance(model, torch.jit.ScriptModule):
        torch.jit.save(model, data / "model.pth")
    else:
        cloudpickle = importlib.import_module("cloudpickle")
        module: Any = ModuleType(cloudpickle.__name__)
        # torch derives a class from the module's `Pickler`, and cloudpickle's has another name.
        module.Pickler, module.dump, module.dumps = cloudpickle.CloudPickler, cloudpickle.dump, cloudpickle.dumps
        torch.save(model, data / "model.pth", pickle_module=module)
    conf = {"model_data": "data", "pytorch_version": str(torch.__version__), "code": None}
    function = {"data": "data", "pickle_module_name": pickling, "config": {"device": None}}
    return {
        "flavor": "pytorch",
        "conf": conf,
        "pyfunc": function,
        "requirements": [_pinned("torch"), _pinned("cloudpickle")],
    }


def _keras(model: Any, folder: Path, info: ModelInfo) -> dict[str, Any]:
    keras = importlib.import_module("keras")
    if not isinstance(model, keras.Model):
        raise TypeError("MLflow's keras flavor is for Keras models: a tf.Module has none here")
    data = folder / "data"
    data.mkdir()
    (data / "keras_module.txt").write_text("keras", encoding="utf-8")
    own = _take(info, "model.keras", data / "model.keras")
    if own is None:
        model.save(data / "model.keras")
    backend = keras.backend.backend()
    conf = {
        "data": "data",
        "keras_version": keras.__version__,
        "keras_backend": backend,
        "save_exported_model": False,
    }
    needed = [_pinned("keras"), *filter(None, [_pinned(backend, f"{backend}-cpu")])]
    shared = {} if own is None else {"data/model.keras": own}
    return {"flavor": "keras", "conf": conf, "pyfunc": {}, "requirements": needed, "shared": shared}


_WRITERS: dict[str, Callable[[Any, Path, ModelInfo], dict[str, Any]]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "pytorch": _pytorch,
    "tensorflow": _keras,
}
