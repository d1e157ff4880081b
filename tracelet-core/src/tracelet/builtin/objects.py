"""Serializers for Python objects: json, yaml (extra ``yaml``) and pickle."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracelet.exceptions import ConfigError
from tracelet.plugin import SerializerSpec, hookimpl

__all__ = ["tracelet_serializers"]


#: Line breaks of Unicode, which YAML folds into spaces where they are not escaped.
_FOLDED = frozenset("\x85\u2028\u2029")


def _dump_json(value: Any, path: Path) -> None:
    with path.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, ensure_ascii=False, indent=1)
    _refuse_twins(value)


def _refuse_twins(value: Any) -> None:
    """JSON's keys are text: of ``1`` and ``"1"`` in one dict, only one would come back."""
    if isinstance(value, dict):
        if len({key if isinstance(key, str) else json.dumps(key) for key in value}) < len(value):
            raise ValueError("two of its keys are the same as text, and one would be lost")
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _refuse_twins(item)


def _load_json(path: Path, trust: bool) -> Any:
    with path.open(encoding="utf-8") as stream:
        return json.load(stream)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("YAML objects need PyYAML: pip install 'tracelet-core[yaml]'") from error
    return yaml


def _dump_yaml(value: Any, path: Path) -> None:
    yaml = _yaml()
    try:
        text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
        if _FOLDED & set(text):
            text = yaml.safe_dump(value, allow_unicode=False, sort_keys=False)
    except yaml.YAMLError as error:
        raise TypeError(f"YAML has no form for it: {error}") from error
    path.write_text(text, encoding="utf-8")


def _load_yaml(path: Path, trust: bool) -> Any:
    with path.open(encoding="utf-8") as stream:
        return _yaml().safe_load(stream)


def _dump_pickle(value: Any, path: Path) -> None:
    try:
        with path.open("wb") as stream:
            pickle.dump(value, stream, protocol=5)
    except pickle.PicklingError as error:
        raise TypeError(f"it cannot be pickled: {error}") from error


def _load_pickle(path: Path, trust: bool) -> Any:
    with path.open("rb") as stream:
        return pickle.load(stream)


@hookimpl
def tracelet_serializers() -> Iterable[SerializerSpec]:
    """Provide ``json``, ``yaml`` and ``pickle``."""
    return [
        SerializerSpec(name="json", suffix=".json", dump=_dump_json, load=_load_json, safe=True),
        SerializerSpec(name="yaml", suffix=".yaml", dump=_dump_yaml, load=_load_yaml, safe=True),
        SerializerSpec(name="pickle", suffix=".pkl", dump=_dump_pickle, load=_load_pickle, safe=False),
    ]
