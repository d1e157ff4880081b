"""What Aim's own users see of an artifact in Aim: through its SDK, its query language and its UI."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers.aim_server import AimServer
from servers.odd_images import write_odd_images
from servers.s3_server import S3Server

Ask = Callable[[Path, str], Any]

LOG_TWO = """
with opened() as exp:
    first = made(exp, metadata={"accuracy": 0.5, "huge": 2**63 - 1, "": {"nested": [1, None]}}, weights=b"1", config=b"{}")
    exp.log_artifact(first, version="1.0", aliases=["best"])
    exp.log_artifact(made(exp, metadata={"accuracy": 0.9}, weights=b"2"), aliases=["best"])
"""
MEDIA = """
import io, wave
from PIL import Image
picture = io.BytesIO(); Image.new("RGB", (6, 4), (255, 0, 0)).save(picture, "PNG")
sound = io.BytesIO()
with wave.open(sound, "wb") as out:
    out.setnchannels(1); out.setsampwidth(2); out.setframerate(8000); out.writeframes(b"\\0\\1" * 80)
figure = json.dumps({"data": [{"type": "bar", "y": [1, 2]}], "layout": {"title": {"text": "bars"}}}).encode()
with opened(EXPERIMENT) as exp:
    for name, type, files in [
        ("red", ArtifactType.IMAGE, {"red.png": picture.getvalue(), "not-really.png": b"no picture"}),
        ("beep", ArtifactType.AUDIO, {"beep.wav": sound.getvalue()}),
        ("plot", ArtifactType.VISUALIZATION, {"plot.json": figure, "other.json": b"[1]"}),
        ("notes", ArtifactType.REPORT, {"notes.md": "# gr\\u00f6\\u00dfe".encode()}),
    ]:
        exp.log_artifact(made(exp, name, type, **files)).raise_for_errors()
"""
SEEN = """{
    "images": [(i.name, [(x.width, x.height, x.caption) for _, (v, *_) in i.data.items() for x in v])
               for i in repo.query_images("True", report_mode=0).iter() if i.run.experiment == EXPERIMENT],
    "audios": [(a.name, [x.get().getvalue()[:4].decode() for _, (v, *_) in a.data.items() for x in v])
               for a in repo.query_audios("True", report_mode=0).iter() if a.run.experiment == EXPERIMENT],
    "figures": [(f.name, [x.to_plotly_figure().layout.title.text for _, (x, *_) in f.data.items()])
                for f in repo.query_figure_objects("True", report_mode=0).iter() if f.run.experiment == EXPERIMENT],
    "texts": [(t.name, [x.data for _, (v, *_) in t.data.items() for x in v])
              for t in repo.query_texts("True", report_mode=0).iter() if t.run.experiment == EXPERIMENT],
}"""


@pytest.mark.parametrize("way", ["disk", "server"])
def test_aims_query_language_finds_runs_by_metadata_labels_and_aliases(
    way: str, repo: Path, program: Any, ask: Ask, server: AimServer
) -> None:
    """In another process, without `aim up`; an alias that moved on is not on the version it left."""
    place = server.folder if way == "server" else repo
    address = server.address if way == "server" else str(repo)
    program(LOG_TWO.replace("opened()", f"opened('queried-{way}')"), TRACELET_AIM_REPO=address)
    mine, model = f"run.experiment == 'queried-{way}'", "run.tracelet.artifacts['model']"
    conditions = [
        f"{model}.latest.metadata.accuracy > 0.8",
        f"{model}.v0.metadata.accuracy > 0.8",
        f"{model}.v0.label == '1.0'",
        f"{model}.v0.metadata.huge == {2**63 - 1}",
        f"'best' in {model}.latest.aliases",
        f"'best' in {model}.v0.aliases",
        f"{model}.latest.type == 'model'",
        f"{model}.latest.type == 'dataset'",
    ]
    found = ask(place, f"[query(one) for one in {[f'{mine} and {one}' for one in conditions]}]")
    (run,) = found[0]
    assert [bool(one) for one in found] == [True, False, True, True, True, False, True, False]
    assert all(one in ([], [run]) for one in found)


def test_a_runs_artifacts_are_aims_own_and_aim_downloads_them(
    repo: Path, program: Any, ask: Ask, tmp_path: Path
) -> None:
    """Under names that say what they are; each with its bytes, and the manifest beside them."""
    program(LOG_TWO, TRACELET_AIM_REPO=str(repo))
    named = ask(repo, "[sorted(run.artifacts) for run in repo.iter_runs()]")
    assert named == [
        ["model/v0/config", "model/v0/tracelet.json", "model/v0/weights", "model/v1/tracelet.json", "model/v1/weights"]
    ]
    got = ask(
        repo,
        f"[open(run.artifacts[f'model/v{{n}}/weights'].download(f'{tmp_path}/got-{{n}}')).read() "
        "for run in repo.iter_runs() for n in (0, 1)]",
    )
    assert got == ["1", "2"]


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_aim_downloads_artifacts_from_its_artifact_storage(
    kind: str, repo: Path, program: Any, bucket: S3Server, tmp_path: Path
) -> None:
    """A bucket or a folder, which the run knows; so does Tracelet, in a process without the setting."""
    store = bucket.url("native") if kind == "s3" else f"file://{tmp_path}/store"
    environ = {"TRACELET_AIM_REPO": str(repo), **bucket.environ}
    program(LOG_TWO, TRACELET_AIM_ARTIFACTS_URI=store, **environ)
    code = f"""
