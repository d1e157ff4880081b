"""What a notebook is given to show: of artifacts, versions, lists, results and experiments."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import write
from PIL import Image
from watching import Scripted, lane_processes

from tracelet import (
    ArtifactList,
    ArtifactType,
    BackendUnavailable,
    Experiment,
    LoggedArtifact,
    LogResult,
    LogResults,
    TraceletArtifact,
    VersionConflict,
)
from tracelet.core.artifacts.changes import Change, ChangeResults
from tracelet.core.artifacts.pruned import PrunedVersion, PruneResults
from tracelet.core.display.cards import badge, card, copyable, facts, note
from tracelet.core.display.words import one_line

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
Make = Callable[..., Experiment]


class Page(HTMLParser):
    """What a browser would make of some HTML: its text, and its elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def sources(self) -> list[str]:
        return [(given["src"] or "").partition(";")[0] for _, given in self.elements if "src" in given]


def has(html: str, *texts: str) -> bool:
    """Whether each text stands in the page as the whole content of something."""
    return set(texts) <= set(Page(html).text)


def runs(html: str) -> list[str]:
    """Everything in the page that could run, or reach out of it."""
    elements = Page(html).elements
    allowed = {"div", "style", "strong", "span", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "figure"}
    allowed |= {"figcaption", "img", "audio", "video", "pre"}
    return [
        f"{tag} {name}"
        for tag, given in elements
        for name in (given or {"": None})
        if tag not in allowed
        or name.startswith("on")
        or name == "href"
        or (name == "src" and not str(given[name]).startswith("data:"))
    ]


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(stream, "PNG")
    return stream.getvalue()


def with_files(exp: Experiment, home: Path) -> TraceletArtifact:
    write(home / "in" / "plot.png", picture())
    write(home / "in" / "rows.csv", "epoch,loss\n1,0.5\n")
    write(home / "in" / "weights.bin", bytes(8))
    return exp.create_artifact("study", ArtifactType.REPORT, "About it.").add_dir(home / "in")


@pytest.fixture
def exp(home: Path) -> Experiment:
    return Experiment("digits", artifacts=True)


def test_an_experiment_says_where_it_stores_and_asks_nobody(scripted: Scripted) -> None:
    exp = Experiment("digits", backend=["local", "scripted"], artifacts=True)
    assert has(exp._repr_html_(), "digits", "experiment", "local", "scripted", "none", "idle")
    assert lane_processes() == []
    assert not (scripted.place / "calls").exists()


def test_an_experiment_with_a_run_names_it(exp: Experiment) -> None:
    with exp:
        assert has(exp._repr_html_(), str(exp.run_id), str(Path(".tracelet").resolve()))


def test_an_experiment_without_artifacts_says_how_to_have_them(home: Path) -> None:
    assert has(Experiment("digits")._repr_html_(), "Artifacts are off: say artifacts=True.")


def test_an_artifact_that_is_built_shows_what_it_will_hold(exp: Experiment, home: Path) -> None:
    artifact = with_files(exp, home).add_object({"a": 1}, "settings").add_reference("s3://user:secret@bucket/data")
    artifact.add_reference("s3://bucket/large", size_bytes=2_000_000)
    artifact.metadata = {"accuracy": 0.9, "metrics": {"val": {"loss": 0.1}}, "empty": {}, "note": "x" * 400}
    shown = artifact._repr_html_()
    assert has(shown, "study", "report, not logged yet", "About it.", "6 entries", "object, json", "2.0 MB")
    assert has(shown, "accuracy", "0.9", "metrics.val.loss", "0.1", "empty", "{}", "x" * 300 + "…")
    assert has(shown, "epoch", "0.5", "plot.png", "rows.csv")
    assert Page(shown).sources() == ["data:image/png"]
    assert "recorded without password" in shown
    assert "secret" not in shown.replace("secrets", "")


def test_metadata_that_cannot_be_stored_is_said_before_it_is_logged(exp: Experiment) -> None:
    artifact = exp.create_artifact("study", ArtifactType.REPORT)
    artifact.metadata["bad"] = object()
    assert "metadata[&#x27;bad&#x27;]" in artifact._repr_html_()


