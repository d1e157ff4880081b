"""A stand-in for ClearML's API server and file server, for the real SDK to talk to: standard library only.

`python -m servers.clearml_server FOLDER API_PORT FILES_PORT` serves; :class:`ClearmlServer` starts that as a process.
Faults are ordered by `POST /__faults`; whatever the stand-in does not know is answered with an error and kept in `/__calls`.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import mimetypes
import re
import secrets
import shutil
import socket
import sys
import threading
import time
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from servers import clearml_tasks
from servers.clearml_documents import DATA, ENDPOINTS, Documents, Refused, Unknown
from servers.processes import ServerProcess, free_port

KEY, SECRET = "test-access-key", "test-secret-key"
_PATH = re.compile(r"/(?:v(?P<version>[0-9.]+)/)?(?P<name>[a-z_]+\.[a-z_]+)")
_BLOCK = 1 << 20
#: What Flask's compression packs, and from how many bytes on.
_SQUEEZED, _SMALL = ("text/", "application/json"), 500


def _token() -> str:
    """A JSON web token with what the SDK reads in it; nobody checks its signature."""

    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    claims = {"exp": int(time.time()) + 86400, "api_version": "2.34", "server_version": "2.3.0", "feature_set": "basic"}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{secrets.token_urlsafe(32)}"


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
                else:
                    return fault
        return None

    def set_status(self, key: str, status: str) -> None:
        """Give a task a status behind everybody's back."""
        with self.documents.lock:
            self.documents.save("tasks", {**self.documents.get("tasks", key), "status": status})

    def delete_project(self, key: str) -> None:
        """Delete a project with all that is in it behind everybody's back."""
        with self.documents.lock:
            ENDPOINTS["projects.delete"](self.documents, {"project": key, "force": True, "delete_contents": True})

    def note(self, name: str, **more: Any) -> None:
        with self.lock:
            self.calls.append({"name": name, **more})


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


