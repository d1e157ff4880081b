"""The programs and commands of the pages about launchers, as printed."""

from __future__ import annotations

import re

from pages.blocks import DOCS, blocks

_PAGES = [DOCS / "how-to" / name for name in ("many-machines.md", "run-on-slurm.md")]
_BLOCKS = [block for page in _PAGES for block in blocks(page)]


def programs() -> dict[str, str]:
    """The files of the pages, by their names."""
    return {block.title: block.code for block in _BLOCKS if block.title}


def asking_again() -> str:
    """The line by which a preempted job asks Slurm to start it again."""
    text = "".join(page.read_text() for page in _PAGES)
    (line,) = re.findall(r'`(subprocess\.run\(\["scontrol".*?)`', text)
    return line


def lines_of_shell() -> list[str]:
    """The commands of the pages."""
    commands = [block for block in _BLOCKS if block.language == "bash" and not block.title]
    return [line for block in commands for line in block.code.splitlines()]
