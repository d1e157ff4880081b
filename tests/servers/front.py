"""A front before a server, as companies have it: it speaks TLS by a certificate that it signed itself, below a path."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from servers.bodies import read_body

_NOT_PASSED_ON = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})


class Front:
    """`https://127.0.0.1:<port>/<path>` for `http://127.0.0.1:<behind>`; whoever has `certificate` trusts it.

    It takes requests of up to `largest` bytes.
    """

    def __init__(self, folder: Path, behind: int, path: str, *, largest: int = 1 << 40) -> None:
        folder.mkdir()
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
        )
        made = type("Handler", (_Handler,), {"behind": behind, "prefix": f"/{path}", "largest": largest})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        # Each connection shakes hands in the thread that serves it.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/{path}"

    def __enter__(self) -> Front:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind = 0
    prefix = ""
    largest = 0

    def _pass(self) -> None:
        body = read_body(self)
        if len(body) > self.largest:
            self._answer(413, {}, b"Request Entity Too Large")
            return
        if not self.path.startswith(f"{self.prefix}/"):
            self._answer(404, {}, b"nothing is here")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON | {"host"}}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.behind, timeout=600)) as server:
            server.request(self.command, self.path.removeprefix(self.prefix), body, headers)
            with server.getresponse() as answer:
                status, told, content = answer.status, dict(answer.getheaders()), answer.read()
        # Only now: the client may be gone.
        self._answer(status, told, content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
