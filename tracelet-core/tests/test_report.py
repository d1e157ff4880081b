"""The report: one page of what an experiment has stored, from any backends, whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import begin, begin_program, environment, no_lanes_after, program, run, run_both, run_json, wait_until
from making import full_disk, write
from watching import Scripted

import tracelet
from tracelet import ArtifactType, Experiment, ExperimentConfig, report
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.reporting.contents import contents
from tracelet.core.reporting.homes import by_content
from tracelet.core.reporting.preview_files import Bounds, Previews, preview_files
from tracelet.exceptions import ArtifactError, BackendUnavailable, ConfigError, UnknownPlugin

#: A picture of one point.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)


def data_of(page: Path) -> dict[str, Any]:
    """What a page holds: the script of the page reads the same."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def log(exp: Experiment, name: str, files: dict[str, bytes | str], **more: Any) -> None:
    artifact = exp.create_artifact(name, ArtifactType.DATASET)
    artifact.metadata.update(more.pop("metadata", {}))
    for path, data in files.items():
        artifact.add_file(write(Path("in") / name / path, data), path)
    exp.log_artifact(artifact, **more)


def pictures(exp: Experiment) -> None:
    log(exp, "pictures", {"a.png": PNG, "b.csv": "x,y\n1,2\n", "c.bin": b"\x00\x01"}, aliases=["best"])


@pytest.fixture
def exp(home: Path) -> Iterator[Experiment]:
    """An experiment in the embedded backend, with a run."""
    with Experiment("digits", artifacts=True) as started:
        yield started


def blob(home: Path, data: bytes) -> Path:
    found = [path for path in (home / ".tracelet/local/blobs").rglob("*") if path.is_file()]
    return next(path for path in found if path.read_bytes() == data)


def versions_of(name: str = "digits") -> list[LoggedArtifact]:
    return Experiment(name, artifacts=True).list_artifacts()


