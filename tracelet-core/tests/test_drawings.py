"""A drawing in SVG is shown as a picture where it is drawn in a bounded time, and as text where it is not."""

from __future__ import annotations

import base64
import io
import struct
import time
from pathlib import Path

import pytest

from tracelet.core.display.drawings import MOST_SHAPES, is_drawable
from tracelet.core.display.previews import Kind, preview_of


def svg(inside: str, more: str = "") -> bytes:
    head = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {head} {more}>{inside}</svg>".encode()


def embedded(width: int, height: int) -> str:
    """A picture in a drawing, as far as its header."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
    return f"data:image/png;base64,{base64.b64encode(head).decode()}"


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
        svg(f'<image href="{embedded(300, 200)}"/><a href="#none"><text>data</text></a>'),
        svg(f'<image id="i" href="{embedded(300, 200)}"/>' + '<use href="#i"/>' * 100),
        svg('<image href="data:image/gif,GIF89a%01%00%01%00%00%00%00%2C%00%00%00%00%01%00%01%00"/>'),
        svg('<marker id="m"><path d="M0 0"/></marker><path d="M0 0L9 9L1 1" marker-end="url(#m)"/><g id=""/>'),
        svg(levels(4)),
        svg(
            '<path stroke-dasharray="none" d="M0 0h9"/><path style="stroke-dasharray: 5, 2.5; fill: none" d="M0 0h900"/>'
        ),
        svg('<polyline stroke-dasharray="4 2" points="0,0 900,900"/><path stroke-dasharray="1" d=""/>'),
        svg('<clipPath id="c"><rect/></clipPath><clipPath id="d"><path d="M0 0h9v9z"/></clipPath>'),
        svg('<g clip-path="url(#c)" style="mask: url(#m)"><rect fill="url(#g)"/></g>'),
        svg('<g xmlns:i="urn:i" i:file="C:\\plots\\a.svg"/>'),
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
        svg("<style>rect { fill: u&#114;l(#a) }</style>"),
        svg("<style>rect { fill: u<![CDATA[rl(#a)]]> }</style>"),
        svg('<rect style="fill: u\\72l(#a)"/>'),
        svg('<rect clip-path="\\75rl(#a)"/>'),
        svg('<use href="#%61"/><g id="a"/>'),
        svg('<g style="--a: url(#a)"><rect style="fill: var(--a)"/></g>'),
        svg('<g fill="url(#a)">' + "<rect/>" * 9 + "</g>"),
        svg('<use style="fill: url(#a)" href="#b"/>'),
        svg('<text style="text-shadow: 0 0 999px"/>'),
        svg('<rect filter="blur(999px)"/>'),
        svg("<style>* { text-shadow: 0 0 999px }</style>"),
        svg('<path d="M0 0' + "c9 0 0 9 9 9" * 20_000 + '"/>'),
        svg('<path stroke-dasharray="0.001" d="M0 0h1e7"/>'),
        svg('<path style="STROKE-DASHARRAY: 0.001" d="M0 0h1e7"/>'),
        svg('<path style="stroke-dasharray/**/: 0.001" d="M0 0h1e7"/>'),
        svg('<path stroke-dasharray="1" d="M0 0' + "h900" * 10_000 + '"/>'),
        svg('<path id="p" stroke-dasharray="5" d="M0 0h90000"/>' + '<use href="#p"/>' * 900),
        svg('<path stroke-dasharray="5px" d="M0 0h9"/>'),
        svg('<path stroke-dasharray="0" d="M0 0h9"/>'),
        svg('<path stroke-dasharray="5" d="M0 0h1e999"/>'),
        svg('<path stroke-dasharray="5" pathLength="1e9" d="M0 0h9"/>'),
        svg('<g stroke-dasharray="5"/>'),
        svg('<clipPath id="c"><path d="M0 0h9v9z"/><path d="M1 1h9v9z"/></clipPath>'),
        svg('<clipPath id="c"><path clip-path="url(#d)"/></clipPath>'),
        svg('<clipPath id="c" style="CLIP-PATH: url(#d)"/>'),
        svg("<style>* { stroke-dasharray: 0.001 }</style>"),
        svg('<image href="data:image/svg+xml,%3Csvg/%3E"/>'),
        svg(f'<image href="{embedded(60_000, 60_000)}"/>'),
        svg(f'<image href="{embedded(6_000, 6_000)}"/>' * 2),
        svg(f'<image id="i" href="{embedded(6_000, 6_000)}"/><use href="#i"/>'),
        svg('<image href="data:image/png;base64,AAABAAEA"/>'),
        svg('<image href="data:image/png;base64,A"/>'),
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
        svg("<style>" + "a" * 300_000 + "</style>" + "<style></style>" * 40_000),
        svg('<path stroke-dasharray="' + "1 " * 200_000 + '" d="' + "1 " * 200_000 + '"/>'),
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
    axes[0, 0].plot(range(500), "o--", label="loss")
    axes[0, 0].grid(linestyle=":")
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
    assert preview.left_out == "as text: drawing it could take long"
