"""Backends that misbehave, each in its own way: for tests of what stands around a backend.

Name this module as an entry point (see :func:`tracelet.testing.installed`) and they are there, as
``faulty-<deed>-in-<method>`` or as the table :data:`DEEDS` says. Beneath the misdeed each is the embedded backend,
in the tracelet directory: what it stores can be read back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from tracelet.core.plugins.registry import registry
from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import (
    ArtifactType,
    Backend,
    BackendContext,
    BackendSpec,
    Labels,
    NoSettings,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    hookimpl,
)

__all__ = ["DEEDS", "AwaySettings", "Outburst", "tracelet_backends"]

_FOR_EVER = 10_000.0
#: What the children that are left behind sleep for, so that a test can tell them.
LITTER_SECONDS = "987654"


@attrs.frozen
class AwaySettings:
    """``TRACELET_FAULTY_AWAY_FLAG`` is a file: while it is there, the backend is away."""

    flag: str = ""


class Outburst(BaseException):
    """An exception that ``except Exception`` does not catch."""


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("this error cannot even be printed")


def _sleep() -> None:  # pragma: no cover - its process is killed, and measures nothing
    time.sleep(_FOR_EVER)


def _ignore_signals_and_sleep() -> None:  # pragma: no cover - as above
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(_FOR_EVER)


def _crash() -> None:  # pragma: no cover - as above
    os._exit(3)


def _chatter() -> None:
    os.write(1, b'{"kind": "value", "value": null}\n' * 3)
    sys.stdout.write("and this by print\n")
    sys.stdout.flush()


def _garble() -> None:  # pragma: no cover - as above
    """Write rubbish into every pipe there is, the one to the user's process among them."""
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, b"\x00 this is no answer {[\n")


def _litter() -> None:
    """Start children that outlive the request: one here, one in a session of its own with all pipes inherited."""
    for apart in (False, True):
        subprocess.Popen(["sleep", LITTER_SECONDS], start_new_session=apart, close_fds=not apart)


def _flood() -> None:
    for _ in range(400):
        os.write(2, b"x" * 49_999 + b"\n")


def _pause() -> None:
    time.sleep(0.3)


def _raise(error: BaseException) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


#: By name: the method in which it is done, what is done, and whether before or after the method's own work.
DEEDS: Mapping[str, tuple[str, Callable[[], None], bool]] = {
    "faulty-sleeps-in-open": ("open", _sleep, False),
    "faulty-sleeps-in-start": ("start", _sleep, False),
    "faulty-sleeps-in-put": ("put", _sleep, False),
    "faulty-sleeps-after-put": ("put", _sleep, True),
    "faulty-sleeps-in-find": ("find", _sleep, False),
    "faulty-sleeps-in-list": ("list", _sleep, False),
    "faulty-sleeps-in-stop": ("stop", _sleep, False),
    "faulty-ignores-signals": ("put", _ignore_signals_and_sleep, False),
    "faulty-crashes-in-open": ("open", _crash, False),
    "faulty-crashes-in-put": ("put", _crash, False),
    "faulty-crashes-after-put": ("put", _crash, True),
    "faulty-chatters": ("put", _chatter, False),
    "faulty-garbles": ("put", _garble, False),
    "faulty-litters": ("put", _litter, False),
    "faulty-floods": ("put", _flood, False),
    "faulty-exits": ("put", _raise(SystemExit(4)), False),
    "faulty-interrupts": ("put", _raise(KeyboardInterrupt()), False),
    "faulty-bursts": ("put", _raise(Outburst("burst")), False),
    "faulty-unspeakable": ("put", _raise(_Unspeakable()), False),
    "faulty-divides": ("put", _raise(ZeroDivisionError("it divides")), False),
    "faulty-is-slow": ("every", _pause, False),
}


@attrs.define
class _Faulty:
    """The embedded backend, with a misdeed in one of its methods."""

    inner: Backend
    method: str
    deed: Callable[[], None]
    after: bool

    @contextlib.contextmanager
    def _in(self, method: str) -> Iterator[None]:
        does = self.method in {method, "every"}
        if does and not self.after:
            self.deed()
        yield
        if does and self.after:  # pragma: no cover - who does it then does not come back
            self.deed()

    def start(self, run: RunInfo) -> None:
        with self._in("start"):
            self.inner.start(run)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        with self._in("put"):
            return self.inner.put(sealed, labels)

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        with self._in("find"):
            return self.inner.find(name, ref)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        with self._in("fetch"):
            self.inner.fetch(stored, paths, dest)

    def stop(self, *, failed: bool) -> None:
        with self._in("stop"):
            self.inner.stop(failed=failed)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterable[StoredArtifact]:
        with self._in("list"):
            return tuple(self.inner.list(name=name, type=type))


def _embedded(experiment: str, context: BackendContext) -> Backend:
    local = registry().backends.get("local")
    return local.open(experiment, NoSettings(), context)


def _spec(name: str, method: str, deed: Callable[[], None], after: bool) -> BackendSpec:
    def open_it(experiment: str, settings: NoSettings, context: BackendContext) -> Backend:
        if method in {"open", "every"}:
            deed()
        return _Faulty(_embedded(experiment, context), method, deed, after)

    return BackendSpec(name=name, open=open_it, summary="It misbehaves.")


def _open_away(experiment: str, settings: AwaySettings, context: BackendContext) -> Backend:
    def refuse() -> None:
        if settings.flag and Path(settings.flag).exists():
            raise BackendUnavailable("it is away, says its flag.")

    refuse()
    return _Faulty(_embedded(experiment, context), "every", refuse, False)


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide the misbehaving ones, and ``faulty-away``, which works unless its flag is up."""
    away = BackendSpec(name="faulty-away", open=_open_away, settings=AwaySettings, summary="Away on demand.")
    return [*(_spec(name, *what) for name, what in DEEDS.items()), away]
