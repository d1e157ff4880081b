"""What the tests measured, as the table in `docs/reliability.md`."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

_TABLE = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


class Figures:
    """Rows of what was done and what came of it."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def add(self, what: str, figures: dict[str, object]) -> None:
        """Note one row."""
        self._rows.append((what, ", ".join(f"{value} {name}" for name, value in figures.items())))

    def write(self, page: Path) -> None:
        """Put the rows into a page, between its marks."""
        machine = f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {platform.system()}"
        lines = [f"Made on {machine}.\n", "| what was done | what came of it |", "| --- | --- |"]
        lines += [f"| {what} | {came} |" for what, came in self._rows]
        table = "\n".join(lines) + "\n"
        page.write_text(_TABLE.sub(lambda marks: marks[1] + table + marks[2], page.read_text()))
