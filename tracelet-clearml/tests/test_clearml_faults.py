"""What fails on ClearML's side is told in time, is never taken for success, and can be stored when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import clearml_user, programs
from servers.clearml_hands import Hands, processes_with
from servers.clearml_server import ClearmlServer
from servers.processes import free_port
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    ConfigError,
)
from tracelet.plugin import ArtifactType, Labels
from tracelet.testing.driver import DriverDied

#: Seconds that a server gets for an answer, and a healthy one on a busy machine needs less than.
_PATIENCE = 2 * programs.pace()
_SHORT = {"TRACELET_CLEARML_REQUEST_TIMEOUT": str(_PATIENCE)}
_BROKEN = ["500", "502", "503", "504", "429", "reset", "cut", "garbage", "hang"]
_ANYWHERE = ["503", "reset", "garbage", "hang"]
_MATRIX = [
    *(("tasks.edit", kind) for kind in _BROKEN),
    *((match, kind) for match in ("tasks.create", "tasks.get_all", "files.POST") for kind in _ANYWHERE),
]


@pytest.fixture
def strict(hands: Hands, experiment: str) -> Iterator[Any]:
    """A process whose run has begun, with little patience."""
    opened = hands.open(experiment, "impatient", _SHORT)
    opened.start()
    opened.put(hands.samples.seal("before", {"x": b"0"}))
    yield opened
    hands.server.fail()
    opened.close()


@pytest.mark.parametrize(("match", "kind"), _MATRIX)
def test_a_server_that_is_not_well_is_told_and_nothing_is_stored(
    hands: Hands, server: ClearmlServer, experiment: str, strict: Any, match: str, kind: str
) -> None:
    """None of the SDK's endless loops is entered, and the same artifact can be stored when it is over."""
    sealed = hands.samples.seal("model", {"x": f"{match} {kind}".encode()})
    server.fail({"match": match, "kind": kind, "times": 1000, "seconds": 2 * _PATIENCE})
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        strict.put(sealed)
    assert programs.soon(time.monotonic() - began, 15)
    server.fail()
    assert strict.find("model") is None
    delivered = strict.deliver(sealed, again=True)
    assert delivered.created
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": f"{match} {kind}".encode()}
    assert len(strict.list("model")) == 1


@pytest.mark.parametrize("kind", ["model", "dataset"])
@pytest.mark.parametrize("match", ["files.POST", "models|tasks.add_or_update", "tasks.completed|models.create"])
def test_models_and_datasets_fail_as_loudly(
    hands: Hands, server: ClearmlServer, experiment: str, strict: Any, match: str, kind: str
) -> None:
    """The SDK's own calls go through the same bounds as ours."""
    sealed = hands.samples.seal(kind, {"x": b"1", "y": b"2"}, type=ArtifactType(kind))
    server.fail({"match": match, "kind": "503", "times": 1000})
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        strict.put(sealed)
    assert programs.soon(time.monotonic() - began, 15)
    server.fail()
    assert strict.find(kind) is None
    strict.deliver(sealed, again=True)
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"1", "y": b"2"}
    if kind == "dataset":
        assert hands.user.call(clearml_user.dataset, experiment, kind, "v0")["content"] == {"x": b"1", "y": b"2"}


@pytest.mark.parametrize("match", ["tasks.add_or_update_artifacts", "tasks.edit", "files.POST"])
def test_a_server_that_says_yes_and_does_nothing_is_not_believed(
    hands: Hands, server: ClearmlServer, strict: Any, match: str
) -> None:
    sealed = hands.samples.seal("model", {"x": b"1"})
    server.fail({"match": match, "kind": "lie", "times": 1000})
    with pytest.raises(BackendError):
        strict.put(sealed)
    server.fail()
    assert strict.find("model") is None


@pytest.mark.parametrize("kind", ["model", "dataset"])
@pytest.mark.parametrize("match", ["files.POST", "models|tasks.add_or_update|tasks.completed"])
def test_a_model_or_dataset_that_is_not_there_is_not_believed(
    hands: Hands, server: ClearmlServer, strict: Any, match: str, kind: str
) -> None:
    """The SDK looks at none of the answers."""
    sealed = hands.samples.seal(kind, {"x": b"1", "y": b"2"}, type=ArtifactType(kind))
    server.fail({"match": match, "kind": "lie", "times": 1000})
    with pytest.raises(BackendError):
        strict.put(sealed)
    server.fail()
    assert strict.find(kind) is None


