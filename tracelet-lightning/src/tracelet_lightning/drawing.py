"""Pictures: pixels of any kind as 8-bit ones, and masks and boxes drawn over them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

__all__ = ["boxes_of", "classes_of", "draw_boxes", "draw_mask", "to_8_bit"]

#: Colours of classes, as a colour-blind person can tell them apart (Okabe and Ito).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
#: More different values than this are shades of a picture, and no classes.
_MAX_CLASSES = 64


def to_8_bit(images: list[Any]) -> list[Any]:
    """Return images (channels, height, width) with 8-bit pixels; one scale for all, unless they are from 0 to 1 already."""
    torch = import_module("torch")
    if all(one.dtype is torch.uint8 for one in images):
        return images
    values = [one.to(torch.float32).nan_to_num(0.0, 0.0, 0.0) for one in images]
    least, most = min(float(one.min()) for one in values), max(float(one.max()) for one in values)
    if least < 0 or most > 1:
        values = [(one - least) / ((most - least) or 1.0) for one in values]
    return [(one * 255).round().to(torch.uint8) for one in values]


def classes_of(images: list[Any]) -> bool:
    """Whether the pixels are classes: one channel of few whole numbers, or of 0 and 1."""
    torch = import_module("torch")
    if any(one.shape[0] != 1 for one in images):
        return False
    found = torch.cat([one.flatten() for one in images]).unique().tolist()
    if images[0].is_floating_point():
        return set(found) <= {0.0, 1.0}
    return len(found) <= _MAX_CLASSES and min(found, default=0) >= -1


def draw_mask(image: Any, mask: Any) -> Any:
    """Return an 8-bit image with each class of a mask but 0 in a colour of its own, half transparent."""
    torch = import_module("torch")
    drawn = _in_colour(image)
    classes = mask[0].to(torch.int64)
    colours = torch.tensor(_COLOURS, dtype=torch.uint8)[(classes - 1).remainder(len(_COLOURS))].permute(2, 0, 1)
    return torch.where(classes != 0, drawn // 2 + colours // 2, drawn)


def boxes_of(record: dict[str, Any], size: tuple[int, int]) -> list[tuple[float, float, float, float]] | None:
    """Return boxes as (left, top, right, bottom), or None where the record does not say them in pixels of the image."""
    boxes = record.get("boxes")
    if boxes is None or not hasattr(boxes, "tolist") or boxes.dim() != 2 or boxes.shape[1] != 4:
        return None
    height, width = size
    found = [tuple(float(one) for one in box) for box in boxes.tolist()]
    # Some have the centre and the size, or parts of the whole: to draw those as corners would be wrong.
    fit = all(0 <= left < right <= width and 0 <= top < bottom <= height for left, top, right, bottom in found)
    scaled = not any(side > 1 for box in found for side in box)
    return found if fit and not (found and scaled) else None  # type: ignore[return-value]


def draw_boxes(image: Any, boxes: Iterable[tuple[float, float, float, float]], labels: list[Any], step: int) -> Any:
    """Return an 8-bit image with the outlines of boxes, coloured by label; ``step`` is how much smaller the image is."""
    torch = import_module("torch")
    drawn = _in_colour(image).clone()
    height, width = drawn.shape[1:]
    for number, box in enumerate(boxes):
        label = labels[number] if number < len(labels) and isinstance(labels[number], int) else 1
        colour = torch.tensor(_COLOURS[(label - 1) % len(_COLOURS)], dtype=torch.uint8).reshape(3, 1)
        left, top, right, bottom = (int(side / step) for side in box)
        right, bottom = min(right, width - 1), min(bottom, height - 1)
        for row in (top, bottom):
            drawn[:, row, left : right + 1] = colour
        for column in (left, right):
            drawn[:, top : bottom + 1, column] = colour
    return drawn


def _in_colour(image: Any) -> Any:
    """Return an image in red, green and blue."""
    return image.expand(3, -1, -1) if image.shape[0] == 1 else image[:3]
