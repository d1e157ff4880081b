"""What Google Cloud Storage does with the requests of its XML API, from memory: its conditions are about generations.

Each rule is from https://cloud.google.com/storage/docs/xml-api.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs


@attrs.frozen
class _Object:
    data: bytes
    generation: int
    metadata: dict[str, str]
    written: datetime = attrs.field(factory=lambda: datetime.now(UTC))


class GCSServer:
    """`gs://<bucket>`; `environ` has what a client needs to reach it."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.objects: dict[str, _Object] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.generation = 1_000
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gcs": self}))
        self._http.daemon_threads = True
        base = f"http://127.0.0.1:{self._http.server_port}"
        key = {"gcs_base_url": base, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        self.environ = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key)}

    def url(self, prefix: str) -> str:
        return f"gs://{self.bucket}/{prefix}"

    def listing(self) -> dict[str, int]:
        """The size of every object, by its key."""
        return {key: len(found.data) for key, found in self.objects.items()}

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in every object; return in how many."""
        with self.lock:
            changed = [key for key, found in self.objects.items() if old in found.data]
            for key in changed:
                self.write(key, self.objects[key].data.replace(old, new), {})
        return len(changed)

    def write(self, key: str, data: bytes, metadata: dict[str, str]) -> _Object:
        self.generation += 1
        self.objects[key] = _Object(data, self.generation, metadata)
        return self.objects[key]

    def __enter__(self) -> GCSServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    gcs: GCSServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """It says nothing."""

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "content_length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status: int, code: str) -> None:
        self._say(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _asked(self) -> tuple[str, dict[str, str]] | None:
        target = urlsplit(self.path)
        bucket, _, key = unquote(target.path).removeprefix("/").partition("/")
        if bucket != self.gcs.bucket:
            self._fail(404, "NoSuchBucket")
            return None
        return key, {name: found[0] for name, found in parse_qs(target.query, keep_blank_values=True).items()}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _is_as_said(self, key: str) -> bool:
        """The one condition that there is: the generation of what is there, or 0 for nothing."""
        said = self.headers.get("x-goog-if-generation-match")
        found = self.gcs.objects.get(key)
        return said is None or int(said) == (found.generation if found else 0)

    def do_PUT(self) -> None:
        data, asked = self._body(), self._asked()
        if asked is None:
            return None
        key, query = asked
        metadata = {name: value for name, value in self.headers.items() if name.lower().startswith("x-goog-meta-")}
        source = self.headers.get("x-goog-copy-source")
        with self.gcs.lock:
            if "uploadId" in query:
                self.gcs.uploads[query["uploadId"]][int(query["partNumber"])] = data
                return self._say(200, ETag=f'"{query["partNumber"]}"')
            if not self._is_as_said(key):
                return self._fail(412, "PreconditionFailed")
            if source is not None:
                copied = self.gcs.objects.get(unquote(source).lstrip("/").partition("/")[2])
                if copied is None:
                    return self._fail(404, "NoSuchKey")
                data, metadata = copied.data, copied.metadata
            made = self.gcs.write(key, data, metadata)
        return self._say(200, ETag=f'"{made.generation}"', x_goog_generation=str(made.generation))

    def do_POST(self) -> None:
        self._body()
        asked = self._asked()
        if asked is None:
            return None
        key, query = asked
        with self.gcs.lock:
            if "uploads" in query:
                upload = str(len(self.gcs.uploads))
                kept = {name: value for name, value in self.headers.items() if name.lower().startswith("x-goog-meta-")}
                self.gcs.uploads[upload] = {}
                self.gcs.objects[f"?{upload}"] = _Object(b"", 0, kept)
                body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                return self._say(200, body.encode())
            parts = self.gcs.uploads.pop(query["uploadId"])
            begun = self.gcs.objects.pop(f"?{query['uploadId']}")
            made = self.gcs.write(key, b"".join(parts[number] for number in sorted(parts)), begun.metadata)
        body = f'<CompleteMultipartUploadResult><ETag>"{made.generation}"</ETag></CompleteMultipartUploadResult>'
        return self._say(200, body.encode(), x_goog_generation=str(made.generation))

    def do_DELETE(self) -> None:
        asked = self._asked()
        if asked is None:
            return None
        key, query = asked
        with self.gcs.lock:
            if "uploadId" in query:
                self.gcs.uploads.pop(query["uploadId"], None)
                self.gcs.objects.pop(f"?{query['uploadId']}", None)
            elif self.gcs.objects.pop(key, None) is None:
                return self._fail(404, "NoSuchKey")
        return self._say(204)

    def do_GET(self) -> None:
        asked = self._asked()
        if asked is None:
            return None
        key, query = asked
        if not key:
            return self._list(query)
        with self.gcs.lock:
            found = self.gcs.objects.get(key)
        if found is None:
            return self._fail(404, "NoSuchKey")
        headers = {
            "ETag": f'"{found.generation}"',
            "x-goog-generation": str(found.generation),
            "Last-Modified": format_datetime(found.written, usegmt=True),
            **found.metadata,
        }
        wanted = self.headers.get("range")
        if wanted is None:
            return self._say(200, found.data, content_length=str(len(found.data)), **headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(found.data):
            return self._fail(416, "InvalidRange")
        part = found.data[int(first) : int(last) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(found.data)}"
        return self._say(206, part, **headers)

    do_HEAD = do_GET

    def _list(self, query: dict[str, str]) -> None:
        """A page of a thousand, in the order of the keys; what has the delimiter behind the prefix is one folder."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        with self.gcs.lock:
            every = sorted(key for key in self.gcs.objects if key.startswith(prefix) and key > after and key[0] != "?")
            folders = {
                prefix + key.removeprefix(prefix).partition(delimiter)[0] + delimiter
                for key in every
                if delimiter and delimiter in key.removeprefix(prefix)
            }
            own = [key for key in every if not (delimiter and delimiter in key.removeprefix(prefix))]
            page = own[:1_000]
            told = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(self.gcs.objects[key].data)}</Size>"
                f'<ETag>"{self.gcs.objects[key].generation}"</ETag>'
                f"<LastModified>{self.gcs.objects[key].written:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified></Contents>"
                for key in page
            )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(own) > len(page) else ""
        shown = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        self._say(200, f"<ListBucketResult>{told}{more}{shown}</ListBucketResult>".encode())