import aim
(run,) = aim.Repo.from_path({str(repo)!r}).iter_runs()
artifact = run.artifacts["model/v1/weights"]
print(json.dumps([artifact.uri, open(artifact.download({str(tmp_path / "got")!r})).read()]))
"""
    uri, content = program(code, **environ)
    assert uri.startswith(f"{store}/")
    assert uri.endswith("/model/v1/weights")
    assert content == "2"
    read = "print(json.dumps(open(opened().get_artifact('model', '1.0').download() / 'weights').read()))"
    assert program(read, **environ) == "1"
    assert not (repo / ".aim/tracelet/artifacts").exists()


def test_damaged_images_are_stored_and_warned_of_and_do_not_hide_the_others(
    repo: Path, program: Any, ask: Ask, tmp_path: Path
) -> None:
    """A bad chunk, a header that claims billions of pixels, files that break off: each is a version, at the first attempt."""
    odd = write_odd_images(tmp_path / "odd")
    code = f"""
from PIL import Image
from pathlib import Path
Image.new("RGB", (6, 4), (255, 0, 0)).save("good.png")
results = {{}}
with opened() as exp:
    for path in sorted(Path({str(tmp_path / "odd")!r}).iterdir()):
        artifact = exp.create_artifact(path.name, ArtifactType.IMAGE).add_file(str(path)).add_file("good.png")
        result = exp.log_artifact(artifact)
        results[path.name] = result["aim"].version if result.ok else str(result.queued or result.failed)
    told = "".join(path.read_text() for path in (Path(os.environ["TRACELET_DIR"]) / "lanes").iterdir())
print(json.dumps([results, told]))
"""
    stored, told = program(code, TRACELET_AIM_REPO=str(repo))
    assert stored == dict.fromkeys(odd, "v0")
    shown = ask(
        repo,
        "sorted((i.name, [x.caption for _, (v, *_) in i.data.items() for x in (v if isinstance(v, list) else [v])])"
        " for i in repo.query_images('True', report_mode=0).iter())",
    )
    assert shown == [[f"{name} (images)", ["good.png"]] for name in odd]
    assert all(f"does not show its '{name}'" in told for name in odd), told
    assert "good.png" not in told


def test_references_are_recorded_whatever_is_there(repo: Path, program: Any, ask: Ask) -> None:
    """Nobody looks at the place, and Aim's queries know the address."""
    uris = ["file:///path/to/large/file.bin", "s3://my-bucket/large-dataset.tar.gz", "hdfs://host/x#part?1"]
    log = f"""
with opened() as exp:
    data = exp.create_artifact("data", ArtifactType.DATASET)
    for uri in {uris}:
        data.add_reference(uri, size_bytes=5_000_000_000, description="far away")
    exp.log_artifact(data).raise_for_errors()
"""
    program(log, TRACELET_AIM_REPO=str(repo))
    read = "print(json.dumps([[one.uri, one.size_bytes] for one in opened().get_artifact('data').references]))"
    assert program(read, TRACELET_AIM_REPO=str(repo)) == [[uri, 5_000_000_000] for uri in uris]
    assert len(ask(repo, f"query(\"'{uris[0]}' in run.tracelet.artifacts.data.latest.references\")")) == 1


