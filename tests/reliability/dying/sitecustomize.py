"""Kills its own process before its n-th deed that outlives it: a file made, moved or removed, a connection, a process begun.

`DYING` is `<role>:<n>`; the role is `lane` for a lane's process, else `program`. One process dies, and those that come after it live,
until the file `<DYING_COUNT>.died` is gone. With `n` 0 it only counts: the number of deeds is in the file `DYING_COUNT`. A count says
the same on every machine, however busy.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys

_DEEDS = {
    *("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "os.chmod", "os.truncate", "os.symlink"),
    *("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.posix_spawn", "os.kill"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Counter:
    def __init__(self, last: int, told: str) -> None:
        self._last = last
        self._died = f"{told}.died"
        self._count = 0
        descriptor = os.open(told, os.O_RDWR | os.O_CREAT)
        os.truncate(descriptor, 8)
        self._told = mmap.mmap(descriptor, 8)
        os.close(descriptor)

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _DEEDS and not (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        self._count += 1
        self._told[:] = self._count.to_bytes(8, "little")
        if self._count == self._last and not os.path.exists(self._died):
            os.close(os.open(self._died, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)


_role, _, _at = os.environ.get("DYING", "").partition(":")
if _role == ("lane" if "tracelet.worker" in sys.orig_argv else "program"):
    sys.addaudithook(_Counter(int(_at), os.environ["DYING_COUNT"]).see)
