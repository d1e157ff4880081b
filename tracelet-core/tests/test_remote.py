"""URIs: nothing secret of one is ever written down, and places are asked without surprises."""

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

from tracelet.core.remote import check_uri, filesystem, reaching, reads_this_machine, redact, redact_text, stat_uri
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendUnavailable,
    ConfigError,
)

# -- what may be written down


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("https://me:pw@host/x?X-Amz-Signature=1&part=2", "https://host/x?part=2"),
        ("https://me@host:8080/x", "https://host:8080/x"),
        ("https://me:p@ss@host/x", "https://host/x"),
        ("https://me:p/a/ss@host/x", "https://host/x"),
        ("https://:token@host", "https://host"),
        ("s3://KEY:SECRET@bucket/key", "s3://bucket/key"),
        ("simplecache::s3://KEY:SECRET@bucket/key", "simplecache::s3://bucket/key"),
        ("zip://a.csv::https://me:pw@host/x.zip?token=t", "zip://a.csv::https://host/x.zip"),
        ("jdbc:mysql://me:pw@host/db", "jdbc:mysql://host/db"),
        ("https://host/x?a=1;access_token=t;b=2", "https://host/x?a=1&b=2"),
        ("https://host/x?%74oken=t", "https://host/x"),
        ("https://host/x?sv=1&sig=abc&se=2", "https://host/x?sv=1&se=2"),
        ("https://host/x?AWSAccessKeyId=k&Signature=s&Expires=1", "https://host/x?Expires=1"),
        ("https://host/x?GoogleAccessId=k&alt=media", "https://host/x?alt=media"),
        ("https://host/x?key=AIza&alt=media", "https://host/x?alt=media"),
        ("https://host/x?userPwd=1&apiKey=2&api_key=3&clientSecret=4&auth=5", "https://host/x"),
        ("https://host/x#access_token=t&state=1", "https://host/x#state=1"),
        ("https://host/x?to=https%3A%2F%2Fme%3Apw%40other%2Fy&a=1", "https://host/x?a=1"),
        ("https://host/x?to=https://me:pw@other/y", "https://host/x?to=https://other/y"),
        ("http://[bad", "http://[bad"),
        ("http://me:pw@[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_a_uri_loses_its_secrets_and_nothing_else(uri: str, clean: str) -> None:
    assert redact(uri) == clean


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/key",
        "s3://bucket/me@home/x",
        "s3://bucket/a b#c?d",
        "https://host:8080/x@y/z",
        "https://[::1]:80/a@b",
        "file:///data/x.bin",
        "file://C:/x@y",
        "memory://a",
        "https://host/x?",
        "https://host/x?design=1&author=ann&signal=2&object-key=3&Key-Pair-Id=4#part",
        "https://host/x?a=1;b=2",
        "mailto:me@host",
        "docker://repo/name:tag",
        "just text with me@host",
        "C:\\data\\x",
        "",
    ],
)
def test_a_uri_without_secrets_stays_as_it_is(uri: str) -> None:
    assert redact(uri) == uri


SECRET = st.text("abcdefgXYZ0123456789!$'*,~%+-", min_size=8, max_size=16).map(lambda text: f"zq{text}")
PLAIN = st.text("abcdefgh0123", min_size=1, max_size=6)


@given(
    scheme=st.sampled_from(["https", "s3", "gs", "abfs", "postgresql", "simplecache::s3", "git+ssh"]),
    user=st.one_of(st.just(""), SECRET),
    password=SECRET,
    host=PLAIN,
    path=st.lists(PLAIN, max_size=3),
    key=st.sampled_from(
        ["token", "X-Amz-Signature", "sig", "password", "api_key", "Credential", "client_secret", "pwd"]
    ),
    value=SECRET,
    other=PLAIN,
    where=st.sampled_from("?#"),
)
def test_no_secret_survives_wherever_it_stands(
    scheme: str, user: str, password: str, host: str, path: list[str], key: str, value: str, other: str, where: str
) -> None:
    uri = f"{scheme}://{user}:{password}@{host}/{'/'.join(path)}{where}page={other}&{key}={value}"
    clean = redact(uri)
    assert not any(secret in clean for secret in (user, password, value) if secret)
    assert clean == f"{scheme}://{host}/{'/'.join(path)}{where}page={other}"
    assert redact(clean) == clean
    said = redact_text(f"it failed: '{uri}' (twice: {uri})")
    assert not any(secret in said for secret in (user, password, value) if secret)


@given(st.text())
def test_no_text_at_all_breaks_it_and_once_is_enough(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    redact_text(text)


@given(st.text("/:@?#&=;[]%abc", max_size=30).map(lambda rest: f"ab://{rest}"))
def test_no_uri_however_broken_breaks_it(uri: str) -> None:
    clean = redact(uri)
    assert redact(clean) == clean


def test_what_is_no_uri_is_refused_without_saying_its_password() -> None:
    for uri in ("//me:hunter2@host/x?token=hunter2", "hunter2@host", "/data/x", "C:\\x", ""):
        with pytest.raises(ArtifactError, match="has no scheme: give a URI such as") as caught:
            check_uri(uri)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ArtifactError, match="5 is not text"):
        check_uri(5)
    for uri in ("s3://bucket/a\nb", "s3://bucket/\0", "s3://\ud800"):
        with pytest.raises(ArtifactError, match="control character or invalid Unicode"):
            check_uri(uri)


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
        (FileNotFoundError("x"), ArtifactNotFound, "Check the address"),
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
    with pytest.raises(ConfigError, match=r"^nosuch://host/x: Protocol not known: nosuch. Known schemes"):
        filesystem("nosuch://me:hunter2@host/x")
    with pytest.raises(ConfigError, match=r"^gs://bucket/x cannot be reached from here: .*gcsfs"):
        filesystem("gs://me:hunter2@bucket/x")


def test_without_fsspec_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from tracelet.core.remote import filesystem\n"
        "try: filesystem('s3://me:hunter2@b/k')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "ConfigError s3://b/k needs fsspec: pip install 'tracelet-core[remote]'\n"


@given(SECRET.map(quote))
def test_an_error_quotes_no_password(secret: str) -> None:
    uri = f"s3://me:{secret}@bucket/x"
    with pytest.raises(BackendUnavailable) as caught, reaching(uri):
        raise RuntimeError(f"no route to {uri}")
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