class TestWriting:
    def test_a_page_is_made_of_an_experiment_or_of_its_name_and_needs_no_run(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        exp.stop()
        made = report("digits", "page.html")
        assert (made.path, made.ok, made.versions, made.previews) == (home / "page.html", True, 1, 2)
        assert made.size_bytes == (home / "page.html").stat().st_size
        made.raise_for_errors()
        again = report(Experiment("digits"), home / "again.html")
        assert data_of(again.path)["versions"] == data_of(made.path)["versions"]

    def test_it_is_one_of_the_names_of_tracelet(self) -> None:
        assert tracelet.report is report

    def test_an_experiment_that_runs_goes_on(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        report(exp, "page.html")
        log(exp, "more", {"a.txt": "x"})
        assert report(exp, "page.html").versions == 2

    def test_only_the_user_can_read_it_and_an_old_one_is_replaced(self, exp: Experiment, home: Path) -> None:
        old = write(home / "page.html", "old")
        old.chmod(0o644)
        report("digits", old)
        assert old.stat().st_mode & 0o777 == 0o600
        assert data_of(old)["versions"] == []

    def test_one_that_cannot_be_written_leaves_the_old_one(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        old = write(home / "pages" / "page.html", "old")
        with full_disk(), pytest.raises(ArtifactError, match="cannot be written"):
            report("digits", old)
        assert [path.read_text() for path in old.parent.iterdir()] == ["old"]

    def test_a_pipe_is_no_place_for_it_and_stays_one(self, home: Path) -> None:
        os.mkfifo("pipe")
        with pytest.raises(ConfigError, match=r"is a device or a pipe, which a page would replace"):
            report("digits", "pipe")
        assert Path("pipe").is_fifo()

    def test_a_link_stays_one_and_leads_to_the_page(self, exp: Experiment) -> None:
        Path("shown").mkdir()
        Path("page.html").symlink_to("shown/page.html")
        for _ in range(2):  # what the link leads to is made, and then replaced
            assert report(exp, "page.html").path.is_symlink()
            assert data_of(Path("shown/page.html"))["experiment"] == "digits"

    def test_a_link_to_a_pipe_is_no_place_for_it(self, home: Path) -> None:
        os.mkfifo("pipe")
        Path("page.html").symlink_to("pipe")
        with pytest.raises(ConfigError, match="is a device or a pipe"):
            report("digits", "page.html")

    def test_a_link_that_leads_nowhere_but_to_itself_stays_one(self, home: Path) -> None:
        Path("page.html").symlink_to("page.html")
        with pytest.raises(ConfigError, match="is a link that leads in a circle"):
            report("digits", "page.html")
        assert Path("page.html").is_symlink()

    @pytest.mark.parametrize("path", ["n" * 300, "file/page.html"])
    def test_a_path_that_cannot_be_is_told(self, home: Path, path: str) -> None:
        write(Path("file"))
        with pytest.raises(ArtifactError, match="cannot be written"):
            report("digits", path)

    def test_a_folder_is_no_place_for_it(self, home: Path) -> None:
        with pytest.raises(ConfigError, match=r"is a folder: give the path of a file, such as '.*report\.html'"):
            report("digits", home)

    @pytest.mark.parametrize("limit", [0, -1, True, 1.5, "many"])
    def test_a_limit_is_a_number_of_versions(self, home: Path, limit: Any) -> None:
        with pytest.raises(ConfigError, match="limit"):
            report("digits", "page.html", limit=limit)

    def test_what_is_misspelt_is_told_and_no_page_is_made(self, home: Path) -> None:
        with pytest.raises(ArtifactError):
            report("digits", "page.html", name="no/name")
        with pytest.raises(UnknownPlugin):
            report("digits", "page.html", backend="mflow")
        assert not (home / "page.html").exists()

    def test_interrupted_it_leaves_no_page_and_no_process(self, stored: Scripted, home: Path) -> None:
        stored.told(list="hang")
        with no_lanes_after():
            running = begin_program(
                """
                from tracelet import report
                print("ready", flush=True)
                sys.stdin.readline()
                report("trials", "page.html", backend="scripted")
                """,
                TRACELET_DEADLINE="60",
            )
            assert running.stdin is not None
            before = len(stored.calls("list"))
            running.stdin.write("\n")
            running.stdin.flush()
            wait_until(lambda: len(stored.calls("list")) > before)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=180)
        assert "KeyboardInterrupt" in err
        assert not [path for path in home.iterdir() if path.suffix in {".html", ".tmp"}]


class TestVersions:
    def test_a_version_in_several_backends_is_one_with_several_homes(self, stored: Scripted, home: Path) -> None:
        made = report("trials", "page.html", backend=["local", "scripted"])
        versions = data_of(made.path)["versions"]
        assert [(one["name"], one["version"]) for one in versions] == [
            ("model", "v0"),
            ("thing", "v1"),
            ("thing", "1.0"),
        ]
        assert [[home["backend"] for home in one["homes"]] for one in versions] == [["scripted", "local"]] * 3
        assert [one["aliases"] for one in versions] == [[], [], ["best"]]

    def test_content_that_came_back_is_a_version_of_its_own_in_each(self, scripted: Scripted, home: Path) -> None:
        program(
            """
            with experiment("local", "scripted") as exp:
                for text in ("a", "b", "a"):
                    exp.log_artifact(artifact("thing", text))
            """
        )
        made = report("trials", "page.html", backend=["local", "scripted"])
        versions = data_of(made.path)["versions"]
        assert [one["version"] for one in versions] == ["v2", "v1", "v0"]
        assert {len(one["homes"]) for one in versions} == {2}

    def test_the_newest_are_kept_and_the_page_says_what_is_left_out(self, exp: Experiment, home: Path) -> None:
        for number in range(5):
            log(exp, "thing", {"a.bin": bytes([number])})
        made = report("digits", "page.html", limit=2)
        assert [one["version"] for one in data_of(made.path)["versions"]] == ["v4", "v3"]
        assert made.notes == ("The page has the newest 2 of 5 versions.",)
        assert data_of(made.path)["notes"] == list(made.notes)

    def test_only_one_name_is_in_the_page_where_that_is_asked(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        log(exp, "other", {"a.bin": b"x"})
        made = report("digits", "page.html", name="other")
        assert [one["name"] for one in data_of(made.path)["versions"]] == ["other"]

    def test_inputs_objects_models_and_references_are_told(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        used = exp.use_artifact("pictures")
        artifact = exp.create_artifact("made", ArtifactType.CONFIG, "What was made").add_object({"a": 1}, "settings")
        exp.log_artifact(artifact.add_reference("s3://bucket/key", size_bytes=12), version="1.0")
        made, _ = data_of(report(exp, "page.html").path)["versions"]
        assert made["inputs"] == [used.digest]
        assert made["references"] == [{"uri": "s3://bucket/key", "size_bytes": 12}]
        assert [file["what"] for file in made["files"]] == ["object settings, json"]
        assert (made["description"], made["label"], made["run_id"]) == ("What was made", "1.0", exp.run_id)

    def test_the_files_of_a_model_are_told_with_its_framework(self, exp: Experiment, toys: Any, home: Path) -> None:
        exp.log_artifact(exp.create_artifact("net", ArtifactType.MODEL).add_model(toys.Line(1.0), name="net"))
        (version,) = data_of(report(exp, "page.html").path)["versions"]
        assert {file["what"] for file in version["files"]} == {"model net, toys"}

    def test_bytes_that_an_earlier_version_has_are_not_its_own(self, exp: Experiment, home: Path) -> None:
        log(exp, "thing", {"a.bin": b"x" * 10})
        log(exp, "thing", {"a.bin": b"x" * 10, "b.bin": b"y" * 5, "c.bin": b"y" * 5})
        newer, older = data_of(report(exp, "page.html").path)["versions"]
        assert [(one["size_bytes"], one["own_bytes"]) for one in (older, newer)] == [(10, 10), (20, 5)]

    def test_a_large_file_is_counted_once_and_is_shown_from_the_store(self, home: Path) -> None:
        config = ExperimentConfig(large_file_mb=0.001)
        with Experiment("digits", artifacts=True, config=config) as exp:
            log(exp, "thing", {"a.txt": "x" * 2_000})
            made = report(exp, "page.html")
        (version,) = data_of(made.path)["versions"]
        assert (version["size_bytes"], version["own_bytes"], version["references"]) == (2_000, 2_000, [])
        assert (made.previews, [file["path"] for file in version["files"]]) == (1, ["a.txt"])


class TestTrouble:
    def test_a_backend_that_is_away_is_said_and_the_page_has_the_others(self, stored: Scripted, home: Path) -> None:
        stored.told(list="away")
        made = report("trials", "page.html", backend=["local", "scripted"])
        assert (made.ok, made.versions) == (False, 3)
        with pytest.raises(BackendUnavailable):
            made.raise_for_errors()
        (said,) = data_of(made.path)["failures"]
        assert "scripted is out" in said
        assert "answers" not in said

    def test_a_backend_that_gives_no_content_is_asked_once_and_said(self, stored: Scripted, home: Path) -> None:
        stored.told(fetch="away")
        made = report("trials", "page.html", backend="scripted")
        assert len(stored.calls("fetch")) == 1
        assert {path for _, path in made.unreadable} == {"model.txt", "objects/numbers.json"}
        assert not made.ok
        assert "No more content came from scripted" in data_of(made.path)["failures"][0]

    def test_content_comes_from_another_backend_where_one_is_away(self, stored: Scripted, home: Path) -> None:
        stored.told(fetch="locked")
        made = report("trials", "page.html", backend=["local", "scripted"])
        assert (made.previews, made.unreadable) == (4, {})
        assert len(stored.calls("fetch")) == 1

    def test_a_damaged_file_is_said_and_the_others_are_shown(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        blob(home, PNG).write_bytes(b"other bytes")
        made = report(exp, "page.html")
        assert not made.ok
        (version,) = data_of(made.path)["versions"]
        files = {file["path"]: file for file in version["files"]}
        assert "the stored bytes were changed" in files["a.png"]["trouble"]
        assert files["a.png"]["preview"] is None
        assert files["b.csv"]["preview"] is not None
        assert made.unreadable == {(version["digest"], "a.png"): files["a.png"]["trouble"]}

    def test_what_one_backend_has_damaged_comes_from_another(self, stored: Scripted, home: Path) -> None:
        for path in (home / ".tracelet/local/blobs").rglob("*"):
            if path.is_file() and path.read_bytes() == b"second":
                path.write_bytes(b"secret")
        made = report("trials", "page.html", backend=["local", "scripted"], name="thing")
        assert made.ok
        texts = [one["text"] for one in data_of(made.path)["previews"].values()]
        assert sorted(texts) == ["first", "second"]

    def test_damage_is_said_rather_than_that_another_backend_is_away(self, stored: Scripted, home: Path) -> None:
        for path in (home / ".tracelet/local/blobs").rglob("*"):
            if path.is_file() and path.read_bytes() == b"second":
                path.write_bytes(b"secret")
        stored.told(fetch="away")
        made = report("trials", "page.html", backend=["local", "scripted"], name="thing")
        assert ["the stored bytes were changed" in why for why in made.unreadable.values()] == [True]

    def test_a_damaged_manifest_is_said(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        log(exp, "other", {"a.bin": b"x"})
        next((home / ".tracelet/local").rglob("versions/other/*.json")).write_bytes(b"{}")
        made = report(exp, "page.html")
        assert made.versions == 1
        assert len(data_of(made.path)["failures"]) == 1


class TestBounds:
    def told(self, exp: Experiment, most_text: int = 10**6, **more: Any) -> dict[str, Any]:
        found = by_content(exp.list_artifacts())
        return contents("digits", found, Previews(), found=len(found), failures=(), made_at=0.0, most_text=most_text)

    def test_metadata_has_dotted_keys_and_values_that_a_browser_reads_as_they_are(self, exp: Experiment) -> None:
        metadata = {
            "run": {"loss": 0.5, "steps": {"all": 3}},
            "empty": {},
            "flag": True,
            "none": None,
            "large": 2**53,
            "nan": math.nan,
            "low": -math.inf,
            "few": [1, {"a": 2}],
            "many": list(range(30)),
            "long": "x" * 1000,
        }
        log(exp, "thing", {"a.bin": b"x"}, metadata=metadata)
        (version,) = self.told(exp)["versions"]
        assert dict(version["metadata"]) == {
            "run.loss": 0.5,
            "run.steps.all": 3,
            "empty": "{}",
            "flag": True,
            "none": None,
            "large": str(2**53),
            "nan": "NaN",
            "low": "-Infinity",
            "few": '[1,{"a":2}]',
            "many": f"{json.dumps([*range(20)], separators=(',', ':'))} and 10 more",
            "long": "x" * 500 + "…",
        }

    def test_of_much_in_one_version_the_rest_is_counted(self, exp: Experiment) -> None:
        log(exp, "thing", {f"{n:03}.bin": b"x" for n in range(120)}, metadata={f"key{n:03}": n for n in range(250)})
        (version,) = self.told(exp)["versions"]
        assert (len(version["files"]), version["more_files"]) == (100, 20)
        assert (len(version["metadata"]), version["more_metadata"]) == (200, 50)

    def test_a_full_page_names_older_versions_without_what_is_in_them(self, exp: Experiment) -> None:
        for number in range(4):
            log(exp, "thing", {"a.bin": bytes([number])}, metadata={"text": "x" * 400})
        whole = self.told(exp)["versions"]
        told = self.told(exp, most_text=sum(len(json.dumps(one)) for one in whole) - 1)
        assert [one["abridged"] for one in told["versions"]] == [False, False, False, True]
        assert told["versions"][-1]["version"] == "v0"
        assert told["notes"] == ["The page was full: 1 older version is here without metadata, files and inputs."]

    def test_previews_are_of_the_newest_of_each_name_first(self, exp: Experiment) -> None:
        for number in range(3):
            log(exp, "one", {"a.txt": f"one {number}"})
            log(exp, "two", {"a.txt": f"two {number}"})
        previews = preview_files(by_content(exp.list_artifacts()), Bounds(versions=3))
        assert [one["text"] for one in previews.shown.values()] == ["two 2", "one 2", "two 1"]
        assert previews.left_out == 3

    @pytest.mark.parametrize(
        ("bounds", "shown"),
        [
            (Bounds(files=2), 2),
            (Bounds(file_bytes=999), 0),
            (Bounds(fetched_bytes=2_500), 2),
            (Bounds(shown=2_500), 2),
            (Bounds(), 4),
        ],
    )
    def test_files_sizes_and_what_is_shown_are_bounded(self, exp: Experiment, bounds: Bounds, shown: int) -> None:
        log(exp, "thing", {f"{letter}.txt": letter * 1_000 for letter in "abcd"})
        previews = preview_files(by_content(exp.list_artifacts()), bounds)
        assert (len(previews.shown), previews.left_out) == (shown, 4 - shown)
        told = contents("digits", by_content(versions_of()), previews, found=1, failures=(), made_at=0.0)
        assert len(told["notes"]) == int(shown < 4)

    def test_the_same_content_is_fetched_once(self, scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
        exp = experiment()
        for name in ("one", "two"):
            log(exp, name, {"a.txt": "the same"})
        made = report(exp, "page.html")
        assert (made.previews, len(scripted.calls("fetch"))) == (1, 1)

    def test_a_file_with_nothing_to_see_is_looked_at_once(self, exp: Experiment) -> None:
        log(exp, "thing", {"a.png": b"\x00 no picture"})
        found = by_content(exp.list_artifacts())
        previews = preview_files(found, Bounds())
        assert (previews.shown, previews.troubles, previews.left_out) == ({}, {}, 0)
        told = contents("digits", found, previews, found=1, failures=(), made_at=0.0)
        assert told["versions"][0]["files"][0]["unseen"] == "there is no preview of this kind of file"

    def test_objects_are_named_however_many_files_there_are(self, exp: Experiment) -> None:
        artifact = exp.create_artifact("thing", ArtifactType.DATASET).add_object([1, 2], "summary")
        for number in range(120):
            artifact.add_file(write(Path("in") / f"{number}.bin", b"x"))
        exp.log_artifact(artifact)
        (version,) = self.told(exp)["versions"]
        assert version["files"][0]["what"] == "object summary, json"


class TestCommand:
    def test_it_writes_the_page_and_says_where(self, stored: Scripted, home: Path) -> None:
        assert run("report", "trials", "-o", "page.html", "--backend", "local") == f"{home / 'page.html'}\n"
        assert len(data_of(home / "page.html")["versions"]) == 3

    def test_a_page_is_no_stream(self, stored: Scripted, home: Path) -> None:
        assert "'-' is no file here, and no stream" in run("report", "trials", "-o", "-", code=2)
        assert run("report", "trials", "-o", "./-", "--backend", "local") == f"{home / '-'}\n"

    def test_json_says_what_is_in_it(self, stored: Scripted, home: Path) -> None:
        told = run_json("report", "trials", "-o", "page.html", "--backend", "local", "--name", "thing", "--limit", "1")
        assert told == {
            "experiment": "trials",
            "path": str(home / "page.html"),
            "size_bytes": (home / "page.html").stat().st_size,
            "versions": 1,
            "previews": 1,
            "notes": ["The page has the newest 1 of 2 versions."],
            "unreadable": [],
            "error": None,
        }

    def test_a_backend_that_is_away_is_an_error_and_there_is_a_page(self, stored: Scripted, home: Path) -> None:
        stored.told(list="away")
        both = ("--backend", "local", "--backend", "scripted")
        out, err = run_both("report", "trials", "-o", "page.html", *both, code=1)
        assert out == f"{home / 'page.html'}\n"
        assert "scripted is out" in err
        told = run_json("report", "trials", "-o", "page.html", *both, code=1)
        assert (told["versions"], told["error"]["type"]) == (3, "BackendUnavailable")

    def test_a_damaged_file_is_an_error(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        blob(home, PNG).write_bytes(b"other bytes")
        _, err = run_both("report", "digits", "-o", "page.html", code=1)
        assert "'a.png' of the version with the digest" in err
        (unreadable,) = run_json("report", "digits", "-o", "page.html", code=1)["unreadable"]
        assert unreadable["path"] == "a.png"

    def test_nothing_stored_is_said_with_what_was_asked(self, exp: Experiment, home: Path) -> None:
        pictures(exp)
        out, err = run_both("report", "digit", "-o", "page.html")
        assert out == f"{home / 'page.html'}\n"
        assert "did you mean 'digits'?" in err

    def test_it_needs_a_file(self, home: Path) -> None:
        assert "Missing option '-o'" in run("report", "digits", code=2)

    def test_interrupted_it_leaves_no_page_and_no_process(self, stored: Scripted, home: Path) -> None:
        stored.told(fetch="hang")
        with no_lanes_after():
            variables = environment(TRACELET_BACKEND="scripted", TRACELET_DEADLINE="60", TMPDIR=str(home / "in"))
            (home / "in").mkdir()
            running = begin("report", "trials", "-o", "page.html", env=variables)
            wait_until(lambda: stored.calls("fetch"))
            running.send_signal(signal.SIGINT)
            out, _ = running.communicate(timeout=180)
        assert (running.returncode, out) == (130, "")
        assert not (home / "page.html").exists()
        assert os.listdir(home / "in") == []
