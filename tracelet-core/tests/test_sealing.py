"""From a builder to files and a manifest: what is stored is what was there, or an error says why not."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
from making import elsewhere, full_disk, settle, write

from tracelet import Experiment, ExperimentConfig, LoggedArtifact, TraceletArtifact
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.specs import SpecSet
from tracelet.core.sealing.draft import Draft
from tracelet.core.sealing.finish import finish
from tracelet.core.sealing.input_example import read_example
from tracelet.core.sealing.prepare import prepare
from tracelet.core.storage.blob_store import LocalStore, open_store
from tracelet.core.system import files as files_module
from tracelet.core.system.files import FileChanged
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendUnavailable,
    ConfigError,
    UnsafePath,
)
from tracelet.plugin import ArtifactType, BackendSpec, ModelInfo, SealedArtifact, SerializerSpec

KB = 0.001


def study(**config: Any) -> Experiment:
    return Experiment("study", artifacts=True, config=ExperimentConfig(**config))


def stored(artifact: TraceletArtifact, **config: Any) -> LoggedArtifact:
    """Log an artifact, and get it back."""
    with study(**config) as exp:
        exp.log_artifact(artifact)["local"]
        return exp.get_artifact(artifact.name)


@pytest.fixture
def artifact() -> TraceletArtifact:
    """An empty one."""
    return TraceletArtifact("thing", ArtifactType.CUSTOM)


def serializers(*specs: SerializerSpec) -> SpecSet[SerializerSpec]:
    return SpecSet("serializer", {spec.name: spec for spec in specs}, {})


def draft(artifact: TraceletArtifact, staging: Path, *specs: SerializerSpec, **changes: Any) -> Draft:
    arguments: dict[str, Any] = {
        "put_id": "p1",
        "run_id": "r1",
        "inputs": {"cd" * 32, "ab" * 32},
        "staging": staging / "p1",
        "serializers": serializers(*specs) if specs else registry().serializers,
        "targets": [],
        "snapshot": False,
    }
    return prepare(artifact, **(arguments | changes))


def sealed(artifact: TraceletArtifact, folder: Path, *, limit_mb: float | None = 100, **changes: Any) -> SealedArtifact:
    return finish(draft(artifact, folder, **changes), store=LocalStore(folder / "store"), limit_mb=limit_mb)


# -- what is sealed


def test_everything_ends_as_files_that_are_what_the_manifest_says(artifact: TraceletArtifact, tmp_path: Path) -> None:
    artifact.add_file(write(tmp_path / "f", b"12345"), "a/f", "a file").add_object(
        {"x": 1}, "o", description="an object"
    )
    artifact.add_reference("s3://b/k", 9)
    artifact.metadata = {"tags": ("a",)}
    artifact.description = "described"
    one = sealed(artifact, tmp_path)
    manifest = one.manifest
    assert (manifest.name, manifest.type, manifest.description) == ("thing", ArtifactType.CUSTOM, "described")
    assert (manifest.put_id, manifest.run_id, manifest.inputs) == ("p1", "r1", ("ab" * 32, "cd" * 32))
    assert abs(manifest.created_at - time.time()) < 60
    assert manifest.metadata == {"tags": ["a"]}
    assert set(one.sources) == {"a/f", "objects/o.json"}
    for file in manifest.payload:
        data = one.sources[file.artifact_path].read_bytes()
        assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert manifest.files[0].description == "a file"
    assert manifest.objects[0].description == "an object"
    # Only the user's own file may still change.
    assert set(one.stamps) == {"a/f"}
    assert one.sources["a/f"] == tmp_path / "f"


def test_a_snapshot_is_apart_from_the_users_files(artifact: TraceletArtifact, tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"before")
    artifact.add_file(path).add_file(path, "again")
    made = draft(artifact, tmp_path, snapshot=True)
    write(path, b"after, and longer")
    one = finish(made, store=LocalStore(tmp_path), limit_mb=None)
    assert {source.read_bytes() for source in one.sources.values()} == {b"before"}
    assert one.stamps == {}


def test_an_artifact_with_nothing_in_it_is_refused(artifact: TraceletArtifact, home: Path) -> None:
    artifact.description = "of nothing"
    artifact.metadata = {"preferred_backends": ["local"], "force_reference": True}  # which say how, and not what
    with study() as exp:
        for log in (exp.log_artifact, exp.submit_artifact):
            with pytest.raises(
                ArtifactError, match="there is nothing in 'thing': add a file, object, model or reference"
            ):
                log(artifact)
        assert exp.list_artifacts() == []


def test_metadata_alone_is_content(artifact: TraceletArtifact, home: Path) -> None:
    artifact.metadata["accuracy"] = 0.9
    found = stored(artifact)
    assert (found.files, found.size_bytes, found.metadata) == ([], 0, {"accuracy": 0.9})
    assert list(found.download().iterdir()) == []


def test_a_reference_alone_is_content(artifact: TraceletArtifact, home: Path) -> None:
    assert [one.uri for one in stored(artifact.add_reference("s3://bucket/key")).references] == ["s3://bucket/key"]


def test_metadata_that_json_cannot_hold_is_refused_when_it_is_logged(artifact: TraceletArtifact, home: Path) -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    for value in (b"x", {1: 2}, circle, 10**5000):
        artifact.metadata["x"] = value
        with pytest.raises(ArtifactError, match=r"metadata\['x'\]"):
            stored(artifact)
    assert list(home.rglob("staging/*")) == []


# -- files that are not what they were


def test_a_file_that_vanished_is_an_error_that_names_it(artifact: TraceletArtifact, home: Path) -> None:
    path = write(home / "f")
    artifact.add_file(path)
    path.unlink()
    with study() as exp:
        for log in (exp.log_artifact, exp.submit_artifact):
            with pytest.raises(ArtifactError, match=f"'{path}' cannot be read any more: No such file"):
                log(artifact)


@pytest.mark.parametrize("now", ["folder", "fifo", "device"])
def test_a_file_that_became_something_else_is_refused_without_a_wait(
    artifact: TraceletArtifact, home: Path, now: str
) -> None:
    path = write(home / "f")
    artifact.add_file(path)
    path.unlink()
    if now == "folder":
        path.mkdir()
    elif now == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with study() as exp:
        for log in (exp.log_artifact, exp.submit_artifact):
            with pytest.raises(ArtifactError, match="is not a regular file any more"):
                log(artifact)


def test_a_file_that_vanishes_before_it_is_hashed_is_an_error(artifact: TraceletArtifact, tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("f", "g")]
    for number, path in enumerate(paths, 1):
        artifact.add_file(path)
        made = draft(artifact, tmp_path / str(number))
        path.unlink()
        with pytest.raises(ArtifactError, match=f"'{path}' cannot be read: No such file"):
            finish(made, store=LocalStore(tmp_path), limit_mb=None)
        write(path)


def changing(path: Path, times: int) -> Callable[[Any], str]:
    """Hash as ever, while somebody writes to the file."""
    honest = files_module.hash_stream
    left = [times]

    def hash_stream(stream: Any, size_bytes: int) -> str:
        digest = honest(stream, size_bytes)
        if left[0] > 0 and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            left[0] -= 1
            with path.open("ab") as writer:
                writer.write(b"!")
        return digest

    return hash_stream


def test_a_file_that_changes_while_it_is_hashed_is_stored_from_a_snapshot(
    artifact: TraceletArtifact, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / "f", b"one")
    monkeypatch.setattr(files_module, "hash_stream", changing(path, 1))
    assert (stored(artifact.add_file(path)).download() / "f").read_bytes() == b"one!"


def test_a_file_that_changes_while_it_is_copied_is_no_snapshot(
    artifact: TraceletArtifact, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / "f", b"one")
    honest = shutil.copyfileobj

    def copy(source: Any, target: Any, length: int = 0) -> None:
        honest(source, target, length)
        with path.open("ab") as writer:
            writer.write(b"!")

    monkeypatch.setattr(files_module, "_clone", lambda source, target: False)
    monkeypatch.setattr(files_module.shutil, "copyfileobj", copy)
    with pytest.raises(FileChanged, match="changed while it was copied"):
        draft(artifact.add_file(path), home, snapshot=True)


def test_a_file_of_proc_is_stored_with_the_bytes_it_had(artifact: TraceletArtifact, home: Path) -> None:
    found = stored(artifact.add_file("/proc/version", "version"))
    assert (found.download() / "version").read_bytes() == Path("/proc/version").read_bytes()
    assert found.files[0].size_bytes == len(Path("/proc/version").read_bytes())


# -- objects


def test_a_serializer_that_is_not_there_is_answered_with_the_nearest(artifact: TraceletArtifact, home: Path) -> None:
    artifact.add_object({}, "o", "jsn")
    with pytest.raises(ArtifactError, match=r"no serializer of objects 'jsn' is installed; .*Did you mean 'json'"):
        stored(artifact)


def test_a_framework_is_no_serializer_of_objects(artifact: TraceletArtifact, home: Path) -> None:
    with pytest.raises(ArtifactError, match="'sklearn' is no serializer of objects; there is csv, json, npy, "):
        stored(artifact.add_object({}, "o", "sklearn"))


@pytest.mark.parametrize(
    ("value", "serializer", "reason"),
    [
        (b"x", "json", "it is a bytes, which has no plain form"),
        ({1: 0, "1": 0}, "json", "it has the key 1: keys are text"),
        (object(), "yaml", "it is a object, which has no plain form"),
        (lambda: 0, "pickle", "pickle"),
    ],
)
def test_an_object_that_cannot_be_stored_is_named_and_leaves_nothing(
    artifact: TraceletArtifact, home: Path, value: Any, serializer: str, reason: str
) -> None:
    artifact.add_object(value, "o", serializer)
    with pytest.raises(ArtifactError, match=f"the object 'o' cannot be stored as {serializer}: .*{reason}.*Change it"):
        stored(artifact)
    assert list((home / ".tracelet" / "staging").iterdir()) == []


def nothing(value: Any, path: Path) -> None:
    """A serializer that forgets to write."""


def raising(error: BaseException) -> Callable[[Any, Path], None]:
    def dump(value: Any, path: Path) -> None:
        raise error

    return dump


@pytest.mark.parametrize(
    "error",
    [RuntimeError("deep inside"), OSError("deep inside"), KeyError("deep inside"), SystemExit("deep inside")],
)
def test_whatever_a_serializer_raises_is_an_artifact_error(
    artifact: TraceletArtifact, tmp_path: Path, error: BaseException
) -> None:
    spec = SerializerSpec(name="mine", suffix=".x", dump=raising(error), load=print, safe=True)
    with pytest.raises(ArtifactError, match=r"the object 'o' cannot be stored as mine: .*deep inside") as caught:
        draft(artifact.add_object(1, "o", "mine"), tmp_path, spec)
    assert caught.value.__cause__ is error


def test_a_serializer_that_raises_without_a_word_is_told_with_the_kind_of_it(
    artifact: TraceletArtifact, tmp_path: Path
) -> None:
    spec = SerializerSpec(name="mine", suffix=".x", dump=raising(ValueError()), load=print, safe=True)
    with pytest.raises(ArtifactError, match=r"cannot be stored as mine: ValueError in dump .*which says no more"):
        draft(artifact.add_object(1, "o", "mine"), tmp_path, spec)


def test_nobody_but_the_user_interrupts_a_serializer(artifact: TraceletArtifact, tmp_path: Path) -> None:
    spec = SerializerSpec(name="mine", suffix=".x", dump=raising(KeyboardInterrupt()), load=print, safe=True)
    with pytest.raises(KeyboardInterrupt):
        draft(artifact.add_object(1, "o", "mine"), tmp_path, spec)


LINKS: dict[str, Callable[[Path, Path], Any]] = {
    "a link": lambda path, mine: path.symlink_to(mine),
    "a second name": lambda path, mine: path.hardlink_to(mine),
    "a pipe": lambda path, mine: os.mkfifo(path),
    "a folder": lambda path, mine: write(path / "a", "x"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_what_a_serializer_links_to_is_not_stored_for_it_would_change_later(
    artifact: TraceletArtifact, tmp_path: Path, kind: str
) -> None:
    mine = write(tmp_path / "mine", "of the user")
    spec = SerializerSpec(
        name="mine", suffix=".x", dump=lambda value, path: LINKS[kind](path, mine), load=print, safe=True
    )
    with pytest.raises(ArtifactError, match="its serializer wrote a link, or what is no file"):
        draft(artifact.add_object(1, "o", "mine"), tmp_path, spec)


@pytest.mark.parametrize("kind", ["a link", "a second name"])
def test_a_model_with_a_link_in_it_is_not_stored(artifact: TraceletArtifact, tmp_path: Path, kind: str) -> None:
    mine = write(tmp_path / "mine", "of the user")

    def dump(value: Any, path: Path) -> None:
        write(path / "deep" / "config", "x")
        LINKS[kind](path / "deep" / "weights", mine)

    spec = SerializerSpec(name="hub", dump=dump, load=print, safe=True)
    with pytest.raises(ArtifactError, match="its serializer wrote a link, or what is no file"):
        draft(artifact.add_model(object(), "hub"), tmp_path, spec)


def test_a_serializers_own_words_stay(artifact: TraceletArtifact, tmp_path: Path) -> None:
    spec = SerializerSpec(name="mine", suffix=".x", dump=raising(ConfigError("install it")), load=print, safe=True)
    with pytest.raises(ConfigError, match=r"^install it$"):
        draft(artifact.add_object(1, "o", "mine"), tmp_path, spec)


def test_a_serializer_that_writes_nothing_has_not_stored_it(artifact: TraceletArtifact, tmp_path: Path) -> None:
    own = SerializerSpec(name="mine", suffix=".x", dump=nothing, load=print, safe=True)
    with pytest.raises(ArtifactError, match="its serializer wrote nothing"):
        draft(artifact.add_object(1, "o", "mine"), tmp_path, own)
    net = SerializerSpec(name="net", dump=nothing, load=print, safe=True)
    with pytest.raises(ArtifactError, match="the model 'model' cannot be stored as net: its serializer wrote nothing"):
        draft(TraceletArtifact("n", ArtifactType.MODEL).add_model(1, "net"), tmp_path / "other", net)


def test_a_file_and_an_object_may_not_have_one_path(artifact: TraceletArtifact, home: Path) -> None:
    artifact.add_object({}, "o").add_file(write(home / "f"), "objects/o.json")
    with pytest.raises(ArtifactError, match=r"'objects/o.json' is in the artifact already"):
        stored(artifact)


# -- models


def write_model(value: Any, path: Path) -> None:
    (path / "deep").mkdir()
    (path / "deep" / "w.bin").write_bytes(b"12345")
    (path / "meta.json").write_text("{}")


NET = SerializerSpec(name="net", dump=write_model, load=print, safe=True, matches=lambda value: value == "a net")


def test_a_models_files_are_in_a_folder_of_its_name(artifact: TraceletArtifact, tmp_path: Path) -> None:
    made = draft(artifact.add_model("a net").add_model("another", "net", name="second"), tmp_path, NET)
    one = finish(made, store=LocalStore(tmp_path), limit_mb=None)
    assert [model.framework for model in one.manifest.models] == ["net", "net"]
    assert [file.artifact_path for file in one.manifest.payload] == [
        "models/model/deep/w.bin",
        "models/model/meta.json",
        "models/second/deep/w.bin",
        "models/second/meta.json",
    ]
    assert one.stamps == {}


def test_a_model_of_no_known_framework_is_told_what_to_do(artifact: TraceletArtifact, home: Path) -> None:
    with pytest.raises(ArtifactError, match=r"the framework of a builtins.dict is not known: say framework= one of .*"):
        stored(artifact.add_model({"w": 1}))


def test_a_model_that_two_frameworks_claim_is_told_what_to_do(artifact: TraceletArtifact, tmp_path: Path) -> None:
    twin = SerializerSpec(name="twin", dump=write_model, load=print, safe=True, matches=lambda value: True)
    with pytest.raises(ArtifactError, match="say framework= one of net, twin, or add its file with add_file"):
        draft(artifact.add_model("a net"), tmp_path, NET, twin)


def test_a_framework_that_is_none_is_answered_with_the_nearest(artifact: TraceletArtifact, home: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no framework 'pytorsh' is installed; .*Did you mean 'pytorch'"):
        stored(artifact.add_model(object(), "pytorsh"))
    with pytest.raises(ArtifactError, match="'json' is no framework; there is "):
        stored(TraceletArtifact("other", ArtifactType.MODEL).add_model(object(), "json"))


def test_a_framework_that_cannot_look_at_a_model_is_left_out_and_said(
    artifact: TraceletArtifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def looking(value: Any) -> bool:
        raise RuntimeError("no eyes")

    blind = SerializerSpec(name="blind", dump=write_model, load=print, safe=True, matches=looking)
    made = draft(artifact.add_model("a net"), tmp_path, blind, NET)
    assert [model.framework for model in made.manifest.models] == ["net"]
    assert "the serializer 'blind' cannot say whether a str is its own, and is left out: RuntimeError" in caplog.text


# -- the tracker's own form


def backend(name: str, render: Callable[[Any, ModelInfo, Path], None] | None) -> BackendSpec:
    return BackendSpec(name=name, open=lambda experiment, settings, context: None, render=render)  # type: ignore[arg-type,return-value]


def test_a_model_is_rendered_for_the_backend_that_wants_it(artifact: TraceletArtifact, tmp_path: Path) -> None:
    seen: list[ModelInfo] = []

    def render(model: Any, info: ModelInfo, dest: Path) -> None:
        assert model == "a net"
        assert list(dest.iterdir()) == []
        seen.append(info)
        (dest / "MLmodel").write_text("x")

    artifact.description = "of the artifact"
    artifact.metadata["a"] = (1,)
    artifact.add_model("a net", input_example=[1], description="of the model").add_model("a net", name="second")
    made = draft(artifact, tmp_path, NET, targets=[backend("shop", render), backend("plain", None)])
    assert list(made.rendered) == ["shop"]
    assert sorted(path.name for path in made.rendered["shop"].iterdir()) == ["model", "second"]
    assert [(info.name, info.framework, info.artifact, info.type) for info in seen] == [
        ("model", "net", "thing", ArtifactType.CUSTOM),
        ("second", "net", "thing", ArtifactType.CUSTOM),
    ]
    assert [info.description for info in seen] == ["of the model", "of the artifact"]
    assert [info.input_example for info in seen] == [[1], None]
    assert seen[0].metadata == {"a": [1]}
    assert [dict(info.files) for info in seen] == [
        {file.artifact_path: made.sources[file.artifact_path] for file in model.files} for model in made.manifest.models
    ]
    assert all(path.is_file() for info in seen for path in info.files.values())


@pytest.mark.parametrize("half", [False, True])
def test_a_form_that_fails_is_a_warning_and_the_artifact_is_whole(
    artifact: TraceletArtifact, tmp_path: Path, caplog: pytest.LogCaptureFixture, half: bool
) -> None:
    def render(model: Any, info: ModelInfo, dest: Path) -> None:
        if half:
            (dest / "half").write_text("x")
        raise RuntimeError("not this one")

    with caplog.at_level(logging.WARNING, "tracelet.sealing"):
        made = draft(artifact.add_model("a net"), tmp_path, NET, targets=[backend("shop", render)])
    assert "shop has no form of its own for the model 'model'" in caplog.text
    assert made.rendered == {}
    assert len(finish(made, store=LocalStore(tmp_path), limit_mb=None).manifest.payload) == 2
    assert list((tmp_path / "p1" / "rendered" / "shop").iterdir()) == []


# -- large files


@pytest.mark.parametrize(("size", "apart"), [(0, False), (999, False), (1000, False), (1001, True), (5000, True)])
def test_a_file_over_the_limit_becomes_a_reference(
    artifact: TraceletArtifact, home: Path, size: int, apart: bool
) -> None:
    found = stored(artifact.add_file(write(home / "f", b"x" * size), description="large"), large_file_mb=KB)
    assert [file.artifact_path for file in found.files] == ([] if apart else ["f"])
    assert [(ref.path, ref.size_bytes, ref.description) for ref in found.references] == (
        [("f", size, "large")] if apart else []
    )
    assert found.size_bytes == size
    assert (found.download() / "f").read_bytes() == b"x" * size


@pytest.mark.parametrize(
    ("force", "on_large", "sizes", "apart"),
    [
        (True, "reference", {"small": 0, "large": 2000}, {"small", "large"}),
        (True, "upload", {"small": 5, "large": 2000}, {"small", "large"}),
        (False, "reference", {"small": 5, "large": 2000}, set()),
        (None, "upload", {"small": 5, "large": 2000}, set()),
        (None, "reference", {"small": 5, "large": 2000}, {"large"}),
    ],
)
def test_what_is_forced_beats_the_limit(
    artifact: TraceletArtifact, home: Path, force: bool | None, on_large: str, sizes: dict[str, int], apart: set[str]
) -> None:
    for name, size in sizes.items():
        artifact.add_file(write(home / name, b"x" * size))
    artifact.metadata["force_reference"] = force
    found = stored(artifact, large_file_mb=KB, on_large=on_large)
    assert {reference.path for reference in found.references} == apart
    assert {file.artifact_path for file in found.files} == set(sizes) - apart
    assert {path.name: path.stat().st_size for path in found.download().iterdir()} == sizes


@pytest.mark.parametrize("word", ["true", 1, 0, 1.0, [], "no"], ids=repr)
def test_force_reference_is_true_or_false_and_nothing_else(artifact: TraceletArtifact, home: Path, word: Any) -> None:
    artifact.metadata["force_reference"] = word
    with pytest.raises(ArtifactError, match=r"metadata\['force_reference'\] is .*: say True or False"):
        stored(artifact)


def test_objects_and_models_may_be_large_too(artifact: TraceletArtifact, home: Path, toys: ModuleType) -> None:
    artifact.add_object(["x" * 2000], "o").add_model(toys.Line(3))
    artifact.metadata["force_reference"] = True
    found = stored(artifact)
    assert found.files == []
    assert found.load_object("o") == ["x" * 2000]
    assert found.load_model().predict(2) == 6
    assert found.size_bytes == sum(reference.size_bytes or 0 for reference in found.references)


def test_where_its_bytes_are_is_no_part_of_what_an_artifact_is(home: Path) -> None:
    write(home / "f", b"x" * 2000)
    digests, created = set(), []
    for config in ({"on_large": "upload"}, {"large_file_mb": KB}, {"large_file_mb": KB}):
        with study(**config) as exp:
            artifact = exp.create_artifact("same", ArtifactType.CUSTOM).add_file("f").add_object([1], "o")
            result = exp.log_artifact(artifact)["local"]
            digests.add(result.digest)
            created.append(result.created)
    assert len(digests) == 1
    assert created == [True, False, False]


def test_bytes_that_stay_on_this_machine_are_said_to_once(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tracelet"), study(large_file_mb=KB) as exp:
        for name in ("a", "b"):
            artifact = exp.create_artifact(name, ArtifactType.CUSTOM).add_file(write(home / name, name * 2000))
            assert exp.log_artifact(artifact)["local"].portable is False
        small = exp.create_artifact("small", ArtifactType.CUSTOM).add_file(write(home / "small"))
        assert exp.log_artifact(small)["local"].portable is True
    assert caplog.text.count("stay on this machine") == 1
    assert "set TRACELET_STORE" in caplog.text


@pytest.mark.parametrize("kind", ["directory", "file", "memory"])
def test_large_bytes_go_once_to_the_store_that_is_configured(home: Path, tmp_path: Path, kind: str) -> None:
    place = {
        "directory": str(tmp_path / "store"),
        "file": (tmp_path / "store").as_uri(),
        "memory": "memory://sealing-test",
    }[kind]
    write(home / "f", b"x" * 2000)
    with study(store=place, large_file_mb=KB) as exp:
        for name in ("one", "two"):
            artifact = exp.create_artifact(name, ArtifactType.CUSTOM).add_file("f", f"{name}.bin")
            assert exp.log_artifact(artifact)["local"].portable is (kind == "memory")
        found = exp.get_artifact("two")
    assert (found.download() / "two.bin").read_bytes() == b"x" * 2000
    own = open_store(place, tmp_path / "unused")
    (reference,) = found.references
    assert reference.sha256 is not None
    assert reference.uri == own.uri(reference.sha256)
    assert own.has(reference.sha256, 2000)
    if isinstance(own, LocalStore):
        assert len([path for path in (own.root / "objects").rglob("*") if path.is_file()]) == 1
        assert own.recorded() == {reference.sha256}


def test_a_store_with_credentials_in_its_url_leaves_none_behind(home: Path) -> None:
    write(home / "f", b"x" * 2000)
    place = "memory://me:hunter2@sealing-secret/prefix"
    with study(store=place, large_file_mb=KB) as exp:
        artifact = exp.create_artifact("secret", ArtifactType.CUSTOM).add_file("f")
        artifact.add_reference("https://me:hunter2@host/x?token=hunter2")
        exp.submit_artifact(artifact).result(60)
        found = exp.get_artifact("secret")
        assert (found.download() / "f").stat().st_size == 2000
    assert "hunter2" not in found.manifest.to_json()
    kept = [path for path in (home / ".tracelet").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"hunter2" in path.read_bytes()]


def test_a_store_that_cannot_be_written_is_named(artifact: TraceletArtifact, tmp_path: Path) -> None:
    artifact.add_file(write(tmp_path / "f", b"x" * 2000))
    blocked = LocalStore(write(tmp_path / "a file"))
    made = draft(artifact, tmp_path)
    with pytest.raises(BackendUnavailable, match=r"the store does not take .*Make room there, or set TRACELET_STORE"):
        finish(made, store=blocked, limit_mb=KB)


def test_a_reader_without_the_store_is_told_the_machine_and_the_path(home: Path, tmp_path: Path) -> None:
    write(home / "f", b"x" * 2000)
    with study(store=str(tmp_path / "its store"), large_file_mb=KB) as exp:
        exp.log_artifact(exp.create_artifact("far", ArtifactType.CUSTOM).add_file("f"))
    with pytest.raises(ArtifactNotFound) as caught:
        study().get_artifact("far").download()
    assert socket.gethostname() in str(caught.value)
    assert str(tmp_path / "its store" / "objects") in str(caught.value)
    assert "Set TRACELET_STORE" in str(caught.value)
    with pytest.raises(ArtifactNotFound, match="TRACELET_STORE"):
        study(store="memory://another").get_artifact("far").download()


def test_another_process_reads_large_bytes_from_the_store(home: Path, tmp_path: Path) -> None:
    write(home / "f", b"x" * 2000)
    with study(store=str(tmp_path / "store"), large_file_mb=KB) as exp:
        exp.log_artifact(exp.create_artifact("far", ArtifactType.CUSTOM).add_file("f").add_object({"a": 1}, "o"))
    script = """
        from tracelet import Experiment
        found = Experiment("study", artifacts=True).get_artifact("far")
        answer([(found.download("out") / "f").stat().st_size, found.load_object("o")])
    """
    environ = {"TRACELET_DIR": str(home / ".tracelet"), "TRACELET_STORE": str(tmp_path / "store")}
    assert elsewhere(script, cwd=tmp_path / "there", **environ) == [2000, {"a": 1}]


# -- at the very end


def test_what_is_logged_while_the_interpreter_ends_is_stored(home: Path) -> None:
    script = """
        import atexit
        from pathlib import Path
        from tracelet import ArtifactType, Experiment
        Path("f").write_text("f")
        Path("g").write_text("g")
        exp = Experiment("study", artifacts=True).start()
        exp.log_artifact(exp.create_artifact("early", ArtifactType.CUSTOM).add_file("f"))
        atexit.register(lambda: answer(
            exp.log_artifact(exp.create_artifact("late", ArtifactType.CUSTOM).add_file("f").add_file("g"))["local"].version
        ))
    """
    assert elsewhere(script, cwd=home) == "v0"
    assert sorted(path.name for path in study().get_artifact("late").download().iterdir()) == ["f", "g"]


def test_staging_is_empty_when_all_is_delivered(artifact: TraceletArtifact, home: Path) -> None:
    artifact.add_file(settle(write(home / "f"))).add_object({}, "o")
    stored(artifact)
    with study() as exp:
        artifact.add_object(1, "more")
        exp.submit_artifact(artifact).result(60)
    assert list((home / ".tracelet" / "staging").iterdir()) == []


def test_a_plugin_that_names_its_file_unsafely_is_refused(artifact: TraceletArtifact, tmp_path: Path) -> None:
    def odd(value: Any, path: Path) -> None:
        (path / "a\\b").write_text("x")

    spec = SerializerSpec(name="odd", dump=odd, load=print, safe=True)
    with pytest.raises(UnsafePath, match="backslash"):
        draft(artifact.add_model("a net", "odd"), tmp_path, spec)


# -- a full disk


def hiding(value: Any, path: Path) -> None:
    try:
        path.write_text(value)
    except OSError:
        raise RuntimeError("the writer failed") from None


def missing(value: Any, path: Path) -> None:
    raise FileNotFoundError(2, "No such file or directory", value)


@pytest.mark.parametrize("dump", [lambda value, path: path.write_text(value), hiding], ids=["open", "hidden"])
def test_staging_without_room_is_not_the_objects_fault(artifact: TraceletArtifact, tmp_path: Path, dump: Any) -> None:
    spec = SerializerSpec(name="text", dump=dump, load=print, safe=True, suffix=".txt")
    artifact.add_object("long enough", "o", "text")
    with full_disk(4), pytest.raises(OSError, match="File too large"):
        draft(artifact, tmp_path, spec)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("dump", [hiding, missing])
def test_an_object_that_cannot_be_stored_is_its_own_fault_where_there_is_room(
    artifact: TraceletArtifact, tmp_path: Path, dump: Any
) -> None:
    def away(value: Any, path: Path) -> None:
        dump(value, path / "under a file" if dump is hiding else path)

    spec = SerializerSpec(name="text", dump=away, load=print, safe=True, suffix=".txt")
    with pytest.raises(ArtifactError, match="the object 'o' cannot be stored as text"):
        draft(artifact.add_object("text", "o", "text"), tmp_path, spec)


def test_a_snapshot_without_room_is_not_the_sources_fault(artifact: TraceletArtifact, tmp_path: Path) -> None:
    artifact.add_file(write(tmp_path / "f", "content"))
    with full_disk(4), pytest.raises(OSError, match="File too large"):
        draft(artifact, tmp_path, snapshot=True)


def test_a_source_that_fails_while_it_is_copied_is_named(artifact: TraceletArtifact, tmp_path: Path) -> None:
    """Nothing is mapped at the first address of a process: to read there is an input/output error."""
    artifact.add_file("/proc/self/mem")
    with pytest.raises(ArtifactError, match="'/proc/self/mem' cannot be read any more: Input/output error"):
        draft(artifact, tmp_path, snapshot=True)


@pytest.mark.parametrize("how", ["log_artifact", "submit_artifact"])
def test_a_full_disk_never_raises_into_training(home: Path, how: str) -> None:
    write(home / "f", b"x" * 1000)
    with study() as exp:
        artifact = exp.create_artifact("a", ArtifactType.CUSTOM).add_file("f").add_object([1] * 200, "o")
        with full_disk(100):
            made = getattr(exp, how)(artifact)
            results = made if how == "log_artifact" else made.result(60)
        assert "the tracelet directory cannot be written" in str({**results.failed, **results.queued}["local"])
        assert exp.log_artifact(artifact).ok


# -- input examples


class Tensor:
    """As a framework's: NumPy has to ask for it in its own way."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Any:
        return numpy.array(self.values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("it is bound to its history")


class Frame:
    columns = ("a", "b")

    def to_dict(self, orient: str) -> dict[str, list[int]]:
        assert orient == "list"
        return {"a": [1, 2], "b": [3, 4]}


def example(artifact: TraceletArtifact, folder: Path, value: Any, spec: SerializerSpec) -> Any:
    """What is stored of an input example, read as anybody would."""
    artifact.add_model("a net", input_example=value)
    made = sealed(artifact, folder, serializers=serializers(spec))
    (path,) = (path for name, path in made.sources.items() if "input_example" in name)
    back = read_example(path.parent)
    assert f"models/model/{path.name}" in {file.artifact_path for file in made.manifest.models[0].files}
    if path.suffix == ".json":
        assert back == json.loads(path.read_text())
        return back
    loaded = numpy.load(path, allow_pickle=False)
    plain = loaded.tolist() if path.suffix == ".npy" else {name: loaded[name].tolist() for name in loaded.files}
    assert plain == (back.tolist() if path.suffix == ".npy" else {name: one.tolist() for name, one in back.items()})
    return plain


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("ein Käse", "ein Käse"),
        (0.5, 0.5),
        ({"rows": [[1, 2]], "on": True}, {"rows": [[1, 2]], "on": True}),
        ([numpy.arange(2)], [[0, 1]]),
        (numpy.array([[1.5, 2.5]]), [[1.5, 2.5]]),
        (Tensor([1, 2]), [1, 2]),
        ({"file": numpy.arange(2), "a": Tensor([3])}, {"file": [0, 1], "a": [3]}),
        (Frame(), {"a": [1, 2], "b": [3, 4]}),
        ({}, {}),
    ],
)
def test_an_input_example_is_stored_beside_its_model(
    artifact: TraceletArtifact, tmp_path: Path, value: Any, read: Any
) -> None:
    assert example(artifact, tmp_path, value, NET) == read


