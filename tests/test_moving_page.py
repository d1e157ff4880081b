"""The page about moving: its commands are commands of ours, and its Python runs as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tracelet.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "moving.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_page_can_be_said(line: str) -> None:
    program, name, *arguments = shlex.split(line)
    assert program == "tracelet"
    parent = click.Context(app)
    command = app.get_command(parent, name)
    assert command is not None
    with command.make_context(name, arguments, parent=parent) as context:
        assert context.params


def test_the_python_of_the_page_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "moving.md", "exec"), {})
        printed = [one.partition("#")[2].strip() for one in block.splitlines() if one.startswith("print(")]
        assert capsys.readouterr().out.splitlines() == printed