def test_metadata_without_end_is_shown_in_part(exp: Experiment) -> None:
    artifact = exp.create_artifact("study", ArtifactType.REPORT)
    artifact.metadata = {f"key{number:02}": number for number in range(31)}
    assert has(artifact._repr_html_(), "key29", "There is more of it: .metadata has all.")
    assert not has(artifact._repr_html_(), "key30")


def test_many_entries_are_listed_in_part(exp: Experiment, home: Path) -> None:
    artifact = exp.create_artifact("study", ArtifactType.DATASET)
    for number in range(23):
        artifact.add_file(write(home / "in" / f"{number:02}.bin"))
    assert has(artifact._repr_html_(), "23 entries", "19.bin", "and 3 more")
    assert not has(artifact._repr_html_(), "20.bin")


def test_a_version_shows_what_it_is_and_what_is_in_it(exp: Experiment, home: Path) -> None:
    with exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object([1], "rows"))
        used = exp.use_artifact("data")
        exp.log_artifact(with_files(exp, home), version="1.0", aliases=["best"])
        run = exp.run_id
    logged = exp.get_artifact("study")
    shown = logged._repr_html_()
    assert has(shown, "1.0 (v0)", "report, stored", "local", "best", logged.digest, logged.uri, str(run), used.digest)
    assert has(shown, *(str(file.sha256) for file in logged.files), "epoch", "0.5")
    assert Page(shown).sources() == ["data:image/png"]


def test_digests_are_selected_by_one_click_without_a_script(exp: Experiment) -> None:
    assert ".tl-copy{" in card("a", "b")
    assert "user-select:all" in card("a", "b")
    assert copyable("ab" * 32).markup == f'<code class="tl-copy" title="click to select">{"ab" * 32}</code>'
    assert (
        copyable("ab" * 32, short=True).markup
        == f'<code class="tl-copy tl-short" title="{"ab" * 32}">{"ab" * 32}</code>'
    )


def test_models_and_large_files_are_listed_as_what_they_are(exp: Experiment, home: Path, toys: object) -> None:
    exp = Experiment("digits", artifacts=True, large_file_mb=0.001)
    with exp:
        artifact = exp.create_artifact("study", ArtifactType.MODEL).add_model(toys.Line(3))  # type: ignore[attr-defined]
        assert has(artifact._repr_html_(), "model")
        exp.log_artifact(artifact.add_file(write(home / "large.txt", "x" * 2_000)))
    shown = exp.get_artifact("study")._repr_html_()
    assert has(shown, "model, toys", "file in the store", "2.0 kB")
    assert "x" * 100 not in shown


def test_few_small_files_are_shown_and_pictures_first(exp: Experiment, home: Path) -> None:
    for number in range(4):
        write(home / "in" / f"{number}.txt", "text")
        write(home / "in" / f"{number}.png", picture())
    write(home / "in" / "large.png", picture() + bytes(1_000_001))
    artifact = exp.create_artifact("study", ArtifactType.REPORT).add_dir(home / "in")
    shown = artifact._repr_html_()
    assert len(Page(shown).sources()) == 4
    assert has(shown, "text", "3 more files of kinds that can be shown: download() gives all.")


def test_what_is_shown_together_has_a_bound(exp: Experiment, home: Path) -> None:
    for number in range(3):
        write(home / "in" / f"{number}.png", picture() + bytes(800_000))
    artifact = exp.create_artifact("study", ArtifactType.REPORT).add_dir(home / "in")
    assert len(Page(artifact._repr_html_()).sources()) == 2


def test_only_what_promises_something_is_fetched_and_once(experiment: Make, scripted: Scripted, home: Path) -> None:
    exp = experiment()
    exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    for _ in range(2):
        assert Page(logged._repr_html_()).sources() == ["data:image/png"]
    assert len(scripted.calls("fetch")) == 1
    (folder,) = (home / ".tracelet" / "downloads").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["plot.png", "rows.csv"]


def test_where_nothing_promises_anything_nothing_is_fetched(experiment: Make, scripted: Scripted, home: Path) -> None:
    exp = experiment()
    exp.log_artifact(exp.create_artifact("study", ArtifactType.MODEL).add_file(write(home / "weights.bin")))
    exp.get_artifact("study")._repr_html_()
    assert scripted.calls("fetch") == []


