"""Makes `docs/llms.txt`, the map of these pages for programs that read (llmstxt.org): ``python docs/llms.py`` writes it anew.

It is also a hook of MkDocs, by which the site has every page as Markdown, too: that is what the map links to.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).parent
MAP = DOCS / "llms.txt"
SUMMARY = (
    "Tracelet is one Python API for ML artifacts (models, checkpoints, datasets, images, reports) over MLflow, Weights & Biases, ClearML, Aim, "
    "a bucket and a local directory. A program names an artifact once, and Tracelet stores it in the backends that suit its type. Any program finds "
    "it again by name, version, alias or digest, and gets the same bytes, each file verified by its sha256. What a tracker does not take waits on "
    "disk and is delivered later. Tracelet stores artifacts alone: metrics and parameters go to the trackers by their own APIs."
)
#: What is no paragraph: titles, lists, tables, code, comments, pictures, and notes.
_NO_PARAGRAPH = ("#", "*", "- ", "|", "```", "<", "![", "!!!", "    ", "???")
_SENTENCE = re.compile(r".+?[.?!](?=\s|$)", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])")


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page of the nav, with the tab that it is in."""
    for tab in yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text())["nav"]:
        for title, inside in tab.items():
            for page in _pages(inside):
                yield title, page


def _pages(inside: Any) -> Iterator[str]:
    """Yield the pages of a part of the nav: it is a page, or a list of parts, which may have titles."""
    if isinstance(inside, str):
        yield inside
    else:
        for part in inside.values() if isinstance(inside, dict) else inside:
            yield from _pages(part)


def title_and_sentence(page: str) -> tuple[str, str]:
    """Return the title of a page and its first sentence; an empty one where it has no text yet."""
    title, *paragraphs = re.split(r"\n\n+", (DOCS / page).read_text().removeprefix("# "))
    told = next((one for one in paragraphs if one and not one.startswith(_NO_PARAGRAPH)), "")
    sentence = _SENTENCE.match(" ".join(told.split()))
    return title.strip(), _LINK.sub(r"\1", sentence.group() if sentence else told).rstrip(":")


def text() -> str:
    """Return the map of all pages."""
    lines = ["# Tracelet", "", f"> {SUMMARY}"]
    last = ""
    for tab, page in pages():
        if tab != last:
            lines += ["", f"## {tab}", ""]
            last = tab
        title, sentence = title_and_sentence(page)
        lines.append(f"- [{title}]({page})" + (f": {sentence}" if sentence else ""))
    return "\n".join(lines) + "\n"


def on_post_build(config: Any) -> None:
    """Put every page beside its HTML as it was written. MkDocs calls it."""
    for _, page in pages():
        target = Path(config["site_dir"]) / page
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DOCS / page, target)


if __name__ == "__main__":
    MAP.write_text(text())
