"""The page of the report as people meet it, in a real browser: to look at, to search, by keyboard, in hostile hands."""

from __future__ import annotations

import math
import re
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, browser
from making import write
from test_report import PNG, log

from tracelet import ArtifactType, Experiment, report
from tracelet.core.reporting.page import page

pytestmark = pytest.mark.browser

VIEWS = ("gallery", "timelines", "lineage", "numbers", "sizes")
#: Says that it ran, wherever it runs.
RUNS = "top.ran = true; window.ran = true"
HOSTILE = (
    f"</script><script>{RUNS}</script>",
    f"<img src=x onerror='{RUNS}'>",
    f"<svg onload='{RUNS}'><script>{RUNS}</script></svg>",
    f"<iframe srcdoc='<script>{RUNS}</script>'></iframe>",
    f"javascript:{RUNS}",
    "<!--<script>",
    "]]>'\"`${alert(1)}{{script}}\u2028\u2029",
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9" '
    f'onload="{RUNS}"><script>{RUNS}</script><image href="http://127.0.0.1:9/a.png"/>'
    f'<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><script>{RUNS}</script></body></foreignObject></svg>'
)
#: Ten million points, in a few hundred bytes.
ENDLESS = (
    '<svg xmlns="http://www.w3.org/2000/svg"><path id="a0" d="M0 0h1v1z"/>'
    + "".join(f'<g id="a{number + 1}">' + f'<use href="#a{number}"/>' * 10 + "</g>" for number in range(7))
    + "</svg>"
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as one:
        yield one


@pytest.fixture
def look(tab: Page) -> Page:
    """A tab on a light system, as wide as a desktop's."""
    return tab.look_as()


@pytest.fixture
def study(home: Path) -> Path:
    """The page of an experiment with something of everything in it."""
    with Experiment("digits", artifacts=True) as exp:
        log(exp, "images", {"table.csv": "id,label\n1,seven\n2,nine\n", "one.png": PNG}, aliases=["gold"])
        used = exp.use_artifact("images")
        for number in range(4):
            metrics = {"metrics": {"loss": 1 / (number + 1)}, "optimizer": "adam"}
            model = exp.create_artifact("classifier", ArtifactType.MODEL, f"Layer {number}")
            model.metadata.update(metrics)
            model.add_file(write(home / "in" / "weights.pt", bytes([number]) * 100))
            exp.log_artifact(model, aliases=["best"] if number == 2 else [])
        with wave.open(str(write(home / "in" / "tone.wav")), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 3))) for n in range(4000)))
        exp.log_artifact(exp.create_artifact("tone", ArtifactType.DATASET).add_file(home / "in" / "tone.wav"))
        log(exp, "notes", {"notes.txt": "all went well"})
        assert used.name == "images"
    return report("digits", "page.html").path


def calm(tab: Page) -> bool:
    """Whether the page complained of nothing, and asked for nothing."""
    assert tab.complaints == []
    assert tab.requests == []
    return True


