"""What a file or a folder is, told by names alone: for what a tracker lists and nobody has fetched."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from tracelet.core.artifacts.entries import ArtifactType as T
from tracelet.core.capture.packed_names import unpacked_name
from tracelet.core.capture.sniffing.looking import FolderLook
from tracelet.core.capture.sniffing.rules import FOLDERS

__all__ = ["tell_type_by_names"]

#: A suffix that says one type. One that several have, such as `.pkl` and `.pt`, says none.
_SUFFIXES = {
    T.MODEL: ".onnx .keras .skops .tflite .gguf .ubj .cbm .mlmodel .pmml .pt2 .engine .trt .nemo .mar",
    T.WEIGHTS: ".safetensors",
    T.CHECKPOINT: ".ckpt .ocdbt",
    T.DATASET: ".csv .tsv .tab .jsonl .ndjson .parquet .feather .arrow .orc .avro .npy .npz .h5 .hdf5 .tfrecord .tfrecords .xlsx"
    " .mat .fits .nc .grib .arff .ecsv .dta .sas7bdat .sqlite .duckdb .lance .dat"
    " .mtx .las .laz .pcd .ply .glb .gltf .stl .obj .off .gii .trk .tck",
    T.IMAGE: ".png .jpg .jpeg .gif .webp .bmp .tif .tiff .exr .avif .heic .jp2 .jxl .psd .ico .ppm .pgm .pbm .tga .pcx .dds .icns .sgi .dcm .nii .nrrd .mha .mnc .mgz",
    T.VISUALIZATION: ".svg .eps",
    T.AUDIO: ".wav .flac .mp3 .ogg .oga .opus .m4a .aif .aiff .au .mid .midi",
    T.VIDEO: ".mp4 .m4v .mov .webm .mkv .avi .mpg .mpeg .ogv",
    T.REPORT: ".html .htm .pdf .ipynb .md .rst .tex .docx .pptx",
    T.CODE: ".py .pyw .pyi .pyx .pxd .pxi .r .jl .m .lua .rb .php .pl .pm .sql .proto .sh .bash .zsh .fish .bat .ps1 .cmake .mk .make"
    " .f .for .f90 .f95 .f03 .pyf .c .h .cc .cpp .cxx .hh .hpp .hxx .inc .cu .cuh .mm .metal .rs .go"
    " .java .scala .kt .swift .js .mjs .cjs .jsx .ts .tsx .css .scss",
    T.CONFIG: ".json .yaml .yml .toml .ini .cfg .conf .properties .mplstyle",
}
_BY_SUFFIX = {suffix: told for told, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


def tell_type_by_names(paths: Collection[str]) -> T:
    """Return what an artifact of files at these paths seems to be; nothing is read, so it is less sure than :func:`tell_type`.

    A folder of a model or a checkpoint is told by the names at its top. Anything else has the type that the suffixes of
    all its files say, whether they are packed (``.csv.gz``) or not, and is ``CUSTOM`` where they say several, or none.
    """
    look = FolderLook(frozenset(path.partition("/")[0] for path in paths), tuple(map(Path, paths)))
    known = next((rule.type for rule in FOLDERS if rule.told.seen(look)), None)
    types = {_BY_SUFFIX.get(PurePosixPath(unpacked_name(path)).suffix.lower(), T.CUSTOM) for path in paths}
    return known or (types.pop() if len(types) == 1 else T.CUSTOM)
