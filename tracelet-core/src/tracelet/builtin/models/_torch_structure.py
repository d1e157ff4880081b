"""A torch module as JSON, and back without running anything that the JSON brings along.

The JSON has a node for each value that a module's attributes hold: modules, tensors (by reference),
plain containers and scalars, and a few harmless things of torch. There is no node for an arbitrary
object, and no way to have anything called.

Who is trusted with what: the *reader's process* is trusted, so any subclass of ``torch.nn.Module`` that it has
already imported may be rebuilt. The *files* are not. They choose among those classes and set the attributes
of their instances; they import nothing, call no ``__init__``, and reach no class but modules and no function
but a few of tensor mathematics. Classes that would run code of their own on the way (``__setstate__``,
``__new__``, ``__del__`` and the like) are refused. What a model then does with its attributes when it is *called* is the
business of its class, as it is with weights: a stranger's model may predict anything.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from tracelet.builtin.libraries import class_path
from tracelet.builtin.models._torch_tensors import LoadedTensors, StoredTensors
from tracelet.exceptions import ConfigError, UnsafeContent

__all__ = ["StructureReader", "StructureWriter"]

_SCALARS = (bool, int, float, str)
_MAPPINGS: dict[str, type] = {"dict": dict, "ordered": OrderedDict}
# The hyperparameters of a LightningModule are in a dict whose keys can be read as attributes, and which it always has.
_ATTRIBUTES = frozenset(
    f"{module}:AttributeDict"
    for module in (
        "lightning.fabric.utilities.data",
        "lightning_fabric.utilities.data",
        "lightning.pytorch.utilities.parsing",
        "pytorch_lightning.utilities.parsing",
    )
)
# What is made from its items at once, so that it cannot hold itself.
_FIXED: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SPECIAL_METHODS = frozenset(
    {"__new__", "__setstate__", "__del__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__"}
)
_FUNCTIONS = {
    "torch": "abs celu cos erf exp log_softmax relu selu sigmoid sin softmax sqrt square tanh",
    "torch.nn.functional": (
        "binary_cross_entropy binary_cross_entropy_with_logits celu cross_entropy elu gelu glu hardsigmoid hardswish "
        "hardtanh huber_loss kl_div l1_loss leaky_relu log_softmax logsigmoid mish mse_loss nll_loss relu relu6 selu "
        "sigmoid silu smooth_l1_loss softmax softmin softplus softsign tanh tanhshrink"
    ),
}


def _functions() -> dict[str, Any]:
    """The functions that a module may hold, by name: mathematics of tensors and nothing else."""
    return {
        f"{module}.{name}": getattr(import_module(module), name)
        for module, names in _FUNCTIONS.items()
        for name in names.split()
    }


def _restores_plainly(cls: type) -> bool:
    """Whether an instance comes back by its attributes alone, running no code but torch's own."""
    bases = [base for base in cls.__mro__ if base is not object and not base.__module__.startswith("torch.nn.modules.")]
    return not any(
        base.__module__.partition(".")[0] == "torch" or _SPECIAL_METHODS & vars(base).keys() for base in bases
    )


def _imported(path: str) -> Any:
    """Find what ``module:Qualified.Name`` names among what is imported, through classes only; else None."""
    module, _, qualname = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = vars(found).get(name) if isinstance(found, (ModuleType, type)) else None
    return found if isinstance(found, type) and class_path(found) == path else None


class StructureWriter:
    """Describes a module, or raises ``TypeError`` naming the first value that has no plain form."""

    def __init__(self, torch: Any, tensors: StoredTensors) -> None:
        self._torch = torch
        self._tensors = tensors
        self._functions = {id(function): name for name, function in _functions().items()}
        self._numbers: dict[int, int] = {}
        # Identities are of use only while the objects live; __getstate__ may return passing ones.
        self._alive: list[Any] = []

    def write(self, value: Any) -> Any:
        """Return the node of a value."""
        torch = self._torch
        if value is None or type(value) in _SCALARS:
            return value
        if isinstance(value, torch.Tensor):
            return {"is": "tensor", "at": self._tensors.reference(value)}
        if id(value) in self._numbers:
            return {"is": "same", "number": self._numbers[id(value)]}
        if isinstance(value, torch.nn.Module):
            return self._module(value)
        if isinstance(value, type):
            return {"is": "class", "class": self._class(value)}
        if id(value) in self._functions:
            return {"is": "function", "name": self._functions[id(value)]}
        if isinstance(value, (torch.dtype, torch.device)):
            return {"is": type(value).__name__, "name": str(value).removeprefix("torch.")}
        return self._container(value)

    def _container(self, value: Any) -> dict[str, Any]:
        kind = type(value)
        if kind is partial and not vars(value):
            return {"is": "partial", "items": self._each([value.func, value.args, value.keywords])}
        if kind is self._torch.Size:
            return {"is": "size", "items": list(value)}
        for name, cls in _MAPPINGS.items():
            if kind is cls:
                number = self._number(value)
                return {"is": name, "number": number, "items": [self._each(pair) for pair in value.items()]}
        if class_path(kind) in _ATTRIBUTES:
            number = self._number(value)
            items = [self._each(pair) for pair in value.items()]
            return {"is": "attributes", "class": class_path(kind), "number": number, "items": items}
        if kind is list:
            number = self._number(value)
            return {"is": "list", "number": number, "items": self._each(value)}
        for name, cls in _FIXED.items():
            if kind is cls:
                # The order of a set differs between processes, and the same model shall give the same bytes.
                return {"is": name, "items": self._each(value if cls is tuple else sorted(value, key=repr))}
        raise TypeError(f"a {kind.__qualname__} among the attributes has no plain form")

    def _each(self, values: Iterable[Any]) -> list[Any]:
        return [self.write(value) for value in values]

    def _number(self, value: Any) -> int:
        self._alive.append(value)
        return self._numbers.setdefault(id(value), len(self._numbers))

    def _module(self, module: Any) -> dict[str, Any]:
        cls = type(module)
        if not _restores_plainly(cls):
            raise TypeError(f"{cls.__qualname__} is not rebuilt from its attributes alone")
        number = self._number(module)
        return {
            "is": "module",
            "number": number,
            "class": self._class(cls),
            "state": {name: self.write(value) for name, value in module.__getstate__().items()},
        }

    def _class(self, cls: type) -> str:
        path = class_path(cls)
        if not issubclass(cls, self._torch.nn.Module) or _imported(path) is not cls:
            raise TypeError(f"the class {path} cannot be found by its name, or is not a module")
        return path


