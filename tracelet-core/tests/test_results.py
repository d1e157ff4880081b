"""What became of an artifact, told in one line and as a dict."""

from __future__ import annotations

import attrs
import pytest

from tracelet import BackendUnavailable, LogResult, LogResults, TraceletError
from tracelet.exceptions import ArtifactError, BackendError, VersionConflict


def result(backend: str, version: str = "v0") -> LogResult:
    return LogResult(backend, version, "file:///x", 3, "ab" * 32, portable=True, created=True)


def test_it_is_the_dict_of_the_backends_that_have_it() -> None:
    results = LogResults()
    results["mlflow"] = result("mlflow")
    results["local"] = result("local", "v1.2.0")
    assert f"Logged to {len(results)} backends: {list(results.keys())}" == "Logged to 2 backends: ['mlflow', 'local']"
    assert results.ok
    results.raise_for_errors()
    collected: dict[str, LogResult] = {}
    collected.update(results)
    assert collected["local"].version == "v1.2.0"


def test_nothing_is_shown_as_nothing() -> None:
    assert repr(LogResults()) == "<LogResults nothing>"
    assert LogResults().ok


def test_every_outcome_is_in_its_line() -> None:
    results = LogResults()
    results["local"] = result("local")
    results.queued["wandb"] = BackendUnavailable("no route", backend="wandb")
    results.failed["mlflow"] = VersionConflict("other content")
    results.skipped["aim"] = "only rank 0 writes"
    assert repr(results) == (
        "<LogResults local: v0; wandb: queued (no route); mlflow: FAILED (other content); "
        "aim: skipped (only rank 0 writes)>"
    )


@pytest.mark.parametrize("where", ["failed", "queued"])
def test_what_a_backend_has_not_is_not_ok(where: str) -> None:
    results = LogResults()
    getattr(results, where)["mlflow"] = BackendUnavailable("away")
    assert not results.ok
    with pytest.raises(BackendUnavailable, match="away"):
        results.raise_for_errors()


def test_what_was_skipped_is_no_error() -> None:
    results = LogResults()
    results.skipped["local"] = "only rank 0 writes"
    assert results.ok
    results.raise_for_errors()


def test_the_first_failure_is_raised_and_tells_the_others_once() -> None:
    results = LogResults()
    results.failed["mlflow"] = TraceletError("first")
    results.failed["wandb"] = TraceletError("second")
    results.queued["aim"] = TraceletError("third")
    for _ in range(2):
        with pytest.raises(TraceletError, match="first") as caught:
            results.raise_for_errors()
        assert caught.value.__notes__ == ["wandb: second", "aim: third"]


@pytest.mark.parametrize(
    ("failed", "queued", "raised"),
    [
        ({}, {}, False),
        ({"mlflow": VersionConflict("taken")}, {}, True),
        ({"mlflow": VersionConflict("taken"), "aim": ArtifactError("never")}, {}, True),
        ({"mlflow": VersionConflict("taken")}, {"aim": BackendUnavailable("away")}, False),
        ({"mlflow": VersionConflict("taken"), "aim": BackendError("broken", retryable=False)}, {}, False),
    ],
)
def test_misuse_is_what_every_backend_refuses_and_no_retry_mends(
    failed: dict[str, TraceletError], queued: dict[str, TraceletError], raised: bool
) -> None:
    results = LogResults()
    results.failed.update(failed)
    results.queued.update(queued)
    assert results.misuse is (failed["mlflow"] if raised else None)
    if "aim" in failed and raised:
        assert failed["mlflow"].__notes__ == ["aim: never"]


def test_what_one_backend_has_is_no_misuse() -> None:
    results = LogResults()
    results["local"] = result("local")
    results.failed["mlflow"] = VersionConflict("taken")
    assert results.misuse is None


def test_a_result_does_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result("local").version = "v1"  # type: ignore[misc]
