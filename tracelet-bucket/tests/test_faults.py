"""Servers that are away, slow, wrong or too simple, and answers that do not arrive."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
import pytest

from servers.faulty_proxy import FaultyProxy
from servers.s3_server import S3Server
from tracelet.exceptions import BackendAuthError, BackendUnavailable, ConfigError, IntegrityError, TraceletError
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket import garbage
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.keys import Keys, blob_key
from tracelet_bucket.places import open_bucket
from tracelet_bucket.store import BucketStore

Opened = Callable[..., BucketBackend]
Seal = Callable[..., SealedArtifact]


def test_whichever_answer_is_lost_a_version_is_stored_once(
    opened: Opened, seal: Seal, url: str, door: FaultyProxy, tmp_path: Path
) -> None:
    """The store has done what it was asked for, and its client asks again."""
    labels = Labels("1.0", ("best",))
    sealed = seal({"x": b"content", "large": bytes(9 << 20)})
    begun = len(door.requests)
    opened(f"{url}/answered").put(sealed, labels)
    count = len(door.requests) - begun
    assert count > 12
    for number in range(1, count + 1):
        place = f"{url}/lost-{number}"
        door.drops = len(door.requests) + number
        opened(place).put(sealed, labels)
        assert door.drops == 0, number
        reader = opened(place)
        (version,) = reader.list(name=None, type=None)
        assert (version.number, version.label, version.aliases) == (0, "1.0", ("best",))
        for ref in ("latest", "1.0", "best", f"put:{sealed.manifest.put_id}", f"sha256:{sealed.manifest.digest}"):
            assert reader.find("data", ref) == version
        dest = tmp_path / str(number)
        dest.mkdir()
        reader.fetch(version, ["x"], dest)
        assert (dest / "x").read_bytes() == b"content"


@pytest.mark.parametrize("mode", ["503", "500", "refused", "reset"])
def test_a_store_that_fails_for_a_while_is_told_and_loses_nothing(
    opened: Opened, seal: Seal, url: str, door: FaultyProxy, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracelet_bucket import objects

    monkeypatch.setitem(objects._RETRIES, "max_retries", 2)
    backend = opened(url)
    first = backend.put(seal({"x": b"one"}), Labels("1.0"))
    second = seal({"x": b"two"})
    door.set(mode)
    attempts: list[Callable[[], object]] = [
        lambda: backend.put(second, Labels("2.0")),
        lambda: backend.find("data", "latest"),
        lambda: list(backend.list(name=None, type=None)),
        lambda: opened(url).find("data", "latest"),
    ]
    for attempt in attempts:
        with pytest.raises(BackendUnavailable, match="cannot be reached, or does not answer"):
            attempt()
    door.set("pass")
    assert backend.put(second, Labels("2.0")).number == 1
    assert [one.number for one in opened(url).list(name=None, type=None)] == [1, 0]
    assert opened(url).find("data", "1.0") == first


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_without_conditional_writes_is_refused_by_its_name_before_anything_is_stored(
    opened: Opened, seal: Seal, url: str, door: FaultyProxy, header: str
) -> None:
    """It takes the header for nothing, as earlier releases of many stores do."""
    door.damage(header.lower().encode(), 1_000_000)
    with pytest.raises(ConfigError, match=f"{url}.* ignores {header}.*such as S3") as told:
        opened(url).put(seal({"x": b"one"}), Labels())
    assert "AWS_ENDPOINT_URL" in str(told.value)
    assert list(open_bucket(url).below("objects")) == []
    with pytest.raises(ConfigError, match="no conditional writes"):
        BucketStore(url, lambda: open_bucket(url)).probe()


def test_a_bucket_that_is_not_there_is_no_empty_one(opened: Opened, seal: Seal, door: FaultyProxy) -> None:
    backend = opened("s3://not-there/team")
    attempts: list[Callable[[], object]] = [
        *[partial(backend.find, "data", ref) for ref in ("latest", "v0", "1.0", "put:one", f"sha256:{'0' * 64}")],
        lambda: list(backend.list(name=None, type=None)),
        lambda: backend.put(seal({"x": b"one"}), Labels()),
        lambda: list(backend.experiments()),
        BucketStore("s3://not-there/team", lambda: open_bucket("s3://not-there/team")).probe,
    ]
    for attempt in attempts:
        with pytest.raises(BackendUnavailable, match=r"s3://not-there/team: there is no such bucket\. Make it"):
            attempt()


def test_a_server_that_is_no_store_has_no_empty_bucket(opened: Opened, seal: Seal, url: str, door: FaultyProxy) -> None:
    """A wrong address often leads to one that answers "not found" to everything."""
    door.answers = (404, b"<html>not found</html>")
    attempts: list[Callable[[], object]] = [
        lambda: opened(url).find("data", "v0"),
        lambda: opened(url).find("data", "latest"),
        lambda: list(opened(url).experiments()),
        lambda: open_bucket(url).create("key", b"data"),
    ]
    for attempt in attempts:
        with pytest.raises(BackendUnavailable, match=r"does not answer: .*404 Not Found") as told:
            attempt()
        assert "Debug" not in str(told.value)
        assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("AccessDenied", BackendAuthError, "refuses the credentials, or they may not do this"),
        ("SignatureDoesNotMatch", BackendAuthError, "refuses the credentials"),
        ("RequestTimeTooSkewed", BackendAuthError, "whose clock is wrong"),
    ],
)
def test_what_a_store_refuses_says_what_to_do(
    opened: Opened, url: str, door: FaultyProxy, code: str, error: type[TraceletError], words: str
) -> None:
    door.answers = (403, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())
    with pytest.raises(error, match=words) as told:
        opened(url).find("data", "latest")
    assert code in str(told.value)
    assert "Debug" not in str(told.value)


@pytest.mark.parametrize("kind", ["folder", "url", "google_url"])
def test_writers_that_race_for_one_name_lose_nothing_and_repeat_nothing(
    request: pytest.FixtureRequest, opened: Opened, seal: Seal, kind: str
) -> None:
    """Eight, each with a backend of its own; one alias that each of them moves, and one of its own."""
    place = request.getfixturevalue(kind)
    each = 4
    sealed = [[seal({"x": f"{writer}-{number}".encode()}) for number in range(each)] for writer in range(8)]

    def write(writer: int) -> None:
        backend = opened(place)
        for number, one in enumerate(sealed[writer]):
            backend.put(one, Labels(f"{writer}.{number}", ("newest", f"of-{writer}")))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = {one.number: one for one in opened(place).list(name="data", type=None)}
    assert sorted(found) == list(range(8 * each))
    assert sorted(one.label or "" for one in found.values()) == sorted(
        f"{w}.{n}" for w in range(8) for n in range(each)
    )
    for writer in range(8):
        mine = opened(place).find("data", f"of-{writer}")
        assert mine is not None
        assert mine.label == f"{writer}.{each - 1}"
    assert sum("newest" in one.aliases for one in found.values()) == 1


@pytest.mark.parametrize("kind", ["folder", "url", "google_url"])
def test_deliveries_of_one_put_that_race_store_it_once(
    request: pytest.FixtureRequest, opened: Opened, seal: Seal, kind: str
) -> None:
    """Another put races, too, so that numbers are taken under them."""
    place = request.getfixturevalue(kind)
    sealed = seal({"x": b"the same"}, put_id="one-put")
    others = [seal({"x": f"{number}".encode()}) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda one: opened(place).put(one, Labels()), [sealed, *others, sealed, sealed, sealed]))
    mine = [one.number for one in stored if one.manifest.put_id == "one-put"]
    assert len(set(mine)) == 1
    assert sorted(one.number for one in opened(place).list(name=None, type=None)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["folder", "url", "google_url"])
def test_puts_of_one_content_that_race_for_a_label_make_one_version(
    request: pytest.FixtureRequest, opened: Opened, seal: Seal, kind: str
) -> None:
    place = request.getfixturevalue(kind)
    sealed = [seal({"x": b"the same"}) for _ in range(5)]
    others = [seal({"x": f"{number}".encode()}) for number in range(3)]

    def put(one: SealedArtifact) -> int:
        return opened(place).put(one, Labels("1.0" if one in sealed else None)).number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(put, [*sealed, *others]))
    assert len(set(numbers[:5])) == 1
    labelled = [one.number for one in opened(place).list(name=None, type=None) if one.label == "1.0"]
    assert labelled == [numbers[0]]


def test_a_profile_without_boto3_and_an_unknown_url_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="TRACELET_BUCKET_URL is not set: give s3://bucket/prefix"):
        open_bucket("")
    with pytest.raises(ConfigError, match="credentials and ports have no place in it") as told:
        open_bucket("s3://key:secret@bucket/prefix")
    assert "secret" not in str(told.value)
    monkeypatch.setenv("AWS_PROFILE", "team")
    with contextlib.suppress(ImportError):
        import boto3  # noqa: F401 - it is there among the tests, and says that there is no such profile

        with pytest.raises(ConfigError, match=r"AWS's files of credentials cannot be used.*team"):
            open_bucket("s3://bucket/prefix")


def test_what_consoles_and_people_leave_in_a_bucket_is_nobodys(
    opened: Opened, seal: Seal, url: str, s3: S3Server
) -> None:
    """A console makes an empty object for each folder; and one whose name is that of no version is none, whatever it promises."""
    backend = opened(url)
    backend.delete(backend.put(seal({"x": b"garbage"}), Labels()))
    kept = backend.put(seal({"x": b"kept"}), Labels("1.0", ("best",)))
    folders = [
        "",
        "experiments",
        "experiments/trials",
        "experiments/trials/versions",
        "experiments/trials/puts",
        "refs",
    ]
    names = [*[f"{folder}/" for folder in (*folders, "objects", "aside", "experiments/trials/versions/data")]]
    others = ["experiments/readme", "refs/readme", "objects/readme", "aside/readme", "experiments/trials/puts/readme"]
    versions = [
        f"experiments/trials/versions/{name}" for name in ("readme", "data/readme", "data/000000000000-v5.json")
    ]
    for name in (*names, *others, *versions):
        key = f"{url.partition(f'{s3.bucket}/')[2]}/{name}"
        s3.client().put_object(Bucket=s3.bucket, Key=key, Body=b"" if key.endswith("/") else bytes(400))
    reader = opened(url)
    assert [one.number for one in reader.list(name=None, type=None)] == [1]
    assert list(reader.experiments()) == ["trials"]
    assert reader.find("data", "latest") == kept
    assert reader.put(seal({"x": b"next"}), Labels()).number == 2
    assert list(garbage.collect(open_bucket(url), time.time() + 3600)) == [7]


def test_a_key_that_cannot_be_listed_is_told_and_is_no_outage(
    opened: Opened, seal: Seal, url: str, s3: S3Server
) -> None:
    """Other programs can make such keys. The client goes no further than to them."""
    opened(url).put(seal({"x": b"one"}), Labels())
    prefix = url.removeprefix(f"s3://{s3.bucket}/")
    s3.client().put_object(Bucket=s3.bucket, Key=f"{prefix}/experiments/trials/versions/../data", Body=b"theirs")
    with pytest.raises(ConfigError, match=r"versions/\.\./data.*move it away, or use another prefix"):
        list(opened(url).list(name=None, type=None))
    assert opened(url).find("data", "latest") is not None


def test_a_large_file_that_was_cut_off_is_damaged_and_no_failure_of_the_store(
    opened: Opened, seal: Seal, url: str, tmp_path: Path
) -> None:
    sealed = seal({"large": bytes(20 << 20)})
    backend = opened(url)
    stored = backend.put(sealed, Labels())
    (file,) = sealed.manifest.payload
    for left in (9 << 20, 3, 0):
        open_bucket(url).put(blob_key(str(file.sha256)), bytes(left))
        backend.fetch(stored, ["large"], tmp_path)
        assert (tmp_path / "large").stat().st_size == left  # whoever reads it compares its sha256
    backend.heal(stored, sealed)
    backend.fetch(stored, ["large"], tmp_path)
    assert (tmp_path / "large").read_bytes() == bytes(20 << 20)


def test_a_store_that_goes_away_in_a_download_is_told_without_trying_every_part(
    opened: Opened, seal: Seal, url: str, door: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracelet_bucket import objects

    monkeypatch.setitem(objects._RETRIES, "max_retries", 0)
    stored = opened(url).put(seal({"large": bytes(240 << 20)}), Labels())
    begun = len(door.requests)
    door.at(2, lambda: door.damage(b"GET", 1_000))
    with pytest.raises(BackendUnavailable):
        opened(url).fetch(stored, ["large"], tmp_path)
    assert len(door.requests) - begun < 24


def test_a_record_that_is_cut_off_is_damaged_and_not_deleted(
    opened: Opened, seal: Seal, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = opened(url)
    first = backend.put(seal({"x": b"first"}), Labels("1.0", ("best",)))
    cut = backend.put(seal({"x": b"cut off"}), Labels("2.0", ("best",)))
    open_bucket(url).put(cut.uri.removeprefix(f"{url}/"), b"")
    found = []
    with pytest.raises(IntegrityError):
        found.extend(opened(url).list(name=None, type=None))
    assert [one.number for one in found] == [0]
    assert opened(url).find("data", "1.0") == attrs.evolve(first, aliases=())
    with pytest.raises(IntegrityError):
        opened(url).find("data", "best")
    assert list(garbage.collect(open_bucket(url), time.time() + 3600)) == []
    assert opened(url).put(seal({"x": b"next"}), Labels(None, ("best",))).number == 2


def test_a_number_that_no_version_can_have_is_damage(opened: Opened, seal: Seal, url: str) -> None:
    backend = opened(url)
    backend.put(seal({"x": b"first"}), Labels("1.0", ("best",)))
    prefix = "experiments/trials"
    for number in (True, -1, 10**12, 1.0, "1"):
        notes = {
            f"{prefix}/labels/data/1.0": {"number": number, "digest": "0" * 64},
            f"{prefix}/puts/one.json": {"number": number, "name": "data", "blobs": []},
            f"{prefix}/versions/data/0-aliases.json": {"aliases": {"best": [[number, "one"]]}},
        }
        for key, note in notes.items():
            open_bucket(url).put(key, json.dumps(note).encode())
        for ref in ("1.0", "put:one", "best"):
            with pytest.raises(IntegrityError, match="damaged"):
                opened(url).find("data", ref)


def test_what_a_later_release_adds_stays_where_names_move(opened: Opened, seal: Seal, url: str) -> None:
    backend, bucket = opened(url), open_bucket(url)
    stored = backend.put(seal({"x": b"first"}), Labels(None, ("best",)))
    keys = [stored.uri.removeprefix(f"{url}/"), "experiments/trials/versions/data/0-aliases.json"]
    for key in keys:
        found = bucket.get(key)
        assert found is not None
        bucket.put(key, json.dumps({**json.loads(found.data), "later": [1]}).encode())
    again = opened(url).relabel(stored, Labels("1.0", ("other",)))
    assert (again.label, again.aliases) == ("1.0", ("best", "other"))
    for key in keys:
        found = bucket.get(key)
        assert found is not None
        assert json.loads(found.data)["later"] == [1]


@pytest.mark.parametrize(
    ("url", "variables", "words"),
    [
        ("az://container/team", {}, "Account must be specified"),
        ("az://container/team", {"AZURE_STORAGE_ACCOUNT_NAME": "us", "AZURE_STORAGE_ACCOUNT_KEY": "hidden key"}, "Key"),
        ("gs://bucket/team", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "hidden'}, "GCS"),
        ("gs://bucket/team", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_the_environment_says_wrongly_is_no_outage(
    url: str, variables: Mapping[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{url} cannot be opened with what the environment says .*{words}") as told:
        open_bucket(url)
    assert "hidden" not in str(told.value)
    assert told.value.__cause__ is None


def test_aliases_that_cannot_be_read_hide_the_versions_of_no_other_name(opened: Opened, seal: Seal, url: str) -> None:
    backend = opened(url)
    for name in ("damaged", "whole"):
        backend.put(seal({"x": b"content"}, name), Labels(None, ("best",)))
    bucket = open_bucket(url)
    bucket.put(Keys("trials").aliases("damaged"), b"{")
    listed = opened(url).list(name=None, type=None)
    assert [(one.manifest.name, one.aliases) for one in (next(listed),)] == [("whole", ("best",))]
    with pytest.raises(IntegrityError, match="the aliases of 'damaged'"):
        next(listed)
