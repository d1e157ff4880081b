"""What objects and metadata become: what is put in comes back equal by the table, or is refused when it is added."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pickle
import time
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import numpy as np
import pytest
from commanding import program
from hypothesis import given
from hypothesis import strategies as st

from tracelet import ArtifactError, ArtifactType, ConfigError, Experiment, TraceletArtifact
from tracelet.builtin.objects import tracelet_serializers
from tracelet.exceptions import TraceletError
from tracelet.plugin import plain_data

SPECS = {spec.name: spec for spec in tracelet_serializers()}
TABLED = ("json", "yaml")


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 2.5


@attrs.frozen
class Size:
    area: int
    name: str = "wide"


class Corner(typing.NamedTuple):
    left: int
    top: int


class Colour(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


class Names(list):  # type: ignore[type-arg]
    pass


@pytest.fixture
def exp(home: Path) -> Iterator[Experiment]:
    with Experiment("objects", artifacts=True) as made:
        yield made


def thing(exp: Experiment) -> TraceletArtifact:
    return exp.create_artifact("thing", ArtifactType.CONFIG)


def back(exp: Experiment, value: Any, serializer: str) -> Any:
    exp.log_artifact(thing(exp).add_object(value, "it", serializer)).raise_for_errors()
    return exp.get_artifact("thing").load_object("it")


def as_metadata(exp: Experiment, value: Any) -> Any:
    artifact = thing(exp)
    artifact.metadata["it"] = value
    exp.log_artifact(artifact.add_object(0, "zero")).raise_for_errors()
    return exp.get_artifact("thing").metadata["it"]


TABLE: list[tuple[Any, Any]] = [
    ({"acc": np.float32(0.5), "n": np.int64(3), "ok": np.bool_(True)}, {"acc": 0.5, "n": 3, "ok": True}),
    (np.float64(0.1), 0.1),
    (np.str_("x"), "x"),
    (np.datetime64("2026-01-02T03:04"), "2026-01-02T03:04"),
    (np.array(7), 7),
    (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    (np.array(["2026-01-02"], dtype="M8[D]"), ["2026-01-02"]),
    (np.array([{"a": 1}, None], dtype=object), [{"a": 1}, None]),
    (np.zeros((0, 3)), []),
    (PurePosixPath("a/b"), "a/b"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
    (datetime.time(3, 4), "03:04:00"),
    (Colour.RED, "red"),
    (Colour.DEEP, [1, 2]),
    ({Colour.RED: Level.HIGH}, {"red": 3}),
    (Point(1), {"x": 1, "y": 2.5}),
    (Point(Size(3), [Corner(1, 2)]), {"x": {"area": 3, "name": "wide"}, "y": [[1, 2]]}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(list, a=(1, 2)), {"a": [1, 2]}),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (collections.UserDict(a=1), {"a": 1}),
    ({Word("k"): Word("v")}, {"k": "v"}),
    (Names([1]), [1]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset([(1, 2), (0, 1)]), [[0, 1], [1, 2]]),
    ({"b", 1}, [1, "b"]),
    ([True, 1, 1.0, None], [True, 1, 1.0, None]),
    ([math.inf, -0.0, 1e300, 2**63 - 1, -(2**63)], [math.inf, -0.0, 1e300, 2**63 - 1, -(2**63)]),
]


@pytest.mark.parametrize(
    ("value", "want"), TABLE, ids=[f"{type(value).__name__} {number}" for number, (value, _) in enumerate(TABLE)]
)
def test_what_has_a_plain_form_comes_back_as_it(exp: Experiment, value: Any, want: Any) -> None:
    artifact = thing(exp).add_object(value, "as-json").add_object(value, "as-yaml", "yaml")
    artifact.metadata["it"] = value
    exp.log_artifact(artifact).raise_for_errors()
    found = exp.get_artifact("thing")
    for one in (found.load_object("as-json"), found.load_object("as-yaml"), found.metadata["it"]):
        assert repr(one) == repr(want)


def test_an_object_is_a_file_and_may_hold_what_no_database_takes(exp: Experiment) -> None:
    for name in TABLED:
        assert back(exp, [10**3999, -(2**63) - 1, "a\0b"], name) == [10**3999, -(2**63) - 1, "a\0b"]


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int64"])
def test_tensors_are_numbers_and_lists(exp: Experiment, kind: str) -> None:
    torch = import_module("torch")
    value = {"loss": torch.tensor(2, dtype=getattr(torch, kind)), "m": torch.ones(2, 1, dtype=getattr(torch, kind))}
    if kind != "int64":
        value["grad"] = torch.tensor([1.0], requires_grad=True)
    want = {"loss": 2, "m": [[1], [1]], "grad": [1.0]}
    assert back(exp, value, "json") == {key: want[key] for key in value}


NO_FORM: list[tuple[Any, str]] = [
    (b"x", "is a bytes, which has no plain form"),
    (decimal.Decimal(1), "is a Decimal.*str"),
    (datetime.timedelta(1), r"is a timedelta.*total_seconds"),
    (1j, "is a complex"),
    (np.complex64(1), "is a complex"),
    (np.longdouble(1), "which Python has no number for"),
    (np.datetime64("NaT"), "is no time"),
    (np.array(["2026-01-01", "NaT"], dtype="M8[D]"), "is no time"),
    (np.timedelta64(1, "s"), "is a timedelta64 of "),
    (np.array([(1, 2.0)], dtype="i4,f4"), "is a ndarray of "),
    (np.array([b"x"]), r"\[0\] is a bytes"),
    (np.ma.array([1, 2], mask=[0, 1]), "its mask would be lost"),
    (np.zeros(10_001), "is a ndarray of 10,001 numbers, and up to 10,000 become a list: store it as a file"),
    (object(), "is a object"),
    (Point, "is a type"),
    (len, "is a builtin_function_or_method"),
    ((one for one in "x"), "is a generator"),
    ("\ud800", "lone surrogate"),
    (10**4000, "more than 4000 digits"),
    ({("a", 1): 1}, r"has the key \('a', 1\): keys are text"),
    ({None: 1}, "has the key None"),
    ({True: 1}, "has the key True"),
    ({b"x": 1}, "has the key b'x', which is a bytes"),
    ({math.nan: 1}, "has the key nan"),
    ({PurePosixPath("a"): 1, "a": 2}, "has two keys that become 'a'"),
]


@pytest.mark.parametrize(("value", "reason"), NO_FORM, ids=[f"{number}" for number in range(len(NO_FORM))])
def test_what_has_none_is_refused_when_it_is_added_and_its_place_is_named(
    exp: Experiment, value: Any, reason: str
) -> None:
    nested = {"config": {"optimizer": Point([0, value])}}
    place = r"\['config'\]\['optimizer'\]\['x'\]\[1\].*"
    for name in TABLED:
        with pytest.raises(ArtifactError, match=rf"the object 'it' cannot be stored as {name}: it{place}{reason}"):
            thing(exp).add_object(nested, "it", name)
    artifact = thing(exp)
    artifact.metadata = nested
    for log in (exp.log_artifact, exp.submit_artifact):
        with pytest.raises(ArtifactError, match=f"metadata{place}{reason}"):
            log(artifact)


def test_a_series_would_lose_its_index(exp: Experiment) -> None:
    pandas = import_module("pandas")
    with pytest.raises(ArtifactError, match=r"\['s'\] is a Series, and its index would be lost: say .to_dict"):
        thing(exp).add_object({"s": pandas.Series([1])}, "it")
    with pytest.raises(ArtifactError, match="is no time"):
        thing(exp).add_object({"s": pandas.NaT}, "it")
    assert back(exp, pandas.Timestamp("2026-01-02"), "json") == "2026-01-02T00:00:00"


def test_an_array_without_values_is_refused(exp: Experiment) -> None:
    torch = import_module("torch")
    value = {"t": torch.ones(2, device="meta")}
    with pytest.raises(ArtifactError, match=r"it\['t'\] is a Tensor without values"):
        thing(exp).add_object(value, "it", "json")
    with pytest.raises(ArtifactError, match=r"it\['t'\] is a tensor that cannot be a numpy array"):
        thing(exp).add_object(value, "it")


def test_only_yaml_has_numbers_for_keys(exp: Experiment) -> None:
    value = {"id2label": {0: "cat", 1.5: "dog", np.int64(2): "cow", "0": "text"}}
    want = {"id2label": {0: "cat", 1.5: "dog", 2: "cow", "0": "text"}}
    assert back(exp, value, "yaml") == want
    with pytest.raises(ArtifactError, match=r"it\['id2label'\] has the key 0: keys are text"):
        thing(exp).add_object(value, "it")


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def test_depth_has_a_bound_in_every_form(exp: Experiment) -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    for name in TABLED:
        assert back(exp, nested(60), name) == nested(60)
        for value in (nested(100), nested(100_000), circle):
            with pytest.raises(ArtifactError, match="is nested more than 64 deep, or holds itself"):
                thing(exp).add_object(value, "it", name)
    assert as_metadata(exp, nested(60)) == nested(60)


def test_a_few_lists_that_stand_for_billions_of_values_are_refused(exp: Experiment) -> None:
    value: list[Any] = [0] * 100
    for _ in range(40):
        value = [value, value]
    with pytest.raises(ArtifactError, match="it has more than 5,000,000 values, store it as a file"):
        thing(exp).add_object(value, "it")


class Scripted:
    """A mapping whose items cannot be had."""

    @dataclasses.dataclass
    class Late:
        x: int = dataclasses.field(init=False)


def test_what_cannot_be_looked_at_is_refused(exp: Experiment) -> None:
    late = Scripted.Late()
    artifact = thing(exp)
    with pytest.raises(ArtifactError, match="it cannot be looked at: AttributeError"):
        artifact.add_object(late, "it")
    artifact.metadata["x"] = late
    with pytest.raises(ArtifactError, match="metadata cannot be looked at: AttributeError"):
        exp.log_artifact(artifact)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "1e3",
        "1e17",
        "012",
        "0x1f",
        "=",
        "<<",
        "~",
        "null",
        "2026-01-02",
        "1:30",
        "\0",
        "\x7f\x85",
        "\ufeff",
        "\uffff",
        "-",
        "!!x",
        "a: b # c",
        " lead\n  more\n\n",
        "\n",
        "'\"",
        "%x",
        "@",
        "\U0001f600 x" * 40,
        "*a",
        "&a",
        "[",
        "? x",
        "-\t",
        "\t",
    ],
    ids=ascii,
)
def test_text_stays_text(exp: Experiment, text: str) -> None:
    for name in TABLED:
        assert back(exp, {text: [text], "x": text}, name) == {text: [text], "x": text}


def test_an_object_that_changes_to_what_has_no_form_is_refused_when_it_is_logged(exp: Experiment) -> None:
    value: dict[str, Any] = {"a": [1]}
    artifact = thing(exp).add_object(value, "it", "yaml")
    value["a"].append(b"x")
    with pytest.raises(ArtifactError, match=r"the object 'it' cannot be stored as yaml: it\['a'\]\[1\] is a bytes"):
        exp.log_artifact(artifact)


def test_a_key_that_means_something_in_manifests_is_refused_in_metadata_alone(exp: Experiment) -> None:
    value = {"$float": "NaN"}
    assert [back(exp, value, name) for name in TABLED] == [value, value]
    with pytest.raises(ArtifactError, match=r"metadata\['it'\] has the key '\$float', which marks NaN"):
        as_metadata(exp, value)


def test_a_refused_object_leaves_the_artifact_as_it_was(exp: Experiment) -> None:
    artifact = thing(exp)
    for value, name in ((b"x", "json"), ({1}, "jsn"), (lambda: 0, "pickle"), ([], "sklearn")):
        with pytest.raises(ArtifactError):
            artifact.add_object(value, "it", name)
    assert artifact.objects == []
    assert artifact.add_object({1}, "it").objects[0].name == "it"


def test_a_misspelt_serializer_is_told_at_once(exp: Experiment) -> None:
    with pytest.raises(ArtifactError, match=r"no serializer of objects 'jsn' is installed; .*Did you mean 'json'"):
        thing(exp).add_object({}, "it", "jsn")


# -- models


@pytest.mark.parametrize(
    ("model", "framework", "reason"),
    [
        ("model.pkl", None, "'model.pkl' is a path, and no live model: add the file with add_file"),
        (Path("model.pkl"), None, "is a path, and no live model"),
        ("model.pkl", "pytorch", "a str is no model of pytorch"),
        (object(), None, "the framework of a builtins.object is not known: say framework= one of .*pytorch"),
        (object(), "tf", "no framework 'tf' is installed; there is .*tensorflow"),
        (object(), "pytorsh", "Did you mean 'pytorch'"),
        (object(), "json", "'json' is no framework; there is "),
        (object(), "sklearn", "a object is no model of sklearn"),
        ({"w": 1}, "pytorch", "a dict is no model of pytorch"),
        (Point, None, "Point is a class: give an instance of it"),
        (Point, "pytorch", "Point is no model of pytorch"),
        (None, None, "add_model got None"),
    ],
)
def test_what_is_no_model_is_refused_when_it_is_added(
    exp: Experiment, model: Any, framework: str | None, reason: str
) -> None:
    artifact = exp.create_artifact("net", ArtifactType.MODEL)
    with pytest.raises(ArtifactError, match=reason):
        artifact.add_model(model, framework)
    assert artifact.models == []


# -- whatever is in the file


def load(name: str, content: bytes, folder: Path, trust: bool = True) -> Any:
    path = folder / f"it{SPECS[name].suffix}"
    path.write_bytes(content)
    return SPECS[name].load(path, trust)


class Explodes:
    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("boom")


DAMAGED: dict[str, tuple[str, bytes]] = {
    "json half": ("json", b'{"a": '),
    "json nothing": ("json", b""),
    "json deep": ("json", b"[" * 100_000),
    "json digits": ("json", b"1" * 10_000),
    "json latin": ("json", '"é"'.encode("latin-1")),
    "json bom": ("json", b"\xef\xbb\xbf{}"),
    "yaml tag": ("yaml", b"!!python/object/apply:os.mkdir [owned]"),
    "yaml unknown tag": ("yaml", b"!mine 1"),
    "yaml deep": ("yaml", b"[" * 5_000),
    "yaml digits": ("yaml", b"1" * 10_000),
    "yaml latin": ("yaml", "é".encode("latin-1")),
    "yaml half": ("yaml", b"{a: "),
    "yaml keys": ("yaml", b"? [a]\n: 1"),
    "yaml date": ("yaml", b"2026-99-99"),
    "yaml two": ("yaml", b"--- 1\n--- 2\n"),
    "yaml nul": ("yaml", b"\0"),
    "pickle nothing": ("pickle", b""),
    "pickle half": ("pickle", pickle.dumps(list(range(1000)))[:-10]),
    "pickle noise": ("pickle", bytes(range(256))),
    "pickle raises": ("pickle", pickle.dumps(Explodes())[:-1] + b"}(K\x01K\x02ub."),
    "pickle deep": ("pickle", b"(" * 10 + b"."),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_object_is_our_own_error(case: str, home: Path) -> None:
    with pytest.raises(ArtifactError, match="does not hold an object that can be loaded"):
        load(*DAMAGED[case], home)
    assert not (home / "owned").exists()


@pytest.mark.parametrize("merge", [False, True])
def test_yaml_that_stands_for_billions_of_values_is_not_expanded(merge: bool, tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1, y: 2}" if merge else "a0: &a0 [1, 2]"]
    for number in range(1, 12):
        names = ", ".join([f"*a{number - 1}"] * 9)
        lines.append(f"a{number}: &a{number} {{<<: [{names}]}}" if merge else f"a{number}: &a{number} [{names}]")
    began = time.process_time()
    with pytest.raises(ArtifactError, match="it stands for more than 10,000,000 values"):
        load("yaml", "\n".join(lines).encode(), tmp_path)
    assert time.process_time() - began < 10


def test_yaml_that_shares_a_list_still_reads(tmp_path: Path) -> None:
    found = load("yaml", b"a: &one [1]\nb: *one\nc: &self [*self]\n", tmp_path)
    assert found["a"] is found["b"]
    assert found["c"][0] is found["c"]


@pytest.mark.parametrize("content", [b"cnot_there_at_all\nThing\n.", b"cos\nno_such_thing\n."])
def test_a_pickle_of_what_is_not_here_says_what_to_provide(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs what cannot be imported here .*install it, or provide"):
        load("pickle", content, tmp_path)


def test_whatever_a_pickle_raises_is_our_own_error(exp: Experiment) -> None:
    exp.log_artifact(thing(exp).add_object(Bomb(), "it", "pickle"))
    with pytest.raises(ArtifactError, match=r"it.pkl does not hold an object that can be loaded: ZeroDivisionError"):
        exp.get_artifact("thing").load_object("it", trust=True)


def test_whatever_a_plugin_raises_while_it_loads_is_our_own_error(home: Path, toys: types.ModuleType) -> None:
    with Experiment("objects", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("net", ArtifactType.MODEL).add_model(toys.Line("broken")))
        with pytest.raises(
            ArtifactError, match="'model' of 'net' cannot be loaded: toys: ZeroDivisionError: there is no"
        ):
            exp.get_artifact("net").load_model()


class Bomb:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)


# -- whatever is in the table

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | TEXT
    | st.dates()
    | st.datetimes()
    | st.sampled_from([*Colour, *Level])
    | TEXT.map(PurePosixPath)
    | st.floats(width=32).map(np.float32)
    | st.integers(-9, 9).map(np.int8)
    | st.binary(max_size=3)
    | st.decimals()
)
KEYS = TEXT | st.integers(-5, 5) | st.floats(allow_nan=False) | st.booleans() | st.none() | st.sampled_from([*Level])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3).map(collections.OrderedDict)
        | st.builds(Point, inner, inner)
        | st.tuples(inner, inner).map(lambda pair: Corner(*pair))
        | st.sets(st.integers(0, 9) | TEXT, max_size=3)
        | st.lists(st.integers(0, 9), max_size=3).map(np.array)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_taken_comes_back_equal_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in TABLED:
        path = folder / f"any{SPECS[name].suffix}"
        try:
            SPECS[name].check(value)
        except (TypeError, ValueError):
            continue
        SPECS[name].dump(value, path)
        assert repr(SPECS[name].load(path, False)) == repr(plain_data(value, number_keys=name == "yaml"))


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_whatever_the_bytes_are_loading_raises_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    for name in TABLED:
        try:
            load(name, content, tmp_path_factory.getbasetemp(), False)
        except TraceletError:
            continue


def test_what_one_process_put_in_another_gets_out(exp: Experiment, home: Path) -> None:
    for number, (value, _) in enumerate(TABLE):
        artifact = exp.create_artifact(f"thing-{number}", ArtifactType.CONFIG)
        for name in TABLED:
            artifact.add_object(value, name, name)
        exp.log_artifact(artifact).raise_for_errors()
    said = program(
        f"""
        import json
        from tracelet import Experiment
        exp = Experiment("objects", artifacts=True)
        print(json.dumps([
            [exp.get_artifact(f"thing-{{number}}").load_object(name) for name in ("json", "yaml")]
            for number in range({len(TABLE)})
        ]))
        """,
        cwd=home,
        TRACELET_DIR=".tracelet",
    )
    assert [repr(both) for both in json.loads(said)] == [repr([want, want]) for _, want in TABLE]
