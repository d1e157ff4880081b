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

from tracelet.plugin import check_schema
from tracelet_mlflow.schemas import SCHEMA

__all__ = ["Recipe", "build", "read_recipe"]

#: A model's folder as ``rendering.render`` leaves it.
RECIPE, PAYLOAD, EXAMPLE = "recipe.json", "payload", "example"


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


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in a folder that ``render`` filled; raises :class:`~tracelet.NewerFormat` for a later release's."""
    plain = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    check_schema(plain, SCHEMA, f"the model {folder.name!r} that waits for MLflow")
    known = {field.name for field in attrs.fields(Recipe)}
    return Recipe(**{name: value for name, value in plain.items() if name in known})


def build(recipe: Recipe, folder: Path, dest: Path, *, model_id: str, run_id: str) -> None:
    """Write a model to ``dest``, a new folder, as MLflow's flavors do."""
    shutil.copytree(folder / PAYLOAD, dest)
    requirements = [f"mlflow=={mlflow.__version__}", *recipe.requirements]
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
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
    model.model_size_bytes = sum(path.stat().st_size for path in dest.rglob("*") if path.is_file())
    model.save(str(dest / "MLmodel"))
    (dest / "requirements.txt").write_text("\n".join(requirements), encoding="utf-8")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={recipe.python}", "pip", {"pip": requirements}],
    }
    python = {"python": recipe.python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    for name, content in (("conda.yaml", conda), ("python_env.yaml", python)):
        (dest / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _signature(folder: Path, recipe: Recipe) -> ModelSignature | None:
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
