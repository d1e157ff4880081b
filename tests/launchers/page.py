"""The programs and commands of `docs/how-to/many-machines.md`, as printed."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "many-machines.md").read_text()
#: "`path`" at the beginning of a line that ends with a colon, and the block after it.
_FILE = re.compile(r"^`(?P<path>[\w.]+)`[^\n]*:\n\n```\w+\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def programs() -> dict[str, str]:
    """The files of the page, by their names."""
    return {block["path"]: block["code"] for block in _FILE.finditer(_PAGE)}


def asking_again() -> str:
    """The line by which a preempted job asks Slurm to start it again."""
    (line,) = re.findall(r'`(subprocess\.run\(\["scontrol".*?)`', _PAGE)
    return line


def lines_of_shell() -> list[str]:
    """The commands of the page."""
    without = _FILE.sub("", _PAGE)
    return [line for block in re.findall(r"```bash\n(.*?)```", without, re.DOTALL) for line in block.splitlines()]
