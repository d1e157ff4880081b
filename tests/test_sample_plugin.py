"""A third party's distribution, built and installed as a stranger would, works and keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "plugins" / "tracelet-fsspec-sample"
#: One of each part of the contract: the whole runs in the environment of these tests.
CHOSEN = "TestFiles and (whatever or race_for_a_label or interrupted or leaves_the_sdk or away or program_logs)"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that has the two wheels, and what they depend on."""
    folder = tmp_path_factory.mktemp("stranger")
    pip = [sys.executable, "-m", "pip"]
    for source in (ROOT / "tracelet-core", SAMPLE):
        command = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=1200)
    place = folder / "venv"
    venv.create(place)
    python = place / "bin" / "python"
    wheels = [str(wheel) for wheel in folder.glob("*.whl")]
    subprocess.run(
        [*pip, "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", *wheels],
        check=True,
        capture_output=True,
        timeout=1200,
    )
    (site,) = place.glob("lib/python*/site-packages")
    # Dependencies come from here; a .pth line adds a folder, and not what that folder's own .pth files add.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, cwd: Path, *arguments: str, **variables: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRACELET_", "PYTHON", "COV"))}
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_wheels_are_what_runs(stranger: Path, tmp_path: Path) -> None:
    program = "import tracelet, tracelet_fsspec_sample as sample; print(tracelet.__file__); print(sample.__file__)"
    for line in run(stranger, tmp_path, "-c", program).splitlines():
        assert Path(line).is_relative_to(stranger.parents[1])


def test_a_user_logs_and_reads_through_it(stranger: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("content")
    url = (tmp_path / "place").as_uri()
    log = (
        "from tracelet import ArtifactType, Experiment\n"
        "with Experiment('trials', backend='fsfiles', artifacts=True) as exp:\n"
        "    artifact = exp.create_artifact('thing', ArtifactType.CONFIG).add_file('x.txt')\n"
        "    print(exp.log_artifact(artifact, version='v1.0.0')['fsfiles'].version)\n"
        "import sys; assert 'fsspec' not in sys.modules\n"
    )
    read = (
        "from tracelet import Experiment\n"
        "artifact = Experiment('trials', backend='fsfiles', artifacts=True).get_artifact('thing', 'v1.0.0')\n"
        "print((artifact.download('there') / 'x.txt').read_text())\n"
    )
    first = run(stranger, tmp_path, "-c", log, TRACELET_FSFILES_URL=url, TRACELET_DIR=str(tmp_path / "one"))
    second = run(stranger, tmp_path, "-c", read, TRACELET_FSFILES_URL=url, TRACELET_DIR=str(tmp_path / "two"))
    assert (first, second) == ("v1.0.0\n", "content\n")


def test_the_kit_runs_there(stranger: Path, tmp_path: Path) -> None:
    tests = tmp_path / "test_sample_backends.py"
    tests.write_text((SAMPLE / "tests" / "test_sample_backends.py").read_text())
    output = run(
        stranger,
        tmp_path,
        *("-m", "pytest", "-q", "--import-mode=importlib", "-W", "error", "-p", "no:cacheprovider", "-k", CHOSEN),
        str(tests),
    )
    assert " passed" in output
    assert int(output.rpartition(" passed")[0].split()[-1]) >= 7
