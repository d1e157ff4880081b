"""The built-in serializers keep the contract."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from test_contract_finds_out import PLUGINS, run

from tracelet.plugin import SerializerSpec
from tracelet.testing import SerializerContract, installed
from tracelet.testing.driver import Driver
from tracelet.testing.guard import contract_tests

pytestmark = pytest.mark.kit

#: Whoever gave the artifact its digest wrote these bytes, and core loads no others.
NATIVE = "the library's own reader, in C++, ends the process over some files that were changed by a byte"

PLAIN: list[Any] = [
    {"lr": 0.1, "layers": [1, 2, 3], "name": "größe", "deep": {"none": None, "flag": True}},
    [],
    {},
    "text\nof two lines",
    2**62,
    0.1 + 0.2,
    None,
]


class TestJson(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "json"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return PLAIN

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), {1: "a", "1": "b"}]


class TestYaml(TestJson):
    @pytest.fixture
    def serializer(self) -> str:
        return "yaml"

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object()]


class TestPickle(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "pickle"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [*PLAIN, (1, 2), b"bytes", range(3)]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [threading.Lock()]


class TestParquet(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "parquet"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        pandas, arrow = import_module("pandas"), import_module("pyarrow")
        columns = {"größe": [1, 2], "x": [0.5, None], "t": ["a", None], "b": [True, False]}
        return [pandas.DataFrame(columns), arrow.table(columns), pandas.DataFrame()]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [[{"a": 1}], import_module("pandas").DataFrame({"a": [1, "x"]})]

    @pytest.fixture
    def same(self) -> Callable[[Any, Any], bool]:
        return lambda before, after: type(before) is type(after) and before.equals(after)


class TestCsv(TestParquet):
    @pytest.fixture
    def serializer(self) -> str:
        return "csv"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        pandas = import_module("pandas")
        return [pandas.DataFrame({"größe": [1, 2], "x": [0.1, None], "t": ['a, "b"\n', None]})]


class TestPolars(TestParquet):
    @pytest.fixture
    def values(self) -> Sequence[Any]:
        polars = import_module("polars")
        return [polars.DataFrame({"größe": [1, None], "t": ["a", "b"], "l": [[0.5], []]})]


class TestNpy(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "npy"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        numpy = import_module("numpy")
        return [numpy.linspace(0, 1, 12).reshape(3, 4), numpy.array(["ä", "bc"]), numpy.zeros((0, 2), "i2")]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [[1], import_module("numpy").array([None])]

    @pytest.fixture
    def same(self) -> Callable[[Any, Any], bool]:
        return lambda before, after: (before.dtype, before.tolist()) == (after.dtype, after.tolist())


class TestNpz(TestNpy):
    @pytest.fixture
    def serializer(self) -> str:
        return "npz"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        numpy = import_module("numpy")
        return [{"größe": numpy.arange(3), "y": numpy.eye(2)}, {}]

    @pytest.fixture
    def same(self) -> Callable[[Any, Any], bool]:
        return lambda before, after: (
            {name: one.tolist() for name, one in before.items()} == {name: one.tolist() for name, one in after.items()}
        )


class TestPng(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "png"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        images, numpy = import_module("PIL.Image"), import_module("numpy")
        gradient = images.linear_gradient("L").resize((9, 8))
        modes = [gradient.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA")]
        return [*modes, gradient.convert("P", colors=5), numpy.arange(24, dtype="uint8").reshape(2, 4, 3)]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return ["text", import_module("PIL.Image").new("CMYK", (2, 2))]

    @pytest.fixture
    def same(self) -> Callable[[Any, Any], bool]:
        return lambda before, after: type(before) is type(after) and before.tobytes() == after.tobytes()


class TestPlotly(SerializerContract):
    @pytest.fixture
    def serializer(self) -> str:
        return "plotly"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        graphs, numpy = import_module("plotly.graph_objects"), import_module("numpy")
        return [graphs.Figure(graphs.Scatter(x=["ä", "b"], y=numpy.arange(2))), graphs.Figure()]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [{"data": []}]


class Models(SerializerContract):
    @pytest.fixture
    def rows(self) -> Any:
        return import_module("numpy").linspace(-1, 1, 80, dtype="float32").reshape(20, 4)

    @pytest.fixture
    def same(self, rows: Any) -> Callable[[Any, Any], bool]:
        numpy = import_module("numpy")
        return lambda before, after: (
            type(before) is type(after) and numpy.allclose(before.predict(rows), after.predict(rows))
        )


class TestSklearn(Models):
    @pytest.fixture
    def serializer(self) -> str:
        return "sklearn"

    @pytest.fixture
    def values(self, rows: Any) -> Sequence[Any]:
        linear = import_module("sklearn.linear_model")
        targets = [number % 2 for number in range(20)]
        return [linear.LogisticRegression().fit(rows, targets), linear.LinearRegression().fit(rows, targets)]


class OfCpp(Models):
    """The library reads its files itself. Over which of them its process ends depends on what lies in its memory."""

    @pytest.mark.xfail(reason=NATIVE, strict=False)
    def test_what_is_damaged_is_refused_in_words_that_core_knows(
        self, spec: SerializerSpec, stored: list[Path], folder: Path, victim: Driver
    ) -> None:
        super().test_what_is_damaged_is_refused_in_words_that_core_knows(spec, stored, folder, victim)


class TestXgboost(OfCpp):
    gaps: ClassVar[Mapping[str, str]] = {
        "test_equal_values_have_equal_bytes": "a model that was loaded knows no more what it was fitted with",
    }

    @pytest.fixture
    def serializer(self) -> str:
        return "xgboost"

    @pytest.fixture
    def values(self, rows: Any) -> Sequence[Any]:
        xgboost = import_module("xgboost")
        return [xgboost.XGBClassifier(n_estimators=2).fit(rows, [number % 2 for number in range(20)])]


class TestLightgbm(OfCpp):
    @pytest.fixture
    def serializer(self) -> str:
        return "lightgbm"

    @pytest.fixture
    def values(self, rows: Any) -> Sequence[Any]:
        lightgbm = import_module("lightgbm")
        targets = [number % 2 for number in range(20)]
        return [lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, verbose=-1).fit(rows, targets)]


class TestPytorch(Models):
    @pytest.fixture
    def serializer(self) -> str:
        return "pytorch"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        torch = import_module("torch")
        return [torch.nn.Linear(4, 2), torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())]

    @pytest.fixture
    def same(self, rows: Any) -> Callable[[Any, Any], bool]:
        torch = import_module("torch")
        batch = torch.from_numpy(rows)
        return lambda before, after: torch.equal(before(batch), after(batch))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestTensorflow(Models):
    gaps: ClassVar[Mapping[str, str]] = {
        "test_equal_values_have_equal_bytes": "Keras names what it builds anew when it loads a model",
    }

    @pytest.fixture
    def serializer(self) -> str:
        return "tensorflow"

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        keras = import_module("keras")
        return [keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])]

    @pytest.fixture
    def same(self, rows: Any) -> Callable[[Any, Any], bool]:
        numpy = import_module("numpy")
        return lambda before, after: numpy.allclose(before.predict(rows, verbose=0), after.predict(rows, verbose=0))


# -- each promise is held by a test

AUTHOR = """
from tracelet.testing import SerializerContract


