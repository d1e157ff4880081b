"""Files that are one thing with others in a folder that holds more than that: a table of kinds.

Each kind has one file that the thing is known by, its head. A part tells by its name which head it belongs to, or the head
names it.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import attrs

from tracelet.builtin.filesystem import headers
from tracelet.builtin.filesystem.onnx_data import external_locations
from tracelet.plugin import ArtifactType

__all__ = ["KINDS", "Kind", "head_of", "kind_of", "may_be_part", "other_shards"]

_LOG = logging.getLogger("tracelet.automagic")
#: Bytes of an index that is read.
_LARGEST_INDEX = 64_000_000
#: Shards that are looked for.
_MOST_SHARDS = 1000
_TF_INDEX = bytes.fromhex("57fb808b247547db")
_TF_DATA = r"\.data-\d{5}-of-(\d{5})"
#: TensorFlow's list of the checkpoints in a folder; its first line names the last one.
_TF_LIST = "checkpoint"
_TF_LAST = re.compile(rb'model_checkpoint_path: "(?:[^"\n]*[/\\])?([^"/\\\n]+)"')


@attrs.frozen
class Kind:
    """How files of one kind belong together."""

    what: str
    #: The names of heads.
    head: re.Pattern[str]
    #: The names of parts, and, for :func:`re.sub`, what makes the name of their head of it.
    part: re.Pattern[str]
    heads: tuple[str, ...]
    #: The parts that a head needs, as absolute paths.
    needs: Callable[[Path], frozenset[Path]]
    #: The parts that it may have.
    may_have: Callable[[Path], frozenset[Path]]
    type: ArtifactType | None = None
    #: What is taken off the head's name for the name of the artifact.
    ending: str = ""
    #: Whether a part may be a thing of its own as well: then it waits no longer than others that a head may name.
    alone: bool = False
    #: Whether nothing in a head tells of its parts: it waits for them.
    waits: bool = False
    #: Whether parts name others.
    nested: bool = False

    def called(self, artifact_path: str) -> str:
        """Return the path by which the artifact is named."""
        return artifact_path.removesuffix(self.ending)


def _named(name: str) -> re.Pattern[str]:
    return re.compile(name, re.IGNORECASE | re.DOTALL)


#: Names of parts of which only a head that comes later may tell: external data, of which onnx itself makes up the second
#: one, and buffers, weights and textures, as programs call them.
_MAY_BE_PART = _named(
    r".*\.(?:data|weights)|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?:.*[\W_])?(?:material|texture|base_?color|albedo|diffuse|normal|roughness|metallic)[\W_]?\d*\.(?:png|jpe?g)"
    r"|(?:.*[\W_])?(?:buffer|scene|openvino_model)[\W_]?\d*\.bin"
)
#: Parts that are nearly always things of their own: they wait only for a head that is there.
_MOSTLY_ALONE = _named(r".*\.bin")


def _none(head: Path) -> frozenset[Path]:
    return frozenset()


def _inside(head: Path, names: Iterable[str]) -> frozenset[Path]:
    """Return the paths of parts; those outside of the head's folder are refused."""
    folder = os.path.realpath(head.parent)
    found = set()
    for name in names:
        inner = PurePosixPath(name.replace("\\", "/"))
        path = head.parent / inner
        if "\0" in name or inner.is_absolute() or ".." in inner.parts or not inner.parts:
            _refuse(head, name, "is not in its folder")
        elif not Path(os.path.realpath(path)).is_relative_to(folder):
            _refuse(head, name, "leads out of its folder")
        elif path != head:
            found.add(path)
    return frozenset(found)


@functools.lru_cache(maxsize=1000)
def _refuse(head: Path, name: str, why: str) -> None:
    """Warn of a name, once: a head is read several times before it is captured."""
    _LOG.warning("%s names %r, which %s: it is captured without that file.", head, name, why)


def _by(names: Callable[[Path], Iterable[str]]) -> Callable[[Path], frozenset[Path]]:
    """Return what finds the parts of which a header tells the names."""
    return lambda head: _inside(head, names(head))


def _external_data(head: Path) -> frozenset[Path]:
    return _inside(head, external_locations(head))


def _shards(head: Path) -> frozenset[Path]:
    try:
        if head.stat().st_size > _LARGEST_INDEX:
            return frozenset()
        index = json.loads(head.read_bytes())
    except (OSError, ValueError, RecursionError):
        return frozenset()
    shards = index.get("weight_map") if isinstance(index, dict) else None
    return (
        _inside(head, {one for one in shards.values() if isinstance(one, str)})
        if isinstance(shards, dict)
        else frozenset()
    )


