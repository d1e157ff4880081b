"""What a manifest accepts, what its digest sees, and what a manifest from elsewhere may not do."""

from __future__ import annotations

import enum
import hashlib
import io
import json
import math
import re
import time
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet.core.artifacts.checks import MOST_ENTRIES, check_name, check_path, check_paths, check_text
from tracelet.core.artifacts.entries import (
    ArtifactFile,
    ArtifactModel,
    ArtifactObject,
    ArtifactReference,
    ArtifactType,
    check_type,
)
from tracelet.core.artifacts.manifest import MOST_BYTES, Manifest, identity
from tracelet.core.artifacts.plain import converter, dumps
from tracelet.core.artifacts.plain_values import plain_metadata
from tracelet.core.plugins.detector import Detection
from tracelet.exceptions import ArtifactError, IntegrityError, NewerFormat, UnsafePath

SHA = "ab" * 32
OTHER_SHA = "cd" * 32


def manifest(**changes: Any) -> Manifest:
    """A manifest with one of everything."""
    fields: dict[str, Any] = {
        "name": "net",
        "type": ArtifactType.MODEL,
        "put_id": "p1",
        "created_at": 1700000000.5,
        "run_id": "r1",
        "description": "a net",
        "metadata": {"accuracy": 0.5, "tags": ["a", "b"], "nested": {"n": None}},
        "files": (ArtifactFile("w.bin", 3, SHA, "weights"), ArtifactFile("a/b.txt", 0, SHA)),
        "objects": (ArtifactObject("conf", "json", "objects/conf.json", 2, SHA, "settings"),),
        "models": (ArtifactModel("model", "torch", (ArtifactFile("models/model/m.bin", 5, SHA),), "the model"),),
        "references": (
            ArtifactReference("s3://bucket/key", 7, "data", etag="e1"),
            ArtifactReference("file://host/blob", 9, None, SHA, path="big.bin"),
        ),
        "inputs": (SHA,),
    }
    return Manifest(**(fields | changes))


# -- names, types, texts


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "-", "...", "x" * 128, "v1.2.0"])
def test_a_name_of_safe_characters_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 129, "a b", "a/b", "ä", "a\n", "a\0", None, 5, b"a", ["a"]])
def test_any_other_name_is_refused_with_the_rule(name: object) -> None:
    with pytest.raises(UnsafePath, match="1 to 128 of A-Z a-z 0-9"):
        check_name(name)


@given(st.text())
def test_no_name_that_is_taken_leaves_its_folder(name: str) -> None:
    try:
        check_name(name)
    except UnsafePath:
        return
    assert (Path("/base") / name).resolve().parent == Path("/base")
    assert len(name.encode()) <= 128


def test_there_are_thirteen_types() -> None:
    assert [kind.value for kind in ArtifactType] == [
        "model", "checkpoint", "weights", "dataset", "sample", "image", "audio", "video", "visualization", "report",
        "config", "code", "custom",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ArtifactType)
def test_a_type_is_an_artifact_type_or_its_text(kind: ArtifactType) -> None:
    assert check_type(kind) is kind
    assert check_type(kind.value) is kind


@pytest.mark.parametrize(
    "wrong", ["", "modl", "MODEL", "ArtifactType.MODEL", b"model", None, 5, [], ["model"], "x" * 1000]
)
def test_what_is_no_type_is_answered_with_those_that_there_are(wrong: Any) -> None:
    with pytest.raises(ArtifactError, match=r"is no artifact type: .*one of model, checkpoint, .*, custom\.") as told:
        check_type(wrong)
    assert len(str(told.value)) < 500
    assert ("Did you mean 'model'?" in str(told.value)) is (wrong in ("modl", "MODEL"))


def test_a_detection_has_its_type_as_a_type_or_its_text() -> None:
    assert Detection(path=Path("a"), type="weights").type is ArtifactType.WEIGHTS
    assert Detection(path=Path("a")).type is None
    with pytest.raises(ArtifactError, match="'weight' is no artifact type"):
        Detection(path=Path("a"), type="weight")


def test_text_is_text_or_nothing() -> None:
    assert check_text("päth", "description") == "päth"
    assert check_text(None, "description") is None
    with pytest.raises(ArtifactError, match="description=5 is not text"):
        check_text(5, "description")
    with pytest.raises(ArtifactError, match="not valid Unicode"):
        check_text("\ud800", "description")


