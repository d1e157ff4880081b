"""What users' programs and commands do with a bucket, each in a process and a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.faulty_proxy import FaultyProxy
from servers.s3_server import S3Server

TRACELET = str(Path(sys.executable).with_name("tracelet"))

LOG = """
import json
from pathlib import Path
from tracelet import ArtifactType, Experiment

Path("large.bin").write_bytes(bytes(range(256)) * 20_000)
with Experiment("digits", backend=BACKENDS, artifacts=True, routing="all") as exp:
    artifact = exp.create_artifact("net", ArtifactType.MODEL).add_file("large.bin").add_object({"rate": 0.1}, "config")
    results = exp.log_artifact(artifact, version="1.0", aliases=["best"])
print(json.dumps({name: [one.version, one.portable] for name, one in results.items()} | {"queued": sorted(results.queued)}))
"""

READ = """
import hashlib, json
from tracelet import Experiment

exp = Experiment("digits", backend=BACKENDS, artifacts=True)
found = exp.get_artifact("net", version="best")
folder = found.download("got")
print(json.dumps([found.version, found.load_object("config"), len((folder / "large.bin").read_bytes()), len(found.references)]))
"""


@pytest.fixture
def environ(s3: S3Server) -> dict[str, str]:
    """Where files over 100,000 bytes are large."""
    return {
        **s3.environ,
        "TRACELET_BUCKET_URL": s3.url(f"programs/{uuid.uuid4().hex}"),
        "TRACELET_LARGE_FILE_MB": "0.1",
    }


def run(code: str, folder: Path, environ: dict[str, str], *backends: str) -> Any:
    """Run a program of somebody with a tracelet directory of their own."""
    return programs.run(f"BACKENDS = {list(backends)}\n{code}", folder, {**environ, "TRACELET_DIR": str(folder / "t")})


def command(folder: Path, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    variables = programs.paced({"TRACELET_BACKEND": "bucket", **environ, "TRACELET_DIR": str(folder / "t")})
    return subprocess.run(
        [TRACELET, *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=600, check=False
    )


def objects(s3: S3Server, environ: dict[str, str]) -> list[int]:
    prefix = environ["TRACELET_BUCKET_URL"].partition(f"{s3.bucket}/")[2] + "/objects/"
    return sorted(size for key, size in s3.listing().items() if key.startswith(prefix))


def test_a_large_file_is_in_the_bucket_once_and_every_machine_reads_it(
    s3: S3Server, environ: dict[str, str], tmp_path: Path
) -> None:
    assert run(LOG, tmp_path / "here", environ, "bucket") == {"bucket": ["1.0", True], "queued": []}
    assert run(READ, tmp_path / "there", environ, "bucket") == ["1.0", {"rate": 0.1}, 5_120_000, 0]
    assert objects(s3, environ) == [16, 5_120_000]


def test_other_backends_point_at_the_large_file_in_the_bucket(
    s3: S3Server, environ: dict[str, str], tmp_path: Path
) -> None:
    """It is sent once, and `local` has it not."""
    told = run(LOG, tmp_path / "here", environ, "bucket", "local")
    assert told == {"bucket": ["1.0", True], "local": ["1.0", True], "queued": []}
    assert objects(s3, environ) == [16, 5_120_000]
    sizes = [path.stat().st_size for path in (tmp_path / "here" / "t").rglob("*") if path.is_file()]
    assert max(sizes) < 100_000
    assert run(READ, tmp_path / "there", environ, "bucket") == ["1.0", {"rate": 0.1}, 5_120_000, 1]
    both = READ.replace('version="best"', 'version="best", backend="local"')
    assert run(both, tmp_path / "here", environ, "local", "bucket") == ["1.0", {"rate": 0.1}, 5_120_000, 1]
    assert objects(s3, environ) == [16, 5_120_000]
    # Bytes that `local` points at are no garbage, whatever becomes of the version in the bucket.
    assert (
        command(
            tmp_path / "here", environ, "rm", "digits", "net:1.0", "--backend", "bucket", "--yes", "--force"
        ).returncode
        == 0
    )
    assert command(tmp_path / "here", environ, "gc", "--older-than", "1h").returncode == 0
    assert run(both, tmp_path / "here", environ, "local", "bucket")[2] == 5_120_000


def test_what_is_logged_while_the_store_is_away_is_delivered_later(
    s3: S3Server, environ: dict[str, str], tmp_path: Path
) -> None:
    with FaultyProxy(s3.process.port) as door:
        away = {**environ, "AWS_ENDPOINT_URL": door.url, "TRACELET_DEADLINE": "10", "TRACELET_STOP_TIMEOUT": "5"}
        door.set("refused")
        assert run(LOG, tmp_path / "here", away, "bucket") == {"queued": ["bucket"]}
        told = command(tmp_path / "here", away, "doctor")
        assert told.returncode == 1
        assert "cannot be reached, or does not answer" in told.stdout
    synced = command(tmp_path / "here", environ, "sync")
    assert (synced.returncode, "1 delivered" in synced.stdout) == (0, True), synced.stdout + synced.stderr
    assert run(READ, tmp_path / "there", environ, "bucket") == ["1.0", {"rate": 0.1}, 5_120_000, 0]


def test_doctor_tries_what_is_needed_and_says_what_is_missing(environ: dict[str, str], tmp_path: Path) -> None:
    fine = command(tmp_path / "here", environ, "doctor", "--json")
    checks = {one["subject"]: one["verdict"] for one in json.loads(fine.stdout)["checks"]}
    assert (fine.returncode, checks["store"], checks["backend bucket"]) == (0, "ok", "ok")
    missing = command(tmp_path / "here", {**environ, "TRACELET_BUCKET_URL": "s3://nowhere/team"}, "doctor")
    assert (missing.returncode, missing.stdout.count("there is no such bucket")) == (1, 2)
    unset = command(tmp_path / "here", {**environ, "TRACELET_BUCKET_URL": ""}, "doctor")
    assert (unset.returncode, "TRACELET_BUCKET_URL is not set: give s3://bucket/prefix" in unset.stdout) == (1, True)
    assert "TRACELET_STORE" not in unset.stdout
    wrong = command(tmp_path / "here", {**environ, "TRACELET_BUCKET_URL": "ftp://host/team"}, "doctor")
    assert wrong.returncode != 0
    assert "give one of s3://bucket/prefix" in wrong.stdout + wrong.stderr
    short = command(tmp_path / "here", {**environ, "TRACELET_BUCKET_URL": "file:/data/team"}, "doctor")
    assert "a file URL here has three slashes" in short.stdout + short.stderr


DRAFT = """
from pathlib import Path
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.sealing.draft import Draft
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, RunInfo

