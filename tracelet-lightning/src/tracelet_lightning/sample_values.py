"""The values of some samples, no more of each than is shown."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.png import COLOUR_TYPES

__all__ = ["MAX_COLUMNS", "SampleValues", "take"]

#: Columns of a table. Further columns are left out.
MAX_COLUMNS = 256
#: Pixels of an image's longer side. A larger image is made smaller.
_MAX_SIDE = 256


@attrs.frozen(eq=False)
class SampleValues:
    """The inputs, the targets or the predictions of some samples."""

    #: A tensor of images (samples, channels, height, width) or of columns (samples, columns); or a list of texts or numbers.
    values: Any
    #: Height and width of the images before they were made smaller; None where these are not images.
    size: tuple[int, int] | None = None
    #: How many columns there were, where these are not images.
    width: int = 1
    #: The most likely class of each sample, where each sample has a score for each class.
    classes: Any = None
    #: Whether these may be classes: one whole number a sample.
    may_be_classes: bool = False

    def on_cpu(self) -> SampleValues:
        """Return the same values with their tensors on the CPU."""
        return attrs.evolve(self, values=_on_cpu(self.values), classes=_on_cpu(self.classes))


def take(value: Any, count: int, size: tuple[int, int] | None = None, *, scores: bool = False) -> SampleValues:
    """Copy the first ``count`` samples of a tensor or a list. Raises what torch raises.

    ``size`` is the height and width of the inputs, where those are images. ``scores`` says that the targets are classes,
    so that columns may be scores of classes.
    """
    if isinstance(value, (tuple, list)):
        return SampleValues(list(value[:count]))
    # The samples are cut before they are copied: a layer may put out far more than is shown.
    some = value.detach()[:count]
    images = _images(some, size)
    if images is not None:
        height, width = (int(side) for side in images.shape[-2:])
        step = max(1, -(-max(height, width) // _MAX_SIDE))
        return SampleValues(images[:, :, ::step, ::step].clone(), size=(height, width))
    flat = some.flatten(1) if some.dim() > 1 else some.unsqueeze(1)
    scored = scores and some.dim() == 2 and some.shape[1] > 1 and _has_maximum(some)
    return SampleValues(
        flat[:, :MAX_COLUMNS].clone(),
        width=int(flat.shape[1]),
        classes=some.argmax(1) if scored else None,
        may_be_classes=some.dim() == 1 and not some.is_floating_point(),
    )


def _images(some: Any, size: tuple[int, int] | None) -> Any:
    """Return images as (samples, channels, height, width), or None where these are not images.

    A tensor of three dimensions, or of many channels, is taken for images only where it has the size of the inputs. The
    first are masks. The second are scores of classes for each pixel, and the class with the highest score is shown.
    """
    shape = tuple(some.shape)
    if some.is_complex():
        return None
    if len(shape) == 4 and shape[1] in COLOUR_TYPES:
        return some
    if len(shape) == 4 and shape[3] in COLOUR_TYPES:
        return some.permute(0, 3, 1, 2)
    if len(shape) == 4 and shape[2:] == size and shape[1] and _has_maximum(some):
        return some.argmax(1, keepdim=True)
    return some.unsqueeze(1) if len(shape) == 3 and shape[1:] == size else None


def _has_maximum(some: Any) -> bool:
    """Whether torch can say which of the numbers is the largest."""
    return not some.is_complex() and some.dtype is not import_module("torch").bool


def _on_cpu(value: Any) -> Any:
    return value.to("cpu") if hasattr(value, "to") else value
