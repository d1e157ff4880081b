"""What detectors see becomes artifacts: as it was, once each, and never in the user's way."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import elsewhere, write

from tracelet import ArtifactType, Experiment, ExperimentConfig
from tracelet.core.capture import filters, processor, queue, snapshots
from tracelet.core.capture.snapshots import artifact_name
from tracelet.core.delivery.lease import Lease
from tracelet.core.maintenance.doctor import check_up
from tracelet.core.maintenance.gc import collect
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.registry import registry
from tracelet.core.system import files
from tracelet.core.system.files import stamp
from tracelet.exceptions import ArtifactError, ConfigError
from tracelet.plugin import Detection, check_name, saving
from tracelet.settings import TraceletSettings
from tracelet.testing import installed

pytestmark = pytest.mark.capture

PLUGINS = Path(__file__).parent / "plugins"
Run = Callable[..., Experiment]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[ModuleType]:
    """The module of the detector that a test leads by the hand."""
    (tmp_path / "plugins").mkdir()
    shutil.copy(PLUGINS / "hand.py", tmp_path / "plugins")
    with installed(tmp_path / "plugins", {"hand": "hand"}):
        import hand

        yield hand
        hand.kind = hand.Hand
        hand.listeners.clear()


@pytest.fixture
def run(home: Path, hand: ModuleType) -> Iterator[Run]:
    """Start experiments that capture on the local backend; they are stopped in the end."""
    made: list[Experiment] = []

    def start(name: str = "captured", **config: Any) -> Experiment:
        made.append(
            Experiment(name, artifacts=True, automagic_artifacts=True, config=ExperimentConfig(**config)).start()
        )
        return made[-1]

    yield start
    for exp in made:
        exp.stop()


def contents(exp: Experiment, name: str) -> list[bytes]:
    """What each version of a name holds, oldest first."""
    found = [one for one in exp.list_artifacts() if one.name == name]
    found.sort(key=lambda one: int(one.version[1:]))
    return [(one.download() / one.files[0].artifact_path).read_bytes() for one in found]


def counts(exp: Experiment) -> dict[str, int]:
    return {k: v for k, v in exp._artifact_manager.get_stats()["capture"].items() if k not in {"detectors", "waiting"}}


# -- what is kept


def test_a_file_that_is_seen_comes_back_in_another_process(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    write(home / "out" / "weights.bin", b"\x00\x01\x02")
    hand.show(
        Detection(
            path=home / "out" / "weights.bin", type=ArtifactType.WEIGHTS, metadata={"epoch": 3}, aliases=("best",)
        )
    )
    exp.stop()
    back = elsewhere(
        """
        from tracelet import Experiment
        one = Experiment("captured", artifacts=True).get_artifact("weights", version="best")
        path = one.download() / "weights.bin"
        answer([one.type.value, one.metadata, path.read_bytes().hex()])
        """,
        cwd=home.parent / "other",
        TRACELET_DIR=str(home / ".tracelet"),
    )
    assert back == ["weights", {"epoch": 3}, "000102"]


def test_every_version_has_its_own_bytes_however_fast_the_file_is_overwritten(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    path = home / "state.bin"
    for number in range(50):
        path.write_bytes(b"%d" % number)
        hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT))
    path.write_bytes(b"garbage")
    exp.stop()
    assert contents(exp, "state-checkpoint") == [b"%d" % number for number in range(50)]


def test_a_file_is_gone_after_it_was_seen_and_is_captured_all_the_same(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    for how in ("copy", "link"):
        path = write(home / f"{how}.bin", how)
        hand.show(Detection(path=path, type=ArtifactType.CUSTOM, snapshot=how))
        path.unlink()
    exp.stop()
    assert contents(exp, "copy-custom") == [b"copy"]
    assert contents(exp, "link-custom") == [b"link"]


def test_what_a_detector_made_itself_is_taken_from_its_workspace(run: Run, hand: ModuleType) -> None:
    exp = run()
    workspace = hand.contexts[-1].workspace
    made = write(workspace / "samples" / "one.txt", "1").parent
    write(made / "two" / "two.txt", "2")
    hand.show(Detection(path=made, type=ArtifactType.SAMPLE, name="samples", snapshot="take"))
    assert not made.exists()
    exp.stop()
    back = exp.get_artifact("samples").download()
    assert {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()} == {"one.txt", "two/two.txt"}


def test_a_file_and_what_is_beside_it_are_one_artifact(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    model = write(home / "run" / "m.onnx", "model")
    data = (write(home / "run" / "m.data", "1"), write(home / "run" / "more" / "m.data", "2"))
    write(home / "run" / "other.txt", "another thing")
    for content in ("1", "1", "new"):
        data[0].write_text(content)
        hand.show(Detection(path=model, beside=data, type=ArtifactType.MODEL, artifact_path="run/m.onnx"))
        assert exp.flush(20.0) == 0
    exp.stop()
    found = {one.version: one.download() / "run" for one in exp.list_artifacts()}
    assert {version: (folder / "m.data").read_text() for version, folder in found.items()} == {"v0": "1", "v1": "new"}
    inside = {str(path.relative_to(found["v1"])) for path in found["v1"].rglob("*") if path.is_file()}
    assert inside == {"m.onnx", "m.data", "more/m.data"}


@pytest.mark.parametrize("beside", ["../m.data", "m.onnx", "/elsewhere/m.data"])
def test_files_that_no_artifact_could_hold_beside_one_are_refused(home: Path, beside: str) -> None:
    with pytest.raises(ArtifactError, match="is not in the folder of"):
        Detection(path=home / "m.onnx", beside=(home / beside,))


def test_stamps_are_of_what_is_captured(home: Path) -> None:
    for path in (home / "b.bin", home / "a" / ".." / "b.bin"):
        with pytest.raises(ArtifactError, match="give stamps of what is captured"):
            Detection(path=home / "a", stamps={path: stamp(home.stat())})


def test_a_model_or_a_file_that_is_taken_has_nothing_beside_it(home: Path) -> None:
    with pytest.raises(ArtifactError, match="beside a file that is copied or linked"):
        Detection(path=home / "m.onnx", beside=(home / "m.data",), snapshot="take")


def test_a_folder_is_one_artifact_without_what_its_links_lead_out_to(run: Run, hand: ModuleType, home: Path) -> None:
    write(home / "secret.txt", "secret")
    folder = write(home / "sharded" / "a.bin", "a").parent
    (folder / "inside").symlink_to("a.bin")
    (folder / "outside").symlink_to(home / "secret.txt")
    exp = run()
    hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT))
    exp.stop()
    assert {file.artifact_path for file in exp.get_artifact("sharded-checkpoint").files} == {"a.bin", "inside"}


def test_what_nobody_typed_is_told_by_its_content(run: Run, hand: ModuleType, home: Path) -> None:
    write(home / "report.html", "<!DOCTYPE html><html><body>done</body></html>")
    write(home / "strange", b"\x01\x02\x03")
    exp = run()
    for name in ("report.html", "strange"):
        hand.show(Detection(path=home / name))
    exp.stop()
    assert {(one.name, one.type) for one in exp.list_artifacts()} == {
        ("report", ArtifactType.REPORT),
        ("strange-custom", ArtifactType.CUSTOM),
    }


@given(
    st.lists(st.text(min_size=1).filter(lambda part: "/" not in part), min_size=1, max_size=4),
    st.sampled_from(ArtifactType),
)
def test_every_path_gives_a_name_that_is_one(parts: list[str], kind: ArtifactType) -> None:
    name = artifact_name("/".join(parts), kind)
    assert check_name(name) == name
    assert name.lower().endswith(kind.value)


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("model.pth", ArtifactType.WEIGHTS, "model-weights"),
        ("model.pth", ArtifactType.MODEL, "model"),
        ("best_checkpoint.pth", ArtifactType.CHECKPOINT, "best_checkpoint"),
        ("remodel.pth", ArtifactType.MODEL, "remodel-model"),
        ("run1/fold 2/model.pth", ArtifactType.MODEL, "run1.fold-2.model"),
        ("epoch=1-step=2.ckpt", ArtifactType.CHECKPOINT, "epoch-1-step-2-checkpoint"),
        (".hidden", ArtifactType.CUSTOM, "hidden-custom"),
    ],
)
def test_a_name_is_made_of_folders_stem_and_type(path: str, kind: ArtifactType, name: str) -> None:
    assert artifact_name(path, kind) == name


# -- once each


def test_one_file_that_several_detectors_see_is_captured_once(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    path = write(home / "model.bin")
    link = home / "link.bin"
    link.symlink_to(path)
    hand.show(Detection(path=path, type=ArtifactType.MODEL, name="mine"))
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    hand.show(Detection(path=link, type=ArtifactType.CUSTOM))
    exp.stop()
    assert [one.name for one in exp.list_artifacts()] == ["mine"]
    assert counts(exp) == {"captured": 1, "unchanged": 2}


def test_the_same_file_under_one_more_alias_is_the_same_version(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    path = write(home / "epoch.ckpt")
    hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT, metadata={"epoch": 1}, aliases=("periodic",)))
    hand.show(Detection(path=path, aliases=("last",)))
    exp.stop()
    (one,) = exp.list_artifacts()
    assert set(one.aliases) == {"periodic", "last"}
    assert one.metadata == {"epoch": 1}


def test_a_file_that_comes_back_to_what_it_was_is_a_new_version(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    for content in ("a", "b", "a"):
        hand.show(Detection(path=write(home / "x.bin", content), type=ArtifactType.CUSTOM))
    exp.stop()
    assert contents(exp, "x-custom") == [b"a", b"b", b"a"]


def test_equal_files_in_two_places_are_two(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    for name in ("one.bin", "two.bin"):
        hand.show(Detection(path=write(home / name), type=ArtifactType.CUSTOM))
    exp.stop()
    assert {one.name for one in exp.list_artifacts()} == {"one-custom", "two-custom"}


def test_a_file_is_told_of_by_the_one_who_saves_it(run: Run, hand: ModuleType, home: Path) -> None:
    """A watcher sees the file in the middle of the save, from a thread of its own, and is not heard."""
    exp = run()
    path = home / "folder" / "half.bin"
    with ThreadPoolExecutor(1) as watcher, saving(path.parent) as outermost:
        write(path, "half")
        watcher.submit(hand.show, Detection(path=path, type=ArtifactType.CUSTOM)).result()
        write(path, "whole")
        hand.show(Detection(path=path, type=ArtifactType.MODEL, name="whole"))
    exp.stop()
    assert outermost
    assert [one.name for one in exp.list_artifacts()] == ["whole"]
    assert contents(exp, "whole") == [b"whole"]


def test_what_its_saver_does_not_tell_is_captured_when_the_save_is_over(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    path = home / "x.bin"
    with ThreadPoolExecutor(1) as watcher, saving(path):
        write(path, "half")
        watcher.submit(hand.show, Detection(path=path, type=ArtifactType.CUSTOM)).result()
        write(path, "whole")
    exp.stop()
    assert contents(exp, "x-custom") == [b"whole"]


def test_a_save_within_a_save_is_not_the_outermost(home: Path) -> None:
    with saving(home / "outer") as outer, saving(home / "inner") as inner:
        assert (outer, inner) == (True, False)
    with saving(home / "again") as again:
        assert again


def test_two_experiments_capture_the_same_thing_each_for_itself(run: Run, hand: ModuleType, home: Path) -> None:
    first, second = run("first"), run("second")
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    first.stop()
    hand.show(Detection(path=write(home / "y.bin"), type=ArtifactType.CUSTOM))
    second.stop()
    assert {one.name for one in first.list_artifacts()} == {"x-custom"}
    assert {one.name for one in second.list_artifacts()} == {"x-custom", "y-custom"}


# -- limits


def test_patterns_say_what_is_captured(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run(capture_include=["*.bin", "kept/*"], capture_exclude=["tmp-*"])
    for name in ("a.bin", "tmp-a.bin", "a.txt", "kept/a.txt"):
        hand.show(Detection(path=write(home / name), type=ArtifactType.CUSTOM))
    exp.stop()
    assert sorted(one.files[0].artifact_path for one in exp.list_artifacts()) == ["a.bin", "a.txt"]
    assert counts(exp) == {"captured": 2, "filtered": 2}


def test_a_run_ends_with_a_line_of_what_was_captured_how_often_and_where_it_is(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tracelet.automagic")
    run("nothing").stop()
    assert not caplog.records
    exp = run("it's mine")
    for content in ("1", "22"):
        hand.show(Detection(path=write(home / "x.bin", content), type=ArtifactType.CUSTOM))
    for number in range(6):
        hand.show(Detection(path=write(home / f"y{number}.bin", str(number)), type=ArtifactType.CUSTOM))
    exp.stop()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "captured 7 artifacts: x-custom (2 times), y0-custom, y1-custom, y2-custom, y3-custom, and 2 more. "
        f"""`tracelet ls 'it'"'"'s mine'` shows what is stored (local; {home / ".tracelet"})."""
    ]


@pytest.mark.parametrize("watched", [True, False])
def test_without_logging_a_person_at_a_terminal_sees_that_line_and_a_pipe_gets_nothing(
    run: Run, hand: ModuleType, home: Path, watched: bool
) -> None:
    exp = run("digits")
    hand.show(Detection(path=write(home / "x.bin", "1"), type=ArtifactType.CUSTOM))
    stderr = io.StringIO()
    stderr.isatty = lambda: watched  # type: ignore[method-assign]
    with contextlib.redirect_stderr(stderr):
        exp.stop()
    line = "tracelet: captured 1 artifact: x-custom. `tracelet ls digits` shows what is stored (local; "
    assert (line in stderr.getvalue()) is watched
    assert bool(stderr.getvalue()) is watched


@pytest.mark.parametrize("limit", [{"capture_min_interval": 60.0}, {"capture_max_per_minute": 1}], ids=str)
def test_a_limit_drops_what_comes_too_fast_and_says_how_much(
    run: Run, hand: ModuleType, home: Path, limit: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    exp = run(**limit)
    for content in ("1", "22", "333"):
        hand.show(Detection(path=write(home / "x.bin", content), type=ArtifactType.CUSTOM))
    exp.stop()
    assert contents(exp, "x-custom") == [b"1"]
    assert "not everything was captured: 2 throttled" in caplog.text


@pytest.mark.parametrize("limit", [{"capture_min_interval": 60.0}, {"capture_max_per_minute": 1}], ids=str)
def test_with_latest_wins_the_newest_of_what_came_too_fast_is_captured_at_the_end(
    run: Run, hand: ModuleType, home: Path, limit: dict[str, Any]
) -> None:
    exp = run(capture_latest_wins=True, **limit)
    for content in ("1", "22", "333"):
        hand.show(Detection(path=write(home / "x.bin", content), type=ArtifactType.CUSTOM))
    exp.stop()
    assert contents(exp, "x-custom")[-1] == b"333"
    assert counts(exp)["superseded"] >= 1


def test_captures_that_wait_never_fill_the_disk(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    exp = run(capture_disk_share=5_000 / free)
    hand.show(Detection(path=write(home / "small.bin", b"x" * 1_000), type=ArtifactType.CUSTOM))
    for _ in range(2):
        hand.show(Detection(path=write(home / "large.bin", b"x" * 1_000_000), type=ArtifactType.CUSTOM))
    exp.stop()
    assert [one.name for one in exp.list_artifacts()] == ["small-custom"]
    assert caplog.text.count("capture_disk_share") == 1
    assert "not everything was captured: 2 over_cap" in caplog.text


# -- a process that is killed

KILLED = """
import os, signal, sys, time
sys.path.insert(0, {plugins!r})
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig
from tracelet.core.capture.pipeline import Capture
from tracelet.plugin import Detection
from tracelet.testing import installed