@pytest.mark.parametrize("match", ["tasks.create", "tasks.edit", "tasks.add_or_update_artifacts"])
def test_an_answer_that_is_lost_does_not_store_twice(
    hands: Hands, server: ClearmlServer, experiment: str, strict: Any, match: str
) -> None:
    sealed = hands.samples.seal("model", {"x": b"1"})
    server.fail({"match": match, "kind": "lost"})
    with pytest.raises(BackendUnavailable):
        strict.put(sealed)
    strict.deliver(sealed, again=True)
    (only,) = hands.open(experiment, "reader").list("model")
    assert only.manifest == sealed.manifest


def test_reading_from_a_server_that_is_not_well_is_not_reading_nothing(
    hands: Hands, server: ClearmlServer, strict: Any
) -> None:
    stored = strict.find("before")
    for kind in ("503", "reset", "garbage"):
        server.fail({"match": "get_all|files.GET", "kind": kind, "times": 1000})
        for attempt in (lambda: strict.find("before"), strict.list, lambda: strict.find("absent")):
            with pytest.raises(BackendUnavailable):
                attempt()
    for kind in ("500", "cut"):
        server.fail({"match": "files.GET", "kind": kind, "times": 1000})
        with pytest.raises(BackendUnavailable):
            strict.content(stored, hands.new_folder())


@pytest.mark.parametrize("match", ["tasks.get_all", "files.GET"])
def test_a_server_that_answers_a_byte_at_a_time_is_not_waited_for_to_the_end(
    hands: Hands, server: ClearmlServer, strict: Any, match: str
) -> None:
    """Each byte comes in time; all of them would take minutes."""
    sealed = hands.samples.seal("long", {"x": b"x" * 2000})
    stored = strict.put(sealed)
    server.fail({"match": match, "kind": "drip", "seconds": _PATIENCE / 20, "times": 1000})
    server.calls(clear=True)
    with pytest.raises(BackendUnavailable):
        strict.content(stored, hands.new_folder()) if match == "files.GET" else strict.find("long")
    server.fail()
    assert hands.content(strict, sealed) == {"x": b"x" * 2000}
    dripped = [call["dripped"] for call in server.calls() if "dripped" in call]
    assert dripped
    assert max(dripped) < 100


def test_bytes_that_are_gone_are_told_as_gone(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("model", {"x": b"1"}))
    (blob,) = stored.locator["place"]["blobs"]
    (server.files / blob["uri"].removeprefix(server.files_url).lstrip("/")).unlink()
    with pytest.raises(ArtifactNotFound):
        hands.open(experiment, "reader").content(stored, hands.new_folder())


def test_a_file_server_that_is_not_there_is_told_at_once(hands: Hands, experiment: str, tmp_path: Path) -> None:
    """Three files wait for 45 seconds each otherwise."""
    environ = {**hands.server.environ(tmp_path / "home"), "CLEARML_FILES_HOST": f"http://127.0.0.1:{free_port()}"}
    with hands.stranger(environ) as role:
        opened = hands.open(experiment, role)
        opened.start()
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match="file server"):
            opened.put(hands.samples.seal("model", {"x": b"1", "y": b"2", "z": b"3"}))
        assert programs.soon(time.monotonic() - began, 30)
        assert opened.list() == []


def test_a_file_server_that_does_not_let_us_in_is_not_one_without_the_file(
    hands: Hands, server: ClearmlServer, strict: Any
) -> None:
    stored = strict.find("before")
    server.fail({"match": "files", "kind": "403", "times": 1000})
    with pytest.raises(BackendAuthError, match="CLEARML_API_ACCESS_KEY"):
        strict.put(hands.samples.seal("model", {"x": b"1"}))
    with pytest.raises(BackendAuthError, match="CLEARML_API_ACCESS_KEY"):
        strict.content(stored, hands.new_folder())