# -- paths


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c.txt", ".hidden", "a b/ü.txt", "...", "x" * 255, "/".join(["y" * 255] * 4), "a/tracelet.json", "~"],
)
def test_a_relative_portable_path_is_taken(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("c:x", "absolute"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\x7fb", "control character"),
        ("a\x85b", "control character"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("x" * 256, "longer than 255 bytes"),
        ("ü" * 128, "longer than 255 bytes"),
        ("/".join(["y" * 100] * 11), "longer than 1024 bytes"),
        ("tracelet.json", "manifest's own"),
        ("Tracelet.JSON", "manifest's own"),
        ("tracelet.json/x", "manifest's own"),
        ("\ud800", "not valid Unicode"),
        (Path("a"), "not text"),
        (None, "not text"),
    ],
)
def test_any_other_path_is_refused_with_the_reason(path: object, reason: str) -> None:
    with pytest.raises(UnsafePath, match=f"{reason}.*Give a relative path"):
        check_path(path)


def test_paths_may_not_stand_twice_or_be_file_and_folder() -> None:
    assert check_paths(["a/b/c", "a/d"]) == {"a", "a/b"}
    with pytest.raises(ArtifactError, match="'a' is in the artifact already"):
        check_paths(["a", "a"])
    for paths in (["a", "a/b"], ["a/b", "a"]):
        with pytest.raises(ArtifactError, match="'a' is a file and a folder at once"):
            check_paths(paths)


def test_new_paths_are_held_against_those_that_are_there() -> None:
    with pytest.raises(ArtifactError, match="already"):
        check_paths(["a"], files={"a"})
    with pytest.raises(ArtifactError, match="'a' is a file and a folder"):
        check_paths(["a/b"], files={"a"})
    with pytest.raises(ArtifactError, match="'a' is a file and a folder"):
        check_paths(["a"], files={"a/b"}, folders={"a"})


# -- entries


def test_entries_take_their_fields_in_the_documented_order() -> None:
    file = ArtifactFile("p", 1, SHA, "d")
    assert (file.artifact_path, file.size_bytes, file.sha256, file.description) == ("p", 1, SHA, "d")
    item = ArtifactObject("n", "json", "p", 1, SHA, "d")
    assert (item.name, item.serializer, item.artifact_path, item.size_bytes) == ("n", "json", "p", 1)
    assert (item.sha256, item.description) == (SHA, "d")
    reference = ArtifactReference("s3://b/k", 1, "d")
    assert (reference.uri, reference.size_bytes, reference.description) == ("s3://b/k", 1, "d")


@pytest.mark.parametrize(
    "make",
    [
        partial(ArtifactFile, "../x", 1),
        partial(ArtifactFile, "x", -1),
        partial(ArtifactFile, "x", True),
        partial(ArtifactFile, "x", 1.5),
        partial(ArtifactFile, "x", 1.0),
        partial(ArtifactFile, "x", -0.0),
        partial(ArtifactFile, "x", math.nan),
        partial(ArtifactFile, "x", "1"),
        partial(ArtifactFile, "x", Decimal(1)),
        partial(ArtifactFile, "x", np.float64(1)),
        partial(ArtifactFile, "x", 2**63),
        partial(ArtifactReference, "s3://b/k", 10**19),
        partial(ArtifactObject, "a", "json", size_bytes=2**63),
        partial(ArtifactFile, "x", 1, "AB" * 32),
        partial(ArtifactFile, "x", 1, "ab"),
        partial(ArtifactFile, "x", 1, 5),
        partial(ArtifactFile, "x", 1, None, 5),
        partial(ArtifactObject, "a b", "json"),
        partial(ArtifactObject, "a", "no/such"),
        partial(ArtifactObject, "a", "json", "/abs"),
        partial(ArtifactModel, "a b"),
        partial(ArtifactModel, "a", "../torch"),
        partial(ArtifactModel, "a", ["torch"]),
        partial(ArtifactReference, ""),
        partial(ArtifactReference, None),
        partial(ArtifactReference, 5),
        partial(ArtifactReference, "s3://b/k", "5"),
        partial(ArtifactReference, "s3://b/k", path="x"),
        partial(ArtifactReference, "s3://b/k", 5, path="x"),
        partial(ArtifactReference, "s3://b/k", 5, sha256=SHA, path="../x"),
        partial(manifest, created_at=math.nan),
        partial(manifest, created_at=math.inf),
        partial(manifest, created_at=1e300),
        partial(manifest, created_at=10**400),
        partial(manifest, created_at=253_402_300_800),
        partial(manifest, created_at=-1),
        partial(manifest, created_at=True),
        partial(manifest, created_at="now"),
        partial(manifest, inputs=("x",)),
        partial(manifest, run_id="\ud800"),
        partial(manifest, put_id=""),
        partial(manifest, files=(ArtifactFile("a", 1), ArtifactFile("a", 1))),
        partial(manifest, files=(ArtifactFile("objects/conf.json", 1),)),
        partial(manifest, files=(ArtifactFile("big.bin", 1),)),
        partial(manifest, references=(ArtifactReference("x:y", 1, None, SHA, path="w.bin"),)),
        partial(manifest, references=(ArtifactReference("x:y", 1, None, SHA, path="n"),) * 2),
        partial(manifest, references=(ArtifactReference("x:y", 2, None, OTHER_SHA, path="objects/conf.json"),)),
        partial(manifest, references=(ArtifactReference("x:y", 6, None, SHA, path="models/model/m.bin"),)),
    ],
    ids=lambda make: f"{make.func.__name__}{make.args}{make.keywords}",
)
def test_an_entry_that_could_do_harm_or_mean_nothing_is_refused(make: Any) -> None:
    with pytest.raises(ArtifactError):
        make()


def test_a_size_is_a_whole_number_of_64_bits_of_whatever_kind() -> None:
    assert ArtifactFile("x", 2**63 - 1).size_bytes == 2**63 - 1
    found = ArtifactReference("s3://b/k", np.int64(5)).size_bytes
    assert (found, type(found)) == (5, int)


# -- what is in it


def test_a_backend_holds_what_is_not_in_the_store() -> None:
    own = manifest()
    assert [file.artifact_path for file in own.payload] == [
        "w.bin", "a/b.txt", "objects/conf.json", "models/model/m.bin",
    ]  # fmt: skip
    assert [file.artifact_path for file in own.stored] == ["big.bin"]
    assert own.size_bytes == 3 + 0 + 2 + 5 + 7 + 9


def test_a_large_object_counts_once() -> None:
    apart = manifest(references=(ArtifactReference("x:y", 2, None, SHA, path="objects/conf.json"),))
    assert "objects/conf.json" not in [file.artifact_path for file in apart.payload]
    assert apart.size_bytes == 3 + 0 + 5 + 2
    assert apart.digest == manifest(references=()).digest


def test_completeness_is_about_the_bytes_that_a_backend_holds() -> None:
    here = manifest(references=(), files=(ArtifactFile("w", 3, SHA),))
    apart = manifest(references=(ArtifactReference("x:y", 3, None, SHA, path="w"),), files=())
    assert here.digest == apart.digest
    assert here.as_complete_as(apart)
    assert not apart.as_complete_as(here)


def test_an_object_that_is_not_sealed_has_no_file() -> None:
    assert manifest(objects=(ArtifactObject("o", "json"),), models=(), files=(), references=()).payload == ()


# -- the digest


def test_the_digest_is_a_sha256() -> None:
    assert len(manifest().digest) == 64
    assert set(manifest().digest) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"put_id": "p2"},
        {"created_at": 1.0},
        {"run_id": None},
        {"metadata": {"nested": {"n": None}, "tags": ["a", "b"], "accuracy": 0.5}},
        {"metadata": manifest().metadata | {"preferred_backends": ["local"], "force_reference": True}},
        {"files": manifest().files[::-1]},
        {"inputs": (SHA,)},
        {"references": manifest().references[::-1]},
        {"references": (attrs.evolve(manifest().references[1], uri="s3://elsewhere"), manifest().references[0])},
    ],
)
def test_what_an_artifact_is_called_and_where_it_goes_is_no_part_of_its_digest(changes: dict[str, Any]) -> None:
    assert manifest(**changes).digest == manifest().digest


