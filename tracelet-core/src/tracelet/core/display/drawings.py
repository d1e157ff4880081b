"""What an SVG drawing costs to draw: a few hundred bytes can ask for millions of shapes, and no browser stops at that."""

from __future__ import annotations

import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from xml.parsers import expat

__all__ = ["MOST_SHAPES", "is_drawable"]

#: Shapes of a drawing. One that is drawn again counts again.
MOST_SHAPES = 20_000
#: What one part of a filter counts as: it works on each point of the picture.
_FILTER = 50
#: Characters of a path for each of its corners, at least.
_CORNER = 4
_NAMED = re.compile(r"#([^\s\"')]+)")
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

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(" ")[2]
        around = self._open[-1][1]
        here = attributes.get("id") or around
        if here != around:
            self._drawn[around, here] += 1
        if tag == "marker" and self._marker:
            self.refuse()
        self._open.append((tag, here))
        self._own[here] += _FILTER if tag.startswith("fe") else 1
        self._corners[here] += (len(attributes.get("d", "")) + len(attributes.get("points", ""))) // _CORNER
        self._marker += self._marker > 0 or tag == "marker"
        self._largest = max(self._largest, self._marker)
        for key, value in attributes.items():
            self._look_at(here, key.rpartition(" ")[2], value)

    def end(self, name: str) -> None:
        if self._open.pop()[0] == "marker":
            self._marker = 0

    def text(self, text: str) -> None:
        if self._open[-1][0] == "style" and re.search(r"url|@|\\", text, re.IGNORECASE):
            self.refuse()

    def refuse(self, *_: object) -> None:
        raise _RefusedError

    def _look_at(self, here: str, key: str, value: str) -> None:
        low = value.lower()
        if "data:" in low and not low.strip().startswith(_PICTURES):
            self.refuse()
        if key == "style" and "\\" in low:
            self.refuse()
        if key != "href" and "url" not in low:
            return
        for other in _NAMED.findall(value):
            if self._marker:
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
