"""`tracelet verify`: read stored versions back, and compare every byte."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from tracelet.cli.failing import plain, words, words_of
from tracelet.cli.finding import asked, find, opened, which
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, note, progress, size, tell_json
from tracelet.core.artifacts.verified import Verification
from tracelet.core.management.verification import Found, find_versions
from tracelet.core.management.verification import verify as verify_versions
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.system.messages import many

__all__ = ["verify"]

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _since(context: click.Context, option: click.Parameter, text: str | None) -> float:
    """Return the moment, in seconds since the epoch."""
    if text is None:
        return 0.0
    if age := _AGE.fullmatch(text):
        return time.time() - int(age[1]) * _SECONDS[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (OverflowError, ValueError):
        raise click.BadParameter(
            f"{text!r}: give an age such as 12h or 7d, or a time such as 2026-05-01 or 2026-05-01T09:30:00Z."
        ) from None


@click.command(epilog="Example: tracelet verify digits net@best; tracelet verify digits --since 7d")
@click.argument("experiment")
@click.argument("artifact", metavar="[NAME[@VERSION]]", required=False)
@click.option(
    "--since",
    metavar="AGE|TIME",
    callback=_since,
    help="Only versions logged since then: an age such as 7d, or a time such as 2026-05-01T09:30:00Z.",
)
@backends
@tracelet_dir
@as_json
def verify(
    experiment: str,
    artifact: str | None,
    since: float,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Read every byte of every version back from each backend that holds it, and compare it with its sha256.

    The oldest version comes first. A few files at a time go into a folder of the tracelet directory, and are deleted
    again. References to content outside are counted, and not read. An interrupted command says with which --since it
    goes on. The exit code is 1 if a file is damaged or missing, or if a backend fails.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    name, version = which(artifact) if artifact else (None, None)
    with opened(experiment, settings) as finder, progress("listing") as bar:
        found, failed = find_versions(finder, name, version if name != artifact else None, since)
        if artifact and not found and not failed and not since:
            find(finder, artifact, experiment, directory, settings)
        at = _Progress(found)

        def told(stored: StoredArtifact, size_bytes: int) -> None:
            at.take(stored, size_bytes)
            bar.update(str(at), total=len(found), done=at.done)

        try:
            done = verify_versions(finder, found, failed, told)
        except KeyboardInterrupt:
            note(f"{at.done} of {len(found)} versions were read; to go on, say the same with {_again(at.moment)}")
            raise
    if as_json:
        tell_json({"experiment": experiment, **_plain(done)})
    elif found or failed:
        whole = f"{many(done.files, 'file', 'files')} ({size(done.size_bytes)}) of {many(done.versions, 'version', 'versions')}"
        line(f"{whole} {'is' if done.files == 1 else 'are'} whole", "green" if done.ok else "")
    if not found and not failed:
        note(f"no such version is stored in {asked(experiment, directory, settings)}")
    _tell(done)
    return int(not done.ok)


class _Progress:
    """How far the reading is."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._total = sum(stored.manifest.size_bytes for _, stored in found)
        self._bytes = 0
        self._stored: StoredArtifact | None = None
        self._begun = 0
        #: When the version that is being read was logged.
        self.moment = 0.0

    @property
    def done(self) -> int:
        """How many versions were read."""
        return max(0, self._begun - 1)

    def take(self, stored: StoredArtifact, size_bytes: int) -> None:
        """Take note of bytes that were read, or, without any, of a version that is begun."""
        self._begun += stored is not self._stored
        self._stored = stored
        self.moment = stored.manifest.created_at
        self._bytes += size_bytes

    def __str__(self) -> str:
        assert self._stored is not None
        reading = f"{self._stored.manifest.name} {self._stored.version}"
        return f"reading {reading}: {size(self._bytes)} of {size(self._total)}"


def _tell(done: Verification) -> None:
    """Say what is wrong, on stderr."""
    if done.outside:
        note(f"{many(done.outside, 'reference points', 'references point')} at content outside, which is not verified")
    for one in done.wrong:
        fail(f"{one.name} {one.version} in {one.backend}: {words(one.error)}")
    for backend, error in done.failed.items():
        fail(words_of(backend, error))
    if done.unread_since is not None:
        unread = many(done.unread, "version was not read", "versions were not read")
        note(f"{unread}; to go on, say the same with {_again(done.unread_since)}")


def _again(moment: float) -> str:
    """Return the option with which the command goes on at a version that was logged then."""
    return f"--since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(moment))}"


def _plain(done: Verification) -> dict[str, Any]:
    return {
        "ok": done.ok,
        "versions": done.versions,
        "files": done.files,
        "size_bytes": done.size_bytes,
        "outside": done.outside,
        "wrong": [
            {
                "name": one.name,
                "version": one.version,
                "backend": one.backend,
                "path": one.path,
                "size_bytes": one.size_bytes,
                "missing": one.is_missing,
                **plain(one.error),
            }
            for one in done.wrong
        ],
        "failed": {backend: plain(error) for backend, error in done.failed.items()},
        "unread": done.unread,
        "unread_since": done.unread_since,
    }
