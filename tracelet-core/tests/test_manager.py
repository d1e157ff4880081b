"""Where the manager sends what is logged, and what it says to settings, policies and names that cannot be."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanding import die_before_hashing
from making import write
from watching import Scripted

from tracelet import ArtifactError, ArtifactType, ConfigError, Experiment, ExperimentConfig, TraceletArtifact
from tracelet.core.delivery.outbox import Outbox
from tracelet.exceptions import PluginError, UnknownPlugin
from tracelet.testing import installed

PICKY = """
import attrs

from tracelet.builtin.local import LocalBackend
from tracelet.plugin import BackendSpec, RoutingSpec, hookimpl


@attrs.frozen
class Settings:
    port: int = 1


@hookimpl
def tracelet_backends():
    def open_it(experiment, settings, context):
        return LocalBackend(context.directory / "picky", experiment)

    return [BackendSpec(name=name, open=open_it, settings=Settings, in_process=True) for name in ("picky", "pickier")]


@hookimpl
def tracelet_routing():
    return [
        RoutingSpec(name="nowhere", route=lambda summary, configured: []),
        RoutingSpec(name="anywhere", route=lambda summary, configured: ["elsewhere"]),
    ]
"""


@pytest.fixture
def picky(tmp_path: Path, home: Path) -> Iterator[None]:
    """Two backends with a setting, and two policies that choose what they may not."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "picky.py").write_text(PICKY)
    with installed(tmp_path / "more", {"picky": "picky"}):
        yield


def artifact(**metadata: object) -> TraceletArtifact:
    made = TraceletArtifact("thing", ArtifactType.CONFIG).add_file(write(Path("thing.txt")))
    made.metadata.update(metadata)
    return made


def test_bad_settings_of_several_backends_are_told_together(picky: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELET_PICKY_PORT", "x")
    monkeypatch.setenv("TRACELET_PICKIER_PORT", "y")
    with pytest.raises(ConfigError, match=r"TRACELET_PICKY_PORT='x'.* TRACELET_PICKIER_PORT='y'"):
        Experiment("trials", backend=["picky", "pickier"], artifacts=True)


@pytest.mark.parametrize("policy", ["nowhere", "anywhere"])
def test_a_policy_has_to_choose_among_the_configured_backends(picky: None, policy: str) -> None:
    with (
        Experiment("trials", artifacts=True, config=ExperimentConfig(routing=policy)) as exp,
        pytest.raises(PluginError, match=f"the routing policy '{policy}' chose .* it may choose from"),
    ):
        exp.log_artifact(artifact())


@pytest.mark.parametrize("preferred", ["picky", ["picky", 5], 5, {"picky": 1}])
def test_preferred_backends_are_a_list_of_names(picky: None, preferred: object) -> None:
    with (
        Experiment("trials", artifacts=True) as exp,
        pytest.raises(ArtifactError, match=r"metadata\['preferred_backends'\] is .*: give a list of backends' names"),
    ):
        exp.log_artifact(artifact(preferred_backends=preferred))


def test_a_preferred_backend_that_is_not_installed_raises(home: Path) -> None:
    with Experiment("trials", artifacts=True) as exp, pytest.raises(UnknownPlugin, match="Did you mean 'local'"):
        exp.log_artifact(artifact(preferred_backends=["locl"]))


def test_a_preferred_backend_that_is_not_configured_is_left_out_and_said(
    picky: None, caplog: pytest.LogCaptureFixture
) -> None:
    with Experiment("trials", backend=["local", "picky"], artifacts=True) as exp:
        assert list(exp.log_artifact(artifact(preferred_backends=["pickier", "picky"]))) == ["picky"]
        assert "preferred_backends names pickier, which this experiment does not use" in caplog.text
        assert list(exp.log_artifact(artifact(preferred_backends=["pickier"]))) == ["local", "picky"]


def test_a_rank_that_writes_nothing_may_use_artifacts(home: Path) -> None:
    with Experiment("trials", artifacts=True) as exp:
        exp.log_artifact(artifact())
    with Experiment("trials", artifacts=True, config=ExperimentConfig(rank=3)) as other:
        assert other.use_artifact("thing").version == "v0"


def test_a_draft_for_a_backend_of_another_process_becomes_a_delivery_that_waits_for_it(
    scripted: Scripted, home: Path
) -> None:
    die_before_hashing('"scripted", "local"')
    with Experiment("trials", artifacts=True) as exp:
        assert exp.flush() == 0
        assert [one.name for one in exp.list_artifacts()] == ["snapshot"]
    assert [parcel.backend for parcel in Outbox(home / ".tracelet").everything()] == ["scripted"]


@pytest.fixture
def growing(home: Path) -> Iterator[Path]:
    """A file that another process writes to all the time."""
    path = write(home / "growing.bin", b"x" * 100_000_000)
    text = "import sys\nwith open(sys.argv[1], 'ab', buffering=0) as stream:\n    while True: stream.write(b'x')"
    writer = subprocess.Popen([sys.executable, "-c", text, str(path)])
    while path.stat().st_size == 100_000_000:
        time.sleep(0.001)
    yield path
    writer.kill()
    writer.wait()


@pytest.mark.parametrize("call", ["log_artifact", "submit_artifact"])
def test_a_file_that_never_stops_changing_is_misuse_and_leaves_nothing(home: Path, growing: Path, call: str) -> None:
    with Experiment("growing", artifacts=True) as exp:
        with pytest.raises(ArtifactError, match="It keeps changing: log it when it is written"):
            getattr(exp, call)(exp.create_artifact("growing", ArtifactType.CUSTOM).add_file(growing))
        assert exp.list_artifacts() == []
        assert [*(home / ".tracelet" / "staging").rglob("*.*")] == []
