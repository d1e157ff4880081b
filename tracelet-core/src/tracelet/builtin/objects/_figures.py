"""plotly: a figure of plotly as its JSON."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import ancestry
from tracelet.builtin.objects._common import called, library, readable, storable
from tracelet.plugin import SerializerSpec

__all__ = ["SPECS"]

_FIGURE = "plotly.basedatatypes:BaseFigure"
#: How plotly writes an array into JSON, and the kinds of numbers that it writes so.
_DATA, _KIND, _SHAPE = "bdata", "dtype", "shape"
_KINDS = frozenset({"i1", "i2", "i4", "u1", "u2", "u4", "f4", "f8"})


def _plotly(module: str) -> Any:
    return library(f"plotly.{module}", "plotly", "figures of plotly")


def _is_figure(value: Any) -> bool:
    return _FIGURE in ancestry(value)


def _content(value: Any) -> bytes:
    if not _is_figure(value):
        raise TypeError(f"it is {called(value)}: give a figure of plotly")
    content = _json(value)
    if _json(_figure(json.loads(content))) != content:
        raise ValueError("plotly would read it back as another figure: say serializer='pickle'")
    return content


def _json(figure: Any) -> bytes:
    # As plotly's encoder has it before it makes gaps of all that JSON has no number for.
    told = json.JSONEncoder.encode(_plotly("utils").PlotlyJSONEncoder(), figure.to_dict())
    plain = json.loads(told, parse_constant=_gap)
    for trace in plain["data"]:
        trace.pop("uid", None)
    # In an order of its own: plotly's changes when it reads a figure, and equal figures are to give equal bytes.
    return json.dumps(plain, ensure_ascii=False, sort_keys=True).encode()


def _gap(constant: str) -> None:
    if constant != "NaN":
        raise ValueError(
            f"it has {constant} in a list, which would come back as None: give an array of float64 instead"
        )


@storable
def _check(value: Any) -> None:
    _content(value)


@storable
def _dump(value: Any, path: Path) -> None:
    path.write_bytes(_content(value))


def _figure(plain: dict[str, Any]) -> Any:
    return _plotly("graph_objects").Figure(_with_arrays(plain))


@readable
def _load(path: Path, trust: bool) -> Any:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no figure")
    return _figure(found)


def _with_arrays(value: Any) -> Any:
    """Return JSON with arrays in place of their bytes."""
    if isinstance(value, list):
        return [_with_arrays(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() - {_SHAPE} == {_DATA, _KIND} and value[_KIND] in _KINDS:
        array = library("numpy", "numpy", "arrays").frombuffer(base64.b64decode(value[_DATA]), value[_KIND])
        return array.reshape([int(side) for side in value[_SHAPE].split(",")]) if _SHAPE in value else array
    return {key: _with_arrays(one) for key, one in value.items()}


#: ``plotly``.
SPECS = (
    SerializerSpec(
        name="plotly", suffix=".plotly.json", dump=_dump, load=_load, safe=True, matches=_is_figure, check=_check
    ),
)
