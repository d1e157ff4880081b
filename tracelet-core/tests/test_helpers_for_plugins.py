"""What `tracelet.plugin` has for the authors of backends: one way to look a version up, and one to tell what goes wrong."""

from __future__ import annotations

import doctest
import inspect
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tracelet import plugin
from tracelet.exceptions import AmbiguousVersion, ConfigError, VersionConflict
from tracelet.plugin import MEDIA_FAULTS, causes, label_conflict, load_yaml, look_up, of_digest, parse_ref

DIGEST = "ab" * 32
#: Of an error that a docstring prints, the class counts: its message is shortened there.
AS_PRINTED = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def says(kind: str) -> Callable[..., str]:
    return lambda *given: " ".join([kind, *map(str, given)])


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("latest", "latest"),
        ("v3", "number 3"),
        ("v1.2.0", "label v1.2.0"),
        ("best", "label best"),
        ("sha256:abcdef", "digest abcdef"),
        ("put:one", "put one"),
    ],
)
def test_each_reference_calls_its_own_look_up_and_no_other(ref: str, expected: str) -> None:
    found = look_up(
        parse_ref(ref),
        latest=says("latest"),
        number=says("number"),
        label=says("label"),
        digest=says("digest"),
        put_id=says("put"),
    )
    assert found == expected


def test_the_newest_of_the_versions_with_one_digest_is_found() -> None:
    found = [(DIGEST, 4), ("cd" * 32, 3), (DIGEST, 2)]
    assert of_digest("model", "ababab", found) == 4
    assert of_digest("model", "cdcdcd", found) == 3
    assert of_digest("model", "efefef", found) is None


def test_a_beginning_of_two_digests_says_how_many_there_are() -> None:
    found = [("abc1", 0), ("abc2", 1), ("abc2", 2)]
    with pytest.raises(AmbiguousVersion, match="sha256:abc is the beginning of 2 digests of 'model': give more"):
        of_digest("model", "abc", found)
    assert of_digest("model", "abc2", found) == 1


@pytest.mark.parametrize(("number", "owner"), [(3, "is v3, which has"), (None, "was other content, which is deleted")])
def test_a_label_of_other_content_is_told_with_the_version_that_has_it(number: int | None, owner: str) -> None:
    error = label_conflict("model", "1.0", number)
    assert isinstance(error, VersionConflict)
    assert str(error).startswith(f"'model' '1.0' {owner}")
    assert str(error).endswith("Choose another label.")


def test_an_error_that_is_its_own_cause_ends_the_chain_of_causes() -> None:
    first, second = OSError("first"), RuntimeError("second")
    second.__cause__ = first
    first.__context__ = second
    assert list(causes(second)) == [second, first]


@pytest.mark.parametrize("error", [struct.error("cut"), zlib.error("no data"), SyntaxError("chunk"), EOFError()])
def test_what_damaged_media_raise_is_caught(error: Exception) -> None:
    assert isinstance(error, MEDIA_FAULTS)


def test_yaml_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"YAML needs PyYAML: pip install 'tracelet-core\[yaml\]'"):
        load_yaml("a: 1")


@pytest.mark.parametrize("name", [name for name in plugin.__all__ if ">>>" in (getattr(plugin, name).__doc__ or "")])
def test_the_example_in_a_docstring_prints_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    helper = getattr(plugin, name)
    examples = doctest.DocTestFinder(recurse=False).find(helper, name, module=inspect.getmodule(helper))
    runner = doctest.DocTestRunner(optionflags=AS_PRINTED)
    for example in examples:
        runner.run(example)
    assert runner.summarize() == doctest.TestResults(0, runner.tries)
    assert runner.tries
