"""What is seen of a file without opening it."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import wave
from pathlib import Path

import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from making import write
from PIL import Image

from tracelet.core.display.html import element, table
from tracelet.core.display.previews import Kind, Preview, preview_html, preview_of, promise

SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><text>a</text></svg>'
FTYP = b"\x00\x00\x00\x18ftyp"


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(stream, kind)
    return stream.getvalue()


def sound(kind: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, numpy.zeros(800), 8000, format=kind)
    return stream.getvalue()


def seen(folder: Path, content: bytes | str, name: str, **bounds: int) -> Preview:
    return preview_of(write(folder / "file", content), name, **bounds)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF"])
def test_a_picture_is_told_by_its_content_and_shown_as_it_is(tmp_path: Path, kind: str) -> None:
    content = picture(kind)
    assert seen(tmp_path, content, "weights.bin") == Preview(Kind.IMAGE, f"image/{kind.lower()}", content)


@pytest.mark.parametrize(("kind", "media"), [("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mpeg"), ("OGG", "ogg")])
def test_a_sound_is_told_by_its_content(tmp_path: Path, kind: str, media: str) -> None:
    assert seen(tmp_path, sound(kind), "it").media == f"audio/{media}"


@pytest.mark.parametrize(
    ("content", "media"),
    [
        (FTYP + b"M4A \x00\x00", "audio/mp4"),
        (FTYP + b"isom\x00\x00", "video/mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm", "video/webm"),
        (b"OggS\x00\x02\x00\x80theora", "video/ogg"),
    ],
)
def test_a_film_is_told_from_a_sound_in_the_same_container(tmp_path: Path, content: bytes, media: str) -> None:
    found = seen(tmp_path, content, "clip")
    assert (found.kind.value, found.media) == (media.partition("/")[0], media)


def test_a_name_makes_no_picture_of_other_content(tmp_path: Path) -> None:
    assert seen(tmp_path, "<script>alert(1)</script>", "photo.png") == Preview(
        Kind.TEXT, text="<script>alert(1)</script>"
    )
    assert seen(tmp_path, "BMW,Audi\n1,2\n", "cars.csv").kind is Kind.TABLE
    assert seen(tmp_path, f"<html>{SVG}</html>", "page.svg").kind is Kind.TEXT


def test_a_drawing_is_a_source_of_an_image_and_never_markup(tmp_path: Path) -> None:
    found = seen(tmp_path, SVG, "plot.svg")
    assert found.media == "image/svg+xml"
    shown = preview_html(found, '"><script>alert(1)</script>').markup
    assert shown.startswith('<img src="data:image/svg+xml;base64,')
    assert "<script" not in shown
    assert "<svg" not in shown


def test_media_that_is_larger_than_the_bound_is_not_read_into_a_page(tmp_path: Path) -> None:
    found = seen(tmp_path, picture("PNG") + bytes(2_000), "a.png", most_bytes=2_000)
    assert found == Preview(Kind.NOTHING, left_out="2.1 kB: too large to show")


def test_the_first_rows_of_a_table_are_shown_and_how_many_it_is_said(tmp_path: Path) -> None:
    small = seen(tmp_path, 'a,b\r\n1,"x\ny"\r\n\r\n2,z\r\n', "t.csv")
    assert small == Preview(Kind.TABLE, columns=("a", "b"), rows=(("1", "x\ny"), ("2", "z")))
    ten = seen(tmp_path, "a\n" + "1\n" * 10, "t.csv")
    assert (len(ten.rows), ten.left_out) == (10, "")
    long = seen(tmp_path, "a\n" + "1\n" * 100_000, "t.csv")
    assert (len(long.rows), long.left_out) == (10, "the first 10 rows")
    wide = seen(tmp_path, ";".join("abcdefghijklmno") + "\n" + "x" * 200, "t.csv")
    assert (len(wide.columns), wide.left_out) == (12, "12 of 15 columns")
    assert wide.rows == (("x" * 80 + "…",),)
    tabs = seen(tmp_path, "a,b\tc\n1\t2\n", "T.TSV")
    assert tabs.columns == ("a,b", "c")


def test_a_row_that_is_read_in_part_is_not_shown(tmp_path: Path) -> None:
    found = seen(tmp_path, "a,b\n1,2\n3," + "x" * 100_000, "t.csv")
    assert (found.rows, found.left_out) == ((("1", "2"),), "the first 1 row")


@pytest.mark.parametrize("content", ["", "x" * 200_000, '"' + "x" * 140_000])
def test_what_is_no_table_after_all_is_text(tmp_path: Path, content: str) -> None:
    assert seen(tmp_path, content, "t.csv").kind is Kind.TEXT


def test_a_cell_that_this_process_does_not_allow_makes_a_table_text(tmp_path: Path) -> None:
    before = csv.field_size_limit(10)
    try:
        assert seen(tmp_path, "a,b\n" + "x" * 20, "t.csv").kind is Kind.TEXT
    finally:
        csv.field_size_limit(before)


def test_the_first_rows_of_parquet_are_shown_with_how_many_there_are(tmp_path: Path) -> None:
    frame = pandas.DataFrame({f"c{number}": range(1_000) for number in range(14)})
    frame.to_parquet(tmp_path / "t")
    found = preview_of(tmp_path / "t", "anything")
    assert found.columns == tuple(f"c{number}" for number in range(12))
    assert found.rows[9] == ("9",) * 12
    assert found.left_out == "10 of 1,000 rows, 12 of 14 columns"


def test_parquet_without_rows_is_a_header(tmp_path: Path) -> None:
    pandas.DataFrame({"a": pandas.Series([], dtype="int64")}).to_parquet(tmp_path / "t")
    assert preview_of(tmp_path / "t", "t.parquet") == Preview(Kind.TABLE, columns=("a",))


def test_parquet_that_is_damaged_or_swells_is_not_shown(tmp_path: Path) -> None:
    assert seen(tmp_path, b"PAR1" + bytes(100) + b"PAR1", "t").left_out.startswith("it is no table that can be read")
    pandas.DataFrame({"a": numpy.zeros(9_000_000)}).to_parquet(
        tmp_path / "t", use_dictionary=False, row_group_size=9_000_000, compression="zstd"
    )
    assert preview_of(tmp_path / "t", "t").left_out == "its first rows are too large to unpack"


def test_a_row_that_is_a_list_of_millions_is_not_shown_and_one_of_thousands_is(tmp_path: Path) -> None:
    def shown(values: pyarrow.Array) -> Preview:
        lists = pyarrow.ListArray.from_arrays(pyarrow.array([0, len(values)], pyarrow.int32()), values)
        pyarrow.parquet.write_table(pyarrow.table({"a": lists}), tmp_path / "it.parquet", compression="zstd")
        return preview_of(tmp_path / "it.parquet", "it.parquet")

    assert shown(pyarrow.array(numpy.zeros(3_000_000, "i1"))).left_out == "its first rows are too large to unpack"
    assert shown(pyarrow.array(["text" * 100_000] * 1_000)).left_out == "its first rows are too large to unpack"
    assert shown(pyarrow.array(numpy.zeros(1_000, "f4"))).kind is Kind.TABLE
    assert shown(pyarrow.array(["cat", "dog"] * 1_000)).kind is Kind.TABLE


def test_parquet_needs_pyarrow_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert seen(tmp_path, b"PAR1" + bytes(8), "t").left_out == "its rows are shown where pyarrow is installed"


def test_a_pyarrow_that_runs_what_a_file_brings_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas.DataFrame({"a": [1]}).to_parquet(tmp_path / "t")
    monkeypatch.setattr(pyarrow, "__version__", "14.0.0")
    assert preview_of(tmp_path / "t", "t").left_out == "its rows are shown by pyarrow 14.0.1 or later"
    monkeypatch.setattr(pyarrow, "__version__", "14.0.1")
    assert preview_of(tmp_path / "t", "t").kind is Kind.TABLE


def test_json_is_laid_out_and_what_only_looks_like_it_is_text(tmp_path: Path) -> None:
    assert seen(tmp_path, '{"a":["é"]}', "a.json") == Preview(Kind.JSON, text='{\n  "a": [\n    "é"\n  ]\n}')
    assert seen(tmp_path, "{a", "a.json") == Preview(Kind.TEXT, text="{a")
    assert seen(tmp_path, "[" * 60_000, "a.json").kind is Kind.TEXT
    assert seen(tmp_path, r'["\ud800"]', "a.json").text == '[\n  "?"\n]'
    assert seen(tmp_path, json.dumps([1] * 50_000), "a.json").kind is Kind.TEXT


def test_the_beginning_of_a_text_is_shown_and_said_to_be_one(tmp_path: Path) -> None:
    assert seen(tmp_path, "one\ntwo", "notes") == Preview(Kind.TEXT, text="one\ntwo")
    many_lines = seen(tmp_path, "x\n" * 100, "log.txt")
    assert (many_lines.text.count("x"), many_lines.left_out) == (40, "only the beginning is shown")
    one_line = seen(tmp_path, "é" * 100_000, "log.txt")
    assert (len(one_line.text), one_line.left_out) == (4_000, "only the beginning is shown")


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", b"a\x00b", bytes(5_000)])
def test_what_is_neither_media_nor_text_is_not_shown(tmp_path: Path, content: bytes) -> None:
    assert seen(tmp_path, content, "a.txt").left_out == "there is no preview of this kind of file"


def test_what_is_no_file_any_more_is_said_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert preview_of(tmp_path / "pipe", "a.txt").left_out == "it cannot be read: it is not a regular file"
    assert preview_of(tmp_path / "gone", "a.txt").left_out == "it cannot be read: No such file or directory"


@given(content=st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.json", "a.svg", "a.png", "a.parquet", "a"]))
def test_whatever_a_file_holds_its_preview_has_no_markup_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    shown = preview_html(seen(tmp_path_factory.mktemp("any"), content + b"<b>", name), name).markup
    assert "<b>" not in shown
    shown.encode()


def test_each_kind_of_preview_has_its_element() -> None:
    assert preview_html(Preview(Kind.AUDIO, "audio/wav", b"a"), "a").markup == (
        '<audio src="data:audio/wav;base64,YQ==" controls="" preload="metadata" aria-label="a"></audio>'
    )
    assert preview_html(Preview(Kind.VIDEO, "video/mp4", b"a"), "a").markup.startswith("<video ")
    assert preview_html(Preview(Kind.NOTHING, left_out="<"), "a").markup == "<p>&lt;</p>"
    assert preview_html(Preview(Kind.JSON, text="<"), "a").markup == "<pre>&lt;</pre>"
    assert preview_html(Preview(Kind.TABLE, columns=("<",), rows=(("&",),)), "a") == table(["<"], [["&"]])


def test_control_characters_and_halves_of_characters_do_not_get_into_a_page() -> None:
    assert element("p", "a\x00\x1b[2J\ud800\tb\r\n").markup == "<p>a\ufffd\ufffd[2J\ufffd\tb\r\n</p>"


def test_no_text_turns_round_what_stands_beside_it() -> None:
    assert element("b", "a\u202egpj.exe", title="\u2066b\x9b").markup == '<b title="\ufffdb\ufffd">a\ufffdgpj.exe</b>'


def test_names_of_what_can_be_shown_promise_it_pictures_first() -> None:
    assert promise("a/Plot.PNG") == 0
    assert promise("rows.parquet") < promise("notes.md")
    assert promise("weights.pt") is None


def test_a_wave_file_of_the_standard_library_is_a_sound(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(16))
    assert preview_of(tmp_path / "a", "a").kind is Kind.AUDIO
