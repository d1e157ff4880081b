"""png: images of Pillow, arrays that are asked to be one, and figures of matplotlib as they are drawn."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import ancestry, class_path
from tracelet.builtin.objects._common import called, check_bytes, library, readable, storable
from tracelet.plugin import SerializerSpec

__all__ = ["SPECS"]

_IMAGE = "PIL.Image:Image"
_FIGURE = "matplotlib.figure:Figure"
_ARRAY = "numpy:ndarray"
#: What PNG holds as it is.
_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
#: What Pillow knows of an image that changes how its pixels look.
_KEPT = ("transparency", "icc_profile")
#: The text in a file that says that it was an array.
_MARK = "tracelet"
#: Pixels: Pillow reads no image that has more.
_MOST_PIXELS = 178_956_970
#: Bytes of memory that a pixel takes while it is loaded.
_PIXEL = 4
#: Where a png file has its width and its height.
_SIDES = slice(16, 24)


def _pillow() -> Any:
    return library("PIL.Image", "pillow", "png files")


def _is_picture(value: Any) -> bool:
    return not ancestry(value).isdisjoint({_IMAGE, _FIGURE})


def _check_image(image: Any) -> None:
    if image.mode not in _MODES:
        raise TypeError(f"it is an image of mode {image.mode}, and png has {', '.join(_MODES)}: say .convert('RGB')")
    if getattr(image, "n_frames", 1) > 1:
        raise TypeError(f"it has {image.n_frames} frames, and png has one: add its file with add_file")
    _check_size(*image.size)
    if image.mode == "P" and image.getextrema()[1] >= len(image.getpalette() or ()) // 3:
        raise ValueError("it has pixels that its palette has no colour for: say .convert('RGB')")


def _check_array(array: Any) -> None:
    if array.dtype != "uint8" or len(array.shape) not in {2, 3} or array.shape[2:] not in {(), (3,), (4,)}:
        raise TypeError(
            f"it is an array of {array.dtype} of shape {array.shape}, and a picture has uint8 and (height, width), (height, "
            "width, 3) or (height, width, 4): convert it, or say serializer='npy'"
        )
    _check_size(*array.shape[:2])


def _check_size(*sides: int, instead: str = "say serializer='npy'") -> None:
    if not 0 < sides[0] * sides[1] <= _MOST_PIXELS:
        raise ValueError(f"it has {sides[0] * sides[1]:,} pixels, and a png has 1 to {_MOST_PIXELS:,}: {instead}")


def _check_kind(value: Any) -> None:
    classes = ancestry(value)
    if _IMAGE in classes:
        _check_image(value)
    elif class_path(type(value)) == _ARRAY:
        _check_array(value)
    elif _FIGURE not in classes:
        raise TypeError(f"it is {called(value)}: give an image of Pillow, an array of uint8, or a figure of matplotlib")


def _content(value: Any) -> bytes:
    """Return the file. What is wrong with a value may show only when it is drawn, or read from a file of its own."""
    _check_kind(value)
    place = io.BytesIO()
    if _FIGURE in ancestry(value):
        # Without the release of matplotlib, so that equal figures give equal bytes.
        value.savefig(place, format="png", metadata={"Software": None})
        sides = place.getvalue()[_SIDES]
        _check_size(
            int.from_bytes(sides[:4], "big"),
            int.from_bytes(sides[4:], "big"),
            instead="make its figsize or dpi smaller",
        )
    elif _IMAGE in ancestry(value):
        image = value.copy()
        image.info = {name: image.info[name] for name in _KEPT if name in image.info}
        image.save(place, "PNG")
    else:
        text = library("PIL.PngImagePlugin", "pillow", "png files").PngInfo()
        text.add_text(_MARK, "array")
        _pillow().fromarray(value).save(place, "PNG", pnginfo=text)
    return place.getvalue()


@storable
def _check(value: Any) -> None:
    _content(value)


@storable
def _dump(value: Any, path: Path) -> None:
    path.write_bytes(_content(value))


@readable
def _load(path: Path, trust: bool) -> Any:
    with _pillow().open(path, formats=["PNG"]) as image:
        check_bytes(math.prod(image.size) * _PIXEL, path.stat().st_size, trust)
        back = image.copy()
    return library("numpy", "numpy", "arrays").array(back) if back.info.get(_MARK) == "array" else back


#: ``png``.
SPECS = (
    SerializerSpec(name="png", suffix=".png", dump=_dump, load=_load, safe=True, matches=_is_picture, check=_check),
)
