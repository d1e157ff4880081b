"""Many versions in the embedded backend, listed and found: ``python benchmarks/catalogue.py``.

By hand means a manifest for each version in a folder of its name, as `local.py` writes them: listing reads them all, and
the latest version of a name is the last one in its folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import measuring
from measuring import OURS, Line, Step, Way, at_most, seconds

#: Versions of one name.
_EACH = 10


@contextlib.contextmanager
def by_tracelet(versions: int, what: str) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("many", artifacts=True) as exp:
        for number in range(versions):
            artifact = exp.create_artifact(f"name{number // _EACH}", ArtifactType.CONFIG)
            artifact.metadata["loss"] = number / versions
            exp.log_artifact(artifact).raise_for_errors()
    reader = Experiment("many", artifacts=True)

    def list_all() -> None:
        assert len(reader.list_artifacts()) == versions

    def list_some() -> None:
        assert len(reader.list_artifacts(where="loss < 0.3")) == 0.3 * versions

    def step(number: int) -> float:
        def find() -> None:
            assert reader.get_artifact(f"name{number}").version == f"v{_EACH - 1}"

        return seconds({"list": list_all, "where": list_some, "find": find}[what])

    yield step


@contextlib.contextmanager
def by_hand(versions: int, what: str) -> Iterator[Step]:
    root = Path("store")
    for number in range(versions):
        folder = root / f"name{number // _EACH}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"v{number % _EACH}.json").write_text(json.dumps({"loss": number / versions, "files": []}))

    def read(path: Path) -> dict[str, object]:
        loaded: dict[str, object] = json.loads(path.read_bytes())
        return loaded

    def list_all() -> None:
        found = [read(path) for path in root.glob("*/*.json")]
        assert len(found) == versions

    def step(number: int) -> float:
        def find() -> None:
            read(root / f"name{number}" / max(os.listdir(root / f"name{number}")))

        return seconds(find if what == "find" else list_all)

    yield step


def lines(*, quick: bool) -> list[Line]:
    versions = 1_000 if quick else 10_000
    # The budget is a second for 10,000.
    listed = versions / 10_000
    jobs = (
        ("list", f"`local`: `list_artifacts()` of {versions:,} versions", listed, 7, 3),
        ("where", f'`local`: `list_artifacts(where="loss < 0.3")` of {versions:,}', listed, 7, 3),
        ("find", f"`local`: `get_artifact(name)`, one name of {versions // _EACH:,}", 0.01, 31, 15),
    )
    return [
        Line(
            f"catalogue-{what}",
            title,
            {
                who: Way(f"catalogue:{function}", {"versions": versions, "what": what})
                for who, function in ((OURS, "by_tracelet"), ("by hand", "by_hand"))
            },
            at_most(budget),
            rounds=rounds,
            quick_rounds=quick_rounds,
        )
        for what, title, budget, rounds, quick_rounds in jobs
    ]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