@pytest.mark.parametrize("way", ["disk", "server"])
def test_media_are_shown_in_aims_explorers(way: str, repo: Path, program: Any, ask: Ask, server: AimServer) -> None:
    """Images, audio, texts and figures are read back as what they are; what is none is stored, and left out there."""
    place = server.folder if way == "server" else repo
    address = server.address if way == "server" else str(repo)
    name = repr(f"media-{way}")
    program(MEDIA.replace("EXPERIMENT", name), TRACELET_AIM_REPO=address)
    seen = ask(place, SEEN.replace("EXPERIMENT", name))
    assert seen == {
        "images": [["red (images)", [[6, 4, "red.png"]]]],
        "audios": [["beep (audios)", ["RIFF"]]],
        "figures": [["plot (figures)", ["bars"]]],
        "texts": [["notes (texts)", ["# größe"]]],
    }


def test_media_can_be_left_to_the_files(repo: Path, program: Any, ask: Ask) -> None:
    """With TRACELET_AIM_TRACK_MEDIA=false nothing is kept twice."""
    program(MEDIA.replace("EXPERIMENT", "'media'"), TRACELET_AIM_REPO=str(repo), TRACELET_AIM_TRACK_MEDIA="false")
    seen = ask(repo, SEEN.replace("EXPERIMENT", "'media'"))
    assert seen == {"images": [], "audios": [], "figures": [], "texts": []}
    assert "red/v0/not-really.png" in ask(repo, "[name for run in repo.iter_runs() for name in run.artifacts]")


def test_the_ui_shows_a_runs_artifacts_and_images(repo: Path, program: Any) -> None:
    """`aim up`, asked for what its page of a run asks for."""
    program(MEDIA.replace("EXPERIMENT", "'media'"), TRACELET_AIM_REPO=str(repo))
    with AimServer(repo, "up") as shown:
        with urllib.request.urlopen(f"{shown.url}/api/experiments/", timeout=30) as answer:
            experiments = {one["name"]: one for one in json.load(answer)}
        assert experiments["media"]["run_count"] == 1
        with urllib.request.urlopen(
            f"{shown.url}/api/experiments/{experiments['media']['id']}/runs/", timeout=30
        ) as answer:
            (run,) = json.load(answer)["runs"]
        page = f"{shown.url}/api/runs/{run['run_id']}/info/?sequence=images&sequence=texts"
        with urllib.request.urlopen(page, timeout=30) as answer:
            info = json.load(answer)
    assert {one["name"] for one in info["artifacts"]} >= {"red/v0/red.png", "notes/v0/notes.md"}
    assert all(one["uri"].startswith(f"file://{repo}/.aim/tracelet/artifacts/") for one in info["artifacts"])
    assert [one["name"] for one in info["traces"]["images"]] == ["red (images)"]
    assert info["params"]["tracelet"]["artifacts"]["red"]["latest"]["type"] == "image"


def test_two_megabytes_of_metadata_come_back_and_can_be_asked_for(
    repo: Path, program: Any, ask: Ask, server: AimServer
) -> None:
    """On disk and through a server."""
    code = """
with opened("wide") as exp:
    exp.log_artifact(made(exp, metadata={"text": "x" * 2_000_000, "many": {str(n): n for n in range(2000)}})).raise_for_errors()
print(json.dumps(len(opened("wide").get_artifact("model").metadata["text"])))
"""
    for place, address in [(repo, str(repo)), (server.folder, server.address)]:
        assert program(code, TRACELET_AIM_REPO=address) == 2_000_000
        assert (
            len(
                ask(
                    place,
                    "query(\"run.experiment == 'wide' and run.tracelet.artifacts.model.v0.metadata.many['7'] == 7\")",
                )
            )
            == 1
        )


