"""What of a URI is written down: all of the address, and nothing secret."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracelet.core.system.redaction import redact, redact_text, redacted


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        # passwords, and tokens in their place
        ("https://me:pw@host/x", "https://me@host/x"),
        ("https://me:p@ss@host/x", "https://me@host/x"),
        ("https://me:p@ss/w@host/x", "https://me@host/x"),
        ("https://me:p/a/ss@host/x", "https://me@host/x"),
        ("https://me:p#w@host/x", "https://me@host/x"),
        ("https://me:p?w@host/x", "https://me@host/x"),
        ("https://me:p:w@host/x", "https://me@host/x"),
        ("https://me:a::bb@host/x", "https://me@host/x"),
        ("https://me%3Apw@host/x", "https://me@host/x"),
        ("https://:token@host", "https://host"),
        ("https:/me:pw@host/x", "https:/me@host/x"),
        ("https:///me:pw@host/x", "https:///me@host/x"),
        ("http://me:pw@[::1]:80/x", "http://me@[::1]:80/x"),
        ("ftp://anonymous:me@home.org@ftp.host.org/pub", "ftp://anonymous@ftp.host.org/pub"),
        ("https://ghp_0123456789abcdef@host/a", "https://host/a"),
        ("https://ghp_0123456789abcdef:x-oauth-basic@github.com/a", "https://github.com/a"),
        ("https://0123456789abcdef0123456789abcdef01234567@github.com/a", "https://github.com/a"),
        ("https://aB3dE5gH7jK9mN1pQ3sT@host/a", "https://host/a"),
        ("s3://AKIAIOSFODNN7EXAMPLE:wJal/K7MD@bucket/x", "s3://bucket/x"),
        ("s3://KEY:SE/CR@bucket/key@2x.png", "s3://KEY@bucket/key@2x.png"),
        # the address behind them
        ("https://me:pw@host.com/x@y/z", "https://me@host.com/x@y/z"),
        ("https://me:pw@host/x?mail=a@b.com", "https://me@host/x?mail=a@b.com"),
        ("https://me:p/w@host.com/x@y/z", "https://me@host.com/x@y/z"),
        ("git+https://me:pw@github.com/org/repo.git@main#egg=x", "git+https://me@github.com/org/repo.git@main#egg=x"),
        ("mongodb://me:pw@h1:27017,h2:27017/db?authSource=a", "mongodb://me@h1:27017,h2:27017/db?authSource=a"),
        # URIs in URIs
        ("simplecache::s3://KEY:SECRET@bucket/key", "simplecache::s3://KEY@bucket/key"),
        ("zip://a.csv::https://me:pw@host/x.zip?token=t", "zip://a.csv::https://me@host/x.zip"),
        (
            "https://host/x?to=https%3A%2F%2Fme%3Apw%40other%2Fy&a=1",
            "https://host/x?to=https%3A%2F%2Fme%40other%2Fy&a=1",
        ),
        ("https://host/x?to=https://me:pw@other/y&a=1", "https://host/x?to=https://me@other/y&a=1"),
        ("https://host/x#https%3A%2F%2Fme%3Apw%40other", "https://host/x#https%3A%2F%2Fme%40other"),
        ("https://archive.org/web/http://me:pw@host/x", "https://archive.org/web/http://me@host/x"),
        # databases
        ("jdbc:mysql://me:pw@host/db", "jdbc:mysql://me@host/db"),
        ("jdbc:sqlserver://host:1433;db=x;password=p/w@1;ssl=true", "jdbc:sqlserver://host:1433;db=x;ssl=true"),
        ("postgresql://me:p%40ss@h:5432/db?sslpassword=x&sslmode=require", "postgresql://me@h:5432/db?sslmode=require"),
        # parameters
        ("https://host/x?X-Amz-Date=1&X-Amz-Signature=2&versionId=3", "https://host/x?versionId=3"),
        ("https://host/x?X-Goog-Expires=1&x-goog-signature=2&generation=3", "https://host/x?generation=3"),
        ("https://host/x?AWSAccessKeyId=k&Signature=s&Expires=1", "https://host/x?Expires=1"),
        ("https://host/x?GoogleAccessId=k&alt=media", "https://host/x?alt=media"),
        ("https://host/x?sv=1&sig=abc&se=2", "https://host/x?sv=1&se=2"),
        ("https://host/x?a=1;access_token=t;b=2", "https://host/x?a=1;b=2"),
        ("https://host/x?password=a;b&c=1", "https://host/x?c=1"),
        ("https://host/x?a=1?token=s", "https://host/x?a=1"),
        ("https://host/x?%74oken=t", "https://host/x"),
        ("https://host/x?token=t#part", "https://host/x#part"),
        (
            "https://host/x?ToKeN=1&userPwd=1&apiKey=2&X-Api-Key=3&clientSecret=4&auth=5&user[password]=6",
            "https://host/x",
        ),
        (
            "https://host/x?session=1&session_id=2&password1=3&bearer=4&sas=5&refreshtoken=6&sub-key=7",
            "https://host/x?sub-key=7",
        ),
        (
            "https://host/x?sid=1&creds=2&_xsrf=3&storage_key=4&oauth_verifier=5&ticket=ST-6&sign=7&traffic_sign=8",
            "https://host/x?traffic_sign=8",
        ),
        ("https://host/x#access_token=t&state=1", "https://host/x#state=1"),
        ("https://host/x#/page?access_token=t&state=1", "https://host/x#/page?state=1"),
        ("https://host/x;jsessionid=1A2B/y", "https://host/x/y"),
        ("https://host/x?key=AIzaSyA-1&alt=media", "https://host/x?alt=media"),
        ("https://host/x?key=a1b2c3", "https://host/x"),
        ("https://host/x?id=ghp_0123456789abcdef", "https://host/x"),
        ("https://fn.azurewebsites.net/api/x?Code=F&name=y", "https://fn.azurewebsites.net/api/x?name=y"),
        ("https://host/x?a=1&to=%252525252525", "https://host/x?a=1"),
        # what is too broken to have an address
        ("s3://" + ":a/@" * 20, "s3:"),
    ],
)
def test_a_uri_loses_its_secrets_and_nothing_else(uri: str, clean: str) -> None:
    assert redact(uri) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/key",
        "s3://bucket/me@home/x",
        "s3://bucket/a b#c?d",
        "s3://bucket/a&token=b/c;secret=1/x",
        "s3://bucket/key?versionId=abc",
        "abfss://container@account.dfs.core.windows.net/p/f.parquet",
        "abfss://8f3b1c2d-0000-4a4a-9999-0123456789ab@onelake.dfs.fabric.microsoft.com/x",
        "wasbs://container@account.blob.core.windows.net/p",
        "oci://bucket@namespace/prefix/f",
        "github://org:repo@main/path/f.csv",
        "docker://ubuntu:22.04@sha256:abcdef",
        "hf://datasets/org/name@main/train.parquet",
        "git+ssh://git@github.com/org/repo@v1.2",
        "sftp://user@host/data/x.bin",
        "sftp://first.last2024@host/x",
        "https://user:@host/x",
        "https://host:8080/x@y/z",
        "https://[::1]:80/a@b",
        "https://[fe80::1%25eth0]/a@b",
        "kafka://h1:9092,h2:9092/topic@x",
        "file:///data/x.bin",
        "file://C:/x@y",
        "memory://a",
        "https://host/x?",
        "https://host/x?token=",
        "https://host/x?a=1;b=2",
        "https://host/x?design=1&author=ann&authority=2&signal=3&object-key=4&Key-Pair-Id=5#part",
        "https://host/f?tokenizer=bert&account_id=42&keyword=a&passage=b&max_tokens=1&signature_version=s3v4",
        "https://host/download?key=train/data.csv",
        "https://host/download?key=42",
        "https://host/x?code=EN&to=a%20b&library=hf_transfer&name=sk-learn-contrib-projects",
        "https://host/token=abc/x",
        "http://[bad",
        "mailto:me@host",
        "docker://repo/name:tag",
        "data:text/plain;charset=utf-8,hi",
        "just text with me@host",
        "C:\\data\\x",
        "",
    ],
)
def test_a_uri_without_secrets_stays_as_it_is(uri: str) -> None:
    assert redacted(uri).uri == uri
    assert redacted(uri).cut == ()


def test_what_was_cut_is_named_and_never_told() -> None:
    found = redacted("https://ghp_0123456789abcdef:x@host/x?to=https%3A%2F%2Fme%3Apw%40o&%74oken=t;sig=s")
    assert found.uri == "https://host/x?to=https%3A%2F%2Fme%40o"
    assert found.cut == ("user", "password", "token", "sig")


SECRET = st.text("abcdefgXYZ0123456789!$'*,~%+-", min_size=8, max_size=16).map(lambda text: f"zq{text}")
RAW = st.text("abcdefgXYZ0123456789!$'*,~+-/@:#?", min_size=4, max_size=16).map(lambda text: f"zq{text}zq")
PLAIN = st.text("abcdefgh", min_size=1, max_size=6)
NAMES = st.sampled_from(
    ["token", "X-Amz-Signature", "sig", "password", "api_key", "Credential", "client_secret", "pwd", "jwt", "session"]
)


@given(
    scheme=st.sampled_from(["https", "s3", "gs", "abfs", "postgresql", "simplecache::s3", "git+ssh"]),
    user=PLAIN,
    password=SECRET,
    host=PLAIN,
    path=st.lists(PLAIN, max_size=3),
    key=NAMES,
    value=SECRET,
    other=PLAIN,
    where=st.sampled_from("?#"),
    wrapped=st.integers(0, 2),
)
def test_no_secret_survives_wherever_it_stands_and_all_else_does(
    scheme: str,
    user: str,
    password: str,
    host: str,
    path: list[str],
    key: str,
    value: str,
    other: str,
    where: str,
    wrapped: int,
) -> None:
    uri = f"{scheme}://{user}:{password}@{host}/{'/'.join(path)}{where}page={other}&{key}={value}"
    want = f"{scheme}://{user}@{host}/{'/'.join(path)}{where}page={other}"
    for _ in range(wrapped):
        uri, want = (f"https://outer/x?to={quote(one, safe='')}&n=1" for one in (uri, want))
    found = redacted(uri)
    assert found.uri == want
    assert not any(secret in part for secret in (password, value) for part in (found.uri, *found.cut))
    assert redact(found.uri) == found.uri
    said = redact_text(f"it failed: '{uri}' (twice: {uri})")
    assert password not in said
    assert value not in said


@given(
    scheme=st.sampled_from(["https", "ftp", "postgresql", "git+https", "simplecache::https"]),
    password=RAW,
    path=st.lists(PLAIN, max_size=3),
)
def test_a_password_may_hold_any_separator(scheme: str, password: str, path: list[str]) -> None:
    tail = f"/{'/'.join(path)}?page=1"
    assert redact(f"{scheme}://me:{password}@data.host.org{tail}") == f"{scheme}://me@data.host.org{tail}"


@given(st.text())
@example("ab:" + "c" * 100)
@example("ab://host?to=https://me%3Apw%40\ud800")
def test_no_text_at_all_breaks_it_and_once_is_enough(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    redact_text(text)


@given(st.text("/:@?#&=;[]%abc25", max_size=40).map(lambda rest: f"ab://{rest}"))
def test_no_uri_however_broken_breaks_it(uri: str) -> None:
    clean = redact(uri)
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "unit",
    ["a", "::ab", "://", "%25", "ab://[", "http:///", "@", ":@", ";a=", "?a=", "&token=a", "ab://u:p/", "ab://u:p@h/"],
)
@pytest.mark.parametrize("before", ["https://u:", "https://u:p@"])
def test_the_time_it_takes_grows_with_the_text_and_not_faster(before: str, unit: str) -> None:
    def seconds(length: int) -> float:
        text = before + unit * (length // len(unit))
        began = time.process_time()
        redact(text)
        redact_text(text)
        return time.process_time() - began

    assert seconds(200_000) < 20 * seconds(50_000) + 0.5