class Api(Handler):
    """The API server."""

    side = "api"

    def serve(self, method: str) -> None:
        path = urlsplit(self.path).path
        body = self.body()
        if path.startswith("/__"):
            self.control(path, body)
            return
        match = _PATH.fullmatch(path)
        name = match["name"] if match else path
        fault = self.state.fault(name)
        if fault is not None and fault["kind"] not in {"lie", "lost"}:
            self.state.note(name, fault=fault["kind"])
            if fault["kind"] == "invalid":
                self.envelope(
                    name, 400, fault.get("code", DATA), "Data validation error (String value is too long): name", {}
                )
            elif fault["kind"] == "envelope":
                self.envelope(name, 500, 100, "General data error: Invalid document", {})
            else:
                self.suffer(fault)
            return
        try:
            data = self.run(name, body, forget=fault is not None and fault["kind"] == "lie")
        except Refused as refused:
            self.state.note(name, refused=str(refused), unknown=isinstance(refused, Unknown))
            self.envelope(name, refused.status, refused.code, str(refused), {})
            return
        self.state.note(name, size=len(body), answered=len(json.dumps(data)))
        if fault is not None:
            self.suffer({"kind": "reset"})  # it was done, and its answer is lost
            return
        self.envelope(name, 200, 0, "OK", data)

    def run(self, name: str, body: bytes, *, forget: bool) -> dict[str, Any]:
        documents = self.state.documents
        kind, _, proof = (self.headers.get("Authorization") or "").partition(" ")
        if name == "auth.login":
            known = kind == "Basic" and base64.b64decode(proof).decode() == f"{KEY}:{SECRET}"
            if not known and kind != "Bearer":
                raise Refused(401, 22, "Unauthorized (invalid credentials)")
            return {"token": _token()}
        if kind != "Bearer":
            raise Refused(401, 20, "Unauthorized (missing credentials)")
        if name not in ENDPOINTS:
            raise Unknown(400, 0, f"endpoint {name}")
        if self.headers.get("Content-Type") == "application/json-lines":
            asked: dict[str, Any] = {"events": [json.loads(line) for line in body.splitlines()]}
        else:
            asked = json.loads(body or b"{}")
        if forget:
            return {"updated": 1, "id": uuid.uuid4().hex}
        with documents.lock:
            return ENDPOINTS[name](documents, asked)

    def envelope(self, name: str, status: int, code: int, message: str, data: dict[str, Any]) -> None:
        endpoint = {"name": name, "requested_version": "2.23", "actual_version": "2.23"}
        meta = {"id": uuid.uuid4().hex, "trx": uuid.uuid4().hex, "endpoint": endpoint, "result_code": status}
        meta |= {"result_subcode": code, "result_msg": message, "error_stack": "", "error_data": {}}
        self.answer(status, json.dumps({"meta": meta, "data": data}).encode())

    def control(self, path: str, body: bytes) -> None:
        """The tests' own hands on the server."""
        state = self.state
        asked = json.loads(body or b"null")
        result: Any = None
        with state.documents.lock, state.lock:
            if path == "/__faults":
                state.faults = asked
            elif path == "/__calls":
                result = state.calls
                state.calls = [] if asked == "clear" else state.calls
            elif path == "/__dump":
                result = {**state.documents.kinds, "events": state.documents.events}
            elif path == "/__replace":
                result = self.replace(*(base64.b64decode(one) for one in asked))
            elif path == "/__watchdog":
                clearml_tasks.watchdog(state.documents, asked)
            elif path == "/__status":
                state.set_status(*asked)
            elif path == "/__multiply":
                state.documents.multiply(*asked)
            elif path != "/__ready":
                raise ValueError(path)
        self.answer(200, json.dumps(result).encode())

    def replace(self, old: bytes, new: bytes) -> int:
        changed = self.state.documents.replace(old, new)
        for path in (path for path in self.state.files.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if old in content:
                path.write_bytes(content.replace(old, new))
                changed += 1
        return changed


class Files(Handler):
    """The file server: `POST` of a form with one file, whose field's name is its path; `GET`, `HEAD`, `DELETE`."""

    side = "files"

    def serve(self, method: str) -> None:
        name = f"files.{method}"
        path = unquote(urlsplit(self.path).path)
        fault = self.state.fault(name)
        self.state.note(name, path=path, fault=fault["kind"] if fault else None)
        if fault is not None and fault["kind"] != "lie":
            if fault["kind"] != "hang":
                self.drain()
            self.suffer(fault)
        elif not (self.headers.get("Authorization") or "").startswith("Bearer "):
            self.drain()
            self.answer(401, b"unauthorized", "text/plain")
        elif method == "POST":
            self.receive(forget=fault is not None)
        elif method in {"GET", "HEAD"}:
            self.give(self.place(path))
        elif method == "DELETE":
            self.place(path).unlink(missing_ok=True)
            self.answer(200, b"{}")
        else:
            self.state.note(name, unknown=True)
            self.answer(405, b"", "text/plain")

    def place(self, path: str) -> Path:
        target = self.state.files / path.lstrip("/")
        if ".." in target.parts:
            raise ValueError(f"{path} leads out of the folder")
        return target

    def drain(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(_BLOCK, left)) or b"x" * left)

    def receive(self, *, forget: bool) -> None:
        """One part: its head, then its bytes, then the closing boundary."""
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        left = int(self.headers["Content-Length"])
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            head += line
            left -= len(line)
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None, head
        left -= len(boundary) + 8
        path = name[1].decode()
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{uuid.uuid4().hex}")
        with partial.open("wb") as stream:
            while left > 0 and (block := self.rfile.read(min(_BLOCK, left))):
                stream.write(block)
                left -= len(block)
        tail = self.rfile.read(len(boundary) + 8)
        if tail != b"\r\n--" + boundary + b"--\r\n":
            partial.unlink()
            self.state.note("files.POST", unknown=True, refused="not one whole file")
            self.close_connection = True
            return
        if forget:
            partial.unlink()
        else:
            partial.replace(target)
        self.answer(200, json.dumps([path]).encode())

    def give(self, path: Path) -> None:
        if not path.is_file():
            self.answer(404, b"not found", "text/plain")
            return
        # As Flask serves files: a name says how its bytes are packed, and text is packed for who takes it so.
        kind, packed = mimetypes.guess_type(path.name)
        squeezed = b""
        if packed is None and (kind or "").startswith(_SQUEEZED) and path.stat().st_size >= _SMALL:
            packed = "gzip" if "gzip" in (self.headers.get("Accept-Encoding") or "") else None
            squeezed = gzip.compress(path.read_bytes()) if packed else b""
        self.send_response(200)
        self.send_header("Content-Type", kind or "application/octet-stream")
        if packed is not None:
            self.send_header("Content-Encoding", packed)
        self.send_header("Content-Length", str(len(squeezed) or path.stat().st_size))
        self.end_headers()
        if self.command == "GET" and squeezed:
            self.wfile.write(squeezed)
        elif self.command == "GET":
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, self.wfile, _BLOCK)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a call that a test must not pass with."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            self.RequestHandlerClass.state.note("crash", unknown=True, refused=repr(error))  # type: ignore[attr-defined]
            super().handle_error(request, client_address)