def test_a_list_is_a_table_and_fetches_nothing(experiment: Make, scripted: Scripted, home: Path) -> None:
    exp = experiment()
    exp.log_artifact(with_files(exp, home), version="1.0", aliases=["best"])
    shown = exp.list_artifacts()._repr_html_()
    assert has(shown, "1 version", "study", "1.0 (v0)", "report", "best", "scripted")
    assert scripted.calls("fetch") == []


def test_a_list_of_versions_is_a_list_in_every_way_but_its_looks(exp: Experiment, home: Path) -> None:
    with exp:
        for number in range(22):
            artifact = exp.create_artifact("study", ArtifactType.CONFIG).add_object(number, "number")
            exp.log_artifact(artifact, aliases=["best"])
    versions = exp.list_artifacts()
    assert isinstance(versions, list)
    assert versions == list(versions) == copy.copy(versions)
    assert isinstance(versions[:2], ArtifactList)
    assert versions[:2] == [versions[0], versions[1]]
    lines = repr(versions).splitlines()
    assert lines[0].split() == ["name", "version", "type", "size", "logged", "aliases", "backend"]
    assert lines[1].startswith("study  v21      config  2 B   ")
    assert lines[1].endswith("  best     local")
    assert (len(lines), lines[-1]) == (22, "… and 2 more")
    assert len(repr(versions[:3]).splitlines()) == 4
    assert repr(exp.list_artifacts(ArtifactType.MODEL)) == "[]"
    many = ArtifactList(list(versions) * 5)
    assert has(many._repr_html_(), "110 versions", "and 10 more")
    assert has(versions._repr_html_(), "22 versions")


def test_a_difference_is_a_table_of_what_changed(exp: Experiment, home: Path) -> None:
    with exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object([1], "rows"))
        for number, gone in ((1, "old"), (2, "new")):
            if number == 2:
                exp.use_artifact("data")
            artifact = exp.create_artifact("study", ArtifactType.REPORT, f"About {number}.")
            artifact.metadata = {gone: True, "loss": number / 10}
            artifact.add_file(write(home / f"{number}.txt", "x" * number * 1_000), "same.txt")
            exp.log_artifact(artifact.add_file(write(home / gone, "text")))
    first, second = exp.get_artifact("study", "v0"), exp.get_artifact("study", "v1")
    shown = first.diff(second)._repr_html_()
    assert has(shown, "added", "removed", "changed", "new", "old", "same.txt", "1.0 kB", "2.0 kB", "made from ")
    assert has(shown, "description", '"About 1."', '"About 2."', "metadata loss", "0.1", "0.2", "metadata new")
    assert has(first.diff(first)._repr_html_(), "study v0 → study v0: 2 same, nothing differs")
    assert "<table" not in first.diff(first)._repr_html_()


def test_a_large_difference_is_shown_in_part(exp: Experiment) -> None:
    with exp:
        for number in range(2):
            artifact = exp.create_artifact("study", ArtifactType.REPORT)
            artifact.metadata = {f"key{one:03}": number for one in range(101)}
            exp.log_artifact(artifact)
    shown = exp.get_artifact("study", "v0").diff(exp.get_artifact("study", "v1"))._repr_html_()
    assert has(shown, "metadata key099", "There is more: str() of it has all.")
    assert not has(shown, "metadata key100")


def test_a_lineage_is_the_tree_that_a_terminal_shows(exp: Experiment) -> None:
    with exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object([1], "rows"))
        used = exp.use_artifact("data")
        exp.log_artifact(exp.create_artifact("study", ArtifactType.REPORT).add_object(1, "number"))
    lineage = used.lineage()
    assert has(lineage._repr_html_(), "lineage", "data v0", str(lineage))
    away = attrs.evolve(lineage, failed={"aim": BackendUnavailable("no route", backend="aim")})
    assert has(away._repr_html_(), "aim: no route")