place = Path("t/staging/one~1").absolute()
place.mkdir(parents=True)
(place / "large.bin").write_bytes(bytes(range(256)) * 20_000)
manifest = Manifest("net", ArtifactType.MODEL, "one", 1.0, files=(ArtifactFile("large.bin", 5_120_000),))
draft = Draft(manifest, {"large.bin": place / "large.bin"}, (), {}, place)
run = RunInfo("run", "digits", 1.0)
Outbox(Path("t").absolute()).drafts.add(draft, Labels("1.0", ("best",)), run, {TARGET: {}}, backends=BACKENDS)
"""


@pytest.mark.parametrize(
    ("target", "backends"), [("bucket", None), ("local", ["local", "bucket"])], ids=["in the bucket", "beside it"]
)
def test_what_a_dead_run_had_drafted_is_in_the_bucket_whichever_backend_this_shell_sets(
    environ: dict[str, str], tmp_path: Path, s3: S3Server, target: str, backends: list[str] | None
) -> None:
    here = {**environ, "TRACELET_DIR": str(tmp_path / "here" / "t")}
    programs.run(f"BACKENDS, TARGET = {backends}, {target!r}\n{DRAFT}print('null')", tmp_path / "here", here)
    sent = command(tmp_path / "here", {**environ, "TRACELET_BACKEND": "local"}, "sync")
    assert sent.returncode == 0, sent.stderr
    assert objects(s3, environ) == [5_120_000]
    read = """
import json
from tracelet import Experiment
one = Experiment("digits", backend=BACKENDS, artifacts=True).get_artifact("net", "best", BACKENDS[0])
print(json.dumps([one.version, len((one.download("got") / "large.bin").read_bytes())]))
"""
    place = "there" if target == "bucket" else "here"
    assert run(read, tmp_path / place, environ, *(backends or [target])) == ["1.0", 5_120_000]
