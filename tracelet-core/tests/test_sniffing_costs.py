"""No content makes a look at it long, or large: every expression is linear, and all that is counted has an end."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looking_long import PICKLES, adversaries, faults, folders, liars, packed, parsed, pumps

from tracelet.core.artifacts import ArtifactType as T
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.capture.sniffing.rules import FILES, FOLDERS

pytestmark = pytest.mark.capture

#: Looks at files whose paths it reads; tells of each the CPU that it took: in milliseconds, and, where those are many, in
#: what a loop of a million rounds takes at that moment, too.
LOOK = """
import json, resource, sys, time
from pathlib import Path
from tracelet.plugin import tell_type

def spent(call):
    began = time.thread_time()
    answer = call()
    return time.thread_time() - began, answer

def rounds():
    for _ in range(1_000_000):
        pass

tell_type(Path(sys.executable))
told = {}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for line in sys.stdin:
    path = line.rstrip("\\n")
    cost, _ = spent(lambda: tell_type(Path(path)))
    rounds_of_it = 0.0
    if cost > 0.02:
        rounds_of_it = min(spent(lambda: tell_type(Path(path)))[0] / spent(rounds)[0] for _ in range(3))
    told[path] = cost * 1000, rounds_of_it
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"costs": told, "grown": grown}))
"""
#: 50 ms, where a million rounds of a loop take some 20 ms, with room for a machine that has more to do.
LIMIT = 5.0

Made = Callable[[Path], Iterator[tuple[str, Path]]]


@pytest.mark.parametrize(
    ("make", "limit"), [(adversaries, LIMIT), (liars, LIMIT), (packed, LIMIT), (folders, 5 * LIMIT)]
)
def test_no_file_and_no_folder_takes_long_to_look_at(tmp_path: Path, make: Made, limit: float) -> None:
    made = {str(path): what for what, path in make(tmp_path)}
    paths = "".join(f"{path}\n" for path in made)
    done = subprocess.run([sys.executable, "-c", LOOK], input=paths, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["costs"]) == len(made)
    assert not {made[path]: cost for path, cost in told["costs"].items() if cost[1] > limit}
    # Kilobytes.
    assert told["grown"] < 60_000


def test_every_rule_is_among_those_that_are_tried(tmp_path: Path) -> None:
    tried = {what.partition(":")[0] for what, _ in adversaries(tmp_path)}
    assert tried == {rule.what for rule in FILES}


def test_every_expression_of_the_rules_is_linear() -> None:
    patterns = [one for rule in (*FILES, *FOLDERS) for one in rule.told.looks_for if isinstance(one, re.Pattern)]
    assert len(patterns) > 10
    assert not {one.pattern: faults(one) for one in patterns if faults(one)}


@pytest.mark.parametrize(
    "pattern",
    [r"(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<html\b", r"(a*)*b", r"\s*\s*x", r"(?:a|a)*+(?:b*c)*", r".*x.*y"],
)
def test_an_expression_that_is_not_linear_is_found_out(pattern: str) -> None:
    assert faults(re.compile(pattern))


def test_what_goes_round_in_an_expression_is_found() -> None:
    assert list(pumps(parsed(re.compile("a(?:bc)*+d")))) == [("a", "bc")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<!--[-->" * 60 + "<p>hi</p>", T.CUSTOM),
        ("<!--[-->" * 60 + "<html>", T.REPORT),
        ("<!-- a -->" * 200, T.CUSTOM),
        ("<?xml version='1.0'?>" + "<!-- a -->" * 100 + "<!DOCTYPE svg>" * 3 + "<svg/>", T.VISUALIZATION),
        ("<!-- two\nlines -->\n<svg/>", T.VISUALIZATION),
        ("<!-- without an end <svg/>", T.CUSTOM),
        ("  ", T.CUSTOM),
    ],
)
def test_comments_before_a_document_are_passed_over(tmp_path: Path, content: str, expected: T) -> None:
    (tmp_path / "page").write_text(content)
    assert tell_type(tmp_path / "page") is expected


def test_a_file_that_shrinks_while_it_is_looked_at_raises_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.pt"
    content = b"PK\x03\x04" + os.urandom(200_000)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            path.write_bytes(content)
            os.truncate(path, 10)

    path.write_bytes(content)
    writer = threading.Thread(target=change)
    writer.start()
    try:
        assert {tell_type(path) for _ in range(200)} == {T.CUSTOM}
    finally:
        over.set()
        writer.join()


def test_an_archive_with_a_directory_of_64_bits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for number in range(70_000):
            archive.writestr(f"{number:05d}", b"")
            if not number:
                archive.writestr("schema.json", "{}")
    assert tell_type(path) is T.MODEL


@pytest.mark.parametrize(
    ("opcodes", "expected"),
    [
        (b"}p0\n(S'epoch'\nK\x01X\x09\0\0\0optimizer}(X\x05\0\0\0stateg0\nuu.", T.CHECKPOINT),
        (b"(0.", T.CUSTOM),
        (b"NN\x93.", T.CUSTOM),
    ],
)
def test_what_older_protocols_write_is_read_and_what_none_writes_is_custom(
    tmp_path: Path, opcodes: bytes, expected: T
) -> None:
    (tmp_path / "state.pkl").write_bytes(b"\x80\x02" + opcodes)
    assert tell_type(tmp_path / "state.pkl") is expected


def test_an_archive_that_is_packed_in_another_way_is_custom(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "state.pt", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("state/data.pkl", pickle.dumps({"epoch": 1, "optimizer": {"state": {}, "param_groups": []}}))
    assert tell_type(tmp_path / "state.pt") is T.CUSTOM


HEADS = [
    b"",
    b"\x80\x02",
    b"\x80\x04\x95",
    b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n",
    b"\x08\x07\x12",
    b'{"',
    b"[",
    b"<!--",
    b"<?",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(HEADS), parts=st.lists(st.sampled_from([*PICKLES.values(), *HEADS]) | st.binary(max_size=50))
)
def test_parts_of_everything_in_any_order_raise_nothing(tmp_path: Path, head: bytes, parts: list[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(head + b"".join(part[:2000] for part in parts))
    assert isinstance(tell_type(path), T)


def test_a_folder_of_many_small_configurations_is_seen_whole(tmp_path: Path) -> None:
    for number in range(900):
        (tmp_path / str(number)).write_text(json.dumps({"lr": number, "layers": list(range(100))}))
    assert tell_type(tmp_path) is T.CONFIG


def test_what_an_archive_says_is_empty_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "state.pt", "w") as archive:
        archive.writestr("state/data.pkl", b"")
    assert tell_type(tmp_path / "state.pt") is T.CUSTOM
