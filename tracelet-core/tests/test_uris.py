"""URIs: which may be recorded, and places are asked without surprises."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet.core.system.redaction import Redacted
from tracelet.core.system.uris import check_uri, filesystem, reaching, reads_this_machine, stat_uri
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendUnavailable,
    ConfigError,
)

# -- what may be recorded


def test_what_is_no_uri_is_refused_without_saying_its_password() -> None:
    for uri in ("//me:hunter2@host/x?token=hunter2", "hunter2@host", "/data/x", "C:\\x", ""):
        with pytest.raises(ArtifactError, match="has no scheme: give a URI such as") as caught:
            check_uri(uri)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ArtifactError, match="5 is not text"):
        check_uri(5)
    with pytest.raises(
        ArtifactError, match="a URI of 1000000 characters is too long for any place: 16384 are the most"
    ):
        check_uri("https://host/".ljust(1_000_000, "x"))
    for uri in ("s3://bucket/a\nb", "s3://bucket/\0", "s3://\ud800"):
        with pytest.raises(ArtifactError, match="control character or invalid Unicode"):
            check_uri(uri)


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("s3:/bucket/key", "write 's3://bucket/key'"),
        ("s3:bucket/key", "write 's3://bucket/key'"),
        ("HTTPS:/host/x", "write 'HTTPS://host/x'"),
        ("gs:", "write 'gs://host/path'"),
        ("gs:///", "names no host or bucket"),
        ("s3://", "names no host or bucket"),
        ("https://?x=1", "names no host or bucket"),
        ("https://:pw@/x", "names no host or bucket"),
        ("simplecache::s3:/bucket/key", "write 's3://bucket/key'"),
    ],
)
def test_what_names_no_place_though_its_scheme_wants_one_is_refused(uri: str, hint: str) -> None:
    with pytest.raises(ArtifactError, match=hint):
        check_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:/data/x",
        "hf:datasets/org/name",
        "doi:10.1/x",
        "urn:a:b",
        "mailto:me@host",
        "models:/m/1",
        "dbfs:/mnt/x",
        "hdfs:///data",
        "zip://a.csv::https://host/x.zip",
        "https://[::1]/x",
    ],
)
def test_schemes_that_want_no_host_are_taken_as_they_are(uri: str) -> None:
    assert check_uri(uri) == Redacted(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "etc/passwd",
        "file:/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        " file:///etc/passwd",
        "local:///etc/passwd",
        "simplecache::file:///etc/passwd",
        "zip://x::file:///x.zip",
        "simplecache::https://host/x",
        "dir://x::file:///etc",
        "git:///repo:ref@x",
        "reference://x",
        "://x",
        "1x://y",
    ],
)
def test_what_could_read_this_machines_files_is_known(uri: str) -> None:
    assert reads_this_machine(uri)


@pytest.mark.parametrize("uri", ["https://host/x", "s3://bucket/key", "gs://b/k", "memory://x", "hf://a/b"])
def test_what_is_elsewhere_is_elsewhere(uri: str) -> None:
    assert not reads_this_machine(uri)


# -- asking a place


@pytest.fixture
def server() -> Iterator[str]:
    """A server that has `/etag`, `/bare`, refuses `/locked` and breaks at `/broken`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = self.path.partition("?")[0]
            self.send_response({"/locked": 403, "/broken": 500, "/etag": 200, "/bare": 200}.get(path, 404))
            if path == "/etag":
                self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", "5")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(b"12345")

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as here:
        thread = threading.Thread(target=here.serve_forever)
        thread.start()
        yield f"http://me:hunter2@127.0.0.1:{here.server_address[1]}"
        here.shutdown()
        thread.join()


def test_a_file_is_read_for_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"12345")
    fact = stat_uri((tmp_path / "a b").as_uri().replace("%20", " "))
    assert (fact.size_bytes, fact.etag, fact.sha256) == (5, None, hashlib.sha256(b"12345").hexdigest())


def test_memory_has_no_etag_and_is_read_for_its_sha256() -> None:
    with fsspec.open("memory://remote-test/x", "wb") as stream:
        stream.write(b"12345")
    fact = stat_uri("memory://remote-test/x")
    assert (fact.size_bytes, fact.sha256) == (5, hashlib.sha256(b"12345").hexdigest())


def test_a_server_is_asked_for_its_etag_or_read(server: str) -> None:
    fact = stat_uri(f"{server}/etag")
    assert (fact.size_bytes, fact.etag, fact.sha256) == (5, '"abc"', None)
    assert stat_uri(f"{server}/bare").sha256 == hashlib.sha256(b"12345").hexdigest()


@pytest.mark.parametrize(("path", "kind"), [("nothing", ArtifactNotFound), ("broken", ArtifactNotFound)])
def test_what_a_server_refuses_comes_out_as_tracelets_and_without_secrets(server: str, path: str, kind: type) -> None:
    with pytest.raises(kind) as caught:
        stat_uri(f"{server}/{path}?token=hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("raised", "kind", "hint"),
    [
        (FileNotFoundError("x"), ArtifactNotFound, "check the address"),
        (PermissionError("x"), BackendAuthError, "Check the credentials"),
        (TimeoutError("x"), BackendUnavailable, "Check the address and the network"),
        (RuntimeError("x"), BackendUnavailable, "RuntimeError: x"),
        (ConfigError("mine"), ConfigError, "^mine$"),
    ],
)
def test_whatever_a_client_raises_is_tracelets(raised: Exception, kind: type, hint: str) -> None:
    with pytest.raises(kind, match=hint) as caught, reaching("s3://bucket/x"):
        raise raised
    assert caught.value is raised or caught.value.__cause__ is raised


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt), reaching("s3://bucket/x"):
        raise KeyboardInterrupt


def test_a_scheme_that_nobody_knows_and_one_that_needs_a_package_say_so() -> None:
    with pytest.raises(ConfigError, match=r"^nosuch://me@host/x: Protocol not known: nosuch. Known schemes"):
        filesystem("nosuch://me:hunter2@host/x")
    with pytest.raises(ConfigError, match=r"^gs://me@bucket/x cannot be reached from here: .*gcsfs"):
        filesystem("gs://me:hunter2@bucket/x")


def test_without_fsspec_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from tracelet.core.system.uris import filesystem\n"
        "try: filesystem('s3://me:hunter2@b/k')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "ConfigError s3://me@b/k needs fsspec: pip install 'tracelet-core[remote]'\n"


@given(st.text("abcdefgXYZ0123456789!$'*,~%+-", min_size=8, max_size=16).map(lambda text: quote(f"zq{text}")))
def test_an_error_quotes_no_password(secret: str) -> None:
    uri = f"s3://me:{secret}@bucket/x"
    with pytest.raises(BackendUnavailable) as caught, reaching(uri):
        raise RuntimeError(f"no route to {uri}")
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
