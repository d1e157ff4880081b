"""Users' programs with W&B: their own runs, servers that are away or failing, and media. Real client, stand-in server."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.wandb_server import WandbServer, wandb_server

#: What every program begins with: an experiment's name, and a way to say something at the end.
HEAD = """
import json, os, sys, time
from pathlib import Path
from tracelet import ArtifactType, Experiment

def artifact(exp, name="model", content=b"weights", kind=ArtifactType.MODEL, path="w.bin"):
    Path(path).write_bytes(content)
    made = exp.create_artifact(name, kind)
    made.add_file(path)
    return made

def told(results):
    return {
        "ok": {name: [one.version, one.uri, one.pending] for name, one in results.items()},
        "queued": {name: [type(error).__name__, str(error)] for name, error in results.queued.items()},
        "failed": {name: [type(error).__name__, str(error)] for name, error in results.failed.items()},
    }
"""
SHORT = {"TRACELET_DEADLINE": "8", "TRACELET_STOP_TIMEOUT": "10"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def environ(server: WandbServer, tmp_path: Path) -> dict[str, str]:
    return {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}


def run(code: str, folder: Path, environ: dict[str, str]) -> Any:
    return programs.run(HEAD + textwrap.dedent(code), folder, environ)


def processes_of(environ: dict[str, str]) -> list[str]:
    """The processes that were started with this home, and live."""
    mark = f"HOME={environ['HOME']}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not zombie and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def none_left(environ: dict[str, str], patience: float = 120.0) -> bool:
    until = time.monotonic() + patience
    while processes_of(environ) and time.monotonic() < until:
        time.sleep(0.1)
    return not processes_of(environ)


# -- the user's own use of the SDK


def test_the_users_own_run_is_left_alone(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """It stays the active run, is not ended, and its service is not ours; ours is a run that names it."""
    code = """
    import random, signal, wandb
    hooks = sys.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    mine = wandb.init(project="mine", id="mine", settings=wandb.Settings(x_disable_stats=True))
    hooks_then, out = (sys.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)), sys.stdout
    random.seed(1)
    state = random.getstate()
    with Experiment("theirs", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
        same = wandb.run is mine
    mine.log({"loss": 1.0})
    still = [wandb.run is mine, sys.stdout is out, random.getstate() == state,
             hooks_then == (sys.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))]
    mine.finish()
    print(json.dumps([same, still, told(results)]))
    """
    same, still, results = run(code, tmp_path / "program", environ)
    assert same
    assert still == [True, True, True, True]
    assert list(results["ok"]) == ["wandb"]
    (mine,) = server.project("mine")["runs"]
    assert (mine["state"], [line["loss"] for line in mine["history"]]) == ("finished", [1.0])
    assert server.project("mine")["collections"] == {}
    (ours,) = server.project("theirs")["runs"]
    assert (ours["state"], ours["exit_code"]) == ("finished", 0)
    assert json.loads(ours["values"]["config"])["tracelet"]["value"]["user_run"] == "somebody/mine/mine"


def test_a_run_that_the_user_begins_later_is_the_users_own(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """In one process the SDK would hand our run out as theirs, and their finish() would end it."""
    code = """
    import wandb
    with Experiment("first", backend="wandb", artifacts=True) as exp:
        one = exp.log_artifact(artifact(exp, content=b"1"))
        own = wandb.init(project="later", settings=wandb.Settings(x_disable_stats=True))
        own.finish()
        two = exp.log_artifact(artifact(exp, content=b"2"))
    print(json.dumps([own.project, told(one), told(two)]))
    """
    project, one, two = run(code, tmp_path / "program", environ)
    assert project == "later"
    assert (one["ok"]["wandb"][0], two["ok"]["wandb"][0]) == ("v0", "v1")
    assert [run["state"] for run in server.project("first")["runs"]] == ["finished"]
    assert [run["state"] for run in server.project("later")["runs"]] == ["finished"]


def test_a_shared_run_of_the_users_is_joined(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """W&B's shared mode takes several writers: the artifact is the user's run's, which goes on when ours ends."""
    code = """
    import wandb
    mine = wandb.init(project="shared", id="shared-1", mode="shared", settings=wandb.Settings(x_disable_stats=True))
    with Experiment("shared", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
    import urllib.request
    look = json.loads(urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/_control/state").read())
    states = [run["state"] for one in look["projects"] if one["name"] == "shared" for run in one["runs"]]
    mine.log({"loss": 1.0})
    mine.finish()
    print(json.dumps([told(results), states]))
    """
    results, states = run(code, tmp_path / "program", environ)
    assert results["ok"]["wandb"][0] == "v0"
    assert states == ["running"]
    (run_,) = server.project("shared")["runs"]
    assert (run_["name"], run_["state"]) == ("shared-1", "finished")
    assert server.project("shared")["collections"]["model"]["versions"][0]["run"] == "shared-1"


