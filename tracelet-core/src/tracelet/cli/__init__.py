"""The `tracelet` command. It needs the extra `cli`, and says so where that is missing."""

from __future__ import annotations

import json
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and end the process with its exit code."""
    try:
        from tracelet.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich"}:
            raise
        message = f"the command needs {error.name}: pip install 'tracelet-core[cli]'"
        sys.stderr.write(f"error: {message}\n")
        if "--json" in sys.argv[1:]:
            sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, "message": message}}) + "\n")
        sys.exit(2)
    sys.exit(run())
