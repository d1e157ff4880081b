"""`docs/links.py` says of the built site which links lead nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pages.blocks import DOCS


def check(site: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(DOCS / "links.py"), str(site)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def write(site: Path, links: list[str]) -> None:
    (site / "how-to").mkdir(parents=True)
    (site / "how-to" / "log.html").write_text('<h2 id="a-file">A file</h2>')
    (site / "index.html").write_text("".join(f'<a href="{link}">x</a>\n' for link in links))


def test_links_to_pages_anchors_folders_and_other_sites_are_right(tmp_path: Path) -> None:
    links = ["how-to/log.html", "how-to/log.html#a-file", "", "#", "https://example.com/a?b=c#d", "./"]
    write(tmp_path / "site", links)
    assert check(tmp_path / "site") == (0, "Every link leads somewhere.\n")


def test_each_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    links = [
        "how-to/gone.html",
        "how-to/log.html#gone",
        "#gone",
        "../README.md",
        "/how-to/log.html",
        "http://example.com",
        "https://nowhere",
        "https://example.com/a b",
    ]
    write(tmp_path / "site", links)
    (tmp_path / "README.md").write_text("It is not in the site.")
    code, told = check(tmp_path / "site")
    assert code == 1
    assert [f"index.html:{number}: {link!r} " in told for number, link in enumerate(links, 1)] == [True] * len(links)


def test_a_site_that_was_not_built_is_not_right(tmp_path: Path) -> None:
    assert check(tmp_path)[0] == 1
