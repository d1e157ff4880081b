"""Samples as files: images as PNG, all else as a CSV table, both of bounded size."""

from __future__ import annotations

import csv
import struct
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet_lightning.samples import Batch

__all__ = ["png", "write"]

#: Pixels of an image's longer side, and columns of one part of the table. What is more is left out.
_SIDE = 256
_COLUMNS = 256
#: Characters of one text.
_LONGEST = 1000
#: Channels, and how PNG calls them: grey, colour, colour with transparency.
_COLOURS = {1: 0, 3: 2, 4: 6}


def write(folder: Path, batch: Batch, count: int) -> dict[str, Any]:
    """Write ``count`` samples of a batch: ``samples.csv``, with images beside it, in a new folder; return what is there.

    Raises ``OSError``.
    """
    folder.mkdir(parents=True)
    columns: list[tuple[str, list[Any]]] = []
    said: dict[str, Any] = {}
    size = None
    for role, part in (("input", batch.inputs), ("target", batch.targets), ("prediction", batch.predictions)):
        if part is None:
            continue
        part = part[:count]
        pictures = _pictures(part, size)
        if pictures is not None:
            size = size or tuple(pictures.shape[-2:])
            columns.append((role, _write_pictures(folder / f"{role}s", pictures)))
            said[f"{role}s"] = "images of {} x {}".format(*pictures.shape[-2:])
        else:
            table, width = _table(role, part)
            said[f"{role}s"] = f"{width} column{'s' * (width != 1)}" + (
                f", of which {_COLUMNS} are here" if width > _COLUMNS else ""
            )
            columns += table
    columns += _classes(batch, count)
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample", *(name for name, _ in columns)])
        writer.writerows(_rows(columns))
    return {**said, "predictions_from": batch.source, "samples": len(columns[0][1])}


def _rows(columns: list[tuple[str, list[Any]]]) -> list[list[Any]]:
    """Return the rows of columns, numbered."""
    return [[number, *row] for number, row in enumerate(zip(*(values for _, values in columns), strict=True))]


def _pictures(part: Any, size: tuple[int, int] | None) -> Any:
    """Return images as (count, channels, height, width), or None for what are none.

    Three dimensions alone, or many channels, are images only where they have the size of the inputs: masks, and scores
    for each class of each pixel, of which the best is shown.
    """
    if isinstance(part, list):
        return None
    shape = tuple(part.shape)
    if len(shape) == 4 and shape[1] in _COLOURS:
        return part
    if len(shape) == 4 and shape[3] in _COLOURS:
        return part.permute(0, 3, 1, 2)
    if len(shape) == 4 and shape[2:] == size:
        return part.argmax(1, keepdim=True)
    return part.unsqueeze(1) if len(shape) == 3 and shape[1:] == size else None


def _write_pictures(folder: Path, pictures: Any) -> list[str]:
    folder.mkdir()
    torch = import_module("torch")
    step = -(-max(pictures.shape[-2:]) // _SIDE)
    small = pictures[:, :, ::step, ::step]
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

    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    row = width * channels
    # Each row begins with its filter: none.
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _table(role: str, part: Any) -> tuple[list[tuple[str, list[Any]]], int]:
    """Return the first columns of what is no image, and how many there are."""
    if isinstance(part, list):
        return [(role, [str(one)[:_LONGEST] for one in part])], 1
    flat = part.reshape(len(part), -1)
    width = int(flat.shape[1])
    rows = flat[:, :_COLUMNS].tolist()
    names = [role] if width == 1 else [f"{role}_{number}" for number in range(min(width, _COLUMNS))]
    return [(name, [_cell(row[number]) for row in rows]) for number, name in enumerate(names)], width


def _cell(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value


def _classes(batch: Batch, count: int) -> list[tuple[str, list[Any]]]:
    """The likeliest class, where the targets are classes and the predictions a score for each."""
    targets, scores = batch.targets, batch.predictions
    if isinstance(targets, list) or targets is None or isinstance(scores, list) or scores is None:
        return []
    if targets.dim() != 1 or targets.is_floating_point() or scores.dim() != 2 or scores.shape[1] < 2:
        return []
    return [("predicted_class", scores[:count].argmax(1).tolist())]
