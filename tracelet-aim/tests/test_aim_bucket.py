"""When the bucket is not there, or fails: nothing is noted that is not in it, and people are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers.aim_programs import FINISH, LOG_ONE
from servers.faulty_proxy import FaultyProxy
from servers.programs import soon
from servers.s3_server import S3Server

Ask = Callable[[Path, str], Any]

LOG_AND_LIST = f"{LOG_ONE}\nprint(json.dumps([*done, len(opened().list_artifacts())]))"


def test_a_missing_bucket_is_told_and_nothing_is_noted(repo: Path, program: Any, ask: Ask, bucket: S3Server) -> None:
    """Aim itself would note artifacts whose upload failed; with the bucket made, the delivery arrives."""
    name = f"missing-{time.time_ns()}"
    home = program.home()
    environ = {"TRACELET_AIM_REPO": str(repo), "TRACELET_AIM_ARTIFACTS_URI": f"s3://{name}/x", **bucket.environ}
    (kind, text), queued, _, _, listed = program(LOG_AND_LIST, home, **environ)
    assert (kind, queued, listed) == ("BackendError", True, 0)
    assert "no such bucket" in text
    assert ask(repo, "[list(run.artifacts) for run in repo.iter_runs()]") == [[]]
    bucket.client().create_bucket(Bucket=name)
    left, ((version, content),) = program(FINISH, home, **environ)
    assert (left, content) == (0, "1" * 1000)
    assert version.startswith("v")


def test_missing_credentials_for_the_bucket_are_told_as_such(repo: Path, program: Any, bucket: S3Server) -> None:
    """They are another error than a bucket that is away."""
    environ = {"TRACELET_AIM_REPO": str(repo), "TRACELET_AIM_ARTIFACTS_URI": bucket.url("x")}
    where = {"AWS_ENDPOINT_URL": bucket.endpoint, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(repo)}
    (kind, text), queued, *_ = program(LOG_ONE, **environ, **where)
    assert (kind, queued) == ("BackendAuthError", True), text
    assert "AWS_ACCESS_KEY_ID" in text


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("hang", "BackendUnavailable", "aim"),
        ("refused", "BackendUnavailable", "failed"),
        ("503", "BackendUnavailable", "failed"),
        ("403", "BackendAuthError", "does not let us in"),
    ],
)
def test_each_fault_of_the_bucket_is_told_apart_in_time_and_loses_nothing(
    repo: Path, program: Any, bucket: S3Server, mode: str, kind: str, words: str
) -> None:
    """It hangs, is away, fails, or takes nothing from us; what is not in it is not listed."""
    home = program.home()
    with FaultyProxy(bucket.process.port) as door:
        environ = {
            "TRACELET_AIM_REPO": str(repo),
            "TRACELET_AIM_ARTIFACTS_URI": bucket.url(f"faulty-{mode}"),
            **bucket.environ,
            "AWS_ENDPOINT_URL": door.url,
        }
        door.set(mode)
        told, queued, logged, ended, listed = program(LOG_AND_LIST, home, **environ)
        assert told[0] == kind, told
        assert words in told[1]
        assert (queued, listed) == (True, 0)
        assert soon(logged, 20)
        assert soon(ended, 35)
        door.set("pass")
        left, ((_, content),) = program(FINISH, home, **environ)
        assert (left, content) == (0, "1" * 1000)


def test_a_program_that_ends_at_once_has_everything_in_the_bucket(repo: Path, program: Any, bucket: S3Server) -> None:
    """Aim's uploads end with the program, most of them undone; ours are done when `log_artifact` returns.

    Aim's downloads drop the folders of names: files of one name come back each with its own bytes.
    """
    environ = {"TRACELET_AIM_REPO": str(repo), "TRACELET_AIM_ARTIFACTS_URI": bucket.url("at-once"), **bucket.environ}
    log = """
os.makedirs("data")
exp = opened(deadline=60.0).start()
for number in range(200):
    os.makedirs(f"data/{number}")
    open(f"data/{number}/same.bin", "w").write(str(number))
data = exp.create_artifact("data", ArtifactType.DATASET)
for number in range(200):
    data.add_file(f"data/{number}/same.bin", f"{number}/same.bin")
assert exp.log_artifact(data).ok
os._exit(0)
"""
    program(log, **environ)
    pages = bucket.client().get_paginator("list_objects_v2").paginate(Bucket=bucket.bucket, Prefix="at-once/")
    assert sum(page["KeyCount"] for page in pages) == 201
    read = """
got = opened().get_artifact("data").download()
print(json.dumps([open(got / f"{number}/same.bin").read() for number in range(200)]))
"""
    assert program(read, **environ) == [str(number) for number in range(200)]


def test_a_place_that_aim_cannot_take_is_refused_at_once(program: Any) -> None:
    """Bytes would go elsewhere, or nowhere; the error names the variable."""
    wrong = [("ARTIFACTS_URI", uri) for uri in ("gs://bucket/x", "file:relative", "s3://bucket/a?b", "file:///a/b#1")]
    wrong += [("REPO", "ssh://host/repo"), ("REPO", "http://127.0.0.1:43800")]
    told = program(
        f"""
from tracelet.exceptions import ConfigError
told = []
for name, value in {wrong}:
    os.environ["TRACELET_AIM_" + name] = value
    try:
        opened().start()
    except ConfigError as error:
        told.append(str(error))
    del os.environ["TRACELET_AIM_" + name]
print(json.dumps([told, os.path.exists(".aim")]))
"""
    )
    assert [f"TRACELET_AIM_{name}={value!r}" in one for (name, value), one in zip(wrong, told[0], strict=True)] == [
        True
    ] * 6
    assert told[1] is False
