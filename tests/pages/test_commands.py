"""What a page leaves to its reader to run is at least said rightly: each command of ours is one that there is."""

from __future__ import annotations

import shlex

import click
import pytest

from pages.blocks import DOCS, blocks
from tracelet.cli.app import app

COMMANDS = [
    line
    for page in sorted(DOCS.rglob("*.md"))
    for block in blocks(page)
    if block.language == "bash" and block.why
    for line in block.code.splitlines()
    if line.startswith("tracelet ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_that_is_not_run_can_be_said(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    parent = click.Context(app)
    command = app.get_command(parent, name)
    assert command is not None
    with command.make_context(name, arguments, parent=parent) as context:
        assert context.params
