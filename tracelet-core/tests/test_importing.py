"""Importing what was logged without Tracelet: every version once, with what its tracker knows of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import run, run_both, run_json
from making import write

import tracelet
from tracelet import ArtifactNotFound, BackendError, ConfigError, CopyResults, Experiment
from tracelet.testing import installed

PLUGINS = Path(__file__).parent / "plugins"


@attrs.define
class Attic:
    """What the tracker of a third party holds, from outside."""

    place: Path
    index: list[dict[str, Any]] = attrs.field(factory=list)

    def keep(self, name: str, version: str = "1", kind: str = "dataset", data: bytes = b"data", **more: Any) -> None:
        """Log a version with one file, `data.bin`, as the tracker's own users do."""
        folder = f"{name}.{version}.{kind}".replace("/", "_")
        write(self.place / folder / "data.bin", data)
        given = {
            "address": f"attic://here/{name}/{version}/{kind}",
            "name": name,
            "version": version,
            "type": kind,
            "kind": "thing",
            "experiment": "old",
            "created_at": 1000.0 + len(self.index),
            "files": [["data.bin", len(data)]],
            "locator": folder,
        }
        self.index.append(given | more)
        write(self.place / "index.json", json.dumps(self.index))

    def change(self, number: int, **more: Any) -> None:
        """Change what the tracker says of a version."""
        self.index[number] |= more
        write(self.place / "index.json", json.dumps(self.index))


@pytest.fixture
def attic(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attic]:
    place = tmp_path / "attic"
    shutil.copytree(PLUGINS, tmp_path / "plugins", ignore=lambda _, names: {*names} - {"attic.py"})
    monkeypatch.setenv("TRACELET_ATTIC_PLACE", str(place))
    with installed(tmp_path / "plugins", {"attic": "attic"}):
        yield Attic(place)


def bring(**more: Any) -> CopyResults:
    return tracelet.import_from("attic", "all", **({"to_backend": "local"} | more))


def there(name: str = "old") -> Experiment:
    return Experiment(name, artifacts=True)


def outcomes(results: CopyResults) -> list[tuple[str, str, str, str | None]]:
    return [(one.name, one.version, one.outcome, one.target) for one in results.versions]


# -- what comes over


def test_every_version_comes_with_what_its_tracker_knows_of_it(attic: Attic) -> None:
    run_of = {"id": "run-7", "name": "first", "parameters": {"lr": 0.1}, "metrics": {"loss": 0.5}}
    attic.keep("raw", "1", data=b"one", description="as measured", metadata={"rows": 3}, run=run_of)
    attic.keep("raw", "2", data=b"two", aliases=["best", "latest"])
    attic.keep("net", "1", "model", inputs=["attic://here/raw/2/dataset"], references=["s3://bucket/key"])
    results = bring()
    assert outcomes(results) == [
        ("raw", "1", "copied", "v0"),
        ("raw", "2", "copied", "v1"),
        ("net", "1", "copied", "v0"),
    ]
    assert results.moved_bytes == 10
    first = there().get_artifact("raw", "v0")
    assert first.metadata == {"rows": 3, "imported_from": "attic://here/raw/1/dataset", "run": run_of}
    assert (first.description, first.created_at, first.run_id) == ("as measured", 1000.0, "run-7")
    assert (first.download("got") / "data.bin").read_bytes() == b"one"
    assert there().get_artifact("raw", "best").number == 1
    net = there().get_artifact("net")
    assert net.inputs == (there().get_artifact("raw").digest,)
    assert [one.uri for one in net.references] == ["s3://bucket/key"]


def test_what_was_imported_before_is_skipped_and_its_aliases_move(attic: Attic) -> None:
    attic.keep("raw", "1", data=b"one", aliases=["best"])
    attic.keep("raw", "2", data=b"two")
    bring()
    attic.change(0, aliases=[])
    attic.change(1, aliases=["best"])
    attic.keep("raw", "3", data=b"three")
    assert [one.outcome for one in bring().versions] == ["skipped", "skipped", "copied"]
    assert there().get_artifact("raw", "best").number == 1
    assert there().get_artifact("raw").number == 2


