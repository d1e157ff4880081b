"""A door before a server that lets clients through, or does what a failing server does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType


class FaultyProxy:
    """`mode` is what becomes of requests.

    `pass`, `refused`, `hang`, an HTTP status such as `503` that answers every one, or what becomes of the answers: `slow`, a few
    bytes at a time; `reset`, broken off in the middle; `corrupt`, one bit of every block changed.
    `requests` has the first line of each one that went through. `garbles` is the number of the one, counted from 1, whose
    answer comes back as what is no JSON, and `drops` that from which on one answer does not come back.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._after: tuple[int, Callable[[], None]] | None = None
        self._at: tuple[int, Callable[[], None]] | None = None
        self._damage: tuple[bytes, int] | None = None
        #: A status and a body that answer every request, until it is None.
        self.answers: tuple[int, bytes] | None = None
        self.requests: list[str] = []
        self.garbles = self.drops = 0
        self.port = 0
        self.mode = "pass"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def after(self, count: int, call: Callable[[], None]) -> None:
        """Call once when so many more bytes have gone to the server."""
        self._after = (count, call)

    def at(self, count: int, call: Callable[[], None]) -> None:
        """Call once when so many more requests have come, before the last of them goes to the server."""
        self._at = (len(self.requests) + count, call)

    def damage(self, what: bytes, times: int) -> None:
        """Change the last bit of these bytes on their way to the server, so often as they come by."""
        self._damage = what, times

    def set(self, mode: str) -> None:
        """Change what happens, to connections that are open as well."""
        self.mode = mode
        if mode == "refused":
            self._close()
        elif self._listener is None:
            self._listen()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> FaultyProxy:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set("refused")

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, contextlib.suppress(OSError):
            if self.answers is not None:
                self._say(client, *self.answers)
            elif self.mode in {"pass", "slow", "reset", "corrupt"}:
                with socket.create_connection(("127.0.0.1", self._behind)) as server:
                    self._open.add(server)
                    back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
                    back.start()
                    self._pump(client, server, True)
                    back.join()
                    self._open.discard(server)
            elif self.mode == "hang":
                while client.recv(1 << 16):
                    pass
            else:
                self._say(client, int(self.mode), b"no")
        self._open.discard(client)

    def _say(self, client: socket.socket, status: int, body: bytes) -> None:
        client.recv(1 << 16)
        client.sendall(
            b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)
        )

    def _request(self, block: bytes) -> bytes:
        """Note a request that begins here, and return what goes to the server."""
        line, _, _ = block.partition(b"\r\n")
        if line.endswith(b" HTTP/1.1"):
            self.requests.append(line.decode("latin-1").removesuffix(" HTTP/1.1"))
            if self._at is not None and self._at[0] <= len(self.requests):
                (_, call), self._at = self._at, None
                call()
        if self._damage is not None:
            what, times = self._damage
            if times and what in block:
                self._damage = what, times - 1
                return block.replace(what, what[:-1] + bytes([what[-1] ^ 1]))
        return block

    def _answer(self, block: bytes, client: socket.socket) -> bool:
        """Send a part of an answer; say whether there may be more of it."""
        if self.mode == "slow":
            for start in range(0, len(block), 64):
                time.sleep(0.01)
                client.sendall(block[start : start + 64])
        elif self.mode == "reset":
            client.sendall(block[: len(block) // 2])
            # To close a socket that lingers for no time is to reset its connection.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Who still waits for a request would keep it open.
            client.shutdown(socket.SHUT_RD)
            client.close()
            return False
        elif self.mode == "corrupt":
            middle = len(block) * 3 // 4
            client.sendall(block[:middle] + bytes([block[middle] ^ 1]) + block[middle + 1 :])
        elif 0 < self.drops <= len(self.requests):
            self.drops = 0
            client.shutdown(socket.SHUT_RDWR)
            return False
        elif self.garbles == len(self.requests):
            client.sendall(block.replace(b"{", b"z"))
        else:
            client.sendall(block)
        return True

    def _pump(self, source: socket.socket, target: socket.socket, inwards: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                if inwards:
                    target.sendall(self._request(block))
                elif not self._answer(block, target):
                    return
                if inwards and self._after is not None:
                    left, call = self._after
                    self._after = (left - len(block), call) if left > len(block) else None
                    if self._after is None:
                        call()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
