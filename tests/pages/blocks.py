"""The blocks of code of a page, and what is to be done with each.

A block of `python` or `bash` runs. One with a title, as in ```` ```python title="train.py" ````, is a file of that name and is
written. A block of `text` right after one that ran is what that printed; `...` in it stands for anything. A comment
`<!-- not run: why -->` before a block leaves it alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["DOCS", "Block", "blocks"]

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<why>[^>]*?) -->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)(?:[ ]+title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@attrs.frozen
class Block:
    """One block of a page."""

    language: str
    code: str
    #: The file that it is, or "".
    title: str
    #: Why it does not run, or "".
    why: str
    #: The line of the page that it begins at.
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in its order."""
    text = page.read_text()
    for one in _BLOCK.finditer(text):
        indent = one["indent"]
        code = "".join(line.removeprefix(indent) for line in one["code"].splitlines(keepends=True))
        line = text.count("\n", 0, one.start("language")) + 1
        yield Block(one["language"], code, one["title"] or "", one["why"] or "", line)