def test_what_has_got_other_files_since_is_a_version_of_its_own(attic: Attic) -> None:
    attic.keep("my run", data=b"one")
    bring()
    write(attic.place / "my run.1.dataset" / "more.bin", b"more")
    attic.change(0, files=[["data.bin", 3], ["more.bin", 4]])
    attic.keep("net", kind="model", inputs=["attic://here/my run/1/dataset"])
    assert outcomes(bring()) == [("my-run", "1", "copied", "v1"), ("net", "1", "copied", "v0")]
    assert there().get_artifact("net").inputs == (there().get_artifact("my-run", "v1").digest,)
    assert {one.outcome for one in bring().versions} == {"skipped"}


def test_what_is_of_another_type_since_stays_what_it_was_imported_as(attic: Attic) -> None:
    attic.keep("raw")
    bring()
    attic.change(0, type="model")
    attic.keep("raw", "2")
    assert [(one.name, one.outcome) for one in bring().versions] == [("raw", "skipped"), ("raw", "copied")]


def test_equal_content_of_two_versions_stays_two_versions(attic: Attic) -> None:
    attic.keep("raw", "1", data=b"same")
    attic.keep("raw", "2", data=b"same")
    assert [one.target for one in bring().versions] == ["v0", "v1"]


def test_versions_of_a_name_keep_the_order_of_their_tracker_whatever_the_clocks_said(attic: Attic) -> None:
    attic.keep("raw", "1", created_at=2000.0)
    attic.keep("raw", "2", created_at=1000.0)
    attic.keep("other", "1", created_at=1500.0)
    assert [(one.name, one.version) for one in bring().versions] == [("other", "1"), ("raw", "1"), ("raw", "2")]


def test_names_become_valid_and_stay_the_same_next_time(attic: Attic) -> None:
    attic.keep("my data/set")
    attic.keep("my data:set")
    attic.keep("my data:set", kind="model")
    attic.keep("...")
    names = ["my-data-set", "my-data-set-dataset", "my-data-set-model", "dataset"]
    assert [one.name for one in bring().versions] == names
    assert there().get_artifact("my-data-set").metadata["imported_name"] == "my data/set"
    attic.index.reverse()
    attic.keep("my data set")
    again = bring().versions
    assert sorted(one.name for one in again if one.outcome == "skipped") == sorted(names)
    assert [one.name for one in again if one.outcome == "copied"] == ["my-data-set-2"]


def test_a_name_of_another_type_that_the_target_has_is_left_alone(attic: Attic) -> None:
    with Experiment("old", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("raw", "config").add_object(1, "o"))
    attic.keep("raw")
    assert outcomes(bring()) == [("raw-dataset", "1", "copied", "v0")]


def test_metadata_of_the_tracker_is_kept_where_it_has_the_same_keys(attic: Attic) -> None:
    attic.keep("raw", metadata={"imported_from": "the moon", "imported_from_": "mars"}, run={"id": "r"})
    bring()
    metadata = there().get_artifact("raw").metadata
    assert metadata["imported_from"] == "attic://here/raw/1/dataset"
    assert {metadata["imported_from_"], metadata["imported_from__"]} == {"the moon", "mars"}


def test_an_alias_that_cannot_be_one_is_told(attic: Attic) -> None:
    attic.keep("raw", aliases=["v7", "fine"])
    (row,) = bring().versions
    assert row.why == "the alias 'v7' cannot be one here"
    assert there().get_artifact("raw", "fine").number == 0


def test_an_input_that_is_not_there_is_told(attic: Attic) -> None:
    attic.keep("net", kind="model", inputs=["attic://here/lost/1/dataset"])
    (row,) = bring().versions
    assert row.why == "attic://here/lost/1/dataset, from which it was made, is not there"
    assert row.outcome == "copied"


def test_what_only_the_fetch_tells_is_taken_as_it_is_written(attic: Attic) -> None:
    attic.keep("raw", files=[], files_known=False)
    bring()
    assert [file.artifact_path for file in there().get_artifact("raw").files] == ["data.bin"]


def test_what_has_no_files_is_skipped(attic: Attic) -> None:
    attic.keep("raw", files=[])
    attic.keep("pointer", files=[], references=["s3://bucket/key"])
    assert [(one.outcome, one.why) for one in bring().versions] == [("skipped", "it has no files"), ("copied", "")]