if {frozen}:
    Capture._work = lambda self: time.sleep(60)
with installed(Path({plugins!r}), {{"hand": "hand"}}):
    import hand
    exp = Experiment("captured", artifacts=True, automagic_artifacts=True).start()
    for number in range(10):
        Path("state.bin").write_bytes(b"%d" % number)
        hand.show(Detection(path=Path("state.bin").absolute(), type=ArtifactType.CHECKPOINT, metadata={{"step": number}}))
    Path("other.bin").write_bytes(b"other")
    hand.show(Detection(path=Path("other.bin").absolute(), aliases=("best",)))
    Path("state.bin").unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(home: Path, *, frozen: bool) -> None:
    """Capture ten versions of one thing and one of another, and be killed at once; frozen, before any is looked at."""
    shutil.copytree(PLUGINS, home / "plugins", ignore=shutil.ignore_patterns("*.dist-info", "__pycache__"))
    script = KILLED.format(plugins=str(home / "plugins"), frozen=frozen)
    done = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def all_is_there() -> None:
    exp = Experiment("captured", artifacts=True)
    assert contents(exp, "state-checkpoint") == [b"%d" % number for number in range(10)]
    assert sorted(one.metadata["step"] for one in exp.list_artifacts(ArtifactType.CHECKPOINT)) == [*range(10)]
    assert contents(exp, "other-custom") == [b"other"]
    assert exp.get_artifact("other-custom").aliases == ("best",)
    assert len(exp.list_artifacts()) == 11


