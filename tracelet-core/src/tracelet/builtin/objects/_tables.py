"""parquet and csv: tables of pandas, polars and pyarrow. Each is read again when it is written, and compared."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO

from tracelet.builtin.libraries import ancestry, check_version, class_path, release_of
from tracelet.builtin.objects._common import called, check_bytes, check_values, library, most_bytes, readable, storable
from tracelet.plugin import SerializerSpec, parquet_columns

__all__ = ["SPECS"]

#: The library of each class of tables. pandas had it in a module of its own before version 3.
_LIBRARIES = {
    "pandas:DataFrame": "pandas",
    "pandas.core.frame:DataFrame": "pandas",
    "polars.dataframe.frame:DataFrame": "polars",
    "pyarrow.lib:Table": "pyarrow",
}
#: Where a parquet file says which library the table is of, which columns of a data frame hold lists, at which steps the times
#: of its index follow each other (where it has them), and where Arrow says which types the columns had.
_MARK = b"tracelet"
_LISTS = b"tracelet.lists"
_STEPS = b"tracelet.steps"
_TYPES = b"ARROW:schema"
_BLOCK = 1 << 20
#: What parquet calls text, and the ways of writing it, by their numbers, in which a text is written as a whole.
_TEXT = "BYTE_ARRAY"
_COUNTED = frozenset({0, 2, 3, 8})
#: Bytes of memory that a value takes which is no text, and those of a cell of csv.
_WIDEST, _CELL = 16, 32
#: Before it, a column's type could be a pickle.
_SAFE_SINCE = (14, 0, 1)
#: The release since when pandas reads numbers as they were written without being told to.
_EXACT_SINCE = (3, 1)


def _is_table(value: Any) -> bool:
    return not ancestry(value).isdisjoint(_LIBRARIES)


def _library_of(value: Any) -> str:
    found = _LIBRARIES.get(class_path(type(value)))
    if found is None:
        raise TypeError(f"it is {called(value)}: give a table of pandas, polars or pyarrow")
    return found


def _pandas() -> Any:
    return library("pandas", "pandas", "tables of pandas")


def _polars() -> Any:
    return library("polars", "polars", "tables of polars")


def _arrow() -> Any:
    return library("pyarrow", "pyarrow", "parquet files")


def _parquet() -> Any:
    return library("pyarrow.parquet", "pyarrow", "parquet files")


# -- parquet


def _frame(table: Any) -> Any:
    """Return a data frame.

    Its lists are lists again, where arrays would come back, and its texts objects where they were: pandas has had a type of
    their own since version 3.
    """
    pandas = _pandas()  # where it is missing, pyarrow says nothing of it
    said = dict(table.schema.metadata)
    lists, steps = json.loads(said.pop(_LISTS)), said.pop(_STEPS, None)
    frame = table.replace_schema_metadata(said).to_pandas()
    for position in dict.fromkeys(lists):
        column = pandas.Series(table.column(position).to_pylist(), frame.index, object)
        frame.isetitem(position, column)
    for position, told in zip(range(frame.shape[1]), table.schema.pandas_metadata["columns"], strict=False):
        if (told["pandas_type"], told["numpy_type"]) == ("unicode", "object"):
            texts = frame.iloc[:, position].astype(object)
            frame.isetitem(position, texts.where(texts.notna(), None))
    if steps is not None:
        # A release of pandas that has another word for them gives the times without.
        with contextlib.suppress(ValueError):
            frame.index.freq = steps.decode()
    return frame


def _of_frame(frame: Any) -> Any:
    """Return a data frame as a table of Arrow, which says which of its columns hold lists, and the steps of its index."""
    arrow, pandas = _arrow(), _pandas()
    table = arrow.Table.from_pandas(frame)
    lists = [
        position
        for position in range(frame.shape[1])
        if arrow.types.is_list(table.schema.types[position])
        and any(isinstance(value, list) for value in frame.iloc[:, position])
    ]
    said = {_LISTS: json.dumps(lists).encode()}
    if isinstance(frame.index, (pandas.DatetimeIndex, pandas.TimedeltaIndex)) and frame.index.freq is not None:
        said[_STEPS] = frame.index.freqstr.encode()
    return table.replace_schema_metadata({**table.schema.metadata, **said})


_TO_ARROW: dict[str, Callable[[Any], Any]] = {
    "pandas": _of_frame,
    "polars": lambda table: table.to_arrow(compat_level=_polars().CompatLevel.oldest()),
    "pyarrow": lambda table: table,
}
_FROM_ARROW: dict[str, Callable[[Any], Any]] = {
    "pandas": _frame,
    "polars": lambda table: _polars().from_arrow(table),
    "pyarrow": lambda table: table,
}


def _write(value: Any, place: Any) -> None:
    kind = _library_of(value)
    table = _TO_ARROW[kind](value)
    # In how many pieces it is in memory would show in the bytes.
    table = table.combine_chunks() if table.num_rows else table.schema.empty_table()
    said = {**(table.schema.metadata or {}), _MARK: kind.encode()}
    _parquet().write_table(table.replace_schema_metadata(said), place, use_compliant_nested_type=False)


def _read(file: Any) -> Any:
    said = dict(file.metadata.metadata)
    kind = said.pop(_MARK).decode()
    table = file.read()
    arrow = _arrow()
    types = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(said.pop(_TYPES))))
    for position, field in enumerate(types):
        # Parquet has no seconds.
        if arrow.types.is_timestamp(field.type):
            table = table.set_column(position, field, table.column(position).cast(field.type))
    return _FROM_ARROW[kind](table.replace_schema_metadata(said or None))


@storable
def _check_parquet(value: Any) -> None:
    there = io.BytesIO()
    _write(value, there)
    _compare(value, _read(_parquet().ParquetFile(there)))


@storable
def _dump_parquet(value: Any, path: Path) -> None:
    _write(value, path)
    with _parquet().ParquetFile(path) as file:
        _compare(value, _read(file))


@readable
def _load_parquet(path: Path, trust: bool) -> Any:
    check_version(_arrow(), _SAFE_SINCE, trust)
    with _parquet().ParquetFile(path) as file:
        if not trust:
            with path.open("rb") as stream:
                _check_memory(file, stream, path)
        return _read(file)


def _check_memory(file: Any, stream: BinaryIO, path: Path) -> None:
    """Raise :class:`~tracelet.exceptions.UnsafeContent` where a table may fill the memory.

    Written once, a text may be in as many rows as there are: the length of the longest says how much that is at most, and
    where it could be too much, they are read as numbers of texts, and counted.
    """
    size_bytes = path.stat().st_size
    columns = [
        (file.schema.column(number), column)
        for group in range(file.num_row_groups)
        for number, column in enumerate(parquet_columns(stream, file.metadata, group))
    ]
    check_values(sum(column.values for _, column in columns), size_bytes, False)
    texts = {one.path for one, _ in columns if one.physical_type == _TEXT}
    others = sum(column.values * max(one.length, _WIDEST) for one, column in columns if one.path not in texts)
    check_bytes(others + sum(column.unpacked for _, column in columns), size_bytes, False)
    longest = sum(column.values * column.largest for one, column in columns if one.path in texts)
    if others + longest <= most_bytes(size_bytes):
        return
    if any(column.encodings - _COUNTED for one, column in columns if one.path in texts):
        check_bytes(others + longest, size_bytes, False)
    with _parquet().ParquetFile(path, read_dictionary=sorted(texts)) as numbered:
        for group in range(file.num_row_groups):
            table = numbered.read_row_group(group)
            others += sum(
                _text_bytes(table.column(position))
                for position, kind in enumerate(file.schema_arrow.types)
                if not _arrow().types.is_dictionary(kind)
            )
            check_bytes(others, size_bytes, False)


def _text_bytes(column: Any) -> int:
    """Return how many bytes the texts of a column have, those in its lists and records among them."""
    types = _arrow().types
    if isinstance(column, _arrow().ChunkedArray):
        return sum(map(_text_bytes, column.chunks))
    if types.is_dictionary(column.type):
        compute = library("pyarrow.compute", "pyarrow", "parquet files")
        lengths = compute.cast(compute.binary_length(column.dictionary), "int64")
        return compute.sum(compute.take(lengths, column.indices)).as_py() or 0
    if types.is_map(column.type):
        return _text_bytes(column.keys) + _text_bytes(column.items)
    if types.is_struct(column.type):
        return sum(map(_text_bytes, column.flatten()))
    return _text_bytes(column.flatten()) if types.is_nested(column.type) else 0


# -- csv


def _plain_frame(value: Any) -> Any:
    kind = _library_of(value)
    frame = value if kind == "pandas" else value.to_pandas()
    if not frame.index.equals(_pandas().RangeIndex(len(frame))) or frame.index.name is not None:
        raise TypeError("it has an index, which csv files have not: say .reset_index()")
    return frame


def _write_csv(frame: Any, place: Any) -> None:
    frame.to_csv(place, index=False, lineterminator="\n", encoding="utf-8")


def _read_csv(place: Any) -> Any:
    pandas = _pandas()
    exact = {"float_precision": "round_trip"} if release_of(pandas) < _EXACT_SINCE else {}
    # Nothing but an empty field is no value.
    return pandas.read_csv(place, keep_default_na=False, na_values=[""], encoding="utf-8", low_memory=False, **exact)


@storable
def _check_csv(value: Any) -> None:
    frame = _plain_frame(value)
    there = io.BytesIO()
    _write_csv(frame, there)
    there.seek(0)
    _compare(frame, _read_csv(there))


@storable
def _dump_csv(value: Any, path: Path) -> None:
    frame = _plain_frame(value)
    _write_csv(frame, path)
    _compare(frame, _read_csv(path))


@readable
def _load_csv(path: Path, trust: bool) -> Any:
    with path.open("rb") as stream:
        cells = _cells(stream)
    check_values(cells, path.stat().st_size, trust)
    check_bytes(_CELL * cells, path.stat().st_size, trust)
    return _read_csv(path)


def _cells(stream: IO[bytes]) -> int:
    """Return how many cells a csv file has at most: a short line stands for as many as the first has."""
    columns = stream.readline().count(b",") + 1
    rows = 1
    while block := stream.read(_BLOCK):
        rows += block.count(b"\n") + block.count(b"\r")
    return columns * rows


# -- what comes back

#: The names and types of a table's columns.
_COLUMNS: dict[str, Callable[[Any], Iterable[tuple[Any, Any]]]] = {
    "pandas": lambda table: zip(table.columns, table.dtypes, strict=True),
    "polars": lambda table: table.schema.items(),
    "pyarrow": lambda table: zip(table.schema.names, table.schema.types, strict=True),
}


def _compare(before: Any, after: Any) -> None:
    """Raise ``TypeError`` where a table would come back as another, with the column that is at fault."""
    kind = _library_of(before)
    was, becomes = list(_COLUMNS[kind](before)), list(_COLUMNS[kind](after))
    names, others = [name for name, _ in was], [name for name, _ in becomes]
    if names != others:
        raise TypeError(f"its columns are {names!r:.200}, and would come back as {others!r:.200}: rename them")
    for (name, one), (_, other) in zip(was, becomes, strict=True):
        if one != other:
            raise TypeError(f"its column {name!r} is {one}, and would come back as {other}: convert it")
    if kind == "pandas":
        _compare_frames(before, after)
    if len(before) != len(after):
        raise TypeError(f"its {len(before):,} rows have no columns, and would come back as {len(after):,}: give it one")


def _compare_frames(before: Any, after: Any) -> None:
    for axis in ("columns", "index"):
        one, other = getattr(before, axis), getattr(after, axis)
        if one.dtype != other.dtype or one.names != other.names or not one.equals(other):
            raise TypeError(f"its {axis} are {one!r:.200}, and would come back as {other!r:.200}: change them")
    steps, others = (getattr(one.index, "freq", None) for one in (before, after))
    if steps != others:
        raise TypeError(
            f"its index has steps of {steps!r:.200}, and would come back with {others!r}: set its freq to None"
        )
    for position, name in enumerate(before.columns):
        if not before.iloc[:, position].equals(after.iloc[:, position]):
            raise TypeError(f"its column {name!r} would come back with other values: convert it")


#: ``parquet`` and ``csv``.
SPECS = (
    SerializerSpec(
        name="parquet",
        suffix=".parquet",
        dump=_dump_parquet,
        load=_load_parquet,
        safe=True,
        matches=_is_table,
        check=_check_parquet,
    ),
    SerializerSpec(name="csv", suffix=".csv", dump=_dump_csv, load=_load_csv, safe=True, check=_check_csv),
)
