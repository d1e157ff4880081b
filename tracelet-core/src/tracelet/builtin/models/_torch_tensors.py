"""The tensors of a torch module, each stored once, in a file that ``torch.load(…, weights_only=True)`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LoadedTensors", "StoredTensors"]


class StoredTensors:
    """The tensors of a module that is being stored: each is named by the file and the key that hold it."""

    def __init__(self, torch: Any, state: Mapping[str, Any]) -> None:
        self._torch = torch
        # By identity, and the first name wins, so that tied weights stay tied.
        self._keys: dict[int, tuple[str, str]] = {}
        for key, value in state.items():
            self._keys.setdefault(id(value), ("weights", key))
        #: What ``state_dict()`` leaves out; holding them also keeps their identities from being reused.
        self.extra: dict[str, Any] = {}

    def reference(self, tensor: Any) -> list[Any]:
        """Return what :meth:`LoadedTensors.resolve` makes the tensor from."""
        if id(tensor) not in self._keys:
            key = str(len(self.extra))
            self._keys[id(tensor)] = ("extra", key)
            self.extra[key] = tensor
        return [*self._keys[id(tensor)], isinstance(tensor, self._torch.nn.Parameter), tensor.requires_grad]


class LoadedTensors:
    """The tensors of a module that is being loaded."""

    def __init__(self, torch: Any, weights: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        self._torch = torch
        self._files = {"weights": weights, "extra": extra}
        self._made: dict[tuple[str, str], Any] = {}

    def resolve(self, reference: Any) -> Any:
        """Return the tensor or parameter of a reference, the same one each time."""
        file, key, is_parameter, requires_grad = reference
        if (file, key) not in self._made:
            tensor = self._files[file][key]
            if is_parameter:
                tensor = self._torch.nn.Parameter(tensor, requires_grad=requires_grad)
            else:
                tensor.requires_grad_(requires_grad)
            self._made[file, key] = tensor
        return self._made[file, key]
