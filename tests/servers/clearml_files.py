"""The file server of a stand-in ClearML: the rules are those of `fileserver/fileserver.py` in the server's sources."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import shutil
import uuid
import zlib
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from servers.clearml_http import Handler, is_token

_BLOCK = 1 << 20
#: What `flask-compress` packs, and from how many bytes on; `zstd` and `br`, which it likes better than `deflate`, are
#: left out: Python's own library has neither.
_SQUEEZED = {
    *("text/html", "text/css", "text/plain", "text/xml", "text/javascript", "application/javascript"),
    *("application/json", "application/xml", "image/svg+xml"),
}
_SMALL = 500
#: Bytes of a file's name that a disk takes.
_LONGEST_NAME = 255
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Files(Handler):
    """`POST` of a form with one file, whose field's name is its path; `GET`, `HEAD`, `DELETE`."""

    side = "files"
    #: Whether what is asked is done, and its answer is lost.
    is_lost = False

    def answer(self, status: int, data: bytes, kind: str = "application/json") -> None:
        if self.is_lost:
            self.suffer({"kind": "reset"})
        else:
            super().answer(status, data, kind)

    def serve(self, method: str) -> None:
        name = f"files.{method}"
        path = unquote(urlsplit(self.path).path)
        fault = self.state.fault(name)
        self.state.note(name, path=path, fault=fault["kind"] if fault else None)
        self.is_lost = fault is not None and fault["kind"] == "lost"
        if fault is not None and fault["kind"] == "drip":
            with self.dripping(name, fault["seconds"]):
                self.give(self.place(path))
        elif fault is not None and fault["kind"] not in {"lie", "lost"}:
            if fault["kind"] != "hang":
                self.drain()
            self.suffer(fault)
        elif path == "/" and method == "GET" and "Authorization" not in self.headers:
            self.answer(200, b"OK", "text/plain")  # `ping`
        elif not self.is_known():
            self.drain()
            self.answer(401, b"unauthorized", "text/plain")
        elif method == "POST" and path == "/":
            self.receive(forget=fault is not None and not self.is_lost)
        elif method in {"GET", "HEAD"}:
            self.give(self.place(path))
        elif method == "DELETE":
            self.delete(self.place(path))
        else:
            self.drain()
            self.state.note(name, unknown=True)
            self.answer(405, b"", "text/plain")

    def is_known(self) -> bool:
        """`AuthHandler.validate` in `fileserver/auth.py`: by default it asks the API server."""
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return kind == "Bearer" and is_token(token)

    def place(self, path: str) -> Path | None:
        """`safe_join`: what leads out is not there."""
        target = self.state.files / path.lstrip("/")
        return None if ".." in target.parts else target

    def drain(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(_BLOCK, left)) or b"x" * left)

    def delete(self, path: Path | None) -> None:
        """`delete`."""
        if path is None or not path.is_file():
            self.answer(404, b"not found", "text/plain")
            return
        path.unlink()
        self.answer(200, b"{}")

    def receive(self, *, forget: bool) -> None:
        """`upload`; one part alone: its head, then its bytes, then the closing boundary."""
        if self.headers.get("Content-Encoding"):
            self.drain()
            self.answer(415, b"Content encoding is not supported", "text/plain")
            return
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
        path = name[1].decode().lstrip("/")
        target = self.place(path)
        if target is None:
            self.rfile.read(left + len(boundary) + 8)
            self.answer(404, b"not found", "text/plain")
            return
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in target.parts):
            # Its `mkdir` or `save` raises, and nothing catches that.
            self.rfile.read(left + len(boundary) + 8)
            self.answer(500, b"Internal Server Error", "text/html")
            return
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

    def give(self, path: Path | None) -> None:
        """`download`, which has `werkzeug` send the file: a name says how its bytes are packed, but for gzip's."""
        if path is None or not path.is_file():
            self.answer(404, b"not found", "text/plain")
            return
        kind, packed = mimetypes.guess_type(path.name)
        if packed == "gzip":
            kind, packed = None, None
        size = path.stat().st_size
        with path.open("rb") as stream:
            if "Range" in self.headers:
                self.give_range(stream, size, kind, packed)
                return
            squeezed = packed is None and kind in _SQUEEZED and size >= _SMALL and "deflate" in self.accepted()
            content = zlib.compress(stream.read()) if squeezed else None
            self.head(200, kind, "deflate" if squeezed else packed, size if content is None else len(content))
            if self.command == "GET" and content is not None:
                self.wfile.write(content)
            elif self.command == "GET":
                shutil.copyfileobj(stream, self.wfile, _BLOCK)

    def give_range(self, stream: IO[bytes], size: int, kind: str | None, packed: str | None) -> None:
        """`make_conditional` of `werkzeug`: one range alone, which is not squeezed (a guess about more releases than one)."""
        found = _RANGE.fullmatch(self.headers["Range"])
        start, end = found.groups() if found else ("", "")
        first = int(start) if start else max(size - int(end or 0), 0)
        last = min(int(end), size - 1) if start and end else size - 1
        if (not start and not end) or first > last:
            self.head(416, "text/html", None, 0, f"bytes */{size}")
            return
        self.head(206, kind, packed, last - first + 1, f"bytes {first}-{last}/{size}")
        if self.command == "GET":
            stream.seek(first)
            self.wfile.write(stream.read(last - first + 1))

    def head(self, status: int, kind: str | None, packed: str | None, size: int, part: str | None = None) -> None:
        self.send_response(status)
        text = kind is not None and (kind.startswith("text/") or kind.endswith("xml"))
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind or "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        for name, value in (("Content-Encoding", packed), ("Content-Range", part)):
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def accepted(self) -> str:
        return self.headers.get("Accept-Encoding") or ""