def test_the_order_of_adding_is_no_part_of_the_digest() -> None:
    objects = (
        ArtifactObject("a", "json", "objects/a.json", 1, SHA),
        ArtifactObject("b", "json", "objects/b.json", 1, SHA),
    )
    models = (ArtifactModel("a", "torch"), ArtifactModel("b", "torch"))
    one = manifest(objects=objects, models=models, inputs=(SHA, OTHER_SHA))
    assert one.digest == manifest(objects=objects[::-1], models=models[::-1], inputs=(OTHER_SHA, SHA)).digest


FILE, OBJECT, MODEL, REFERENCE = (
    manifest().files[0],
    manifest().objects[0],
    manifest().models[0],
    manifest().references[0],
)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": ArtifactType.WEIGHTS},
        {"description": "another net"},
        {"description": None},
        {"metadata": {}},
        {"metadata": manifest().metadata | {"accuracy": 0.6}},
        {"metadata": manifest().metadata | {"tags": ["b", "a"]}},
        {"metadata": manifest().metadata | {"nested": {"n": math.nan}}},
        {"files": ()},
        {"files": (attrs.evolve(FILE, sha256=OTHER_SHA), manifest().files[1])},
        {"files": (attrs.evolve(FILE, size_bytes=4), manifest().files[1])},
        {"files": (attrs.evolve(FILE, description=None), manifest().files[1])},
        {"files": (attrs.evolve(FILE, artifact_path="v.bin"), manifest().files[1])},
        {"objects": (attrs.evolve(OBJECT, name="other"),)},
        {"objects": (attrs.evolve(OBJECT, serializer="yaml"),)},
        {"objects": (attrs.evolve(OBJECT, sha256=OTHER_SHA),)},
        {"objects": (attrs.evolve(OBJECT, description=None),)},
        {"models": (attrs.evolve(MODEL, framework="sklearn"),)},
        {"models": (attrs.evolve(MODEL, files=()),)},
        {"models": (attrs.evolve(MODEL, description=None),)},
        {"references": (attrs.evolve(REFERENCE, uri="s3://bucket/other"), manifest().references[1])},
        {"references": (attrs.evolve(REFERENCE, size_bytes=8), manifest().references[1])},
        {"references": (attrs.evolve(REFERENCE, etag="e2"), manifest().references[1])},
        {"references": (attrs.evolve(REFERENCE, description=None), manifest().references[1])},
        {"references": (REFERENCE,)},
        {"inputs": ()},
        {"inputs": (OTHER_SHA,)},
    ],
)
def test_any_change_of_content_changes_the_digest(changes: dict[str, Any]) -> None:
    assert manifest(**changes).digest != manifest().digest