@pytest.mark.parametrize("frozen", [False, True], ids=["in the middle", "before anything is submitted"])
def test_what_was_seen_before_a_kill_is_delivered_by_the_next_run_once(home: Path, frozen: bool) -> None:
    killed(home, frozen=frozen)
    for _ in range(2):
        with Experiment("captured", artifacts=True) as exp:
            assert exp.flush(30.0) == 0
        all_is_there()
    assert list((home / ".tracelet" / "captured").rglob("*.*")) == []


@pytest.mark.parametrize("frozen", [False, True], ids=["in the middle", "before anything is submitted"])
def test_what_was_seen_before_a_kill_is_delivered_by_sync(home: Path, frozen: bool) -> None:
    killed(home, frozen=frozen)
    notes = [
        one.detail for one in check_up(home / ".tracelet", TraceletSettings(), registry()) if one.subject == "captures"
    ]
    assert notes == (["11 captures of dead processes are not in the outbox yet"] if frozen else notes)
    collect(home / ".tracelet", TraceletSettings(), registry(), older_than=time.time() + 60)
    report = sync(home / ".tracelet", TraceletSettings(backend=["nothing-like-it"]), registry(), lambda delivery: None)
    assert report.complete
    all_is_there()


def test_captures_for_a_backend_that_is_not_installed_any_more_are_told_and_kept(home: Path) -> None:
    killed(home, frozen=True)
    (journal,) = (home / ".tracelet" / "captured").rglob("*.jsonl")
    whole = journal.read_text()
    journal.write_text(whole.replace('"backends": ["local"]', '"backends": ["gone"]'))
    report = sync(home / ".tracelet", TraceletSettings(), registry(), lambda delivery: None)
    assert [(one.name, one.backend) for one in report.left] == [("state.bin", "gone")] * 10 + [("other.bin", "gone")]
    assert "'gone'" in report.left[0].reason
    journal.write_text(whole)
    assert sync(home / ".tracelet", TraceletSettings(), registry(), lambda delivery: None).complete
    all_is_there()


