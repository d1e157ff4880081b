"""The measurements of the tests, as the table in `docs/why/reliability.md`."""

from __future__ import annotations

import platform
import time
from pathlib import Path

from marked import with_part


class Figures:
    """The rows of the table: each is a test and its result."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def add(self, what: str, figures: dict[str, object]) -> None:
        """Add one row."""
        self._rows.append((what, ", ".join(f"{value} {name}" for name, value in figures.items())))

    def write(self, page: Path) -> None:
        """Write the rows into a page, between its marks."""
        machine = f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {platform.system()}"
        lines = [f"Made on {machine}.\n", "| test | result |", "| --- | --- |"]
        lines += [f"| {what} | {came} |" for what, came in self._rows]
        table = "\n".join(lines) + "\n"
        page.write_text(with_part(page.read_text(), "figures", table))
