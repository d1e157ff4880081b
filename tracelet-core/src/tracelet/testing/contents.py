"""The contract, part one: what goes in comes out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.artifacts.entries import ArtifactReference, ArtifactType
from tracelet.core.plugins.versions import SealedArtifact, StoredArtifact
from tracelet.core.system.redaction import redact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.contract_fixtures import Bench, ContractFixtures
from tracelet.testing.samples import ODD_PATHS, Samples

__all__ = ["Contents"]

_METADATA = {
    "accuracy": 0.1 + 0.2,
    "epoch": 3,
    "big": 2**62,
    "none": None,
    "flag": False,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus": float("-inf"),
    "text": "naïve ✓ \"quoted\" 'single' \\ / {} %s 100% \n second line",
    "empty": ["", [], {}],
    "nested": {"a.b": {"c/d": [1, 2.5, {"e": None}]}, "": "an empty key", "ключ": "значение"},
    "long": "x" * 20_000,
    "mlflow_flavor": "pytorch",
}


def present(stored: StoredArtifact | None) -> StoredArtifact:
    """Return what was found; a test that calls it says that it must be there."""
    assert stored is not None, "it was stored, and is not found"
    return stored


def _with_large_files_elsewhere(sealed: SealedArtifact) -> SealedArtifact:
    """What was too large for any backend is in the store, and its reference in the manifest."""
    large = ArtifactReference("file:///store/objects/x", 5_000_000_000, "large", sha256="ab" * 32, path="large.bin")
    manifest = sealed.manifest
    return attrs.evolve(sealed, manifest=attrs.evolve(manifest, references=(*manifest.references, large)))


def summary(files: Mapping[str, bytes]) -> dict[str, tuple[int, str]]:
    """Return sizes and hashes, for large contents: pytest would take minutes to show how they differ."""
    return {path: (len(content), hashlib.sha256(content).hexdigest()[:12]) for path, content in files.items()}


class Contents(ContractFixtures):
    """Manifests and bytes."""

    def test_a_manifest_comes_back_equal(self, opened: BackendProcess, samples: Samples) -> None:
        """Description, metadata of every kind, objects and references, as they were."""
        sealed = samples.seal(
            "everything",
            {"model.bin": b"weights", "notes/über.txt": "größe".encode()},
            type=ArtifactType.MODEL,
            description="Ein Modell, 模型, with a\nsecond line and 'quotes'",
            metadata=_METADATA,
            objects={"hyperparameters": {"lr": 0.1}},
            references=[
                ("s3://bucket/large file.tar.gz?versionId=3#part", 5_000_000_000, "the training set, größer"),
                ("file:///data/x.bin", None, None),
            ],
        )
        sealed = _with_large_files_elsewhere(sealed)
        put = opened.put(sealed)
        found = present(opened.find("everything"))
        (listed,) = opened.list()
        for stored in (put, found, listed):
            assert stored.manifest.to_json() == sealed.manifest.to_json()
            assert stored.manifest.digest == sealed.manifest.digest

    def test_every_type_comes_back(self, opened: BackendProcess, samples: Samples) -> None:
        """The 13 types are all the same to a backend."""
        for kind in ArtifactType:
            opened.put(samples.seal(f"a-{kind.value}", {"x": b"1"}, type=kind))
        assert {stored.manifest.type for stored in opened.list()} == set(ArtifactType)
        for kind in ArtifactType:
            assert [stored.manifest.name for stored in opened.list(type=kind)] == [f"a-{kind.value}"]

    def test_bytes_come_back_equal_whatever_their_paths(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """Unicode, spaces, nested and dotted paths, and characters that URLs and shells mangle."""
        files = {path: f"content of {path}".encode() + bytes(range(256)) for path in ODD_PATHS}
        stored = opened.put(samples.seal("odd", files))
        assert summary(opened.content(stored, own_folder / "put")) == summary(files)
        assert summary(opened.content(present(opened.find("odd")), own_folder / "found")) == summary(files)

    def test_empty_files_come_back_empty(self, opened: BackendProcess, samples: Samples, own_folder: Path) -> None:
        """A file of no bytes is a file; two of them are two."""
        files = {"empty": b"", "also/empty.txt": b"", "full": b"1"}
        assert opened.content(opened.put(samples.seal("void", files)), own_folder / "got") == files

    def test_files_of_the_same_bytes_are_all_there(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """Equal content may be stored once, and comes back everywhere."""
        files = {f"copy-{number}/same.bin": b"same bytes" for number in range(5)}
        assert opened.content(opened.put(samples.seal("copies", files)), own_folder / "got") == files

    def test_a_hundred_small_files_come_back(self, opened: BackendProcess, samples: Samples, own_folder: Path) -> None:
        """Nothing is lost, or mixed up, among many."""
        files = {f"part-{number % 7}/{number:03}.txt": f"{number}".encode() * 50 for number in range(100)}
        assert opened.content(opened.put(samples.seal("many", files)), own_folder / "got") == files

    def test_a_file_of_50_megabytes_comes_back(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """Large files are streamed, and whole."""
        content = os.urandom(1 << 20) * 50
        files = {"model/large.bin": content, "small": b"s"}
        stored = opened.put(samples.seal("large", files))
        assert summary(opened.content(stored, own_folder / "got")) == summary(files)

    def test_only_the_paths_that_are_asked_for_are_fetched(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """A partial fetch brings no more."""
        files = {"a/one.bin": b"1", "a/two.bin": b"22", "a.one": b"333", "three.bin": b"4444"}
        stored = opened.put(samples.seal("parts", files))
        for number, wanted in enumerate([["a/two.bin"], ["three.bin", "a/one.bin"], []]):
            got = opened.content(stored, own_folder / f"got-{number}", wanted)
            assert got == {path: files[path] for path in wanted}

    def test_an_artifact_may_hold_references_only(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """Nothing is copied, and the reference is kept as it is."""
        sealed = samples.seal("elsewhere", references=[("s3://bucket/key", 12, "far away")])
        opened.put(sealed)
        found = present(opened.find("elsewhere"))
        assert found.manifest.references == sealed.manifest.references
        assert opened.content(found, own_folder / "got") == {}

    def test_an_artifact_may_hold_nothing(self, opened: BackendProcess, samples: Samples) -> None:
        """Metadata alone is an artifact."""
        sealed = samples.seal("bare", metadata={"score": 1.0})
        opened.put(sealed)
        assert present(opened.find("bare")).manifest == sealed.manifest

    def test_an_experiment_may_have_any_printable_name(self, bench: Bench, samples: Samples, own_folder: Path) -> None:
        """Spaces, slashes, dots and other scripts; and names that look alike are not the same."""
        unique = bench.experiment
        names = [f"{unique}{tail}" for tail in (" é/ü#1?%&", "/..", "%2F..", ".", " 模型 🚀", "-", "_", "-A", "-a")]
        for number, name in enumerate(names):
            bench.open(experiment=name).put(samples.seal("same-name", {"which": f"{number}".encode()}))
        for number, name in enumerate(names):
            (only,) = bench.open(experiment=name).list()
            assert only.number == 0
            content = bench.open(experiment=name).content(only, own_folder / f"got-{number}")
            assert content == {"which": f"{number}".encode()}

    def test_where_it_is_says_no_secret(self, opened: BackendProcess, samples: Samples) -> None:
        """The URI of a version is for people and logs."""
        stored = opened.put(samples.seal("open", {"x": b"1"}))
        assert stored.uri
        assert redact(stored.uri) == stored.uri
