"""A stand-in for a W&B server on 127.0.0.1: GraphQL, uploads, downloads and the stream of a run's files.

``python -m servers.wandb_server --folder F --port P`` serves until it is killed, and goes on where it was when it is
started again. What it does not know it answers with an error and notes in ``unknown``, which :class:`WandbServer`
checks when it closes. Faults are set from outside: see :meth:`WandbServer.fault`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from servers.bodies import read_body
from servers.graphql import Document, GraphQLError, Unknown, execute
from servers.processes import ServerProcess, free_port
from servers.wandb_schema import LONGEST_PAGE, Schema
from servers.wandb_state import State

__all__ = ["API_KEY", "WandbServer", "wandb_server"]

API_KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITIES = ("somebody", "a-team")
_HANG = 600.0


class _Fault:
    """Something that goes wrong for the requests whose names match a pattern, so many times."""

    def __init__(self, match: str, action: str, times: int | None) -> None:
        self.match, self.action, self.times = re.compile(match), action, times
        self.over = threading.Event()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, folder: Path, *, current: bool) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = State(folder, ENTITIES, current=current)
        self.faults: list[_Fault] = []
        self.log: list[str] = []
        self.filters = "applied"
        self.longest_page = LONGEST_PAGE

    def fault(self, name: str) -> _Fault | None:
        with self.state.lock:
            for fault in self.faults:
                if fault.match.fullmatch(name) and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (BrokenPipeError, ConnectionResetError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    #: Whether the connection breaks in the middle of this request: half of the bytes pass.
    _cuts = False

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/_control/ready":
            return self._answer(200, b"ok")
        if path == "/_control/state":
            return self._json(200, self._dump())
        if match := re.fullmatch(r"/storage/([\w-]+)", path):
            return self._blob("GET storage", match[1])
        # `_file_url` in sdk/artifacts/storage_policies/wandb_storage_policy.py: region, entity, project, collection, then
        # the version's id where the server is a current one, the id of the version that brought the file, and its digest.
        parts = 5 + self.server.state.current
        if match := re.fullmatch(rf"/artifactsV2((?:/[^/]*){{{parts}}})/([0-9a-f]{{32}})/[^/]+", path):
            if not self._authorized():
                return self._answer(401, b"no such key")
            return self._blob("GET file", match[2], [unquote(part) for part in match[1].split("/")[5:]])
        return self._unknown(f"GET {path}")

    def do_PUT(self) -> None:
        if not (match := re.fullmatch(r"/upload/([\w-]+)", urlsplit(self.path).path)):
            read_body(self)
            return self._unknown(f"PUT {self.path}")
        kind = self.server.state.uploads[match[1]].partition(":")[0]
        length = int(self.headers.get("Content-Length") or 0)
        half = self.rfile.read(length // 2)
        fault = self._fault(f"PUT {kind}")
        if self._cuts:
            return self._hang_up()
        body = half + self.rfile.read(length - len(half))
        if self._carried_out(fault):
            return None
        try:
            with self.server.state.lock:
                self.server.state.store(match[1], body)
                self.server.state.keep()
        except ValueError as error:
            return self._answer(400, str(error).encode())
        return self._answer(200, b"", etag=hashlib.md5(body).hexdigest())

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, read_body(self)
        if path == "/_control/fault":
            given = json.loads(body)
            for fault in self.server.faults:
                fault.over.set()
            self.server.faults = [_Fault(**one) for one in given["faults"]]
            self.server.filters = given["filters"]
            self.server.longest_page = given.get("longest_page", LONGEST_PAGE)
            self.server.state.folds_case = given["folds_case"]
            return self._json(200, {})
        if path == "/_control/states":
            with self.server.state.lock:
                self.server.state.set_states(**json.loads(body))
            return self._json(200, {})
        if path == "/_control/deleted_run":
            with self.server.state.lock:
                self.server.state.delete_run(**json.loads(body))
            return self._json(200, {})
        if path == "/_control/deleted_project":
            with self.server.state.lock:
                self.server.state.delete_project(**json.loads(body))
            return self._json(200, {})
        if path == "/sdk/otel/v1/metrics":
            return self._answer(200, b"")
        if not self._authorized():
            return self._answer(401, b'{"errors":[{"message":"user is not logged in"}]}')
        if path == "/graphql":
            return self._graphql(json.loads(body))
        if match := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
            if self._faulty("file_stream"):
                return None
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            return self._file_stream([unquote(part) for part in match.groups()], json.loads(body))
        return self._unknown(f"POST {path}")

    def _graphql(self, message: dict[str, Any]) -> None:
        name = field = "?"
        try:
            document = Document(message["query"])
            name = document.operations[0]["name"] or name
            field = str(document.operations[0]["selection"][0]["key"])
            if self._faulty(name, field):
                return
            known = self.server
            schema = Schema(known.state, self._address, filters=known.filters, longest_page=known.longest_page)
            mutates = document.operations[0]["kind"] == "mutation"
            with self.server.state.lock:
                answer = execute(
                    document, message.get("variables") or {}, schema.mutation() if mutates else schema.query()
                )
                if mutates:
                    self.server.state.keep()
            self._json(200, {"data": answer})
        except GraphQLError as error:
            if isinstance(error, Unknown):
                self._note(f"{name}: {error}")
            self._refuse(error.status or (400 if self.server.state.current else 200), str(error), field)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._note(f"{name}: {traceback.format_exc()}")
            self._json(500, {"errors": [{"message": f"{name} failed"}]})

    def _file_stream(self, path: list[str], body: dict[str, Any]) -> None:
        left = set(body) - {"files", "complete", "exitcode", "uploaded", "dropped", "preempting", "clientID", "shared"}
        left -= {"x_shared", "stream_id", "streamId"}
        entity, project_name, run_name = path
        project = self.server.state.project(entity, project_name)
        if project is None or run_name in project.deleted:
            return self._answer(404, b"the run was deleted")
        if left or run_name not in project.runs:
            return self._unknown(f"file_stream {path} {sorted(left)}")
        run = project.runs[run_name]
        with self.server.state.lock:
            for name, part in (body.get("files") or {}).items():
                if name == "wandb-history.jsonl":
                    run.history += [json.loads(line) for line in part["content"]]
                elif name == "wandb-summary.json":
                    run.values["summaryMetrics"] = part["content"][-1]
                elif name not in {"wandb-events.jsonl", "output.log"}:
                    self._note(f"file_stream: {name}")
            if body.get("complete"):
                run.exit_code = body.get("exitcode")
                run.state = "finished" if run.exit_code == 0 else "failed"
            self.server.state.keep()
        return self._json(200, {"exitcode": None, "limits": {}})

    def _dump(self) -> dict[str, Any]:
        state = self.server.state
        with state.lock:
            return {
                "unknown": state.unknown,
                "log": self.server.log,
                "projects": [
                    {
                        "entity": project.entity,
                        "name": project.name,
                        "runs": [
                            {
                                "name": run.name,
                                "state": run.state,
                                "exit_code": run.exit_code,
                                "values": run.values,
                                "history": run.history,
                                "files": sorted(run.files),
                                "used": run.used,
                            }
                            for run in project.runs.values()
                        ],
                        "collections": {
                            collection.name: {
                                "type": collection.type,
                                "portfolio": collection.portfolio,
                                "aliases": collection.aliases,
                                "versions": [
                                    {
                                        "id": one.id,
                                        "number": one.number,
                                        "state": one.state,
                                        "description": one.description,
                                        "metadata": json.loads(one.metadata or "{}"),
                                        "contents": one.contents,
                                        "run": one.run,
                                    }
                                    for one in collection.versions
                                ],
                            }
                            for collection in project.collections.values()
                        },
                    }
                    for project in state.projects.values()
                ],
            }

    # -- HTTP

    def _authorized(self) -> bool:
        expected = base64.b64encode(f"api:{API_KEY}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def _faulty(self, name: str, field: str = "?") -> bool:
        """Note the request; carry out the fault that is set for it, and say whether that was the answer."""
        return self._carried_out(self._fault(name), field)

    def _fault(self, name: str) -> _Fault | None:
        self.server.log.append(name)
        fault = self.server.fault(name)
        self._cuts = fault is not None and fault.action == "cut"
        return fault

    def _refuse(self, status: int, text: str, field: str) -> None:
        """Say no to an operation. The form is that of public reports, such as issue 9156 of wandb/wandb."""
        data = None if status == 200 else {field: None}
        self._json(status, {"errors": [{"message": text, "path": [field]}], "data": data})

    def _carried_out(self, fault: _Fault | None, field: str = "?") -> bool:
        if fault is None or fault.action == "cut":
            return False
        kind, _, detail = fault.action.partition(":")
        if kind == "status":
            self._json(int(detail), {"errors": [{"message": f"a fault: {detail}"}]})
        elif kind == "error":
            self._refuse(200, detail, field)
        elif kind == "refusal":
            status, _, text = detail.partition(":")
            self._refuse(int(status), text, field)
        elif kind == "hold":
            fault.over.wait(_HANG)
            return False
        elif kind == "hang":
            time.sleep(_HANG)
        elif kind == "drop":
            self._hang_up()
        elif kind == "slow":
            time.sleep(float(detail))
            return False
        return bool(kind)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _blob(self, name: str, blob: str, versions: Sequence[str] = ()) -> None:
        """Give bytes; to those who name versions only where each of them has these."""
        if self._faulty(name):
            return None
        known = [self.server.state.artifacts.get(one) for one in versions]
        if not all(one is not None and blob in one[2].blobs() for one in known):
            return self._answer(404, b"no such file in that version")
        path = self.server.state.blobs / blob
        if not path.is_file():
            return self._answer(404, b"no such file")
        return self._answer(200, path.read_bytes())

    def _unknown(self, what: str) -> None:
        self._note(what)
        self._answer(404, b"not known here")

    def _note(self, what: str) -> None:
        with self.server.state.lock:
            self.server.state.unknown.append(what)

    def _json(self, status: int, content: Any) -> None:
        self._answer(status, json.dumps(content).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str = "application/octet-stream", *, etag: str = "") -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self._cuts:
            self.wfile.write(body[: len(body) // 2])
            return self._hang_up()
        self.wfile.write(body)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are in the log that the state shows."""


