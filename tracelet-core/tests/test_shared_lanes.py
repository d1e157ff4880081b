"""Reading uses the process of who writes, while that is idle: how many processes there are, and that none of this costs a run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pacing import pace
from watching import FORKS, Scripted, beside

from tracelet import ArtifactType, BackendUnavailable, Experiment, TraceletArtifact
from tracelet.core.lanes import worker_process
from tracelet.core.reading import reader

Make = Callable[..., Experiment]


def artifact(name: str = "thing", text: str = "content") -> TraceletArtifact:
    Path(f"{name}.txt").write_text(text)
    return TraceletArtifact(name, ArtifactType.CONFIG).add_file(f"{name}.txt")


def text_of(exp: Experiment) -> str:
    return (exp.get_artifact("thing").download() / "thing.txt").read_text()


def wait_for(scripted: Scripted, method: str, count: int = 1) -> None:
    while len(scripted.calls(method)) < count:
        time.sleep(0.01)


# -- how many processes there are


def test_who_logs_and_then_gets_has_one_process(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    assert exp.log_artifact(artifact()).ok
    assert text_of(exp) == "content"
    assert [one.name for one in exp.list_artifacts()] == ["thing"]
    assert exp.log_artifact(artifact(text="more")).ok
    assert text_of(exp) == "more"
    assert len(scripted.calls("open")) == 1


def test_who_only_reads_has_one_process(scripted: Scripted, experiment: Make) -> None:
    with experiment() as exp:
        exp.log_artifact(artifact())
    before = len(scripted.calls("open"))
    reading = Experiment("trials", backend="scripted", artifacts=True)
    assert text_of(reading) == "content"
    assert len(reading.list_artifacts()) == 1
    reading.stop()
    assert len(scripted.calls("open")) == before + 1


@pytest.mark.parametrize("backend", ["scripted", "scripted-dumb"])
def test_who_reads_as_soon_as_a_run_begins_has_one_process(scripted: Scripted, experiment: Make, backend: str) -> None:
    exp = experiment(backend)
    assert exp.list_artifacts() == []
    assert len(scripted.calls("open")) == 1


def test_who_reads_while_the_writing_process_opens_waits_for_that(scripted: Scripted, experiment: Make) -> None:
    scripted.told(open="held")
    exp = experiment()
    wait_for(scripted, "open")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        logging = exp.submit_artifact(artifact())
        scripted.told(put="shut")
        assert reading.result(60) == []
        (scripted.place / "open").touch()
    assert logging.result(60).ok
    assert len(scripted.calls("open")) == 1


def test_a_read_that_waited_for_an_opening_that_failed_is_told_why_and_opens_nothing(
    scripted: Scripted, experiment: Make
) -> None:
    scripted.told(open="hang")
    exp = experiment(open_timeout=1.6)
    wait_for(scripted, "open")
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        exp.list_artifacts()
    assert len(scripted.calls("open")) == 1


def test_a_read_while_a_put_runs_does_not_wait_for_it_and_has_a_process_of_its_own(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    scripted.told(put="held")
    future = exp.submit_artifact(artifact("big"))
    wait_for(scripted, "put", 2)
    assert text_of(exp) == "content"
    assert not future.done()
    scripted.told()
    assert future.result(60).ok
    assert text_of(exp) == "content"
    writing, reading = scripted.calls("open")
    assert set(scripted.calls("put")) == {writing}
    assert set(scripted.calls("fetch")) == {reading}


def test_much_is_not_fetched_by_the_process_that_writes(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_MOST_BORROWED", 6)
    exp = experiment()
    exp.log_artifact(artifact())
    found = exp.get_artifact("thing")
    assert len(scripted.calls("open")) == 1
    found.download()
    assert len(scripted.calls("open")) == 2


def test_once_a_run_has_begun_that_its_process_takes_with_it_reads_have_another_process(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment("scripted-dumb", deadline=1.5)
    exp.log_artifact(artifact())
    writing = scripted.calls("open")
    scripted.told(list="hang")
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        exp.list_artifacts()
    scripted.told()
    assert exp.log_artifact(artifact("more")).ok
    assert set(scripted.calls("put")) == set(writing)
    assert len(scripted.calls("open")) == 2


# -- what a read does to who writes


def test_a_put_waits_for_a_read_that_has_begun_and_goes_on_in_the_same_process(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment(deadline=60.0)
    exp.log_artifact(artifact())
    scripted.told(list="held")
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        writing = pool.submit(exp.log_artifact, artifact("more"))
        assert not writing.done()
        scripted.told()
        assert len(reading.result(60)) == 1
        assert writing.result(60).ok
    assert len(scripted.calls("open")) == 1


@pytest.mark.parametrize("misdeed", ["hang", "crash"])
def test_after_a_read_that_ends_the_process_the_next_put_goes_to_the_same_run(
    scripted: Scripted, experiment: Make, misdeed: str
) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    scripted.told(list=misdeed)
    with pytest.raises(BackendUnavailable, match="scripted"):
        exp.list_artifacts()
    scripted.told()
    assert exp.log_artifact(artifact(text="more")).ok
    assert text_of(exp) == "more"
    exp.stop()
    first, second = scripted.calls("open")
    (run,) = {one.run_id for one in beside(exp).list_artifacts()}
    assert scripted.calls(f"start_{run}") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_a_run_whose_process_a_read_has_ended_ends_all_the_same(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    scripted.told(list="crash")
    with pytest.raises(BackendUnavailable):
        exp.list_artifacts()
    scripted.told()
    exp.stop()
    first, second = scripted.calls("open")
    assert scripted.calls("start") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_a_run_ends_that_got_nothing_new_since_a_read_ended_its_process(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    scripted.told(list="crash")
    with pytest.raises(BackendUnavailable):
        exp.list_artifacts()
    scripted.told()
    assert exp.log_artifact(artifact()).ok
    exp.stop()
    first, second = scripted.calls("open")
    assert scripted.calls("start") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_a_run_that_stored_nothing_is_not_begun_because_a_read_ended_the_process(
    scripted: Scripted, experiment: Make
) -> None:
    with experiment() as exp:
        exp.log_artifact(artifact())
    exp = experiment()
    assert exp.log_artifact(artifact()).ok
    scripted.told(list="crash")
    with pytest.raises(BackendUnavailable):
        exp.list_artifacts()
    scripted.told()
    exp.stop()
    assert len(scripted.calls("start")) == 1


def test_a_run_ends_whose_read_is_interrupted_twice(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second Ctrl-C comes while the process is ended that the first one interrupted."""
    exp = experiment(deadline=600.0)
    exp.log_artifact(artifact())
    scripted.told(list="hang")

    def interrupt() -> None:
        wait_for(scripted, "list")
        os.kill(os.getpid(), signal.SIGINT)

    def again(*_: object) -> None:
        patched.undo()
        raise KeyboardInterrupt

    interrupting = threading.Thread(target=interrupt)
    with monkeypatch.context() as patched:
        patched.setattr(worker_process, "end_family", again)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            exp.list_artifacts()
    interrupting.join()
    scripted.told()
    exp.stop()
    first, second = scripted.calls("open")
    assert scripted.calls("start") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_stop_ends_a_read_that_hangs_and_makes_the_delivery_behind_it(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(deadline=600.0)
    exp.log_artifact(artifact())
    scripted.told(list="hang")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        future = exp.submit_artifact(artifact("more"))
        scripted.told()
        exp.stop()
        with pytest.raises(BackendUnavailable, match="ended in the middle of a request"):
            reading.result(60)
    assert future.result(0).ok
    first, second = scripted.calls("open")
    assert scripted.calls("put") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_a_put_that_waited_for_a_read_that_hung_is_made_in_the_next_process(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment(deadline=1.5)
    exp.log_artifact(artifact())
    scripted.told(list="hang")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        future = exp.submit_artifact(artifact("more"))
        with pytest.raises(BackendUnavailable, match="did not answer within"):
            reading.result(60)
    scripted.told()
    assert exp.flush(60) == 0
    assert future.done()
    assert len(scripted.calls("open")) == 2
    assert sorted(one.name for one in beside(exp).list_artifacts()) == ["more", "thing"]


def test_stop_ends_a_read_that_hangs_and_then_the_run(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(deadline=600.0, stop_timeout=8.0)
    exp.log_artifact(artifact())
    scripted.told(list="hang")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        exp.stop()
        with pytest.raises(BackendUnavailable, match="ended in the middle of a request"):
            reading.result(60)
    first, second = scripted.calls("open")
    assert scripted.calls("start") == [first, second]
    assert scripted.calls("stop_failed_False") == [second]


def test_stop_waits_for_a_read_that_comes_to_its_end(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(deadline=600.0, stop_timeout=600.0)
    exp.log_artifact(artifact())
    scripted.told(list="held")
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        stopping = pool.submit(exp.stop)
        while exp._artifact_manager._process.shared["scripted"]._is_offered:
            time.sleep(0.01)
        assert not stopping.done()
        scripted.told()
        assert len(reading.result(60)) == 1
        stopping.result(60)
    assert scripted.calls("stop") == scripted.calls("open")


def test_a_run_that_is_interrupted_while_it_reads_is_told_so(scripted: Scripted, experiment: Make) -> None:
    """Ctrl-C ends the process that reads, and that is the one which has begun the run."""

    def interrupt() -> None:
        wait_for(scripted, "list")
        scripted.told()
        os.kill(os.getpid(), signal.SIGINT)

    def program() -> None:
        with experiment(deadline=600.0, stop_timeout=20.0) as exp:
            exp.log_artifact(artifact())
            scripted.told(list="shut")
            threading.Thread(target=interrupt).start()
            exp.list_artifacts()

    with pytest.raises(KeyboardInterrupt):
        program()
    first, second = scripted.calls("open")
    assert scripted.calls("stop_failed_True") == [second]
    assert scripted.calls("start") == [first, second]


@FORKS
def test_a_forked_child_reads_in_a_process_of_its_own(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    found = exp.get_artifact("thing")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int((found.download(Path("there")) / "thing.txt").read_text() != "content")
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert exp.log_artifact(artifact("more")).ok
    writing, other = scripted.calls("open")
    assert set(scripted.calls("put")) == {writing}
    assert set(scripted.calls("fetch")) == {other}


@FORKS
@pytest.mark.parametrize("backend", ["scripted", "scripted-dumb"])
def test_a_child_that_is_forked_while_its_parent_reads_reads_by_itself_and_leaves_the_parents_read_alone(
    scripted: Scripted, experiment: Make, backend: str
) -> None:
    exp = experiment(backend, deadline=600.0)
    exp.log_artifact(artifact())
    found = exp.get_artifact("thing")
    scripted.told(list="shut")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        wait_for(scripted, "list")
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            code = 1
            try:
                code = int((found.download(Path("there")) / "thing.txt").read_text() != "content")
            finally:
                os._exit(code)
        ended = os.waitpid(child, 0)[1]
        (scripted.place / "open").touch()
        assert len(reading.result(60)) == 1
    assert ended == 0


def test_what_was_found_in_a_run_can_be_read_after_it(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    found = exp.get_artifact("thing")
    exp.stop()
    assert (found.download() / "thing.txt").read_text() == "content"
    found._content.request.__self__.close(time.monotonic() + 20.0 * pace())
