"""Samples as files: images as PNG, other values as columns of a CSV table."""

from __future__ import annotations

import csv
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet_lightning import png
from tracelet_lightning.sample_values import MAX_COLUMNS, SampleValues
from tracelet_lightning.samples import Samples

__all__ = ["write"]

#: Characters of one text.
_MAX_TEXT = 1000


def write(folder: Path, samples: Samples, count: int) -> dict[str, Any]:
    """Write the first ``count`` samples into a new folder: ``samples.csv``, and folders of images beside it.

    Returns the metadata that describes them. Raises ``OSError``.
    """
    folder.mkdir(parents=True)
    columns: list[tuple[str, list[Any]]] = []
    found: dict[str, Any] = {}
    roles = (("input", samples.inputs), ("target", samples.targets), ("prediction", samples.predictions))
    for role, values in roles:
        if values is None:
            continue
        if values.size is not None:
            columns.append((role, _write_images(folder / f"{role}s", values.values[:count])))
            found[f"{role}s"] = "images of {} x {}".format(*values.size)
        else:
            columns += _columns(role, values, count)
            found[f"{role}s"] = f"{values.width} column{'s' * (values.width != 1)}" + (
                f", of which {MAX_COLUMNS} are here" if values.width > MAX_COLUMNS else ""
            )
    if samples.predictions is not None and samples.predictions.classes is not None:
        columns.append(("predicted_class", samples.predictions.classes[:count].tolist()))
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample", *(name for name, _ in columns)])
        writer.writerows(_rows(columns))
    return {**found, "predictions_from": samples.source, "samples": len(columns[0][1])}


def _rows(columns: list[tuple[str, list[Any]]]) -> list[list[Any]]:
    """Return the rows of columns, numbered."""
    return [[number, *row] for number, row in enumerate(zip(*(values for _, values in columns), strict=True))]


def _write_images(folder: Path, images: Any) -> list[str]:
    """Write images as PNG files into a new folder; return their paths as the table has them."""
    folder.mkdir()
    torch = import_module("torch")
    if images.dtype is not torch.uint8:
        values = images.to(torch.float32).nan_to_num(0.0, 0.0, 0.0)
        least, most = float(values.min()), float(values.max())
        if least < 0 or most > 1:
            values = (values - least) / ((most - least) or 1.0)
        images = (values * 255).round().to(torch.uint8)
    names = []
    for number, image in enumerate(images.permute(0, 2, 3, 1).contiguous()):
        height, width, channels = image.shape
        name = f"{number:04}.png"
        (folder / name).write_bytes(png.encode(bytes(image.numpy()), width, height, channels))
        names.append(f"{folder.name}/{name}")
    return names


def _columns(role: str, values: SampleValues, count: int) -> list[tuple[str, list[Any]]]:
    """Return the columns of values that are not images, each with its name."""
    if isinstance(values.values, list):
        return [(role, [str(one)[:_MAX_TEXT] for one in values.values[:count]])]
    rows = values.values[:count].tolist()
    names = [role] if values.width == 1 else [f"{role}_{number}" for number in range(min(values.width, MAX_COLUMNS))]
    return [(name, [_cell(row[number]) for row in rows]) for number, name in enumerate(names)]


def _cell(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value