def test_a_line_that_the_kill_cut_off_costs_the_others_nothing(home: Path) -> None:
    killed(home, frozen=True)
    (journal,) = (home / ".tracelet" / "captured").rglob("*.jsonl")
    with journal.open("ab") as stream:
        stream.write(b'{"number": 11, "key"')
    (home / ".tracelet" / "captured" / "captured" / "0~empty.jsonl").write_bytes(b"")
    with Experiment("captured", artifacts=True):
        pass
    all_is_there()


def test_what_another_process_is_finishing_is_left_to_it(home: Path) -> None:
    killed(home, frozen=True)
    (journal,) = (home / ".tracelet" / "captured").rglob("*.jsonl")
    assert Lease(journal).take()
    with Experiment("captured", artifacts=True) as exp:
        assert exp.flush(5.0) == 0
    assert exp.list_artifacts() == []
    report = sync(home / ".tracelet", TraceletSettings(), registry(), lambda delivery: None)
    assert {one.reason for one in report.left} == {"another process is on it."}


# -- trouble


def test_what_cannot_be_captured_is_one_warning_and_no_more(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    hand.show(Detection(path=home / "absent.bin", type=ArtifactType.CUSTOM))
    hand.show(Detection(model=object(), type=ArtifactType.MODEL, name="no-model"))
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert [one.name for one in exp.list_artifacts()] == ["x-custom"]
    said = [record for record in caplog.records if record.name == "tracelet.automagic"]
    assert [record.levelno for record in said if "is not captured" in record.message] == [logging.WARNING] * 2


def test_metadata_that_cannot_be_stored_costs_itself_only(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM, metadata={"live": object()}))
    exp.stop()
    assert exp.get_artifact("x-custom").metadata == {}
    assert f"{home / 'x.bin'} is captured without its metadata" in caplog.text


