"""Check the built site: every link leads to a file of it, and to an anchor that is there. `python docs/links.py site`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: The attributes of a tag that lead somewhere.
_LINKS = ("href", "src")


class _Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[int, str]] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag leads to, and what leads to it."""
        given = dict(attrs)
        self.links += [(self.getpos()[0], given[name] or "") for name in _LINKS if name in given]
        self.anchors |= {given[name] or "" for name in ("id", "name") if name in given}


def wrong(site: Path) -> Iterator[str]:
    """Yield what is wrong with each link that leads nowhere."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.resolve().rglob("*.html"))}
    for path, page in pages.items():
        for line, link in page.links:
            why = _refused(link) if urlsplit(link).scheme else _missing(site.resolve(), path, link, pages)
            if why:
                yield f"{path}:{line}: {link!r} {why}"


def _refused(link: str) -> str:
    """Return what is wrong with a link that leads elsewhere. Nobody asks whether its page is there."""
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme != "https":
        return "is no https URL"
    return "" if "." in parts.netloc and not set(link) & set(" <>`\"'") else "is no URL"


def _missing(site: Path, path: Path, link: str, pages: Mapping[Path, _Page]) -> str:
    parts = urlsplit(link)
    place = unquote(parts.path)
    # Only the page for what is missing, which is shown in any folder, says where things are from the root on.
    if path == site / "404.html":
        target = site / place.lstrip("/")
    else:
        target = (path.parent / place).resolve() if place else path
    target = target / "index.html" if target.is_dir() else target
    if not (target.is_relative_to(site) and target.is_file()):
        return "is not there"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "has no such anchor"
    return ""


if __name__ == "__main__":
    site = Path(sys.argv[1])
    found = list(wrong(site)) if (site / "index.html").is_file() else [f"{site} has no pages: build it first"]
    print("\n".join(found) or "Every link leads somewhere.")  # noqa: T201 - it is a program
    sys.exit(bool(found))