def _tensors(head: Path) -> frozenset[Path]:
    """Return the files of a TensorFlow checkpoint; their number is in the name of each."""
    try:
        with head.open("rb") as stream:
            stream.seek(-len(_TF_INDEX), os.SEEK_END)
            if stream.read() != _TF_INDEX:
                return frozenset()
        names = os.listdir(head.parent)
    except OSError:
        return frozenset()
    pattern = re.compile(re.escape(head.stem) + _TF_DATA)
    count = max((int(found[1]) for name in names if (found := pattern.fullmatch(name))), default=1)
    return frozenset(head.with_name(f"{head.stem}.data-{number:05}-of-{count:05}") for number in range(count))


def _last_listed(checkpoints: Path) -> Path | None:
    """Return the head of the checkpoint that TensorFlow's list names as the last one."""
    try:
        with checkpoints.open("rb") as stream:
            found = _TF_LAST.match(stream.read(4096))
    except OSError:
        return None
    return checkpoints.with_name(f"{os.fsdecode(found[1])}.index") if found else None


def _list_of_checkpoints(head: Path) -> frozenset[Path]:
    """Return the list beside the checkpoint that it names as the last one."""
    checkpoints = head.with_name(_TF_LIST)
    return frozenset({checkpoints} if _last_listed(checkpoints) == head else ())


def _beside_a_picture(head: Path) -> frozenset[Path]:
    names = [f"{head.name}{ending}" for ending in (".aux.xml", ".ovr", ".msk")]
    names += [f"{head.stem}{ending}" for ending in (".tfw", ".tifw", ".tiffw")]
    return frozenset(path for name in names if (path := head.with_name(name)).is_file())


def _sibling(head: Path, ending: str) -> Path:
    """Return the file of a stem with another ending, in capitals where the head's own is."""
    return head.with_name(head.stem + (ending.upper() if head.suffix.isupper() else ending))


def _beside_a_raster(head: Path) -> frozenset[Path]:
    data = _inside(head, headers.image_names(head))
    paths = [_sibling(head, ending) for ending in (".prj", ".stx", ".clr")]
    paths += [path.with_name(f"{path.name}.aux.xml") for path in data]
    return frozenset(path for path in paths if data and path.is_file())


def _index_of_shapes(head: Path) -> frozenset[Path]:
    return frozenset({_sibling(head, ".shx")})