def test_debug_tells_why_each_thing_was_or_was_not_captured(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    exp = run(capture_exclude=["*.tmp"])
    path = write(home / "x.bin")
    for _ in range(2):
        hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    hand.show(Detection(path=write(home / "x.tmp"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert f"{path} is captured as custom 'x-custom'." in caplog.text
    assert f"{path} is not captured: it was captured with this content." in caplog.text
    assert f"{home / 'x.tmp'} is not captured: the include and exclude patterns leave it out." in caplog.text


def test_what_was_seen_is_submitted_though_the_time_for_stopping_is_over(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run(stop_timeout=0.01)
    for number in range(30):
        hand.show(Detection(path=write(home / f"{number}.bin", b"%d" % number), type=ArtifactType.CUSTOM))
    exp.stop()
    later = Experiment("captured", artifacts=True).start()
    assert later.flush(30.0) == 0
    later.stop()
    assert len(later.list_artifacts()) == 30


@pytest.mark.parametrize("moment", ["made", "started"])
def test_a_detector_that_nobody_named_is_a_warning_whatever_it_asks_for(
    run: Run, hand: ModuleType, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    def refuse(context: Any) -> None:
        raise ConfigError("there is nothing to hold: give it a hand.")

    hand.kind = hand.Refusing if moment == "started" else refuse
    assert run().run_id
    (said,) = [one.message for one in caplog.records if one.name == "tracelet.automagic"]
    assert said == "the detector 'hand' does not start: ConfigError: there is nothing to hold: give it a hand."


@pytest.mark.parametrize("error", [ZeroDivisionError("1 / 0"), SystemExit(3), AssertionError(), GeneratorExit()])
def test_a_detector_that_cannot_be_made_is_one_warning_and_the_run_goes_on(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fail(context: Any) -> None:
        raise error

    hand.kind = fail
    exp = run()
    artifact = exp.create_artifact("x", ArtifactType.CUSTOM).add_file(write(home / "x.bin"))
    assert exp.log_artifact(artifact).ok
    exp.stop()
    (said,) = [one for one in caplog.records if one.name == "tracelet.automagic"]
    assert said.levelname == "WARNING"
    assert said.message.startswith(f"the detector 'hand' does not start: {type(error).__name__}")


def test_what_is_no_detector_is_one_warning(run: Run, hand: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    hand.kind = lambda context: "a detector"
    run().stop()
    assert "the detector 'hand' does not start: TypeError: 'a detector' is no detector" in caplog.text
    assert "does not stop" not in caplog.text


def test_a_detector_that_fails_is_a_warning(run: Run, hand: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    hand.kind = hand.Clumsy
    run().stop()
    assert "the detector 'hand' does not start: RuntimeError: no hands" in caplog.text
    assert "the detector 'hand' does not stop: RuntimeError: no hands either" in caplog.text


def test_a_detector_that_does_not_stop_holds_nothing_up(run: Run, hand: ModuleType, home: Path) -> None:
    hand.kind = hand.Stuck
    exp = run(stop_timeout=1.0)
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert [one.name for one in exp.list_artifacts()] == ["x-custom"]


def test_a_forked_process_captures_nothing_of_its_parents_and_says_so(
    run: Run, hand: ModuleType, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exp = run()
    path = write(home / "x.bin")
    child = os.fork()
    if child == 0:
        logging.basicConfig(force=True)
        hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    exp.stop()
    assert exp.list_artifacts() == []
    assert "this process was forked from the one that captures" in capfd.readouterr().err


@pytest.mark.parametrize("ends", [[False], [False, True], [True, False]], ids=str)
def test_a_training_that_broke_off_last_is_the_end_of_the_run_that_nobody_ends(
    run: Run, hand: ModuleType, monkeypatch: pytest.MonkeyPatch, ends: list[bool]
) -> None:
    exp, told = run(), []
    monkeypatch.setattr(exp._artifact_manager, "end", lambda *, failed: told.append(failed))
    for completed in ends:
        hand.contexts[-1].outcome(completed)
    exp._stop_at_exit()
    assert told == [not ends[-1]]
    monkeypatch.undo()
    exp._artifact_manager.end(failed=False)


def test_only_rank_0_captures(run: Run, hand: ModuleType) -> None:
    run(rank=1)
    assert hand.listeners == []


def test_nothing_is_captured_while_artifacts_are_off(
    home: Path, hand: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with Experiment("off", automagic_artifacts=True):
        assert hand.listeners == []
    assert "nothing is captured by itself while artifacts are off" in caplog.text


def test_watching_without_directories_is_a_warning(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run(watch_filesystem=True)
    assert "artifact_watch_dirs names no directory" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a path or of a model"),
        ({"path": Path("x"), "model": 1}, "a path or of a model"),
        ({"model": 1}, "needs a name and a type"),
    ],
)
def test_a_detection_is_of_one_thing(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Detection(**given)


def test_a_setting_that_one_of_tracelets_own_cannot_work_with_is_an_error_at_the_start(home: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=[write(home / "file")])
    with pytest.raises(ConfigError, match="is a file: give the directory that it is in"):
        Experiment("captured", artifacts=True, config=config).start()
    assert {thread.name for thread in threading.enumerate()} - before <= {"tracelet-local"}


def test_what_is_gone_before_its_save_is_over_is_not_captured(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    path = home / "x.bin"
    with ThreadPoolExecutor(1) as watcher, saving(path):
        write(path)
        watcher.submit(hand.show, Detection(path=path, type=ArtifactType.CUSTOM)).result()
        time.sleep(0.2)
        path.unlink()
    exp.stop()
    assert exp.list_artifacts() == []
    assert counts(exp) == {"vanished": 1}


def test_a_save_that_is_not_over_at_the_end_is_counted_and_told(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run(stop_timeout=0.5)
    path = home / "x.bin"
    with ThreadPoolExecutor(1) as watcher, saving(path):
        write(path, "half")
        watcher.submit(hand.show, Detection(path=path, type=ArtifactType.CUSTOM)).result()
        exp.stop()
    assert exp.list_artifacts() == []
    assert "not everything was captured: 1 unfinished" in caplog.text


def test_a_file_that_grows_while_it_is_kept_is_kept_when_it_has_grown(
    run: Run, hand: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = run()
    path = write(home / "x.bin", "begun")
    more = [b" and grown", b" and done"]

    def grow(*_: object) -> bool:
        # It is open by now, and none of its bytes is read.
        if more:
            with path.open("ab") as stream:
                stream.write(more.pop(0))
        return False

    monkeypatch.setattr(files, "_clone", grow)
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    exp.stop()
    assert contents(exp, "x-custom") == [b"begun and grown and done"]


def test_a_folder_of_which_one_file_cannot_be_kept_leaves_nothing_behind(
    run: Run, hand: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    folder = write(home / "folder" / "a.bin").parent
    write(folder / "b.bin")
    honest = snapshots.copy_file

    def copy(source: Path, target: Path, *, durable: bool) -> object:
        if source.name == "b.bin":
            raise OSError(28, "No space left on device")
        return honest(source, target, durable=durable)

    monkeypatch.setattr(snapshots, "copy_file", copy)
    hand.show(Detection(path=folder, type=ArtifactType.CUSTOM))
    assert "No space left on device" in caplog.text
    assert [*(home / ".tracelet" / "staging").rglob("*.bin")] == []
    exp.stop()
    assert exp.list_artifacts() == []


def test_what_cannot_be_submitted_is_one_warning_and_the_next_has_its_turn(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM, aliases=("v3",)))
    hand.show(Detection(path=write(home / "y.bin"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert [one.name for one in exp.list_artifacts()] == ["y-custom"]
    assert f"{home / 'x.bin'} is not captured: " in caplog.text
    assert "not everything was captured: 1 failed" in caplog.text


def test_what_takes_for_ever_to_submit_is_left_to_the_next_run_and_told(
    run: Run, hand: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()
    monkeypatch.setattr(queue, "_MINUTE", 0.1)
    monkeypatch.setattr(processor, "content_of", lambda path: over.wait())
    exp = run(stop_timeout=0.2)
    hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert "1 capture was not submitted in time: a later run does that, or `tracelet sync`." in caplog.text
    assert len([*(home / ".tracelet" / "captured").rglob("*.jsonl")]) == 1
    over.set()


@pytest.mark.parametrize("told", [None, "x.bin", 3])
def test_what_is_no_detection_is_a_warning_and_nothing_to_whoever_trains(
    run: Run, hand: ModuleType, caplog: pytest.LogCaptureFixture, told: Any
) -> None:
    run()
    hand.show(told)
    assert f"a detector told of a {type(told).__name__}, which is no Detection: it is not captured." in caplog.text


class Weighed:
    """A model that raises something when it is asked for its parameters."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def parameters(self) -> Any:
        raise self.error


def test_a_model_that_wants_to_exit_while_it_is_weighed_is_a_warning(
    run: Run, hand: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    run()
    hand.show(Detection(model=Weighed(SystemExit(3)), type=ArtifactType.MODEL, name="toy"))
    assert "Weighed is not captured: SystemExit: 3" in caplog.text


@pytest.mark.parametrize("moment", ["made", "started", "seen"])
def test_the_users_own_interruption_is_kept_from_nobody(run: Run, hand: ModuleType, moment: str) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    if moment == "made":
        hand.kind = interrupted
    elif moment == "started":
        hand.kind = lambda context: SimpleNamespace(start=lambda emit: interrupted(), stop=lambda: None)

    def train() -> None:
        run()
        hand.show(Detection(model=Weighed(KeyboardInterrupt()), type=ArtifactType.MODEL, name="toy"))

    with pytest.raises(KeyboardInterrupt):
        train()


def test_a_model_that_is_seen_alive_comes_back_alive(run: Run, hand: ModuleType, toys: ModuleType) -> None:
    exp = run()
    hand.show(Detection(model=toys.Line(7), type=ArtifactType.MODEL, name="toy", aliases=("final",)))
    exp.stop()
    assert exp.get_artifact("toy", version="final").load_model() == toys.Line(7)


def test_a_process_that_is_not_the_one_that_captures_is_told_so_once(
    run: Run, hand: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    monkeypatch.setattr(exp._artifact_manager._captures.own, "_pid", os.getppid())
    for _ in range(2):
        hand.show(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    assert caplog.text.count("forked from the one that captures") == 1
    exp.stop()
    assert exp.list_artifacts() == []


def test_what_is_seen_after_the_end_is_not_captured(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    (emit,) = hand.listeners
    exp.stop()
    emit(Detection(path=write(home / "x.bin"), type=ArtifactType.CUSTOM))
    assert exp.list_artifacts() == []
    assert counts(exp) == {}


def test_what_cannot_be_kept_when_its_save_is_over_is_one_warning(
    run: Run, hand: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    exp = run()
    path = home / "x.bin"
    with ThreadPoolExecutor(1) as watcher, saving(path):
        write(path)
        watcher.submit(hand.show, Detection(path=path, type=ArtifactType.CUSTOM)).result()
        monkeypatch.setattr(snapshots, "copy_file", full)
    exp.stop()
    assert "No space left on device" in caplog.text
    assert counts(exp) == {"failed": 1}


def test_what_was_done_with_before_a_kill_is_not_done_again(home: Path) -> None:
    killed(home, frozen=True)
    (journal,) = (home / ".tracelet" / "captured").rglob("*.jsonl")
    with journal.open("ab") as stream:
        stream.write(b'{"done": 10}\n')
    with Experiment("captured", artifacts=True) as exp:
        assert exp.flush(30.0) == 0
    assert {one.name for one in exp.list_artifacts()} == {"state-checkpoint"}


def test_the_limit_is_about_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = filters.CaptureFilters(TraceletSettings(capture_max_per_minute=1))
    assert bounds.due("a") is not None
    assert bounds.due("b") is None
    monkeypatch.setattr(filters, "_MINUTE", 0.0)
    assert bounds.due("b") is not None


def test_a_file_that_is_written_again_since_it_was_found_complete_is_not_captured_half(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    path = write(home / "x.bin", "complete")
    found = stamp(path.stat())
    write(path, "hal")
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM, stamp=found))
    write(path, "whole again")
    for how in ("copy", "link"):
        hand.show(Detection(path=path, type=ArtifactType.CUSTOM, stamp=stamp(path.stat()), snapshot=how))
    exp.stop()
    assert contents(exp, "x-custom") == [b"whole again"]
    assert counts(exp) == {"captured": 1, "outdated": 1, "unchanged": 1}


@pytest.mark.parametrize("beside", [False, True])
def test_files_of_which_one_is_written_again_since_they_were_found_complete_are_not_captured_half(
    run: Run, hand: ModuleType, home: Path, beside: bool
) -> None:
    exp = run()
    head, part = write(home / "whole" / "a.bin", "head"), write(home / "whole" / "b.bin", "part")
    what = {"path": head, "beside": (part,)} if beside else {"path": head.parent}

    def show() -> None:
        write(head.parent / "c.bin", "begun since")
        hand.show(Detection(type=ArtifactType.CUSTOM, name="whole", stamps=found, **what))

    found = {path: stamp(path.stat()) for path in ((part,) if beside else (head, part))}
    write(part, "hal")
    show()
    write(part, "whole again")
    found[part] = stamp(part.stat())
    show()
    exp.stop()
    (one,) = exp.list_artifacts()
    assert {file.artifact_path: (one.download() / file.artifact_path).read_text() for file in one.files} == {
        "a.bin": "head",
        "b.bin": "whole again",
    }
    assert counts(exp) == {"captured": 1, "outdated": 1}


def test_a_snapshot_that_somebody_deleted_costs_the_others_nothing(home: Path) -> None:
    killed(home, frozen=True)
    (lost,) = (home / ".tracelet" / "staging").glob("*/10")
    lost.unlink()
    with Experiment("captured", artifacts=True) as exp:
        assert exp.flush(30.0) == 0
    assert {one.name for one in exp.list_artifacts()} == {"state-checkpoint"}
