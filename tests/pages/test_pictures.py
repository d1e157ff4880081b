"""The picture of a terminal shows what the commands print today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from pages.blocks import DOCS

#: What is another one each time.
TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def test_the_terminal_shows_what_the_commands_print_today(tmp_path: Path) -> None:
    made = runpy.run_path(str(DOCS / "pictures" / "terminal.py"))
    drawn = made["picture"](made["printed"](tmp_path))
    told = "say: python docs/pictures/terminal.py"
    assert TIMES.sub("TIME", drawn) == TIMES.sub("TIME", made["PICTURE"].read_text()), told
