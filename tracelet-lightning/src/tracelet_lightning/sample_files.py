"""Samples as files: images as PNG, other values as columns of a CSV table."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracelet_lightning import drawing, png
from tracelet_lightning.rows import is_tensor, plain_tensor
from tracelet_lightning.sample_values import MAX_COLUMNS, Columns, Images, Records, SampleValues
from tracelet_lightning.samples import Samples

__all__ = ["write"]

#: Characters of one text.
_MAX_TEXT = 1000
_ROLES = ("input", "target", "prediction")

_Column = tuple[str, list[Any]]


def write(folder: Path, samples: Samples, count: int) -> dict[str, Any]:
    """Write the first ``count`` samples into a new folder: ``samples.csv``, and folders of images beside it.

    Returns the metadata that describes them. Raises ``OSError``.
    """
    folder.mkdir(parents=True)
    columns: list[_Column] = []
    said: dict[str, list[str]] = {}
    pictures = (values for values in samples.groups.values() if isinstance(values, Images))
    base = next((values for values in pictures if not values.classes), None)
    for name, values in samples.groups.items():
        columns += _columns(folder, name, values, base, count)
        role = next((role for role in _ROLES if name == role or name.startswith(f"{role}_")), None)
        said.setdefault(f"{role}s" if role else "other", []).append(
            _description(values) if name in _ROLES else f"{name}: {_description(values)}"
        )
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample", *(name for name, _ in columns)])
        writer.writerows(_rows(columns))
    found = {role: "; ".join(parts) for role, parts in said.items()}
    return {**found, "predictions_from": samples.source, "samples": len(columns[0][1])}


def _rows(columns: list[_Column]) -> list[list[Any]]:
    """Return the rows of columns, numbered."""
    return [[number, *row] for number, row in enumerate(zip(*(values for _, values in columns), strict=True))]


def _description(values: SampleValues) -> str:
    if isinstance(values, Images):
        return (
            "images of {} x {}".format(*values.sizes[0]) if len({*values.sizes}) == 1 else "images of different sizes"
        )
    if isinstance(values, Records):
        return f"records of {', '.join(_keys(values)) or 'nothing'}"
    width = f"{values.width} column{'s' * (values.width != 1)}"
    return f"{width}, of which {MAX_COLUMNS} are here" if values.width > MAX_COLUMNS else width


def _columns(folder: Path, name: str, values: SampleValues, base: Images | None, count: int) -> list[_Column]:
    """Write the pictures of one group, and return its columns."""
    if isinstance(values, Images):
        return [(name, _write_images(folder / _folder_name(name), _pictures(values, base, count)))]
    if isinstance(values, Columns):
        return _of_columns(name, values, count)
    records = values.values[:count]
    boxes = [(f"{name}_{key}", [_as_text(one.get(key)) for one in records]) for key in _keys(values)]
    drawn = _with_boxes(records, base, count)
    return [(name, _write_images(folder / _folder_name(name), drawn)), *boxes] if drawn else boxes


def _pictures(values: Images, base: Images | None, count: int) -> list[Any]:
    """Return 8-bit images; masks are drawn over the images of the inputs."""
    images = list(values.pixels[:count])
    if base is None or base is values or values.sizes != base.sizes:
        return drawing.to_8_bit(images)
    if not values.classes and not drawing.classes_of(images):
        return drawing.to_8_bit(images)
    behind = drawing.to_8_bit(list(base.pixels[:count]))
    return [drawing.draw_mask(image, mask) for image, mask in zip(behind, images, strict=True)]


def _with_boxes(records: list[dict[str, Any]], base: Images | None, count: int) -> list[Any]:
    """Return the images with the boxes of their records; none where a record does not say its boxes in pixels."""
    if base is None:
        return []
    boxes = [drawing.boxes_of(record, size) for record, size in zip(records, base.sizes, strict=False)]
    if any(one is None for one in boxes):
        return []
    behind = drawing.to_8_bit(list(base.pixels[:count]))
    return [
        drawing.draw_boxes(image, found or [], _listed(record.get("labels", [])), step)
        for image, found, record, step in zip(behind, boxes, records, base.steps, strict=False)
    ]


def _write_images(folder: Path, images: list[Any]) -> list[str]:
    """Write 8-bit images as PNG files into a new folder; return their paths as the table has them."""
    folder.mkdir()
    names = []
    for number, image in enumerate(images):
        channels, height, width = image.shape
        name = f"{number:04}.png"
        pixels = bytes(image.permute(1, 2, 0).contiguous().numpy())
        (folder / name).write_bytes(png.encode(pixels, width, height, channels))
        names.append(f"{folder.name}/{name}")
    return names


def _folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{name}s" if name in _ROLES else name)


def _of_columns(name: str, values: Columns, count: int) -> list[_Column]:
    """Return the columns of values that are not images, each with its name."""
    found: list[_Column]
    if isinstance(values.values, list) and not all(is_tensor(one) for one in values.values):
        return [(name, [_as_text(one) for one in values.values[:count]])]
    rows = [one.tolist() for one in values.values[:count]]
    width = min(values.width, MAX_COLUMNS)
    names = [name] if width == 1 else [f"{name}_{number}" for number in range(width)]
    found = [(one, [_cell(row[at]) if at < len(row) else "" for row in rows]) for at, one in enumerate(names)]
    if values.shapes:
        found.append((f"{name}_shape", list(values.shapes[:count])))
    if values.classes is not None:
        found.append(("predicted_class", values.classes[:count].tolist()))
    return found


def _keys(records: Records) -> list[str]:
    return list(dict.fromkeys(key for record in records.values for key in record))


def _cell(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value


def _as_text(value: Any) -> str:
    """Return a value of the user's as the text of one cell."""
    if value is None or isinstance(value, str):
        return (value or "")[:_MAX_TEXT]
    return json.dumps(_listed(value), default=str)[:_MAX_TEXT]


def _listed(value: Any) -> Any:
    """Return a value as JSON has it: a tensor as lists of rounded numbers."""
    dense = plain_tensor(value)
    if dense is not None:
        return _listed(dense.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, Mapping):
        return {str(key): _listed(one) for key, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, (tuple, list)) else value
