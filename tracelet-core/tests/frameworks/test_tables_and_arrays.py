"""Tables, arrays, pictures and figures: what is put in comes back equal, in its own class, or is refused when it is added."""

from __future__ import annotations

import base64
import datetime
import decimal
import inspect
import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet import ArtifactError, ArtifactType, Experiment, TraceletArtifact
from tracelet.builtin.objects import tracelet_serializers
from tracelet.exceptions import UnsafeContent

pandas = import_module("pandas")
arrow = import_module("pyarrow")
parquet = import_module("pyarrow.parquet")
images = import_module("PIL.Image")
graphs = import_module("plotly.graph_objects")
torch = import_module("torch")

SPECS = {spec.name: spec for spec in tracelet_serializers()}


@pytest.fixture
def exp(home: Path) -> Iterator[Experiment]:
    with Experiment("objects", artifacts=True) as made:
        yield made


def thing(exp: Experiment) -> TraceletArtifact:
    return exp.create_artifact("thing", ArtifactType.DATASET)


def there_and_back(name: str, value: Any, folder: Path) -> Any:
    """What comes back of a value. Written again it is the same bytes."""
    spec = SPECS[name]
    path, again = folder / f"object{spec.suffix}", folder / f"again{spec.suffix}"
    spec.check(value)
    spec.dump(value, path)
    back = spec.load(path, False)
    spec.dump(back, again)
    assert again.read_bytes() == path.read_bytes()
    return back


def refused(name: str, value: Any, folder: Path, reason: str) -> None:
    for act in (SPECS[name].check, lambda one: SPECS[name].dump(one, folder / "refused")):
        with pytest.raises((TypeError, ValueError), match=reason):
            act(value)


# -- which one is chosen


def frame() -> Any:
    return pandas.DataFrame({"name": ["a", "b"], "score": [0.5, float("nan")]})


def test_a_reason_can_be_printed_whatever_text_is_at_fault(tmp_path: Path) -> None:
    for name, value in [
        ("parquet", pandas.DataFrame({"a": pandas.Series(["\ud800"], dtype=object)})),
        ("npz", {"\ud800": np.zeros(1)}),
        ("plotly", graphs.Figure(layout={"title": "\ud800"})),
    ]:
        with pytest.raises(TypeError, match="surrogates not allowed") as caught:
            SPECS[name].check(value)
        assert len(str(caught.value).encode()) < 200


@pytest.mark.parametrize(
    ("make", "serializer"),
    [
        (lambda: {"lr": 0.1}, "json"),
        (lambda: np.arange(10_000), "json"),
        (lambda: {"a": np.arange(3)}, "json"),
        (lambda: np.arange(10_001), "npy"),
        (lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), "npy"),
        (lambda: torch.zeros(101, 100), "npy"),
        (lambda: {"train": np.arange(10_001), "test": np.arange(3)}, "npz"),
        (frame, "parquet"),
        (lambda: arrow.table({"a": [1]}), "parquet"),
        (lambda: images.new("RGB", (2, 2)), "png"),
        (lambda: graphs.Figure(graphs.Scatter(y=[1, 2])), "plotly"),
    ],
    ids=[
        "dict",
        "small",
        "dict of small",
        "large",
        "records",
        "tensor",
        "dict of large",
        "pandas",
        "arrow",
        "image",
        "plotly",
    ],
)
@pytest.mark.parametrize("bare", [False, True], ids=["created", "bare"])
def test_what_json_does_not_take_has_the_form_that_is_made_for_it(
    exp: Experiment, make: Any, serializer: str, bare: bool
) -> None:
    artifact = TraceletArtifact("thing", "dataset") if bare else thing(exp)
    artifact.add_object(make(), "it")
    assert bare or artifact.objects[0].serializer == serializer
    exp.log_artifact(artifact).raise_for_errors()
    logged = exp.get_artifact("thing")
    assert logged.objects[0].serializer == serializer
    assert logged.objects[0].artifact_path == f"objects/it{SPECS[serializer].suffix}"
    assert logged.load_object("it") is not None


def test_who_names_a_serializer_gets_that_one(exp: Experiment) -> None:
    with pytest.raises(ArtifactError, match="is a DataFrame, which has no plain form"):
        thing(exp).add_object(frame(), "it", "json")
    picture = np.zeros((2, 3, 3), "uint8")
    artifact = thing(exp).add_object(picture, "it").add_object(picture, "picture", serializer="png")
    artifact.add_object(frame(), "table", None)
    assert [one.serializer for one in artifact.objects] == ["json", "png", "parquet"]


def test_what_none_takes_has_the_reason_of_json(exp: Experiment) -> None:
    with pytest.raises(ArtifactError, match="cannot be stored as json: it is a Series, and its index would be lost"):
        thing(exp).add_object(pandas.Series([1]), "it")