def test_what_is_stored_is_a_table_of_names_with_their_bytes(exp: Experiment) -> None:
    with exp:
        for number in range(2):
            exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object([number], "rows"))
    usage = exp.disk_usage()
    shown = usage._repr_html_()
    assert has(shown, "2 versions", "what is stored, in bytes", "local", "digits", "data", "on this disk", "own")
    away = attrs.evolve(usage, names=usage.names * 103, failed={"aim": BackendUnavailable("no route", backend="aim")})
    assert has(away._repr_html_(), "and 3 more names", "aim: no route")


def test_what_is_not_whole_is_a_table_of_files(exp: Experiment, home: Path) -> None:
    with exp:
        exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    whole = logged.verify()
    assert has(whole._repr_html_(), "All is whole", str(whole))
    for blob in (home / ".tracelet").rglob(str(logged.files[0].sha256)):
        blob.chmod(0o600)
        blob.write_bytes(b"other")
    broken = logged.verify()
    assert has(broken._repr_html_(), "Not all is whole", logged.files[0].artifact_path, str(broken.wrong[0].error))
    assert has(attrs.evolve(broken, wrong=broken.wrong * 103)._repr_html_(), "and 3 more")


def test_what_only_this_machine_has_is_marked_in_lists_and_alone(exp: Experiment) -> None:
    with exp:
        exp.log_artifact(exp.create_artifact("study", ArtifactType.CONFIG).add_object(1, "number"))
    waiting = attrs.evolve(exp.get_artifact("study"), pending=True)
    assert has(waiting._repr_html_(), "pending")
    assert has(ArtifactList([waiting])._repr_html_(), "pending")
    assert repr(ArtifactList([waiting])).endswith("local, pending")


def test_control_characters_of_a_label_do_not_reach_a_terminal(exp: Experiment) -> None:
    with exp:
        exp.log_artifact(exp.create_artifact("study", ArtifactType.CONFIG).add_object(1, "number"))
    planted = attrs.evolve(exp.get_artifact("study"), label="\x1b[2J\n1", aliases=("\x07",))
    assert "\x1b" not in repr(ArtifactList([planted]))
    assert "\x07" not in repr(ArtifactList([planted]))
    assert len(repr(ArtifactList([planted])).splitlines()) == 2
    assert one_line("a\nb\x00") == "a b\ufffd"


def test_every_outcome_of_a_change_has_its_row() -> None:
    results = ChangeResults()
    results["local"] = Change("local", "v3", "local:///x", ("best",))
    results.queued["mlflow"] = BackendUnavailable("a delivery waits", backend="mlflow")
    results.failed["wandb"] = BackendUnavailable("no route", backend="wandb")
    results.absent = ("aim",)
    shown = results._repr_html_()
    assert has(shown, "done", "v3 (best)", "local:///x", "queued", "a delivery waits", "failed", "no route")
    assert has(shown, "not there", "aim")


@pytest.mark.parametrize(("dry_run", "fate"), [(True, "would go"), (False, "deleted")])
def test_what_retention_takes_and_keeps_is_shown_with_the_reason(dry_run: bool, fate: str) -> None:
    goes = PrunedVersion("local", HOSTILE, "v0", 0, "ab" * 32, 3, 1.0, "older than 30d")
    stays = PrunedVersion("local", "net", "v1", 1, "cd" * 32, 4, 2.0, "has the alias 'best'")
    failed = {"mlflow": BackendUnavailable("no route", backend="mlflow")}
    shown = PruneResults((goes,), (stays,), failed, dry_run)._repr_html_()
    assert has(shown, f"1 version (3 B) {fate}", "older than 30d", "stays", "has the alias 'best'", "mlflow: no route")
    assert "<script" not in shown
    assert has(PruneResults((goes,) * 101, (), {}, dry_run)._repr_html_(), "and 1 more")


def test_every_outcome_has_its_row() -> None:
    results = LogResults()
    for name, created, pending in (("local", True, False), ("aim", False, False), ("wandb", True, True)):
        results[name] = LogResult(
            name, "v0", f"{name}:///x", 3, "ab" * 32, portable=True, created=created, pending=pending
        )
    results.queued["mlflow"] = BackendUnavailable("no route", backend="mlflow")
    results.failed["clearml"] = VersionConflict("other content")
    results.skipped["other"] = "only rank 0 writes"
    results.warnings.append("recorded without its password")
    shown = results._repr_html_()
    assert has(
        shown, "stored", "already there", "pending", "queued", "failed", "skipped", "local:///x", "3 B", "ab" * 32
    )
    assert has(shown, "no route", "other content", "only rank 0 writes", "recorded without its password")


