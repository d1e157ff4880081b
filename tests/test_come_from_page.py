"""`docs/how-to/come-from-another-api.md`: each call that it gives for another API's runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from tracelet.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "come-from-another-api.md").read_text()
#: What a span of code in the last column begins with, where it is to be run.
RUN = ("exp.", "with exp.", "art", "tracelet ")


def sections() -> dict[str, list[str]]:
    """By heading, the code in the last column of its table."""
    found = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        if heading.startswith("From "):
            rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
            cells = [row.rsplit(" | ", 1)[1] for row in rows]
            found[heading] = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    return found


def test_every_api_has_its_section() -> None:
    assert set(sections()) == {"From W&B", "From MLflow", "From ClearML", "From Aim", "From DVC"}


@pytest.mark.parametrize("heading", sections())
def test_every_call_that_is_given_runs_after_those_above_it(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("readme.txt").write_text("what is in it")
    Path("data").mkdir()
    Path("data/a.txt").write_text("one")
    space = {"model": LogisticRegression().fit([[0], [1]], [0, 1])}
    (begin, *_) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    exec(begin, space)
    spans = [span for span in sections()[heading] if span.startswith(RUN)]
    assert len(spans) >= 3
    try:
        for span in spans:
            if span.startswith("tracelet "):
                assert app.main(shlex.split(span)[1:], standalone_mode=False) in (None, 0), span
            else:
                exec(span, space)
    finally:
        space["exp"].stop()
