"""What files and folders are that a tracker lists and nobody has fetched: their names are all there is."""

from __future__ import annotations

import pytest

from tracelet.core.artifacts import ArtifactType as T
from tracelet.plugin import tell_type_by_names


@pytest.mark.parametrize(
    ("paths", "type"),
    [
        (["scores.csv"], T.DATASET),
        (["deep/in/a/Photo.JPG"], T.IMAGE),
        (["best.safetensors"], T.WEIGHTS),
        (["net.onnx"], T.MODEL),
        (["train.py"], T.CODE),
        (["scan.nii"], T.IMAGE),
        (["yolo.engine"], T.MODEL),
        (["mesh.stl"], T.DATASET),
        (["params.yaml"], T.CONFIG),
        (["model.pkl"], T.CUSTOM),
        (["README"], T.CUSTOM),
        ([], T.CUSTOM),
    ],
)
def test_a_file_is_what_its_suffix_says(paths: list[str], type: T) -> None:
    """And nothing in particular where a suffix may be that of anything, or there is none."""
    assert tell_type_by_names(paths) is type


def test_a_folder_is_what_all_its_files_are() -> None:
    """Whatever folders they are in."""
    assert tell_type_by_names(["a.png", "more/b.jpeg"]) is T.IMAGE
    assert tell_type_by_names(["a.png", "more/b.csv"]) is T.CUSTOM


def test_a_model_or_a_checkpoint_is_told_by_what_lies_at_its_top() -> None:
    """Whatever else is in it; deeper down it may be a part of something else."""
    assert tell_type_by_names(["MLmodel", "data/model.pth", "conda.yaml"]) is T.MODEL
    assert tell_type_by_names(["trainer_state.json", "model.safetensors"]) is T.CHECKPOINT
    assert tell_type_by_names(["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"]) is T.MODEL
    assert tell_type_by_names(["Manifest.json", "Data/notes.txt"]) is T.CUSTOM
    assert tell_type_by_names(["out/MLmodel", "notes.txt"]) is T.CUSTOM
