"""An Aim server of this machine, seen as if it were on another one."""

from __future__ import annotations

import socket

from servers.faulty_proxy import FaultyProxy


class Elsewhere(FaultyProxy):
    """A way to a server as if it were on another machine: what it says of its folder is not so here."""

    def __init__(self, behind: int, folder: str) -> None:
        super().__init__(behind)
        self._folder = folder.encode()
        self._other = self._folder[:-4] + b"away"

    def _pump(self, source: socket.socket, target: socket.socket, inwards: bool) -> None:
        if inwards:
            super()._pump(source, target, inwards)
            return
        try:
            while block := source.recv(1 << 20):
                target.sendall(block.replace(self._folder, self._other))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
