"""Write the sets of a release: what its code stores, in its own tracelet directory and in every backend.

    python tests/formats/write.py VERSION

It is run once for a release, with that release's code installed from its sources, before the release is tagged; what it
makes, the folder tests/formats/VERSION, is committed, and never written again: a folder that is there is refused. The
tests read every set that is there, whatever its age.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version as installed
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "tracelet-core" / "tests")]

from formats import plans, sets  # noqa: E402
from servers.clearml_server import ClearmlServer  # noqa: E402

#: Has every process of a writer believe that its machine has this name.
_RENAMED = f"import socket\nsocket.gethostname = lambda: {sets.HOST!r}\n"
_PACKAGES = ("mlflow", "aim", "wandb", "clearml", "scikit-learn", "skops", "PyYAML", "attrs", "cattrs")


def write(version):
    target = sets.FORMATS / version
    if target.exists():
        raise SystemExit(f"{target} is there: what a release wrote is never written again.")
    if sets.PLACE.exists():
        raise SystemExit(f"{sets.PLACE} is there: move it away.")
    with tempfile.TemporaryDirectory() as made:
        aside = Path(made)
        (aside / "sitecustomize.py").write_text(_RENAMED)
        expected = {"python": sys.version.split()[0], "packages": {name: installed(name) for name in _PACKAGES}}
        for kind in sets.KINDS:
            print(f"writing {kind}", flush=True)
            try:
                written(kind, aside)
            finally:
                shutil.rmtree(sets.PLACE, ignore_errors=True)
            print(f"reading {kind}", flush=True)
            expected[kind] = kept(plans.told(kind, sets.lay_out(aside / f"{kind}.tar.gz", aside / kind)))
        target.mkdir()
        for kind in sets.KINDS:
            shutil.move(aside / f"{kind}.tar.gz", target)
        (target / "expected.json").write_text(lines(expected))


def kept(told):
    """What later releases are to see, too; of what is read again only what is otherwise then."""
    again = {place: held for place, held in told["after"].items() if held != told["before"].get(place)}
    synced = {what: told["sync"][what] for what in ("delivered", "refused", "uses_noted")}
    return {"before": told["before"], "waits": told["waits"], "sync": synced, "after": again}


def lines(expected):
    """Data as JSON, a version on a line."""
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    return re.sub(r"\n {5,}", " ", text) + "\n"


def written(kind, aside):
    """Run the steps of a kind's writer, and pack what they left."""
    if kind != "clearml-server":
        _run_steps(kind, aside, {})
    else:
        server = ClearmlServer(sets.PLACE / "server")
        with server:
            _run_steps(kind, aside, server.environ(sets.PLACE / "home"))
        (sets.PLACE / "server" / "server.log").unlink()
        sets.replace(sets.PLACE, {getattr(server, name): new for name, new in plans.ADDRESSES.items()})
    for name in ("work", "home", "mood", "blocked", "tracelet/lanes"):
        place = sets.PLACE / name
        shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
    sets.pack(sets.PLACE, aside / f"{kind}.tar.gz")


def _run_steps(kind, aside, server):
    work = sets.PLACE / "work"
    work.mkdir(parents=True)
    program = ["local.py"] if kind == "local" else ["trackers.py", kind.removesuffix("-server")]
    program[0] = str(sets.FORMATS / "writing" / program[0])
    paths = [aside, sets.FORMATS / "plugin", sets.FORMATS / "writing", os.environ.get("PYTHONPATH", "")]
    environ = {
        **plans.environment(kind, sets.PLACE),
        **server,
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
    }
    for step, code in plans.PLANS[kind].steps.items():
        done = subprocess.run([sys.executable, *program, step], cwd=work, env=environ, text=True, capture_output=True)
        if done.returncode != code:
            raise SystemExit(f"{kind}, {step}: {done.returncode}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    (given,) = sys.argv[1:]
    write(given)
