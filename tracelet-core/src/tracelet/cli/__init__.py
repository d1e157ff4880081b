"""The `tracelet` command. It needs the extra `cli`, and says so where that is missing."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and end the process with its exit code."""
    try:
        from tracelet.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich"}:
            raise
        sys.stderr.write(f"error: the command needs {error.name}: pip install 'tracelet-core[cli]'\n")
        sys.exit(2)
    sys.exit(run())
