"""HTML made of parts. Text becomes HTML by being escaped, and in no other way."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import attrs

__all__ = ["Html", "element", "table"]

#: What no page may hold: halves of characters, control characters but tabs and ends of lines, and those that turn round the
#: text around them, so that it reads as another.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: Elements that have no content.
_EMPTY = frozenset({"img"})


@attrs.frozen
class Html:
    """Markup. Only this package's own code makes it; what comes from anywhere else is text."""

    markup: str


def element(tag: str, *content: Html | str, **attributes: str) -> Html:
    """Return an element. What is text in its content and in its attributes is escaped.

    An attribute that is a word of Python has an underscore at its end, and others have one for each hyphen.

    Example:
        >>> element("b", "1 < 2", class_="sum").markup
        '<b class="sum">1 &lt; 2</b>'
    """
    inside = "".join(one.markup if isinstance(one, Html) else _escaped(one) for one in content)
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{_escaped(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{given}>" if tag in _EMPTY else f"<{tag}{given}>{inside}</{tag}>")


def table(header: Sequence[str], rows: Iterable[Sequence[Html | str]]) -> Html:
    """Return a table with a header.

    Example:
        >>> table(["a"], [["<"]]).markup
        '<table><thead><tr><th scope="col">a</th></tr></thead><tbody><tr><td>&lt;</td></tr></tbody></table>'
    """
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("table", element("thead", head), element("tbody", *body))


def _escaped(text: str) -> str:
    return html.escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", text))