@pytest.mark.parametrize("code", [12, 16, 407, 409, 800])
def test_a_request_that_clearml_does_not_take_is_no_fault_of_the_artifact(
    hands: Hands, server: ClearmlServer, strict: Any, code: int
) -> None:
    """It is kept, and stored by whatever version of either knows better."""
    server.fail({"match": "tasks.create", "kind": "invalid", "code": code})
    sealed = hands.samples.seal("model", {"x": b"1"})
    with pytest.raises(BackendError, match="no fault of the artifact's") as told:
        strict.put(sealed)
    assert told.value.retryable
    assert strict.find("model") is None
    assert strict.deliver(sealed, again=True).created


@pytest.mark.parametrize(("levels", "kind"), [(11, "custom"), (10, "custom"), (9, "dataset")])
def test_an_experiment_of_more_levels_than_clearml_has_is_not_tried_again(
    hands: Hands, experiment: str, levels: int, kind: str
) -> None:
    """Projects go ten deep; the index is one below the experiment's, and datasets are two."""
    opened = hands.open("/".join([experiment] * levels), f"deep-{levels}")
    with pytest.raises(ArtifactError, match="fewer levels"):
        opened.put(hands.samples.seal("data", {"x": b"1"}, type=ArtifactType(kind)))
    if levels == 9:
        opened.put(hands.samples.seal("other", {"x": b"1"}))
        assert [one.version for one in opened.list()] == ["v0"]


@pytest.mark.parametrize("fault", [{"kind": "invalid", "code": 131}, {"kind": "500"}, {"kind": "reset"}])
def test_what_cannot_be_shown_as_a_debug_sample_is_stored_all_the_same(
    hands: Hands, server: ClearmlServer, experiment: str, fault: dict[str, Any]
) -> None:
    """ClearML keeps those in another database than all the rest; a warning tells it."""
    role = f"shower-{fault.get('code', fault['kind'])}"
    opened = hands.open(experiment, role)
    sealed = hands.samples.seal("cat", {"cat.png": b"1"}, type=ArtifactType.IMAGE)
    server.fail({"match": "events.add_batch", "times": 1000, **fault})
    assert opened.put(sealed).version == "v0"
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"cat.png": b"1"}
    assert "does not show it as a debug sample" in hands.said(role)
    assert [event for event in server.dump()["events"] if event.get("metric") == "cat"] == []


@pytest.mark.parametrize(
    ("kind", "error"),
    [("503", BackendUnavailable), ("429", BackendUnavailable), ("hang", BackendUnavailable), ("garbage", ConfigError)],
)
def test_a_server_that_is_not_well_at_the_login_is_told_in_time(
    hands: Hands, server: ClearmlServer, experiment: str, kind: str, error: type[Exception]
) -> None:
    """The SDK by itself tries 240 times, up to two minutes apart; and takes another server's page for wrong credentials."""
    server.fail({"match": "auth.login", "kind": kind, "times": 1000, "seconds": 2 * _PATIENCE})
    began = time.monotonic()
    with pytest.raises(error):
        hands.open(experiment, "impatient", _SHORT)
    assert programs.soon(time.monotonic() - began, 10)


def test_a_server_behind_a_proxy_is_reached_through_it(
    hands: Hands, server: ClearmlServer, experiment: str, tmp_path: Path
) -> None:
    """Its name means nothing on this machine, so nothing may be looked for there beforehand."""
    environ = server.environ(tmp_path / "home") | {"CLEARML_API_HOST": "http://clearml.invalid:8008"}
    environ |= {"HTTP_PROXY": server.api_url, "http_proxy": server.api_url}
    environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with hands.stranger(environ) as role:
        opened = hands.open(experiment, role)
        sealed = hands.samples.seal("model", {"x": b"1"})
        opened.put(sealed)
        opened.close()
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"1"}


def test_a_token_that_is_over_is_no_refusal(tmp_path: Path) -> None:
    """The SDK gets a new one, and asks again with the old one."""
    with ClearmlServer(tmp_path / "server") as server, Hands(server, tmp_path / "hands") as hands:
        opened = hands.open("renewed")
        for number, kind in enumerate((ArtifactType.CUSTOM, ArtifactType.DATASET, ArtifactType.MODEL)):
            server.ask("/__expire")
            opened.put(hands.samples.seal(f"data-{number}", {"x": b"1"}, type=kind))
        server.ask("/__expire")
        assert len(opened.list()) == 3
        assert server.strangers() == []


