"""How a run ended is its own program's to say: a later delivery into it changes nothing of that. Real client, stand-in server."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.wandb_server import WandbServer, wandb_server

#: One artifact is stored, and one waits; then the program ends, in its way.
FIRST = """
import json, os, sys, urllib.request
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig

def artifact(exp, number):
    Path("w.bin").write_bytes(f"weights {{number}}".encode())
    made = exp.create_artifact("model", ArtifactType.MODEL)
    made.add_file("w.bin")
    return made

def break_server(match):
    faults = [{{"match": match, "action": "status:500", "times": None}}] if match else []
    body = json.dumps({{"faults": faults, "filters": "applied", "folds_case": False}}).encode()
    urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/_control/fault", body).read()

pace = float(os.environ["TEST_PACE"])
# The server fails at once: a long deadline costs nothing, and the first artifact has to arrive.
config = ExperimentConfig(deadline=30.0 * pace, stop_timeout=4.0 * pace)
try:
    with Experiment({experiment!r}, backend="wandb", artifacts=True, config=config) as exp:
        assert exp.log_artifact(artifact(exp, 0)).ok
        break_server("CreateArtifact")
        queued = exp.log_artifact(artifact(exp, 1)).queued
        {end}
except ZeroDivisionError:
    pass
finally:
    break_server("")
print(json.dumps(list(queued)))
"""
#: What programs log of their own accord, for those that are to print it.
LISTEN = """
import logging
heard = []
listener = logging.Handler()
listener.emit = lambda record: heard.append(record.getMessage())
logging.getLogger("tracelet").addHandler(listener)
"""
#: A later program that has nothing of its own, and ends in its own way.
LATER = """
import json
from tracelet import ArtifactType, Experiment

try:
    with Experiment({experiment!r}, backend="wandb", artifacts=True) as exp:
        left = exp.flush(600)
        {end}
except ZeroDivisionError:
    pass
listed = [[one.version, one.open("w.bin").read().decode()] for one in exp.list_artifacts()]
print(json.dumps([left, listed]))
"""
STORED = [0, [["v1", "weights 1"], ["v0", "weights 0"]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("server"), current=True) as server:
        yield server


@pytest.fixture
def environ(server: WandbServer, tmp_path: Path) -> dict[str, str]:
    return {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}


def run(code: str, folder: Path, environ: dict[str, str], **names: str) -> Any:
    return programs.run(textwrap.dedent(code).format(**names), folder, environ)


def result(server: WandbServer, experiment: str) -> tuple[str, int | None]:
    """How the only run of a project is shown to have ended."""
    (run_,) = server.project(experiment)["runs"]
    return run_["state"], run_["exit_code"]


@pytest.mark.parametrize("later", ["pass", "1 / 0"])
@pytest.mark.parametrize(("end", "expected"), [("1 / 0", ("failed", 1)), ("pass", ("finished", 0))])
def test_a_delivery_leaves_the_result_of_a_run_as_it_is(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, end: str, expected: tuple[str, int], later: str
) -> None:
    """Failed stays failed, and finished finished, whatever becomes of the program that delivers."""
    experiment = f"ended-{expected[0]}-{len(later)}"
    assert run(FIRST, tmp_path / "first", environ, experiment=experiment, end=end) == ["wandb"]
    assert result(server, experiment) == expected
    assert run(LATER, tmp_path / "later", environ, experiment=experiment, end=later) == STORED
    assert result(server, experiment) == expected


@pytest.mark.parametrize("state", ["running", "crashed", "killed"])
def test_a_delivery_does_not_end_a_run_that_did_not_end(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, state: str
) -> None:
    """Its program was killed, so that nobody said how it ended: it is the server that calls it crashed, now as before."""
    experiment = f"open-{state}"
    kill = "sys.stdout.write(json.dumps(list(queued))); sys.stdout.flush(); break_server(''); end_all()"
    ending = """
