"""What an SVG drawing costs to draw: a few hundred bytes can ask for millions of shapes, and no browser stops at that."""

from __future__ import annotations

import base64
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from tracelet.core.display.pictures import MOST_PIXELS, canvas_of

__all__ = ["MOST_SHAPES", "is_drawable"]

#: Shapes of a drawing. One that is drawn again counts again.
MOST_SHAPES = 20_000
#: What one part of a filter counts as: it works on each point of the picture.
_FILTER = 500
#: Characters of a path for each of its corners, at least.
_CORNER = 4
#: Characters of a line's way: twice as many are four times the work. Dashes of it, that are as much work as a shape.
_LINE, _DASHES = 1_400, 100
#: Lines whose dashes can be counted: others' lengths have units, or are said elsewhere too.
_BROKEN = frozenset({"path", "polyline", "polygon"})
_DASHED = re.compile(r"stroke-dasharray\s*+:\s*+([^;]*+)", re.IGNORECASE)
_NUMBER = re.compile(r"(?:\d++\.?+\d*+|\.\d++)(?:e[+-]?+\d++)?", re.IGNORECASE)
#: What refers to something, or blurs, where it is not seen.
_HIDING = re.compile(r"\\|/\*|\b(?:var|path|blur|drop-shadow)\(|text-shadow", re.IGNORECASE)
_IN_SHEETS = re.compile(rf"url|@|dash|{_HIDING.pattern}", re.IGNORECASE)
#: Elements that pass their colours on to all that is in them; what clips them is drawn once for them all.
_PASSING = frozenset({"svg", "g", "a", "symbol", "use", "switch", "defs", "marker", "pattern", "mask", "clipPath"})
_ONCE = re.compile(r"(?:clip-path|mask|filter)\s*+:\s*+url\([^)]*+\)", re.IGNORECASE)
_NAMED = re.compile(r"#([^\s\"')]+)")
#: Pixels of a picture in it that are as much work as a shape.
_PIXELS = MOST_PIXELS // MOST_SHAPES
_PICTURES = ("data:image/png", "data:image/jpeg", "data:image/gif", "data:image/webp")
#: The drawing as a whole. No element has this name.
_ALL = ""


class _RefusedError(Exception):
    """It cannot be counted."""


def is_drawable(data: bytes) -> bool:
    """Return whether a file is an SVG drawing of at most so many shapes.

    What an element refers to is drawn once for each reference, with all that is in it. A drawing that can hide references,
    in a style, in another drawing, or by names that stand for text, is not one.
    """
    drawing = _Drawing()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = drawing.start
    parser.EndElementHandler = drawing.end
    parser.CharacterDataHandler = drawing.text
    parser.EntityDeclHandler = drawing.refuse
    parser.ProcessingInstructionHandler = drawing.refuse
    try:
        parser.Parse(data, True)
        return drawing.shapes() <= MOST_SHAPES
    except (expat.ExpatError, CycleError, _RefusedError):
        return False


