"""The values of some samples, no more of each than is shown."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.png import COLOUR_TYPES
from tracelet_lightning.rows import is_tensor, plain_tensor

__all__ = ["MAX_COLUMNS", "Columns", "Images", "Records", "SampleValues", "on_cpu", "take"]

#: Columns of a table. Further columns are left out.
MAX_COLUMNS = 256
#: Pixels of an image's longer side. A larger image is made smaller.
_MAX_SIDE = 256
#: Numbers of one value of a record.
_MAX_NUMBERS = 256


@attrs.frozen(eq=False)
class Images:
    """A picture of each sample."""

    #: A tensor (samples, channels, height, width), or a list of tensors (channels, height, width) of different sizes.
    pixels: Any
    #: Height and width of each image before it was made smaller.
    sizes: tuple[tuple[int, int], ...]
    #: Each image has every so many of its rows and columns.
    steps: tuple[int, ...]
    #: Whether each pixel is the class that has the highest score there.
    classes: bool = False


@attrs.frozen(eq=False)
class Columns:
    """Numbers or texts of each sample."""

    #: A tensor (samples, columns); or a list of tensors of different lengths; or a list of texts or numbers.
    values: Any
    #: How many columns there were.
    width: int = 1
    #: The shape of each sample, where the columns do not say it.
    shapes: tuple[str, ...] = ()
    #: The most likely class of each sample, where each sample has a score for each class.
    classes: Any = None
    #: Whether these may be classes: one whole number a sample.
    may_be_classes: bool = False


@attrs.frozen(eq=False)
class Records:
    """Named values of each sample, as object detection has boxes and labels."""

    values: list[dict[str, Any]]


SampleValues = Images | Columns | Records


def on_cpu(values: SampleValues) -> SampleValues:
    """Return the same values with their tensors on the CPU."""
    if isinstance(values, Images):
        return attrs.evolve(values, pixels=_moved(values.pixels))
    if isinstance(values, Columns):
        return attrs.evolve(values, values=_moved(values.values), classes=_moved(values.classes))
    return Records([{key: _moved(one) for key, one in record.items()} for record in values.values])


def take(rows: Any, size: tuple[int, int] | None = None, *, scores: bool = False) -> SampleValues:
    """Copy the rows of some samples, which are a tensor or a list. Raises what torch raises.

    ``size`` is the height and width of the inputs, where those are images. ``scores`` says that the targets are classes,
    so that columns may be scores of classes.
    """
    if isinstance(rows, (tuple, list)):
        return _take_list(rows)
    some = rows.detach()
    images, classes = _images(some, size)
    if images is not None:
        height, width = (int(side) for side in images.shape[-2:])
        step = _step(height, width)
        count = len(images)
        return Images(images[:, :, ::step, ::step].clone(), ((height, width),) * count, (step,) * count, classes)
    flat = some.flatten(1) if some.dim() > 1 else some.unsqueeze(1)
    scored = scores and some.dim() == 2 and some.shape[1] > 1 and _has_maximum(some)
    width = int(flat.shape[1])
    return Columns(
        flat[:, :MAX_COLUMNS].clone(),
        width,
        shapes=(_shape(some[0]),) * len(some) if some.dim() > 2 or width > MAX_COLUMNS else (),
        classes=some.argmax(1) if scored else None,
        may_be_classes=some.dim() == 1 and not some.is_floating_point(),
    )


def _take_list(rows: Any) -> SampleValues:
    """Copy rows that have different sizes, or are no tensors."""
    if all(isinstance(one, Mapping) for one in rows):
        return Records([{str(key): _cut(value) for key, value in one.items()} for one in rows])
    if not all(is_tensor(one) for one in rows):
        return Columns(list(rows))
    tensors = [one.detach() for one in rows]
    images = [_image(one) for one in tensors]
    if all(one is not None for one in images):
        sizes = tuple((int(one.shape[1]), int(one.shape[2])) for one in images)
        steps = tuple(_step(*one) for one in sizes)
        cut = [one[:, ::step, ::step].clone() for one, step in zip(images, steps, strict=True)]
        return Images(cut, sizes, steps)
    flat = [one.flatten() for one in tensors]
    return Columns(
        [one[:MAX_COLUMNS].clone() for one in flat],
        max(int(one.numel()) for one in flat),
        shapes=tuple(map(_shape, tensors)),
    )


def _cut(value: Any) -> Any:
    """Return a value of a record as a small copy, or its shape where it is too large to show."""
    dense = plain_tensor(value)
    if dense is None:
        return f"<{type(value).__name__}>" if is_tensor(value) else value
    return dense.detach().clone() if dense.numel() <= _MAX_NUMBERS else f"<{_shape(dense)}>"


def _images(some: Any, size: tuple[int, int] | None) -> tuple[Any, bool]:
    """Return images as (samples, channels, height, width) and whether they are classes, or None where these are no images.

    A tensor of three dimensions, or of many channels, is taken for images only where it has the size of the inputs. The
    first are masks. The second are scores of classes for each pixel, and the class with the highest score is shown.
    """
    shape = tuple(some.shape)
    if some.is_complex() or 0 in shape:
        return None, False
    scored = len(shape) == 4 and shape[2:] == size and _has_maximum(some)
    if len(shape) == 4 and shape[1] in COLOUR_TYPES:
        return some, False
    if len(shape) == 4 and shape[3] in COLOUR_TYPES:
        return some.permute(0, 3, 1, 2), False
    if scored:
        return some.argmax(1, keepdim=True), True
    return (some.unsqueeze(1), False) if len(shape) == 3 and shape[1:] == size else (None, False)


def _image(one: Any) -> Any:
    """Return one image as (channels, height, width), or None."""
    shape = tuple(one.shape)
    if len(shape) != 3 or one.is_complex() or 0 in shape:
        return None
    if shape[0] in COLOUR_TYPES:
        return one
    return one.permute(2, 0, 1) if shape[2] in COLOUR_TYPES else None


def _step(height: int, width: int) -> int:
    return max(1, -(-max(height, width) // _MAX_SIDE))


def _shape(one: Any) -> str:
    return " x ".join(str(int(side)) for side in one.shape) or "1"


def _has_maximum(some: Any) -> bool:
    """Whether torch can say which of the numbers is the largest."""
    return not some.is_complex() and some.dtype is not import_module("torch").bool


def _moved(value: Any) -> Any:
    if isinstance(value, list):
        return [_moved(one) for one in value]
    return value.to("cpu") if is_tensor(value) else value
