"""A delivery that fails again and again while the backend takes others: it waits on, and nothing waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import Scripted, beside

from tracelet import ArtifactType, Experiment, TraceletArtifact
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.registry import registry
from tracelet.settings import TraceletSettings

Make = Callable[..., Experiment]


def artifact(content: str, name: str = "thing", *, rejected: bool = False) -> TraceletArtifact:
    """One that the backend rejects while it is picky, or one like any other."""
    made = TraceletArtifact(name, ArtifactType.CONFIG)
    made.metadata = {"content": content, "rejected": rejected}
    return made


def held(exp: Experiment, name: str = "thing") -> list[str]:
    """What the backend holds of a name, oldest first."""
    versions = [one for one in beside(exp).list_artifacts() if one.name == name]
    return [one.metadata["content"] for one in reversed(versions)]


def rested(exp: Experiment) -> Experiment:
    """Wait until the backend is not left alone any more."""
    (courier,) = exp._artifact_manager._process.couriers.values()
    backoff = courier.backlog._backoff
    while backoff.rests:
        time.sleep(0.01)
    return exp


def waiting(home: Path) -> list[str]:
    return [parcel.manifest.metadata["content"] for parcel in Outbox(home / ".tracelet").everything()]


def test_what_is_logged_after_it_is_delivered_and_it_waits_on(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    scripted.told(put="picky")
    assert exp.log_artifact(artifact("bad", rejected=True)).queued
    for _ in range(3):
        assert exp.flush() == 1
    assert rested(exp).log_artifact(artifact("new"))["scripted"].version == "v0"
    assert "takes others, and not this 'thing': it waits on in the outbox" in caplog.text
    attempts = len(scripted.calls("put"))
    assert exp.log_artifact(artifact("newer"))["scripted"].version == "v1"
    assert len(scripted.calls("put")) == attempts + 1, "what was set aside is not tried before each"
    assert (held(exp), waiting(home)) == (["new", "newer"], ["bad"])
    scripted.told()
    assert exp.flush() == 0
    assert held(exp) == ["new", "newer", "bad"]


def test_what_waits_behind_it_is_delivered_without_more_being_logged(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    exp = experiment()
    scripted.told(put="picky")
    for content in ("bad", "worse"):
        assert exp.log_artifact(artifact(content, rejected=True)).queued
    futures = [exp.submit_artifact(artifact(content)) for content in ("new", "newer")]
    for _ in range(8):
        exp.flush()
    assert [len(future.result(20).queued) for future in futures] == [1, 1], "they were told why they wait"
    assert (held(exp), sorted(waiting(home))) == (["new", "newer"], ["bad", "worse"])


def test_several_that_are_rejected_hold_up_nothing_either(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="picky")
    for content in ("bad", "worse"):
        assert exp.log_artifact(artifact(content, rejected=True)).queued
    for _ in range(7):
        exp.flush()
    assert rested(exp).log_artifact(artifact("new"))["scripted"].version == "v0"
    assert sorted(waiting(home)) == ["bad", "worse"]


def test_that_it_fails_does_not_say_that_the_backend_is_away(scripted: Scripted, experiment: Make) -> None:
    """It may be, the first time: but not where others were delivered since the time before."""
    exp = experiment("scripted-inline")
    scripted.told(put="picky")
    assert exp.log_artifact(artifact("bad", rejected=True)).queued
    reasons = []
    for number in range(3):
        while exp.log_artifact(artifact(f"{number}", "other")).queued:
            rested(exp)
        assert exp.flush() == 1, "it was tried, and failed"
        reasons.append(exp._artifact_manager._process.couriers["scripted-inline"].state()["reason"])
    # It may also be tried by itself, between the others and the flush.
    assert "" in reasons
    assert held(exp, "other") == ["0", "1", "2"]


def test_a_long_outage_changes_no_order(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="away")
    for content in ("first", "second"):
        assert exp.log_artifact(artifact(content)).queued
    for _ in range(6):
        assert exp.flush() == 2
    assert exp.log_artifact(artifact("third")).queued
    scripted.told()
    assert exp.flush() == 0
    assert held(exp) == ["first", "second", "third"]


def test_sync_goes_on_behind_it(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="picky")
    assert exp.log_artifact(artifact("bad", rejected=True)).queued
    assert exp.log_artifact(artifact("new")).queued
    exp.stop()
    for _ in range(4):
        report = sync(home / ".tracelet", TraceletSettings(), registry(), lambda _: None)
    assert [one.reason for one in report.left] == ["scripted answers 500"]
    assert (held(exp), waiting(home)) == (["new"], ["bad"])