def test_a_dataset_that_was_given_up_is_not_said_to_be_at_work(
    hands: Hands, server: ClearmlServer, experiment: str, tmp_path: Path
) -> None:
    """The SDK tells the server so in a thread of its own, for as long as the process lives."""
    environ = server.environ(tmp_path / "home")
    often = "sdk.development.worker { ping_period_sec: 1, report_period_sec: 1 }\n"
    Path(environ["CLEARML_CONFIG_FILE"]).write_text(often)
    with hands.stranger(environ) as role:
        opened = hands.open(experiment, role)
        opened.start()
        server.fail({"match": "files.POST", "kind": "503", "times": 1000})
        with pytest.raises(BackendUnavailable):
            opened.put(hands.samples.seal("set", {"x": b"1"}, type=ArtifactType.DATASET))
        server.calls(clear=True)
        time.sleep(3)
        assert server.calls() == []
        server.fail()
        made = [one for one in server.dump()["tasks"].values() if one["name"] == "set"]
        assert [one["status"] for one in made] == ["failed"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"CLEARML_API_SECRET_KEY": "wrong"}, BackendAuthError, "CLEARML_API_ACCESS_KEY"),
        ({"CLEARML_API_SECRET_KEY": "", "CLEARML_API_ACCESS_KEY": ""}, BackendAuthError, "no credentials"),
        (
            {"CLEARML_API_SECRET_KEY": "", "CLEARML_API_ACCESS_KEY": "", "CLEARML_IGNORE_MISSING_CONFIG": "1"},
            BackendAuthError,
            "no credentials",
        ),
        ({"CLEARML_API_HOST": "http://127.0.0.1:9"}, BackendUnavailable, "API server at http://127.0.0.1:9"),
        ({"CLEARML_API_HOST": "https"}, BackendUnavailable, "SSL"),
    ],
    ids=["wrong", "none", "none-and-ignored", "unreachable", "certificate"],
)
def test_each_way_of_not_getting_in_says_what_to_do(
    hands: Hands, experiment: str, tmp_path: Path, change: dict[str, str], error: type[BackendError], words: str
) -> None:
    """And in a few seconds, without a prompt, and without a word of the secrets."""
    environ = {**hands.server.environ(tmp_path / "home"), **change}
    if environ["CLEARML_API_HOST"] == "https":
        environ["CLEARML_API_HOST"] = hands.server.api_url.replace("http:", "https:")
    with hands.stranger(environ) as role:
        began = time.monotonic()
        with pytest.raises(error, match=words) as told:
            hands.open(experiment, role)
        assert programs.soon(time.monotonic() - began, 20)
        assert "test-secret-key" not in str(told.value)
        assert told.value.retryable


LOGGING = """
import json, os, time
from tracelet import ArtifactType, Experiment, ExperimentConfig

PACE = float(os.environ["TEST_PACE"])

exp = Experiment("troubled", backend="clearml", artifacts=True, config=ExperimentConfig(deadline=3 * PACE, stop_timeout=3 * PACE))
exp.start()
artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
artifact.add_object({"x": 1}, "x")
began = time.monotonic()
results = exp.log_artifact(artifact)
took = time.monotonic() - began
began = time.monotonic()
exp.stop()
print(json.dumps([list(results), {k: type(e).__name__ for k, e in results.queued.items()}, took, time.monotonic() - began]))
"""
TELLING = """
import json, os
from tracelet import ArtifactType, Experiment, ExperimentConfig

PACE = float(os.environ["TEST_PACE"])

with Experiment("troubled", backend="clearml", artifacts=True, config=ExperimentConfig(deadline=15 * PACE)) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object({"x": 1}, "x")
    results = exp.log_artifact(artifact)
print(json.dumps([list(results), {name: str(error) for name, error in results.queued.items()}]))
"""
SENDING = """
import json
from tracelet import Experiment
with Experiment("troubled", backend="clearml", artifacts=True) as exp:
    left = exp.flush(600)
    print(json.dumps([left, [(a.name, a.version) for a in exp.list_artifacts()]]))
"""