# -- JSON, there and back

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
#: One key is Tracelet's own, and refused.
KEYS = TEXT.filter(lambda key: key != "$float")
NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=12).filter(lambda name: name not in {".", ".."})
SIZES = st.integers(0, 2**53)
SHAS = st.text("0123456789abcdef", min_size=64, max_size=64)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
#: What metadata may hold where it is new.
STORABLE_TEXT = TEXT.filter(lambda text: "\0" not in text)
STORABLE_KEYS = KEYS.filter(lambda key: "\0" not in key)
STORABLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | STORABLE_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STORABLE_KEYS, inner, max_size=3),
    max_leaves=8,
)
PATHS = st.lists(NAMES.map(lambda name: f"p{name}"), min_size=1, max_size=3).map("/".join)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Manifests of every shape."""
    some = st.lists(PATHS, max_size=6, unique=True).filter(lambda paths: not _clash(paths))
    paths = draw(some)
    cut = draw(st.integers(0, len(paths)))
    files = tuple(ArtifactFile(path, draw(SIZES), draw(SHAS), draw(st.none() | TEXT)) for path in paths[:cut])
    stored = [
        ArtifactReference(draw(TEXT.filter(bool)), draw(SIZES), draw(st.none() | TEXT), draw(SHAS), path=path)
        for path in paths[cut:]
    ]
    elsewhere = draw(
        st.lists(
            st.builds(
                ArtifactReference,
                TEXT.filter(bool),
                st.none() | SIZES,
                st.none() | TEXT,
                st.none() | SHAS,
                st.none() | TEXT,
            ),
            max_size=2,
        )
    )
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    objects = tuple(ArtifactObject(name, "json", f"objects/{name}", draw(SIZES), draw(SHAS)) for name in names)
    models = tuple(ArtifactModel(name, "torch", (ArtifactFile(f"models/{name}/m", 1, SHA),)) for name in names)
    return manifest(
        name=draw(NAMES),
        type=draw(st.sampled_from(ArtifactType)),
        created_at=draw(st.floats(0, 2.5e11)),
        run_id=draw(st.none() | TEXT),
        description=draw(st.none() | TEXT),
        metadata=draw(st.dictionaries(KEYS, PLAIN, max_size=3)),
        files=files,
        objects=objects,
        models=models,
        references=(*stored, *elsewhere),
        inputs=tuple(draw(st.lists(SHAS, max_size=2))),
    )


def _clash(paths: list[str]) -> bool:
    return any(one != two and two.startswith(f"{one}/") for one in paths for two in paths)


@given(manifests())
def test_a_manifest_comes_back_from_json_as_it_was(own: Manifest) -> None:
    back = Manifest.from_json(own.to_json().encode())
    assert back == own
    assert back.digest == own.digest
    assert attrs.evolve(back).digest == own.digest
    assert Manifest.from_dict(json.loads(json.dumps(own.to_dict()))) == own


def test_a_manifest_that_leaves_defaults_out_has_the_digest_of_one_that_says_them() -> None:
    own = manifest(files=(ArtifactFile("a.txt", 1, SHA),), models=(ArtifactModel("net", "torch"),), references=())
    plain = own.to_dict()
    del plain["references"], plain["models"][0]["files"], plain["files"][0]["description"]
    assert Manifest.from_dict(plain) == own


@pytest.mark.parametrize("where", [lambda plain: plain, lambda plain: plain["files"][0]], ids=["manifest", "file"])
def test_a_number_where_text_belongs_is_no_manifest_even_with_its_digest(where: Any) -> None:
    plain = manifest(files=(ArtifactFile("a.txt", 1, SHA),)).to_dict()
    where(plain)["description"] = 5
    plain["digest"] = hashlib.sha256(dumps(identity({**plain, "schema": 1})).encode()).hexdigest()
    with pytest.raises(IntegrityError, match="5 is not text"):
        Manifest.from_dict(plain)


@given(manifests(), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_keys(own: Manifest, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert Manifest.from_dict(shuffled(own.to_dict())).digest == own.digest
    assert attrs.evolve(own, metadata=shuffled(own.metadata)).digest == own.digest


@given(manifests(), manifests())
def test_different_content_has_different_digests(one: Manifest, two: Manifest) -> None:
    def content(own: Manifest) -> Any:
        plain = own.to_dict()
        for key in ("digest", "name", "put_id", "created_at", "run_id"):
            del plain[key]
        plain["files"] = sorted(
            [*plain["files"], *(converter().unstructure(file) for file in own.stored)],
            key=lambda file: file["artifact_path"],
        )
        plain["references"] = sorted(json.dumps(ref) for ref in plain["references"] if ref["path"] is None)
        for key in ("objects", "models", "inputs"):
            plain[key] = sorted(json.dumps(item) for item in plain[key])
        return json.dumps(plain, sort_keys=True)

    assert (one.digest == two.digest) == (content(one) == content(two))


def test_what_is_not_a_number_survives_json_that_any_reader_can_read() -> None:
    own = manifest(metadata={"loss": math.nan, "best": math.inf, "worst": [-math.inf, {"x": math.nan}]})

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    json.loads(own.to_json(), parse_constant=refuse)
    back = Manifest.from_json(own.to_json()).metadata
    assert math.isnan(back["loss"])
    assert back["best"] == math.inf
    assert back["worst"][0] == -math.inf
    assert math.isnan(back["worst"][1]["x"])
    assert Manifest.from_json(own.to_json()).digest == own.digest


# -- a manifest from elsewhere is untrusted


def tampered(**changes: Any) -> str:
    return json.dumps(manifest().to_dict() | changes)


@pytest.mark.parametrize("text", ["", "nonsense", "[" * 100_000, b"\xff\xfe", "NaN", "1" * 5000])
def test_what_is_no_json_is_an_integrity_error(text: str | bytes) -> None:
    with pytest.raises(IntegrityError):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "data",
    [None, 5, "x", [], {}, {"schema": "1"}, {"schema": True}, {"schema": 0}, {"schema": 1.0}, {"schema": 10**400}],
)
def test_what_has_no_schema_is_no_manifest(data: Any) -> None:
    with pytest.raises(IntegrityError, match="it is no manifest"):
        Manifest.from_dict(data)


def test_a_manifest_of_a_later_release_says_to_upgrade_and_is_not_called_damaged() -> None:
    with pytest.raises(NewerFormat, match=r"by a later Tracelet .*: upgrade tracelet") as raised:
        Manifest.from_dict({"schema": 2})
    assert "delete it" not in str(raised.value)


# -- what a later release adds


def later(**changes: Any) -> dict[str, Any]:
    """A document as a later release writes it, with fields that this one does not know."""
    document = full().to_dict()
    for kind in ("files", "objects", "models", "references"):
        document[kind] = [{**entry, **changes} for entry in document[kind]]
    document = {**document, **changes}
    return {**document, "digest": hashlib.sha256(dumps(identity(document)).encode()).hexdigest()}


def full() -> Manifest:
    file = ArtifactFile("weights/a", 1, SHA)
    return manifest(
        files=(ArtifactFile("a", 1, SHA),),
        objects=(ArtifactObject("o", "json", "objects/o.json", 1, SHA),),
        models=(ArtifactModel("m", "torch", (file,)),),
        references=(ArtifactReference("s3://x/y"), ArtifactReference("s3://x/z", 1, sha256=SHA, path="z")),
    )


def test_a_field_of_a_later_release_is_verified_and_carried() -> None:
    document = later(mode=0o755, parts={"sizes": [1, 2.5]})
    read = Manifest.from_json(json.dumps(document))
    assert read.to_dict() == document
    assert read.digest == document["digest"] != full().digest
    assert converter().structure(converter().unstructure(read), Manifest) == read


@pytest.mark.parametrize("where", ["files", "objects", "models", "references"])
def test_a_field_of_a_later_release_that_was_changed_is_found_out(where: str) -> None:
    document = later(mode=1)
    document[where][0]["mode"] = 2
    with pytest.raises(IntegrityError, match="was changed"):
        Manifest.from_dict(document)
    document = later(mode=1) | {"mode": 2}
    with pytest.raises(IntegrityError, match="was changed"):
        Manifest.from_dict(document)


def test_the_notes_of_a_later_release_are_carried_and_do_not_make_it_another_artifact() -> None:
    document = later(notes={"seen": "yesterday"})
    read = Manifest.from_dict(document)
    assert read.to_dict() == document
    assert read.digest == full().digest


def test_a_field_of_a_later_release_counts_the_same_wherever_its_bytes_are() -> None:
    held = manifest(files=(ArtifactFile("a", 1, SHA, extra={"mode": 1}),), references=())
    reference = ArtifactReference("s3://x/a", 1, sha256=SHA, path="a", extra={"mode": 1})
    stored = manifest(files=(), references=(reference,))
    assert held.digest == stored.digest
    assert stored.stored == held.files


def test_a_field_of_a_later_release_that_is_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    for document in (full().to_dict() | {"deep": deep}, full().to_dict()):
        document["files"][0]["deep"] = deep
        with pytest.raises(IntegrityError, match="cannot be read"):
            Manifest.from_dict(document)


def test_the_digest_of_what_was_written_before_stays() -> None:
    own = Manifest(
        "n",
        ArtifactType.MODEL,
        "p",
        1.0,
        metadata={"a": math.nan, "b": [1, {"c": 2.5}], "force_reference": True},
        files=tuple(ArtifactFile(f"d/{number}", number, "0" * 64, "x") for number in range(3)),
        objects=(ArtifactObject("o", "json", "objects/o.json", 3, "1" * 64),),
        models=(ArtifactModel("m", "torch", (ArtifactFile("models/m/a", 3, "2" * 64),)),),
        references=(
            ArtifactReference("s3://b/k", 4, etag="e"),
            ArtifactReference("file:///x", 7, "big", sha256="3" * 64, path="z/big"),
            ArtifactReference("file:///x", 3, sha256="1" * 64, path="objects/o.json"),
        ),
        inputs=("4" * 64,),
    )
    assert own.digest == "b327180b28006ae9b14fc9e156ee3c488e9aafc071a82866c96fff4810dc2418"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../x"},
        {"put_id": "a/b"},
        {"files": [{"artifact_path": "../../etc/passwd", "size_bytes": 1}]},
        {"files": [{"artifact_path": "/etc/passwd", "size_bytes": 1}]},
        {"objects": [{"name": "a", "serializer": "json", "artifact_path": "..", "size_bytes": 1}]},
        {"models": [{"name": "m", "files": [{"artifact_path": "a\\b", "size_bytes": 1}]}]},
        {"models": [{"name": "m", "framework": "a/b"}]},
        {"references": [{"uri": "s3://x", "size_bytes": 1, "sha256": SHA, "path": "../x"}]},
    ],
)
def test_a_path_that_must_not_be_followed_is_told_from_a_broken_manifest(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsafePath):
        Manifest.from_json(tampered(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "poem"},
        {"type": None},
        {"created_at": "yesterday"},
        {"created_at": math.nan},
        {"created_at": "inf"},
        {"files": None},
        {"files": 5},
        {"files": [5]},
        {"files": [{"size_bytes": 1}]},
        {"files": [{"artifact_path": "x", "size_bytes": math.inf}]},
        {"files": [{"artifact_path": "x", "size_bytes": -1}]},
        {"metadata": None},
        {"metadata": "x"},
        {"metadata": {"a": {"$float": "huge"}}},
        {"metadata": {"a": {"$float": ["NaN"]}}},
        {"metadata": {"a": "\ud800"}},
        {"inputs": ["x"]},
        {"references": [{"uri": "", "size_bytes": 1}]},
        {"references": [{"uri": "x", "path": "y"}]},
        {"digest": None},
        {"digest": SHA},
        {"description": "rewritten"},
        {"files": []},
    ],
)
def test_a_manifest_that_was_changed_is_an_integrity_error(changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        Manifest.from_json(tampered(**changes))


def test_the_reference_of_a_large_object_cannot_be_pointed_at_other_content() -> None:
    plain = manifest(references=(ArtifactReference("x:y", 2, None, SHA, path="objects/conf.json"),)).to_dict()
    plain["references"][0]["sha256"] = OTHER_SHA
    with pytest.raises(IntegrityError, match="one content as an entry and another as a reference"):
        Manifest.from_dict(plain)


def test_a_key_that_somebody_else_has_added_is_found_out() -> None:
    with pytest.raises(IntegrityError, match="was changed"):
        Manifest.from_json(tampered(colour="red"))


@given(st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_rubbish_in_any_field_is_one_of_two_errors(rubbish: Any) -> None:
    for key in ("name", "type", "created_at", "metadata", "files", "objects", "models", "references", "inputs"):
        try:
            back = Manifest.from_dict(manifest().to_dict() | {key: rubbish})
        except (UnsafePath, IntegrityError):
            continue
        assert back.digest == manifest().digest or key == "name"


# -- metadata


class Colour(str, enum.Enum):  # noqa: UP042 - this is what users have
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@given(st.dictionaries(STORABLE_KEYS, STORABLE))
def test_plain_metadata_stays_as_it_is_and_survives_json(value: Any) -> None:
    plain = plain_metadata(value)
    assert plain == value
    assert Manifest.from_json(manifest(metadata=plain).to_json()).metadata == value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2,)), [1, [2]]),
        (Path("a/b"), "a/b"),
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3), 3),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ({np.str_("k"): 1}, {"k": 1}),
    ],
)
def test_what_means_plain_data_becomes_plain_data(value: Any, plain: Any) -> None:
    made = plain_metadata({"x": value})["x"]
    assert made == plain
    assert type(made) is type(plain)
    if isinstance(made, dict):
        assert {type(key) for key in made} == {str}


def _circle() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["self"] = [circle]
    return circle


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"x", r"metadata\['x'\] is a bytes, which has no plain form"),
        (1j, "is a complex"),
        (np.longdouble(1), "which Python has no number for"),
        ({1: "a"}, "has the key 1: keys are text"),
        ({None: "a"}, "has the key None"),
        ({"$float": "NaN"}, "choose another"),
        ({"\ud800": 1}, "not valid Unicode"),
        (["\ud800"], r"metadata\['x'\]\[0\] is not valid Unicode"),
        (Path("\udcff"), "not valid Unicode"),
        (10**4001, "more than 4000 digits"),
        (_circle(), "holds itself"),
        (2**63, r"metadata\['x'\] is a whole number of more than 64 bits, .* give it as text"),
        ([np.uint64(2**64 - 1)], r"metadata\['x'\]\[0\] is a whole number of more than 64 bits"),
        (np.array([-(2**63) - 1], dtype=object), r"\[0\] is a whole number of more than 64 bits"),
        ({"a": ["b\0c"]}, r"metadata\['x'\]\['a'\]\[0\] has a NUL character, .* take it out"),
        ({"a\0b": 1}, "has the key .* has a NUL character"),
        (Path("a\0b"), "has a NUL character"),
    ],
)
def test_what_cannot_be_given_back_or_stored_by_a_tracker_is_refused_with_its_place(value: Any, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        plain_metadata({"x": value})


def test_what_an_earlier_release_stored_of_such_things_is_still_read() -> None:
    document = manifest(description="a\0b", metadata={"large": 10**4000 - 1, "nul": "a\0b", "k\0": 1}).to_json()
    assert Manifest.from_json(document).metadata["large"] == 10**4000 - 1
    assert Manifest.from_json(document).to_json() == document


def test_the_largest_number_and_the_deepest_nesting_that_are_taken_survive() -> None:
    deep: Any = -(2**63)
    for _ in range(60):
        deep = {"d": [deep]} if isinstance(deep, int) else {"d": deep}
    assert Manifest.from_json(manifest(metadata=plain_metadata(deep)).to_json()).metadata == deep


# -- the converter


def test_paths_pass_the_converter_as_text() -> None:
    assert converter().unstructure(Path("/a/b")) == "/a/b"
    assert converter().structure("/a/b", Path) == Path("/a/b")


# -- whatever comes


def test_an_artifact_has_a_bounded_number_of_entries() -> None:
    many = tuple(ArtifactReference(f"s3://b/{number}") for number in range(MOST_ENTRIES + 1))
    assert len(manifest(references=many[:-2], objects=(), models=(), files=()).references) == MOST_ENTRIES - 1
    with pytest.raises(ArtifactError, match="200,000 files and other entries at most: put them into an archive"):
        manifest(references=many)
    with pytest.raises(IntegrityError, match="more than 200,000 entries"):
        Manifest.from_dict({"schema": 1, "files": [None] * (MOST_ENTRIES + 1)})


def test_a_manifest_has_a_bounded_length_written_and_read() -> None:
    with pytest.raises(
        ArtifactError, match=r"the manifest of 'net' has .* put files into an archive, or large metadata"
    ):
        manifest(metadata={"text": "x" * (MOST_BYTES // 2)}).to_json()
    with pytest.raises(ArtifactError, match="67,108,864 that are the most"):
        # Each character is three bytes, and it is bytes that are counted where it is read.
        manifest(metadata={"text": "字" * (MOST_BYTES // 6)}).to_json()
    with pytest.raises(IntegrityError, match="134,217,728 are the most that are read"):
        Manifest.from_json(b" " * (MOST_BYTES + 1))


def test_metadata_is_read_as_deep_as_it_is_written() -> None:
    deep: Any = 1
    for _ in range(63):
        deep = [deep]
    own = manifest(metadata={"deep": deep})
    assert Manifest.from_json(own.to_json()) == own
    for _ in range(100):
        deep = [deep]
    with pytest.raises(IntegrityError, match="nested more than 128 levels deep"):
        Manifest.from_json(manifest(metadata={"deep": deep}).to_json())


def test_what_is_stored_is_sealed() -> None:
    for changes in ({"files": (ArtifactFile("a", 1),)}, {"objects": (ArtifactObject("o", "json"),)}):
        with pytest.raises(IntegrityError, match="has no path, size or sha256"):
            Manifest.from_json(manifest(**changes).to_json())


def test_the_time_that_deep_paths_take_does_not_grow_with_their_depth() -> None:
    def seconds(path: str) -> float:
        files = tuple(ArtifactFile(path.format(number), 1, SHA) for number in range(2000))
        text = manifest(files=files).to_json()
        began = time.process_time()
        Manifest.from_json(text)
        return time.process_time() - began

    assert seconds("{}/" + "a/" * 500 + "x") < 30 * seconds("{}-" + "/".join(["a" * 240] * 4)) + 0.5


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [10**19, 10**400, -1, 1e300, -0.0, "", "../x", "a/b", "latest", "\x00", [], {}, [[]], {"$float": "x"}]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in JSON data: what holds it, and its key there."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def read_or_refused(text: str | bytes) -> None:
    try:
        found = Manifest.from_json(text)
    except (IntegrityError, UnsafePath):
        return
    assert Manifest.from_json(found.to_json()) == found
    assert found.size_bytes >= 0
    time.localtime(found.created_at)


@given(st.data())
def test_a_manifest_with_anything_anywhere_is_read_or_refused_as_it_says(data: st.DataObject) -> None:
    plain = json.loads(manifest().to_json())
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(plain)
        if not found:
            break
        holder, key = data.draw(st.sampled_from(found))
        if data.draw(st.booleans()):
            holder[key] = data.draw(JUNK)
        else:
            del holder[key]
    read_or_refused(json.dumps(plain))
    # One that bears the digest of what was made of it is refused for what it is alone.
    try:
        plain["digest"] = converter().structure(plain, Manifest).digest
    except Exception:  # noqa: BLE001 - whatever is wrong with it is for the reader to say
        return
    read_or_refused(json.dumps(plain))


@given(st.data())
def test_a_manifest_whose_bytes_were_changed_is_read_or_refused_as_it_says(data: st.DataObject) -> None:
    text = bytearray(manifest().to_json().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text[start:end] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"[" * 3000, b"9" * 5000, b"1e999"]))
        )
    read_or_refused(bytes(text))


def many_files(count: int = 5000) -> Manifest:
    """A manifest of more text than is read at once; one file has what a later release wrote."""
    files = [ArtifactFile(f"part{number % 7}/file{number:05}.bin", number, SHA) for number in range(count)]
    files[3] = attrs.evolve(
        files[3], extra={"later": {"files": [{"a": [1]}, "}"]}}, description='"],\n  },\n "files": ['
    )
    return manifest(files=tuple(files), metadata={" files": [{"files": []}], "text": "\n ],\n"})


def read(text: str) -> Manifest:
    return Manifest.read(lambda: io.BytesIO(text.encode()))


def test_a_manifest_of_many_files_is_written_in_pieces_as_if_it_were_written_at_once() -> None:
    own = many_files()
    assert "".join(own.pieces()) == own.to_json() == dumps(own.to_dict(), indent=1)
    assert max(map(len, own.pieces())) < len(own.to_json()) / 5
    assert own.digest == hashlib.sha256(dumps(identity(own.to_dict())).encode()).hexdigest()


@pytest.mark.parametrize("indent", [1, 2, None])
def test_a_manifest_of_many_files_is_read_however_it_is_written(indent: int | None) -> None:
    own = many_files()
    assert read(dumps(own.to_dict(), indent=indent)) == own


def test_a_manifest_is_read_without_its_text_and_plain_data_in_memory() -> None:
    def passing(text: bytes) -> int:
        tracemalloc.start()
        try:
            found = Manifest.read(lambda: io.BytesIO(text))
            left, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found.files
        return most - left

    few, many = (many_files(count).to_json().encode() for count in (5_000, 20_000))
    passing(few)
    # Text alone would be there twice, as bytes and as characters.
    assert passing(many) - passing(few) < len(many) - len(few)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"size_bytes": 4999\n', '"size_bytes": 5000\n'),
        (
            '\n  {\n   "artifact_path": "part0/file00000.bin"',
            '\n  null,\n  {\n   "artifact_path": "part0/file00000.bin"',
        ),
        ('"size_bytes": 4999\n', '"size_bytes": 4999,\n   "size_bytes": 4999\n'),
        (' "inputs": [', ' "files": [],\n "inputs": ['),
        ("\n }", "\n "),
    ],
    ids=[
        "a size",
        "an entry that is none",
        "a key that stands twice",
        "files that stand twice",
        "a part that is missing",
    ],
)
def test_a_manifest_of_many_files_that_was_changed_is_an_integrity_error(old: str, new: str) -> None:
    text = many_files().to_json()
    assert old in text
    changed = text.replace(old, new, 1)
    with pytest.raises(IntegrityError) as piecewise:
        read(changed)
    with pytest.raises(IntegrityError) as whole:
        Manifest.from_json(changed)
    assert str(piecewise.value) == str(whole.value)


def test_a_manifest_of_many_files_with_a_path_that_must_not_be_followed_is_unsafe() -> None:
    with pytest.raises(UnsafePath):
        read(many_files().to_json().replace("part6/file00006.bin", "../file00006.bin"))


def answer(read_it: Callable[[], Manifest]) -> Manifest | str:
    """What reading gives: the manifest, or the error in words."""
    try:
        return read_it()
    except (IntegrityError, UnsafePath, NewerFormat) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("changed", ["last comma", "no comma", "files in the metadata", "a size", "a path"])
def test_a_manifest_that_is_read_in_pieces_has_the_same_answer_as_read_at_once(changed: str) -> None:
    own = many_files()
    text = own.to_json()
    match changed:
        case "last comma":
            text = text.replace("\n  }\n ]", "\n  },\n ]")
        case "no comma":
            ends = [found.start() for found in re.finditer(r"\n  \},", text)]
            text = text[: ends[499] + 4] + text[ends[499] + 5 :]
        case "files in the metadata":
            listed = [attrs.asdict(file) for file in own.files]
            other = manifest(files=(), metadata={"files": [one["artifact_path"] for one in listed] * 3})
            whole = other.to_json()
            # As somebody might have indented it by hand.
            start = whole.index(' "metadata": {\n  "files": [')
            end = whole.index("\n  ]\n", start)
            text = (
                whole[:start]
                + whole[start:end].replace('\n  "files": [', '\n "files": [')
                + whole[end:].replace("\n  ]\n", "\n ]\n", 1)
            )
        case "a size":
            text = text.replace('"size_bytes": 77', '"size_bytes": 78', 1)
        case "a path":
            text = text.replace("part3/", "../part3/", 1)
    assert text != own.to_json()
    assert len(text) > 1 << 18
    assert answer(lambda: read(text)) == answer(lambda: Manifest.from_json(text))
