"""What is kept of a part of a batch: some samples, and of each of them as much as is shown."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import attrs

__all__ = ["COLOURS", "COLUMNS", "SampleValues", "take"]

#: Pixels of an image's longer side, and columns of a table. What is more is left out.
_SIDE = 256
COLUMNS = 256
#: Channels of an image, and how PNG calls them: grey, colour, colour with transparency.
COLOURS = {1: 0, 3: 2, 4: 6}


@attrs.frozen(eq=False)
class SampleValues:
    """The inputs, the targets or the predictions of some samples."""

    #: A tensor of images (samples, channels, height, width) or of columns (samples, columns); or a list of text or numbers.
    values: Any
    #: Height and width of the images before they were made smaller; None for what is no image.
    size: tuple[int, int] | None = None
    #: How many columns there were, of what is no image.
    width: int = 1
    #: The likeliest class of each sample, of what has a score for each class.
    classes: Any = None
    #: Whether it is one whole number a sample, as classes are.
    labels: bool = False

    def here(self) -> SampleValues:
        """Return it with its tensors on the CPU."""
        return attrs.evolve(self, values=_here(self.values), classes=_here(self.classes))


def take(value: Any, count: int, size: tuple[int, int] | None = None, *, scores: bool = False) -> SampleValues:
    """Copy ``count`` samples of a tensor or a list; ``size`` is that of the inputs' images.

    ``scores`` says that the targets are classes, so that columns may be a score for each. Raises what torch raises.
    """
    if isinstance(value, (tuple, list)):
        return SampleValues(list(value[:count]))
    # Cut first, for a layer may put out far more than is shown.
    some = value.detach()[:count]
    pictures = _pictures(some, size)
    if pictures is not None:
        height, width = (int(side) for side in pictures.shape[-2:])
        step = max(1, -(-max(height, width) // _SIDE))
        return SampleValues(pictures[:, :, ::step, ::step].clone(), size=(height, width))
    flat = some.flatten(1) if some.dim() > 1 else some.unsqueeze(1)
    scored = scores and some.dim() == 2 and some.shape[1] > 1 and _ordered(some)
    return SampleValues(
        flat[:, :COLUMNS].clone(),
        width=int(flat.shape[1]),
        classes=some.argmax(1) if scored else None,
        labels=some.dim() == 1 and not some.is_floating_point(),
    )


def _pictures(some: Any, size: tuple[int, int] | None) -> Any:
    """Return images as (samples, channels, height, width), or None for what are none.

    Three dimensions alone, or many channels, are images only where they have the size of the inputs: masks, and scores
    for each class of each pixel, of which the best is shown.
    """
    shape = tuple(some.shape)
    if some.is_complex():
        return None
    if len(shape) == 4 and shape[1] in COLOURS:
        return some
    if len(shape) == 4 and shape[3] in COLOURS:
        return some.permute(0, 3, 1, 2)
    if len(shape) == 4 and shape[2:] == size and shape[1] and _ordered(some):
        return some.argmax(1, keepdim=True)
    return some.unsqueeze(1) if len(shape) == 3 and shape[1:] == size else None


def _ordered(some: Any) -> bool:
    """Whether one of its numbers can be the largest, as torch has it."""
    return not some.is_complex() and some.dtype is not import_module("torch").bool


def _here(value: Any) -> Any:
    return value.to("cpu") if hasattr(value, "to") else value