def test_with_every_server_dead_a_program_goes_on_and_a_later_one_delivers_once(tmp_path: Path) -> None:
    """The answer comes within the deadline, the exit is prompt, and a frozen server is no worse than a dead one."""
    server = ClearmlServer(tmp_path / "server")
    environ = {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    stored, queued, took, ending = programs.run(LOGGING, tmp_path / "dead", environ)
    assert (stored, list(queued)) == ([], ["clearml"])
    assert programs.soon(took, 6)
    assert programs.soon(ending, 6)
    with server:
        server.process.stop()
        stored, queued, took, ending = programs.run(LOGGING.replace('"x": 1', '"x": 2'), tmp_path / "frozen", environ)
        assert (stored, list(queued)) == ([], ["clearml"])
        assert programs.soon(took, 6)
        assert programs.soon(ending, 6)
        assert not processes_with(environ["TRACELET_DIR"])
        server.process.go_on()
        left, listed = programs.run(SENDING, tmp_path / "later", environ)
        assert left == 0
        assert sorted(listed) == [["data", "v0"], ["data", "v1"]]
        left, listed = programs.run(SENDING, tmp_path / "again", environ)
        assert (left, len(listed)) == (0, 2)
        assert server.strangers() == []


HANGING = """
import json, os
from tracelet import ArtifactType, Experiment, ExperimentConfig

PACE = float(os.environ["TEST_PACE"])

exp = Experiment(NAME, backend="clearml", artifacts=True, config=ExperimentConfig(deadline=10 * PACE, stop_timeout=40 * PACE))
exp.start()
told = []
for number in range(2):
    artifact = exp.create_artifact(f"data-{number}", ArtifactType.CUSTOM)
    artifact.add_object(number, "x")
    told.append(sorted(exp.log_artifact(artifact).queued))
told.append(exp.flush(40 * PACE))
exp.stop()
print(json.dumps(told))
"""


def test_an_upload_that_hangs_ends_the_lane_and_not_the_run(
    hands: Hands, server: ClearmlServer, tmp_path: Path, experiment: str
) -> None:
    """The next lane goes on in the same task, and ends it."""
    environ = {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    server.fail({"match": "files.POST", "kind": "hang", "after": 1})
    told = programs.run(HANGING.replace("NAME", repr(experiment)), tmp_path / "program", environ)
    assert told == [[], ["clearml"], 0]
    assert not processes_with(environ["TRACELET_DIR"])
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert task["status"] == "completed"
    assert set(hands.user.call(clearml_user.task_artifacts, task["id"])) == {"data-0.v0", "data-1.v0"}


def test_without_the_sdk_the_delivery_waits_and_the_error_says_what_to_install(
    server: ClearmlServer, tmp_path: Path
) -> None:
    """It arrives when the SDK is there."""
    (tmp_path / "without" / "clearml").mkdir(parents=True)
    (tmp_path / "without" / "clearml" / "__init__.py").write_text("raise ImportError('no ClearML on this machine')")
    environ = {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}
    name = f"without-{tmp_path.name}"
    bare = {**environ, "PYTHONPATH": str(tmp_path / "without")}
    stored, told = programs.run(TELLING.replace("troubled", name), tmp_path / "bare", bare)
    assert stored == []
    assert "pip install 'tracelet-core[clearml]'" in told["clearml"]
    assert programs.run(SENDING.replace("troubled", name), tmp_path / "later", environ) == [0, [["data", "v0"]]]


def test_a_killed_put_is_taken_up_by_its_own_claim(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """The number that it asked for is its number, and nothing is left over in between."""
    server.fail({"match": "files.POST", "kind": "hang", "seconds": 30})
    victim = hands.driver("victim")
    opened = hands.open(experiment, "victim")
    opened.start()
    sealed = hands.samples.seal("model", {"x": b"1"})
    opened.begin_put_many([(sealed, Labels("1.0"))], time.time())
    with pytest.raises(DriverDied):
        victim.result(3.0)
    hands.forget("victim")
    server.fail()
    other = hands.open(experiment)
    assert other.find("model", "1.0") is None
    assert other.deliver(sealed, Labels("1.0"), again=True).stored.number == 0
    assert [one.number for one in other.list("model")] == [0]
