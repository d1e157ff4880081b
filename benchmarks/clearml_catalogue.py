"""1,200 versions in ClearML's index: the real client, a stand-in server. ``python benchmarks/clearml_catalogue.py [versions]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers import programs
from servers.clearml_server import ClearmlServer

VERSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_200
#: Logs versions of ten names, each of one small file.
LOG = """
import json, time
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig
began = time.perf_counter()
config = ExperimentConfig(deadline=600, stop_timeout=600)
with Experiment("many", backend="clearml", artifacts=True, config=config) as exp:
    for number in range(VERSIONS):
        Path("value").write_text(str(number))
        results = exp.log_artifact(exp.create_artifact(f"name{number % 10}", ArtifactType.CUSTOM).add_file("value"))
        assert results.ok, results
print(json.dumps(time.perf_counter() - began))
"""
#: Lists them, three times, in another process; the first listing also opens the lane.
LIST = """
import json, time
from tracelet import Experiment
exp = Experiment("many", backend="clearml", artifacts=True)
times = []
for _ in range(4):
    began = time.perf_counter()
    assert len(exp.list_artifacts()) == VERSIONS
    times.append(time.perf_counter() - began)
began = time.perf_counter()
exp.get_artifact("name0")
print(json.dumps([*times, time.perf_counter() - began]))
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, ClearmlServer(Path(name) / "server") as server:
        folder = Path(name)

        def run(code: str, role: str) -> tuple[list[float], int]:
            environ = {**server.environ(folder / role), "TRACELET_DIR": str(folder / role / "tracelet")}
            server.calls(clear=True)
            told = programs.run(code.replace("VERSIONS", str(VERSIONS)), folder / role / "work", environ, 3600.0)
            return told if isinstance(told, list) else [told], len(server.calls())

        (took,), calls = run(LOG, "writer")
        print(
            f"logged {VERSIONS:,} versions of 10 names: {1000 * took / VERSIONS:.0f} ms and {calls / VERSIONS:.1f} calls each"
        )
        (opening, *listing, latest), calls = run(LIST, "reader")
        print(f"the first listing, with the lane's opening: {opening:.2f} s")
        print(f"list_artifacts: {sorted(listing)[1]:.2f} s")
        print(f"get_artifact latest: {1000 * latest:.0f} ms")
        print(f"API calls of four listings and one get, with the login: {calls}")


if __name__ == "__main__":
    main()
