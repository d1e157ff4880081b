"""`tracelet completion`: the script by which a shell completes the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tracelet.cli.screen import tell

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog="Example: tracelet completion zsh > ~/.tracelet-completion, and source that file in ~/.zshrc")
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Write the script by which a shell completes commands and options of tracelet.

    \b
    bash: put  eval "$(tracelet completion bash)"   into ~/.bashrc
    zsh:  put  eval "$(tracelet completion zsh)"    into ~/.zshrc
    fish: run  tracelet completion fish > ~/.config/fish/completions/tracelet.fish
    """
    root = context.find_root()
    made = get_completion_class(shell)
    assert made is not None
    tell(made(root.command, {}, "tracelet", "_TRACELET_COMPLETE").source())
