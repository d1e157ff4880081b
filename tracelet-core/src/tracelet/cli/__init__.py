"""The `tracelet` command. It needs the extra `cli`, and says so if the extra is missing."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import NoReturn

from tracelet.core.system.platforms import check_platform
from tracelet.exceptions import ConfigError

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and end the process with its exit code."""
    _settle_streams()
    try:
        check_platform()
        from tracelet.cli.app import run
    except ConfigError as error:
        _refuse(error, str(error))
    except KeyboardInterrupt as error:
        _refuse(error, "interrupted before it began.", 130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "click":
            raise
        _refuse(error, f"the command needs {error.name}: pip install 'tracelet-core[cli]'")
    sys.exit(run())


def _settle_streams() -> None:
    """Give the process the streams that whoever started it has closed, and let no character end it that a stream cannot take."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The next file that is opened would have its number, and get what is written for people.
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115, PTH123 - it stays open
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _refuse(error: BaseException, message: str, code: int = 2) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, "message": message}}) + "\n")
    sys.exit(code)
