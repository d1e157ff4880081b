"""Reads a set, finishes what waits in it, and reads it again; prints all that it saw as JSON. In a process of its own.

python reading.py '{"experiments": {"golden": ["local"]}, "folder": "…"}'
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
from pathlib import Path

from formats import sets
from tracelet import ArtifactNotFound, Experiment
from tracelet.cli import main

#: Names of versions that a set may have, and some have deleted.
REFS = ["latest", *(f"v{number}" for number in range(7)), "1.0", "1.0.0", "2.0.0", "3.0.0", "best", "old", "gone"]


def command(*arguments):
    """What a command of `tracelet` says, and its exit code."""
    out = io.StringIO()
    sys.argv = ["tracelet", *arguments, "--json"]
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as ended:
            return json.loads(out.getvalue()), int(ended.code or 0)


def text(value):
    """Data as text, for a NaN is not equal to itself."""
    return json.dumps(value, sort_keys=True)


def read(one, folder):
    """All there is to a version: each byte of it, and each object and model alive."""
    target = one.download(folder)
    contents = {
        path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }
    plain = one.to_dict()
    for reference in plain["references"]:
        if reference["path"]:
            reference["uri"] = "the store's"
    kept = ("name", "version", "type", "description", "size_bytes", "files", "objects", "models", "references")
    return {
        **{key: plain[key] for key in kept},
        "metadata": text(plain["metadata"]),
        "aliases": sorted(one.aliases),
        "digest": one.digest,
        "created_at": one.created_at,
        "run_id": one.manifest.run_id,
        "put_id": one.manifest.put_id,
        "inputs": list(one.manifest.inputs),
        "pending": one.pending,
        "contents": contents,
        "loaded": {
            **{each.name: repr(one.load_object(each.name, trust=True)) for each in one.objects},
            **{each.name: round(float(one.load_model(each.name).predict([[3.0]])[0]), 6) for each in one.models},
        },
    }


def held(experiments, folder):
    """Every version of every experiment and backend, and the put whose version each reference finds."""
    found = {}
    for name, backends in experiments.items():
        for backend in backends:
            exp = Experiment(name, backend=backend, artifacts=True)
            listed = exp.list_artifacts(backend=backend)
            place = folder / f"{len(found)}"
            versions = [read(one, place / str(number)) for number, one in enumerate(listed)]
            refs = {}
            for one in sorted({each["name"] for each in versions}):
                digests = sorted({each["digest"] for each in versions if each["name"] == one})
                for ref in (*REFS, *(f"sha256:{digest}" for digest in digests), *(f"sha256:{d[:12]}" for d in digests)):
                    with contextlib.suppress(ArtifactNotFound):
                        got = exp.get_artifact(one, ref)
                        refs[f"{one}@{ref}"] = got.manifest.put_id
            found[f"{name} in {backend}"] = {"versions": sorted(versions, key=text), "refs": refs}
            exp.stop()
    return found


def go(plan):
    folder = Path(plan["folder"])
    directory = folder / "tracelet"
    told = {"waits": sets.waits(directory)}
    if plan.get("reads", True):
        told["before"] = held(plan["experiments"], folder / "downloads-before")
    if not plan.get("sends", True):
        return told
    told["doctor"], _ = command("doctor")
    told["cleared"], told["cleared_code"] = command("gc", "--older-than", "1h")
    told["sync"], told["sync_code"] = command("sync")
    if plan["arrives"]:
        # What is read after this was needed.
        told["cleared"], told["cleared_code"] = command("gc", "--older-than", "1h")
    # Where nothing was to come, nothing is read a second time.
    came = any(told["waits"].values())
    told["after"] = (
        held({**plan["experiments"], **plan["arrives"]}, folder / "downloads-after") if came else told["before"]
    )
    told["left"] = sets.waits(directory)
    # By this W&B's own `wandb sync` knows that it need not send a run any more.
    told["sent"] = len(list(directory.glob("wandb/*/*.wandb.synced")))
    return told


if __name__ == "__main__":
    print(json.dumps(go(json.loads(sys.argv[1]))))
