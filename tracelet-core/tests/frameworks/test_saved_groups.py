"""What libraries write in several files is one artifact in a watched directory, in whichever order they write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracelet import Experiment
from tracelet.core.experiment import ExperimentConfig

pytestmark = pytest.mark.capture


def test_images_and_meshes_of_several_files_are_one_artifact_each(home: Path) -> None:
    import nibabel
    import rasterio
    import trimesh
    from PIL import Image

    (home / "out").mkdir()
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["out"])
    with Experiment("groups", config=config, artifacts=True) as exp:
        voxels = np.zeros((2, 2, 2), np.float32)
        nibabel.Nifti1Pair(voxels, np.eye(4)).to_filename("out/brain.img.gz")
        nibabel.AnalyzeImage(voxels, np.eye(4)).to_filename("out/old.img")
        there = rasterio.Affine(1, 0, 0, 0, -1, 1)
        profile = {"driver": "ENVI", "height": 1, "width": 1, "count": 1, "dtype": "uint8", "transform": there}
        with rasterio.open("out/land.dat", "w", **profile) as raster:
            raster.write(np.ones((1, 1, 1), np.uint8))
        box = trimesh.creation.box()
        trimesh.Scene(box).export("out/scene.gltf")
        picture = Image.fromarray(np.zeros((2, 2, 3), np.uint8))
        box.visual = trimesh.visual.TextureVisuals(uv=np.zeros((len(box.vertices), 2)), image=picture)
        box.export("out/box.obj")
    found = {one.name: {file.artifact_path for file in one.files} for one in exp.list_artifacts()}
    buffers = {path.name for path in Path("out").glob("*.bin")}
    assert buffers
    assert found == {
        "brain-image": {"brain.hdr.gz", "brain.img.gz"},
        "old-image": {"old.hdr", "old.img"},
        "land-image": {"land.dat", "land.hdr", *(path.name for path in Path("out").glob("land*.xml"))},
        "scene-dataset": {"scene.gltf", *buffers},
        "box-dataset": {"box.obj", "material.mtl", "material_0.png"},
    }
