"""What the SDK and its server would do to an artifact, and do not: real client, stand-in server."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from servers import programs
from servers import wandb_user as user
from servers.wandb_lab import Lab
from tracelet import ArtifactType
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
)
from tracelet.plugin import Labels, StoredArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.samples import Samples
from tracelet_wandb import tracelet_backends

(SPEC,) = tracelet_backends()
#: Requests that are about no artifact.
_OF_RUNS = {"ServerFeaturesQuery", "UpsertBucket", "file_stream"}
SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))


#: For what may differ between a server of today and one that offers its clients nothing.
BOTH = pytest.mark.parametrize("lab", ["current", "plain"], indirect=True)


@pytest.fixture
def reading(lab: Lab, experiment: str) -> Iterator[BackendProcess]:
    made = lab.open(experiment, lab.reader)
    yield made
    made.close()


def path_of(experiment: str, name: str, version: str) -> str:
    return f"somebody/{experiment}/{name}:{version}"


def found(stored: StoredArtifact | None) -> StoredArtifact:
    assert stored is not None
    return stored


# -- what W&B's own user sees


def test_wandbs_own_user_sees_an_ordinary_artifact(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """Its type, description, metadata, aliases, files under their own names, references as references; and its run."""
    sealed = samples.seal(
        "model",
        {"model/epoch=3-step=100.ckpt": b"weights", "ünï/größe.txt": b"text"},
        type=ArtifactType.MODEL,
        description="a *model*",
        metadata={"accuracy": 0.5, "nested": {"a": [1, 2]}},
        objects={"config": {"lr": 0.1}},
        references=[("s3://bucket/data/train.tar.gz", 5_000_000_000, "the data")],
    )
    opened.put(sealed, Labels("v1.2.0", ("best",)))
    shown = lab.user.call(user.look, path_of(experiment, "model", "v1.2.0"))
    assert (shown["type"], shown["version"], shown["description"]) == ("model", "v0", "a *model*")
    assert shown["aliases"] == ["best", "latest", "v1.2.0"]
    assert {key: value for key, value in shown["metadata"].items() if key != "tracelet"} == {
        "accuracy": 0.5,
        "nested": {"a": [1, 2]},
    }
    assert shown["files"] == [
        "model/epoch=3-step=100.ckpt",
        "objects/config.json",
        "tracelet.json",
        "ünï/größe.txt",
    ]
    assert shown["references"] == {"train.tar.gz": ("s3://bucket/data/train.tar.gz", 5_000_000_000)}
    (run,) = lab.server.project(experiment)["runs"]
    assert shown["run"] == run["name"]


@BOTH
def test_the_sdks_own_download_gives_the_same_bytes(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """Somebody without Tracelet gets every file, and the manifest beside them."""
    sealed = samples.seal("model", {"a.bin": b"1" * 1000, "d/b.bin": b"2" * 1000})
    opened.put(sealed)
    got = lab.user.call(user.download, path_of(experiment, "model", "latest"), tmp_path / "native")
    assert got.pop("tracelet.json") == sealed.manifest.to_json().encode()
    assert got == {"a.bin": b"1" * 1000, "d/b.bin": b"2" * 1000}


@BOTH
def test_lineage_is_wandbs_own(lab: Lab, opened: BackendProcess, samples: Samples, experiment: str) -> None:
    """What is used is an input of the run, and what is logged is its output."""
    stored = opened.put(samples.seal("data", {"x": b"1"}))
    opened.record_input(stored)
    project = lab.server.project(experiment)
    (version,) = project["collections"]["data"]["versions"]
    (run,) = project["runs"]
    assert run["used"] == [version["id"]]
    assert version["run"] == run["name"]


def test_the_use_of_a_version_that_is_gone_is_not_tried_for_ever(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str
) -> None:
    """W&B refuses the use of what is not committed, or not any more."""
    stored = opened.put(samples.seal("data", {"x": b"1"}))
    lab.server.set_states(experiment, version=("data", 0, "DELETED"))
    with pytest.raises(ArtifactNotFound, match="gone"):
        opened.record_input(stored)


# -- names and aliases


def test_an_alias_that_looks_like_a_version_fools_nobody(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """Somebody gives v0 the alias ``v7``: the SDK then calls it v7, and it still is v0; there is no v7."""
    opened.put(samples.seal("model", {"x": b"0"}))
    opened.put(samples.seal("model", {"x": b"1"}))
    lab.user.call(user.edit, path_of(experiment, "model", "v0"), aliases=("v7",))
    assert lab.user.call(user.look, path_of(experiment, "model", "v0"))["version"] == "v7"
    assert found(reading.find("model", "v0")).number == 0
    assert reading.find("model", "v7") is None
    assert sorted(one.number for one in reading.list()) == [0, 1]
    assert all(not one.aliases for one in reading.list())


@BOTH
def test_a_version_like_alias_does_not_hide_the_true_version(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """The alias ``v1`` is on v0 and there is a v1: a look for v1 finds v1, and its bytes."""
    opened.put(samples.seal("model", {"x": b"0"}))
    lab.user.call(user.edit, path_of(experiment, "model", "v0"), aliases=("v1",))
    opened.put(samples.seal("model", {"x": b"1"}))
    one = found(reading.find("model", "v1"))
    assert one.number == 1
    assert reading.content(one, tmp_path / "got") == {"x": b"1"}


def test_code_may_have_the_names_that_wandb_keeps_for_its_own(
    opened: BackendProcess, reading: BackendProcess, samples: Samples
) -> None:
    """The SDK refuses the type ``code`` with a name that begins with ``source-``."""
    opened.put(samples.seal("source-main", {"train.py": b"pass"}, type=ArtifactType.CODE))
    opened.put(samples.seal("main", {"train.py": b"pass"}, type=ArtifactType.CODE))
    listed = reading.list(type=ArtifactType.CODE)
    assert sorted(one.manifest.name for one in listed) == ["main", "source-main"]
    assert reading.list("source-main", ArtifactType.CODE)[0].manifest.type is ArtifactType.CODE


@BOTH
def test_a_name_that_wandb_has_with_another_type_is_refused(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str
) -> None:
    """Somebody has a collection of that name already: the error says so, and it is not tried again."""
    lab.user.call(user.log_natively, experiment, "results", "their-type", b"1")
    with pytest.raises(ArtifactError, match="Choose another name"):
        opened.put(samples.seal("results", {"x": b"1"}))


@BOTH
def test_names_that_the_server_takes_for_one_are_refused(lab: Lab, samples: Samples, experiment: str) -> None:
    """On a server that does not tell cases apart, ``model`` and ``MODEL`` would share their versions."""
    lab.server.fault(folds_case=True)
    try:
        opened = lab.open(experiment)
        opened.put(samples.seal("model", {"x": b"1"}))
        with pytest.raises(ArtifactError, match="choose another name"):
            opened.deliver(samples.seal("MODEL", {"x": b"2"}))
        other = lab.open(experiment.upper())
        with pytest.raises((ArtifactError, BackendError), match="does not tell"):
            other.put(samples.seal("other", {"x": b"2"}))
        opened.close()
        other.close()
    finally:
        lab.server.fault()


@BOTH
def test_what_somebody_logs_without_tracelet_is_not_ours(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """It has no manifest; it takes ``latest`` in W&B, and the newest of ours is still found."""
    put = opened.put(samples.seal("model", {"x": b"1"}, type=ArtifactType.MODEL))
    assert lab.user.call(user.log_natively, experiment, "model", "model", b"theirs", ["theirs"]) == "v1"
    lab.user.call(user.log_natively, experiment, "other", "their-type", b"theirs")
    assert [one.number for one in reading.list()] == [0]
    assert found(reading.find("model")).manifest == put.manifest
    assert reading.find("model", "v1") is None
    assert reading.find("model", "theirs") is None
    assert found(reading.find("model", f"put:{put.manifest.put_id}")).number == 0
    assert opened.put(samples.seal("model", {"x": b"2"}, type=ArtifactType.MODEL)).number == 2


@BOTH
def test_content_that_some_older_version_has_is_a_version_of_its_own(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str
) -> None:
    """W&B gives its own users the version that has the same content already; a put is found by its own one."""
    contents = (b"1", b"2", b"1")
    native = [lab.user.call(user.log_natively, experiment, "theirs", "model", content) for content in contents]
    assert native == ["v0", "v1", "v0"]
    assert [opened.put(samples.seal("ours", {"x": content})).number for content in contents] == [0, 1, 2]


@BOTH
def test_the_newest_that_is_left_is_found_where_the_newest_was_deleted(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples
) -> None:
    """W&B's own ``latest`` may be gone with it, and every way of finding still finds."""
    first, second = samples.seal("model", {"x": b"1"}), samples.seal("model", {"x": b"2"})
    opened.put(first, Labels("1.0", ("best",)))
    opened.delete(opened.put(second))
    digest, put_id = first.manifest.digest, first.manifest.put_id
    for ref in ("latest", "v0", "1.0", "best", f"sha256:{digest}", f"sha256:{digest[:8]}", f"put:{put_id}"):
        assert found(reading.find("model", ref)).number == 0, ref
    assert reading.find("model", f"put:{second.manifest.put_id}") is None
    assert opened.put(samples.seal("model", {"x": b"3"})).number == 2
    assert found(reading.find("model")).number == 2