_BESIDE_SHAPES = (".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".shp.xml")


def _beside_shapes(head: Path) -> frozenset[Path]:
    return frozenset(path for ending in _BESIDE_SHAPES if (path := _sibling(head, ending)).is_file())


#: Arrays that gensim stores beside a model if they are large, by their attributes.
_ARRAYS = (
    *("vectors", "vectors_vocab", "vectors_ngrams", "vectors_lockf", "wv.vectors", "wv.vectors_vocab", "dv.vectors"),
    *("wv.vectors_ngrams", "wv.vectors_lockf", "syn0", "syn1", "syn1neg", "expElogbeta", "projection.u"),
)


def _arrays(head: Path) -> frozenset[Path]:
    paths = [head.with_name(f"{head.name}.{array}.npy") for array in _ARRAYS]
    return frozenset(path for path in paths if path.is_file())


KINDS = (
    Kind(
        "ONNX model and its external data",
        _named(r".*\.onnx"),
        _named(r"(.*\.onnx)[._-](?:data|weights|bin).*"),
        (r"\1",),
        _external_data,
        _none,
        ArtifactType.MODEL,
    ),
    Kind(
        "shards of safetensors and their index",
        _named(r".*\.safetensors\.index\.json"),
        _named(r"(.*)-\d{5}-of-\d{5}\.safetensors"),
        (r"\1.safetensors.index.json",),
        _shards,
        _none,
        ArtifactType.WEIGHTS,
        ".index.json",
    ),
    Kind(
        "shards of torch and their index",
        _named(r".*\.bin\.index\.json"),
        _named(r"(.*)-\d{5}-of-\d{5}\.bin"),
        (r"\1.bin.index.json",),
        _shards,
        _none,
        ArtifactType.WEIGHTS,
        ".index.json",
    ),
    Kind(
        "TensorFlow checkpoint",
        _named(r".*\.index"),
        _named(r"(.*)" + _TF_DATA),
        (r"\1.index",),
        _tensors,
        _list_of_checkpoints,
        ArtifactType.CHECKPOINT,
        ".index",
    ),
    Kind(
        "TIFF and the files beside it",
        _named(r".*\.tiff?"),
        _named(r"(.*\.tiff?)\.(?:aux\.xml|ovr|msk)|(.*)\.(?:tfw|tifw|tiffw)"),
        (r"\1", r"\2.tif", r"\2.tiff"),
        _none,
        _beside_a_picture,
        waits=True,
    ),
    Kind(
        "OpenVINO model and its weights",
        _named(r".*\.xml"),
        _named(r"(.*)\.bin"),
        (r"\1.xml",),
        _by(headers.openvino_names),
        _none,
        ArtifactType.MODEL,
        alone=True,
    ),
    Kind(
        "gensim model and its arrays",
        _named(
            r".*\.(?:model|kv|w2v|d2v|wordvectors|gensim)"
            r"|(?:.*[\W_])?(?:model|(?:word|doc)2vec|w2v|d2v|fasttext|lda|lsi|(?:word_?)?vectors|embeddings)[\W_]?\d*"
        ),
        _named(rf"(.*?)\.(?:{'|'.join(map(re.escape, _ARRAYS))})\.npy"),
        (r"\1",),
        _none,
        _arrays,
        ArtifactType.MODEL,
        waits=True,
    ),
    Kind(
        "image in two files (Analyze, NIfTI, ENVI, ESRI)",
        _named(r".*\.hdr(?:\.gz)?"),
        _named(r"((.*)\.(?:img|dat|raw|bin|bsq|bil|bip|flt|prj|stx|clr)(?:\.aux\.xml)?)(\.gz)?"),
        (r"\2.hdr\3", r"\1.hdr"),
        _by(headers.image_names),
        _beside_a_raster,
        ArtifactType.IMAGE,
        alone=True,
    ),
    Kind(
        "MetaImage and its data",
        _named(r".*\.mhd"),
        _named(r"(.*)\.z?raw"),
        (r"\1.mhd",),
        _by(headers.metaimage_names),
        _none,
        ArtifactType.IMAGE,
        alone=True,
    ),
    Kind(
        "NRRD and its data",
        _named(r".*\.nhdr"),
        _named(r"(.*)\.(?:raw|img|bin|dat)(?:\.gz)?"),
        (r"\1.nhdr",),
        _by(headers.nrrd_names),
        _none,
        ArtifactType.IMAGE,
        alone=True,
    ),
    Kind(
        "glTF, its buffers and images",
        _named(r".*\.gltf"),
        _named(r"(.*)\.bin"),
        (r"\1.gltf",),
        _by(headers.gltf_names),
        _none,
        ArtifactType.DATASET,
        alone=True,
    ),
    Kind(
        "OBJ, its materials and textures",
        _named(r".*\.obj"),
        _named(r"(.*)\.mtl"),
        (r"\1.obj",),
        _by(headers.obj_names),
        _none,
        ArtifactType.DATASET,
        alone=True,
        nested=True,
    ),
    Kind(
        "Shapefile",
        _named(r".*\.shp"),
        _named(r"(.*)\.(?:shx|dbf|prj|cpg|sbn|sbx|qix|qpj|qmd|shp\.xml)"),
        (r"\1.shp", r"\1.SHP"),
        _index_of_shapes,
        _beside_shapes,
        ArtifactType.DATASET,
        alone=True,
    ),
)


_SHARD = _named(r"(.*-)(\d{5})-of-(\d{5})(\.[^.]+)")


def other_shards(name: str) -> list[str]:
    """Return the names of the shards of which a shard says by its own name that there are so many."""
    found = _SHARD.fullmatch(name)
    if found is None:
        return []
    before, own, count, ending = found.groups()
    # They are counted from one or from zero.
    first = 0 if own == "00000" else 1
    numbers = range(first, first + min(int(count), _MOST_SHARDS))
    return [f"{before}{number:05}-of-{count}{ending}" for number in numbers]


def kind_of(name: str) -> Kind | None:
    """Return the kind that a file of this name would be the head of."""
    return next((kind for kind in KINDS if kind.head.fullmatch(name)), None)


def head_of(path: str) -> str | None:
    """Return the head that a part belongs to by its name; of several that may be, one that is there.

    None where it may be a thing of its own, and no head is there.
    """
    folder, _, name = path.rpartition(os.sep)
    if name == _TF_LIST:
        last = _last_listed(Path(path))
        return None if last is None else str(last)
    likely = None
    for kind in KINDS:
        found = kind.part.fullmatch(name)
        if found is None:
            continue
        told = [found.expand(head) for head in kind.heads]
        heads = [f"{folder}{os.sep}{one}" for one in told if kind.head.fullmatch(one) and not one.startswith(".")]
        there = next((one for one in heads if Path(one).exists()), None)
        if there is not None:
            return there
        if likely is None and heads and not kind.alone:
            likely = heads[0]
    return likely


def may_be_part(name: str) -> bool:
    """Tell whether a file of this name may be a part of which only a head that comes later tells."""
    if _MAY_BE_PART.fullmatch(name):
        return True
    return not _MOSTLY_ALONE.fullmatch(name) and any(kind.alone and kind.part.fullmatch(name) for kind in KINDS)
