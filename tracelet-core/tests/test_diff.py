"""What differs between two versions, as their manifests tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import program, run, run_json
from hypothesis import given
from hypothesis import strategies as st
from making import write

from tracelet import ArtifactDiff, ArtifactType, ConfigError, Experiment, LoggedArtifact, TraceletArtifact
from tracelet.core.artifacts.diff import DiffSide, diff_of
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference
from tracelet.core.artifacts.manifest import Manifest


@pytest.fixture
def exp(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment("local")


def logged(exp: Experiment, artifact: TraceletArtifact, **metadata: Any) -> LoggedArtifact:
    artifact.metadata.update(metadata)
    exp.log_artifact(artifact)
    return exp.get_artifact(artifact.name)


def test_files_are_added_removed_changed_and_the_same(exp: Experiment, home: Path) -> None:
    for name in ("kept", "gone", "other"):
        write(home / name, name)
    before = logged(exp, exp.create_artifact("data", "dataset").add_file("kept").add_file("gone").add_file("other"))
    write(home / "other", "longer than it was")
    write(home / "new", "new")
    after = logged(exp, exp.create_artifact("data", "dataset").add_file("kept").add_file("new").add_file("other"))
    diff = before.diff(after)
    assert [list(one) for one in (diff.added, diff.removed, diff.changed, diff.same)] == [
        ["new"],
        ["gone"],
        ["other"],
        ["kept"],
    ]
    assert (diff.changed["other"].before_bytes, diff.changed["other"].after_bytes) == (5, 18)
    assert (diff.added["new"].before_bytes, diff.removed["gone"].after_bytes) == (None, None)
    assert repr(diff) == "<ArtifactDiff data v0 → data v1: 1 added, 1 removed, 1 changed, 1 same>"
    assert str(diff).split("\n") == [
        "data v0 → data v1: 1 added, 1 removed, 1 changed, 1 same",
        "+ new  3 B",
        "- gone  4 B",
        "~ other  5 B → 18 B",
    ]
    assert diff


def test_it_needs_no_bytes(exp: Experiment, home: Path) -> None:
    write(home / "f", "1")
    before = logged(exp, exp.create_artifact("data", "dataset").add_file("f"))
    write(home / "f", "2")
    after = logged(exp, exp.create_artifact("data", "dataset").add_file("f"))
    for blob in (home / ".tracelet" / "local" / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    assert list(before.diff(after).changed) == ["f"]
    assert not (home / ".tracelet" / "downloads").exists()


def test_metadata_is_compared_by_dotted_key(exp: Experiment) -> None:
    artifact = exp.create_artifact("net", "model").add_object(1, "o")
    before = logged(exp, artifact, metrics={"loss": 0.3, "old": 1}, notes={}, nan=float("nan"))
    artifact = exp.create_artifact("net", "model").add_object(1, "o")
    after = logged(exp, artifact, metrics={"loss": 0.2, "new": {"deep": [1]}}, notes={}, nan=float("nan"))
    diff = before.diff(after)
    assert {key: (one.kind, one.before, one.after) for key, one in diff.metadata.items()} == {
        "metrics.loss": ("changed", 0.3, 0.2),
        "metrics.old": ("removed", 1, None),
        "metrics.new.deep": ("added", None, [1]),
    }
    assert str(diff).split("\n")[1:] == [
        "~ metadata metrics.loss: 0.3 → 0.2",
        "+ metadata metrics.new.deep: [1]",
        "- metadata metrics.old: 1",
    ]


def test_a_number_of_another_kind_is_another_value(exp: Experiment) -> None:
    before = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"), epochs=1)
    after = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"), epochs=True)
    assert str(before.diff(after).metadata["epochs"]) == "1 → true"


def test_a_long_value_is_shown_in_part_and_is_there_whole(exp: Experiment) -> None:
    before = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"))
    after = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"), text="x" * 5000)
    change = before.diff(after).metadata["text"]
    assert len(str(change)) < 300
    assert len(change.after) == 5000


def test_type_description_and_inputs_are_told(exp: Experiment) -> None:
    logged(exp, exp.create_artifact("data", "dataset").add_object([1], "o"))
    before = logged(exp, exp.create_artifact("net", "model", "as it was").add_object(1, "o"))
    used = exp.use_artifact("data")
    after = logged(exp, exp.create_artifact("copy", "checkpoint", "as it is").add_object(1, "o"))
    diff = before.diff(after)
    assert {key: (one.before, one.after) for key, one in diff.fields.items()} == {
        "type": ("model", "checkpoint"),
        "description": ("as it was", "as it is"),
    }
    assert (diff.inputs_added, diff.inputs_removed) == ((used.digest,), ())
    assert after.diff(before).inputs_removed == (used.digest,)
    assert f"+ made from sha256:{used.digest[:12]}" in str(diff)
    assert f"- made from sha256:{used.digest[:12]}" in str(after.diff(before))
    assert '~ type: "model" → "checkpoint"' in str(diff)
    assert "1 of inputs" in repr(diff)


def test_the_same_content_under_two_names_does_not_differ(exp: Experiment) -> None:
    before = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"))
    after = logged(exp, exp.create_artifact("copy", "model").add_object(1, "o"))
    diff = before.diff(after)
    assert not diff
    assert repr(diff) == "<ArtifactDiff net v0 → copy v0: 1 same, nothing differs>"


def test_an_object_that_is_stored_in_another_way_is_changed(exp: Experiment) -> None:
    before = logged(exp, exp.create_artifact("net", "model").add_object({"a": 1}, "o", "json"))
    after = logged(exp, exp.create_artifact("net", "model").add_object({"a": 2}, "o", "json"))
    (entry,) = before.diff(after).changed.values()
    assert entry.kind == "object"


def test_references_are_told_by_their_uri(exp: Experiment) -> None:
    before = logged(exp, exp.create_artifact("data", "dataset").add_reference("s3://bucket/a", 5))
    after = logged(exp, exp.create_artifact("data", "dataset").add_reference("s3://bucket/b"))
    diff = before.diff(after)
    assert (list(diff.added), list(diff.removed)) == (["s3://bucket/b"], ["s3://bucket/a"])
    assert (str(diff.added["s3://bucket/b"]), diff.removed["s3://bucket/a"].kind) == ("s3://bucket/b", "reference")


def test_what_is_no_version_is_refused(exp: Experiment) -> None:
    net = logged(exp, exp.create_artifact("net", "model").add_object(1, "o"))
    with pytest.raises(ConfigError, match=r"give what get_artifact\(\) returns"):
        net.diff("v1")  # type: ignore[arg-type]


# -- manifests that another program wrote

SHA = st.sampled_from(["aa" * 32, "bb" * 32])
PATHS = st.sampled_from(["a", "b/c", "d"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.just(float("nan")) | st.text("x.", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("x.", min_size=1, max_size=2), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
DESCRIPTIONS = st.none() | st.just("text")


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    files = draw(st.dictionaries(PATHS, st.tuples(SHA, DESCRIPTIONS), max_size=2))
    model = draw(st.none() | st.tuples(st.sampled_from(["torch", "keras"]), st.lists(SHA, max_size=1)))
    reference = draw(st.none() | st.tuples(st.sampled_from(["s3://b/x", "s3://b/y"]), st.none() | st.integers(0, 3)))
    objects = draw(st.none() | st.tuples(st.sampled_from(["json", "yaml"]), SHA))
    return Manifest(
        draw(st.sampled_from(["net", "copy"])),
        draw(st.sampled_from([ArtifactType.MODEL, ArtifactType.DATASET])),
        "put",
        1.0,
        description=draw(DESCRIPTIONS),
        metadata=draw(st.dictionaries(st.text("x.", min_size=1, max_size=2), VALUES, max_size=2)),
        files=tuple(ArtifactFile(path, 1, sha, said) for path, (sha, said) in files.items()),
        objects=(ArtifactObject("o", objects[0], "objects/o", 1, objects[1]),) if objects else (),
        models=(ArtifactModel("m", model[0], tuple(ArtifactFile("models/m/w", 1, sha) for sha in model[1])),)
        if model
        else (),
        references=(ArtifactReference(reference[0], reference[1]),) if reference else (),
        inputs=tuple(draw(st.lists(SHA, unique=True))),
        extra=draw(st.sampled_from([{}, {"later": 1}, {"later": [2]}])),
    )


def compared(first: Manifest, second: Manifest) -> ArtifactDiff:
    return diff_of(*(first, second), *(DiffSide(one.name, "v0", "local", one.digest) for one in (first, second)))


@given(manifests(), manifests())
def test_it_is_empty_exactly_where_the_digest_is_the_same(first: Manifest, second: Manifest) -> None:
    diff = compared(first, second)
    assert bool(diff) is (first.digest != second.digest)
    json.dumps(diff.to_dict(), allow_nan=False)
    back = compared(second, first)
    assert (list(back.added), list(back.changed), list(back.same)) == (
        list(diff.removed),
        list(diff.changed),
        list(diff.same),
    )


def test_a_file_in_the_store_is_the_file_that_it_stands_for() -> None:
    held = Manifest("net", ArtifactType.MODEL, "put", 1.0, files=(ArtifactFile("w", 3, "aa" * 32),))
    reference = ArtifactReference("file://host/w", 3, None, "aa" * 32, None, "w")
    apart = attrs.evolve(held, files=(), references=(reference,))
    assert list(compared(held, apart).same) == ["w"]
    assert not compared(held, apart)


def test_what_could_steer_a_terminal_is_replaced() -> None:
    first = Manifest("net", ArtifactType.MODEL, "put", 1.0)
    second = attrs.evolve(first, description="\x1b]0;owned\x07\nsecond line")
    assert len(str(compared(first, second)).split("\n")) == 2
    assert "\x1b" not in str(compared(first, second))


# -- the command

TWO_VERSIONS = """
with experiment("local") as exp:
    for loss in (float("nan"), 0.5):
        net = artifact("net", str(loss), ArtifactType.MODEL)
        net.metadata["loss"] = loss
        exp.log_artifact(net)
"""


def test_the_command_shows_what_differs_and_ends_well(home: Path) -> None:
    program(TWO_VERSIONS)
    assert run("diff", "trials", "net@v0", "net").split("\n") == [
        "net v0 → net v1: 1 changed, 1 of metadata",
        "~ net.txt  3 B",
        "~ metadata loss: NaN → 0.5",
        "",
    ]
    told = run_json("diff", "trials", "net@v0", "net@v1")
    assert told["experiment"] == "trials"
    assert (told["before"]["version"], told["after"]["version"]) == ("v0", "v1")
    assert [one["path"] for one in told["changed"]] == ["net.txt"]
    assert told["metadata"] == {"loss": {"kind": "changed", "before": {"$float": "NaN"}, "after": 0.5}}
    assert run("diff", "trials", "net", "net") == "net v1 → net v1: 1 same, nothing differs\n"


def test_the_command_says_what_it_cannot_find(home: Path) -> None:
    program(TWO_VERSIONS)
    assert "has no 'nett' latest" in run("diff", "trials", "net", "nett", code=1)
