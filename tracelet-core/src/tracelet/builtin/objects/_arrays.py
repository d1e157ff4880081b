"""npy and npz: an array of numbers, or a dict of arrays, in the formats of NumPy."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tracelet.builtin.libraries import ancestry, class_path
from tracelet.builtin.objects._common import called, library, readable, storable
from tracelet.plugin import SerializerSpec

__all__ = ["SPECS"]

_ARRAY = "numpy:ndarray"
_TENSOR = "torch:Tensor"
#: Classes of arrays that are equal to the plain array that comes back. Others, such as masked arrays, would lose something.
_PLAIN = frozenset({_ARRAY, "numpy:memmap"})
#: The system that a zip says it was made on.
_UNIX = 3
#: The versions of the format that NumPy has a reader for; a later one is for names that are not Latin.
_HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}
_LONGEST_KEY = 10_000


def _numpy() -> Any:
    return library("numpy", "numpy", "arrays")


def _is_array(value: Any) -> bool:
    return not ancestry(value).isdisjoint({_ARRAY, _TENSOR})


def _is_dict_of_arrays(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(map(_is_array, value.values()))


def _array(value: Any, what: str = "it") -> Any:
    """Return a plain array that is equal to an array or a tensor; raises ``TypeError`` where there is none."""
    if _TENSOR in ancestry(value):
        try:
            return value.numpy(force=True)
        except (RuntimeError, TypeError) as error:
            raise TypeError(f"{what} is a tensor that cannot be a numpy array: {error}") from error
    if class_path(type(value)) not in _PLAIN:
        raise TypeError(f"{what} is {called(value)}: give a numpy array, such as numpy.asarray(…) of it, or a tensor")
    _check_kind(value.dtype, what)
    return value


def _check_kind(dtype: Any, what: str) -> None:
    """Raise ``TypeError`` where an array of that kind would come back as another: of objects, for instance."""
    there = io.BytesIO()
    try:
        _write(_numpy().empty(0, dtype), there)
        there.seek(0)
        back = _read(there, len(there.getvalue())).dtype
    except ValueError as error:
        raise TypeError(f"{what} is an array of {dtype!s:.200}: {error}") from error
    if back != dtype:
        raise TypeError(f"{what} is an array of {dtype!s:.200}, and would come back as one of {back}: convert it")


def _write(array: Any, stream: IO[bytes]) -> None:
    numpy = _numpy()
    numpy.lib.format.write_array(stream, numpy.asarray(array, order="C"), allow_pickle=False)


def _read(stream: IO[bytes], size_bytes: int) -> Any:
    """Read an array from a stream of so many bytes: no more memory is taken than these."""
    numpy = _numpy()
    version = numpy.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"it has version {version} of the format, and names that are not Latin: rename its fields")
    shape, in_columns, dtype = getattr(numpy.lib.format, _HEADERS[version])(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are stored as code")
    content = bytearray(size_bytes - stream.tell())
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"it has {len(content)} bytes, and is to be an array of {shape} of {dtype}")
    stream.readinto(content)  # type: ignore[attr-defined]
    return numpy.ndarray(shape, dtype, buffer=content, order="F" if in_columns else "C")


@storable
def _check_array(value: Any) -> None:
    _array(value)


@storable
def _dump_array(value: Any, path: Path) -> None:
    array = _array(value)
    with path.open("wb") as stream:
        _write(array, stream)


@readable
def _load_array(path: Path, trust: bool) -> Any:
    with path.open("rb") as stream:
        return _read(stream, path.stat().st_size)


def _arrays(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"it is {called(value)}: give a dict of arrays")
    return {_key(key): _array(one, f"it[{key!r:.200}]") for key, one in value.items()}


def _key(key: Any) -> str:
    if not isinstance(key, str) or "\0" in key or len(key.encode()) > _LONGEST_KEY:
        raise TypeError(f"it has the key {key!r:.200}: keys are text of up to {_LONGEST_KEY:,} bytes without NUL")
    return key


@storable
def _check_arrays(value: Any) -> None:
    _arrays(value)


@storable
def _dump_arrays(value: Any, path: Path) -> None:
    arrays = _arrays(value)
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            # Without a date, so that equal arrays give equal bytes.
            member = zipfile.ZipInfo(f"{key}.npy")
            member.create_system = _UNIX
            with archive.open(member, "w", force_zip64=True) as stream:
                _write(array, stream)


@readable
def _load_arrays(path: Path, trust: bool) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # Nothing is packed, and so the arrays have no more bytes than the file.
        packed = any(one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size for one in members)
        if packed or sum(one.file_size for one in members) > path.stat().st_size:
            raise ValueError("its arrays are packed, and may have any size")
        found = {}
        for one in members:
            with archive.open(one) as stream:
                found[one.filename.removesuffix(".npy")] = _read(stream, one.file_size)
        return found


#: ``npy`` and ``npz``.
SPECS = (
    SerializerSpec(
        name="npy",
        suffix=".npy",
        dump=_dump_array,
        load=_load_array,
        safe=True,
        matches=_is_array,
        check=_check_array,
    ),
    SerializerSpec(
        name="npz",
        suffix=".npz",
        dump=_dump_arrays,
        load=_load_arrays,
        safe=True,
        matches=_is_dict_of_arrays,
        check=_check_arrays,
    ),
)