def test_what_somebody_logs_with_another_digest_hinders_nothing(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """A server of today takes digests by XXH128, and a collection may have both."""
    put = opened.put(samples.seal("model", {"x": b"1"}, type=ArtifactType.MODEL))
    assert lab.user.call(user.log_natively, experiment, "model", "model", b"theirs", [], "XXH128") == "v1"
    got = lab.user.call(user.download, path_of(experiment, "model", "v1"), tmp_path / "native")
    assert got == {"native.bin": b"theirs"}
    assert [one.number for one in reading.list()] == [0]
    assert reading.content(found(reading.find("model")), tmp_path / "got") == {"x": b"1"}
    assert found(reading.find("model", f"put:{put.manifest.put_id}")).number == 0
    assert opened.put(samples.seal("model", {"x": b"2"}, type=ArtifactType.MODEL)).number == 2


# -- metadata


def test_metadata_beyond_wandbs_limits_is_kept_in_the_manifest(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """W&B takes 100 keys, and no infinities; it shows what it can."""
    metadata = {
        "nan": float("nan"),
        "inf": [float("inf"), -float("inf")],
        "big": 2**63 - 1,
        "tracelet": "mine",
        "long": "x" * 10_000,
        **{f"key-{number:03}": number for number in range(150)},
    }
    sealed = samples.seal("model", metadata=metadata)
    opened.put(sealed)
    assert found(reading.find("model")).manifest.to_json() == sealed.manifest.to_json()
    shown = lab.user.call(user.look, path_of(experiment, "model", "v0"))["metadata"]
    assert len(shown) == 100
    assert (shown["nan"], shown["inf"], shown["big"]) == ("NaN", ["Infinity", "-Infinity"], 2**63 - 1)
    assert shown["tracelet"]["keys_not_shown"] == len(metadata) - 99
    assert len(shown["long"]) < 10_000


@BOTH
def test_a_version_whose_metadata_somebody_replaced_is_still_found(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """The note among the metadata is gone: the manifest's own file in the artifact tells all."""
    put = opened.put(samples.seal("model", {"x": b"1"}), Labels(None, ("best",)))
    lab.user.call(user.edit, path_of(experiment, "model", "v0"), metadata={"theirs": 1})
    digest, put_id = put.manifest.digest, put.manifest.put_id
    for ref in ("latest", "v0", "best", f"sha256:{digest}", f"sha256:{digest[:8]}", f"put:{put_id}"):
        assert found(reading.find("model", ref)).manifest == put.manifest
    assert reading.content(found(reading.find("model")), tmp_path / "got") == {"x": b"1"}
    assert opened.deliver(samples.seal("model", {"x": b"1"}), Labels("1.0")).stored.label == "1.0"
    assert found(reading.find("model", "1.0")).label == "1.0"


def test_a_note_that_describes_another_artifact_is_not_believed(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """Somebody puts another manifest, sound in itself, into the metadata: its bytes are not handed out."""
    opened.put(samples.seal("model", {"x": b"1", "y": b"2"}))
    other = samples.seal("model", {"x": b"1"})
    note = {"digest": other.manifest.digest, "put_id": other.manifest.put_id, "manifest": other.manifest.to_json()}
    lab.user.call(user.edit, path_of(experiment, "model", "v0"), metadata={"tracelet": note})
    with pytest.raises(IntegrityError, match="edited"):
        reading.content(found(reading.find("model")), tmp_path / "got")


# -- finding without a walk


@pytest.mark.parametrize("filters", ["applied", "ignored", "refused", "without $regex"])
def test_every_version_is_found_whatever_the_server_makes_of_filters(
    lab: Lab, samples: Samples, experiment: str, filters: str
) -> None:
    """W&B's filters are not documented for projects: where they do not work every version is looked at."""
    lab.server.fault(filters=filters)
    try:
        opened = lab.open(experiment)
        sealed = [samples.seal("model", {"x": f"{number}".encode()}) for number in range(4)]
        for number, one in enumerate(sealed):
            opened.put(one, Labels(f"1.{number}"))
        for number, one in enumerate(sealed):
            for ref in (f"put:{one.manifest.put_id}", f"sha256:{one.manifest.digest[:10]}"):
                assert found(opened.find("model", ref)).number == number
        assert opened.find("model", "put:0123") is None
        assert opened.find("model", f"sha256:{'0' * 64}") is None
        opened.close()
    finally:
        lab.server.fault()


@BOTH
def test_finding_asks_no_more_for_many_versions_than_for_few(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples
) -> None:
    """One query for a name, two for a digest or a put; a listing asks once for a page of versions."""
    sealed = [samples.seal("model", {"x": f"{number}".encode()}) for number in range(12)]
    for number, one in enumerate(sealed):
        opened.put(one, Labels(None, ("best",) if number == 3 else ()))
    refs = {"latest": 1, "v5": 1, "best": 1, f"put:{sealed[2].manifest.put_id}": 2}
    refs |= {f"sha256:{sealed[4].manifest.digest[:9]}": 2, "sha256:000000": 2, "absent": 1}
    for ref, most in refs.items():
        before = len(lab.server.look()["log"])
        reading.find("model", ref)
        # The writer's run tells of itself from time to time.
        asked = [name for name in lab.server.look()["log"][before:] if name not in _OF_RUNS]
        assert len(asked) <= most, (ref, asked)
    before = len(lab.server.look()["log"])
    assert len(reading.list()) == 12
    assert len([name for name in lab.server.look()["log"][before:] if name not in _OF_RUNS]) <= 4


# -- refusals


@pytest.mark.parametrize("status", [400, 402, 413])
def test_what_the_server_will_never_take_is_final_and_told_in_its_words(
    lab: Lab, opened: BackendProcess, samples: Samples, status: int
) -> None:
    """As it is, until somebody pays, or for its length: no later attempt helps."""
    lab.server.fault("CreateArtifact", f"refusal:{status}:storage limit of the team exceeded")
    try:
        with pytest.raises(BackendError, match=r"refuses this: storage limit of the team exceeded$") as told:
            opened.put(samples.seal("model", {"x": b"1"}))
    finally:
        lab.server.fault()
    assert not told.value.retryable


@pytest.mark.parametrize("operation", ["CreateArtifact", "CreateArtifactFiles", "CommitArtifact", "DeleteArtifact"])
def test_a_server_that_may_not_is_a_matter_of_credentials_whatever_words_it_has(
    lab: Lab, opened: BackendProcess, samples: Samples, operation: str
) -> None:
    stored, more = opened.put(samples.seal("model", {"x": b"1"})), samples.seal("model", {"x": b"2"})
    lab.server.fault(operation, "refusal:403:no")
    try:
        with pytest.raises(BackendAuthError, match="WANDB_API_KEY"):
            opened.delete(stored) if operation == "DeleteArtifact" else opened.put(more)
    finally:
        lab.server.fault()


@pytest.mark.parametrize(
    ("operation", "refusal"),
    list(
        product(
            ("CreateArtifactManifest", "CreateArtifactFiles", "CommitArtifact"),
            ("error:", "refusal:403:", "refusal:413:"),
        )
    ),
)
def test_a_version_that_the_server_refuses_on_the_way_leaves_nothing(
    lab: Lab,
    opened: BackendProcess,
    reading: BackendProcess,
    samples: Samples,
    experiment: str,
    operation: str,
    refusal: str,
) -> None:
    """Whatever the step and the status: nothing else finds or removes what was begun. Later it is stored once."""
    first = opened.put(samples.seal("model", {"x": b"0"}), Labels(None, ("best",)))
    sealed = samples.seal("model", {"x": uuid.uuid4().bytes})
    lab.server.fault(operation, f"{refusal}it cannot be done")
    try:
        with pytest.raises(BackendError, match="it cannot be done") as told:
            opened.put(sealed, Labels(None, ("best",)))
    finally:
        lab.server.fault()
    assert told.value.retryable
    versions = lab.server.project(experiment)["collections"]["model"]["versions"]
    assert [(one["number"], one["state"]) for one in versions] == [(0, "COMMITTED")]
    assert found(reading.find("model", "best")).number == first.number
    assert opened.deliver(sealed, Labels(None, ("best",)), again=True).stored.aliases == ("best",)


@pytest.mark.parametrize("where", ["PUT file", "PUT manifest"])
@pytest.mark.parametrize("answer", ["refusal:403:Request has expired", "refusal:400:EntityTooLarge", "drop"])
def test_a_storage_that_does_not_take_a_file_is_told_and_leaves_nothing(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, where: str, answer: str
) -> None:
    """It is no matter of the account at W&B, whose own server is up; each attempt would leave an unfinished version."""
    sealed = samples.seal("model", {"x": uuid.uuid4().bytes})
    lab.server.fault(where, answer)
    try:
        with pytest.raises(BackendUnavailable, match="the storage of W&B"):
            opened.put(sealed)
    finally:
        lab.server.fault()
    assert lab.server.project(experiment)["collections"]["model"]["versions"] == []
    assert opened.deliver(sealed, again=True).stored.number == 0


def test_a_version_that_is_committed_is_not_undone_for_what_fails_afterwards(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples
) -> None:
    """The client asks for it once more: it is there, and the next attempt finds it."""
    sealed = samples.seal("model", {"x": b"1"})
    lab.server.fault("ArtifactByID", "error:not now")
    try:
        with pytest.raises(BackendError, match="not now"):
            opened.put(sealed, Labels(None, ("best",)))
    finally:
        lab.server.fault()
    assert found(reading.find("model", "best")).number == 0
    assert opened.deliver(sealed, Labels(None, ("best",)), again=True).stored.number == 0


# -- several writers


@BOTH
def test_writers_that_bring_the_same_new_file_do_not_stand_in_each_others_way(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """W&B commits the first and refuses the others, who must begin anew: nothing that was refused is left."""
    shared = uuid.uuid4().bytes * 1000
    first, second = ({"shared": shared, "own": f"{number}".encode()} for number in range(2))
    held = samples.seal("model", first)
    before = lab.server.look()["log"].count("CommitArtifact")
    lab.server.fault("CommitArtifact", "hold", 1)
    try:
        opened.begin_put_many([(held, Labels())], time.time())
        lab.server.wait_for("CommitArtifact", before + 1)
        other = lab.open(experiment, lab.reader)
        assert other.put(samples.seal("model", second)).number == 0
    finally:
        lab.server.fault()
    (put,) = opened.driver.result()
    assert put.number == 1
    assert other.content(put, tmp_path / "got") == first
    versions = lab.server.project(experiment)["collections"]["model"]["versions"]
    assert [(one["number"], one["state"]) for one in versions] == [(0, "COMMITTED"), (1, "COMMITTED")]
    other.close()


def test_a_conflict_without_end_is_told_and_leaves_nothing(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """Others were first each time: it may be tried again later, and then it is stored once."""
    sealed = samples.seal("model", {"x": b"1"})
    lab.server.fault("CommitArtifact", "refusal:409:conflict detected for file digest abc, rebase required")
    try:
        with pytest.raises(BackendError, match="rebase required") as told:
            opened.put(sealed)
    finally:
        lab.server.fault()
    assert told.value.retryable
    assert lab.server.project(experiment)["collections"]["model"]["versions"] == []
    assert reading.list() == []
    assert opened.deliver(sealed, again=True).stored.number == 0


# -- bytes


@BOTH
def test_a_cache_that_holds_other_bytes_is_seen_through(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, tmp_path: Path
) -> None:
    """The SDK believes a file in its cache by its size alone."""
    content = uuid.uuid4().bytes * 100
    stored = opened.put(samples.seal("model", {"x": content}))
    assert reading.content(stored, tmp_path / "first") == {"x": content}
    assert lab.reader.call(user.poison_cache, content, content[::-1]) == 1
    assert reading.content(stored, tmp_path / "second") == {"x": content}


def test_files_of_one_size_are_not_taken_for_each_other(
    opened: BackendProcess, reading: BackendProcess, samples: Samples, tmp_path: Path
) -> None:
    """One ``skip_cache`` anywhere in the process would give the first file's bytes for every later one of its size."""
    files = {f"{number}.bin": f"{number:04}".encode() * 10 for number in range(20)}
    stored = opened.put(samples.seal("model", files))
    for number, (path, content) in enumerate(files.items()):
        assert reading.content(stored, tmp_path / f"{number}", [path]) == {path: content}


def test_the_sources_use_nothing_that_the_sdk_gets_wrong() -> None:
    """No skip_cache, which is never reset; no policy but mutable, which alone is checked."""
    text = "\n".join(path.read_text() for path in SOURCES)
    assert not re.search(r"skip_cache\s*=", text)
    assert set(re.findall(r"policy=\"(\w+)\"", text)) == {"mutable"}


def test_a_reference_is_recorded_whatever_is_there(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str, tmp_path: Path
) -> None:
    """Nobody looks at the place, no library for it is needed, and reading the artifact fetches nothing from it."""
    uris = [
        "file:///path/to/large/file.bin",
        "s3://my-bucket/large-dataset.tar.gz",
        "s3://another-bucket/large-dataset.tar.gz",
        "s3://bucket/folder/",
        "s3://bucket/tracelet.json",
        "s3://bucket/a",
        "gs://bucket/x",
        "hdfs://host/x#part?1",
        "http://127.0.0.1:9/x.zip",
        "https://host/a%2Fb/..",
        "custom:thing",
    ]
    began = time.monotonic()
    put = opened.put(samples.seal("data", {"a": b"1", "folder/b": b"2"}, references=[(uri, 12, "far") for uri in uris]))
    assert programs.soon(time.monotonic() - began, 10)
    one = found(reading.find("data"))
    assert one.manifest.references == put.manifest.references
    assert reading.content(one, tmp_path / "got") == {"a": b"1", "folder/b": b"2"}
    shown = lab.user.call(user.look, path_of(experiment, "data", "v0"))
    assert sorted(target for target, _ in shown["references"].values()) == sorted(uris)
    assert shown["files"] == ["a", "folder/b", "tracelet.json"]


def test_nothing_stays_in_the_sdks_staging(lab: Lab, opened: BackendProcess, samples: Samples) -> None:
    """Neither after an upload, nor after one that the server refused, nor where a file had changed."""
    opened.put(samples.seal("model", {"x": b"1" * 1000}))
    lab.server.fault("CreateArtifact", "error:no room")
    try:
        with pytest.raises(BackendError, match="no room"):
            opened.put(samples.seal("model", {"x": b"2" * 1000}))
    finally:
        lab.server.fault()
    changed = samples.seal("model", {"x": b"3" * 1000})
    changed.sources["x"].write_bytes(b"4" * 1000)
    with pytest.raises(IntegrityError):
        opened.put(changed)
    assert lab.writer.call(user.staged) == []


def test_what_a_killed_upload_left_in_staging_is_removed(lab: Lab, samples: Samples, experiment: str) -> None:
    """Else every attempt that is ended by its deadline would leave one more copy of the bytes."""
    directory = lab.folder / uuid.uuid4().hex
    environ = lab.server.environ(lab.folder / "home-victim")
    lab.server.fault("PUT file", "hang")
    try:
        victim = Driver(lab.folder / "victim", environ, SPEC.environ, mortal=True)
        made = BackendProcess(victim, uuid.uuid4().hex, "wandb", experiment, directory)
        made.begin_put_and_die(samples.seal("model", {"x": b"1" * 1000}), Path("never touched"))
        assert victim.died(8)
    finally:
        lab.server.fault()
    later = Driver(lab.folder / "victim", environ, SPEC.environ)
    assert later.call(user.staged) != []
    opened = BackendProcess(later, uuid.uuid4().hex, "wandb", experiment, directory)
    opened.start()
    assert later.call(user.staged) == []
    assert opened.list() == []
    opened.close()
    later.close()


def test_bytes_that_are_gone_from_the_server_are_said_to_be(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, tmp_path: Path
) -> None:
    """The version is there and a file of it is not: that is no empty file, and nothing to wait for."""
    stored = opened.put(samples.seal("model", {"x": uuid.uuid4().bytes}))
    lab.server.fault("GET file", "status:404")
    try:
        with pytest.raises(ArtifactNotFound, match="gone"):
            reading.content(stored, tmp_path / "got")
    finally:
        lab.server.fault()


# -- what the server has besides


@BOTH
def test_a_version_that_somebody_linked_to_a_portfolio_is_there_once(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """The portfolio is a collection of links: neither is its name one of ours, nor are its aliases."""
    put = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0", ("best",)))
    opened.put(samples.seal("model", {"x": b"2"}))
    lab.user.call(user.link, path_of(experiment, "model", "1.0"), f"somebody/{experiment}/chosen", ["theirs"])
    assert lab.server.project(experiment)["collections"]["chosen"]["portfolio"] is True
    listed = sorted(reading.list(), key=lambda one: one.number)
    assert [(one.manifest.name, one.number, one.label, one.aliases) for one in listed] == [
        ("model", 0, "1.0", ("best",)),
        ("model", 1, None, ()),
    ]
    assert reading.list("chosen") == []
    for ref in ("latest", "v0", "theirs", f"put:{put.manifest.put_id}"):
        assert reading.find("chosen", ref) is None
    assert found(reading.find("model", "1.0")).number == 0
    assert reading.find("model", "theirs") is None


@BOTH
def test_a_version_that_was_deleted_and_is_still_found_is_not_given_as_stored(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, experiment: str
) -> None:
    """The server still finds it by its number and its aliases; the same content is stored anew."""
    first = opened.put(samples.seal("model", {"x": b"1"}))
    sealed = samples.seal("model", {"x": b"2"})
    opened.put(sealed, Labels(None, ("best",)))
    lab.server.set_states(experiment, version=("model", 1, "DELETED"))
    assert lab.user.call(user.state_of, path_of(experiment, "model", "v1")) == "DELETED"
    for ref in ("v1", "best", f"put:{sealed.manifest.put_id}", f"sha256:{sealed.manifest.digest}"):
        assert reading.find("model", ref) is None, ref
    assert found(reading.find("model")).manifest == first.manifest
    assert [one.number for one in reading.list()] == [0]
    again = opened.deliver(samples.seal("model", {"x": b"2"}))
    assert (again.created, again.stored.number) == (True, 2)


def test_an_owner_that_is_written_in_another_case_costs_no_names(lab: Lab, samples: Samples, experiment: str) -> None:
    """The server takes it in any case; the SDK keeps those aliases alone that have it in the case that was asked for."""
    environ = {**lab.server.environ(lab.folder / "home-case"), "WANDB_ENTITY": "A-Team"}
    driver = Driver(lab.folder / f"case-{experiment}", environ, SPEC.environ)
    opened = lab.open(experiment, driver)
    stored = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0", ("best",)))
    assert stored.uri == f"wandb://a-team/{experiment}/model:v0"
    assert [(one.label, one.aliases) for one in opened.list()] == [("1.0", ("best",))]
    one = found(opened.find("model", f"put:{stored.manifest.put_id}"))
    assert (one.label, one.aliases) == ("1.0", ("best",))
    opened.close()
    driver.close()
    assert lab.server.project(experiment)["entity"] == "a-team"


# -- connections that break


@pytest.mark.parametrize(
    ("where", "fault"),
    list(product(("CreateArtifact", "CommitArtifact", "PUT file", "PUT manifest"), ("cut", "drop"))),
)
def test_a_connection_that_breaks_loses_nothing_and_stores_nothing_twice(
    lab: Lab, opened: BackendProcess, reading: BackendProcess, samples: Samples, tmp_path: Path, where: str, fault: str
) -> None:
    """Before a request is carried out, or in the middle of an answer or of an upload; once, or for a while."""
    content = {"x": uuid.uuid4().bytes * 5000}
    once = samples.seal("once", content)
    lab.server.fault(where, fault, 1)
    try:
        # The SDK tries some of them again by itself; for the others core does.
        try:
            assert opened.put(once).number == 0
        except BackendUnavailable:
            assert opened.deliver(once, again=True).stored.number == 0
    finally:
        lab.server.fault()
    content = {"x": uuid.uuid4().bytes * 5000}
    sealed = samples.seal("while", content)
    other = lab.open(opened.experiment)
    lab.server.fault(where, fault)
    try:
        with pytest.raises(BackendUnavailable):
            other.put(sealed)
    finally:
        lab.server.fault()
    assert other.deliver(sealed, again=True).created
    other.close()
    assert sorted((one.manifest.name, one.number) for one in reading.list()) == [("once", 0), ("while", 0)]
    assert reading.content(found(reading.find("while")), tmp_path / "got") == content


@pytest.mark.parametrize("where", ["ArtifactMembershipByName", "FetchArtifactManifest", "GET file", "GET storage"])
def test_a_connection_that_breaks_while_reading_gives_the_whole_file_or_an_error(
    lab: Lab, opened: BackendProcess, samples: Samples, tmp_path: Path, where: str
) -> None:
    """Half an answer is neither an absent version nor a short file."""
    content = {"x": uuid.uuid4().bytes * 5000}
    stored = opened.put(samples.seal("model", content))
    driver = Driver(tmp_path / "fresh", lab.server.environ(tmp_path / "home"), SPEC.environ)
    fresh = lab.open(opened.experiment, driver)
    lab.server.fault(where, "cut")
    try:
        with contextlib.suppress(BackendError):
            assert fresh.content(found(fresh.find("model")), tmp_path / "during") == content
    finally:
        lab.server.fault()
    assert fresh.content(found(fresh.find("model")), tmp_path / "after") == content
    assert stored.number == 0
    fresh.close()
    driver.close()
