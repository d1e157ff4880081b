"""A deleted version's bytes are free at once, and no other version loses any: whoever stores meanwhile, and wherever it is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from commanding import begin_program
from making import settle, write
from watching import FORKS, ended_at, steps

from tracelet.builtin.local import LocalBackend
from tracelet.core.storage.blob_store import blob_key
from tracelet.core.system.files import stamp
from tracelet.exceptions import IntegrityError
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
    FileChanged,
    FolderBackend,
    Labels,
    Manifest,
    SealedArtifact,
    StoredArtifact,
)

ALWAYS = 1e12


def local(root: Path, experiment: str = "trials") -> LocalBackend:
    return LocalBackend(root, experiment)


def opened(kind: type[FolderBackend], root: Path) -> FolderBackend:
    return local(root) if kind is LocalBackend else FolderBackend(root.as_uri(), root, "trials")


def put(root: Path, name: str, *texts: str, experiment: str = "trials", **labels: str) -> StoredArtifact:
    """Store files with these texts as a version of a name."""
    return local(root, experiment).put(seal(name, *texts), Labels(**labels))


def seal(name: str, *texts: str) -> SealedArtifact:
    sources = {text: write(Path(tempfile.mkdtemp(dir=os.getcwd()), text), text) for text in texts}
    stamps = {text: stamp(path.stat()) for text, path in sources.items()}
    files = tuple(ArtifactFile(text, len(text), hashlib.sha256(text.encode()).hexdigest()) for text in texts)
    return SealedArtifact(Manifest(name, ArtifactType.CONFIG, uuid.uuid4().hex, 1.0, files=files), sources, stamps)


def texts_of(root: Path, stored: StoredArtifact) -> list[str]:
    """What another process reads of a version."""
    dest = Path(tempfile.mkdtemp(dir=os.getcwd()))
    local(root).fetch(stored, [file.artifact_path for file in stored.manifest.payload], dest)
    return sorted(path.read_text() for path in dest.iterdir())


def blobs(root: Path) -> set[str]:
    """The texts of all blobs that are there; a blob that was taken aside counts as what it is."""
    return {path.read_text() for path in (root / "blobs").rglob("*") if path.is_file()}


def blob_of(root: Path, text: str) -> Path:
    return root / "blobs" / blob_key(hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def root(home: Path) -> Path:
    return home / "local"


def test_bytes_that_nothing_else_needs_are_free_at_once(root: Path) -> None:
    gone, kept = put(root, "net", "mine", "shared"), put(root, "net", "shared")
    assert local(root).delete(gone) == len("mine")
    assert blobs(root) == {"shared"}
    assert texts_of(root, kept) == ["shared"]
    assert local(root).delete(kept) == len("shared")
    assert blobs(root) == set()


def test_what_a_version_of_another_experiment_needs_stays(root: Path) -> None:
    gone = put(root, "net", "shared")
    put(root, "data", "shared", experiment="others")
    assert local(root).delete(gone) == 0
    assert blobs(root) == {"shared"}


def test_many_are_deleted_with_one_look_at_what_is_needed(root: Path) -> None:
    every = [put(root, "net", f"text {number}", "shared") for number in range(6)]
    steps.opened.clear()
    assert [*local(root).delete_many(every[:5])] == [len("text 0")] * 5
    assert len([path for path in steps.opened if path.endswith("versions/net/v5.json")]) == 1
    assert blobs(root) == {"text 5", "shared"}


def test_what_many_have_shared_becomes_free_with_the_last_of_them(root: Path) -> None:
    every = [put(root, "net", f"text {number}", "shared") for number in range(3)]
    assert [*local(root).delete_many([every[2], every[0], every[1]])] == [6, 6, 6 + len("shared")]


def test_what_went_before_a_version_that_cannot_be_deleted_is_free(root: Path) -> None:
    gone, stays = put(root, "net", "mine"), put(root, "data", "other")
    (root / "trials" / "aliases").mkdir()
    (root / "trials" / "aliases" / "data").symlink_to(root.parent)
    freed = local(root).delete_many([gone, stays])
    assert next(freed) == len("mine")
    with pytest.raises(IntegrityError, match="aliases/data"):
        next(freed)
    assert blobs(root) == {"other"}


def test_deleting_again_frees_nothing_and_is_no_error(root: Path) -> None:
    gone = put(root, "net", "mine")
    assert [local(root).delete(gone), local(root).delete(gone)] == [len("mine"), 0]


def test_what_has_another_name_in_the_tracelet_directory_frees_nothing_yet(root: Path) -> None:
    gone = put(root, "net", "large")
    os.link(blob_of(root, "large"), root / "elsewhere")
    assert local(root).delete(gone) == 0
    assert not blob_of(root, "large").exists()


def test_where_a_manifest_cannot_be_read_nothing_goes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = put(root, "net", "mine")
    put(root, "net", "other")
    write(root / "trials" / "versions" / "net" / "v1.json", "")
    assert local(root).delete(gone) == 0
    assert blobs(root) == {"mine", "other"}
    assert "bytes are kept that may be garbage" in caplog.text


def test_what_is_no_file_in_a_blobs_place_is_left_alone(root: Path) -> None:
    gone = put(root, "net", "mine")
    blob_of(root, "mine").unlink()
    blob_of(root, "mine").symlink_to(write(root.parent / "elsewhere"))
    assert local(root).delete(gone) == 0
    assert (root.parent / "elsewhere").exists()


# -- others store meanwhile


def test_a_put_at_any_step_of_a_deletion_loses_nothing(root: Path) -> None:
    step, acted = 0, True
    while acted:
        step += 1
        gone = put(root, "net", "shared", "mine")
        made: list[StoredArtifact] = []

        def meanwhile(made: list[StoredArtifact] = made) -> None:
            made.append(put(root, "data", "shared"))
            assert texts_of(root, made[0]) == ["shared"]

        acted = steps.at(step, meanwhile, lambda gone=gone: local(root).delete(gone))  # type: ignore[misc]
        for stored in made:
            assert texts_of(root, stored) == ["shared"]
            assert local(root).delete(stored) == len("shared")
        assert blobs(root) == set()
    assert step > 10


@pytest.mark.parametrize("began", ["before", "meanwhile"])
@pytest.mark.parametrize("kind", [LocalBackend, FolderBackend])
def test_a_deletion_at_any_step_of_a_put_loses_nothing(root: Path, kind: type[FolderBackend], began: str) -> None:
    step, acted = 0, True
    while acted:
        step += 1
        gone, sealed = put(root, "net", "shared", "mine"), seal("data", "shared")

        def meanwhile(gone: StoredArtifact = gone) -> None:
            local(root).delete(gone)
            if began == "meanwhile":
                local(root).delete(put(root, "net", "shared"))

        made: list[StoredArtifact] = []
        store = partial(opened(kind, root).put, sealed, Labels())
        acted = steps.at(step, meanwhile, lambda made=made, store=store: made.append(store()))  # type: ignore[misc]
        local(root).delete(gone)
        assert texts_of(root, made[0]) == ["shared"]
        local(root).delete(made[0])
        assert blobs(root) == set()
    assert step > 10


def test_a_deletion_at_any_step_of_another_frees_each_byte_once(root: Path) -> None:
    step, acted = 0, True
    while acted:
        step += 1
        one, other = put(root, "net", "shared", "one"), put(root, "data", "shared", "other")
        freed: list[int | None] = []
        acted = steps.at(
            step,
            lambda other=other, freed=freed: freed.append(local(root).delete(other)),  # type: ignore[misc]
            lambda one=one, freed=freed: freed.append(local(root).delete(one)),  # type: ignore[misc]
        )
        freed.append(local(root).delete(other))
        assert sum(filter(None, freed)) == len("shared" + "one" + "other")
        assert blobs(root) == set()


def test_a_put_whose_bytes_are_gone_for_good_leaves_no_version(root: Path) -> None:
    """Its blob went before its manifest was there, and its file changed after that."""
    told: list[SealedArtifact] = []
    step, acted = 0, True
    while acted:
        step += 1
        gone, sealed = put(root, "net", "shared"), seal(f"data-{step}", "shared")

        def meanwhile(gone: StoredArtifact = gone, sealed: SealedArtifact = sealed) -> None:
            local(root).delete(gone)
            sealed.sources["shared"].write_text("changed")

        def store(sealed: SealedArtifact = sealed) -> None:
            try:
                texts_of(root, local(root).put(sealed, Labels()))
            except FileChanged:
                told.append(sealed)
                assert local(root).find(sealed.manifest.name, f"put:{sealed.manifest.put_id}") is None

        acted = steps.at(step, meanwhile, store)
        for stored in [*local(root).list(name=None, type=None)]:
            local(root).delete(stored)
    assert len(told) > 3


def test_two_processes_that_store_and_delete_the_same_content_lose_nothing(root: Path) -> None:
    storing = begin_program(
        """
        exp = experiment("local").start()
        print("ready", flush=True)
        for number in range(40):
            logged = exp.log_artifact(artifact(f"mine-{number}", f"text {number % 2}"))
            assert exp.get_artifact(f"mine-{number}").open(f"mine-{number}.txt").read() == f"text {number % 2}".encode()
        exp.stop()
        print("done", flush=True)
        """
    )
    place = root.parent / ".tracelet" / "local"
    while storing.poll() is None:
        for text in ("text 0", "text 1"):
            local(place).delete(put(place, "theirs", text))
    out, err = storing.communicate()
    assert (out, storing.returncode) == ("done\n", 0), err
    for stored in local(place).list(name=None, type=None):
        assert texts_of(place, stored)[0].startswith("text ")
    assert blobs(place) == {"text 0", "text 1"}


# -- killed


@FORKS
def test_a_deletion_that_is_killed_at_any_step_takes_nothing_that_is_needed_and_gc_takes_the_rest(root: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        gone, kept = put(root, "net", "mine", "shared"), put(root, "data", "shared")
        killed = ended_at(step, signal.SIGKILL, lambda gone=gone: local(root).delete(gone))  # type: ignore[misc]
        assert texts_of(root, kept) == ["shared"]
        is_left = local(root).find("net", f"v{gone.number}")
        if is_left is not None:
            assert texts_of(root, is_left) == ["mine", "shared"]
        again = put(root, "data", "mine")
        assert texts_of(root, again) == ["mine"]
        list(local(root).collect(ALWAYS))
        assert texts_of(root, again) == ["mine"]
        for stored in (gone, kept, again):
            local(root).delete(stored)
        list(local(root).collect(ALWAYS))
        assert [path for path in (root / "blobs").rglob("*") if path.is_file()] == []
    assert step > 10


@FORKS
def test_a_version_is_there_with_all_its_bytes_or_not_at_all_where_its_put_is_killed_after_a_deletion(
    root: Path,
) -> None:
    """Its blob goes at any step, and it is killed as soon as its manifest is there."""
    step, acted = 0, 1
    while acted:
        step += 1
        gone, sealed = put(root, "net", "shared"), seal(f"data-{step}", "shared")
        manifest = root / "trials" / "versions" / sealed.manifest.name / "v0.json"
        mark = root.parent / f"acted-{step}"

        def die_when_it_is_there(manifest: Path = manifest) -> None:
            if manifest.exists():
                os.kill(os.getpid(), signal.SIGKILL)
            steps.next(die_when_it_is_there)

        def meanwhile(
            gone: StoredArtifact = gone, mark: Path = mark, then: Callable[[], None] = die_when_it_is_there
        ) -> None:
            mark.touch()
            local(root).delete(gone)
            steps.next(then)

        child = os.fork()
        if child == 0:
            try:
                steps.at(step, meanwhile, partial(local(root).put, sealed, Labels()))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        acted = mark.exists()
        stored = local(root).find(sealed.manifest.name, "latest")
        if stored is not None:
            assert texts_of(root, stored) == ["shared"]
            local(root).delete(stored)
        local(root).delete(gone)
    assert step > 10


def test_what_a_put_is_about_to_name_is_needed(root: Path) -> None:
    gone = put(root, "net", "mine")
    manifest = root / "trials" / "versions" / "net" / "v0.json"
    aside = write(manifest.with_name(f".{uuid.uuid4().hex}.tmp"), manifest.read_bytes())
    unfinished = write(manifest.with_name(f".{uuid.uuid4().hex}.tmp"), manifest.read_bytes()[:50])
    assert local(root).delete(gone) == 0
    assert blobs(root) == {"mine"}
    settle(aside), settle(unfinished)
    list(local(root).collect(ALWAYS))
    assert list(local(root).collect(ALWAYS)) == [len("mine")]


def test_where_a_later_release_is_about_to_name_something_nothing_goes(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = put(root, "net", "mine")
    manifest = root / "trials" / "versions" / "net" / "v0.json"
    later = json.loads(manifest.read_text()) | {"schema": 99}
    write(manifest.with_name(f".{uuid.uuid4().hex}.tmp"), json.dumps(later))
    assert local(root).delete(gone) == 0
    assert "bytes are kept that may be garbage" in caplog.text


def test_what_a_killed_deletion_took_aside_is_read_and_gc_puts_it_back_where_it_is_needed(root: Path) -> None:
    kept = put(root, "net", "kept")
    blob = blob_of(root, "kept")
    aside = blob.rename(blob.with_name(f".{blob.name}~{uuid.uuid4().hex}.aside"))
    assert texts_of(root, kept) == ["kept"]
    settle(aside)
    assert list(local(root).collect(ALWAYS)) == []
    assert (blob.read_text(), aside.exists()) == ("kept", False)


def test_what_a_killed_deletion_took_aside_stays_where_nobody_knows_who_needs_it(root: Path) -> None:
    put(root, "net", "mine")
    blob = blob_of(root, "mine")
    blob.rename(blob.with_name(f".{blob.name}~{uuid.uuid4().hex}.aside"))
    write(root / "trials" / "versions" / "net" / "v0.json", "")
    assert list(local(root).collect(ALWAYS)) == []
    assert blob.read_text() == "mine"


def test_what_was_brought_anew_is_not_replaced_by_what_was_taken_aside(root: Path) -> None:
    kept = put(root, "net", "kept")
    blob = blob_of(root, "kept")
    aside = write(blob.with_name(f".{blob.name}~{uuid.uuid4().hex}.aside"), "KEPT")
    assert list(local(root).collect(ALWAYS)) == []
    assert (texts_of(root, kept), aside.exists()) == (["kept"], False)
