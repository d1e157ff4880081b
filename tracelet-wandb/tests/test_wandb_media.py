"""Files that are not what they seem, and several tables: stored, told, and shown as far as can be. Real client, stand-in server."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.odd_images import write_odd_images
from servers.wandb_server import WandbServer, wandb_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def environ(server: WandbServer, tmp_path: Path) -> dict[str, str]:
    return {**server.environ(tmp_path / "home"), "TRACELET_DIR": str(tmp_path / "tracelet")}


def shown(server: WandbServer, project: str) -> dict[str, Any]:
    """What a project's only run has in its history."""
    (run,) = server.project(project)["runs"]
    return {key: value for line in run["history"] for key, value in line.items() if not key.startswith("_")}


#: What lanes wrote down; their logs go with them.
TOLD = 'told = "".join(path.read_text() for path in (Path(os.environ["TRACELET_DIR"]) / "lanes").iterdir())'


def test_damaged_images_are_stored_and_warned_of_and_do_not_hide_the_others(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """A bad chunk, a header that claims billions of pixels, files that break off: the result is no failure."""
    odd = write_odd_images(tmp_path / "odd")
    code = f"""
    import json, os
    from pathlib import Path
    from PIL import Image
    from tracelet import ArtifactType, Experiment

    Image.new("RGB", (8, 8), (255, 0, 0)).save("good.png")
    results = {{}}
    with Experiment("odd", backend="wandb", artifacts=True) as exp:
        for path in sorted(Path({str(tmp_path / "odd")!r}).iterdir()):
            made = exp.create_artifact(path.name, ArtifactType.IMAGE)
            made.add_file(str(path)).add_file("good.png")
            result = exp.log_artifact(made)
            results[path.name] = [result["wandb"].version if result.ok else str(result.queued or result.failed)]
            results[path.name].append(exp.get_artifact(path.name).open(path.name).read() == path.read_bytes())
        {TOLD}
    print(json.dumps([results, told]))
    """
    results, told = programs.run(textwrap.dedent(code), tmp_path / "program", environ)
    assert results == {name: ["v0", True] for name in odd}
    seen = shown(server, "odd")
    for name in odd:
        assert f"does not show its '{name}'" in told, told
        assert seen[name]["_type"] in {"image-file", "images/separated"}
        assert seen[name].get("count", 1) == 1


def test_every_table_of_an_artifact_is_shown(server: WandbServer, environ: dict[str, str], tmp_path: Path) -> None:
    """Each under its own name, with so many rows; so many tables at most; one that is no table costs a warning."""
    code = f"""
    import json, os
    from pathlib import Path
    from tracelet import ArtifactType, Experiment

    Path("a.csv").write_text("x,y\\n" + "1,2\\n" * 10)
    Path("b.jsonl").write_text('{{"x": 1}}\\n' * 3)
    Path("c.json").write_text("{{ no json")
    Path("d.tsv").write_text("x\\ty\\n1\\t2\\n")
    Path("e.csv").write_text("x\\n1\\n")
    with Experiment("tables", backend="wandb", artifacts=True) as exp:
        made = exp.create_artifact("rows", ArtifactType.SAMPLE)
        for name in ("a.csv", "b.jsonl", "c.json", "d.tsv", "e.csv"):
            made.add_file(name)
        result = exp.log_artifact(made)
        {TOLD}
    print(json.dumps([list(result), told]))
    """
    limits = {"TRACELET_WANDB_MEDIA_FILES": "3", "TRACELET_WANDB_TABLE_ROWS": "5"}
    stored, told = programs.run(textwrap.dedent(code), tmp_path / "program", {**environ, **limits})
    assert stored == ["wandb"]
    seen = {name: (one["_type"], one["nrows"]) for name, one in shown(server, "tables").items()}
    assert seen == {
        "rows/a.csv": ("table-file", 5),
        "rows/b.jsonl": ("table-file", 3),
        "rows/d.tsv": ("table-file", 1),
    }
    assert "does not show its 'c.json'" in told


def test_tables_are_shown_whatever_the_length_of_their_names(
    server: WandbServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """W&B stores them as artifacts whose names have the run's besides: two long names that begin and end alike stay two."""
    code = f"""
    import json, os
    from pathlib import Path
    from tracelet import ArtifactType, Experiment

    long = ["s" * 60 + middle + "e" * 60 for middle in "ab"]
    path = "folder/" * 20 + "rows.csv"
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("x,y\\n1,2\\n")
    Path("b.csv").write_text("x\\n1\\n")
    with Experiment("long", backend="wandb", artifacts=True) as exp:
        for name in ("n" * 91, "n" * 92, *long):
            assert exp.log_artifact(exp.create_artifact(name, ArtifactType.SAMPLE).add_file("b.csv")).ok
        several = exp.create_artifact("m" * 128, ArtifactType.SAMPLE).add_file("b.csv").add_file(path, path)
        assert exp.log_artifact(several).ok
        {TOLD}
    print(json.dumps(told))
    """
    assert programs.run(textwrap.dedent(code), tmp_path / "program", environ) == ""
    seen = shown(server, "long")
    assert {one["_type"] for one in seen.values()} == {"table-file"}
    assert len(seen) == 6
    assert "n" * 91 in seen
    # The client gives what is shown at once in any order.
    assert sorted(name.rpartition("/")[2] for name in seen if name.startswith("m")) == ["b.csv", "rows.csv"]