class ClearmlServer:
    """The two servers, in a process of their own; `process.kill()` and `process.start()` keep what they hold."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files = folder / "files"
        api, files = free_port(), free_port()
        self.api_url, self.files_url = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{files}"
        command = [sys.executable, "-m", "servers.clearml_server", str(folder), str(api), str(files)]
        path = str(Path(__file__).parents[1])
        self.process = ServerProcess(command, api, "/__ready", folder / "server.log", {"PYTHONPATH": path})

    def __enter__(self) -> ClearmlServer:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()

    def environ(self, home: Path) -> dict[str, str]:
        """Variables that lead the SDK here, with a home, a configuration and a cache of its own."""
        home.mkdir(parents=True, exist_ok=True)
        return {
            "CLEARML_API_HOST": self.api_url,
            "CLEARML_WEB_HOST": self.api_url,
            "CLEARML_FILES_HOST": self.files_url,
            "CLEARML_API_ACCESS_KEY": KEY,
            "CLEARML_API_SECRET_KEY": SECRET,
            "CLEARML_CONFIG_FILE": str(home / "clearml.conf"),
            "CLEARML_CACHE_DIR": str(home / "cache"),
            "HOME": str(home),
        }

    def fail(self, *faults: dict[str, Any]) -> None:
        """Order faults: `match` (of `tasks.edit`, `files.POST`, …), `kind`, and maybe `times`, `after`, `seconds`.

        A kind is an HTTP status, or `reset`, `hang`, `cut`, `garbage`, `lie` (says OK, does nothing), `lost` (does it, and
        its answer is lost), `invalid` (refuses what it was given, with the number `code`), or `becomes` (`task` gets `status` before it is done).
        """
        self.ask("/__faults", list(faults))

    def dump(self) -> dict[str, Any]:
        """Everything that the API server holds."""
        return self.ask("/__dump")  # type: ignore[no-any-return]

    def calls(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """The calls that came, in order."""
        return self.ask("/__calls", "clear" if clear else None)  # type: ignore[no-any-return]

    def forget(self, task: str) -> None:
        """Stop a running task, as the server's own watchdog does where nobody spoke of it for two hours."""
        self.ask("/__watchdog", task)

    def set_status(self, task: str, status: str) -> None:
        """Give a task a status, as somebody else did."""
        self.ask("/__status", [task, status])

    def strangers(self) -> list[dict[str, Any]]:
        """The calls that the stand-in does not know: a test that leaves some has not shown anything."""
        return [call for call in self.calls() if call.get("unknown")]

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in all that is held, behind everybody's back; return in how many places."""
        return self.ask("/__replace", [base64.b64encode(one).decode() for one in (old, new)])  # type: ignore[no-any-return]

    def ask(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.api_url}{path}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def main(folder: Path, api: int, files: int) -> None:
    state = State(folder)
    servers = [
        _Server(("127.0.0.1", port), type(handler.__name__, (handler,), {"state": state}))
        for port, handler in ((files, Files), (api, Api))
    ]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
