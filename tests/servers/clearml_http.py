"""What the two servers of a stand-in ClearML share: what they hold, who may ask, and how they fail by order."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from servers.clearml_documents import ENDPOINTS, Documents

KEY, SECRET = "test-access-key", "test-secret-key"
#: What tokens are signed with; the true server has one in its configuration, too, so that they outlive it.
_SIGN = bytearray(b"the stand-in's own")


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signature(text: str) -> str:
    return _part(hmac.digest(_SIGN, text.encode(), hashlib.sha256))


def new_token() -> str:
    """A JSON web token, as `Token` in `apiserver/service_repo/auth/payload/token.py`."""
    claims = {"exp": int(time.time()) + 86400, "api_version": "2.34", "server_version": "2.3.0", "feature_set": "basic"}
    text = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{_signature(text)}"


def expire() -> None:
    """Let no token that was given be good any more."""
    _SIGN.append(1)


def is_token(token: str) -> bool:
    """`authorize_token` in `apiserver/service_repo/auth/auth.py`; the file server asks the API server (`fileserver/auth.py`)."""
    text, _, signature = token.rpartition(".")
    return hmac.compare_digest(_signature(text), signature)


class State:
    """What both servers share: documents, files, tokens, the faults to come, and the calls that came."""

    def __init__(self, folder: Path) -> None:
        self.documents = Documents(folder / "documents")
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.faults: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def fault(self, name: str) -> dict[str, Any] | None:
        """The fault that this call meets: its `match` fits, `after` calls went well, and `times` are left."""
        wait = 0.0
        with self.lock:
            for fault in self.faults:
                if not re.search(fault["match"], name) or fault.get("times", 1) <= 0:
                    continue
                if fault.get("after", 0) > 0:
                    fault["after"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                if fault["kind"] == "becomes":
                    self.set_status(fault["task"], fault["status"])
                elif fault["kind"] == "vanishes":
                    self.delete_project(fault["project"])
                elif fault["kind"] == "slow":
                    wait += fault["seconds"]
                elif fault["kind"] == "renamed":
                    self.rename_project(fault["project"], fault["name"])
                else:
                    return fault
        time.sleep(wait)
        return None

    def set_status(self, key: str, status: str) -> None:
        """Give a task a status behind everybody's back."""
        with self.documents.lock:
            self.documents.save("tasks", {**self.documents.get("tasks", key), "status": status})

    def delete_project(self, key: str) -> None:
        """Delete a project with all that is in it behind everybody's back."""
        with self.documents.lock:
            ENDPOINTS["projects.delete"](self.documents, {"project": key, "force": True, "delete_contents": True})

    def rename_project(self, key: str, name: str) -> None:
        """Give a project another name behind everybody's back."""
        with self.documents.lock:
            ENDPOINTS["projects.update"](self.documents, {"project": key, "name": name})

    def note(self, name: str, **more: Any) -> None:
        with self.lock:
            self.calls.append({"name": name, **more})


class Drip(io.RawIOBase):
    """An answer that comes a byte at a time, each long before anybody would think that there is none."""

    def __init__(self, stream: Any, seconds: float, call: dict[str, Any]) -> None:
        self.stream = stream
        self.seconds = seconds
        self.call = call

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        for byte in bytes(data):
            time.sleep(self.seconds)
            self.stream.write(bytes([byte]))
            self.stream.flush()
            self.call["dripped"] += 1
        return len(data)


class Handler(BaseHTTPRequestHandler):
    """What both servers do alike."""

    protocol_version = "HTTP/1.1"
    # One packet an answer: without these each costs 40 ms, for which no client is to blame.
    disable_nagle_algorithm = True
    wbufsize = -1
    state: State
    side: str

    def log_message(self, format: str, *args: Any) -> None:
        """The calls are kept in the state."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return lambda: self.serve(name.removeprefix("do_"))
        raise AttributeError(name)

    def serve(self, method: str) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def dripping(self, name: str, seconds: float) -> Iterator[None]:
        """Answer as ever in the block, and slowly. How many bytes the client has waited for is noted."""
        call = {"name": name, "dripped": 0}
        with self.state.lock:
            self.state.calls.append(call)
        stream, self.wfile = self.wfile, Drip(self.wfile, seconds, call)  # type: ignore[assignment]
        try:
            yield
        except ConnectionError:
            self.close_connection = True
        finally:
            self.wfile = stream

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def suffer(self, fault: dict[str, Any]) -> None:
        """Fail as it was ordered."""
        if fault["kind"] == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
        elif fault["kind"] == "hang":
            time.sleep(fault.get("seconds", 600))
            self.close_connection = True
        elif fault["kind"] == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True
        elif fault["kind"] == "garbage":
            self.answer(200, b"<html>a proxy's login page</html>", "text/html")
        else:
            self.answer(int(fault["kind"]), b"the server is not well", "text/plain")
