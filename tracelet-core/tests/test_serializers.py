"""Objects to files and back: json, yaml and pickle."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet.builtin.objects import tracelet_serializers
from tracelet.exceptions import ArtifactError, UnsafePath
from tracelet.plugin import DetectorSpec, SerializerSpec

PLAIN_ONES = ("json", "yaml", "pickle")
SPECS = {spec.name: spec for spec in tracelet_serializers() if spec.name in PLAIN_ONES}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def there_and_back(name: str, value: Any, folder: Path) -> Any:
    path = folder / f"object{SPECS[name].suffix}"
    SPECS[name].dump(value, path)
    return SPECS[name].load(path, False)


def test_there_are_those_of_the_documentation() -> None:
    assert {spec.name: (spec.suffix, spec.safe) for spec in tracelet_serializers()} == {
        "json": (".json", True),
        "yaml": (".yaml", True),
        "pickle": (".pkl", False),
        "parquet": (".parquet", True),
        "csv": (".csv", True),
        "npy": (".npy", True),
        "npz": (".npz", True),
        "png": (".png", True),
        "plotly": (".plotly.json", True),
    }


@given(PLAIN)
def test_plain_data_comes_back_from_each_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in SPECS:
        assert there_and_back(name, value, folder) == value


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("value", [math.nan, [math.inf, -math.inf], {"loss": math.nan}], ids=str)
def test_what_is_not_a_number_comes_back(name: str, value: Any, tmp_path: Path) -> None:
    assert repr(there_and_back(name, value, tmp_path)) == repr(value)


def test_json_and_yaml_files_can_be_read_by_people(tmp_path: Path) -> None:
    there_and_back("json", {"größe": [1]}, tmp_path)
    there_and_back("yaml", {"größe": [1], "a": 2}, tmp_path)
    assert "größe" in (tmp_path / "object.json").read_text(encoding="utf-8")
    assert (tmp_path / "object.yaml").read_text(encoding="utf-8") == "größe:\n- 1\na: 2\n"


@pytest.mark.parametrize("break_", ["\x85", "\u2028", "\u2029", "\r", "\n", "\t"], ids=ascii)
def test_no_line_break_of_unicode_is_lost(break_: str, tmp_path: Path) -> None:
    for name in SPECS:
        value = {f"a{break_}b": f"{break_}c ü {break_}{break_}"}
        assert there_and_back(name, value, tmp_path) == value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({0: "cat"}, "it has the key 0"),
        ({1: "a", "1": "b"}, "it has the key 1"),
        ([({"x": {None: 1, "null": 2}},)], r"it\[0\]\[0\]\['x'\] has the key None"),
        ({"x": [{True: 1, "true": 2}]}, r"it\['x'\]\[0\] has the key True"),
    ],
    ids=str,
)
def test_json_makes_no_text_of_keys_that_are_none(value: Any, where: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=where + ": keys are text"):
        there_and_back("json", value, tmp_path)
    assert there_and_back("pickle", value, tmp_path) == value


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("json", b"x"),
        ("json", {(1, 2): 3}),
        ("json", object()),
        ("json", _circle()),
        ("json", "\ud800"),
        ("yaml", object()),
        ("yaml", _circle()),
        ("pickle", lambda: None),
        ("pickle", threading.Lock()),
        ("pickle", (one for one in "x")),
    ],
    ids=lambda value: type(value).__name__ + (value if isinstance(value, str) and value.isalpha() else ""),
)
def test_what_a_form_cannot_hold_is_a_type_or_value_error(name: str, value: Any, tmp_path: Path) -> None:
    for act in (SPECS[name].check, lambda one: SPECS[name].dump(one, tmp_path / "object")):
        with pytest.raises((TypeError, ValueError)):
            act(value)


def test_pickle_can_hold_what_holds_itself(tmp_path: Path) -> None:
    back = there_and_back("pickle", _circle(), tmp_path)
    assert back[0] is back


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("!!python/object/apply:os.system ['touch owned']\n")
    with pytest.raises(ArtifactError, match="could not determine a constructor"):
        SPECS["yaml"].load(path, True)


def test_without_pyyaml_the_extra_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['yaml'] = None\n"
        "from pathlib import Path\n"
        "from tracelet.builtin.objects import tracelet_serializers\n"
        "spec = {spec.name: spec for spec in tracelet_serializers()}['yaml']\n"
        f"for act in (lambda: spec.dump(1, Path({str(tmp_path / 'x')!r})), lambda: spec.load(Path('x'), False)):\n"
        "    try: act()\n"
        "    except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "ConfigError YAML objects need PyYAML: pip install 'tracelet-core[yaml]'" in said


def test_large_objects_of_each_kind_are_written_whole(tmp_path: Path) -> None:
    value = [{"n": number} for number in range(20_000)]
    for name in ("json", "pickle"):
        assert there_and_back(name, value, tmp_path) == value


# -- the specs themselves


def test_a_serializer_matches_nothing_unless_it_says_so() -> None:
    spec = SerializerSpec(name="x", dump=print, load=print, safe=True)
    assert spec.matches(object()) is False
    assert spec.suffix is None


def test_specs_have_names_that_can_be_given() -> None:
    with pytest.raises(UnsafePath, match="serializer 'a/b'"):
        SerializerSpec(name="a/b", dump=print, load=print, safe=True)
    with pytest.raises(UnsafePath, match="detector ''"):
        DetectorSpec(name="", create=print)


def test_json_written_by_tracelet_is_json(tmp_path: Path) -> None:
    there_and_back("json", {"a": [1, None, "x"]}, tmp_path)
    assert json.loads((tmp_path / "object.json").read_bytes()) == {"a": [1, None, "x"]}