class _Drawing:
    def __init__(self) -> None:
        #: The tags of the elements that are open, each with the innermost name around it.
        self._open: list[tuple[str, str]] = [("", _ALL)]
        #: By name: elements, and corners of paths, without those of named elements inside.
        self._own: Counter[str] = Counter()
        self._corners: Counter[str] = Counter()
        #: How often a named element is drawn for another one, because it is in it or is referred to.
        self._drawn: Counter[tuple[str, str]] = Counter()
        #: The elements of the marker that is open, if one is, and of the largest. A marker is drawn at each corner.
        self._marker = 0
        self._largest = 0
        #: What style sheets say.
        self._sheet: list[str] = []
        #: The elements in the clip path that is open, or was last.
        self._clipping = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(" ")[2]
        around = self._open[-1][1]
        here = attributes.get("id") or around
        if here != around:
            self._drawn[around, here] += 1
        if tag == "marker" and self._marker:
            self.refuse()
        # Of shapes that clip together, the one shape that they make is computed, for as long as that takes.
        clips = "clipPath" in {tag, self._open[-1][0]}
        self._clipping = 0 if tag == "clipPath" else self._clipping + 1
        if clips and (
            self._clipping > 1 or "clip-path" in attributes or "clip-path" in attributes.get("style", "").lower()
        ):
            self.refuse()
        self._open.append((tag, here))
        way = attributes.get("d", "") + attributes.get("points", "")
        self._own[here] += (
            (_FILTER if tag.startswith("fe") else 1) + (len(way) // _LINE) ** 2 + _dashes(tag, attributes, way)
        )
        self._corners[here] += len(way) // _CORNER
        self._marker += self._marker > 0 or tag == "marker"
        self._largest = max(self._largest, self._marker)
        for key, value in attributes.items():
            self._look_at(here, tag, key, value)

    def end(self, name: str) -> None:
        tag = self._open.pop()[0]
        if tag == "marker":
            self._marker = 0
        if tag == "style":
            if _IN_SHEETS.search("".join(self._sheet)):
                self.refuse()
            self._sheet.clear()

    def text(self, text: str) -> None:
        # It comes in pieces: a word may be in two of them.
        if self._open[-1][0] == "style":
            self._sheet.append(text)

    def refuse(self, *_: object) -> None:
        raise _RefusedError

    def _look_at(self, here: str, tag: str, key: str, value: str) -> None:
        low = value.lower()
        if "data:" in low:
            if not low.strip().startswith(_PICTURES):
                self.refuse()
            self._own[here] += _picture(value) // _PIXELS
        if " " not in key and _HIDING.search(value):  # those of other programs say nothing to a browser
            self.refuse()
        if key.rpartition(" ")[2] != "href" and "url" not in low:
            return
        if tag in _PASSING and key not in {"clip-path", "mask", "filter"} and "url" in _ONCE.sub("", low):
            self.refuse()
        for other in _NAMED.findall(value):
            if self._marker or "%" in other:
                self.refuse()
            self._drawn[here, other] += 1

    def shapes(self) -> int:
        """Return how many shapes are drawn, or more. Raises ``CycleError`` where something is drawn within itself."""
        within: dict[str, set[str]] = {_ALL: set()}
        for outer, inner in self._drawn:
            within.setdefault(outer, set()).add(inner)
        sums: dict[str, int] = {}
        for name in TopologicalSorter(within).static_order():
            own = self._own[name] + self._corners[name] * self._largest
            again = sum(sums[one] * self._drawn[name, one] for one in within.get(name, ()))
            sums[name] = min(own + again, MOST_SHAPES + 1)
        return sums[_ALL]


def _picture(url: str) -> int:
    """Return the pixels of a picture that a ``data:`` URL holds."""
    head, _, body = url.partition(",")
    try:
        data = unquote_to_bytes(body)
        canvas = canvas_of(base64.b64decode(data + b"==") if "base64" in head.lower() else data)
    except ValueError:
        canvas = None
    if canvas is None:
        raise _RefusedError
    return canvas.weight


def _dashes(tag: str, attributes: dict[str, str], way: str) -> int:
    """Return the work of the dashes of a line, or more: no number of its way leads further than the largest one."""
    said = attributes.get("stroke-dasharray", ""), *_DASHED.findall(attributes.get("style", ""))
    values = [value.strip() for value in said if value.strip().lower() not in {"", "none"}]
    if not values:
        return 0
    numbers = [float(number) for number in _NUMBER.findall(way)]
    try:
        shortest = min(float(length) for value in values for length in re.split(r"[\s,]+", value))
        if tag in _BROKEN and "pathLength" not in attributes:
            return int(4 * len(numbers) * max(numbers, default=0) / shortest / _DASHES)
    except (ArithmeticError, ValueError):
        pass
    raise _RefusedError
