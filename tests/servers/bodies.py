"""The body of a request, as clients send it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

__all__ = ["read_body"]


def read_body(request: BaseHTTPRequestHandler) -> bytes:
    """Read it whole: of a length that is told, or in chunks, of which an empty file has none."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)
