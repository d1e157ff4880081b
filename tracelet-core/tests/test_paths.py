"""Paths that leave the manifest: they stay where they belong, whatever they are made of."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet.exceptions import ArtifactError, UnsafePath
from tracelet.plugin import check_path, physical_name, target_path

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-%")
HOSTILE = st.text(st.sampled_from("./\\ab:~%\0\n ü#?"), max_size=12) | st.text(max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text(st.sampled_from("abü .-%#?~"), min_size=1, max_size=8) | HOSTILE)
def test_a_path_that_is_taken_ends_inside_its_folder_and_can_be_read_there(path: str) -> None:
    try:
        check_path(path)
    except UnsafePath:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        target = target_path(folder, path)
        target.write_bytes(b"x")
        assert target.resolve().is_relative_to(folder)
        assert target.relative_to(folder).as_posix() == path
        assert [found for found in folder.rglob("*") if found.is_file()] == [target]


@given(
    HOSTILE, st.sampled_from(["../", "/", "a/../../", "./", "a//", "C:", "a\\", "\0", "\n", "tracelet.json/"]), HOSTILE
)
def test_a_hostile_path_is_refused_and_makes_nothing(before: str, evil: str, after: str) -> None:
    path = evil + after if evil in {"/", "C:", "tracelet.json/"} else f"{before}{evil}{after}"
    if evil == "../" and before and not before.endswith("/"):
        path = f"{before}/{evil}{after}"
    if evil == "./" and before and not before.endswith("/"):
        path = f"{before}/{evil}{after}"
    with tempfile.TemporaryDirectory() as name:
        with pytest.raises(UnsafePath):
            target_path(Path(name), path)
        assert os.listdir(name) == []


def test_a_link_out_of_the_folder_is_not_followed_and_nothing_is_made_behind_it(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / "sub").symlink_to(outside)
    for path in ("sub/x", "sub/deep/er/x"):
        with pytest.raises(UnsafePath, match=r"a link in .* leads out of it. Choose another folder"):
            target_path(folder, path)
    assert list(outside.iterdir()) == []


def test_a_link_that_dangles_outside_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(tmp_path / "not-there")
    with pytest.raises(UnsafePath):
        target_path(folder, "sub/x")
    assert not (tmp_path / "not-there").exists()


def test_a_link_inside_the_folder_and_a_folder_that_is_a_link_are_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "there").mkdir(parents=True)
    (real / "here").symlink_to(real / "there")
    (tmp_path / "link").symlink_to(real)
    target_path(tmp_path / "link", "here/x").write_text("x")
    assert (real / "there" / "x").read_text() == "x"


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in ("file/x", "file/x/y"):
        with pytest.raises(ArtifactError, match=r"a file in .* is in the way. Choose another folder"):
            target_path(tmp_path, path)
    with pytest.raises(ArtifactError, match=r"a folder in .* is in the way. Choose another folder"):
        target_path(tmp_path, "folder")


@given(TEXT)
def test_a_physical_name_is_one_safe_segment_that_any_filesystem_takes(text: str) -> None:
    name = physical_name(text)
    assert set(name) <= SAFE
    assert name not in {".", ".."}
    assert len(name) <= 240


@given(TEXT, TEXT)
def test_different_texts_have_different_physical_names(one: str, two: str) -> None:
    assert (physical_name(one) == physical_name(two)) == (one == two)


@pytest.mark.parametrize(
    ("one", "two"),
    [("a/b", "a%2Fb"), (".", "%2E"), ("..", "%2E%2E"), ("~", "%7E"), ("ü", "%C3%BC"), ("x" * 240, "x" * 241)],
)
def test_what_is_encoded_already_is_encoded_again(one: str, two: str) -> None:
    assert physical_name(one) != physical_name(two)


def test_plain_names_stay_readable() -> None:
    assert physical_name("run-1_final.v2") == "run-1_final.v2"
    assert physical_name("a b/c") == "a%20b%2Fc"


def test_long_texts_that_begin_alike_have_different_names() -> None:
    names = {physical_name("実験" * 60 + end) for end in ("", "a", "b")} | {physical_name("実験" * 60)}
    assert len(names) == 3
    assert all(len(name.encode()) < 255 for name in names)