def test_a_backend_that_is_slow_keeps_no_cell_waiting_and_what_comes_later_is_shown_later(
    experiment: Make, scripted: Scripted, home: Path
) -> None:
    exp = experiment(deadline=60.0)
    exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    scripted.told(fetch="held")
    shown = logged._repr_html_()
    assert "There are no previews: scripted has not given them within 2 seconds" in shown
    assert has(shown, logged.digest)
    assert Page(shown).sources() == []
    # The first one is still being answered: the second one does not queue up behind it.
    assert "There are no previews: it is busy with something else" in logged._repr_html_()
    scripted.told()
    while not Page(logged._repr_html_()).sources():
        pass


def test_what_a_cell_gave_up_does_not_hold_up_the_end_of_a_run(
    experiment: Make, scripted: Scripted, home: Path
) -> None:
    exp = experiment(deadline=60.0)
    exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    scripted.told(fetch="hang")
    assert "There are no previews" in logged._repr_html_()
    exp.stop()
    assert lane_processes() == []


@pytest.mark.parametrize(("misdeed", "said"), [("away", "scripted is out"), ("crash", "its last words")])
def test_a_backend_that_is_away_leaves_the_table_and_its_reason(
    experiment: Make, scripted: Scripted, home: Path, misdeed: str, said: str
) -> None:
    exp = experiment()
    exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    scripted.told(fetch=misdeed)
    shown = logged._repr_html_()
    assert said in shown
    assert has(shown, logged.digest, "plot.png")


def test_damaged_bytes_are_not_shown(exp: Experiment, home: Path) -> None:
    with exp:
        exp.log_artifact(with_files(exp, home))
    logged = exp.get_artifact("study")
    for blob in (home / ".tracelet").rglob(str(logged.files[0].sha256)):
        blob.chmod(0o600)
        blob.write_bytes(picture().replace(b"IDAT", b"IDAX"))
    shown = logged._repr_html_()
    assert "There are no previews" in shown
    assert "the stored bytes were changed" in shown
    assert Page(shown).sources() == []


def test_a_folder_that_takes_no_downloads_costs_the_previews_alone(exp: Experiment, home: Path) -> None:
    with exp:
        exp.log_artifact(with_files(exp, home))
    write(home / ".tracelet" / "downloads", "in the way")
    shown = exp.get_artifact("study")._repr_html_()
    assert "There are no previews" in shown


def hostile(exp: Experiment, home: Path) -> LoggedArtifact:
    write(home / "in" / "page.html", HOSTILE)
    write(home / "in" / "rows.csv", f"a,{HOSTILE}\n1,{HOSTILE}\n")
    write(home / "in" / "drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    write(home / "in" / f"{HOSTILE.replace('/', '')}.txt", HOSTILE)
    artifact = exp.create_artifact("study", ArtifactType.REPORT, HOSTILE).add_dir(home / "in")
    artifact.metadata = {HOSTILE: HOSTILE, "list": [HOSTILE]}
    with exp:
        exp.log_artifact(artifact.add_reference(f"s3://bucket/{HOSTILE}"))
    return attrs.evolve(exp.get_artifact("study"), aliases=(HOSTILE,), label=HOSTILE, uri=f"javascript:{HOSTILE}")


def test_nothing_that_an_artifact_says_is_markup(exp: Experiment, home: Path) -> None:
    logged = hostile(exp, home)
    for shown in (logged._repr_html_(), ArtifactList([logged])._repr_html_()):
        assert HOSTILE in "".join(Page(shown).text)
        assert runs(shown) == []
    results = LogResults()
    results.failed[HOSTILE] = VersionConflict(HOSTILE)
    results.warnings.append(HOSTILE)
    assert runs(results._repr_html_()) == []


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    shown = card(text, text, facts([(text, text)]), note(text), badge(text), copyable(text, short=True))
    assert runs(shown) == []
    shown.encode()
