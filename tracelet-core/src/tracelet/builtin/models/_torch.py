"""torch modules: weights that anybody can load, and the structure that they belong to.

``weights.pt`` is ``model.state_dict()``, for ``torch.load(…, weights_only=True)``. ``structure.json``
describes the module without code, see :mod:`tracelet.builtin.models._torch_structure`, and is safe to load.
A module that has no such description, because it holds objects of other kinds or defines its own
pickling, has a pickle in its place, ``structure.pkl``, that is opened with ``trust=True`` only. One
that cannot be pickled either is stored as weights alone. ``extra.pt`` holds the tensors that
``state_dict()`` leaves out. A TorchScript module is stored as ``model.pt``, which is a program.
"""

from __future__ import annotations

import io
import json
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import check_version, class_path
from tracelet.builtin.models._common import logger, read_facts, readable, write_facts
from tracelet.builtin.models._torch_structure import StructureReader, StructureWriter
from tracelet.builtin.models._torch_tensors import LoadedTensors, StoredTensors
from tracelet.builtin.models._torch_weights import check_attributes, check_weights, gathered
from tracelet.exceptions import ArtifactError, UnsafeContent

__all__ = ["dump", "load"]

_WEIGHTS = "weights.pt"
_EXTRA = "extra.pt"
_PLAIN = "structure.json"
_PICKLE = "structure.pkl"
_SCRIPT = "model.pt"
_TORCH_SAFE_SINCE = (2, 10)

# What wraps a model for one run of training is left behind, by the attribute that holds the model.
_WRAPPERS = {
    "torch._dynamo.eval_frame:OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel:DataParallel": "module",
    "torch.nn.parallel.distributed:DistributedDataParallel": "module",
}

# Pickling calls whatever a user's class defines for it, and each way to fail has its own error.
_UNSTORABLE = (AttributeError, RuntimeError, TypeError, ValueError, pickle.PicklingError)


class _Pickler(pickle.Pickler):
    """Pickles a module and leaves a reference where each tensor is."""

    def __init__(self, stream: io.BytesIO, torch: Any, tensors: StoredTensors) -> None:
        super().__init__(stream, protocol=5)
        self._torch = torch
        self._tensors = tensors

    def persistent_id(self, obj: Any) -> Any:
        return self._tensors.reference(obj) if isinstance(obj, self._torch.Tensor) else None


class _Unpickler(pickle.Unpickler):
    """Puts the tensors back; it runs whatever the pickle says, so it is for trusted content."""

    def __init__(self, stream: io.BytesIO, tensors: LoadedTensors) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_load(self, pid: Any) -> Any:
        return self._tensors.resolve(pid)


def dump(model: Any, folder: Path) -> None:
    """Write a module's weights and structure; what ``torch.compile`` or data parallelism put around it is left out.

    What accelerate has offloaded is gathered. Raises ``TypeError`` for what is no ``torch.nn.Module``, and
    ``ValueError`` for one with a parameter that holds no values.
    """
    torch = import_module("torch")
    while attribute := _WRAPPERS.get(class_path(type(model))):
        model = getattr(model, attribute)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"a {type(model).__name__} is not a torch.nn.Module; store a state_dict as a file, with torch.save"
        )
    model = gathered(torch, model)
    check_weights(torch, model)
    if isinstance(model, torch.jit.ScriptModule):
        torch.jit.save(model, folder / _SCRIPT)
        write_facts(folder, model, torch, training=model.training)
        return
    state = model.state_dict(keep_vars=True)
    torch.save(model.state_dict(), folder / _WEIGHTS)
    structure, why = _dump_structure(torch, model, state, folder)
    write_facts(folder, model, torch, training=model.training, structure=structure, why=why)


def _dump_structure(torch: Any, model: Any, state: dict[str, Any], folder: Path) -> tuple[str | None, str]:
    why = ""
    for name, write in ((_PLAIN, _as_json), (_PICKLE, _as_pickle)):
        tensors = StoredTensors(torch, state)
        try:
            content = write(torch, model, tensors)
        except _UNSTORABLE as error:
            why = str(error)
            continue
        check_attributes(torch, tensors.extra.values())
        (folder / name).write_bytes(content)
        if tensors.extra:
            torch.save(tensors.extra, folder / _EXTRA)
        return name, why
    logger.warning(
        "Only the weights of this %s are stored, for it cannot be pickled (%s): whoever loads them has to build "
        "the module. A class at the top level of a module, without lambdas, is stored as a whole.",
        type(model).__name__,
        why,
    )
    return None, why


def _as_json(torch: Any, model: Any, tensors: StoredTensors) -> bytes:
    return json.dumps(StructureWriter(torch, tensors).write(model)).encode()


def _as_pickle(torch: Any, model: Any, tensors: StoredTensors) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, torch, tensors).dump(model)
    return stream.getvalue()


@readable()
def load(folder: Path, trust: bool) -> Any:
    """Load a module onto the CPU, in the mode (training or evaluation) that it was stored in.

    Raises :class:`UnsafeContent` without ``trust`` when its class is not imported yet, when it is stored
    as a pickle, and for TorchScript; :class:`ArtifactError` when only the weights were stored.
    """
    torch = import_module("torch")
    check_version(torch, _TORCH_SAFE_SINCE, trust)
    facts = read_facts(folder)
    if (folder / _SCRIPT).exists():
        if not trust:
            raise UnsafeContent("TorchScript is a program: pass trust=True if you know where it comes from.")
        return torch.jit.load(folder / _SCRIPT, map_location="cpu")
    advice = (
        f"or build the {facts['class']} yourself and give its load_state_dict() what "
        f"torch.load({_WEIGHTS!r}, weights_only=True) returns"
    )
    if (folder / _PLAIN).exists():
        nodes = json.loads((folder / _PLAIN).read_text(encoding="utf-8"))
        return StructureReader(torch, _tensors(torch, folder, trust), trust).read(nodes)
    if not (folder / _PICKLE).exists():
        raise ArtifactError(
            f"Only the weights of this model were stored ({facts['why']}): store it again from an importable class, "
            f"{advice}."
        )
    if not trust:
        raise UnsafeContent(
            f"The structure of this model is a pickle ({facts['why']}), which can run any code when it is loaded: "
            f"pass trust=True if you know where it comes from, {advice}."
        )
    stream = io.BytesIO((folder / _PICKLE).read_bytes())
    return _Unpickler(stream, _tensors(torch, folder, trust)).load()


def _tensors(torch: Any, folder: Path, trust: bool) -> LoadedTensors:
    def read(name: str) -> Any:
        try:
            return torch.load(folder / name, map_location="cpu", weights_only=not trust)
        except pickle.UnpicklingError as error:
            raise UnsafeContent(
                f"{name} holds more than tensors, or is damaged: pass trust=True if you know where it comes from."
            ) from error

    return LoadedTensors(torch, read(_WEIGHTS), read(_EXTRA) if (folder / _EXTRA).exists() else {})
