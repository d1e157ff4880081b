"""Names that MLflow mangles, packs of small files, and what a hostile pack cannot do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import IntegrityError
from tracelet.plugin import ArtifactFile, ArtifactType, Manifest
from tracelet_mlflow.files import PackRule, RunFiles, stored_path

PART = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"), min_size=1, max_size=255)


class Folder:
    """A folder that is used as MLflow's artifact repositories are."""

    def __init__(self, root: Path) -> None:
        self.artifact_uri = root.as_uri()
        self.root = root

    def log_artifact(self, local_file: str, artifact_path: str) -> None:
        target = self.root / artifact_path / Path(local_file).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(local_file).read_bytes())

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        target = Path(dst_path) / artifact_path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self.root / artifact_path).read_bytes())
        return str(target)

    def delete_artifacts(self, artifact_path: str) -> None:
        raise NotImplementedError


def manifest_of(sizes: list[int]) -> Manifest:
    files = tuple(ArtifactFile(f"f{number:05}", size, "0" * 64) for number, size in enumerate(sizes))
    return Manifest("many", ArtifactType.CUSTOM, "put", 0.0, files=files)


@given(PART, PART)
def test_different_paths_have_different_stored_names(one: str, other: str) -> None:
    """Whatever the characters; and no name is longer than a folder takes, or holds what MLflow mangles."""
    first, second = stored_path(one), stored_path(other)
    assert (first == second) == (one == other)
    assert len(first.encode()) <= max(255, len(one.encode()))
    assert not set(first) & set("#?%\\")
    assert first.strip() == first
    assert not first.startswith("=pack-")


def test_few_small_files_are_not_packed() -> None:
    """Nor are large ones ever."""
    rule = PackRule(over=3, small=10, size=25)
    assert rule.plan(manifest_of([1, 2, 3, 100, 100]).payload) == []
    packs = rule.plan(manifest_of([10, 100, 10, 10, 10, 10]).payload)
    assert [[file.artifact_path for file in pack] for pack in packs] == [
        ["f00000", "f00002"],
        ["f00003", "f00004"],
        ["f00005"],
    ]


@pytest.fixture
def packed(tmp_path: Path) -> tuple[RunFiles, Manifest, Path]:
    contents = [f"content {number}".encode() for number in range(6)]
    manifest = manifest_of([len(content) for content in contents])
    sources = {}
    for file, content in zip(manifest.payload, contents, strict=True):
        sources[file.artifact_path] = tmp_path / "sources" / file.artifact_path
        sources[file.artifact_path].parent.mkdir(exist_ok=True)
        sources[file.artifact_path].write_bytes(content)
    files = RunFiles(Folder(tmp_path / "stored"), "many/v0", PackRule(over=1, small=100), tmp_path)
    files.upload(manifest, sources)
    return files, manifest, tmp_path / "stored" / "many" / "v0"


def test_a_pack_is_a_plain_zip_with_the_true_paths(packed: tuple[RunFiles, Manifest, Path], tmp_path: Path) -> None:
    """And one file of it is fetched alone."""
    files, manifest, folder = packed
    assert sorted(path.name for path in folder.iterdir()) == ["=pack-0.zip", "tracelet.json"]
    assert zipfile.ZipFile(folder / "=pack-0.zip").namelist() == [file.artifact_path for file in manifest.payload]
    (tmp_path / "got").mkdir()
    files.fetch(manifest.payload, ["f00003"], tmp_path / "got")
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["f00003"]
    assert (tmp_path / "got" / "f00003").read_bytes() == b"content 3"
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize("hostile", ["larger", "compressed", "missing", "no zip"])
def test_a_pack_that_is_not_what_was_stored_is_not_believed(
    packed: tuple[RunFiles, Manifest, Path], tmp_path: Path, hostile: str
) -> None:
    """Sizes are the manifest's, nothing is decompressed, and nothing else is written than what was asked for."""
    files, manifest, folder = packed
    if hostile == "no zip":
        (folder / "=pack-0.zip").write_bytes(b"nothing")
    else:
        kind = zipfile.ZIP_DEFLATED if hostile == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(folder / "=pack-0.zip", "w", kind) as archive:
            archive.writestr("../../escaped", b"x")
            if hostile != "missing":
                archive.writestr("f00001", b"content 1" if hostile == "compressed" else b"content 1" * 1000)
    (tmp_path / "got").mkdir()
    with pytest.raises(IntegrityError):
        files.fetch(manifest.payload, ["f00001"], tmp_path / "got")
    assert not list(tmp_path.rglob("escaped"))
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]


MANY = """
import json, os
from pathlib import Path
from tracelet import ArtifactType, Experiment
Path("many/deep").mkdir(parents=True)
for number in range(1000):
    Path(f"many/deep/{number:04}#?%.txt").write_text(f"{number}" * 20)
with Experiment("many", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("many", ArtifactType.DATASET)
    artifact.add_dir("many")
    result = exp.log_artifact(artifact)["mlflow"]
print(json.dumps(result.uri))
"""

FETCH = """
import json
from tracelet import Experiment
artifact = Experiment("many", backend="mlflow", artifacts=True).get_artifact("many")
one = artifact.open("deep/0777#?%.txt").read().decode()
folder = artifact.download("got")
content = {path.name: path.read_text() for path in folder.rglob("*.txt")}
print(json.dumps([one == "777" * 20, len(artifact.files), content == {f"{n:04}#?%.txt": f"{n}" * 20 for n in range(1000)}]))
"""


def test_a_thousand_files_come_back_from_a_few_objects(server: MlflowServer, tmp_path: Path) -> None:
    """Through a server, in another process; with names that MLflow itself would have lost."""
    environ = {"MLFLOW_TRACKING_URI": server.url}
    uri = programs.run(MANY, tmp_path / "writer", environ)
    stored = next(server.artifacts.rglob(uri.split("/", 2)[1])) / "artifacts" / "many" / "v0"
    assert sorted(path.name for path in stored.iterdir()) == ["=pack-0.zip", "tracelet.json"]
    assert programs.run(FETCH, tmp_path / "reader", environ) == [True, 1000, True]
