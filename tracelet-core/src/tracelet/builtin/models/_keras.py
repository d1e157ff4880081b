"""Keras models in Keras's own format, whatever the backend; other TensorFlow modules as SavedModels."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import ancestry, check_version
from tracelet.builtin.models._common import logger, pack_again, read_facts, readable, write_facts
from tracelet.exceptions import ConfigError, UnsafeContent

__all__ = ["KERAS_MODEL", "TENSORFLOW_MODULE", "dump", "load"]

#: What every model of Keras 3 is, on any backend.
KERAS_MODEL = "keras.src.models.model:Model"
#: What every ``tf.Module`` is, and what a loaded SavedModel is.
TENSORFLOW_MODULE = "tensorflow.python.trackable.autotrackable:AutoTrackable"

_KERAS = "model.keras"
_SAVED_MODEL = "saved_model"
_KERAS_SAFE_SINCE = (3, 13, 2)


def dump(model: Any, folder: Path) -> None:
    """Write a Keras model as ``model.keras``, or any other ``tf.Module`` as the folder ``saved_model``.

    Raises ``ValueError`` when a Keras model is not built yet, or when nothing of a ``tf.Module`` could
    predict after loading; ``TypeError`` for what is neither.
    """
    classes = ancestry(model)
    if KERAS_MODEL in classes:
        keras = import_module("keras")
        if not model.built:
            raise ValueError("the Keras model is not built, so it has no weights yet: call it on some data first")
        model.save(folder / _KERAS)
        pack_again(folder / _KERAS, {}, {"metadata.json": _undated})
        write_facts(folder, model, keras, backend=keras.config.backend())
        if needed := _own_names(keras, folder / _KERAS):
            logger.warning(
                "%s loads only where its own classes and functions are: %s.", type(model).__name__, _how(needed)
            )
        return
    if TENSORFLOW_MODULE not in classes:
        raise TypeError(f"{type(model).__name__} is neither a model of Keras 3 nor a tf.Module")
    tensorflow = import_module("tensorflow")
    tensorflow.saved_model.save(model, str(folder / _SAVED_MODEL))
    stored = import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel.FromString(
        (folder / _SAVED_MODEL / "saved_model.pb").read_bytes()
    )
    if not stored.meta_graphs[0].object_graph_def.concrete_functions:
        raise ValueError(
            "no method of the tf.Module would be stored, so that it could not predict after loading: decorate one "
            "with tf.function and call it once, or give it an input_signature"
        )
    write_facts(folder, model, tensorflow)


def _own_names(keras: Any, path: Path) -> list[str]:
    """Name what a model is made of that is not Keras's own, as Keras looks for it: ``Twice``, ``Custom>Thrice``."""
    with zipfile.ZipFile(path) as archive:
        nodes = _nodes(json.loads(archive.read("config.json")))
    parts = (keras.losses, keras.metrics, keras.activations, keras.initializers, keras.regularizers, keras.constraints)
    found = set()
    for node in nodes:
        name, module = node.get("registered_name") or node["class_name"], str(node.get("module") or "keras")
        if node["class_name"] == "function":
            name = str(node.get("config"))
            if not any(hasattr(part, name) for part in parts):
                found.add(name)
        elif module.partition(".")[0] not in {"keras", "builtins"}:
            found.add(str(name))
    return sorted(found)


def _nodes(config: Any) -> Iterator[dict[str, Any]]:
    """Every description of an object in a configuration, however deep."""
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)


def _how(names: list[str]) -> str:
    """Say how a model is loaded that is made of these: what is registered comes by its import, the rest by a scope."""
    ways = []
    if registered := [name for name in names if ">" in name]:
        ways.append(f"import the module of {', '.join(registered)} before loading")
    if others := [name for name in names if ">" not in name]:
        scope = ", ".join(f"{name!r}: {name}" for name in others)
        ways.append(
            f"load within keras.saving.custom_object_scope({{{scope}}}), or decorate them with "
            "@keras.saving.register_keras_serializable() and store the model again"
        )
    return "; ".join(ways)


def _undated(metadata: bytes) -> bytes:
    """When it was saved, Keras does not need to know, and an equal model shall give equal bytes."""
    facts = json.loads(metadata)
    facts.pop("date_saved", None)
    return json.dumps(facts).encode()


@readable()
def load(folder: Path, trust: bool) -> Any:
    """Load a Keras model, in the reader's own Keras backend, or a SavedModel.

    Raises :class:`UnsafeContent` without ``trust`` for a SavedModel, which is a program, and for
    layers that hold code; :class:`ConfigError` for classes that Keras does not know here.
    """
    read_facts(folder)
    if (folder / _KERAS).exists():
        return _load_keras(folder / _KERAS, trust)
    if not trust:
        raise UnsafeContent(
            "A SavedModel is a program that TensorFlow runs: pass trust=True if you know where it comes from."
        )
    return import_module("tensorflow").saved_model.load(str(folder / _SAVED_MODEL))


def _load_keras(path: Path, trust: bool) -> Any:
    keras = import_module("keras")
    check_version(keras, _KERAS_SAFE_SINCE, trust)
    try:
        return keras.saving.load_model(path, safe_mode=not trust)
    except ValueError as error:
        # Keras has no error class of its own for this; every refusal names the argument that lifts it.
        if "safe_mode" in str(error):
            raise UnsafeContent(
                "This model holds code, such as a Lambda layer, that loading it would run: pass trust=True if you "
                "know where it comes from."
            ) from error
        raise
    except TypeError as error:
        needed = _own_names(keras, path)
        advice = f"It is made of what is not Keras's own: {_how(needed)}. " if needed else ""
        raise ConfigError(f"Keras cannot rebuild this model. {advice}Keras says: {error}") from error
