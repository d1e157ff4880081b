"""`tracelet doctor`: check what is in order and what is not, and advise what to do."""

from __future__ import annotations

import click

from tracelet.cli.options import as_json, backends, directory_of, settings_of, tracelet_dir
from tracelet.cli.screen import line, progress, tell_json
from tracelet.core.maintenance.doctor import Verdict, check_up
from tracelet.core.plugins.registry import registry

__all__ = ["doctor"]

_STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.WRONG: "red"}


@click.command(epilog="Example: tracelet doctor --backend mlflow")
@backends
@tracelet_dir
@as_json
def doctor(backend: tuple[str, ...], folder: str | None, as_json: bool) -> int:
    """Check every configured backend, the tracelet directory, the store and the outbox.

    The exit code is 1 if something is wrong. The command waits for a backend no longer than TRACELET_OPEN_TIMEOUT
    plus twice TRACELET_DEADLINE.
    """
    settings = settings_of(folder, backend)
    directory = directory_of(settings)
    with progress(f"asking {', '.join(settings.backend)}"):
        checks = check_up(directory, settings, registry())
    wrong = any(check.verdict is Verdict.WRONG for check in checks)
    if as_json:
        plain = [
            {"subject": one.subject, "verdict": one.verdict.value, "detail": one.detail, "advice": one.advice}
            for one in checks
        ]
        tell_json({"directory": str(directory), "ok": not wrong, "checks": plain})
        return int(wrong)
    for check in checks:
        line(f"{check.verdict.value:5}  {check.subject}: {check.detail}", _STYLES[check.verdict])
        if check.advice:
            line(f"       {check.advice}")
    return int(wrong)
