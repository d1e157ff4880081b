"""The rules by which a file or a folder gets its type: two tables, of which the first rule that holds decides.

``docs/reference/capture.md`` shows them. Content goes before names; what no rule knows is ``CUSTOM``.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.sniffing import contents, signs
from tracelet.core.capture.sniffing.looking import FileLook, FolderLook
from tracelet.core.capture.sniffing.signs import (
    Sign,
    archive,
    atom,
    binary,
    contains,
    ends,
    folder_has,
    folder_with_ending,
    named,
    named_like,
    starts,
    text,
    word,
)

__all__ = ["FILES", "FOLDERS", "WHOLES", "Rule"]

L = TypeVar("L")
T = ArtifactType


@attrs.frozen
class Rule(Generic[L]):
    """What it is, how it is told, and the type that it has."""

    what: str
    told: Sign[L]
    type: ArtifactType

    @property
    def how(self) -> str:
        """How it is told, in words."""
        return self.told.words


_HDF5 = starts(b"\x89HDF\r\n\x1a\n")
# Sample data are an example, and nobody's prediction.
_SAMPLES = word("samples", "prediction", "predictions", "preds") | word("sample", without=("data", "dataset"))
_PLOTS = word("plot", "plots", "chart", "curve", "curves", "heatmap", "histogram", "confusion", "attention")
_MATPLOTLIB = contains(b"Software\x00Matplotlib", b"Software\x00matplotlib")
_TEXTS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
_TABLE = (
    (named(*_TEXTS) & text) | (named(".txt", ".asc", ".xyz", ".out") & signs.numbers) | signs.holds_its_name(*_TEXTS)
)
_LIST = named(".json") & signs.starts_like(r"\[", "`[`")
_COLUMNS = starts(b"PAR1", b"ARROW1\0\0", b"FEA1", b"ORC", b"Obj\x01") & binary
_NUMPY = starts(b"\x93NUMPY") | signs.arrays
_RECORDS = (_NUMPY | _COLUMNS | _TABLE | _LIST).called(
    "NumPy, Parquet and its kin, tables and records as text, or a JSON list"
)
# A brand says what a file of the ISO base media format is for, see https://mp4ra.org. One that is for more than one
# thing is in none of these lists, such as `crx ` (Canon's raw pictures and raw films) and `dash` (parts of a stream).
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_VIDEO_BRANDS = (
    *(b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1"),
    *(b"qt  ", b"M4V ", b"M4VH", b"M4VP", b"F4V ", b"f4v ", b"mmp4", b"MSNV", b"XAVC", b"piff", b"isml"),
    *(b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gp8", b"3gp9", b"3ge6", b"3ge7", b"3gg6", b"3g2a", b"3g2b", b"3g2c"),
)
_PICTURE = (
    starts(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"v/1\x01")
    # BigTIFF, which TIFF is beyond 4 GB, has 43 where TIFF has 42.
    | starts(b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
    | (starts(b"RIFF") & starts(b"WEBP", at=8))
    | (starts(b"RIFF") & starts(b"ACON", at=8))
    | (starts(b"BM") & starts(b"\0\0\0\0", at=6))
    | atom(*_IMAGE_BRANDS)
    | (named(".cr3") & atom(b"crx "))
    | starts(b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"8BPS", b"#?RADIANCE")
    | (named(".ico") & starts(b"\0\0\1\0"))
    | (named(".pbm", ".pgm", ".ppm", ".pnm") & starts(b"P"))
    | (named(".xbm") & starts(b"#define "))
    | ends(b"TRUEVISION-XFILE.\0")
    | (named(".tga", ".icns") & binary)
    | (named(".pcx") & starts(b"\n\2", b"\n\3", b"\n\4", b"\n\5"))
    | starts(b"DDS |\0\0\0")
    | (named(".sgi", ".rgb", ".rgba", ".bw") & starts(b"\x01\xda"))
)

_CODE = (
    *(".py", ".pyw", ".pyi", ".pyx", ".pxd", ".pxi", ".r", ".jl", ".m", ".lua", ".rb", ".php", ".pl", ".pm", ".sql"),
    *(
        ".sh",
        ".bash",
        ".zsh",
        ".fish",
        ".bat",
        ".ps1",
        ".cmake",
        ".mk",
        ".make",
        ".f",
        ".for",
        ".f90",
        ".f95",
        ".f03",
        ".pyf",
    ),
    *(".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".inc", ".cu", ".cuh", ".mm", ".metal", ".rs", ".go"),
    *(".java", ".scala", ".kt", ".swift", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".css", ".scss", ".proto"),
)
_MEDICAL = (
    starts(b"DICM", at=128)
    | starts(b"n+1\0", b"ni1\0", at=344)
    | starts(b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n", at=4)
    | starts(b"NRRD000")
    | (named(".hdr") & starts(b"\x5c\x01\0\0", b"\0\0\x01\x5c"))
    | (named(".mnc") & (starts(b"CDF\x01", b"CDF\x02") | _HDF5))
    | (named(".mha", ".mhd") & contains(b"ElementDataFile"))
    | (named(".mgh", ".mgz") & starts(b"\0\0\0\x01"))
    | starts(b"# === DATA DESCRIPTION FILE")
    | (named(".head") & contains(b"= string-attribute"))
    | (named(".dcm", ".dicom", ".ima", ".rec", ".brik") & binary)
)

FILES: tuple[Rule[FileLook], ...] = (
    # Models, weights and checkpoints
    Rule("TorchScript", archive("constants.pkl", "data.pkl"), T.MODEL),
    Rule("exported program of torch", archive("archive_format") | archive("serialized_exported_program.json"), T.MODEL),
    Rule(
        "training state saved by torch",
        signs.torch(
            "torch file of an optimizer's state (or a scheduler's, or a gradient scaler's) or of a dict with one; of a "
            "dict with weights and a counter; or of a dict with a state dict and other things",
            contents.is_training,
        ),
        T.CHECKPOINT,
    ),
    Rule(
        "module saved by torch",
        signs.torch("torch file of a module, or of a dict or a list that holds one", contents.is_model),
        T.MODEL,
    ),
    Rule(
        "tensors saved by torch",
        signs.torch("torch file of tensors and state dicts alone", contents.is_weights),
        T.WEIGHTS,
    ),
    Rule("safetensors", signs.safetensors, T.WEIGHTS),
    Rule("GGUF", starts(b"GGUF") & binary, T.MODEL),
    Rule("ONNX", signs.onnx, T.MODEL),
    Rule("Core ML", signs.core_ml | (named(".mlmodel") & binary), T.MODEL),
    Rule("TensorRT engine", signs.tensorrt, T.MODEL),
    Rule("OpenVINO", signs.markup(r"<net\s", "`<net `") & contains(b"<layers>"), T.MODEL),
    Rule("NeMo", signs.tar("model_config.yaml") | (named(".nemo") & starts(b"ustar", at=257)), T.MODEL),
    Rule("TensorFlow Lite", starts(b"TFL3", at=4), T.MODEL),
    Rule(
        "TensorFlow graph",
        named_like(r"saved_model\.pb", "`saved_model.pb`") | (named(".pb") & signs.tensorflow_graph),
        T.MODEL,
    ),
    Rule("Keras", archive("config.json", "metadata.json", "model.weights.h5"), T.MODEL),
    Rule("NetCDF 4", _HDF5 & contains(b"_NCProperties"), T.DATASET),
    Rule("Keras in HDF5", _HDF5 & contains(b"model_config") & contains(b"keras_version"), T.MODEL),
    Rule(
        "Keras weights in HDF5",
        _HDF5 & (named(".weights.h5") | contains(b"layer_names") | (contains(b"layers\0") & contains(b"vars\0"))),
        T.WEIGHTS,
    ),
    Rule("skops", archive("schema.json"), T.MODEL),
    Rule("XGBoost", contains(b"learner") & starts(b"{L") | signs.json_with("learner"), T.MODEL),
    Rule(
        "LightGBM",
        signs.starts_like(r"tree\r?\nversion=", "`tree` and `version=`")
        | signs.starts_like(
            r'\{\s*+"name"\s*+:\s*+"tree"\s*+,\s*+"version"', "the name `tree` and a `version` in a JSON object"
        ),
        T.MODEL,
    ),
    Rule(
        "CatBoost",
        (starts(b"CBM1") & binary)
        | signs.starts_like(
            r'\{\s*+"features_info"\s*+:\s*+\{\s*+"(?:categorical|embedding|float|text)_features"',
            "`features_info` of features of a kind in a JSON object",
        ),
        T.MODEL,
    ),
    Rule(
        "training state in a pickle",
        signs.pickled("pickle of a training state, as for torch", contents.is_training),
        T.CHECKPOINT,
    ),
    Rule(
        "model in a pickle",
        signs.pickled(
            f"pickle of an object of {', '.join(contents.MODEL_LIBRARIES)}, or of a module of torch, or of a dict or a list that holds one",
            contents.is_model,
        ),
        T.MODEL,
    ),
    Rule("tensors in a pickle", signs.pickled("pickle of tensors of torch alone", contents.is_weights), T.WEIGHTS),
    Rule("PMML", signs.markup(r"<pmml\b", "`<pmml`"), T.MODEL),
    Rule("TorchServe archive", named(".mar") & archive("MANIFEST.json"), T.MODEL),
    Rule("SentencePiece", signs.sentencepiece, T.MODEL),
    Rule(
        "tokenizer",
        named_like(r"tokenizer\.json", "`tokenizer.json`") & signs.json_with("model", "added_tokens"),
        T.MODEL,
    ),
    # Data
    Rule("RecordIO", starts(b"\x0a\x23\xd7\xce"), T.DATASET),
    # The classes of what is no image, from table B.5-1 of DICOM's part 4; they stand behind what every file has.
    Rule(
        "report in DICOM", starts(b"1.2.840.10008.5.1.4.1.1.88.", b"1.2.840.10008.5.1.4.1.1.104.1\0", at=166), T.REPORT
    ),
    Rule(
        "curves, contours or a plan in DICOM",
        starts(
            *(b"1.2.840.10008.5.1.4.1.1.9.", b"1.2.840.10008.5.1.4.1.1.481.3\0", b"1.2.840.10008.5.1.4.1.1.481.5\0"),
            at=166,
        ),
        T.DATASET,
    ),
    Rule("medical image (DICOM, NIfTI, Analyze, MINC, NRRD, MetaImage, MGH, PAR/REC, AFNI)", _MEDICAL, T.IMAGE),
    Rule("samples and predictions", _RECORDS & _SAMPLES, T.SAMPLE),
    Rule("NumPy arrays", _NUMPY, T.DATASET),
    Rule("Parquet, Arrow, Feather, ORC, Avro", _COLUMNS, T.DATASET),
    Rule("HDF5", _HDF5, T.DATASET),
    Rule(
        "array or table in a pickle",
        signs.pickled(
            "pickle of an object of numpy, pandas, scipy, polars or pyarrow, or of an array by joblib; or of a list of these, or of a dict, if that "
            "is read to its end",
            contents.is_table,
        ),
        T.DATASET,
    ),
    Rule(
        "MATLAB",
        (starts(b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file") | named(".mat")) & binary,
        T.DATASET,
    ),
    Rule("FITS", starts(b"SIMPLE  ="), T.DATASET),
    Rule("NetCDF (classic), GRIB", starts(b"CDF\x01", b"CDF\x02", b"CDF\x05") | (starts(b"GRIB") & binary), T.DATASET),
    Rule(
        "IDL, SPSS, Stata, SAS",
        starts(b"SR\0\4", b"SR\0\6", b"$FL2@(#)", b"$FL3@(#)", b"<stata_dta>") | (named(".dta", ".sas7bdat") & binary),
        T.DATASET,
    ),
    Rule(
        "table (ARFF, ECSV, VOTable, Excel)",
        (named(".arff") & text)
        | starts(b"# %ECSV ")
        | signs.markup(r"<votable\b", "`<votable`")
        | archive("workbook.xml"),
        T.DATASET,
    ),
    Rule("MatrixMarket", starts(b"%%MatrixMarket "), T.DATASET),
    Rule("SQLite, DuckDB", starts(b"SQLite format 3\0") | (starts(b"DUCK", at=8) & binary), T.DATASET),
    Rule("Lance", ends(b"LANC") & binary, T.DATASET),
    Rule("WebDataset", signs.webdataset, T.DATASET),
    Rule("tensor of ONNX", named(".pb") & signs.onnx_tensor, T.DATASET),
    Rule("tractogram (TRK, TCK)", starts(b"TRACK\0", b"mrtrix tracks"), T.DATASET),
    Rule("point cloud (LAS, PCD)", (starts(b"LASF") & binary) | starts(b"# .PCD v"), T.DATASET),
    Rule(
        "mesh (PLY, glTF, STL, OBJ, OFF, GIFTI)",
        starts(b"ply\n", b"ply\r\n")
        | (starts(b"glTF") & binary)
        | (named(".gltf") & signs.json_with("asset"))
        | (named(".stl") & (binary | signs.starts_like("solid", "`solid`")))
        | (named(".off") & signs.starts_like("(?:st)?c?n?4?n?off", "`OFF`"))
        | (named(".obj", ".mtl") & text)
        | signs.markup(r"<!doctype gifti\b|<gifti\b", "`<gifti` or `<!doctype gifti`"),
        T.DATASET,
    ),
    # Media
    Rule(
        "plot as an image",
        _PICTURE.called("an image of a format of the next row") & (_PLOTS | _MATPLOTLIB),
        T.VISUALIZATION,
    ),
    Rule(
        "image (PNG, JPEG, GIF, TIFF, EXR, WebP, BMP, AVIF, HEIC, CR3, JPEG 2000, JPEG XL, PSD, HDR, ICO, ANI, PNM, XBM, "
        "TGA, ICNS, PCX, DDS, SGI)",
        _PICTURE,
        T.IMAGE,
    ),
    Rule(
        "SVG, EPS, PostScript by Matplotlib",
        signs.markup(r"<svg\b|<!doctype svg\b", "`<svg` or `<!doctype svg`")
        | (named(".svg") & text)
        | signs.starts_like(r"%!PS-Adobe-\d\.\d EPSF", "`%!PS-Adobe-3.0 EPSF`")
        | (starts(b"%!PS-Adobe-") & contains(b"%%Creator: Matplotlib", b"%%Creator: matplotlib")),
        T.VISUALIZATION,
    ),
    Rule(
        "figure of Plotly",
        signs.starts_like(r'\{\s*+"data"\s*+:\s*+\[\s*+[{\]]', "a list `data` of objects in a JSON object")
        & signs.json_with("layout"),
        T.VISUALIZATION,
    ),
    Rule(
        "audio (WAV, AIFF)",
        (starts(b"RIFF", b"RIFX", b"RF64", b"BW64") & starts(b"WAVE", at=8))
        | (starts(b"FORM") & starts(b"AIFF", b"AIFC", at=8)),
        T.AUDIO,
    ),
    Rule("audio (FLAC, AU, MIDI, M4A)", starts(b"fLaC", b".snd", b"MThd") | atom(*_AUDIO_BRANDS), T.AUDIO),
    Rule(
        "MP3",
        (starts(b"ID3") & binary)
        | (named(".mp3") & starts(b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2")),
        T.AUDIO,
    ),
    Rule("Ogg video", starts(b"OggS") & contains(b"theora"), T.VIDEO),
    Rule("Ogg audio (Vorbis, Opus)", starts(b"OggS"), T.AUDIO),
    Rule("video (MP4, MOV and their kin)", atom(*_VIDEO_BRANDS), T.VIDEO),
    Rule(
        "video (Matroska, WebM, MPEG, FLV, WMV)",
        starts(b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11"),
        T.VIDEO,
    ),
    Rule("AVI", starts(b"RIFF") & starts(b"AVI ", at=8), T.VIDEO),
    # Reports
    Rule("TensorBoard events", contains(b"brain.Event:") & binary, T.REPORT),
    Rule("TFRecord", named(".tfrecord", ".tfrecords") | signs.tfrecord, T.DATASET),
    Rule("PDF", starts(b"%PDF-"), T.REPORT),
    Rule("Word, PowerPoint", archive("document.xml") | archive("presentation.xml"), T.REPORT),
    Rule(
        "HTML",
        signs.markup(r"<!doctype html|<html\b", "`<!doctype html` or `<html`") | (named(".html", ".htm") & text),
        T.REPORT,
    ),
    Rule(
        "notebook",
        (named(".ipynb") & signs.json_with("cells", "nbformat"))
        | signs.starts_like(
            r'\{\s*+"cells"\s*+:\s*+\[\s*+\{\s*+"cell_type"',
            "a list `cells` in a JSON object, and a `cell_type` in that",
        ),
        T.REPORT,
    ),
    Rule("text that is a report", named(".md", ".rst", ".tex") & text, T.REPORT),
    # Code
    Rule("source code", named(*_CODE) & text, T.CODE),
    Rule(
        "build file",
        named_like(r"(?:.*\.)?(?:dockerfile|makefile)|cmakelists\.txt", "`Dockerfile`, `Makefile` or `CMakeLists.txt`")
        & text,
        T.CODE,
    ),
    Rule("script", signs.starts_like(r"#!\s*/", "`#!/`"), T.CODE),
    # Text by its name
    Rule("table or records as text", _TABLE, T.DATASET),
    Rule("JSON list", _LIST, T.DATASET),
    Rule("JSON object", (named(".json") & signs.json_with()) | signs.one_object, T.CONFIG),
    Rule(
        "YAML, TOML, INI, properties, requirements",
        (
            named(".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".mplstyle")
            | named_like(r"requirements[\w.-]*+", "as `requirements.txt`")
        )
        & text,
        T.CONFIG,
    ),
    # Names that say what no content did
    Rule(
        "index of a TensorFlow checkpoint",
        named(".index") & ends(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"),
        T.CHECKPOINT,
    ),
    Rule(
        "tensors of a TensorFlow checkpoint",
        named_like(r".*\.data-\d{5}-of-\d{5}", "as `*.data-00000-of-00001`"),
        T.CHECKPOINT,
    ),
    Rule("store of arrays of a checkpoint (OCDBT)", starts(b"\x0c\xdb\x3a\x2a"), T.CHECKPOINT),
    Rule("external data of ONNX", named(".onnx.data", ".onnx_data") & binary, T.WEIGHTS),
    Rule("weights of Flax by name", named_like(r"flax_model\.msgpack", "`flax_model.msgpack`") & binary, T.WEIGHTS),
    Rule("checkpoint by name", named(".ckpt") & binary, T.CHECKPOINT),
    Rule("TensorRT engine by name", named(".engine", ".trt") & binary, T.MODEL),
    Rule("data by name", named(".dat") | (named(".data") & text), T.DATASET),
    Rule("pixels of an image in two files", named(".img") & binary, T.IMAGE),
)

_WEIGHTS = folder_with_ending(".safetensors", ".safetensors.index.json") | folder_has(
    "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"
)

#: Folders that are one thing.
WHOLES: tuple[Rule[FolderLook], ...] = (
    Rule("TensorFlow SavedModel", folder_has("saved_model.pb", "saved_model.pbtxt"), T.MODEL),
    Rule("model folder of a tracker", folder_has("MLmodel"), T.MODEL),
    Rule(
        "state of a trainer beside weights",
        folder_has(
            *("trainer_state.json", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scheduler.bin"),
            "random_states_0.pkl",
        ),
        T.CHECKPOINT,
    ),
    Rule("distributed checkpoint of torch", folder_has(".metadata") & folder_with_ending(".distcp"), T.CHECKPOINT),
    Rule("DeepSpeed checkpoint", folder_has("zero_to_fp32.py"), T.CHECKPOINT),
    Rule("Orbax checkpoint", folder_has("_CHECKPOINT_METADATA", "_METADATA"), T.CHECKPOINT),
    Rule("pipeline of models", folder_has("model_index.json", "modules.json"), T.MODEL),
    Rule("adapter weights", folder_has("adapter_config.json"), T.WEIGHTS),
    Rule("pretrained model", folder_has("config.json") & _WEIGHTS, T.MODEL),
    Rule("pipeline of spaCy", folder_has("meta.json") & folder_has("config.cfg"), T.MODEL),
    Rule(
        "Core ML package",
        (folder_has("Manifest.json") & signs.any_file_ends(".mlmodel")) | folder_has("coremldata.bin"),
        T.MODEL,
    ),
    Rule("Zarr", folder_has("zarr.json", ".zgroup", ".zarray", ".zmetadata"), T.DATASET),
    Rule("Lance", folder_has("_versions") & folder_has("data", "_transactions"), T.DATASET),
    Rule(
        "Parquet data set",
        (folder_has("_metadata", "_common_metadata", "_SUCCESS") | signs.partitioned) & signs.any_file_ends(".parquet"),
        T.DATASET,
    ),
)

#: Other folders whose type is more than that of their files. There may be several things in one.
FOLDERS: tuple[Rule[FolderLook], ...] = (
    *WHOLES,
    Rule("TensorFlow checkpoint", folder_has("checkpoint") & folder_with_ending(".index"), T.CHECKPOINT),
    Rule("sharded weights", folder_with_ending(".safetensors.index.json", ".bin.index.json"), T.WEIGHTS),
)
