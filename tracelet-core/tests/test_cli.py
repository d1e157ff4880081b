"""The command `tracelet`, as people and programs run it."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import cast

import click
import pytest
from commanding import (
    COMMAND,
    age,
    begin,
    begin_program,
    die_before_hashing,
    environment,
    no_lanes_after,
    plugin,
    program,
    run,
    run_both,
    run_json,
    wait_until,
)
from making import NOBODY
from pacing import pace
from watching import Scripted

from tracelet import Experiment
from tracelet.cli.app import app
from tracelet.cli.commands import COMMANDS as LISTED
from tracelet.cli.failing import code_of, words
from tracelet.cli.screen import ago, size
from tracelet.core.delivery.outbox import Outbox

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
_PARENT = click.Context(app)
COMMANDS = {name: cast(click.Command, app.get_command(_PARENT, name)) for name in app.list_commands(_PARENT)}
MARK = "TRACELET_TEST_RUN"
PLUGINS = Path(__file__).parent / "plugins"


def documented(command: str) -> str:
    """What the page says of a command, after what it says of all of them."""
    preamble, *sections = re.split(r"^## `tracelet ", DOCS.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if re.match(rf"{command}\b", text)]
    return preamble + section


def waiting(home: Path) -> list[str]:
    """The names of what is in the outbox."""
    found = (home / ".tracelet" / "outbox").glob("*/*/*.json")
    return sorted(json.loads(path.read_text())["manifest"]["name"] for path in found if "~drafts" not in str(path))


@pytest.fixture
def shadows(tmp_path: Path) -> Iterator[Path]:
    """A folder that goes before everything installed."""
    folder = tmp_path / "shadows"
    folder.mkdir()
    return folder


class TestTheCommand:
    @pytest.mark.parametrize("asked", [["--help"], ["--version"], ["rm", "-h"], []], ids=" ".join)
    def test_what_it_says_of_itself_is_silent_where_nobody_reads_it(self, home: Path, asked: list[str]) -> None:
        ours, theirs = os.pipe()
        os.close(ours)
        helping = begin(*asked, stdout=theirs)
        os.close(theirs)
        _, err = helping.communicate(timeout=180)
        assert (err, helping.returncode) == ("", 0)

    def test_an_interruption_while_it_is_imported_is_told_in_one_line(self, shadows: Path, home: Path) -> None:
        (shadows / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
        assert run("sync", code=130, PYTHONPATH=str(shadows)) == "error: interrupted before it began.\n"

    def test_without_the_extra_it_says_what_to_install(self, shadows: Path, home: Path) -> None:
        (shadows / "click.py").write_text("raise ModuleNotFoundError('no click', name='click')")
        told = run("sync", code=2, PYTHONPATH=str(shadows))
        assert told == "error: the command needs click: pip install 'tracelet-core[cli]'\n"
        told = run_json("sync", code=2, PYTHONPATH=str(shadows))
        assert told["error"]["message"] == "the command needs click: pip install 'tracelet-core[cli]'"

    def test_the_help_of_all_says_of_each_what_its_own_help_says(self) -> None:
        assert {name: one.does for name, one in LISTED.items()} == {
            name: command.get_short_help_str(1000) for name, command in COMMANDS.items()
        }

    def test_another_missing_module_is_not_hidden(self, shadows: Path, home: Path) -> None:
        (shadows / "click.py").write_text("import nowhere_to_be_found")
        done = begin("sync", env=environment(PYTHONPATH=str(shadows)))
        assert "No module named 'nowhere_to_be_found'" in done.communicate(timeout=180)[1]
        assert done.returncode == 1

    def test_a_command_imports_neither_the_others_nor_what_they_need(self, home: Path) -> None:
        Path(".tracelet").mkdir()
        script = "import sys\nfrom tracelet.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script, "ls", "nothing"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        loaded = set(done.stdout.split())
        assert {name for name in loaded if name.startswith("tracelet.cli.")} == {
            f"tracelet.cli.{name}"
            for name in ("app", "bar", "commands", "failing", "finding", "options", "reading", "screen")
        }
        rooms = ("capture.sniffing", "maintenance", "reporting", "transfer")
        assert not {name for name in loaded if name.startswith(tuple(f"tracelet.core.{room}" for room in rooms))}

    def test_alone_it_explains_itself(self, home: Path) -> None:
        told = run()
        assert all(name in told for name in COMMANDS)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["bogus"], "No such command 'bogus'"),
            (["ls"], "Missing argument 'EXPERIMENT'"),
            (["ls", "trials", "--type", "wine"], "'wine' is not one of"),
            (["ls", "trials", "--name", "a/b"], "name 'a/b'"),
            (["ls", "trials", "--backend", "locl"], "Did you mean 'local'?"),
            (["ls", " "], "an experiment's name"),
            (["ls", "trials", "--where", "loss <"], "give a key, one of < <= = != >= > ~ and a value"),
            (["ls", "trials", "--sort", "-"], "is no key: give one such as 'metrics.val_loss'"),
            (["ls", "trials", "--limit", "0"], "give a whole number from 1 on"),
            (["get", "trials", "a/b"], "name 'a/b'"),
            (["get", "trials", "thing@:"], "version ':'"),
            (["gc", "--older-than", "soon"], "'soon'"),
            (["gc", "--older-than", "0h"], "at least 1h"),
            (["sync"], "there is no tracelet directory"),
            (["gc", "--dir", "nowhere"], "there is no tracelet directory"),
            (["ls", "trials", "--dir", "nowhere"], "there is no tracelet directory"),
            (["get", "trials", "thing", "--dir", "nowhere"], "there is no tracelet directory"),
            (["ls", "trials", "--backend", "local", "--backend", "local"], "'local' is named twice: name each once"),
            (["doctor", "--backend", "local", "--backend", "local"], "'local' is named twice: name each once"),
        ],
    )
    def test_what_cannot_be_used_is_one_line_and_exit_code_2(self, home: Path, arguments: list[str], told: str) -> None:
        if arguments[0] in {"ls", "get"}:
            Path(".tracelet").mkdir()
        said = run(*arguments, code=2)
        assert told in said
        assert said.startswith("error: ")
        assert said.count("\n") == 1

    def test_bad_variables_are_told_together(self, home: Path) -> None:
        said = run("doctor", code=2, TRACELET_DEADLINE="soon", TRACELET_STRICT="perhaps")
        assert "TRACELET_DEADLINE='soon'" in said
        assert "TRACELET_STRICT='perhaps'" in said

    def test_an_error_of_the_disk_says_what_to_do(self) -> None:
        error = PermissionError(errno.EACCES, "Permission denied", "/x")
        assert code_of(error) == 1
        assert words(error) == "[Errno 13] Permission denied: '/x'. Mend that, or name another place."
        assert words(click.FileError("x", "no such file")) == "Could not open file 'x': no such file"

    def test_a_disk_that_fails_is_one_line_too(self, queue: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(path: Path) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

        monkeypatch.setattr(Path, "read_bytes", fail)
        for arguments in (["sync"], ["sync", "--json"]):
            out, err = run_both(*arguments, code=1)
            assert "Input/output error" in err
            assert (err.startswith("error: "), err.count("\n")) == (True, 1)
        assert json.loads(out)["error"]["type"] == "OSError"

    @pytest.mark.parametrize("place", ["file", "file/below"])
    @pytest.mark.parametrize("backends", [["local"], ["local", "scripted"]])
    def test_a_file_where_the_tracelet_directory_would_be_is_told(
        self, scripted: Scripted, home: Path, place: str, backends: list[str]
    ) -> None:
        Path("file").write_text("")
        said = run("ls", "trials", "--dir", place, *(f"--backend={one}" for one in backends), code=2)
        assert (
            said
            == f"error: {home / 'file'} is a file, and no tracelet directory can be there: say --dir, or TRACELET_DIR.\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "usage"),
        [
            (["--bogus"], "`tracelet --help` says more."),
            (["ls"], "Usage: tracelet ls [OPTIONS] EXPERIMENT; `tracelet ls --help` says more."),
            (
                ["get", "--bogus"],
                "Usage: tracelet get [OPTIONS] EXPERIMENT NAME[@VERSION]; `tracelet get --help` says more.",
            ),
        ],
    )
    def test_who_uses_it_wrongly_is_told_how_it_is_used(self, home: Path, arguments: list[str], usage: str) -> None:
        assert run(*arguments, code=2).endswith(f" {usage}\n")

    def test_it_tells_its_version(self) -> None:
        assert run("--version") == f"tracelet {version('tracelet-core')}\n"

    @pytest.mark.parametrize(
        ("arguments", "code", "kind", "message"),
        [
            (["get", "trials", "nothing"], 1, "ArtifactNotFound", "'trials' has no 'nothing' latest in local"),
            (["ls", "trials", "--backend", "locl"], 2, "UnknownPlugin", "Did you mean 'local'?"),
            (["sync", "--dir", "nowhere"], 2, "ConfigError", "there is no tracelet directory"),
            (["gc", "--dir", "nowhere"], 2, "ConfigError", "there is no tracelet directory"),
            (["ls"], 2, "MissingParameter", "Missing argument 'EXPERIMENT'"),
            (["get", "trials", "thing", "-o", "file/below"], 2, "ArtifactError", "file/below' cannot be made"),
        ],
    )
    def test_with_json_an_error_is_json_too(
        self, stored: Scripted, arguments: list[str], code: int, kind: str, message: str
    ) -> None:
        Path("file").write_text("")
        out, err = run_both(*arguments, "--json", code=code)
        (told,) = json.loads(out).values()
        assert told["type"] == kind
        assert message in told["message"]
        assert err == f"error: {told['message']}\n"

    @pytest.mark.parametrize(
        "arguments", [["ls", "trials"], ["ls", "trials", "--json"], ["plugins"], ["completion", "bash"]]
    )
    def test_who_reads_it_may_leave_at_any_time(self, stored: Scripted, arguments: list[str]) -> None:
        ours, theirs = os.pipe()
        os.close(ours)
        command = begin(*arguments, stdout=theirs)
        os.close(theirs)
        assert command.communicate(timeout=180)[1] == ""
        assert command.returncode == 0

    def test_what_a_stream_has_no_characters_for_is_written_in_others(self, stored: Scripted) -> None:
        ascii_only = environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        command = begin("diff", "trials", "thing@v0", "thing@v1", "--backend", "scripted", env=ascii_only)
        said, err = command.communicate(timeout=180)
        assert (command.returncode, err) == (0, "")
        assert said.startswith("thing 1.0 ? thing v1: ")

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_it_does_its_work_though_its_streams_are_closed(self, stored: Scripted, closed: str) -> None:
        alias = [COMMAND, "alias", "trials", "thing@v1", "newest", "--backend", "scripted"]
        subprocess.run(["sh", "-c", f'exec "$0" "$@" {closed}', *alias], env=environment(), timeout=180, check=True)
        assert "newest" in run("ls", "trials", "--name", "thing", "--backend", "scripted")

    def test_a_full_disk_behind_stdout_is_one_line(self, stored: Scripted) -> None:
        with open("/dev/full", "w") as full:
            command = begin("ls", "trials", "--json", stdout=full)
            assert re.fullmatch(r"error: .*No space left.*\n", command.communicate(timeout=180)[1])
        assert command.returncode == 1

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["ls", "trials", "--limit", "0"], "error: --limit 0 is no number of versions"),
            (["ls", "trials", "--sort", "-"], "error: --sort '-' is no key"),
            (["lineage", "trials", "thing", "--depth", "0"], "error: --depth 0: give"),
            (["prune", "trials", "--keep-last", "-1"], "error: --keep-last -1 is no number"),
            (["prune", "trials", "--keep-best", "x"], "error: --keep-best 'x' cannot be read"),
            (["prune", "trials", "--older-than", "x"], "error: --older-than 'x' is no age"),
            (["prune", "trials"], "say --keep-last 10, --keep-best 'metrics.val_loss:min:3', or --older-than '30d'."),
            (["completion"], "Missing argument 'SHELL'. Choose from: bash, zsh, fish Usage: tracelet completion"),
        ],
    )
    def test_advice_is_for_a_shell(self, stored: Scripted, arguments: list[str], told: str) -> None:
        assert told in run(*arguments, code=2, TRACELET_BACKEND="scripted")

    def test_a_delivery_is_made_though_nobody_reads_of_it(self, queue: Scripted, home: Path) -> None:
        ours, theirs = os.pipe()
        os.close(ours)
        sync = begin("sync", stdout=theirs, stderr=theirs)
        os.close(theirs)
        sync.communicate(timeout=180)
        assert sync.returncode == 0
        assert waiting(home) == []

    def test_what_could_steer_the_terminal_is_not_passed_on(self, scripted: Scripted, home: Path) -> None:
        said = run("doctor", "--backend", "\x1b]0;owned\x07", code=1)
        assert "owned" in said
        assert "\x1b" not in said
        assert "\x07" not in said

    def test_the_help_of_every_command_has_an_example_of_it(self, home: Path) -> None:
        for name in COMMANDS:
            told = " ".join(run(name, "--help").split())
            assert f"Example: tracelet {name}" in told, name

    def test_every_command_and_option_is_documented(self) -> None:
        for name, command in COMMANDS.items():
            text = documented(name)
            for parameter in command.params:
                metavar = parameter.make_metavar(click.Context(command))
                words = parameter.opts if isinstance(parameter, click.Option) else [metavar]
                assert all(f"`{word}" in text or f" {word}" in text for word in words), (name, words)

    def test_documented_json_fields_are_those_that_are_written(self, queue: Scripted, home: Path) -> None:
        Path("four.txt").write_text("four")
        Path("imported").mkdir()
        Path("imported/five.txt").write_text("five")
        told = {
            "plugins": run_json("plugins"),
            "doctor": run_json("doctor"),
            "sync": run_json("sync"),
            "log": run_json("log", "trials", "four", "four.txt", "--backend", "scripted", "--backend", "local"),
            "ls": run_json("ls", "trials", "--backend", "scripted"),
            "get": run_json("get", "trials", "one", "--backend", "scripted"),
            "diff": run_json("diff", "trials", "one", "one", "--backend", "scripted"),
            "report": run_json("report", "trials", "-o", "page.html", "--backend", "scripted"),
            "alias": run_json("alias", "trials", "one", "kept", "--backend", "scripted"),
            "rm": run_json("rm", "trials", "two@v0", "--dry-run", "--backend", "scripted"),
            "prune": run_json("prune", "trials", "--keep-last", "0", "--dry-run", "--backend", "scripted"),
            "gc": run_json("gc"),
            "experiments": run_json("experiments"),
            "show": run_json("show", "trials", "one", "--backend", "scripted"),
            "copy": run_json("copy", "trials", "--from", "scripted", "--to", "local", "--to-dir", "copied"),
            "import": run_json("import", "dir", "imported", "--list"),
        }
        for name, data in told.items():
            lists = [
                value for value in data.values() if isinstance(value, list) and value and isinstance(value[0], dict)
            ]
            keys = set(data) | {key for many in lists if name not in {"get", "show"} for one in many for key in one}
            assert not [key for key in keys if f"`{key}`" not in documented(name)], name
        failed = run_json("get", "trials", "nothing", code=1)
        assert not [key for key in ["error", *failed["error"]] if f"`{key}`" not in documented("get")]

    @pytest.mark.parametrize(
        ("count", "told"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (3e15, "3.0 PB")]
    )
    def test_sizes_are_in_powers_of_a_thousand(self, count: float, told: str) -> None:
        assert size(count) == told

    @pytest.mark.parametrize(("seconds", "told"), [(90, "2 min"), (3 * 3600, "3 h"), (5 * 86400, "5 d")])
    def test_ages_are_in_the_unit_that_suits(self, seconds: float, told: str) -> None:
        assert ago(time.time() - seconds) == told


class TestPlugins:
    def test_it_tells_what_each_distribution_provides(self, scripted: Scripted) -> None:
        told = {one["name"]: one for one in run_json("plugins")["plugins"]}
        assert (told["scripted"]["distribution"], told["scripted"]["version"]) == ("scripted", "1.0")
        (backend,) = [spec for spec in told["scripted"]["provides"] if spec["name"] == "scripted"]
        assert backend["capabilities"] == ["deletes versions", "moves aliases", "records lineage"]
        assert {(spec["kind"], spec["name"]) for spec in told["routing"]["provides"]} >= {("routing policy", "by-type")}
        assert told["local"]["provides"][0]["summary"].startswith("A directory")

    def test_a_broken_one_is_told_with_its_reason_and_costs_nothing(
        self, scripted: Scripted, shadows: Path, home: Path
    ) -> None:
        plugin(shadows, "shattered", "import nowhere_to_be_found")
        path = f"{PLUGINS}{os.pathsep}{shadows}"
        (told,) = [one for one in run_json("plugins", PYTHONPATH=path)["plugins"] if one["name"] == "shattered"]
        assert (told["distribution"], told["version"]) == ("shattered", "2.0")
        assert "No module named 'nowhere_to_be_found'" in told["error"]
        assert told["provides"] == []
        assert "broken: the plugin 'shattered' of shattered 2.0 does not load" in run("plugins", PYTHONPATH=path)
        run("doctor", PYTHONPATH=path)

    def test_a_name_that_two_provide_is_told_with_both(self, scripted: Scripted, shadows: Path) -> None:
        plugin(shadows, "twin", "from scripted import tracelet_backends")
        path = f"{PLUGINS}{os.pathsep}{shadows}"
        told = {one["name"]: one for one in run_json("plugins", PYTHONPATH=path)["plugins"]}
        assert "uninstall one of them" in told["twin"]["provides"][0]["error"]
        assert "backend scripted  broken: backend 'scripted' is provided by" in run("plugins", PYTHONPATH=path)

    def test_people_see_backends_with_what_they_can_do(self, scripted: Scripted) -> None:
        told = run("plugins")
        assert "backend local  A directory, on this machine" in told
        assert "    clears garbage, deletes versions, finds users, lists experiments, moves aliases" in told


class TestDoctor:
    def verdicts(self, *arguments: str, code: int, apart: bool = False, **variables: str) -> dict[str, tuple[str, str]]:
        told = run_json("doctor", *arguments, code=code, apart=apart, **variables)
        assert told["ok"] is (code == 0)
        # The mark by which these tests know their processes is a variable that nothing installed reads.
        checks = [one for one in told["checks"] if not one["detail"].startswith(f"{MARK} ")]
        return {one["subject"]: (one["verdict"], f"{one['detail']} {one['advice']}") for one in checks}

    def test_all_is_well_from_the_start(self, home: Path) -> None:
        found = self.verdicts(code=0)
        assert {subject: verdict for subject, (verdict, _) in found.items()} == {
            "directory": "ok",
            "store": "note",
            "outbox": "ok",
            "routing": "ok",
            "backend local": "ok",
        }
        assert "TRACELET_STORE" in found["store"][1]

    def test_people_see_what_to_do(self, scripted: Scripted) -> None:
        scripted.told(find="locked")
        told = run("doctor", "--backend", "scripted", code=1)
        assert "wrong  backend scripted: scripted does not know you" in told
        assert "       Correct the credentials in the tracker's own variables." in told

    def test_a_backend_that_hangs_is_told_in_time_and_the_others_are_asked(self, scripted: Scripted) -> None:
        scripted.told(open="hang")
        began = time.monotonic()
        found = self.verdicts("--backend", "local", "--backend", "scripted", code=1, TRACELET_OPEN_TIMEOUT="1")
        assert time.monotonic() - began < 20 * pace()
        assert found["backend local"][0] == "ok"
        verdict, told = found["backend scripted"]
        assert verdict == "wrong"
        # Its own limit and the command's are over at the same time.
        assert "did not answer within 1 s" in told or "does not answer in time" in told
        assert "waits in the outbox" in told

    def test_a_backend_that_opens_and_does_not_answer_is_told_in_time(self, scripted: Scripted) -> None:
        scripted.told(find="hang")
        found = self.verdicts(code=1, TRACELET_BACKEND="scripted", TRACELET_DEADLINE="1")
        assert "did not answer within 1 s" in found["backend scripted"][1]

    def test_a_backend_of_another_name_or_with_bad_settings_is_told(self, shadows: Path, home: Path) -> None:
        plugin(
            shadows,
            "picky",
            """
            import attrs
            from tracelet.plugin import BackendSpec, hookimpl

            @attrs.frozen
            class Settings:
                port: int = 1

            @hookimpl
            def tracelet_backends():
                return [BackendSpec(name="picky", open=print, settings=Settings)]
            """,
        )
        found = self.verdicts(code=1, PYTHONPATH=str(shadows), TRACELET_BACKEND="picky,locl", TRACELET_PICKY_PORT="x")
        assert "Correct the variables that are named here" in found["backend picky"][1]
        assert "TRACELET_PICKY_PORT" in found["backend picky"][1]
        assert "locl" in found["backend locl"][1]

    def test_a_directory_that_cannot_be_written_is_told(self, scripted: Scripted, home: Path) -> None:
        Path("file").write_text("")
        found = self.verdicts("--dir", "file/tracelet", "--backend", "scripted", code=1)
        assert {subject: verdict for subject, (verdict, _) in found.items() if verdict == "wrong"} == dict.fromkeys(
            ["directory", "store", "backend scripted"], "wrong"
        )
        assert "Set TRACELET_DIR" in found["directory"][1]

    def test_a_disk_without_room_for_one_file_is_told(self, home: Path) -> None:
        assert "Free space" in self.verdicts(code=1, TRACELET_LARGE_FILE_MB="1e15")["directory"][1]

    def test_a_policy_that_does_not_exist_is_told(self, home: Path) -> None:
        verdict, told = self.verdicts(code=1, TRACELET_ROUTING="by-tpye")["routing"]
        assert verdict == "wrong"
        assert "'by-type'" in told

    def test_a_store_that_others_can_read_is_in_order(self, home: Path) -> None:
        assert self.verdicts(code=0, TRACELET_STORE="memory://shared")["store"][0] == "ok"

    def test_a_store_of_this_machine_is_no_matter_where_nothing_goes_there(self, home: Path) -> None:
        assert self.verdicts(code=0, TRACELET_ON_LARGE="upload")["store"][0] == "ok"

    def test_a_store_that_never_answers_is_told_in_time(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": url}
            began = time.monotonic()
            # What waits for the silent one ends with its process.
            limits = {"TRACELET_STORE": "s3://bucket/x", "TRACELET_DEADLINE": "1"}
            verdict, told = self.verdicts(code=1, apart=True, **limits, **keys)["store"]
            assert time.monotonic() - began < 20 * pace()
        assert verdict == "wrong"
        assert "did not answer within 1 s" in told

    def test_a_store_that_cannot_be_spoken_to_is_told(self, home: Path) -> None:
        assert "Correct TRACELET_STORE" in self.verdicts(code=1, TRACELET_STORE="file://relative")["store"][1]

    @pytest.mark.parametrize("made", ["delivery", "draft"])
    def test_a_backend_that_deliveries_wait_for_is_asked_too(self, scripted: Scripted, home: Path, made: str) -> None:
        if made == "draft":
            die_before_hashing('"scripted"')
        else:
            scripted.told(put="away")
            program('with experiment() as exp: exp.log_artifact(artifact("thing"))')
        assert self.verdicts("--backend", "local", code=0)["backend scripted"][0] == "ok"
        scripted.told(find="locked")
        assert self.verdicts(code=1)["backend scripted"][0] == "wrong"

    def test_every_backend_that_is_wrong_comes_with_an_advice(self, scripted: Scripted, home: Path) -> None:
        for told, advice in (
            ("never", "Repair what is named here"),
            ("away", "Start it"),
            ("locked", "Correct the cr"),
        ):
            scripted.told(find=told)
            assert advice in self.verdicts(code=1, TRACELET_BACKEND="scripted")["backend scripted"][1]
        assert "Install or repair the distribution" in self.verdicts(code=1, TRACELET_BACKEND="locl")["backend locl"][1]

    def test_variables_that_nothing_reads_are_told_with_the_nearest(self, scripted: Scripted) -> None:
        found = run_json(
            "doctor",
            TRACELET_ENABLE_ARTIFACT="true",
            TRACELET_SCRIPTED_PLACES="x",
            TRACELET_TORCH="x",
            TRACELET_LANE="x",
        )
        told = [one for one in found["checks"] if one["subject"] == "variables" and MARK not in one["detail"]]
        assert {one["detail"].split()[0]: (one["verdict"], one["advice"]) for one in told} == {
            "TRACELET_ENABLE_ARTIFACT": ("note", "Did you mean TRACELET_ENABLE_ARTIFACTS?"),
            "TRACELET_SCRIPTED_PLACES": ("note", "Did you mean TRACELET_SCRIPTED_PLACE?"),
            "TRACELET_TORCH": ("note", "Did you mean TRACELET_TORCH_JIT?"),
        }

    def test_what_waits_is_told_and_is_not_wrong(self, queue: Scripted) -> None:
        verdict, told = self.verdicts(code=0)["outbox"]
        assert verdict == "note"
        assert "3 deliveries wait, to scripted" in told
        assert "tracelet sync" in told

    def test_a_draft_that_waits_is_told(self, scripted: Scripted, home: Path) -> None:
        die_before_hashing('"scripted"')
        assert "1 delivery waits, to be hashed first" in self.verdicts(code=0)["outbox"][1]

    def test_what_was_refused_is_wrong_until_somebody_deletes_it(self, queue: Scripted, home: Path) -> None:
        queue.told(put="never")
        run("sync", code=1)
        verdict, told = self.verdicts(code=1)["refused"]
        assert verdict == "wrong"
        assert "scripted never takes that" in told
        for path in (home / ".tracelet").rglob("*.refused"):
            path.unlink()
        self.verdicts(code=0)

    @pytest.mark.parametrize("backends", ["scripted", "scripted,scripted-dumb"])
    def test_interrupted_it_ends_at_once_and_leaves_no_process(self, scripted: Scripted, backends: str) -> None:
        scripted.told(open="hang")
        with no_lanes_after():
            doctor = begin("doctor", env=environment(TRACELET_BACKEND=backends, TRACELET_OPEN_TIMEOUT="60"))
            wait_until(lambda: len(scripted.calls("open")) == len(backends.split(",")))
            doctor.send_signal(signal.SIGINT)
            out, err = doctor.communicate(timeout=180)
        assert (doctor.returncode, out) == (130, "")
        assert "error: interrupted" in err


class TestReading:
    def test_versions_are_listed_newest_first(self, stored: Scripted) -> None:
        told = run_json("ls", "trials")
        assert [(one["name"], one["version"]) for one in told["artifacts"]] == [
            ("model", "v0"),
            ("thing", "v1"),
            ("thing", "1.0"),
        ]
        assert told["artifacts"][0]["metadata"] == {"loss": {"$float": "NaN"}}
        assert told["artifacts"][2]["aliases"] == ["best"]
        assert told["error"] is None

    def test_a_type_a_name_and_a_backend_narrow_the_list(self, stored: Scripted) -> None:
        assert [one["name"] for one in run_json("ls", "trials", "--type", "model")["artifacts"]] == ["model"]
        assert len(run_json("ls", "trials", "--name", "thing")["artifacts"]) == 2
        told = run_json("ls", "trials", "--backend", "scripted", "--backend", "local")["artifacts"]
        assert {one["backend"] for one in told} == {"scripted", "local"}
        assert len(told) == 6

    def test_people_see_columns(self, stored: Scripted) -> None:
        header, *rows = run("ls", "trials").splitlines()
        assert header.split() == [
            *("NAME", "VERSION", "TYPE", "SIZE", "CREATED"),
            *("ALIASES", "BACKENDS", "PENDING", "DIGEST"),
        ]
        cells = [re.split(r"\s{2,}", row) for row in rows]
        assert [row[:3] for row in cells] == [
            ["model", "v0", "model"],
            ["thing", "v1", "config"],
            ["thing", "v0 (1.0)", "config"],
        ]
        assert [row[5:8] for row in cells] == [["-", "local", "-"], ["-", "local", "-"], ["best", "local", "-"]]
        assert header.index("TYPE") == rows[1].index("config") == rows[2].index("config")

    def test_a_version_that_several_backends_hold_is_one_row(self, stored: Scripted) -> None:
        program('with experiment("scripted") as exp: exp.log_artifact(artifact("thing", "first"), aliases=["best"])')
        _, *rows = run("ls", "trials", "--backend", "local", "--backend", "scripted", "--name", "thing").splitlines()
        cells = [re.split(r"\s{2,}", row) for row in rows]
        # In scripted, "best" has moved on from a version that both still hold.
        assert [(row[1], row[5], row[6]) for row in cells] == [
            ("v2", "best", "scripted"),
            ("v1", "-", "local,scripted"),
            ("v0 (1.0)", "best", "local"),
            ("v0 (1.0)", "-", "scripted"),
        ]

    def test_what_a_server_has_not_got_yet_is_marked(self, shadows: Path, home: Path) -> None:
        plugin(
            shadows,
            "offline",
            """
            from tracelet.plugin import BackendSpec, Capability, NoSettings, PendingCatalogue, hookimpl

            def open_offline(experiment, settings, context):
                return PendingCatalogue("offline:", context.directory / "offline", experiment, context.directory)

            @hookimpl
            def tracelet_backends():
                every = frozenset(Capability) - {Capability.DISCOVERS}
                return [BackendSpec(name="offline", open=open_offline, in_process=True, capabilities=every)]
            """,
        )
        both = {"PYTHONPATH": str(shadows), "TRACELET_BACKEND": "local,offline"}
        program('with experiment("local", "offline") as exp: exp.log_artifact(artifact("thing"))', **both)
        _, row = run("ls", "trials", **both).splitlines()
        assert re.split(r"\s{2,}", row)[6:8] == ["local,offline", "offline"]

    def test_conditions_an_order_and_a_limit_narrow_the_list(self, home: Path) -> None:
        program(
            """
            with experiment("local") as exp:
                for number in (3, 1, 2):
                    net = artifact("net", str(number))
                    net.metadata["metrics"] = {"loss": number / 10, "tag": "a b"}
                    exp.log_artifact(net)
            """
        )
        told = run_json("ls", "trials", "--where", "metrics.loss >= 0.2", "--sort", "-metrics.loss")["artifacts"]
        assert [one["version"] for one in told] == ["v0", "v2"]
        both = ["--where", "metrics.loss > 0.1", "--where", "metrics.tag ~ 'a b'"]
        told = run_json("ls", "trials", *both, "--sort", "metrics.loss", "--limit", "1")["artifacts"]
        assert [one["version"] for one in told] == ["v2"]
        out, err = run_both("ls", "trials", "--where", "metrics.loss > 1")
        assert (out, err[:71]) == ("", "nothing that fits --where 'metrics.loss > 1' is stored in experiment 't")

    def test_where_there_is_nothing_it_says_what_was_asked(self, stored: Scripted, home: Path) -> None:
        here = f"(directory {home / '.tracelet'})"
        out, err = run_both("ls", "trails")
        assert out == ""
        assert err == f"nothing is stored in experiment 'trails' of local {here}; did you mean 'trials'?\n"
        out, err = run_both("ls", "elsewhere", "--backend", "scripted", "--backend", "local", "--json")
        assert json.loads(out) == {"experiment": "elsewhere", "artifacts": [], "error": None}
        assert err == (
            f"nothing is stored in experiment 'elsewhere' of scripted, local {here}; `tracelet experiments --backend scripted "
            "--backend local` shows which there are; --backend NAME asks another backend, --dir DIR another directory\n"
        )
        out, err = run_both("ls", "trials", "--type", "image", "--name", "thing")
        assert err.startswith("nothing that fits --type image --name thing is stored in experiment 'trials' of local")

    def test_where_there_is_nothing_it_counts_what_waits(self, queue: Scripted, home: Path) -> None:
        for command in (["ls", "trials"], ["ls", "trials", "--backend", "scripted"]):
            out, err = run_both(*command)
            assert out == ""
            assert err.endswith("; 3 deliveries of it wait, to scripted: `tracelet sync` sends them\n")
        assert "did you mean 'trials'?" in run_both("ls", "trial")[1]
        assert "3 deliveries of it wait, to scripted" in run("get", "trials", "other", code=1)

    def test_where_there_is_nothing_it_counts_what_is_still_to_be_hashed(self, scripted: Scripted, home: Path) -> None:
        die_before_hashing('"scripted"')
        assert "1 delivery of it waits, to be hashed first" in run_both("ls", "trials", "--backend", "scripted")[1]

    def test_without_a_directory_other_backends_are_asked_all_the_same(self, stored: Scripted) -> None:
        assert len(run_json("ls", "trials", "--backend", "scripted", "--dir", "nowhere")["artifacts"]) == 3

    def test_a_backend_that_fails_is_told_and_the_others_are_listed(self, stored: Scripted) -> None:
        stored.told(list="away")
        told = run_json("ls", "trials", "--backend", "scripted", "--backend", "local", code=1)
        assert len(told["artifacts"]) == 3
        assert told["error"] == {"type": "BackendUnavailable", "message": "scripted is out"}
        out, err = run_both("ls", "trials", "--backend", "scripted", "--backend", "local", code=1)
        assert (out.count("\n"), err) == (4, "error: scripted is out\n")

    def test_get_brings_verified_files_and_says_where(self, stored: Scripted, home: Path) -> None:
        assert (Path(run("get", "trials", "thing").strip()) / "thing.txt").read_text() == "second"
        assert (Path(run("get", "trials", "thing@best").strip()) / "thing.txt").read_text() == "first"
        assert (Path(run("get", "trials", "thing:v0").strip()) / "thing.txt").read_text() == "first"
        told = run_json("get", "trials", "thing@1.0", "--backend", "scripted", "-o", "there")
        assert (told["version"], told["backend"], told["folder"]) == ("1.0", "scripted", str(home / "there"))
        assert (home / "there" / "thing.txt").read_text() == "first"
        assert told["files"][0]["size_bytes"] == 5

    def test_get_brings_some_paths_only(self, stored: Scripted, home: Path) -> None:
        run("get", "trials", "model", "-o", "there", "--path", "objects/numbers.json")
        assert [path.name for path in (home / "there").rglob("*") if path.is_file()] == ["numbers.json"]

    def test_references_of_this_machine_need_trust(self, stored: Scripted, home: Path) -> None:
        assert "say --trust" in run("get", "trials", "model", "--references", "-o", "there", code=2)
        run("get", "trials", "model", "--references", "--trust", "-o", "there")
        assert (home / "there/references/hostname").read_bytes() == Path("/etc/hostname").read_bytes()

    def test_bytes_that_were_changed_are_refused(self, stored: Scripted, home: Path) -> None:
        for blob in (stored.place / "blobs" / "blobs").rglob("*"):
            if blob.is_file():
                blob.write_bytes(b"other")
        assert "stored bytes were changed" in run("get", "trials", "thing", "--backend", "scripted", "-o", "x", code=1)
        assert not list((home / "x").iterdir())

    def test_what_is_not_there_is_told(self, stored: Scripted) -> None:
        assert "did you mean 'thing'" in run("get", "trials", "thingy", code=1)
        told = run("get", "trials", "thing@v77", code=1)
        assert "it has other versions: `tracelet ls trials` shows them" in told
        assert "list_artifacts" not in told
        assert "did you mean 'trials'?" in run("get", "trails", "thing", code=1)
        assert "`tracelet experiments` shows which there are" in run("get", "elsewhere", "thing", code=1)

    def test_several_backends_in_one_option_are_refused_with_what_to_do(self, stored: Scripted) -> None:
        told = run("ls", "trials", "--backend", "local,scripted", code=2)
        assert "no backend 'local,scripted' is installed" in told
        assert told.endswith(" Give each name by itself.\n")

    def test_a_version_that_two_backends_mean_otherwise_is_told_in_the_commands_words(self, stored: Scripted) -> None:
        program('with experiment("local") as exp: exp.log_artifact(artifact("both", "one"))')
        program('with experiment("scripted") as exp: exp.log_artifact(artifact("both", "two"))')
        told = run("get", "trials", "both@v0", "--backend", "local", "--backend", "scripted", code=1)
        assert told.endswith("say --backend.\n")

    @pytest.mark.parametrize("backends", ["scripted", "scripted,scripted-dumb"])
    def test_interrupted_it_ends_at_once_and_leaves_no_process(self, stored: Scripted, backends: str) -> None:
        stored.told(list="hang")
        with no_lanes_after():
            ls = begin("ls", "trials", env=environment(TRACELET_BACKEND=backends, TRACELET_DEADLINE="60"))
            wait_until(lambda: len(stored.calls("list")) >= len(backends.split(",")))
            ls.send_signal(signal.SIGINT)
            out, _ = ls.communicate(timeout=180)
        assert (ls.returncode, out) == (130, "")


class TestShow:
    def test_people_see_everything_about_a_version(self, stored: Scripted, home: Path) -> None:
        program(
            """
            with experiment("local", "scripted") as exp:
                exp.use_artifact("model", backend="local")
                made = artifact("report", "x" * 1500).add_object([1], "numbers").add_reference("s3://b/k", size_bytes=9)
                made.metadata.update({"metrics": {"loss": 0.5, "far": float("inf")}, "tags": ["a"], "none": {}, "long": "y" * 999})
                exp.log_artifact(made, version="2.0", aliases=["best", "last"])
            """
        )
        told = run("show", "trials", "report", "--backend", "local", "--backend", "scripted")
        top, copies, metadata, files, objects, references = told.split("\n\n")
        digest = run_json("show", "trials", "report")["digest"]
        used = run_json("show", "trials", "model")["digest"]
        assert top.startswith("report v0 (2.0)\ntype         config\nsize         1.5 kB (1")
        assert f"\ndigest       {digest}\ninput        {used}" in top
        assert [re.split(r"\s{2,}", row)[:4] for row in copies.splitlines()] == [
            ["BACKEND", "VERSION", "ALIASES", "PENDING"],
            ["local", "v0 (2.0)", "best,last", "-"],
            ["scripted", "v0 (2.0)", "best,last", "-"],
        ]
        assert [re.split(r"\s{2,}", row) for row in metadata.splitlines()] == [
            ["METADATA", "VALUE"],
            ["long", "y" * 200 + "…"],
            ["metrics.far", "Infinity"],
            ["metrics.loss", "0.5"],
            ["none", "{}"],
            ["tags", '["a"]'],
        ]
        assert files.splitlines()[1].split()[:3] == ["report.txt", "1.5", "kB"]
        assert objects.splitlines()[1].split() == ["numbers", "6", "B", "json", "objects/numbers.json"]
        assert references.splitlines()[1].split() == ["-", "9", "B", "s3://b/k"]

    def test_programs_get_an_entry_of_ls_and_every_copy(self, stored: Scripted) -> None:
        told = run_json("show", "trials", "thing:1.0", "--backend", "scripted", "--backend", "local")
        (listed,) = run_json("ls", "trials", "--where", "label = 1.0")["artifacts"]
        assert {key: told[key] for key in listed} == listed
        assert [(one["backend"], one["version"], one["aliases"]) for one in told["copies"]] == [
            ("scripted", "1.0", ["best"]),
            ("local", "1.0", ["best"]),
        ]
        assert (told["waiting"], told["errors"]) == ([], [])

    def test_what_waits_for_another_backend_is_told(self, scripted: Scripted, home: Path) -> None:
        scripted.told(put="away")
        program('with experiment("local", "scripted") as exp: exp.log_artifact(artifact("thing", "one"))')
        both = ("--backend", "local", "--backend", "scripted")
        assert "\nwaiting      a delivery to scripted\n" in run("show", "trials", "thing", *both)
        assert run_json("show", "trials", "thing", *both)["waiting"] == ["scripted"]

    def test_a_backend_that_cannot_be_asked_is_told_and_the_others_are_shown(self, stored: Scripted) -> None:
        stored.told(find="away")
        out, err = run_both("show", "trials", "thing", "--backend", "local", "--backend", "scripted", code=1)
        assert out.startswith("thing v1\n")
        assert err.endswith("error: scripted is out\n")
        told = run_json("show", "trials", "thing", "--backend", "local", "--backend", "scripted", code=1)
        assert told["errors"] == [{"backend": "scripted", "type": "BackendUnavailable", "message": "scripted is out"}]

    def test_a_model_is_one_line_with_its_framework(self, toys: ModuleType, home: Path) -> None:
        with Experiment("trials", artifacts=True) as exp:
            exp.log_artifact(exp.create_artifact("net", "model").add_model(toys.Line(1), "toys"))
        assert re.search(r"\nMODEL +SIZE +FRAMEWORK +FILES\n\w+ +[0-9]+ B +toys +1\n", run("show", "trials", "net"))

    def test_what_is_not_there_is_told(self, stored: Scripted) -> None:
        assert "did you mean 'thing'" in run("show", "trials", "thingy", code=1)


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_it_writes_the_script_of_a_shell(self, home: Path, shell: str) -> None:
        assert "_TRACELET_COMPLETE" in run("completion", shell)

    def test_bash_completes_commands_and_options_by_it(self, home: Path) -> None:
        script = f"""
            export PATH={Path(COMMAND).parent}:$PATH
            eval "$(tracelet completion bash)"
            COMP_WORDS=(tracelet "$@") COMP_CWORD=$#
            _tracelet_completion tracelet
            echo "${{COMPREPLY[@]}}"
        """

        def completed(*words: str) -> list[str]:
            shell = ["bash", "-c", script, "bash", *words]
            return subprocess.run(shell, capture_output=True, text=True, check=True, timeout=180).stdout.split()

        assert completed("exp") == ["experiments"]
        assert completed("ls", "trials", "--wh") == ["--where"]
        assert "checkpoint" in completed("ls", "--type", "ch")

    def test_another_shell_is_told_which_there_are(self, home: Path) -> None:
        assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in run("completion", "tcsh", code=2)


class TestExperiments:
    def test_the_experiments_of_each_backend_are_listed(self, stored: Scripted, home: Path) -> None:
        program('with experiment("local", name="a/b: c") as exp: exp.log_artifact(artifact("thing"))')
        told = run_json("experiments")
        assert told == {
            "directory": str(home / ".tracelet"),
            "experiments": {"local": ["a/b: c", "trials"]},
            "waiting": [],
            "error": None,
        }
        header, *rows = run("experiments").splitlines()
        assert header.split() == ["EXPERIMENT", "BACKENDS"]
        assert [re.split(r"\s{2,}", row) for row in rows] == [["a/b: c", "local"], ["trials", "local"]]

    def test_a_backend_that_cannot_say_it_is_told_and_the_others_are_listed(self, stored: Scripted) -> None:
        told = run_json("experiments", "--backend", "scripted", "--backend", "local", code=1)
        assert told["experiments"] == {"local": ["trials"]}
        assert told["error"] == {
            "type": "BackendError",
            "message": "scripted cannot say which experiments it holds: name yours.",
        }
        out, err = run_both("experiments", "--backend", "scripted", "--backend", "local", code=1)
        assert (out.splitlines()[1].split(), err.count("\n")) == (["trials", "local"], 1)

    def test_what_only_waits_is_told_apart(self, queue: Scripted, home: Path) -> None:
        out, err = run_both("experiments")
        assert out == ""
        assert err == (
            "nothing of 'trials' is stored there yet; 3 deliveries of it wait, to scripted: `tracelet sync` sends them\n"
        )
        assert run_json("experiments")["waiting"] == [{"experiment": "trials", "count": 3, "backends": ["scripted"]}]

    def test_what_waits_of_an_experiment_that_is_there_is_not_told(self, queue: Scripted, home: Path) -> None:
        program('with experiment("local") as exp: exp.log_artifact(artifact("thing"))')
        out, err = run_both("experiments")
        assert (out.splitlines()[1].split(), err) == (["trials", "local"], "")

    def test_where_there_is_none_it_says_what_was_asked(self, home: Path) -> None:
        Path(".tracelet").mkdir()
        said = f"nothing is stored in local (directory {home / '.tracelet'})\n"
        assert run_both("experiments") == ("", said)


class TestTheDirectory:
    def test_it_is_found_in_a_folder_above(self, stored: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        below = home / "src" / "models"
        below.mkdir(parents=True)
        (home / "src" / ".tracelet").write_text("no directory")
        monkeypatch.chdir(below)
        assert len(run_json("ls", "trials")["artifacts"]) == 3
        assert run_json("sync")["directory"] == str(home / ".tracelet")
        assert run_json("gc")["directory"] == str(home / ".tracelet")
        assert run_json("doctor")["directory"] == str(home / ".tracelet")
        assert not (below / ".tracelet").exists()

    def test_one_in_this_folder_or_one_that_is_named_goes_first(
        self, stored: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        below = home / "below"
        below.mkdir()
        monkeypatch.chdir(below)
        assert "there is no tracelet directory" in run("ls", "trials", "--dir", ".tracelet", code=2)
        assert "there is no tracelet directory" in run("ls", "trials", code=2, TRACELET_DIR=".tracelet")
        (below / ".tracelet").mkdir()
        assert run_json("ls", "trials")["artifacts"] == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
    @pytest.mark.parametrize("linked", [False, True])
    def test_one_above_that_is_another_users_is_used_only_where_it_is_named(
        self, stored: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
    ) -> None:
        theirs = home / ".tracelet"
        if linked:
            theirs = theirs.rename(home / "theirs")
            (home / ".tracelet").symlink_to(theirs)
        os.chown(theirs, NOBODY, NOBODY)
        below = home / "below"
        below.mkdir()
        monkeypatch.chdir(below)
        said = run("ls", "trials", code=2)
        assert f"{home / '.tracelet'} is another user's, and is not used unless you name it: say --dir" in said
        assert len(run_json("ls", "trials", "--dir", "../.tracelet")["artifacts"]) == 3
        monkeypatch.chdir(home)
        assert len(run_json("ls", "trials")["artifacts"]) == 3


class TestSync:
    def test_it_delivers_what_waits_and_tells_each(self, queue: Scripted, home: Path) -> None:
        told = run("sync")
        assert sorted(re.findall(r"^delivered  trials: (\w+) to scripted v0", told, re.MULTILINE)) == [
            "one",
            "three",
            "two",
        ]
        assert told.endswith("3 delivered, 0 left, 0 refused\n")
        assert waiting(home) == []
        read = run_json("get", "trials", "two", "--backend", "scripted", "--dir", "other")
        assert (Path(read["folder"]) / "two.txt").read_text() == "two" * 100

    def test_what_cannot_be_delivered_stays_and_says_why(self, queue: Scripted, home: Path) -> None:
        queue.told(put="away")
        told = run_json("sync", code=1)
        assert [one["name"] for one in told["left"]] == ["one", "two", "three"]
        assert {one["reason"] for one in told["left"]} == {"scripted is out"}
        assert told["delivered"] == told["refused"] == []
        assert waiting(home) == ["one", "three", "two"]
        assert "left       trials: one to scripted" in run("sync", code=1)

    def test_what_is_refused_is_shown_with_the_reason_and_the_file(self, queue: Scripted, home: Path) -> None:
        queue.told(put="never")
        told = run_json("sync", code=1)
        assert {one["reason"] for one in told["refused"]} == {"scripted never takes that"}
        assert all(Path(one["file"]).exists() for one in told["refused"])
        assert told["left"] == []
        queue.told()
        again = run("sync", code=1)
        assert again.count("refused    trials: ") == 3
        assert "0 delivered, 0 left, 3 refused" in again

    def test_a_person_who_watches_sees_progress_and_a_program_does_not(self, queue: Scripted) -> None:
        queue.told(put="sleep 0.5")
        ours, theirs = pty.openpty()
        sync = begin("sync", env=environment(TERM="xterm-256color"), stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while block := os.read(ours, 4096):
                seen += block
        except OSError:  # the other side is closed
            pass
        os.close(ours)
        out, _ = sync.communicate(timeout=180)
        assert sync.returncode == 0
        assert b"\x1b[" in seen
        assert b"to scripted, 300 B" in seen
        assert b"2/3" in seen
        assert out.count("delivered  trials: ") == 3
        assert "\x1b" not in out

    def test_errors_are_red_where_a_person_is_watching(self, home: Path) -> None:
        ours, theirs = pty.openpty()
        sync = begin("sync", env=environment(TERM="xterm-256color"), stderr=theirs)
        os.close(theirs)
        assert sync.communicate(timeout=180)[0] == ""
        assert os.read(ours, 4096).startswith(b"\x1b[31merror: there is no tracelet directory")
        os.close(ours)

    def test_warnings_of_the_library_are_lines_of_their_own(self, scripted: Scripted, home: Path) -> None:
        scripted.told(find="away")
        program('with experiment("local") as exp: exp.log_artifact(artifact("thing"))')
        get = begin("get", "trials", "thing", "--backend", "scripted", "--backend", "local")
        out, err = get.communicate(timeout=180)
        assert get.returncode == 0
        assert Path(out.strip()).is_dir()
        assert err == "warning: 'thing' is looked for without scripted: scripted is out\n"

    @pytest.mark.parametrize("backends", ['"scripted"', '"scripted", "scripted-dumb"'])
    def test_interrupted_nothing_is_lost_and_no_process_is_left(
        self, scripted: Scripted, home: Path, backends: str
    ) -> None:
        scripted.told(put="away")
        program(f'with experiment({backends}) as exp: exp.log_artifact(artifact("thing"))')
        queued = waiting(home)
        scripted.told(put="hang")
        before = len(scripted.calls("put"))
        with no_lanes_after():
            sync = begin("sync")
            wait_until(lambda: len(scripted.calls("put")) == before + len(queued))
            began = time.monotonic()
            sync.send_signal(signal.SIGINT)
            out, err = sync.communicate(timeout=180)
        assert time.monotonic() - began < 10 * pace()
        assert (sync.returncode, out) == (130, "")
        assert "error: interrupted" in err
        assert waiting(home) == queued
        scripted.told()
        assert len(run_json("sync")["delivered"]) == len(queued)
        # scripted and scripted-dumb are one place: each stored its own, or found what the other had stored.
        stored = run_json("ls", "trials", "--backend", "scripted")["artifacts"]
        assert 1 <= len(stored) <= len(queued)

    def test_two_at_once_deliver_each_once(self, scripted: Scripted, home: Path) -> None:
        scripted.told(put="away")
        names = [f"n{number}" for number in range(8)]
        program(f"with experiment() as exp: [exp.log_artifact(artifact(name)) for name in {names}]")
        assert waiting(home) == names
        scripted.told(put="sleep 0.3")
        before = len(scripted.calls("put"))
        both = [begin("sync", "--json") for _ in range(2)]
        told = [json.loads(one.communicate(timeout=180)[0]) for one in both]
        assert sorted(one["name"] for report in told for one in report["delivered"]) == names
        assert len(scripted.calls("put")) - before == len(names)
        assert waiting(home) == []
        stored = run_json("ls", "trials", "--backend", "scripted")["artifacts"]
        assert sorted((one["name"], one["version"]) for one in stored) == [(name, "v0") for name in names]


class TestGc:
    def test_it_removes_what_is_old_and_needed_by_nobody_and_tells_the_bytes(self, queue: Scripted, home: Path) -> None:
        run("sync")
        age(home / ".tracelet")
        told = run_json("gc")
        assert told["directory"] == str(home / ".tracelet")
        blobs = [one for one in told["swept"] if one["kind"] == "blobs"]
        assert blobs == [{"kind": "blobs", "count": 3, "size_bytes": 1100}]
        assert told["size_bytes"] >= 1100
        assert told["failed"] == {}
        assert "0 B free again" in run("gc")

    def test_what_is_young_stays(self, queue: Scripted, home: Path) -> None:
        run("sync")
        assert run_json("gc", "--older-than", "1h")["swept"] == []
        assert len([path for path in (home / ".tracelet/objects").rglob("*") if path.is_file()]) == 3

    def test_people_see_each_kind(self, queue: Scripted, home: Path) -> None:
        run("sync")
        age(home / ".tracelet")
        told = run("gc", "--older-than", "7d")
        assert "blobs: 3, 1.1 kB" in told

    def test_a_backend_that_fails_is_told_and_the_rest_is_done(self, queue: Scripted, home: Path) -> None:
        run("sync")
        age(home / ".tracelet")
        told = run_json("gc", code=1, TRACELET_BACKEND="nobody,local")
        assert "nobody" in told["failed"]
        assert told["size_bytes"] >= 1100

    def test_the_local_backends_garbage_goes_and_its_versions_stay(self, home: Path) -> None:
        program('with experiment("local") as exp: [exp.log_artifact(artifact("thing", text)) for text in ("a", "bb")]')
        root = home / ".tracelet" / "local"
        for manifest in root.rglob("v1.json"):
            manifest.unlink()
        age(root)
        assert run_json("gc")["swept"] == [{"kind": "backend local", "count": 1, "size_bytes": 2}]
        assert (Path(run("get", "trials", "thing@v0").strip()) / "thing.txt").read_text() == "a"

    def test_a_running_process_keeps_what_it_is_about_to_deliver(self, scripted: Scripted, home: Path) -> None:
        running = begin_program(
            """
            exp = experiment().start()
            sealer = exp._artifact_manager._process.sealer
            add, sealer.add = sealer.add, lambda path: drafts.append(path)
            drafts = []
            future = exp.submit_artifact(artifact("snapshot", "as it was").add_object({"a": 1}, "numbers"))
            Path("snapshot.txt").write_text("as it became")
            print("ready", flush=True)
            sys.stdin.readline()
            add(drafts[0])
            assert future.result(60).ok
            exp.stop()
            """
        )
        age(home / ".tracelet")
        assert run_json("gc", "--older-than", "1h")["swept"] == []
        sync = run_json("sync", code=1)
        assert [one["reason"] for one in sync["left"]] == ["another process is on it."]
        _, err = running.communicate("go\n", timeout=180)
        assert running.returncode == 0, err
        read = run_json("get", "trials", "snapshot", "--backend", "scripted", "--dir", "other")
        assert (Path(read["folder"]) / "snapshot.txt").read_text() == "as it was"

    def test_a_running_process_keeps_what_it_is_delivering(self, scripted: Scripted, home: Path) -> None:
        scripted.told(put="sleep 1")
        running = begin_program(
            """
            exp = experiment(deadline=30.0).start()
            print("ready", flush=True)
            assert exp.log_artifact(artifact("thing", "text").add_object({"a": 1}, "numbers")).ok
            exp.stop()
            """
        )
        wait_until(lambda: scripted.calls("put"))
        age(home / ".tracelet")
        assert run_json("gc", "--older-than", "1h")["swept"] == []
        assert running.poll() is None
        _, err = running.communicate(timeout=180)
        assert running.returncode == 0, err
        read = run_json("get", "trials", "thing", "--backend", "scripted", "--dir", "other")
        assert json.loads((Path(read["folder"]) / "objects/numbers.json").read_text()) == {"a": 1}

    def test_what_dead_processes_left_to_be_delivered_stays(self, queue: Scripted, home: Path) -> None:
        queue.told(put="never")
        program(
            'with experiment(name="refusals", deadline=1.0) as exp: exp.submit_artifact(artifact("thing")).exception(30)'
        )
        queue.told()
        die_before_hashing('"scripted", name="killed"')
        age(home / ".tracelet")
        run("gc", "--older-than", "1h")
        (refused,) = Outbox(home / ".tracelet").refused()
        assert Outbox(home / ".tracelet").sealed(refused)
        told = run_json("sync", code=1)
        assert sorted(one["name"] for one in told["delivered"]) == ["one", "snapshot", "three", "two"]
        assert [one["name"] for one in told["refused"]] == ["thing"]
        read = run_json("get", "killed", "snapshot", "--backend", "scripted", "--dir", "other")
        assert (Path(read["folder"]) / "snapshot.txt").read_text() == "as it was"

    def test_large_files_that_references_point_at_stay(self, home: Path) -> None:
        program(
            """
            with experiment("local", large_file_mb=0.001) as exp:
                exp.log_artifact(artifact("large", "x" * 5000))
            """
        )
        age(home / ".tracelet")
        assert run_json("gc")["swept"] == []
        assert (Path(run("get", "trials", "large").strip()) / "large.txt").read_text() == "x" * 5000