import signal, psutil
def end_all():
    for one in psutil.Process().children(recursive=True):
        one.send_signal(signal.SIGKILL)
    for one in psutil.process_iter():
        try:
            if one.environ().get("HOME") == os.environ["HOME"] and one.pid != os.getpid():
                one.send_signal(signal.SIGKILL)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            pass
    os.kill(os.getpid(), signal.SIGKILL)
"""
    code = textwrap.dedent(FIRST.format(experiment=experiment, end=kill)).replace(
        "\ndef artifact", f"{ending}\ndef artifact"
    )
    killed = programs.begin(code, tmp_path / "first", environ)
    out, err = killed.communicate(timeout=600)
    assert (killed.returncode, out) == (-9, '["wandb"]'), err
    assert result(server, experiment) == ("running", None)
    if state != "running":
        server.set_states(experiment, runs=state)
    assert run(LATER, tmp_path / "later", environ, experiment=experiment, end="pass") == STORED
    server.set_states(experiment, runs="crashed")
    assert result(server, experiment)[0] == "crashed"


def test_a_killed_delivery_does_not_change_how_a_run_ended(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """It leaves the run running, and the server calls it crashed; the next delivery gives it its own end back."""
    experiment = "told-again"
    assert run(FIRST, tmp_path / "first", environ, experiment=experiment, end="1 / 0") == ["wandb"]
    # What the delivery's first request does, and no more comes.
    resume = """
    import wandb
    run = wandb.init(project={experiment!r}, id={name!r}, resume="must", settings=wandb.Settings(x_update_finish_state=False))
    run.finish()
    """
    (known,) = server.project(experiment)["runs"]
    run(resume, tmp_path / "resume", environ, experiment=experiment, name=known["name"])
    server.set_states(experiment, runs="crashed")
    assert result(server, experiment)[0] == "crashed"
    assert run(LATER, tmp_path / "later", environ, experiment=experiment, end="pass") == STORED
    assert result(server, experiment) == ("failed", 1)


def test_a_programs_own_failure_is_told_though_it_delivered_for_another_one_last(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The delivery of an earlier program's artifact is neither the end of its own run, nor is that run's end the other's."""
    experiment = "between"
    assert run(FIRST, tmp_path / "first", environ, experiment=experiment, end="pass") == ["wandb"]
    (earlier,) = server.project(experiment)["runs"]
    own = """open("w.bin", "w").write("mine")
        mine = exp.create_artifact("mine", ArtifactType.MODEL).add_file("w.bin")
        assert exp.log_artifact(mine).ok
        left = exp.flush(600)
        1 / 0"""
    left, listed = run(LATER, tmp_path / "later", environ, experiment=experiment, end=own)
    assert (left, sorted(content for _, content in listed)) == (0, ["mine", "weights 0", "weights 1"])
    states = {
        one["name"] == earlier["name"]: (one["state"], one["exit_code"]) for one in server.project(experiment)["runs"]
    }
    assert states == {True: ("finished", 0), False: ("failed", 1)}