def test_a_large_file_goes_to_the_store(attic: Attic) -> None:
    attic.keep("raw", data=b"x" * 3000)
    bring(to_set={"large_file_mb": "0.001"}, to_dir="other")
    got = Experiment("old", artifacts=True, dir="other").get_artifact("raw")
    assert [one.path for one in got.references] == ["data.bin"]
    assert (got.download("got") / "data.bin").read_bytes() == b"x" * 3000


# -- what goes wrong


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"metadata": {"misdeed": "gone"}}, "the attic has lost it"),
        ({"metadata": {"misdeed": "damaged"}}, "another checksum"),
        ({"metadata": {"misdeed": "link"}, "files": [["a", None]]}, "'a' of attic://here/bad/1/dataset did not come"),
        ({"files": [["data.bin", 3]]}, "came with 4 bytes, and 3 were listed"),
        ({"files": [["data.bin", 4], ["more.bin", 4]]}, "'more.bin' of attic://here/bad/1/dataset did not come"),
    ],
)
def test_a_version_that_does_not_come_is_named_and_the_others_come(attic: Attic, fault: Any, said: str) -> None:
    attic.keep("bad", **fault)
    attic.keep("raw")
    results = bring()
    assert [one.outcome for one in results.versions] == ["failed", "copied"]
    assert said in results.versions[0].why
    assert not results.ok


def test_a_link_that_only_the_fetch_tells_of_is_no_file(attic: Attic) -> None:
    attic.keep("bad", metadata={"misdeed": "link"}, files_known=False)
    (row,) = bring().versions
    assert "'a' of attic://here/bad/1/dataset did not come" in row.why


def test_a_tracker_that_is_away_keeps_the_order_of_each_name(attic: Attic) -> None:
    attic.keep("raw", "1", data=b"one", metadata={"misdeed": "away"})
    attic.keep("raw", "2", data=b"two")
    attic.keep("other")
    results = bring(to_set={"deadline": "0.1"})
    assert {one.name: one.outcome for one in results.versions} == {"raw": "failed", "other": "copied"}
    assert "waits behind" in results.versions[1].why
    attic.change(0, metadata={})
    assert bring().ok
    assert [one.metadata["imported_from"] for one in there().list_artifacts(name="raw")] == [
        "attic://here/raw/2/dataset",
        "attic://here/raw/1/dataset",
    ]


def test_a_place_that_is_not_there_is_told(attic: Attic) -> None:
    attic.keep("raw")
    with pytest.raises(ArtifactNotFound, match="the attic has no 'nowhere': there is 'all'"):
        tracelet.import_from("attic", "nowhere", to_backend="local")


def test_a_backend_that_cannot_say_it_is_told(home: Path) -> None:
    with pytest.raises(BackendError, match="`tracelet import dir`"):
        tracelet.discover("local", "x")


def test_several_experiments_need_a_name(attic: Attic) -> None:
    attic.keep("raw")
    attic.keep("net", experiment="new")
    with pytest.raises(ConfigError, match="it is in 'new', 'old': say experiment="):
        bring()
    assert bring(experiment="both").ok
    assert len(there("both").list_artifacts()) == 2


def test_a_source_without_experiments_needs_a_name(attic: Attic) -> None:
    attic.keep("raw", experiment="")
    with pytest.raises(ConfigError, match="its source names none: say experiment="):
        bring()


def test_a_wrong_target_is_told_before_the_source_is_asked(attic: Attic) -> None:
    with pytest.raises(tracelet.UnknownPlugin):
        bring(to_backend="locl", experiment="x")


# -- before it is done, and by command


def test_what_is_there_can_be_looked_at_first(attic: Attic) -> None:
    attic.keep("raw", aliases=["best"])
    (found,) = tracelet.discover("attic", "all")
    assert (found.name, found.aliases, found.size_bytes) == ("raw", ("best",), 4)
    results = bring(dry_run=True)
    assert outcomes(results) == [("raw", "1", "copied", None)]
    assert (results.moved_bytes, there().list_artifacts()) == (4, [])
    bring()
    assert outcomes(bring(dry_run=True)) == [("raw", "1", "skipped", "v0")]