class TestLooking:
    def test_every_view_shows_something_and_asks_for_nothing(self, look: Page, study: Path) -> None:
        look.open(study)
        for view in VIEWS:
            look.click(f"a[href='#{view}']")
            assert look.run("document.getElementById('content').innerText").strip()
            assert look.texts("[aria-current]") == [view.capitalize()]
        assert calm(look)

    def test_the_gallery_shows_the_newest_of_each_name_by_type(self, look: Page, study: Path) -> None:
        look.open(study)
        assert look.texts("section.group > h3") == ["dataset3", "model1"]
        assert sorted(look.texts(".card h4")) == ["classifier", "images", "notes", "tone"]
        assert look.texts(".card:has(audio) h4") == ["tone"]
        look.click("#choices input")
        assert look.texts("section.group > h3") == ["dataset3", "model4"]

    def test_a_picture_says_more_than_a_text(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            log(exp, "thing", {"a.txt": "text", "b.csv": "a,b\n1,2\n", "c.png": PNG})
        look.open(report("digits", "page.html").path)
        assert look.count(".card .window img") == 1

    def test_pictures_are_seen_and_sounds_can_be_played(self, look: Page, study: Path) -> None:
        look.open(study)
        loaded = (
            "document.querySelector('.card img').decode().then(() => document.querySelector('.card img').naturalWidth)"
        )
        assert look.run(loaded) == 1
        sound = "document.querySelector('audio')"
        look.run(f"new Promise(done => {{ {sound}.onloadedmetadata = done; {sound}.load() }})")
        assert look.run(f"{sound}.duration") == 0.5
        assert calm(look)

    def test_a_video_has_a_player(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            log(exp, "clip", {"clip.webm": b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm"})
        look.open(report("digits", "page.html").path)
        assert look.run("document.querySelector('.card video').src").startswith("data:video/webm;base64,")
        assert look.run("document.querySelector('.card video').controls")
        assert calm(look)

    def test_a_version_is_shown_whole(self, look: Page, study: Path) -> None:
        look.open(study).run(
            "[...document.querySelectorAll('.card button')].find(one => one.innerText === 'images').click()"
        )
        (shown,) = look.settle().texts("dialog")
        for part in ("gold", "latest", "table.csv", "seven", "one.png", "In local", "Used for", "classifier v3"):
            assert part in shown
        look.run(
            "[...document.querySelectorAll('dialog button')].find(one => one.innerText === 'classifier v3').click()"
        )
        (shown,) = look.settle().texts("dialog")
        assert "metrics.loss\t0.25" in shown
        assert "Made from" in shown
        assert calm(look)

    def test_timelines_have_the_aliases_and_a_list_of_the_versions(self, look: Page, study: Path) -> None:
        look.open(f"{study.as_uri()}#timelines")
        assert sorted(look.texts(".flag")) == ["best", "gold"]
        look.click(".timeline:has(.dot.named) summary")
        assert look.count(".timeline tbody tr") in {1, 4}

    def test_the_graph_leads_from_inputs_to_what_was_made(self, look: Page, study: Path) -> None:
        look.open(f"{study.as_uri()}#lineage")
        assert look.texts(".node")[0] == "images\nv0 · gold"
        assert look.count(".node") == 7
        assert look.count(".edge") == 6
        look.click(".node")
        assert look.texts("dialog h2") == ["images v0"]

    def test_inputs_that_another_input_has_are_no_lines_of_their_own(self, look: Page, home: Path) -> None:
        with Experiment("chain", artifacts=True) as exp:
            for name in ("first", "second", "third"):
                log(exp, name, {"a.bin": name.encode()})
                exp.use_artifact(name)
        look.open(f"{report('chain', 'page.html').path.as_uri()}#lineage")
        assert (look.count(".node"), look.count(".edge")) == (3, 2)

    def test_an_input_from_elsewhere_is_in_the_graph(self, look: Page, home: Path) -> None:
        with Experiment("chain", artifacts=True) as exp:
            for name in ("first", "second"):
                log(exp, name, {"a.bin": name.encode()})
                exp.use_artifact(name)
        look.open(f"{report('chain', 'page.html', name='second').path.as_uri()}#lineage")
        assert [text.partition("\n")[0] for text in look.texts(".node")] == ["outside this page", "second"]

    def test_numbers_are_drawn_over_versions_and_over_time(self, look: Page, study: Path) -> None:
        look.open(f"{study.as_uri()}#numbers")
        assert look.texts(".chart h3") == ["metrics.loss"]
        assert look.count(".chart circle") == 4
        assert look.run("document.querySelector('.chart svg').textContent").startswith("10.25v0v3")
        look.click("#choices input")
        assert "v3" not in look.run("[...document.querySelectorAll('.chart text')].map(one => one.textContent).join()")
        look.click(".chart summary")
        assert look.texts(".chart tbody tr") == [
            "classifier v3\t0.25",
            "classifier v2\t0.3333333333333333",
            "classifier v1\t0.5",
            "classifier v0\t1",
        ]

    def test_sizes_are_by_name_the_largest_first(self, look: Page, study: Path) -> None:
        look.open(f"{study.as_uri()}#sizes")
        rows = [row.split("\t") for row in look.texts(".sizes tbody tr")]
        assert [row[0] for row in rows] == ["tone", "classifier", "images", "notes"]
        assert rows[1][-3:] == ["400 B", "400 B", "4"]

    def test_what_the_page_does_not_have_is_at_its_top(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            for number in range(3):
                log(exp, "thing", {"a.bin": bytes([number])})
        next((home / ".tracelet/local").rglob("versions/thing/v0.json")).write_bytes(b"{}")
        look.open(report("digits", "page.html", limit=1).path)
        told = look.texts(".notice")
        assert len(told) == 2
        assert "v0.json" in told[0]
        assert told[1] == "The page has the newest 1 of 2 versions."

    def test_a_damaged_file_is_told_where_it_was(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            log(exp, "thing", {"a.txt": "good"})
        next(path for path in (home / ".tracelet/local/blobs").rglob("*") if path.is_file()).write_bytes(b"evil")
        look.open(report("digits", "page.html").path)
        assert "cannot be read" in look.texts(".card")[0]
        look.run("document.querySelector('.card button').click()")
        assert "the stored bytes were changed" in look.texts("dialog")[0]

    def test_of_a_picture_that_would_fill_the_memory_the_size_is_said(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            log(exp, "thing", {"a.png": PNG[:16] + b"\0\0\xea\x60" * 2 + PNG[24:]})
        look.open(report("digits", "page.html").path).click(".card button")
        assert look.count("img") == 0
        assert "60,000 x 60,000 pixels: too large to show" in look.texts("dialog")[0]

    def test_nothing_stored_is_said(self, look: Page, home: Path) -> None:
        look.open(report("nothing", "page.html").path)
        assert look.texts(".empty") == ["Nothing is stored here yet."]
        assert calm(look)


class TestSearching:
    def found(self, look: Page, words: str) -> list[str]:
        look.run("document.getElementById('words').value = ''; document.getElementById('words').focus()")
        look.write(words)
        return sorted(look.texts(".card h4"))

    def test_words_are_looked_for_in_names_aliases_metadata_and_files(self, look: Page, study: Path) -> None:
        look.open(study)
        assert self.found(look, "class") == ["classifier"]
        assert self.found(look, "GOLD") == ["images"]
        assert self.found(look, "optimizer=adam best") == ["classifier"]
        assert self.found(look, "notes.txt") == ["notes"]
        assert self.found(look, "no such thing") == []
        assert look.texts(".empty") == ["Nothing fits what you search for."]
        assert look.texts("#count") == ["0 of 7 versions"]

    def test_whatever_a_version_says_of_itself_is_found(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True, backend="local") as exp:
            log(exp, "scans", {"a.bin": b"1"})
            log(exp, "scans", {"a.bin": b"2"}, version="clinic-7")
            artifact = exp.create_artifact("other", ArtifactType.REPORT, "Gr\u00f6\u00dfe der Mu\u0308hle, \ufb01nal")
            artifact.add_reference("s3://bucket/path/train.tar").add_object([1, 2], "summary")
            exp.log_artifact(artifact, aliases=["gold"])
        look.open(report("digits", "page.html").path)
        for words in (
            "s3://bucket train.tar",
            "summary json",
            "other@latest",
            "other@v0",
            "other@gold",
            "report local",
        ):
            assert self.found(look, words) == ["other"]
        for words in ("GRÖSSE", "gro\u0308\u00dfe", "M\u00fchle", "MU\u0308HLE", "final"):
            assert self.found(look, words) == ["other"]
        assert self.found(look, "scans clinic-7 latest v1") == ["scans"]
        assert look.texts("#count") == ["1 of 3 versions"]
        assert self.found(look, "local") == ["other", "scans"]
        assert self.found(look, "sha256:") == ["other", "scans"]

    def test_the_newest_that_fits_is_shown(self, look: Page, study: Path) -> None:
        look.open(study)
        assert self.found(look, "best") == ["classifier"]
        assert look.texts(".card .number") == ["v2"]

    def test_types_are_chosen_and_all_is_cleared(self, look: Page, study: Path) -> None:
        look.open(study)
        look.run(
            "(one => { one.value = 'model'; one.dispatchEvent(new Event('change')) })(document.getElementById('type'))"
        )
        assert look.settle().texts("#count") == ["4 of 7 versions"]
        look.click("#reset")
        assert look.texts("#count") == ["7 versions"]
        assert look.focused() == "Search names, aliases, metadata and digests"

    def test_a_search_stays_from_view_to_view(self, look: Page, study: Path) -> None:
        look.open(study)
        self.found(look, "classifier")
        look.click("a[href='#timelines']")
        assert look.texts(".timeline h3") == ["classifier"]


class TestKeyboard:
    def test_it_goes_from_the_top_to_a_version_and_back(self, look: Page, study: Path) -> None:
        look.open(study)
        reached = []
        for _ in range(12):
            look.press("Tab")
            reached.append(look.focused())
        assert reached[:2] == ["Skip to the artifacts", "Theme: system"]
        assert reached[2:7] == [view.capitalize() for view in VIEWS]
        assert reached[7:9] == ["Search names, aliases, metadata and digests", "Type"]
        assert {"notes", "tone", "images"} & set(reached)
        while look.focused() != "images":
            look.press("Tab")
        look.press("Enter")
        assert look.focused() == "Close"
        assert look.texts("dialog h2") == ["images v0"]
        look.press("Escape")
        assert look.count("dialog[open]") == 0
        assert look.focused() == "images"

    def test_it_steps_from_version_to_version_and_stays_where_it_was(self, look: Page, study: Path) -> None:
        look.open(study)
        look.run("[...document.querySelectorAll('.card button')].find(one => one.innerText === 'classifier').click()")
        look.run("document.querySelector('.sheet-buttons button').focus()")
        stepped = []
        for _ in range(3):
            look.press("Enter")
            stepped.append((look.texts("dialog h2")[0], look.focused()))
        assert stepped == [("classifier v2", "Older"), ("classifier v1", "Older"), ("classifier v0", "Close")]

    def test_what_has_the_focus_is_seen(self, look: Page, study: Path) -> None:
        look.open(study)
        for _ in range(9):
            look.press("Tab")
            ring = "(one => [getComputedStyle(one).outlineStyle, getComputedStyle(one, '::after').outlineStyle])"
            assert "solid" in look.run(f"{ring}(document.activeElement)")

    def test_a_slash_leads_to_the_search(self, look: Page, study: Path) -> None:
        look.open(study).press("/").write("tone")
        assert look.texts(".card h4") == ["tone"]

    def test_the_first_link_skips_what_comes_before_the_artifacts(self, look: Page, study: Path) -> None:
        look.open(study).press("Tab").press("Enter")
        assert look.focused().startswith("Gallery")

    def test_everything_has_a_name_and_a_landmark(self, look: Page, study: Path) -> None:
        look.open(study)
        nameless = "[...document.querySelectorAll('button, a, input, select, audio, img')].filter(one => !one.hidden && !(one.innerText || one.ariaLabel || one.alt || one.labels?.length))"
        assert look.run(f"{nameless}.map(one => one.outerHTML)") == []
        assert [look.count(one) for one in ("header", "nav[aria-label]", "main", "[role=search]", "h1")] == [1] * 5


class TestThemes:
    def colour(self, look: Page) -> str:
        return str(look.run("getComputedStyle(document.body).backgroundColor"))

    def test_it_follows_the_system_and_can_be_switched(self, look: Page, study: Path) -> None:
        light = self.colour(look.open(study))
        dark = self.colour(look.look_as(dark=True).settle())
        assert light != dark
        look.click("#theme")
        assert self.colour(look) == light
        look.click("#theme")
        assert self.colour(look.look_as(dark=False).settle()) == dark
        assert look.texts("#theme") == ["Theme: dark"]
        look.click("#theme")
        assert self.colour(look) == light
        assert calm(look)

    def test_a_choice_is_kept(self, look: Page, study: Path) -> None:
        look.open(study).click("#theme")
        assert look.open("about:blank").open(study).texts("#theme") == ["Theme: light"]
        look.run("localStorage.clear()")

    @pytest.mark.parametrize("dark", [False, True])
    def test_text_stands_out_from_what_is_behind_it(self, look: Page, study: Path, dark: bool) -> None:
        look.look_as(dark=dark).open(study)
        told = look.run(
            """['--ink', '--soft', '--accent', '--warn'].flatMap(ink => ['--paper', '--surface', '--sunken'].map(paper => {
                const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
                return [ink, paper].map(name => {
                    const probe = document.body.appendChild(document.createElement('i'));
                    probe.style.color = `var(${name})`;
                    canvas.fillStyle = getComputedStyle(probe).color;
                    probe.remove();
                    canvas.fillRect(0, 0, 1, 1);
                    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
                });
            }))"""
        )
        assert min(contrast(*pair) for pair in told) >= 4.5

    @pytest.mark.parametrize("view", VIEWS)
    @pytest.mark.parametrize("dark", [False, True])
    def test_on_a_phone_nothing_is_wider_than_the_screen(
        self, look: Page, study: Path, tmp_path: Path, view: str, dark: bool
    ) -> None:
        look.look_as(width=360, height=740, phone=True, dark=dark).open(f"{study.as_uri()}#{view}")
        assert look.run("document.documentElement.scrollWidth") == 360
        assert look.photograph(tmp_path / "phone.png").stat().st_size > 5_000
        assert calm(look)

    def test_on_a_phone_long_names_are_broken_and_every_view_is_in_sight(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            for number in range(2):
                about: dict[str, Any] = {"metadata": {"k" * 100: number, "text": "t" * 300}, "aliases": ["a" * 90]}
                log(exp, f"{number}{'n' * 120}", {f"{'p' * 200}.bin": bytes([number])}, **about)
                exp.use_artifact(f"{number}{'n' * 120}")
        made = report("digits", "page.html")
        look.look_as(width=360, height=740, phone=True)
        for view in VIEWS:
            look.open(f"{made.path.as_uri()}#{view}")
            look.run("document.querySelectorAll('summary').forEach(one => one.click())")
            assert look.settle().run("document.documentElement.scrollWidth") == 360
            edges = "[...document.querySelectorAll('.tabs a')].map(one => one.getBoundingClientRect().right)"
            assert max(look.run(edges)) <= 360
        look.open(made.path)
        for number in range(2):
            look.run(f"document.querySelectorAll('.card button')[{number}].click()")
            assert look.settle().run("document.getElementById('details').scrollWidth") <= 360
            assert look.run("document.querySelector('.sheet-head').offsetHeight") < 250
            look.run("document.getElementById('details').close()")


def contrast(one: list[int], other: list[int]) -> float:
    """The ratio by which two colours stand out, as WCAG counts."""

    def light(colour: list[int]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    high, low = sorted((light(one), light(other)), reverse=True)
    return high / low


class TestHostile:
    def test_the_policy_allows_our_script_and_nothing_else(self, study: Path) -> None:
        text = study.read_text()
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["script-src"])
        assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["style-src"])
        assert (rules["img-src"], rules["media-src"]) == ("data:", "data:")
        assert (rules["base-uri"], rules["form-action"]) == ("'none'", "'none'")
        assert rules["require-trusted-types-for"] == "'script'"
        assert not re.search(
            r"\son\w+=|https?://(?!www\.w3\.org)", text.partition('<script type="application/json"')[0]
        )

    def test_hostile_texts_run_nothing_in_any_view(self, look: Page, home: Path) -> None:
        place = home / HOSTILE[1].replace("/", "")
        with Experiment(HOSTILE[0], artifacts=True) as exp:
            for number, text in enumerate(HOSTILE):
                artifact = exp.create_artifact(f"thing-{number}", ArtifactType.REPORT, text)
                artifact.metadata.update({text: text, "number": number, "deep": {text: [text]}})
                artifact.add_file(write(place / "a.txt", text), f"{number}/{HOSTILE[1].replace('/', '')}.txt")
                artifact.add_reference(f"https://example.org/{text.split()[0]}")
                exp.log_artifact(artifact, aliases=["best"])
                exp.use_artifact(f"thing-{number}")
        look.open(report(HOSTILE[0], "page.html").path)
        self.visit(look)
        assert look.texts("h1") == [HOSTILE[0]]
        assert calm(look)

    def test_no_text_turns_round_what_stands_beside_it(self, look: Page, home: Path) -> None:
        with Experiment("digits", artifacts=True) as exp:
            artifact = exp.create_artifact("thing", ArtifactType.DATASET, "a\u202eb\r\nc")
            artifact.metadata["\u2066key"] = "value\u202e"
            exp.log_artifact(artifact.add_file(write(home / "in" / "a.txt", "if\u202e\u2066 x\x1b[2J")))
        look.open(report("digits", "page.html").path).click(".card button")
        (shown,) = look.texts("dialog")
        for part in ("a\ufffdb", "\ufffdkey\tvalue\ufffd", "if\ufffd\ufffd x\ufffd[2J"):
            assert part in shown
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", look.run("document.body.innerText"))

    def test_hostile_files_run_nothing_however_they_are_called(self, look: Page, home: Path) -> None:
        html = f"<!doctype html><body onload='{RUNS}'><script>{RUNS}</script><img src=x onerror='{RUNS}'>"
        files: dict[str, bytes | str] = {
            "drawing.svg": SVG,
            "page.html": html,
            "page.svg": html,
            "page.png": html,
            "table.csv": f"{html},b\n{HOSTILE[1]},2\n",
            "data.json": f'{{"a": "{HOSTILE[0]}"}}',
            "drawing.txt": SVG,
            "sound.wav": html,
            "page.md": html,
            "endless.svg": ENDLESS,
        }
        with Experiment("digits", artifacts=True) as exp:
            for name, data in files.items():
                log(exp, name, {name: data})
        made = report("digits", "page.html")
        assert made.previews == len(files)
        look.open(made.path)
        self.visit(look)
        assert look.count("iframe, object, embed") == 0
        assert calm(look)

    def visit(self, look: Page) -> None:
        """Look at every view, and at every version in whole."""
        for view in VIEWS:
            look.click(f"a[href='#{view}']")
            look.run("document.querySelectorAll('summary').forEach(one => one.click())")
            look.settle()
        look.click("a[href='#gallery']")
        for number in range(look.count(".card button")):
            look.run(f"document.querySelectorAll('.card button')[{number}].click()")
            look.settle()
            assert look.run("window.ran === undefined && top.ran === undefined")
            look.run("Promise.all([...document.images].map(one => one.decode().catch(() => {})))")
            look.run("document.getElementById('details').close()")
        assert look.run("window.ran === undefined && top.ran === undefined")
        assert look.count("script") == 2

    def test_what_would_run_is_stopped_by_the_policy_too(self, look: Page, study: Path) -> None:
        look.open(study)
        tried = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch (error) { return error.name } })()"
        assert look.run(tried) == "TypeError"
        look.run(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/a.png'}))"
        )
        assert "violates the following Content Security Policy directive" in look.complaints[-1]


def many_versions(count: int) -> dict[str, Any]:
    """What a page has of many versions, as `contents` gives it."""
    kinds = ("model", "dataset", "visualization")
    versions = [
        {
            "name": f"name-{number % 40}",
            "type": kinds[number % 40 % 3],
            "version": f"v{number // 40}",
            "number": number // 40,
            "label": None,
            "digest": f"{number:064x}",
            "created_at": 1_700_000_000 + number * 600,
            "size_bytes": 1000 + number,
            "own_bytes": number,
            "aliases": ["best"] if number % 97 == 0 else [],
            "homes": [{"backend": "local", "version": "v", "uri": "file:///x", "aliases": [], "pending": False}],
            "abridged": False,
            "run_id": None,
            "description": None,
            "metadata": [[f"metrics.m{key}", math.sin(number / 40 + key)] for key in range(20)],
            "files": [{"path": "a.png", "size_bytes": 9, "what": None, "preview": "p", "trouble": None}],
            "inputs": [f"{number - 7:064x}"] if number > 7 else [],
            "references": [],
            **dict.fromkeys(("more_metadata", "more_files", "more_inputs", "more_references"), 0),
        }
        for number in reversed(range(count))
    ]
    source = (
        "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSI5IiBoZWlnaHQ9IjkiLz4="
    )
    return {
        "experiment": "many",
        "made_at": 1_700_000_000.0,
        "backends": ["local"],
        "failures": [],
        "notes": [],
        "versions": versions,
        "previews": {"p": {"kind": "image", "source": source, "note": ""}},
    }


class TestMany:
    @pytest.mark.parametrize("view", VIEWS)
    def test_two_thousand_versions_draw_a_part_and_the_rest_when_asked(self, look: Page, home: Path, view: str) -> None:
        place = write(home / "page.html", page(many_versions(2000)))
        look.open(f"{place.as_uri()}#{view}")
        if view == "gallery":
            look.click("#choices input")
            before = look.count(".card")
            assert look.texts(".group:first-child .more") == ["Show 48 more of 602"]
            look.click(".group:first-child .more")
            assert look.count(".card") == before + 48
        assert look.count("*") < 6_000
        look.run("document.getElementById('words').focus()")
        look.write("name-7")
        assert look.texts("#count") == ["50 of 2,000 versions"]
        assert calm(look)


def test_the_words_for_one_and_several_backends(look: Page, home: Path) -> None:
    data = many_versions(1)
    data["backends"] = ["local", "mlflow"]
    look.open(write(home / "page.html", page(data)))
    assert "1 version of 1 name · 1.0 kB · local, mlflow" in look.texts("#summary")[0]
    look.run(
        "(one => { one.value = 'mlflow'; one.dispatchEvent(new Event('change')) })(document.getElementById('backend'))"
    )
    assert look.settle().texts("#count") == ["0 of 1 version"]