def test_a_server_that_does_not_say_how_a_run_is_takes_what_is_logged(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    code = """
    import json
    from tracelet import ArtifactType, Experiment

    with Experiment("untold", backend="wandb", artifacts=True) as exp:
        result = exp.log_artifact(exp.create_artifact("report", ArtifactType.REPORT).add_object(1, "x"))["wandb"]
    print(json.dumps([result.version, result.created]))
    """
    server.fault("Run", "error:there is no such query here")
    try:
        assert run(code, tmp_path / "program", environ) == ["v0", True]
        assert "Run" in server.look()["log"]
    finally:
        server.fault()
    assert result(server, "untold") == ("finished", 0)


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_a_run_whose_beginning_broke_off_is_begun_by_a_new_process(
    server: WandbServer, environ: dict[str, str], tmp_path: Path, fault: str
) -> None:
    """The SDK's service does not get over it: it says that the run is in use, or hangs."""
    code = """
    import json
    from tracelet import ArtifactType, Experiment

    with Experiment("{name}", backend="wandb", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("report", ArtifactType.REPORT).add_object(1, "x"))
        left = exp.flush(600)
        print(json.dumps([left, [one.version for one in exp.list_artifacts()]]))
    """
    server.fault("UpsertBucket", fault, 1)
    try:
        assert run(code, tmp_path / "program", environ, name=f"broken-{fault}") == [0, ["v0"]]
    finally:
        server.fault()
    assert result(server, f"broken-{fault}") == ("finished", 0)


# -- runs that somebody deleted


def test_what_waits_for_a_run_that_was_deleted_goes_to_one_that_names_it(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """W&B gives the id to no run for days: nothing would ever be delivered to it."""
    experiment = "deleted"
    assert run(FIRST, tmp_path / "first", environ, experiment=experiment, end="pass") == ["wandb"]
    (old,) = server.project(experiment)["runs"]
    server.delete_run(experiment, old["name"])
    later = LISTEN + LATER.replace("[left, listed]", "[left, listed, heard]")
    *stored, heard = run(later, tmp_path / "later", environ, experiment=experiment, end="pass")
    assert stored == STORED
    (new,) = server.project(experiment)["runs"]
    assert (new["name"], new["state"], new["exit_code"]) == (f"{old['name']}-2", "finished", 0)
    told = json.loads(new["values"]["config"])["tracelet"]["value"]
    assert (told["run"], told["instead_of"]) == (old["name"], [f"somebody/{experiment}/{old['name']}"])
    assert old["name"] in new["values"]["notes"]
    assert [line for line in heard if "was deleted on W&B" in line and line.endswith(f"{new['name']}.")] == heard


def test_a_run_that_is_deleted_while_it_is_on_loses_nothing_that_comes_later(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Artifacts and inputs go to the run that takes its place, and that one is deleted, too; what is there stays."""
    code = """
    import json, os, urllib.request
    from pathlib import Path
    from tracelet import ArtifactType, Experiment

    def ask(what, content=None):
        data = None if content is None else json.dumps(content).encode()
        return json.loads(urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/_control/" + what, data).read())

    def delete_the_run():
        (project,) = [one for one in ask("state")["projects"] if one["name"] == "while-on"]
        (run,) = project["runs"]
        ask("deleted_run", {{"project_name": "while-on", "name": run["name"]}})
        return run["name"]

    def log(exp, number):
        Path("w.bin").write_text(f"weights {{number}}")
        return exp.log_artifact(exp.create_artifact("model", ArtifactType.MODEL).add_file("w.bin"))

    with Experiment("while-on", backend="wandb", artifacts=True) as exp:
        results = [log(exp, 0)]
        names = [delete_the_run()]
        results.append(log(exp, 1))
        names.append(delete_the_run())
        exp.use_artifact("model", "v0")
        results.append(log(exp, 2))
    print(json.dumps([names, [one["wandb"].version for one in results], len(exp.list_artifacts())]))
    """
    names, versions, listed = run(code, tmp_path / "program", environ)
    assert (versions, listed) == (["v0", "v1", "v2"], 3)
    project = server.project("while-on")
    (last,) = project["runs"]
    assert [*names, last["name"]] == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
    assert [one["run"] for one in project["collections"]["model"]["versions"]] == [*names, last["name"]]
    assert last["used"] == [project["collections"]["model"]["versions"][0]["id"]]
    assert (last["state"], last["exit_code"]) == ("finished", 0)


def test_all_that_waits_for_one_deleted_run_goes_to_one(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Of several programs, whoever delivers it; each is told once."""
    experiment = "deleted-once"
    waiting = "queued += [list(exp.log_artifact(artifact(exp, n)).queued) for n in (2, 3)]"
    code = FIRST.replace("return made", "made.metadata['n'] = number\n    return made")
    queued = run(code, tmp_path / "first", environ, experiment=experiment, end=f"queued = list(queued); {waiting}")
    assert queued == ["wandb", ["wandb"], ["wandb"]]
    (old,) = server.project(experiment)["runs"]
    server.delete_run(experiment, old["name"])
    for number in range(2):
        own = f"""open("w.bin", "w").write("mine {number}")
        assert exp.log_artifact(exp.create_artifact("mine", ArtifactType.MODEL).add_file("w.bin")).ok"""
        later = LISTEN + LATER.replace("left = exp.flush(600)", f"{own}\n        left = exp.flush(600)")
        later = later.replace("[left, listed]", "[left, heard]")
        left, heard = run(later, tmp_path / f"later-{number}", environ, experiment=experiment, end=own)
        assert (left, len([line for line in heard if "was deleted on W&B" in line])) == (0, 1 - number)
    runs = [one["name"] for one in server.project(experiment)["runs"]]
    assert (runs.count(f"{old['name']}-2"), len(runs)) == (1, 3)
    versions = server.project(experiment)["collections"]["model"]["versions"]
    assert [one["run"] for one in versions] == [old["name"], *[f"{old['name']}-2"] * 3]


def test_a_project_that_is_deleted_while_a_run_is_on_is_made_again(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """For what comes later, and the same program lists what is there now."""
    code = """
    import json, os, urllib.request
    from pathlib import Path
    from tracelet import ArtifactType, Experiment

    def log(exp, number):
        Path("w.bin").write_text(f"weights {{number}}")
        return exp.log_artifact(exp.create_artifact("model", ArtifactType.MODEL).add_file("w.bin"))

    with Experiment("deleted-project", backend="wandb", artifacts=True) as exp:
        results = [log(exp, 0)]
        data = json.dumps({{"name": "deleted-project"}}).encode()
        urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/_control/deleted_project", data).read()
        listed = [len(exp.list_artifacts())]
        results += [log(exp, 1), log(exp, 2)]
        listed.append([[one.version, one.open("w.bin").read().decode()] for one in exp.list_artifacts()])
    print(json.dumps([[one["wandb"].version for one in results], listed]))
    """
    versions, listed = run(code, tmp_path / "program", environ)
    assert versions == ["v0", "v0", "v1"]
    assert listed == [0, [["v1", "weights 2"], ["v0", "weights 1"]]]
    project = server.project("deleted-project")
    (name,) = {one["run"] for one in project["collections"]["model"]["versions"]}
    assert [one["state"] for one in project["runs"] if one["name"] == name] == ["finished"]


def test_a_status_that_a_deleted_run_has_too_is_not_taken_for_one(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The client itself tries 409 again, as what two processes do to one run at once: the run is there, and stays the run."""
    experiment = "in-use"
    assert run(FIRST, tmp_path / "first", environ, experiment=experiment, end="pass") == ["wandb"]
    server.fault("UpsertBucket", "refusal:409:the run was changed meanwhile", 3)
    try:
        later = LISTEN + LATER.replace("[left, listed]", "[left, listed, heard]")
        # A delivery that the server did not take waits for the next time.
        later = later.replace("left = exp", "exp.flush(600)\n        left = exp")
        *stored, heard = run(later, tmp_path / "later", environ, experiment=experiment, end="pass")
    finally:
        server.fault()
    assert stored == STORED
    assert not [line for line in heard if "was deleted" in line]
    assert len(server.project(experiment)["runs"]) == 1


def test_a_refusal_that_has_other_reasons_begins_no_other_run(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """The run is there: what the server refused waits."""
    code = """
    import json
    from tracelet import ArtifactType, Experiment

    with Experiment("refused", backend="wandb", artifacts=True) as exp:
        queued = exp.log_artifact(exp.create_artifact("report", ArtifactType.REPORT).add_object(1, "x")).queued
    print(json.dumps(list(queued)))
    """
    server.fault("CreateArtifact", "error:not now")
    try:
        assert run(code, tmp_path / "program", environ) == ["wandb"]
    finally:
        server.fault()
    assert len(server.project("refused")["runs"]) == 1