class Stored(SerializerContract):
    @pytest.fixture
    def serializer(self):
        return self.name

    @pytest.fixture
    def values(self):
        return [{"lr": 0.25, "b": [1, 2.75, "\u00fc"], "a": None, "c": {}, "d": True, "e": "x", "f": "y"}]

    @pytest.fixture
    def refused(self):
        return [object()]
"""


def test_a_serializer_that_breaks_a_promise_is_found_out_by_its_test(tmp_path: Path) -> None:
    sys.path.insert(0, str(PLUGINS))
    try:
        with installed(tmp_path / "plugins", {"serializer-mutants": "serializer_mutants"}):
            from serializer_mutants import MUTANTS

            names = {name: "".join(word.title() for word in name.split("-")) for name in MUTANTS}
            source = AUTHOR + "".join(f"\n\nclass Test{names[one]}(Stored):\n    name = {one!r}\n" for one in names)
            wanted = {f"Test{names[name]}::{test}": "failure" for name, (test, _) in MUTANTS.items()}
            assert run(tmp_path / "author", source, *wanted) == wanted
    finally:
        sys.path.remove(str(PLUGINS))
        sys.modules.pop("serializer_mutants", None)
    about_the_plugin = {
        "test_importing_the_plugin_is_light",
        "test_it_has_the_name_that_was_asked_for",
        "test_no_test_is_left_out_in_silence",
    }
    assert {test for test, _ in MUTANTS.values()} | about_the_plugin == set(contract_tests(SerializerContract))


def test_a_contract_that_is_not_filled_in_says_what_is_missing(tmp_path: Path) -> None:
    source = "from tracelet.testing import SerializerContract\n\nclass TestIt(SerializerContract):\n    pass\n"
    source += "\nclass TestEmpty(TestIt):\n    @pytest.fixture\n    def serializer(self):\n        return 'json'\n"
    tests = ["TestIt::test_it_has_the_name_that_was_asked_for", "TestEmpty::test_loading_changes_no_file"]
    assert run(tmp_path / "author", source, *tests) == dict.fromkeys(tests, "error")
