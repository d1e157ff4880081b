"""Whoever follows a page: an empty folder, one Python for what the page types into it, and a shell."""

from __future__ import annotations

import doctest
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pages.blocks import Block
from servers.programs import clean_environment

__all__ = ["Session"]

#: Seconds that a block may take on a busy machine.
_LIMIT = 600
#: What a Python does that is given one block after another: each answer is a line.
_TYPED = """
import contextlib, io, json, sys, traceback
space = {"__name__": "__main__"}
answers = sys.stdout
for line in sys.stdin:
    name, code = json.loads(line)
    printed, failed = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, name, "exec"), space)
        except BaseException:
            failed = traceback.format_exc()
    print(json.dumps([printed.getvalue(), failed]), file=answers, flush=True)
"""
_CHECK = doctest.OutputChecker()
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Session:
    """Follows a page block by block. What fails says where."""

    def __init__(self, page: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._page = page
        self._folder = folder
        home = folder.with_name(f"{folder.name}-home")
        for one in (folder, home):
            one.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environ = clean_environment({"HOME": str(home), "PATH": path, "COLUMNS": "120", **environ})
        self._python: subprocess.Popen[str] | None = None
        self._printed: str | None = None

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        where = f"{self._page}:{block.line}"
        if block.why:
            self._printed = None
        elif block.title:
            target = self._folder / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code)
        elif block.language == "python":
            self._printed = self._type(block.code, where)
        elif block.language == "bash":
            self._printed = self._run(block.code, where)
        elif block.language == "text" and self._printed is not None:
            if not _CHECK.check_output(block.code, self._printed, _FLAGS):
                raise AssertionError(f"{where} says\n{block.code}\nand this was printed:\n{self._printed}")
            self._printed = None

    def _type(self, code: str, where: str) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-u", "-c", _TYPED],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps([where, code]) + "\n")
        self._python.stdin.flush()
        printed, failed = json.loads(self._python.stdout.readline())
        assert not failed, f"{where}\n{failed}"
        return str(printed)

    def _run(self, code: str, where: str) -> str:
        exported = self._folder.with_name(f"{self._folder.name}-exported")
        told = f"trap {shlex.quote(f'env -0 > {shlex.quote(str(exported))}')} EXIT\n{code}"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", told],
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{done.stdout}"
        # A reader has one terminal: what a block exports holds in the next ones.
        variables = (line.partition("=") for line in exported.read_text().split("\0") if line)
        self._environ = {name: value for name, _, value in variables}
        return done.stdout

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._python is not None:
            assert self._python.stdin is not None
            assert self._python.stdout is not None
            self._python.stdin.close()
            try:
                self._python.wait(_LIMIT)
            finally:
                if self._python.poll() is None:
                    os.killpg(self._python.pid, signal.SIGKILL)
                    self._python.wait()
                self._python.stdout.close()
