"""From plain data to the page: one HTML file that asks nobody for anything, and in which only our own script runs."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

__all__ = ["page"]

_MARK = re.compile(r"\{\{(\w+)\}\}")


def page(data: dict[str, Any]) -> str:
    """Return the page that shows what :func:`~tracelet.core.reporting.contents.contents` gave.

    The data is text in an element that no browser runs. The page's policy allows this script and this style, by their
    sha256, and images, sounds and videos that the page itself holds.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(f"{data['experiment']}: Tracelet report"),
        "style": style,
        # Nothing in it can end the element.
        "data": json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script,
    }
    return _MARK.sub(lambda mark: parts[mark[1]], _part("page.html"))


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
