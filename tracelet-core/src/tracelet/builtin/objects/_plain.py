"""json, yaml (extra ``yaml``) and pickle.

What json and yaml store is plain data, see :func:`tracelet.plugin.plain_data`: it comes back equal, or is refused.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from tracelet.builtin.objects._common import readable
from tracelet.exceptions import ConfigError
from tracelet.plugin import SerializerSpec, load_yaml, plain_data

__all__ = ["SPECS"]


#: Line breaks of Unicode, which YAML folds into spaces where they are not escaped.
_FOLDED = frozenset("\x85\u2028\u2029")


def _check_json(value: Any) -> None:
    plain_data(value)


def _dump_json(value: Any, path: Path) -> None:
    plain = plain_data(value)
    with path.open("w", encoding="utf-8") as stream:
        json.dump(plain, stream, ensure_ascii=False, indent=1)


@readable
def _load_json(path: Path, trust: bool) -> Any:
    with path.open(encoding="utf-8") as stream:
        return json.load(stream)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("YAML objects need PyYAML: pip install 'tracelet-core[yaml]'") from error
    return yaml


def _yaml_text(value: Any) -> str:
    """Write YAML and read it back: what PyYAML writes and reads otherwise is refused, whatever it is."""
    yaml = _yaml()
    plain = plain_data(value, number_keys=True)
    text = str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))
    if _FOLDED & set(text):
        text = yaml.safe_dump(plain, allow_unicode=False, sort_keys=False)
    # repr tells 1 from 1.0 and from True, and finds NaN equal to itself.
    if repr(load_yaml(text)) != repr(plain):  # pragma: no cover - no such value is known
        raise ValueError("YAML would give it back otherwise: use serializer='json'")
    return text


def _check_yaml(value: Any) -> None:
    _yaml_text(value)


def _dump_yaml(value: Any, path: Path) -> None:
    path.write_text(_yaml_text(value), encoding="utf-8")


@readable
def _load_yaml(path: Path, trust: bool) -> Any:
    return load_yaml(path.read_text(encoding="utf-8"))


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def _pickle(value: Any, stream: Any) -> None:
    try:
        pickle.dump(value, stream, protocol=5)
    except (pickle.PicklingError, AttributeError, RecursionError) as error:
        raise TypeError(f"it cannot be pickled: {error}") from error


def _check_pickle(value: Any) -> None:
    _pickle(value, _Nowhere())


def _dump_pickle(value: Any, path: Path) -> None:
    with path.open("wb") as stream:
        _pickle(value, stream)


@readable
def _load_pickle(path: Path, trust: bool) -> Any:
    with path.open("rb") as stream:
        return pickle.load(stream)


#: ``json``, ``yaml`` and ``pickle``.
SPECS = (
    SerializerSpec(name="json", suffix=".json", dump=_dump_json, load=_load_json, safe=True, check=_check_json),
    SerializerSpec(name="yaml", suffix=".yaml", dump=_dump_yaml, load=_load_yaml, safe=True, check=_check_yaml),
    SerializerSpec(name="pickle", suffix=".pkl", dump=_dump_pickle, load=_load_pickle, safe=False, check=_check_pickle),
)
