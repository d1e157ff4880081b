"""What a person sees in a notebook: its cells are run by a real kernel, and its pages are opened in a real browser."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy
import pandas
import pytest
from browsing import Page, browser
from making import write
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

pytestmark = pytest.mark.browser

#: Whatever runs it, marks the window that it is in.
MARK = "window.hacked = window.top.hacked = true"
HOSTILE = f"\"'><script>{MARK}</script><img src=x onerror='{MARK}'><svg onload='{MARK}'>"
CELLS = [
    """
from tracelet import ArtifactType, Experiment

exp = Experiment("digits", artifacts=True).start()
artifact = exp.create_artifact("evaluation", ArtifactType.REPORT, "How good it is.").add_dir("files")
artifact.metadata = {"accuracy": 0.93, "metrics": {"val_loss": 0.12}}
artifact.add_object({"learning_rate": 0.1}, "settings")
""",
    "results = exp.log_artifact(artifact, aliases=['best'])\nresults",
    "used = exp.use_artifact('evaluation')\nused",
    "exp.list_artifacts()",
    "used.add_alias('production')",
    "artifact.metadata['accuracy'] = 0.94\nresults = exp.log_artifact(artifact)\nused.diff(exp.get_artifact('evaluation'))",
    "exp",
]
HOSTILE_CELLS = [
    f"""
from tracelet import ArtifactType, Experiment, LogResults, VersionConflict

hostile = {HOSTILE!r}
exp = Experiment("digits", artifacts=True).start()
artifact = exp.create_artifact("evaluation", ArtifactType.REPORT, hostile).add_dir("hostile")
artifact.metadata = {{hostile: hostile, "list": [hostile]}}
artifact.add_reference("s3://bucket/" + hostile)
""",
    "results = exp.log_artifact(artifact)\nresults.failed[hostile] = VersionConflict(hostile)\nresults",
    "exp.get_artifact('evaluation')",
    "exp.list_artifacts()",
    "Experiment(hostile[:120], artifacts=True)",
]


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA", (64, 48), (30, 90, 200, 128)).save(stream, "PNG")
    return stream.getvalue()


def sound() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(32_000))
    return stream.getvalue()


def executed(folder: Path, cells: list[str]) -> nbformat.NotebookNode:
    """A notebook of these cells after a kernel of its own has run them in a folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in [*cells, "exp.stop()"]])
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, startup_timeout=600, kernel_name="python3", resources=place)
    return client.execute()


