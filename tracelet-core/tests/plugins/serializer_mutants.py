"""Serializers that each break one promise of their contract: which test has to find each out stands beside it.

Beneath, they write JSON, without the promise.
"""

import json
import pickle
import struct
import time
from pathlib import Path

from tracelet.plugin import SerializerSpec, hookimpl

KEPT = {}


def write(value, path):
    path.write_text(json.dumps(value, sort_keys=True))


def read(path, trust):
    try:
        return json.loads(path.read_text())
    except RecursionError as error:
        raise ValueError("too deep") from error


def lossy(value, path):
    write({key: item for key, item in value.items() if item is not None}, path)


def rounding(value, path):
    write(json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 1)), path)


def keeping(value, path):
    KEPT[str(path)] = value
    write(value, path)


def kept(path, trust):
    return KEPT[str(path)]


def dating(value, path):
    write({**value, "written": time.time_ns()}, path)


def undated(path, trust):
    return {key: item for key, item in read(path, trust).items() if key != "written"}


def shuffling(value, path):
    path.write_text(json.dumps({key: value[key] for key in {*value}}))


def beside(value, path):
    write(value, path)
    write(value, path.with_suffix(".bak"))


def here(value, path):
    write(value, path)
    Path("last.json").write_text("{}")


def linking(value, path):
    write(value, path.with_name("real"))
    path.symlink_to(path.with_name("real"))


def in_a_folder(value, path):
    path.mkdir()
    write(value, path / "value")


def from_a_folder(path, trust):
    return read(path / "value", trust)


def stamping(path, trust):
    value = read(path, trust)
    path.write_text(path.read_text() + " ")
    return value


def running(path, trust):
    content = path.read_bytes()
    return pickle.loads(content) if content[:1] in b"\x80c" else json.loads(content)


def careless(path, trust):
    content = path.read_bytes()
    struct.unpack_from("<q", content)
    return json.loads(content)


def deep(path, trust):
    return json.loads(path.read_text())


def swallowing(value, path):
    path.write_text(json.dumps(value, default=lambda odd: None, sort_keys=True))


def model(value, folder):
    write(vars(value), folder / "model.json")


EQUAL = "test_equal_values_have_equal_bytes"
BACK = "test_what_is_stored_comes_back_in_another_process"
PLACE = "test_it_writes_where_it_was_told_and_nowhere_else"
DAMAGED = "test_what_is_damaged_is_refused_in_words_that_core_knows"
PLANTED = "test_loading_runs_nothing_that_the_file_brings"
OWN = "test_it_knows_its_own_and_takes_nothing_else"

#: By name: what it breaks, and the test that finds it out.
MUTANTS = {
    "loses-nothing-keys": (BACK, {"dump": lossy}),
    "rounds": (BACK, {"dump": rounding}),
    "keeps-it-in-memory": (BACK, {"dump": keeping, "load": kept}),
    "dates-its-files": (EQUAL, {"dump": dating, "load": undated}),
    "goes-by-the-order-of-sets": (EQUAL, {"dump": shuffling}),
    "writes-beside": (PLACE, {"dump": beside}),
    "writes-where-the-program-is": (PLACE, {"dump": here}),
    "links": (PLACE, {"dump": linking}),
    "makes-a-folder-of-an-object": (PLACE, {"dump": in_a_folder, "load": from_a_folder}),
    "changes-what-it-reads": ("test_loading_changes_no_file", {"load": stamping}),
    "runs-pickles": (PLANTED, {"load": running}),
    "chokes-on-short-files": (DAMAGED, {"load": careless}),
    "chokes-on-deep-files": (DAMAGED, {"load": deep}),
    "stores-anything": ("test_what_it_cannot_store_is_refused", {"dump": swallowing}),
    "takes-everything": (OWN, {"matches": lambda value: True}),
    "takes-what-pretends": (OWN, {"matches": lambda value: bool(getattr(value, "is_a_model", False))}),
    "looks-too-close": (OWN, {"matches": lambda value: value == "mine"}),
    "says-maybe": (OWN, {"matches": lambda value: None}),
    "knows-no-model": (OWN, {"dump": model, "suffix": None}),
}


@hookimpl
def tracelet_serializers():
    whole = {"dump": write, "load": read, "safe": True, "suffix": ".json"}
    return [SerializerSpec(name=name, **{**whole, **broken}) for name, (_, broken) in MUTANTS.items()]