class WandbServer(ServerProcess):
    """The server in a process of its own; ``kill()`` and ``start()`` again go on with what it held."""

    def __init__(self, folder: Path, *, current: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.current = current
        port = free_port()
        command = [sys.executable, "-m", "servers.wandb_server", "--folder", str(folder), "--port", str(port)]
        command += ["--current"] if current else []
        tests = str(Path(__file__).parents[1])
        super().__init__(command, port, "/_control/ready", folder / "server.log", {"PYTHONPATH": tests})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environ(self, home: Path) -> dict[str, str]:
        """Variables that point the SDK here. Caches are relative: every process has its own, in its folder."""
        home.mkdir(parents=True, exist_ok=True)
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": API_KEY,
            "HOME": str(home),
            "WANDB_CACHE_DIR": "wandb-cache",
            "WANDB_DATA_DIR": "wandb-data",
            "WANDB_CONFIG_DIR": str(home / "wandb-config"),
            "WANDB_ARTIFACT_DIR": "wandb-artifacts",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def fault(
        self,
        match: str = "",
        action: str = "",
        times: int | None = None,
        *,
        filters: str = "applied",
        folds_case: bool = False,
        longest_page: int = LONGEST_PAGE,
    ) -> None:
        """Let requests whose names match fail: ``status:503``, ``error:text``, ``hang``, ``drop``, ``cut`` or ``slow:2``.

        ``error`` is told with the status 200, ``refusal:403:text`` with another one. ``hold`` is no failure: the request
        waits until faults are set anew, and is then carried out. ``drop`` ends the connection before anything is done; ``cut`` in the middle, where a query is carried out and half
        of its answer is sent, and half of an upload is taken.

        Names are those of GraphQL operations, ``PUT file``, ``PUT part``, ``PUT manifest``, ``PUT run``, ``GET file``,
        ``GET storage`` and ``file_stream``. Without arguments nothing fails any more. ``filters`` of versions are ``applied``,
        ``ignored``, ``refused`` or applied ``without $regex``; ``folds_case`` makes names that differ in case only the same. No page has more than
        ``longest_page`` entries.
        """
        faults = [{"match": match, "action": action, "times": times}] if match else []
        more = {"filters": filters, "folds_case": folds_case, "longest_page": longest_page}
        self._tell("fault", {"faults": faults, **more})

    def delete_run(self, project: str, run: str) -> None:
        """Do what somebody does on the web page: the run is gone, and its id is not given again for days."""
        self._tell("deleted_run", {"project_name": project, "name": run})

    def delete_project(self, project: str) -> None:
        """Do what somebody does on the web page."""
        self._tell("deleted_project", {"name": project})

    def wait_for(self, name: str, count: int = 1) -> None:
        """Wait until so many requests of a name have come since the server began."""
        until = time.monotonic() + _HANG
        while self.look()["log"].count(name) < count:
            assert time.monotonic() < until, f"{name} does not come"
            time.sleep(0.05)

    def _tell(self, what: str, content: dict[str, Any]) -> None:
        with urllib.request.urlopen(f"{self.url}/_control/{what}", json.dumps(content).encode(), timeout=10) as answer:
            answer.read()

    def set_states(self, project: str, *, runs: str | None = None, version: tuple[str, int, str] | None = None) -> None:
        """Do what a server does by itself in a project.

        ``runs`` is what its running runs become: ``crashed`` five minutes after their last sign of life, ``killed`` when
        somebody stops them. ``version`` is a collection, a number and the state of that version, such as ``DELETED``.
        """
        self._tell("states", {"project": project, "runs": runs, "version": version})

    def look(self) -> dict[str, Any]:
        """Return all that the server holds, and the names of the requests that it had."""
        with urllib.request.urlopen(f"{self.url}/_control/state", timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def project(self, name: str) -> dict[str, Any]:
        """Return what one project holds."""
        found: list[dict[str, Any]] = [one for one in self.look()["projects"] if one["name"] == name]
        assert len(found) == 1, f"{name!r} is not one of {[one['name'] for one in self.look()['projects']]}"
        return found[0]


@contextmanager
def wandb_server(folder: Path, *, current: bool = False) -> Iterator[WandbServer]:
    """Run a server for the length of a block; at its end nothing may have been asked that it does not know.

    With `TRACELET_TEST_WANDB_OTHER_MODE` set every test meets the kind of server that it meets otherwise not.
    """
    server = WandbServer(folder, current=current != bool(os.environ.get("TRACELET_TEST_WANDB_OTHER_MODE")))
    server.start()
    try:
        yield server
        server.kill()
        server.start()
        unknown = server.look()["unknown"]
        assert not unknown, "\n".join(unknown)
    finally:
        server.kill()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--current", action="store_true")
    given = arguments.parse_args()
    server = _Server(given.port, given.folder, current=given.current)
    threading.current_thread().name = f"wandb-{server.server_address[1]}"
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
