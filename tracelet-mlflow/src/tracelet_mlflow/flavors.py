"""Build a model as MLflow stores it, with its ``MLmodel``, from what ``rendering`` wrote while the model was alive."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import mlflow
import numpy as np
import yaml
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature, infer_signature

from tracelet.exceptions import IntegrityError
from tracelet.plugin import check_schema
from tracelet_mlflow.schemas import SCHEMA

__all__ = ["PAYLOAD", "Recipe", "build", "read_recipe", "take_apart", "write_recipe"]

#: A model's folder as ``rendering.render`` leaves it.
RECIPE, PAYLOAD, EXAMPLE = "recipe.json", "payload", "example"
#: What :func:`build` adds to the payload.
_MODEL, _REQUIREMENTS, _CONDA, _PYTHON = "MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml"
#: Fields of the section ``python_function`` that :func:`build` fills.
_FILLED = frozenset({"loader_module", "python_version", "env"})
#: The requirement of MLflow itself begins so.
_OF_MLFLOW = "mlflow=="


@attrs.frozen
class Recipe:
    """The contents of ``MLmodel``, and what is needed to load the model."""

    framework: str
    flavor: str
    #: Fields of the flavor's own section.
    conf: dict[str, Any]
    #: Fields of the section ``python_function``; None where it has none.
    pyfunc: dict[str, Any] | None
    requirements: list[str]
    #: Version of Python.
    python: str
    #: How the arrays of ``example/inputs.npz`` and ``example/outputs.npz`` were arranged.
    example: dict[str, Any] | None
    #: By path in the payload: the path of the same file in the artifact.
    shared: dict[str, str] = attrs.Factory(dict)
    #: MLflow's own form of the signature, where another MLflow has derived it from an example already.
    signature: dict[str, Any] | None = None


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in a folder that ``render`` filled; raises :class:`~tracelet.NewerFormat` for a later release's."""
    plain = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    check_schema(plain, SCHEMA, f"the model {folder.name!r} that waits for MLflow")
    known = {field.name for field in attrs.fields(Recipe)}
    return Recipe(**{name: value for name, value in plain.items() if name in known})


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write what :func:`read_recipe` reads."""
    (folder / RECIPE).write_text(json.dumps({"schema": SCHEMA, **attrs.asdict(recipe)}), encoding="utf-8")


def take_apart(folder: Path, framework: str) -> Recipe:
    """Undo :func:`build`: leave in the payload of ``folder`` what is the model's own, and return the recipe of the rest.

    Raises :class:`~tracelet.IntegrityError` where the model's files are not those that were stored, and what reading raises
    where one of MLflow's own files is not there, or is damaged.
    """
    payload = folder / PAYLOAD
    texts = {}
    for name in (_MODEL, _REQUIREMENTS, _CONDA, _PYTHON):
        texts[name] = (payload / name).read_text(encoding="utf-8")
        (payload / name).unlink()
    model = Model.from_dict(yaml.safe_load(texts[_MODEL]))
    if model.model_size_bytes not in {None, _size_of(payload)}:
        raise IntegrityError("its files are not as large as those that were stored.")
    function = model.flavors.pop(pyfunc.FLAVOR_NAME, None)
    ((flavor, conf),) = model.flavors.items()
    return Recipe(
        framework=framework,
        flavor=flavor,
        conf=dict(conf),
        pyfunc=None if function is None else {name: function[name] for name in function if name not in _FILLED},
        requirements=[line for line in texts[_REQUIREMENTS].splitlines() if not line.startswith(_OF_MLFLOW)],
        python=str(yaml.safe_load(texts[_PYTHON])["python"]),
        example=None,
        signature=None if model.signature is None else model.signature.to_dict(),
    )


def build(recipe: Recipe, folder: Path, dest: Path, *, model_id: str, run_id: str) -> None:
    """Write a model to ``dest``, a new folder, as MLflow's flavors do."""
    shutil.copytree(folder / PAYLOAD, dest)
    requirements = [f"{_OF_MLFLOW}{mlflow.__version__}", *recipe.requirements]
    environment = {"conda": _CONDA, "virtualenv": _PYTHON}
    model = Model(run_id=run_id, model_id=model_id, signature=_signature(folder, recipe))
    if recipe.pyfunc is not None:
        model.add_flavor(
            pyfunc.FLAVOR_NAME,
            **recipe.pyfunc,
            loader_module=f"mlflow.{recipe.flavor}",
            python_version=recipe.python,
            env=environment,
        )
    model.add_flavor(recipe.flavor, **recipe.conf)
    model.model_size_bytes = _size_of(dest)
    model.save(str(dest / _MODEL))
    (dest / _REQUIREMENTS).write_text("\n".join(requirements), encoding="utf-8")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={recipe.python}", "pip", {"pip": requirements}],
    }
    python = {"python": recipe.python, "build_dependencies": ["pip"], "dependencies": [f"-r {_REQUIREMENTS}"]}
    for name, content in ((_CONDA, conda), (_PYTHON, python)):
        (dest / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _signature(folder: Path, recipe: Recipe) -> ModelSignature | None:
    if recipe.signature is not None:
        known: ModelSignature = ModelSignature.from_dict(recipe.signature)
        return known
    if recipe.example is None:
        return None
    values = {name: _arranged(folder / EXAMPLE / f"{name}.npz", shape) for name, shape in recipe.example.items()}
    return infer_signature(values["inputs"], values.get("outputs"))


def _arranged(path: Path, shape: dict[str, Any]) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        if shape["kind"] == "array":
            return arrays["0"]
        columns = {name: arrays[str(number)] for number, name in enumerate(shape["names"])}
    if shape["kind"] == "mapping":
        return columns
    return importlib.import_module("pandas").DataFrame(
        {name: value.astype(object) if value.dtype.kind == "U" else value for name, value in columns.items()}
    )
