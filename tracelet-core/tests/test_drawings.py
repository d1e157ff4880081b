"""A drawing in SVG is shown as a picture where it is drawn in a bounded time, and as text where it is not."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from tracelet.core.display.drawings import MOST_SHAPES, is_drawable
from tracelet.core.display.previews import Kind, preview_of


def svg(inside: str, more: str = "") -> bytes:
    head = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {head} {more}>{inside}</svg>".encode()


def levels(count: int, each: str = '<use href="#l{0}"/>') -> str:
    """Shapes of which each is ten of the one before."""
    inside = '<rect id="l0" width="1" height="1"/>'
    for number in range(1, count):
        inside += f'<g id="l{number}">{each.format(number - 1) * 10}</g>'
    return f'<defs>{inside}</defs><use href="#l{count - 1}"/>'


@pytest.mark.parametrize(
    "drawing",
    [
        svg('<rect width="3" height="4"/>'),
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd">' + svg("<g/>"),
        svg("<style>* { stroke-linejoin: round }</style>"),
        svg(
            '<linearGradient id="a"/><linearGradient id="b" xlink:href="#a"/><rect fill="url(#b)" style="color: #fff"/>'
        ),
        svg('<defs><path id="m" d="M0 0L1 1"/></defs>' + '<use xlink:href="#m"/>' * 500),
        svg('<image href="data:image/png;base64,iVBORw0KGgo="/><a href="#none"><text>data</text></a>'),
        svg('<marker id="m"><path d="M0 0"/></marker><path d="M0 0L9 9L1 1" marker-end="url(#m)"/><g id=""/>'),
        svg(levels(4)),
    ],
)
def test_what_people_draw_is_drawn(drawing: bytes) -> None:
    assert is_drawable(drawing)


@pytest.mark.parametrize(
    "drawing",
    [
        svg(levels(6)),
        svg(levels(60)),
        svg(levels(8, '<rect fill="url(#l{0})"/>')),
        svg(levels(8, "<rect style='fill: url(\"#l{0}\")'/>")),
        svg("<rect/>" * (MOST_SHAPES + 1)),
        svg('<g id="a">' + "<rect/>" * 300 + "</g>" + '<use href="#a"/>' * 300),
        svg("<filter>" + "<feTurbulence/>" * 1_000 + "</filter>"),
        svg('<g id="a"><use href="#a"/></g>'),
        svg('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g>'),
        svg(f'<marker id="m">{"<path/>" * 50}</marker><path d="{"L1 1" * 900}" marker-mid="url(#m)"/>'),
        svg('<marker id="m"><use href="#a"/></marker>'),
        svg('<marker id="m"><marker id="n"/></marker>'),
        svg("<style>rect { fill: url(#a) }</style>"),
        svg("<style>rect { fill: u\\72l(#a) }</style>"),
        svg("<style>@import 'a.css'</style>"),
        svg('<rect style="fill: u\\72l(#a)"/>'),
        svg('<image href="data:image/svg+xml,%3Csvg/%3E"/>'),
        svg('<image href="DATA:text/xml,%3Csvg/%3E"/>'),
        svg('<rect style="fill: url(data:image/svg+xml,%3Csvg/%3E)"/>'),
        b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">]>' + svg("<text>&a;</text>"),
        b'<?xml-stylesheet href="a.css"?>' + svg("<g/>"),
        b"<svg",
        b"",
    ],
)
def test_what_is_drawn_without_end_or_hides_what_it_refers_to_is_not(drawing: bytes) -> None:
    assert not is_drawable(drawing)


@pytest.mark.parametrize(
    "drawing",
    [
        svg("".join(f'<g id="a{number}">' for number in range(40_000)) + "</g>" * 40_000),
        svg("".join(f'<g id="a{number}"><use href="#a{number - 1}"/></g>' for number in range(30_000))),
        svg('<g a="' * 100_000),
        b'<!DOCTYPE svg [<!ENTITY a "a">' + b"".join(b'<!ENTITY b%d "&a;">' % n for n in range(30_000)),
    ],
)
def test_counting_takes_no_longer_than_reading(drawing: bytes) -> None:
    began = time.process_time()
    is_drawable(drawing)
    assert time.process_time() - began < 5


def test_a_plot_of_matplotlib_is_drawn(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(2, 2)
    axes[0, 0].plot(range(500), marker="o", label="loss")
    axes[0, 0].legend()
    axes[0, 1].imshow([[1, 2], [3, 4]])
    axes[1, 0].bar(range(30), range(30), hatch="/")
    axes[1, 1].scatter(range(200), range(200), c=range(200))
    plot = io.BytesIO()
    figure.savefig(plot, format="svg")
    (tmp_path / "plot.svg").write_bytes(plot.getvalue())
    assert preview_of(tmp_path / "plot.svg", "plot.svg").kind is Kind.IMAGE


def test_one_that_is_not_drawn_is_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / "bomb.svg").write_bytes(svg(levels(9)))
    preview = preview_of(tmp_path / "bomb.svg", "bomb.svg")
    assert preview.kind is Kind.TEXT
    assert preview.text.startswith("<svg")