@pytest.mark.parametrize("name", ["input_example.json", "input_example.npy", "input_example.npz", "other.json"])
def test_an_example_that_is_damaged_or_not_there_reads_as_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and no more")
    assert read_example(tmp_path) is None


def test_an_equal_example_is_the_same_content_and_another_one_is_not(tmp_path: Path) -> None:
    def digest(name: str, value: Any) -> str:
        model = TraceletArtifact("m", ArtifactType.MODEL).add_model("a net", input_example=value)
        return sealed(model, tmp_path / name, serializers=serializers(NET)).manifest.digest

    assert digest("a", {"x": numpy.zeros(3)}) == digest("b", {"x": numpy.zeros(3)}) != digest("c", {"x": numpy.ones(3)})


@pytest.mark.parametrize("value", [object(), [object()], numpy.array([object()]), {"x": numpy.array([object()])}])
def test_an_example_without_a_form_is_left_out_with_a_warning(
    artifact: TraceletArtifact, tmp_path: Path, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    with caplog.at_level(logging.WARNING, "tracelet.sealing"):
        made = draft(artifact.add_model("a net", input_example=value), tmp_path, NET)
    assert [record.message.partition(", for it is")[0] for record in caplog.records] == [
        "the input_example of the model 'model' is not stored"
    ]
    assert not [path for path in made.sources if "example" in path]


def test_a_framework_that_stores_an_example_of_its_own_keeps_it(artifact: TraceletArtifact, tmp_path: Path) -> None:
    def dump(model: Any, folder: Path) -> None:
        (folder / "input_example.json").write_text("[7]")

    own = SerializerSpec(name="own", dump=dump, load=print, safe=True, matches=lambda model: True)
    assert example(artifact, tmp_path, [1], own) == [7]