def test_nothing_to_import_is_no_error(attic: Attic) -> None:
    write(attic.place / "index.json", "[]")
    assert repr(bring()) == "<CopyResults 0 versions copied (0 B)>"
    out, err = run_both("import", "attic", "all", "--to", "local")
    assert "0 versions copied" in out
    assert "nothing was logged at 'all' of attic without Tracelet" in err


def test_the_command_lists_and_imports(attic: Attic) -> None:
    attic.keep("raw", data=b"one")
    listed = run("import", "attic", "all", "--list")
    assert "raw   1        dataset  thing       3 B" in listed
    assert "attic://here/raw/1/dataset" in listed
    (found,) = run_json("import", "attic", "all", "--list")["found"]
    assert (found["name"], found["type"], found["files"]) == ("raw", "dataset", [{"path": "data.bin", "size_bytes": 3}])
    assert "copied  raw   1        v0" in run("import", "attic", "all", "--to", "local")
    told = run_json("import", "attic", "all", "--to", "local", "--experiment", "old")
    assert [one["outcome"] for one in told["versions"]] == ["skipped"]
    assert run("import", "attic", "all", "--list", "--from-set", "plce=x", code=2).startswith(
        "error: attic has no setting"
    )


def test_the_command_wants_to_know_where_to(attic: Attic) -> None:
    attic.keep("raw", experiment="")
    assert "--list to see what is there" in run("import", "attic", "all", code=2)
    assert "say --experiment" in run("import", "attic", "all", "--to", "local", code=2)


def test_an_empty_listing_says_so(attic: Attic) -> None:
    write(attic.place / "index.json", "[]")
    out, err = run_both("import", "attic", "all", "--list")
    assert out == "0 versions (0 B)\n"
    assert "nothing was logged at 'all' of attic without Tracelet; `tracelet copy` takes" in err


# -- from a folder


def test_a_folder_comes_into_the_experiment_of_its_name_and_what_changed_as_a_new_version(home: Path) -> None:
    write(Path("results/run1/weights.pt"), b"weights")
    write(Path("results/notes.txt"), b"notes")
    results = tracelet.import_from("dir", "results", to_backend="local")
    assert sorted((one.name, one.outcome) for one in results.versions) == [("notes.txt", "copied"), ("run1", "copied")]
    write(Path("results/notes.txt"), b"more notes")
    again = tracelet.import_from("dir", "results", to_backend="local")
    assert sorted((one.name, one.outcome) for one in again.versions) == [("notes.txt", "copied"), ("run1", "skipped")]
    assert [one.number for one in there("results").list_artifacts(name="notes.txt")] == [1, 0]
    got = there("results").get_artifact("run1").download("got")
    assert (got / "weights.pt").read_bytes() == b"weights"


@pytest.mark.parametrize("directory", [".", "kept", "below/kept"])
def test_a_folder_is_not_imported_into_itself(home: Path, directory: str) -> None:
    write(home / "a.bin")
    with pytest.raises(ConfigError, match="give a tracelet directory outside of it"):
        tracelet.import_from("dir", home, to_backend="local", experiment="results", to_dir=home / directory)
    for _ in range(2):
        results = tracelet.import_from("dir", home, to_backend="local", experiment="results")
        assert [one.name for one in results.versions] == ["a.bin"]


def test_a_folder_has_no_settings(home: Path) -> None:
    with pytest.raises(ConfigError, match="'dir' has no settings: leave out place"):
        tracelet.discover("dir", ".", from_set={"place": "x"})


def test_an_interrupted_source_is_ended(attic: Attic) -> None:
    attic.keep("raw")

    def interrupt(done: Any, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(told=interrupt)
    assert bring().ok


def test_an_interruption_ends_what_is_being_fetched(attic: Attic) -> None:
    attic.keep("raw")
    attic.keep("raw", "2", metadata={"misdeed": "held"})

    def interrupt(done: Any, count: int) -> None:
        while not (attic.place / "held").exists():
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracelet.import_from(
            "attic-apart", "all", to_backend="local", from_set={"place": str(attic.place)}, told=interrupt
        )
    assert list(Path(".tracelet", "staging").iterdir()) == []