def test_what_the_chosen_one_cannot_store_has_its_reason(exp: Experiment) -> None:
    with pytest.raises(ArtifactError, match="cannot be stored as parquet: its column 'a' is category"):
        thing(exp).add_object(pandas.DataFrame({"a": pandas.Categorical([1, 2])}), "it")


# -- arrays

KINDS = ["?", "u1", "i8", "<f4", ">i4", "f2", "c16", "M8[s]", "m8[ms]", "U3", "S2", "V3", [("a", "<i4"), ("b", "U2")]]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 0), (2, 3, 4)])
def test_arrays_of_each_kind_come_back_equal(kind: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.zeros(shape, kind)
    back = there_and_back("npy", array, tmp_path)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()
    assert back.flags.writeable


@given(st.lists(st.floats(width=32), max_size=12), st.sampled_from([(-1,), (-1, 1), (1, -1)]), st.booleans())
def test_any_numbers_come_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], shape: tuple[int, ...], turned: bool
) -> None:
    array = np.array(numbers, "f4").reshape(shape if numbers else (0,))
    array = array.T if turned else array
    folder = tmp_path_factory.getbasetemp()
    assert there_and_back("npy", array, folder).tobytes() == array.tobytes()
    back = there_and_back("npz", {"x": array, "y": array[::2]}, folder)
    assert [(name, one.tobytes()) for name, one in back.items()] == [
        ("x", array.tobytes()), ("y", array[::2].tobytes()),
    ]  # fmt: skip


def test_arrays_that_are_equal_have_equal_bytes_however_they_lie_in_memory(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    for number, one in enumerate((array, np.asfortranarray(array), np.arange(24.0).reshape(3, 8)[:, ::2] / 2)):
        SPECS["npy"].dump(one, tmp_path / str(number))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_what_numpy_writes_by_columns_is_read(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.save(tmp_path / "a.npy", array)
    assert (SPECS["npy"].load(tmp_path / "a.npy", False) == array).all()


def test_a_tensor_comes_back_as_an_array(tmp_path: Path) -> None:
    tensor = torch.nn.Parameter(torch.arange(4.0))
    back = there_and_back("npy", tensor, tmp_path)
    assert (back == tensor.detach().numpy()).all()


def test_an_array_that_lies_in_a_file_is_an_array(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "map", "i4", "w+", shape=(3,))
    assert (there_and_back("npy", mapped, tmp_path) == mapped).all()


def test_the_names_of_arrays_may_be_any_text(tmp_path: Path) -> None:
    value = {"": np.ones(1), "größe/x": np.ones(2), "../up": np.ones(3), "a.npy": np.ones(4)}
    back = there_and_back("npz", value, tmp_path)
    assert {name: len(one) for name, one in back.items()} == {"": 1, "größe/x": 2, "../up": 3, "a.npy": 4}
    assert there_and_back("npz", {}, tmp_path) == {}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: np.array([object()]), "it is an array of object: Object arrays cannot be saved"),
        (lambda: np.ma.array([1], mask=[True]), r"MaskedArray: give a numpy array, such as numpy\.asarray"),
        (lambda: np.matrix([[1]]), "numpy.matrix: give a numpy array"),
        (lambda: np.float64(1), "numpy.float64: give a numpy array"),
        (lambda: [1, 2], "builtins.list: give a numpy array"),
        (lambda: np.zeros(1, [("größe", "i4"), ("中", "i4")]), "names that are not Latin: rename its fields"),
        (lambda: np.zeros(1, [(f"field {n}", "i4") for n in range(2_000)]), "Header info length"),
        (lambda: torch.zeros(2, dtype=torch.bfloat16), "a tensor that cannot be a numpy array: .*BFloat16"),
        (lambda: torch.zeros(2, device="meta"), "a tensor that cannot be a numpy array"),
    ],
    ids=range(9),
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore:Stored array in format 3.0:UserWarning")
def test_arrays_that_would_come_back_otherwise_are_refused(make: Any, reason: str, tmp_path: Path) -> None:
    refused("npy", make(), tmp_path, reason)


def test_kinds_that_numpy_does_not_know_are_refused(tmp_path: Path) -> None:
    kinds = import_module("ml_dtypes")
    refused("npy", np.zeros(2, kinds.bfloat16), tmp_path, r"array of bfloat16, and would come back as one of \|V2")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([np.ones(1)], "builtins.list: give a dict of arrays"),
        ({1: np.ones(1)}, "has the key 1: keys are text"),
        ({"a\0b": np.ones(1)}, "keys are text of up to 10,000 bytes without NUL"),
        ({"a" * 10_001: np.ones(1)}, "keys are text of up to 10,000 bytes"),
        ({"a": [1]}, r"it\['a'\] is a builtins.list"),
        ({"a": np.array([None])}, r"it\['a'\] is an array of object"),
    ],
    ids=range(6),
)
def test_dicts_that_would_come_back_otherwise_are_refused(value: Any, reason: str, tmp_path: Path) -> None:
    refused("npz", value, tmp_path, reason)


