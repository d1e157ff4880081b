"""What several programs log: one artifact of everything, and small ones."""

from __future__ import annotations

import math
from pathlib import Path

import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from sklearn.linear_model import LinearRegression

from tracelet import ArtifactType

#: Bytes over the limit of `TRACELET_LARGE_FILE_MB`, which compress well.
LARGE = b"large " * 1000


class Tagging(MemoryFileSystem):
    """A place that gives its files etags."""

    protocol = "tagging"

    def info(self, path, **options):
        return {"name": path, "size": 7, "type": "file", "ETag": '"5d41402abc4b2a76"'}


def model():
    return LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])


def everything(exp, name, *, large=True):
    """An artifact with all kinds of entries, and metadata of all kinds."""
    folder = Path("folder")
    (folder / "deep" / "er").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_bytes(b"a")
    (folder / "deep" / "er" / "notes äö.txt").write_bytes(b"with spaces, and not in ASCII")
    (folder / "empty").write_bytes(b"")
    Path("weights.bin").write_bytes(bytes(range(64)))
    artifact = exp.create_artifact(name, ArtifactType.MODEL, "Everything at once: äöü 漢字 🎉\nin two lines")
    artifact.metadata.update(
        {
            "accuracy": 0.93,
            "epoch": 3,
            "nan": math.nan,
            "worst": [math.inf, -math.inf, -0.0, 1e-300, 2**53 + 1],
            "nested": {"none": None, "yes": True, "list": [1, [2.5, {"deep": math.nan}]], "": {}},
            "tags": ["a", "ö"],
            "preferred_backends": ["local", "archive", "mlflow", "aim", "wandb", "clearml"],
        }
    )
    artifact.add_file("weights.bin", "model/weights.bin", "of the last epoch")
    artifact.add_dir("folder", "data")
    if large:
        Path("large.bin").write_bytes(LARGE)
        artifact.add_file("large.bin", description="too large for a backend")
    artifact.add_object({"rate": 0.001, "layers": [1, 2], "none": None}, "config", description="as it was run")
    artifact.add_object({"b": [1, 2], 3: "number"}, "plan", serializer="yaml")
    artifact.add_object({(1, 2): {3, 4}}, "state", serializer="pickle")
    artifact.add_model(model(), input_example=[[1.0]], description="a line")
    fsspec.filesystem("memory").pipe_file("/data/read.csv", b"x,y\n1,2\n")
    fsspec.register_implementation("tagging", Tagging, clobber=True)
    artifact.add_reference("s3://bucket/not-there.tar.gz", size_bytes=5_000_000_000, description="somewhere else")
    artifact.add_reference("file:///path/to/large/file.bin")
    artifact.add_reference("https://user:secret@host.example/data?token=secret&part=1#top")
    artifact.add_reference("memory://data/read.csv", checksum=True)
    artifact.add_reference("tagging://data/tagged.csv", checksum=True)
    return artifact


def small(exp, name, text, kind=ArtifactType.CONFIG):
    Path("small.txt").write_text(text)
    return exp.create_artifact(name, kind).add_file("small.txt")