class StructureReader:
    """Rebuilds what :class:`StructureWriter` described; see this module's text for who is trusted with what."""

    def __init__(self, torch: Any, tensors: LoadedTensors, trust: bool) -> None:
        self._torch = torch
        self._tensors = tensors
        self._trust = trust
        self._functions = _functions()
        self._made: dict[int, Any] = {}
        self._readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "tensor": lambda node: tensors.resolve(node["at"]),
            "same": lambda node: self._made[node["number"]],
            "module": self._module,
            "class": self._class,
            "function": lambda node: self._functions[node["name"]],
            "dtype": self._dtype,
            "device": lambda node: torch.device(node["name"]),
            "size": lambda node: torch.Size(node["items"]),
            "partial": self._partial,
            "list": self._list,
            "attributes": self._attributes,
            **dict.fromkeys(_MAPPINGS, self._mapping),
            **dict.fromkeys(_FIXED, self._fixed),
        }

    def read(self, node: Any) -> Any:
        """Return the value of a node.

        Raises :class:`UnsafeContent` for a class that only ``trust`` can allow, and ``LookupError``,
        ``TypeError`` or ``ValueError`` for what no writer wrote.
        """
        if node is None or isinstance(node, _SCALARS):
            return node
        return self._readers[node["is"]](node)

    def _mapping(self, node: dict[str, Any]) -> Any:
        made = self._made[node["number"]] = _MAPPINGS[node["is"]]()
        for key, value in node["items"]:
            made[self.read(key)] = self.read(value)
        return made

    def _attributes(self, node: dict[str, Any]) -> Any:
        # The module that holds it is made first, and its class has imported this one.
        found = _imported(node["class"]) if node["class"] in _ATTRIBUTES else None
        if found is None:
            raise ValueError(f"{node['class']} is no dict of attributes that is imported here")
        made = self._made[node["number"]] = found()
        for key, value in node["items"]:
            made[self.read(key)] = self.read(value)
        return made

    def _list(self, node: dict[str, Any]) -> list[Any]:
        made = self._made[node["number"]] = []
        made.extend(map(self.read, node["items"]))
        return made

    def _fixed(self, node: dict[str, Any]) -> Any:
        return _FIXED[node["is"]](map(self.read, node["items"]))

    def _partial(self, node: dict[str, Any]) -> Any:
        function, args, keywords = map(self.read, node["items"])
        return partial(function, *args, **keywords)

    def _dtype(self, node: dict[str, Any]) -> Any:
        dtype = vars(self._torch)[node["name"]]
        if not isinstance(dtype, self._torch.dtype):
            raise ValueError(f"torch.{node['name']} is not a dtype")
        return dtype

    def _module(self, node: dict[str, Any]) -> Any:
        cls = self._class(node)
        module = self._made[node["number"]] = cls.__new__(cls)
        module.__setstate__({name: self.read(value) for name, value in node["state"].items()})
        return module

    def _class(self, node: dict[str, Any]) -> Any:
        path = str(node["class"])
        module = path.partition(":")[0]
        if self._trust:
            import_module(module)
        elif module not in sys.modules:
            raise UnsafeContent(
                f"This model is made of {path}, and {module} is not imported: import it before loading the model, or "
                "pass trust=True to have it imported."
            )
        found = _imported(path)
        if found is None or not issubclass(found, self._torch.nn.Module):
            advice = (
                "define that class in this program too, or put it into a module that both programs import, and store the "
                "model again."
                if module == "__main__"
                else f"provide the version of {module} that the model was stored with."
            )
            raise ConfigError(f"This model is made of {path}, and there is no such torch.nn.Module here: {advice}")
        if not self._trust and not _restores_plainly(found):
            raise UnsafeContent(
                f"This model is made of {path}, which runs code of its own when it is loaded: pass trust=True if you "
                "know where the model comes from."
            )
        return found
