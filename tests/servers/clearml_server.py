"""A stand-in for ClearML's API server and file server, for the real SDK to talk to: standard library only.

`python -m servers.clearml_server FOLDER API_PORT FILES_PORT` serves; :class:`ClearmlServer` starts that as a process.
Faults are ordered by `POST /__faults`; whatever the stand-in does not know is answered with an error and kept in `/__calls`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys
import threading
import urllib.request
import uuid
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from servers import clearml_events, clearml_models, clearml_projects, clearml_tasks
from servers.clearml_documents import DATA, ENDPOINTS, Refused, Unknown
from servers.clearml_files import Files
from servers.clearml_http import KEY, SECRET, Handler, State, expire, is_token, new_token
from servers.processes import ServerProcess, free_port

#: Each adds its endpoints.
MODULES = (clearml_events, clearml_models, clearml_projects, clearml_tasks)
_PATH = re.compile(r"/(?:v(?P<version>[0-9.]+)/)?(?P<name>[a-z_]+\.[a-z_]+)")


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
        if fault is not None and fault["kind"] == "drip":
            data = self.run(name, body, forget=False)
            with self.dripping(name, fault["seconds"]):
                self.envelope(name, 200, 0, "OK", data)
            return
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
        # `get_auth_func` and what it gives, in `apiserver/service_repo/auth/auth.py`.
        if not kind:
            raise Refused(401, 20, "Unauthorized (missing credentials)")
        if kind == "Basic" and base64.b64decode(proof).decode() != f"{KEY}:{SECRET}":
            raise Refused(401, 22, "Unauthorized (invalid credentials)")
        if kind == "Bearer" and not is_token(proof):
            raise Refused(401, 30, "Invalid token (invalid jwt token)")
        if name == "auth.login":
            return {"token": new_token()}
        if name not in ENDPOINTS:
            raise Unknown(404, 0, f"Unable to find endpoint for name {name}")
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
            elif path == "/__expire":
                expire()
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
        its answer is lost), `invalid` (refuses what it was given, with the number `code`), or, before it is done, `becomes` (`task`
        gets `status`), `vanishes` (`project` is deleted) or `renamed` (`project` gets another `name`);
        a `slow` call is done after so many `seconds`, and the bytes of the answer to a `drip` come so many `seconds` apart.
        """
        self.ask("/__faults", list(faults))

    def token(self) -> str:
        """What a client is let in with: both servers look whether it is theirs."""
        proof = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        request = urllib.request.Request(f"{self.api_url}/auth.login", b"{}", {"Authorization": f"Basic {proof}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["data"]["token"])

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
