"""Samples as files: images as PNG, all else as a CSV table, both of bounded size."""

from __future__ import annotations

import csv
import struct
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet_lightning.sample_values import COLOURS, COLUMNS, SampleValues
from tracelet_lightning.samples import Samples

__all__ = ["png", "write"]

#: Characters of one text.
_LONGEST = 1000


def write(folder: Path, batch: Samples, count: int) -> dict[str, Any]:
    """Write ``count`` samples of a batch: ``samples.csv``, with images beside it, in a new folder; return what is there.

    Raises ``OSError``.
    """
    folder.mkdir(parents=True)
    columns: list[tuple[str, list[Any]]] = []
    said: dict[str, Any] = {}
    for role, part in (("input", batch.inputs), ("target", batch.targets), ("prediction", batch.predictions)):
        if part is None:
            continue
        if part.size is not None:
            columns.append((role, _write_pictures(folder / f"{role}s", part.values[:count])))
            said[f"{role}s"] = "images of {} x {}".format(*part.size)
        else:
            columns += _table(role, part, count)
            said[f"{role}s"] = f"{part.width} column{'s' * (part.width != 1)}" + (
                f", of which {COLUMNS} are here" if part.width > COLUMNS else ""
            )
    if batch.predictions is not None and batch.predictions.classes is not None:
        columns.append(("predicted_class", batch.predictions.classes[:count].tolist()))
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample", *(name for name, _ in columns)])
        writer.writerows(_rows(columns))
    return {**said, "predictions_from": batch.source, "samples": len(columns[0][1])}


def _rows(columns: list[tuple[str, list[Any]]]) -> list[list[Any]]:
    """Return the rows of columns, numbered."""
    return [[number, *row] for number, row in enumerate(zip(*(values for _, values in columns), strict=True))]


def _write_pictures(folder: Path, small: Any) -> list[str]:
    folder.mkdir()
    torch = import_module("torch")
    if small.dtype is not torch.uint8:
        values = small.to(torch.float32).nan_to_num(0.0, 0.0, 0.0)
        least, most = float(values.min()), float(values.max())
        if least < 0 or most > 1:
            values = (values - least) / ((most - least) or 1.0)
        small = (values * 255).round().to(torch.uint8)
    names = []
    for number, picture in enumerate(small.permute(0, 2, 3, 1).contiguous()):
        height, width, channels = picture.shape
        name = f"{number:04}.png"
        (folder / name).write_bytes(png(bytes(picture.numpy()), width, height, channels))
        names.append(f"{folder.name}/{name}")
    return names


def png(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Encode 8-bit pixels, row by row, of 1, 3 or 4 channels, as the PNG specification (W3C) has it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    row = width * channels
    # Each row begins with its filter: none.
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _table(role: str, part: SampleValues, count: int) -> list[tuple[str, list[Any]]]:
    """Return the columns of what is no image."""
    if isinstance(part.values, list):
        return [(role, [str(one)[:_LONGEST] for one in part.values[:count]])]
    rows = part.values[:count].tolist()
    names = [role] if part.width == 1 else [f"{role}_{number}" for number in range(min(part.width, COLUMNS))]
    return [(name, [_cell(row[number]) for row in rows]) for number, name in enumerate(names)]


def _cell(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value
