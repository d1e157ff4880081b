"""Putting in what people have: a file or a folder in one line, in a program and in a shell."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import begin, environment, no_lanes_after, run, run_both, run_json, wait_until
from making import write
from watching import Scripted

from tracelet import ArtifactError, ArtifactType, ConfigError, Experiment, VersionConflict
from tracelet.exceptions import UnsafePath

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture
def exp(home: Path) -> Iterator[Experiment]:
    with Experiment("digits", artifacts=True) as made:
        yield made


def paths_of(exp: Experiment, name: str) -> list[str]:
    return sorted(file.artifact_path for file in exp.get_artifact(name).files)


class TestInAProgram:
    def test_a_file_is_logged_in_one_line(self, exp: Experiment) -> None:
        write(Path("runs/report.html"), "<html><h1>It went well</h1></html>")
        assert exp.log_path("runs/report.html")["local"].version == "v0"
        logged = exp.get_artifact("report")
        assert (logged.type, [file.artifact_path for file in logged.files]) == (ArtifactType.REPORT, ["report.html"])

    @pytest.mark.parametrize(
        ("path", "content", "name", "kind"),
        [
            ("cat.png", PICTURE, "cat-image", ArtifactType.IMAGE),
            ("train images", {"a.png": PICTURE, "b/c.png": PICTURE}, "train-images-image", ArtifactType.IMAGE),
            ("notes", {"a.png": PICTURE, "b.html": "<html></html>"}, "notes-custom", ArtifactType.CUSTOM),
            ("config.yaml", "lr: 0.1", "config", ArtifactType.CONFIG),
            ("unknown", b"\x00\x01", "unknown-custom", ArtifactType.CUSTOM),
        ],
    )
    def test_type_and_name_are_told_by_what_is_there(
        self, exp: Experiment, path: str, content: Any, name: str, kind: ArtifactType
    ) -> None:
        for below, data in content.items() if isinstance(content, dict) else [("", content)]:
            write(Path(path, below) if below else Path(path), data)
        exp.log_path(path)
        assert exp.get_artifact(name).type is kind

    def test_what_is_given_is_taken(self, exp: Experiment) -> None:
        write(Path("data/0.png"), PICTURE)
        exp.log_path(
            Path("data"), "digits", "dataset", description="8 x 8", version="1.0", aliases=["best"], metadata={"n": 1}
        )
        logged = exp.get_artifact("digits", "best")
        assert (logged.type, logged.label, logged.description) == (ArtifactType.DATASET, "1.0", "8 x 8")
        assert (logged.metadata, paths_of(exp, "digits")) == ({"n": 1}, ["0.png"])
        exp.log_path("data", type=ArtifactType.SAMPLE)
        assert exp.get_artifact("data-sample").type is ArtifactType.SAMPLE

    def test_the_snapshot_of_a_model_hub_is_a_folder_of_links(self, exp: Experiment) -> None:
        blob = write(Path("hub/blobs/1234"), json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
        snapshot = Path("hub/snapshots/abcd")
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").symlink_to(os.path.relpath(blob, snapshot))
        with pytest.raises(ArtifactError, match="say follow_links=True"):
            exp.log_path(snapshot, "bert")
        exp.log_path(snapshot, "bert", follow_links=True)
        assert paths_of(exp, "bert") == ["config.json"]
        there = exp.get_artifact("bert").download("there") / "config.json"
        assert there.read_bytes() == blob.read_bytes()
        assert not there.is_symlink()

    def test_a_set_whose_classes_are_links_is_told_by_what_is_behind_them(self, exp: Experiment) -> None:
        write(Path("pool/a.png"), PICTURE)
        Path("set").mkdir()
        Path("set/cats").symlink_to("../pool")
        exp.log_path("set", follow_links=True)
        assert exp.get_artifact("set-image").type is ArtifactType.IMAGE

    @pytest.mark.parametrize(
        ("arguments", "error", "told"),
        [
            ({"path": "nowhere"}, ArtifactError, "cannot be added: No such file"),
            ({"path": 5}, ArtifactError, "5 is no path"),
            ({"path": ""}, ArtifactError, "'' is no path"),
            ({"path": "empty", "follow_links": "no"}, ArtifactError, "follow_links='no': give True or False"),
            ({"path": "f", "type": "modl"}, ArtifactError, "Did you mean 'model'"),
            ({"path": "f", "name": ""}, UnsafePath, "name ''"),
            ({"path": "f", "metadata": 5}, ArtifactError, "metadata=5 is not a dict"),
            ({"path": "f", "aliases": "best"}, ConfigError, r"give a list, such as \['best'\]"),
            ({"path": "empty"}, ArtifactError, "there is no file in"),
        ],
    )
    def test_misuse_is_told_and_stores_nothing(
        self, exp: Experiment, arguments: dict[str, Any], error: type[Exception], told: str
    ) -> None:
        write(Path("f"))
        Path("empty").mkdir()
        with pytest.raises(error, match=told):
            exp.log_path(**arguments)
        assert exp.list_artifacts() == []

    def test_a_label_stays_with_its_content(self, exp: Experiment) -> None:
        exp.log_path(write(Path("f"), "one"), "thing", version="1.0")
        with pytest.raises(VersionConflict):
            exp.log_path(write(Path("f"), "two"), "thing", version="1.0")

    def test_it_needs_a_run_and_artifacts(self, home: Path) -> None:
        write(Path("f"))
        with pytest.raises(ConfigError, match="artifacts are off"):
            Experiment("digits").log_path("f")
        with pytest.raises(ConfigError, match="start"):
            Experiment("digits", artifacts=True).log_path("f")


class TestInAShell:
    def test_files_and_folders_go_into_one_artifact(self, home: Path) -> None:
        write(Path("runs/weights.bin"), "w")
        write(Path("data/a/0.txt"), "0")
        assert run("log", "digits", "thing", "runs/weights.bin", "data/") == "logged     thing to local v0 (2 B)\n"
        (listed,) = run_json("ls", "digits")["artifacts"]
        assert sorted(file["artifact_path"] for file in listed["files"]) == ["data/a/0.txt", "weights.bin"]
        assert listed["type"] == "custom"
        assert run("log", "digits", "thing", "runs/weights.bin", "data") == "unchanged  thing to local v0 (2 B)\n"

    def test_a_folder_alone_is_at_the_top(self, home: Path) -> None:
        write(Path("data/a/0.png"), PICTURE)
        told = run_json("log", "digits", "images", "data")
        assert told["type"] == "image"
        assert [one["version"] for one in told["logged"]] == ["v0"]
        assert (told["queued"], told["failed"], told["skipped"], told["warnings"]) == ([], [], [], [])
        (listed,) = run_json("ls", "digits")["artifacts"]
        assert [file["artifact_path"] for file in listed["files"]] == ["a/0.png"]
        assert listed["digest"] == told["logged"][0]["digest"]

    def test_what_was_logged_is_left_out_of_the_folder_that_it_is_in(self, home: Path) -> None:
        write(Path("set/0.png"), PICTURE)
        assert run_json("log", "digits", "images", ".")["type"] == "image"
        write(Path("set/1.png"), PICTURE)
        told = run_json("log", "digits", "images", ".")
        assert told["warnings"] == [
            f"'{home}/.tracelet' is a tracelet directory, and left out: what was logged is in it."
        ]
        (listed, _) = run_json("ls", "digits")["artifacts"]
        assert [file["artifact_path"] for file in listed["files"]] == ["set/0.png", "set/1.png"]

    def test_everything_about_it_can_be_said(self, home: Path) -> None:
        write(Path("f"))
        given = ["--type", "model", "--description", "a net", "--label", "1.0", "--alias", "best", "--alias", "prod"]
        values = {
            "accuracy": ("0.93", 0.93),
            "lr": (".001", 0.001),
            "offset": ("+2.", 2.0),
            "epochs": ("12", 12),
            "tiny": ("1e-9", 1e-9),
            "done": ("true", True),
            "shuffled": ("False", False),
            "nothing": ("null", None),
            "id": ("007", "007"),
            "version": ("1.2.3", "1.2.3"),
            "note": ("a = b", "a = b"),
            "empty": ("", ""),
            "quoted": ('"12"', "12"),
            "metrics": ('{"loss": [0.5, 0.25]}', {"loss": [0.5, 0.25]}),
            "deep": ("[" * 50_000, "[" * 50_000),
            "long": ("9" * 5_000, "9" * 5_000),
        }
        run("log", "digits", "net", "f", *given, *(f"--meta={key}={text}" for key, (text, _) in values.items()))
        (listed,) = run_json("ls", "digits")["artifacts"]
        assert (listed["type"], listed["description"], listed["label"]) == ("model", "a net", "1.0")
        assert sorted(listed["aliases"]) == ["best", "prod"]
        assert listed["metadata"] == {key: value for key, (_, value) in values.items()}

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["f", "--meta", "accuracy"], "'accuracy': give KEY=VALUE, such as accuracy=0.93."),
            (["f", "--meta", "=1"], "'=1': give KEY=VALUE"),
            (["f", "--meta", "a=1", "--meta", "a=2"], "'a' is given twice"),
            (["f", "--type", "modl"], "'modl' is not one of"),
            ([""], "'' is no path: give one"),
            (["-"], "'-' is no file here, and no stream: give a path, or './-' for a file of that name."),
            (["nowhere"], "nowhere' cannot be added: No such file or directory."),
            ([], "Missing argument 'PATH...'"),
            (["f", "elsewhere/f"], "'f' is in the artifact already: give the second one another path."),
            (["out"], "is a link out of the folder: say --follow-links to add what it leads to.\n"),
            (["f", "--label", "latest"], "latest"),
            (["f", "--dir", "f"], "the tracelet directory"),
        ],
    )
    def test_what_cannot_be_stored_is_one_line_and_exit_code_2(
        self, home: Path, arguments: list[str], told: str
    ) -> None:
        write(Path("f"))
        write(Path("elsewhere/f"))
        Path("out").mkdir()
        Path("out/link").symlink_to("../f")
        assert told in run("log", "digits", "thing", *arguments, code=2)
        assert not Path(".tracelet/local").exists()

    def test_links_that_lead_out_are_followed_where_that_is_said(self, home: Path) -> None:
        write(Path("f"), "content")
        Path("out").mkdir()
        Path("out/link").symlink_to("../f")
        run("log", "digits", "thing", "out", "--follow-links")
        (listed,) = run_json("ls", "digits")["artifacts"]
        assert [(file["artifact_path"], file["size_bytes"]) for file in listed["files"]] == [("link", 7)]

    def test_nothing_is_captured_meanwhile(self, home: Path) -> None:
        write(Path("watched/f"))
        watch = {"TRACELET_AUTOMAGIC_ARTIFACTS": "true", "TRACELET_WATCH_FILESYSTEM": "true"}
        run("log", "digits", "thing", "watched", TRACELET_ARTIFACT_WATCH_DIRS="watched", **watch)
        assert [one["name"] for one in run_json("ls", "digits")["artifacts"]] == ["thing"]

    def test_a_process_that_is_not_the_first_of_its_job_says_that_it_writes_nothing(self, home: Path) -> None:
        write(Path("f"))
        assert run("log", "digits", "thing", "f", TRACELET_RANK="1") == "skipped    local: only rank 0 writes\n"
        told = run_json("log", "digits", "thing", "f", TRACELET_RANK="1")
        assert told["skipped"] == [{"backend": "local", "reason": "only rank 0 writes"}]

    def test_what_is_queued_is_told_with_what_sends_it_and_exit_code_1(self, scripted: Scripted, home: Path) -> None:
        write(Path("f"))
        scripted.told(put="away")
        both = {"TRACELET_BACKEND": "local,scripted", "TRACELET_ROUTING": "all"}
        out, err = run_both("log", "digits", "thing", "f", code=1, **both)
        assert out == "logged     thing to local v0 (7 B)\nqueued     thing to scripted: `tracelet sync` sends it\n"
        assert "warning: scripted: scripted is out" in err
        told = run_json("log", "digits", "more", "f", code=1, **both)
        assert [(one["backend"], one["error"]["type"]) for one in told["queued"]] == [
            ("scripted", "BackendUnavailable")
        ]
        scripted.told()
        assert len(run_json("sync", **both)["delivered"]) == 2

    def test_what_a_backend_refuses_is_told_with_the_reason_and_exit_code_1(
        self, scripted: Scripted, home: Path
    ) -> None:
        write(Path("f"))
        scripted.told(put="never")
        both = {"TRACELET_BACKEND": "local,scripted", "TRACELET_ROUTING": "all", "TRACELET_STRICT": "true"}
        out, err = run_both("log", "digits", "thing", "f", code=1, **both)
        assert out == "logged     thing to local v0 (7 B)\nfailed     thing to scripted\n"
        assert "warning: scripted: scripted never takes that" in err
        told = run_json("log", "digits", "thing", "f", code=1, **both)
        assert [one["backend"] for one in told["failed"]] == ["scripted"]

    def test_interrupted_it_leaves_it_whole_or_not_at_all(self, scripted: Scripted, home: Path) -> None:
        write(Path("f"))
        scripted.told(put="hang")
        both = {"TRACELET_BACKEND": "local,scripted", "TRACELET_ROUTING": "all", "TRACELET_DEADLINE": "60"}
        both["TRACELET_STOP_TIMEOUT"] = "2"
        with no_lanes_after():
            command = begin("log", "digits", "thing", "f", env=environment(**both))
            wait_until(lambda: len(scripted.calls("put")) == 1)
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=180)
        assert (command.returncode, out) == (130, "")
        assert "error: interrupted" in err
        scripted.told()
        run_json("sync", **both)
        stored = run_json("ls", "digits", **both)["artifacts"]
        assert {one["backend"]: one["name"] for one in stored} == {"local": "thing", "scripted": "thing"}
        assert len({one["digest"] for one in stored}) == 1
        assert run_json("doctor", **both)["ok"]
