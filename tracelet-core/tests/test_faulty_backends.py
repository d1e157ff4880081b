"""The kit's faulty backends do what they say, and a user's program does not suffer from any of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacing import at_this_pace, pace

from tracelet import ArtifactType, Experiment, ExperimentConfig, LogResults, TraceletArtifact
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import UnknownPlugin
from tracelet.testing import faulty, installed

pytestmark = pytest.mark.kit

#: What each of them ends in: a word of the error for which the delivery waits; None where it goes through.
ENDS = {
    "faulty-sleeps-in-open": "is still opening",
    "faulty-sleeps-in-start": "did not answer",
    "faulty-sleeps-in-put": "did not answer",
    "faulty-sleeps-after-put": "did not answer",
    "faulty-sleeps-in-find": "did not answer",
    "faulty-sleeps-in-list": None,
    "faulty-sleeps-in-stop": None,
    "faulty-ignores-signals": "did not answer",
    "faulty-crashes-in-open": "exit code 3",
    "faulty-crashes-in-put": "exit code 3",
    "faulty-crashes-after-put": "exit code 3",
    "faulty-chatters": None,
    "faulty-garbles": "something else than an answer",
    "faulty-litters": None,
    "faulty-floods": None,
    "faulty-exits": "SystemExit: 4",
    "faulty-interrupts": "ended in the middle",
    "faulty-bursts": "Outburst: burst",
    "faulty-unspeakable": "",
    "faulty-divides": "it divides",
    "faulty-is-slow": None,
}


@pytest.fixture
def plugins(tmp_path: Path, home: Path) -> Iterator[None]:
    with installed(tmp_path / "plugins", {"faulty": "tracelet.testing.faulty"}):
        yield


@pytest.fixture
def logged(plugins: None) -> Callable[[str], tuple[LogResults, float]]:
    """Log one artifact to a backend, and end the run; give what was said, and the seconds it took."""

    def log(backend: str) -> tuple[LogResults, float]:
        Path("x.txt").write_text("content")
        limits = at_this_pace({"deadline": 2.0, "open_timeout": 3.0, "stop_timeout": 2.0})
        config = ExperimentConfig(**limits)
        began = time.monotonic()
        with Experiment("trials", backend=backend, artifacts=True, config=config) as exp:
            results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("x.txt"))
        return results, time.monotonic() - began

    return log


def stored() -> list[str]:
    """What the directory beneath the faulty ones holds."""
    with Experiment("trials", backend="local", artifacts=True) as exp:
        return [(one.download() / "x.txt").read_text() for one in exp.list_artifacts()]


def test_the_table_of_the_faulty_ones_is_complete(plugins: None) -> None:
    assert set(ENDS) == set(faulty.DEEDS)
    assert set(registry().backends.specs) >= {*faulty.DEEDS, "faulty-away"}


@pytest.mark.parametrize("backend", ENDS)
def test_nothing_is_lost_or_late(backend: str, logged: Callable[[str], tuple[LogResults, float]]) -> None:
    results, seconds = logged(backend)
    # Opening, delivering and stopping have their limits, and what is beside them is short; one that hangs takes 1,000 s.
    assert seconds < 3 * (3 + 2 + 2 + 3) * pace()
    if ENDS[backend] is None:
        assert results.ok
    else:
        # A machine that is late with all it does comes to the caller's deadline before the backend has failed.
        assert re.search(f"{ENDS[backend]}|is still (busy|opening)", str(results.queued[backend]))
    # What is stored by now, or still waits: once, and whole.
    waiting = list(Path(".tracelet/outbox/trials").glob("*/*.json"))
    assert [*stored(), *("content" for _ in waiting)] == ["content"]
    # One that talks rubbish goes on until it is ended: it may have stored it by then.
    if backend != "faulty-garbles":
        assert bool(waiting) == (ENDS[backend] is not None and "after-put" not in backend)


def test_one_that_is_away_gets_its_delivery_when_it_is_back(
    plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "away"
    flag.touch()
    monkeypatch.setenv("TRACELET_FAULTY_AWAY_FLAG", str(flag))
    Path("x.txt").write_text("content")
    config = ExperimentConfig(deadline=2.0, open_timeout=10.0)
    with Experiment("trials", backend="faulty-away", artifacts=True, config=config) as exp:
        results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("x.txt"))
        assert "says its flag" in str(results.queued["faulty-away"])
        flag.unlink()
        assert exp.flush() == 0
        flag.touch()
        Path("x.txt").write_text("other content")
        results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("x.txt"))
        assert "says its flag" in str(results.queued["faulty-away"])
        flag.unlink()
        assert exp.flush() == 0
    assert stored() == ["other content", "content"]


def test_one_that_is_slow_in_everything_is_read_like_any_other(
    logged: Callable[[str], tuple[LogResults, float]],
) -> None:
    assert logged("faulty-is-slow")[0].ok
    exp = Experiment("trials", backend="faulty-is-slow", artifacts=True)
    with exp:
        assert [(one.download() / "x.txt").read_text() for one in exp.list_artifacts()] == ["content"]


def test_an_installed_plugin_is_gone_after_the_block(tmp_path: Path) -> None:
    with installed(tmp_path / "plugins", {"faulty": "tracelet.testing.faulty"}):
        assert registry().backends.get("faulty-away").name == "faulty-away"
    with pytest.raises(UnknownPlugin):
        registry().backends.get("faulty-away")
