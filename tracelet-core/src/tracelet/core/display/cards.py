"""Cards: what a notebook shows of one thing. They need no script, and take their colours from the page around them."""

from __future__ import annotations

from collections.abc import Iterable

from tracelet.core.display.html import Html, element

__all__ = ["badge", "card", "copyable", "facts", "marked", "note", "number", "section"]

# Grey that lets the page shine through is seen on light and on dark ones. Notebooks have styles of their own for tables,
# which these outweigh.
_STYLE = Html("""<style>
.tracelet{border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:10px 14px;margin:4px 0;max-width:66em;
color:inherit;font-size:13px;line-height:1.45;overflow-x:auto;text-align:left}
.tracelet .tl-head{margin:0 0 6px;font-size:15px}
.tracelet .tl-kind{opacity:.7;font-size:12px;margin-left:.6em}
.tracelet .tl-section{margin:10px 0 2px;font-size:12px;font-weight:600;opacity:.7}
.tracelet p.tl-note{margin:4px 0;opacity:.75;font-size:12px;white-space:pre-line;overflow-wrap:anywhere}
.tracelet table{border-collapse:collapse;margin:0;border:0;width:auto;color:inherit;font-size:13px;table-layout:auto}
.tracelet table thead tr:nth-child(n){border-bottom:1px solid rgba(128,128,128,.45)}
.tracelet table tbody tr:nth-child(n){background:transparent;border-top:1px solid rgba(128,128,128,.16)}
.tracelet table tbody tr:nth-child(1){border-top:0}
.tracelet table tr th,.tracelet table tr td{text-align:left!important;vertical-align:top;padding:3px 14px 3px 0;border:0;
background:transparent;color:inherit;max-width:34em;overflow-wrap:anywhere;white-space:pre-line;font-weight:normal}
.tracelet table.tl-facts tr td{max-width:52em}
.tracelet table tr th{white-space:nowrap;opacity:.7}
.tracelet .tl-number{display:block;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.tracelet .tl-copy{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px;background:transparent;color:inherit;
padding:0 8px 0 0;user-select:all;-webkit-user-select:all;cursor:copy;overflow-wrap:anywhere}
.tracelet td .tl-short{display:inline-block;max-width:9em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;
vertical-align:bottom}
.tracelet .tl-badge{display:inline-block;border:1px solid rgba(128,128,128,.5);border-radius:9px;padding:0 7px;
margin:0 4px 2px 0;font-size:12px;white-space:nowrap;max-width:20em;overflow:hidden;text-overflow:ellipsis}
.tracelet .tl-bad{border-color:#d33;box-shadow:inset 0 0 0 1px #d33}
.tracelet .tl-gallery{display:flex;flex-wrap:wrap;gap:12px 20px;align-items:flex-start}
.tracelet .tl-gallery figure{margin:4px 0;max-width:100%}
.tracelet .tl-gallery figcaption{margin-top:3px;font-size:12px;opacity:.75;overflow-wrap:anywhere;max-width:32em}
.tracelet .tl-gallery img{max-height:160px;max-width:240px;background:#fff;border-radius:3px;margin:0;display:block}
.tracelet .tl-gallery video{max-height:200px;max-width:320px}
.tracelet .tl-gallery pre{max-height:160px;max-width:44em}
.tracelet pre{overflow:auto;margin:0;padding:6px 8px;font-size:12px;
line-height:1.4;font-family:ui-monospace,Menlo,Consolas,monospace;white-space:pre;background:rgba(128,128,128,.12);color:inherit;border:0;border-radius:3px}
</style>""")


def card(kind: str, title: str, *parts: Html) -> str:
    """Return the HTML of one thing: a line that says what it is, and its parts."""
    name = element("strong", title)
    head = element("div", name, element("span", kind, class_="tl-kind"), class_="tl-head")
    return element("div", _STYLE, head, *parts, class_="tracelet").markup


def facts(pairs: Iterable[tuple[str, Html | str]]) -> Html:
    """Return a table of names and what they stand for; what is empty text is left out."""
    rows = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in pairs if value)
    return element("table", element("tbody", *rows), class_="tl-facts")


def section(title: str, content: Html) -> Html:
    """Return a part with a title of its own."""
    return element("div", element("div", title, class_="tl-section"), content)


def note(text: str) -> Html:
    """Return a remark."""
    return element("p", text, class_="tl-note")


def badge(text: str, *, bad: bool = False) -> Html:
    """Return a word in a frame."""
    return element("span", text, class_="tl-badge tl-bad" if bad else "tl-badge", title=text)


def marked(text: str, *badges: str) -> Html:
    """Return text with badges behind it."""
    return element("span", text, *(part for one in badges for part in (" ", badge(one))))


def copyable(text: str, *, short: bool = False) -> Html:
    """Return text that one click selects as a whole. With ``short`` its beginning is seen, and all of it is copied."""
    return element(
        "code", text, class_="tl-copy tl-short" if short else "tl-copy", title=text if short else "click to select"
    )


def number(text: str) -> Html:
    """Return a number for the right edge of its column."""
    return element("span", text, class_="tl-number")