def results_of(notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
    """What the cells gave to be shown, by its kind."""
    return [output.data for cell in notebook.cells for output in cell.outputs if output.output_type == "execute_result"]


def page_of(notebook: nbformat.NotebookNode, target: Path, theme: str = "light") -> Path:
    """The notebook as a page that looks as JupyterLab does; nothing of it is fetched from elsewhere."""
    exporter = HTMLExporter(template_name="lab", theme=theme, mathjax_url="", require_js_url="", jquery_url="")
    target.write_text(exporter.from_notebook_node(notebook)[0])
    return target


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Jupyter's own files are of this test alone."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("jupyter")
        for name in ("CONFIG", "DATA", "RUNTIME"):
            patch.setenv(f"JUPYTER_{name}_DIR", str(folder / name.lower()))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.delenv("TRACELET_DIR", raising=False)
        yield folder


@pytest.fixture(scope="module")
def notebook(kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("notebook")
    write(folder / "files" / "plot.png", picture())
    write(folder / "files" / "tone.wav", sound())
    write(folder / "files" / "history.csv", "epoch,loss\n" + "".join(f"{one},{1 / one:.3f}\n" for one in range(1, 41)))
    write(folder / "files" / "config.json", json.dumps({"layers": [1, 2]}))
    pandas.DataFrame({"x": numpy.arange(1_000), "y": ["abc"] * 1_000}).to_parquet(folder / "files" / "rows.parquet")
    return executed(folder, CELLS)


@pytest.fixture(scope="module")
def hostile_notebook(kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("hostile")
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='{MARK}'><!-- --></svg>"
    write(folder / "hostile" / "drawing.svg", svg)
    write(folder / "hostile" / "scripted.svg", svg.replace("<!-- -->", f"<script>{MARK}</script>"))
    floors = "".join(f"<g id='a{one}'>" + f"<use href='#a{one - 1}'/>" * 10 + "</g>" for one in range(1, 13))
    write(folder / "hostile" / "endless.svg", svg.replace("<!-- -->", f"<rect id='a0'/>{floors}"))
    write(folder / "hostile" / "page.html", f"<html><script>{MARK}</script></html>")
    write(folder / "hostile" / "picture.png", HOSTILE)
    write(folder / "hostile" / "rows.csv", f"a,{HOSTILE}\n1,{HOSTILE}\n")
    write(folder / "hostile" / "a.json", json.dumps({HOSTILE: HOSTILE}))
    write(folder / "hostile" / f"{HOSTILE.replace('/', '')}.txt", HOSTILE)
    return executed(folder, HOSTILE_CELLS)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as found:
        yield found


def test_each_thing_is_a_table_and_has_a_text_for_where_there_is_no_page(notebook: nbformat.NotebookNode) -> None:
    shown = results_of(notebook)
    assert [set(one) for one in shown] == [{"text/html", "text/plain"}] * 7
    assert [one["text/plain"].split(None, 1)[0] for one in shown] == [
        "<TraceletArtifact",
        "<LogResults",
        "<LoggedArtifact",
        "name",
        "<ChangeResults",
        "<ArtifactDiff",
        "<Experiment",
    ]


def test_a_stored_version_is_seen_and_heard(page: Page, notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    page.open(page_of(notebook, tmp_path / "page.html"))
    assert page.texts(".tracelet .tl-head strong") == [
        *("evaluation", "Logged", "evaluation", "1 version", "Changed"),
        *("evaluation v0 → evaluation v1: 6 same, 1 of metadata, 1 of inputs", "digits"),
    ]
    sizes = page.run(
        "Promise.all([...document.querySelectorAll('.tracelet img')].map(one => (one.loading = 'eager',"
        " one.decode().then(() => [one.naturalWidth, one.naturalHeight]))))"
    )
    assert sizes == [[64, 48]] * 2
    lengths = page.run(
        "Promise.all([...document.querySelectorAll('.tracelet audio')].map(one => new Promise((seen, lost) => {"
        " one.onloadedmetadata = () => seen(one.duration); one.onerror = lost; one.load(); })))"
    )
    assert lengths == [2, 2]
    captions = page.texts(".tracelet figcaption")
    assert captions[:5] == [
        *("plot.png", "tone.wav", "history.csv (the first 10 rows)", "rows.parquet (10 of 1,000 rows)", "config.json"),
    ]
    assert page.texts("figure table tbody tr:last-child")[:2] == ["10\t0.100", "9\tabc"]
    assert page.complaints == []
    assert page.requests == []


def test_a_click_on_a_digest_selects_all_of_it_without_a_script(
    page: Page, notebook: nbformat.NotebookNode, tmp_path: Path
) -> None:
    page.open(page_of(notebook, tmp_path / "page.html"))
    (digest,) = {text for text in page.texts(".tl-facts .tl-copy") if len(text) == 64}
    for selector in (".tl-facts .tl-copy[title]", f".tl-short[title='{digest}']"):
        page.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].find(one => one.textContent === '{digest}').id = 'it'"
        )
        page.click("#it")
        assert page.run("getSelection().toString()") == digest
        page.run("document.getElementById('it').removeAttribute('id')")


#: The ratio of the luminances of a text's colour and of the page behind it, as WCAG 2 computes it.
CONTRAST = """
(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(one => one / 255)
    .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = numbers(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('.tracelet td, .tracelet th, .tracelet .tl-kind, .tracelet .tl-note')].map(one => {
    const style = getComputedStyle(one), opacity = Number(style.opacity);
    const colour = numbers(style.color).slice(0, 3).map((part, place) => part * opacity + behind[place] * (1 - opacity));
    const [high, low] = [light(colour), light(behind)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  });
})()
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_table_is_readable_in_a_light_and_in_a_dark_notebook(
    page: Page, notebook: nbformat.NotebookNode, tmp_path: Path, theme: str
) -> None:
    page.open(page_of(notebook, tmp_path / "page.html", theme))
    behind = page.run("getComputedStyle(document.body).backgroundColor")
    assert behind == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 17, 17)"}[theme]
    assert min(page.run(CONTRAST)) > 4.5
    # JupyterLab sets tables to the right, and sizes and fonts of its own.
    assert page.run(
        "[...document.querySelectorAll('.tracelet td')].every(one => getComputedStyle(one).textAlign === 'left')"
    )
    assert page.run(
        "[...document.querySelectorAll('.tracelet pre')].every(one => getComputedStyle(one).fontFamily.includes('mono'))"
    )
    # Nothing is wider than its cell of the notebook.
    assert page.run("[...document.querySelectorAll('.tracelet')].every(one => one.scrollWidth <= one.clientWidth)")
    assert page.photograph(tmp_path / f"{theme}.png").stat().st_size > 10_000


def test_whatever_an_artifact_says_runs_nothing_and_reaches_nowhere(
    page: Page, hostile_notebook: nbformat.NotebookNode, tmp_path: Path
) -> None:
    shown = [one["text/html"] for one in results_of(hostile_notebook)]
    for number, (html, said) in enumerate(zip(shown, [HOSTILE, HOSTILE, HOSTILE, "", HOSTILE[:120]], strict=True)):
        page.open(write(tmp_path / f"{number}.html", f"<!doctype html><meta charset=utf-8><body>{html}"))
        page.run("Promise.all([...document.images].map(one => (one.loading = 'eager', one.decode())))")
        assert said in page.run("document.querySelector('.tracelet').textContent")
        assert page.run("window.hacked") is None
        assert page.count("script, svg, iframe, a, [onerror], [onload]") == 0
        assert page.complaints == []
        assert page.requests == []
    # The check itself sees what runs.
    page.open(write(tmp_path / "open.html", f"<!doctype html><body>{HOSTILE}"))
    assert page.run("window.hacked") is True


class Observed(NotebookClient):
    """Notes what the kernel gives to be shown, and lets the cell go on once it has given something."""

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        if msg["msg_type"] in {"display_data", "update_display_data"}:
            self.shown.append(msg["content"]["data"]["text/plain"])
            write(self.go_on)
        return super().process_message(msg, cell, cell_index)


def test_a_cell_that_takes_long_says_what_it_does_and_nothing_of_it_stays(kernels: Path, tmp_path: Path) -> None:
    cell = """
import time
from pathlib import Path
from typing import Any
from tracelet.core.system.signs import sign_of_life

with sign_of_life("listing 'digits'"):
    while not Path("go").exists():
        time.sleep(0.01)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    place = {"metadata": {"path": str(tmp_path)}}
    client = Observed(notebook, timeout=600, startup_timeout=600, kernel_name="python3", resources=place)
    client.shown, client.go_on = [], tmp_path / "go"
    client.execute()
    assert client.shown[0].startswith("tracelet: listing 'digits', ")
    assert client.shown[-1] == ""
    (output,) = notebook.cells[0].outputs
    assert output.data == {"text/plain": ""}