def test_a_user_who_is_offline_in_code_is_offline_with_us(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """``wandb.init(mode="offline")`` with no variable set: nothing goes to the server."""
    code = """
    import wandb
    mine = wandb.init(project="quiet", mode="offline", settings=wandb.Settings(x_disable_stats=True))
    with Experiment("quiet", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
    mine.finish()
    print(json.dumps(told(results)))
    """
    results = run(code, tmp_path / "program", environ)
    assert results["ok"]["wandb"][2] is True
    assert "quiet" not in [one["name"] for one in server.look()["projects"]]


def test_variables_for_the_users_run_do_not_become_ours(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """An id, a project, or a way of resuming that the user sets for their own run."""
    code = """
    with Experiment("mine-alone", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
    print(json.dumps(told(results)))
    """
    theirs = {
        "WANDB_RUN_ID": "theirs",
        "WANDB_PROJECT": "theirs-project",
        "WANDB_RESUME": "must",
        "WANDB_SWEEP_ID": "s1",
    }
    results = run(code, tmp_path / "program", {**environ, **theirs})
    assert results["ok"]["wandb"][0] == "v0"
    (ours,) = server.project("mine-alone")["runs"]
    assert ours["name"] != "theirs"
    assert ours["values"].get("sweep") is None
    assert "theirs-project" not in [one["name"] for one in server.look()["projects"]]


def test_the_team_that_is_set_owns_the_project(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """By W&B's own variable."""
    code = """
    with Experiment("of-the-team", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
    print(json.dumps([told(results), [one.uri for one in exp.list_artifacts()]]))
    """
    results, listed = run(code, tmp_path / "program", {**environ, "WANDB_ENTITY": "a-team"})
    assert results["ok"]["wandb"][1] == "wandb://a-team/of-the-team/model:v0"
    assert listed == ["wandb://a-team/of-the-team/model:v0"]
    assert server.project("of-the-team")["entity"] == "a-team"


# -- errors

ONCE = """
    began = time.monotonic()
    with Experiment(sys.argv[1] if len(sys.argv) > 1 else "errors", backend="wandb", artifacts=True) as exp:
        results = exp.log_artifact(artifact(exp))
        took = time.monotonic() - began
    print(json.dumps([took, told(results), time.monotonic() - began]))
"""


#: What is wrong, which variables make it so, the kind of the error, and what its message names.
TROUBLES = {
    "no key": ({"WANDB_API_KEY": ""}, "BackendAuthError", "WANDB_API_KEY"),
    "wrong key": ({"WANDB_API_KEY": "f" * 40}, "BackendAuthError", "does not let us in"),
    "no key in form": ({"WANDB_API_KEY": "abc"}, "BackendAuthError", "40"),
    "no server": ({"WANDB_BASE_URL": "http://127.0.0.1:9"}, "BackendUnavailable", "is it up"),
    "an unknown team": ({"WANDB_ENTITY": "nobody"}, "BackendError", "nobody"),
}


def test_each_trouble_has_an_error_of_its_own(environ: dict[str, str], tmp_path: Path) -> None:
    """Within the deadline; the delivery waits in the outbox, for it may pass; and no process is left."""
    begun = {
        case: programs.begin(
            HEAD + textwrap.dedent(ONCE),
            tmp_path / case,
            {**environ, **SHORT, **variables, "TRACELET_DIR": str(tmp_path / case / "tracelet")},
        )
        for case, (variables, _, _) in TROUBLES.items()
    }
    told = {case: programs.finish(program) for case, program in begun.items()}
    for case, (_, kind, words) in TROUBLES.items():
        took, results, _ = told[case]
        assert programs.soon(took, 30), case
        assert results["queued"]["wandb"][0] == kind, (case, results)
        assert words in results["queued"]["wandb"][1], (case, results)
    assert none_left(environ)


def test_a_server_that_fails_is_said_to_fail(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """With the status that it gave, within the deadline; the delivery waits in the outbox."""
    server.fault(".*", "status:500")
    try:
        took, results, _ = run(ONCE, tmp_path / "program", {**environ, **SHORT})
    finally:
        server.fault()
    assert programs.soon(took, 14)
    assert results["queued"]["wandb"][0] == "BackendUnavailable"
    assert "500" in results["queued"]["wandb"][1]


def test_a_disabled_wandb_is_an_error_and_no_success(environ: dict[str, str], tmp_path: Path) -> None:
    """The SDK would take everything and keep nothing; that is not tried again."""
    _, results, _ = run(ONCE, tmp_path / "program", {**environ, **SHORT, "WANDB_MODE": "disabled"})
    assert results["failed"]["wandb"][0] == "BackendError"
    assert "WANDB_MODE" in results["failed"]["wandb"][1]


def test_an_sdk_that_is_not_there_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """The message says how to install it; the delivery waits in the outbox, and arrives when the SDK is there."""
    (tmp_path / "absent" / "wandb").mkdir(parents=True)
    (tmp_path / "absent" / "wandb" / "__init__.py").write_text("raise ImportError('not installed')")
    absent = {**environ, **SHORT, "PYTHONPATH": str(tmp_path / "absent")}
    _, results, _ = run(ONCE, tmp_path / "program", absent)
    assert list(results["queued"]) == ["wandb"], results
    assert "tracelet-core[wandb]" in results["queued"]["wandb"][1]
    again = """
    with Experiment("errors", backend="wandb", artifacts=True) as exp:
        left = exp.flush(600)
    print(json.dumps([left, [one.open("w.bin").read().decode() for one in exp.list_artifacts()][-1:]]))
    """
    assert run(again, tmp_path / "later", environ) == [0, ["weights"]]


def test_no_key_is_asked_for_on_a_terminal(environ: dict[str, str], tmp_path: Path) -> None:
    """The SDK would wait for an answer there."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "program.py").write_text(HEAD + textwrap.dedent(ONCE))
    began = time.monotonic()
    shown = programs.on_a_terminal(["program.py"], folder, {**environ, **SHORT, "WANDB_API_KEY": ""}, 30)
    assert programs.soon(time.monotonic() - began, 30)
    assert b"wandb login" in shown
    assert b"Enter your choice" not in shown
    assert b"(1) Create" not in shown


@pytest.mark.parametrize("where", ["CommitArtifact", "UpsertBucket"])
def test_a_server_that_stops_answering_hangs_nothing(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, where: str
) -> None:
    """The call returns within the deadline, the program ends soon, no process is left; later it is stored once."""
    experiment = f"hangs-{where.replace(' ', '-').lower()}"
    code = ONCE.replace('sys.argv[1] if len(sys.argv) > 1 else "errors"', repr(experiment))
    server.fault(where, "hang")
    try:
        brief = {"TRACELET_DEADLINE": "6", "TRACELET_STOP_TIMEOUT": "4"}
        took, results, whole = run(code, tmp_path / "program", {**environ, **brief})
    finally:
        server.fault()
    assert results["queued"]["wandb"][0] == "BackendUnavailable"
    assert programs.soon(took, 12)
    assert programs.soon(whole, 20)
    assert none_left(environ)
    again = f"""
    with Experiment({experiment!r}, backend="wandb", artifacts=True) as exp:
        left = exp.flush(600)
    print(json.dumps([left, [one.version for one in exp.list_artifacts()], exp.get_artifact("model").open("w.bin").read().decode()]))
    """
    assert run(again, tmp_path / "later", environ) == [0, ["v0"], "weights"]


def test_a_dead_server_costs_a_prompt_exit_and_nothing_is_lost(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """What was logged while it was away is delivered by a new process, once, with its names."""
    code = """
    with Experiment("dead", backend="wandb", artifacts=True) as exp:
        results = [exp.log_artifact(artifact(exp, content=f"{number}".encode()), version=f"1.{number}", aliases=["best"])
                   for number in range(3)]
    print(json.dumps([told(one) for one in results]))
    """
    server.kill()
    began = time.monotonic()
    try:
        results = run(code, tmp_path / "program", {**environ, **SHORT})
    finally:
        took = time.monotonic() - began
        server.start()
    assert programs.soon(took, 45)
    assert all(list(one["queued"]) == ["wandb"] for one in results)
    again = """
    with Experiment("dead", backend="wandb", artifacts=True) as exp:
        left = exp.flush(600)
    listed = [[one.version, list(one.aliases), one.open("w.bin").read().decode()] for one in exp.list_artifacts()]
    print(json.dumps([left, listed]))
    """
    expected = [["1.2", ["best"], "2"], ["1.1", [], "1"], ["1.0", [], "0"]]
    assert run(again, tmp_path / "later", environ) == [0, expected]
    assert run(again, tmp_path / "again", environ) == [0, expected]


@pytest.mark.parametrize("when", ["between", "during"])
def test_a_client_whose_own_process_is_killed_is_begun_anew(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, when: str
) -> None:
    """As the system does where memory is short: the same program stores what it logs then, once."""
    code = f"""
    import psutil, threading, urllib.request

    def end_the_core():
        if {when == "during"}:
            while b'"CommitArtifact"' not in urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/_control/state").read():
                time.sleep(0.05)
        found = [one for one in psutil.Process().children(recursive=True) if one.name() == "wandb-core"]
        for one in found:
            one.kill()
        return len(found)

    with Experiment("core-{when}", backend="wandb", artifacts=True) as exp:
        if {when == "between"}:
            assert exp.log_artifact(artifact(exp, content=b"1")).ok
            ended = [end_the_core()]
        else:
            ended = []
            thread = threading.Thread(target=lambda: ended.append(end_the_core()))
            thread.start()
        results = exp.log_artifact(artifact(exp, content=b"2"))
        left = exp.flush(600)
        again = exp.log_artifact(artifact(exp, content=b"3"))
        stored = [one.open("w.bin").read().decode() for one in exp.list_artifacts()]
    print(json.dumps([ended, told(results), left, list(again), stored]))
    """
    if when == "during":
        server.kill()
        server.start()
        server.fault("CommitArtifact", "hang", 1)
    try:
        ended, results, left, again, stored = run(code, tmp_path / "program", environ)
    finally:
        server.fault()
    assert ended == [1]
    assert all(kind == "BackendUnavailable" for kind, _ in results["queued"].values()), results
    assert (left, again) == (0, ["wandb"])
    assert stored == (["3", "2", "1"] if when == "between" else ["3", "2"])
    assert none_left(environ)


# -- media

MEDIA = """
    import csv, wave
    from PIL import Image
    Image.new("RGB", (8, 8), (255, 0, 0)).save("red.png")
    Image.new("RGB", (8, 8), (0, 0, 255)).save("blue.jpg")
    with wave.open("tone.wav", "wb") as sound:
        sound.setnchannels(1); sound.setsampwidth(2); sound.setframerate(8000); sound.writeframes(b"\\0\\1" * 800)
    frames = [Image.new("P", (8, 8), colour) for colour in range(3)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:])
    Path("clip.mp4").write_bytes(b"\\0\\0\\0\\x18ftypmp42" + bytes(1000))
    Path("plot.html").write_text("<h1>a plot</h1>")
    Path("broken.png").write_bytes(b"no image at all")
    Path("rows.csv").write_text("input,label,score\\na,1,0.5\\nb,2,0.25\\n")
    Path("rows.jsonl").write_text('{"input": "a", "tags": ["x"]}\\n{"input": "b"}\\n')
    with Experiment("media", backend="wandb", artifacts=True) as exp:
        results = {}
        for name, kind, files in [
            ("pictures", ArtifactType.IMAGE, ["red.png", "blue.jpg", "plot.html"]),
            ("sound", ArtifactType.AUDIO, ["tone.wav"]),
            ("clips", ArtifactType.VIDEO, ["clip.gif", "clip.mp4"]),
            ("figure", ArtifactType.VISUALIZATION, ["red.png", "plot.html"]),
            ("broken", ArtifactType.IMAGE, ["broken.png"]),
            ("rows", ArtifactType.SAMPLE, ["rows.csv"]),
            ("lines", ArtifactType.SAMPLE, ["rows.jsonl"]),
            ("weights", ArtifactType.MODEL, ["red.png"]),
        ]:
            made = exp.create_artifact(name, kind)
            for file in files:
                made.add_file(file)
            results[name] = told(exp.log_artifact(made))
    listed = sorted(one.name for one in exp.list_artifacts())
    print(json.dumps([results, listed]))
"""


def test_media_are_shown_on_the_run_and_are_artifacts_too(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Images, sounds, videos, plots and tables under the artifact's name; what is damaged is stored all the same."""
    results, listed = run(MEDIA, tmp_path / "program", environ)
    assert all(list(one["ok"]) == ["wandb"] for one in results.values())
    assert listed == sorted(results)
    project = server.project("media")
    (run_,) = project["runs"]
    shown = {key: value for line in run_["history"] for key, value in line.items() if not key.startswith("_")}
    assert set(shown) == {"pictures", "sound", "clips", "figure", "rows", "lines"}
    assert (shown["pictures"]["_type"], shown["pictures"]["count"]) == ("images/separated", 2)
    assert shown["sound"]["_type"] == "audio-file"
    assert (shown["clips"]["_type"], shown["clips"]["count"]) == ("videos", 2)
    assert shown["rows"]["_type"] == "table-file"
    assert (shown["rows"]["ncols"], shown["rows"]["nrows"]) == (3, 2)
    assert (shown["lines"]["ncols"], shown["lines"]["nrows"]) == (2, 2)
    for suffix in (".png", ".jpg", ".wav", ".gif", ".mp4", ".html", ".table.json"):
        assert any(name.startswith("media/") and name.endswith(suffix) for name in run_["files"]), suffix
    assert set(listed) <= set(project["collections"])


def test_media_can_be_turned_off(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """TRACELET_WANDB_MEDIA=false stores the artifact alone."""
    code = """
    from PIL import Image
    Image.new("RGB", (8, 8)).save("red.png")
    with Experiment("plain", backend="wandb", artifacts=True) as exp:
        made = exp.create_artifact("picture", ArtifactType.IMAGE)
        made.add_file("red.png")
        results = exp.log_artifact(made)
    print(json.dumps(told(results)))
    """
    assert list(run(code, tmp_path / "program", {**environ, "TRACELET_WANDB_MEDIA": "false"})["ok"]) == ["wandb"]
    assert server.project("plain")["runs"][0]["history"] == []