def test_what_a_run_used_is_in_its_parameters(repo: Path, program: Any, ask: Ask) -> None:
    """Lineage: name, version and digest of every artifact that was used, in the run that used it."""
    program(
        "with opened() as exp: exp.log_artifact(made(exp, 'data', x=b'1'), version='2024')", TRACELET_AIM_REPO=str(repo)
    )
    digest = program(
        """
with opened() as exp:
    print(json.dumps(exp.use_artifact("data").digest))
    exp.log_artifact(made(exp, y=b"1"))
""",
        TRACELET_AIM_REPO=str(repo),
    )
    used = ask(repo, "[run['tracelet', 'inputs'] for run in repo.iter_runs()]")
    assert [one for one in used if one] == [{"data": {"version": "2024", "digest": digest}}]


def test_a_deleted_version_leaves_aims_run_and_the_disk(repo: Path, program: Any, ask: Ask) -> None:
    """Its files, its entries and its note are gone; those of the others stay."""
    program(LOG_TWO, TRACELET_AIM_REPO=str(repo))
    program(
        f"""
from pathlib import Path
from tracelet_aim import AimSettings, _open
from tracelet.plugin import BackendContext
backend = _open("trials", AimSettings(repo={str(repo)!r}), BackendContext(Path.cwd()))
backend.delete(backend.find("model", "latest"))
backend.stop(failed=False)
""",
        TRACELET_AIM_REPO=str(repo),
    )
    assert ask(repo, "[sorted(run.artifacts) for run in repo.iter_runs()]") == [
        ["model/v0/config", "model/v0/tracelet.json", "model/v0/weights"]
    ]
    assert ask(repo, "[sorted(run['tracelet', 'artifacts', 'model']) for run in repo.iter_runs()]") == [["v0"]]
    stored = [path.relative_to(repo).as_posix() for path in repo.rglob("weights")]
    assert len(stored) == 1
    assert stored[0].endswith("/model/v0/weights")


def test_names_are_no_way_out_of_the_repo(repo: Path, program: Any) -> None:
    """What the catalogue says of a place is checked when it is read: `../` and other machines' folders are refused."""
    program(LOG_TWO, TRACELET_AIM_REPO=str(repo))
    told = program(
        f"""
from pathlib import Path
from tracelet.exceptions import TraceletError
from tracelet.plugin import BackendContext
from tracelet_aim import AimSettings, _open
import attrs
backend = _open("trials", AimSettings(repo={str(repo)!r}), BackendContext(Path.cwd()))
stored = backend.find("model", "latest")
told = []
for change in ({{"folder": "../../outside"}}, {{"folder": "/etc"}}, {{"run": "../x"}}, {{"base": "gopher://x"}}):
    Path("got").mkdir(exist_ok=True)
    try:
        backend.fetch(attrs.evolve(stored, locator={{**stored.locator, **change}}), ["weights"], Path("got"))
    except TraceletError as error:
        told.append(type(error).__name__)
print(json.dumps([told, os.listdir("got")]))
"""
    )
    assert told == [["UnsafePath", "UnsafePath", "UnsafePath", "IntegrityError"], []]


def test_one_damaged_record_hides_no_other_version(repo: Path, program: Any) -> None:
    program(LOG_TWO, TRACELET_AIM_REPO=str(repo))
    told = program(
        f"""
from pathlib import Path
from tracelet.exceptions import IntegrityError
from tracelet.plugin import BackendContext
from tracelet_aim import AimSettings, _open
from tracelet_aim.backend import CATALOGUE
backend = _open("trials", AimSettings(repo={str(repo)!r}), BackendContext(Path.cwd()))
with backend._place.reading(CATALOGUE, backend._name) as tree:
    sound = tree.get("versions", "model", 1)
plain = json.loads(sound)
absurd = plain["manifest"].replace('"size_bytes": ', '"size_bytes": 1' + "0" * 400)
told = []
for record in (json.dumps({{**plain, "manifest": absurd}}), json.dumps({{**plain, "base": "gopher://x"}}), "[" * 5000, "9" * 5000, "5"):
    with backend._place.writing(CATALOGUE, backend._name) as tree:
        tree.set(("versions", "model", 1), record)
    found = []
    try:
        found.extend(backend.list(name=None, type=None))
    except IntegrityError as error:
        told.append([str(error)[:12], [one.number for one in found]])
    try:
        backend.find("model", "latest")
    except IntegrityError as error:
        told[-1].append(type(error).__name__)
print(json.dumps(told))
"""
    )
    assert told == [["'model' v1: ", [0], "IntegrityError"]] * 5