def header(shape: object, kind: str = "'<f8'", version: int = 1) -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        header((10**12,)),
        header((2**63, 2**63)),
        header((-1,)) + bytes(8),
        header((-1, -1)) + bytes(8),
        header((1,)) + bytes(9),
        header((2,)) + bytes(8),
        header((1,), "'|O'") + b"\x80\x05N.",
        header((1,), version=3) + bytes(8),
        header((1,), "[('a', '|O')]") + bytes(8),
    ],
    ids=range(9),
)
def test_a_header_that_does_not_fit_its_file_takes_no_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match="does not hold an object"):
        SPECS["npy"].load(tmp_path / "a.npy", True)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ArtifactError, match="does not hold an object"):
        SPECS["npz"].load(tmp_path / "a.npz", True)


def test_arrays_that_are_packed_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1_000_000))
    with pytest.raises(ArtifactError, match="its arrays are packed, and may have any size"):
        SPECS["npz"].load(tmp_path / "a.npz", True)


def test_arrays_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header((1_000,)) + bytes(8_000))
        archive.filelist *= 500
    with pytest.raises(ArtifactError, match="its arrays are packed"):
        SPECS["npz"].load(tmp_path / "a.npz", True)


# -- tables

SECONDS = np.array(["2026-01-02", "NaT"], "M8[s]")
FRAMES: dict[str, Any] = {
    "numbers": {"a": [1, 2], "b": [0.5, float("nan")], "c": [True, False]},
    "small numbers": {"a": np.array([1, 2], "u1"), "b": np.array([0.5, 1], "f4"), "c": np.array([0.5, 1], "f2")},
    "texts": {"a": ["x", None], "b": ["", "größe"]},
    "objects": {"a": pandas.Series(["x", None], dtype=object), "b": pandas.Series([b"x", b""], dtype=object)},
    "times": {"a": SECONDS, "b": SECONDS.astype("M8[ns]"), "c": np.array([1, 2], "m8[ns]")},
    "zones": {"a": pandas.Series(SECONDS).dt.tz_localize("Europe/Berlin")},
    "categories": {"a": pandas.Categorical(["x", "y"], categories=["z", "x", "y"], ordered=True)},
    "dates": {"a": [datetime.date(2026, 1, 2), None], "b": [datetime.time(1, 2), datetime.time(3)]},
    "decimals": {"a": [decimal.Decimal("1.50"), decimal.Decimal("2")]},
    "nullable": {"a": pandas.array([1, None], dtype="Int64"), "b": pandas.array([True, None], dtype="boolean")},
    "arrow": {"a": pandas.array([1, None], dtype=pandas.ArrowDtype(arrow.int32()))},
    "periods": {"a": pandas.period_range("2026", periods=2)},
    "records": {"a": [{"x": 1}, {"x": 2}]},
    "lists": {"a": [["x", "y"], None], "b": [[[1], [2, 3]], []], "c": [[{"x": 0.5}], [None]]},
    "arrays": {"a": [np.arange(2), np.arange(3.0)[:0].astype(int)]},
    "nothing": {"a": np.zeros(0)},
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray that drops timezone:DeprecationWarning")
def test_data_frames_come_back_equal_from_parquet(name: str, tmp_path: Path) -> None:
    value = pandas.DataFrame(FRAMES[name])
    pandas.testing.assert_frame_equal(there_and_back("parquet", value, tmp_path), value)


@pytest.mark.parametrize(
    "index",
    [
        pandas.RangeIndex(5, 9, 2, name="i"),
        pandas.Index(["x", "y"], name="key"),
        pandas.DatetimeIndex(SECONDS),
        pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"]),
    ],
    ids=["range", "texts", "times", "levels"],
)
def test_the_index_of_a_data_frame_comes_back_too(index: Any, tmp_path: Path) -> None:
    value = pandas.DataFrame({"a": [1, 2]}, index=index)
    value.attrs["source"] = "a sensor"
    back = there_and_back("parquet", value, tmp_path)
    pandas.testing.assert_frame_equal(back, value)
    assert back.attrs == value.attrs


@pytest.mark.parametrize(
    "value",
    [pandas.DataFrame(np.eye(3)), pandas.DataFrame(), pandas.DataFrame([[1]], columns=pandas.Index(["a"], name="n"))],
    ids=["numbered", "empty", "named"],
)
def test_the_columns_of_a_data_frame_have_the_names_that_they_had(value: Any, tmp_path: Path) -> None:
    pandas.testing.assert_frame_equal(there_and_back("parquet", value, tmp_path), value, check_column_type=False)


class Frame(pandas.DataFrame):  # type: ignore[misc]
    """A data frame with more to it."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: pandas.DataFrame({"a": pandas.Categorical([1])}), "'a' is category, and would come back as int64"),
        (lambda: pandas.DataFrame({"a": [1, "x"]}), "Could not convert 'x' with type str.*; .* column a"),
        (lambda: pandas.DataFrame({"a": [(1, 2), (3,)]}), "'a' would come back with other values: convert it"),
        (lambda: pandas.DataFrame({"a": pandas.Series([1, None], dtype=object)}), "'a' is object, and would"),
        (lambda: pandas.DataFrame({"a": [1j]}), "ArrowNotImplementedError: .*column a"),
        (lambda: pandas.DataFrame({0: [1], "a": [2]}), r"its columns are .*, and would come back as .*: rename them"),
        (lambda: pandas.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
        (lambda: Frame({"a": [1]}), "Frame: give a table of pandas, polars or pyarrow"),
        (lambda: [{"a": 1}], "builtins.list: give a table"),
        (
            lambda: arrow.table({"a": arrow.array([0], arrow.date64())}),
            r"'a' is date64\[ms\], and would come back as date32",
        ),
    ],
    ids=range(10),
)
@pytest.mark.filterwarnings("ignore:The DataFrame has column names of mixed type:UserWarning")
def test_tables_that_would_come_back_otherwise_are_refused(make: Any, reason: str, tmp_path: Path) -> None:
    refused("parquet", make(), tmp_path, reason)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TABLES = st.integers(0, 5).flatmap(
    lambda rows: st.dictionaries(
        TEXTS,
        st.one_of(
            st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=rows, max_size=rows),
            st.lists(st.floats(allow_nan=False), min_size=rows, max_size=rows),
            st.lists(TEXTS | st.none(), min_size=rows, max_size=rows),
            st.lists(st.booleans(), min_size=rows, max_size=rows),
            st.lists(st.lists(TEXTS, max_size=2), min_size=rows, max_size=rows),
            st.lists(st.datetimes(), min_size=rows, max_size=rows),
        ),
        max_size=4,
    )
)


@given(TABLES)
def test_any_table_of_arrow_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Any]) -> None:
    value = arrow.table(columns)
    back = there_and_back("parquet", value, tmp_path_factory.getbasetemp())
    assert back.schema.equals(value.schema, check_metadata=True)
    assert back.equals(value)


@given(TABLES)
def test_any_table_of_polars_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Any]
) -> None:
    polars = import_module("polars")
    value = polars.DataFrame({name.replace("\0", ""): column for name, column in columns.items()})
    if "" in value.columns:  # polars names it
        refused(
            "parquet", value, tmp_path_factory.getbasetemp(), "its columns are .*, and would come back as .*column_"
        )
        return
    back = there_and_back("parquet", value, tmp_path_factory.getbasetemp())
    assert back.schema == value.schema
    assert back.equals(value)


@given(TABLES)
def test_any_data_frame_comes_back_equal_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Any]
) -> None:
    value = pandas.DataFrame(columns)
    folder = tmp_path_factory.getbasetemp()
    for name in ("parquet", "csv"):
        try:
            SPECS[name].check(value)
        except (TypeError, ValueError):
            continue
        back = there_and_back(name, value, folder)
        assert list(back.dtypes) == list(value.dtypes)
        assert back.equals(value)


@pytest.mark.parametrize(
    "index",
    [
        pandas.date_range("2026-01-31", periods=3, freq="ME"),
        pandas.date_range("2026-01-01", periods=3, freq="2h"),
        pandas.timedelta_range("1s", periods=3, freq="5s"),
    ],
)
def test_the_steps_of_an_index_of_times_come_back_too(index: Any, tmp_path: Path) -> None:
    with_steps = pandas.DataFrame({"a": [1, 2, 3]}, index=index)
    without = with_steps.set_axis(index._with_freq(None))
    for value in (with_steps, without):
        pandas.testing.assert_frame_equal(there_and_back("parquet", value, tmp_path), value)


def test_steps_that_have_no_name_of_their_own_are_refused(tmp_path: Path) -> None:
    days = pandas.offsets.CustomBusinessDay(holidays=["2026-01-02"])
    value = pandas.DataFrame({"a": [1, 2, 3]}, index=pandas.date_range("2026-01-01", periods=3, freq=days))
    refused("parquet", value, tmp_path, "steps of .*set its freq to None")


def test_rows_without_a_column_are_refused(tmp_path: Path) -> None:
    refused("parquet", arrow.table({"a": [1, 2]}).select([]), tmp_path, "2 rows have no columns")


def test_a_table_of_polars_keeps_its_own_types(tmp_path: Path) -> None:
    polars = import_module("polars")
    value = polars.DataFrame(
        {"a": polars.Series(["u", "v"], dtype=polars.Enum(["u", "v"])), "b": [[1.5], [float("nan")]]}
    ).with_columns(c=polars.col("a").cast(polars.Categorical), d=polars.lit(datetime.date(2026, 1, 2)))
    back = there_and_back("parquet", value, tmp_path)
    assert back.schema == value.schema
    assert back.equals(value)
    refused("parquet", polars.DataFrame({"a": [object()]}), tmp_path, "'a' is Object, and would come back as Binary")
    refused("parquet", value.lazy(), tmp_path, "LazyFrame: give a table")
    assert SPECS["parquet"].matches(value)
    assert there_and_back("csv", polars.DataFrame({"a": [1, 2]}), tmp_path).equals(pandas.DataFrame({"a": [1, 2]}))


def test_a_table_of_arrow_keeps_its_seconds_and_its_metadata(tmp_path: Path) -> None:
    value = arrow.table({"a": arrow.array([0, None], arrow.timestamp("s", "UTC")), "b": [[1], []]})
    value = value.replace_schema_metadata({"source": "a sensor"})
    back = there_and_back("parquet", value, tmp_path)
    assert back.schema.equals(value.schema, check_metadata=True)
    assert back.equals(value)


def test_a_parquet_file_is_one_that_anybody_reads(tmp_path: Path) -> None:
    SPECS["parquet"].dump(frame(), tmp_path / "a.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "a.parquet"), frame())


def test_a_release_of_pyarrow_that_runs_what_a_file_brings_needs_trust(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    SPECS["parquet"].dump(frame(), tmp_path / "a.parquet")
    monkeypatch.setattr(arrow, "__version__", "14.0.0")
    with pytest.raises(UnsafeContent, match=r"while pyarrow 14\.0\.0 loads it: upgrade to pyarrow 14\.0\.1 or later"):
        SPECS["parquet"].load(tmp_path / "a.parquet", False)
    assert SPECS["parquet"].load(tmp_path / "a.parquet", True).equals(frame())


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ArtifactError, match="does not hold an object that can be loaded"):
        SPECS["parquet"].load(tmp_path / "a.parquet", True)


def test_a_small_file_that_stands_for_a_large_table_needs_trust(tmp_path: Path) -> None:
    plain = arrow.table({"a": np.zeros(15_000_000, "i1")}, metadata={"tracelet": "pyarrow"})
    listed = arrow.ListArray.from_arrays([0, 15_000_000], plain.column("a").combine_chunks())
    pages = "max_rows_per_page" in inspect.signature(parquet.write_table).parameters
    packed = {"row_group_size": 2**26, **({"max_rows_per_page": 2**30} if pages else {})}
    for value in (plain, arrow.table({"a": listed}, metadata=plain.schema.metadata)):
        parquet.write_table(value, tmp_path / "a.parquet", **packed)
        with pytest.raises(UnsafeContent, match=r"bytes stand for 15,000,000 values, .*: say trust=True"):
            SPECS["parquet"].load(tmp_path / "a.parquet", False)
        assert SPECS["parquet"].load(tmp_path / "a.parquet", True).num_rows == value.num_rows
    (tmp_path / "a.csv").write_text("," * 30_000 + "\n" + "1\n" * 30_000)
    with pytest.raises(UnsafeContent, match=r"bytes stand for 900,\d+,\d+ values"):
        SPECS["csv"].load(tmp_path / "a.csv", False)
    (tmp_path / "a.csv").write_text("," * 20_000 + "\n" + "1234567890\n" * 1_700)
    with pytest.raises(UnsafeContent, match=r"bytes take 1,088,\d+,\d+ bytes or more of memory"):
        SPECS["csv"].load(tmp_path / "a.csv", False)


def numbered(text: str, count: int) -> Any:
    """So many rows of one text, which memory has once."""
    return arrow.DictionaryArray.from_arrays(arrow.array(np.zeros(count, "i4")), arrow.array([text]))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (numbered("x" * 1_000_000, 3_000), arrow.string()),
        (numbered("x" * 1_000_000, 3_000), arrow.large_string()),
        (arrow.ListArray.from_arrays([0, 3_000], numbered("x" * 1_000_000, 3_000)), arrow.list_(arrow.string())),
        (
            arrow.MapArray.from_arrays([0, 3_000], np.arange(3_000), numbered("x" * 1_000_000, 3_000)),
            arrow.map_(arrow.int64(), arrow.string()),
        ),
        (
            arrow.StructArray.from_arrays([numbered("x" * 1_000_000, 3_000)], ["a"]),
            arrow.struct([("a", arrow.string())]),
        ),
    ],
)
def test_a_text_that_is_in_every_row_of_a_small_file_needs_trust(column: Any, kind: Any, tmp_path: Path) -> None:
    """It is in the file once, and would be in memory thousands of times."""
    path = tmp_path / "a.parquet"
    # As one that writes each text out has it: the types are said at the end of the file.
    types = arrow.schema([("a", kind)])
    parquet.write_table(
        arrow.table({"a": column}, metadata={"tracelet": "pyarrow", "ARROW:other!": encoded(types)}), path
    )
    path.write_bytes(
        path.read_bytes().replace(b"ARROW:schema", b"ARROW:before").replace(b"ARROW:other!", b"ARROW:schema")
    )
    with pytest.raises(UnsafeContent, match=r"bytes take 3,0\d\d,\d+,\d+ bytes or more of memory, .*: say trust=True"):
        SPECS["parquet"].load(path, False)


def encoded(types: Any) -> bytes:
    return base64.b64encode(types.serialize().to_pybytes())


def test_texts_that_are_written_by_what_they_have_in_common_need_trust(tmp_path: Path) -> None:
    value = arrow.table({"a": ["long" * 100_000, *map(str, range(3_000))]}, metadata={"tracelet": "pyarrow"})
    how = {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}, "compression": "zstd"}
    parquet.write_table(value, tmp_path / "a.parquet", **how)
    with pytest.raises(UnsafeContent, match=r"bytes or more of memory"):
        SPECS["parquet"].load(tmp_path / "a.parquet", False)
    assert SPECS["parquet"].load(tmp_path / "a.parquet", True).equals(value)


def test_few_long_texts_among_many_short_ones_are_counted_and_come_back(tmp_path: Path) -> None:
    texts = ["long" * 100_000, *map(str, range(3_000))]
    value = arrow.table(
        {
            "text": texts,
            "number": range(3_001),
            "category": arrow.array(texts).dictionary_encode(),
            "list": [[text, None] for text in texts],
            "map": arrow.array([[(text, "a")] for text in texts], arrow.map_(arrow.string(), arrow.string())),
            "record": [{"a": text, "b": [text]} for text in texts],
            "gap": arrow.nulls(3_001, arrow.string()),
        }
    )
    SPECS["parquet"].dump(value, tmp_path / "a.parquet")
    assert SPECS["parquet"].load(tmp_path / "a.parquet", False).equals(value)


def test_a_picture_that_would_fill_the_memory_needs_trust_also_where_pillow_has_no_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_PIXELS", None)
    SPECS["png"].dump(images.new("1", (40, 30)), tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    head = b"IHDR" + struct.pack(">2I", 60_000, 60_000) + whole[24:29]
    (tmp_path / "a.png").write_bytes(whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:])
    with pytest.raises(UnsafeContent, match=r"bytes take 14,400,000,000 bytes or more of memory"):
        SPECS["png"].load(tmp_path / "a.png", False)


def test_plain_tables_come_back_equal_from_csv(tmp_path: Path) -> None:
    value = pandas.DataFrame(
        {
            "n": [1, 2],
            "x": [0.1 + 0.2, float("nan")],
            "b": [True, False],
            "t": ["a, b", 'c "d"\n\r'],
            "NA": ["NA", None],
            "größe": [1e300, -float("inf")],
        }
    )
    pandas.testing.assert_frame_equal(there_and_back("csv", value, tmp_path), value)
    assert (tmp_path / "object.csv").read_text(encoding="utf-8").startswith("n,x,b,t,NA,größe\n1,0.3000")
    back = there_and_back("csv", arrow.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path)
    pandas.testing.assert_frame_equal(back, pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"a": ["007"]}, "'a' is str, and would come back as int64: convert it"),
        ({"a": np.array([1], "i4")}, "'a' is int32, and would come back as int64"),
        ({"a": SECONDS}, r"'a' is datetime64\[s\], and would come back as str"),
        ({"a": ["", "x"]}, "'a' would come back with other values"),
        ({}, "No columns to parse from file"),
        ({"a": pandas.Series(["\ud800"], dtype=object)}, "surrogates not allowed"),
    ],
    ids=range(6),
)
def test_tables_that_csv_would_change_are_refused(columns: Any, reason: str, tmp_path: Path) -> None:
    refused("csv", pandas.DataFrame(columns), tmp_path, reason)


def test_a_csv_file_has_no_index_and_no_name_for_its_columns(tmp_path: Path) -> None:
    for index in (pandas.Index(["x", "y"]), pandas.RangeIndex(1, 3), pandas.RangeIndex(2, name="i")):
        value = pandas.DataFrame({"a": [1, 2]}, index=index)
        refused("csv", value, tmp_path, r"it has an index, which csv files have not: say \.reset_index\(\)")
    named = pandas.DataFrame([[1]], columns=pandas.Index(["a"], name="n"))
    refused("csv", named, tmp_path, r"its columns are .*name='n'\), and would come back as .*: change them")


# -- pictures


@given(
    st.sampled_from(["1", "L", "LA", "I;16", "P", "RGB", "RGBA"]), st.integers(1, 5), st.integers(1, 5), st.randoms()
)
def test_images_come_back_pixel_by_pixel(
    tmp_path_factory: pytest.TempPathFactory, mode: str, width: int, height: int, chance: Any
) -> None:
    image = images.new(mode, (width, height))
    image.frombytes(chance.randbytes(len(image.tobytes())))
    if mode == "P":
        image.putpalette(chance.randbytes(3 * (image.getextrema()[1] + 1)))
    back = there_and_back("png", image, tmp_path_factory.getbasetemp())
    assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())
    assert type(back) is images.Image


def test_a_palette_its_transparency_and_a_colour_profile_come_back(tmp_path: Path) -> None:
    image = images.linear_gradient("L").resize((8, 8)).convert("P", palette=images.Palette.ADAPTIVE, colors=7)
    image.info.update(transparency=2, icc_profile=b"profile", dpi=(72, 72), comment="not kept")
    back = there_and_back("png", image, tmp_path)
    assert back.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    assert (back.info["transparency"], back.info["icc_profile"]) == (2, b"profile")
    assert "comment" not in back.info


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3), (3, 4, 4), (1, 1)], ids=str)
def test_an_array_that_is_asked_to_be_a_picture_comes_back_as_an_array(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    for one in (array, array[:, ::-1]):
        back = there_and_back("png", one, tmp_path)
        assert (back == one).all()
        assert (back.dtype, back.shape, back.flags.writeable) == (one.dtype, one.shape, True)
    with images.open(tmp_path / "object.png") as picture:
        assert picture.size == (shape[1], shape[0])
    assert not SPECS["png"].matches(array)


def cut_off() -> Any:
    content = io.BytesIO()
    images.effect_noise((200, 200), 90).save(content, "PNG")
    return images.open(io.BytesIO(content.getvalue()[:5_000]))


def closed() -> Any:
    image = images.new("L", (3, 3))
    image.close()
    return image


def drawn(title: str = "", **about: Any) -> Any:
    figure = import_module("matplotlib.figure").Figure(**about)
    figure.suptitle(title)
    return figure


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (cut_off, "truncated"),
        (closed, "closed image"),
        (lambda: drawn(r"$\frac{$"), "frac"),
        (lambda: drawn(figsize=(0.001, 0.001)), "empty image"),
        (lambda: drawn(figsize=(140, 140), dpi=100), "196,000,000 pixels.*figsize or dpi"),
    ],
)
def test_what_cannot_be_drawn_or_read_again_is_refused_when_it_is_added(
    exp: Experiment, make: Any, reason: str
) -> None:
    with pytest.raises(ArtifactError, match=f"(?s){reason}"):
        thing(exp).add_object(make(), "it", "png")


def test_a_figure_of_matplotlib_is_stored_as_it_is_drawn(tmp_path: Path) -> None:
    figures = import_module("matplotlib.figure")

    def drawn() -> Any:
        made = figures.Figure(figsize=(2, 1), dpi=50)
        made.subplots().plot([1, 3, 2])
        return made

    assert SPECS["png"].matches(drawn())
    SPECS["png"].check(drawn())
    for name in ("one.png", "two.png"):
        SPECS["png"].dump(drawn(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert SPECS["png"].load(tmp_path / "one.png", False).size == (100, 50)


def moving() -> Any:
    there = io.BytesIO()
    images.new("L", (2, 2)).save(there, "GIF", save_all=True, append_images=[images.new("L", (2, 2), 9)])
    return images.open(there)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: images.new("F", (2, 2)), r"an image of mode F, and png has 1, L, .*: say \.convert"),
        (lambda: images.new("CMYK", (2, 2)), "an image of mode CMYK"),
        (moving, "it has 2 frames, and png has one: add its file"),
        (lambda: images.new("L", (0, 2)), "it has 0 pixels"),
        (lambda: images.new("P", (2, 2)), "pixels that its palette has no colour for"),
        (lambda: np.zeros((2, 2), "f4"), r"an array of float32 of shape \(2, 2\), and a picture has uint8"),
        (lambda: np.zeros((2, 2, 2), "u1"), r"shape \(2, 2, 2\)"),
        (lambda: np.zeros(2, "u1"), r"shape \(2,\)"),
        (lambda: np.broadcast_to(np.uint8(0), (20_000, 20_000)), "it has 400,000,000 pixels, and a png has 1 to"),
        (lambda: torch.zeros(2, 2, dtype=torch.uint8), "torch.Tensor: give an image of Pillow"),
        (lambda: "text", "builtins.str: give an image of Pillow, an array of uint8, or a figure"),
    ],
    ids=range(11),
)
def test_what_is_no_picture_is_refused(make: Any, reason: str, tmp_path: Path) -> None:
    refused("png", make(), tmp_path, reason)


# -- figures of plotly


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5), TEXTS)
def test_figures_of_plotly_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], title: str
) -> None:
    figure = graphs.Figure([graphs.Scatter(y=numbers), graphs.Bar(x=np.arange(len(numbers)), y=np.array(numbers))])
    figure.add_trace(graphs.Heatmap(z=np.ones((2, 3))))
    figure.update_layout(title=title)
    back = there_and_back("plotly", figure, tmp_path_factory.getbasetemp())
    assert back == figure
    assert type(back) is graphs.Figure
    assert (np.array(numbers) == back.data[1].y).all()
    assert back.data[2].z.shape == (2, 3)


def test_times_and_gaps_of_a_figure_come_back_as_plotly_draws_them(tmp_path: Path) -> None:
    figure = graphs.Figure(graphs.Scatter(x=[datetime.date(2026, 1, 2)], y=[float("nan")], ids=[decimal.Decimal(1)]))
    (trace,) = there_and_back("plotly", figure, tmp_path).data
    assert (trace.x, trace.y) == (("2026-01-02",), (None,))


@pytest.mark.parametrize("value", [{"data": []}, "text", None], ids=str)
def test_what_is_no_figure_is_refused(value: Any, tmp_path: Path) -> None:
    refused("plotly", value, tmp_path, "give a figure of plotly")


def test_infinities_that_plotly_takes_for_gaps_are_refused(tmp_path: Path) -> None:
    refused("plotly", graphs.Figure(graphs.Scatter(y=[1, float("-inf")])), tmp_path, "-Infinity in a list")
    back = there_and_back("plotly", graphs.Figure(graphs.Scatter(y=np.array([1, np.inf]))), tmp_path)
    assert back.data[0].y[1] == np.inf


@pytest.mark.parametrize("meta", [{"bdata": "AAAA", "dtype": "i1"}, {"bdata": 5, "dtype": "i1"}])
def test_what_plotly_would_read_as_something_else_is_refused(meta: Any, tmp_path: Path) -> None:
    refused("plotly", graphs.Figure(layout={"meta": meta}), tmp_path, "another figure|bytes-like")


def test_a_figure_that_was_made_up_is_refused(tmp_path: Path) -> None:
    bytes_ = base64.b64encode(bytes(8)).decode()
    made_up: list[Any] = [[], {"data": 5}, {"data": [{"type": "nothing"}]}, {"nothing": 1}]
    made_up.append({"data": [{"y": {"bdata": bytes_, "dtype": "f8", "shape": "5, 5"}}]})
    for value in made_up:
        (tmp_path / "a.plotly.json").write_text(json.dumps(value))
        with pytest.raises(ArtifactError, match="does not hold an object"):
            SPECS["plotly"].load(tmp_path / "a.plotly.json", True)


# -- what is not installed


@pytest.mark.parametrize(
    ("name", "value", "module", "package"),
    [
        ("parquet", frame(), "pyarrow", "pyarrow"),
        ("parquet", frame(), "pandas", "pandas"),
        ("csv", frame(), "pandas", "pandas"),
        ("npy", np.ones(2), "numpy", "numpy"),
        ("npz", {"a": np.ones(2)}, "numpy", "numpy"),
        ("png", images.new("L", (2, 2)), "PIL", "pillow"),
        ("png", np.zeros((2, 2), "u1"), "numpy", "numpy"),
        ("plotly", graphs.Figure(graphs.Bar(y=np.ones(2))), "plotly", "plotly"),
        ("plotly", graphs.Figure(graphs.Bar(y=np.ones(2))), "numpy", "numpy"),
    ],
    ids=range(9),
)
def test_what_is_not_installed_at_reading_is_named(
    name: str, value: Any, module: str, package: str, tmp_path: Path
) -> None:
    path = tmp_path / f"object{SPECS[name].suffix}"
    SPECS[name].dump(value, path)
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from pathlib import Path\n"
        "from tracelet.builtin.objects import tracelet_serializers\n"
        f"spec = {{spec.name: spec for spec in tracelet_serializers()}}[{name!r}]\n"
        f"try: spec.load(Path({str(path)!r}), False)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith("ConfigError ")
    assert package in said
    assert "install" in said


def test_nothing_is_imported_to_tell_that_a_value_is_none_of_theirs() -> None:
    script = (
        "import sys\n"
        "from tracelet import Experiment\n"
        "exp = Experiment('x', artifacts=True)\n"
        "exp.create_artifact('x', 'dataset').add_object({'a': [1]}, 'a')\n"
        "try: exp.create_artifact('x', 'dataset').add_object(object(), 'a')\n"
        "except ValueError: pass\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'PIL', 'matplotlib', 'plotly'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
