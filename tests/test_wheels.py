"""What a user installs: the wheels, in a clean environment, without the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("core", "mlflow", "wandb", "clearml", "aim", "bucket", "lightning")


def run(*command: str, cwd: Path) -> str:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("TRACELET_", "PYTHON", "COV"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=variables, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    for name in NAMES:
        source = str(ROOT / f"tracelet-{name}")
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), source, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def clean(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the core's wheel and what that asks for; returns its python."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    (wheel,) = dist.glob("tracelet_core-*.whl")
    run(str(python), "-m", "pip", "install", "--quiet", str(wheel), cwd=place)
    return python


def test_every_distribution_builds_a_wheel_and_an_sdist(dist: Path) -> None:
    for name in NAMES:
        (wheel,) = dist.glob(f"tracelet_{name}-*.whl")
        (sdist,) = dist.glob(f"tracelet_{name}-*.tar.gz")
        package = "tracelet" if name == "core" else f"tracelet_{name}"
        inside = zipfile.ZipFile(wheel).namelist()
        assert f"{package}/py.typed" in inside
        assert any(path.endswith("licenses/LICENSE") for path in inside)
        tops = {path.split("/")[0] for path in inside}
        assert tops == {package, f"{wheel.name.split('-py3')[0]}.dist-info"}
        with tarfile.open(sdist) as archive:
            assert any(path.endswith("/LICENSE") for path in archive.getnames())


def test_a_page_of_what_is_stored_is_made_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    program = """
from tracelet import ArtifactType, Experiment, report

with Experiment("digits", artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("settings", ArtifactType.CONFIG).add_object({"a": 1}, "settings"))
print(report("digits", "page.html").previews)
"""
    assert run(str(clean), "-c", program, cwd=tmp_path) == "1\n"
    page = (tmp_path / "page.html").read_text()
    assert all(part in page for part in ("<style>:root", '"use strict"', "Content-Security-Policy"))


def test_the_sdist_of_the_core_has_the_parts_of_the_page(dist: Path) -> None:
    (sdist,) = dist.glob("tracelet_core-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {Path(path).name for path in archive.getnames() if "/core/reporting/" in path}
    assert {"page.html", "page.css", "page.js"} <= names


def test_the_core_alone_pulls_three_packages_and_nothing_else(clean: Path) -> None:
    listed = run(str(clean), "-m", "pip", "list", "--format=freeze", cwd=clean.parent)
    names = {line.split("==")[0].lower() for line in listed.splitlines()}
    # typing-extensions is what cattrs itself asks for.
    assert names - {"pip", "setuptools"} == {"tracelet-core", "attrs", "cattrs", "pluggy", "typing_extensions"}


def test_the_extras_name_the_siblings(dist: Path) -> None:
    (wheel,) = dist.glob("tracelet_core-*.whl")
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (path for path in archive.namelist() if path.endswith("METADATA"))
    text = archive.read(metadata).decode()
    extras = set(re.findall(r"^Provides-Extra: (\S+)$", text, flags=re.MULTILINE))
    siblings = set(NAMES[1:])
    assert extras == siblings | {"watch", "remote", "yaml", "cli", "testing", "all"}
    for name in siblings:
        assert re.search(rf"^Requires-Dist: tracelet-{name}[<>=.,0-9]+; .*extra == '{name}'$", text, flags=re.MULTILINE)


def test_the_basic_example_runs_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    output = run(str(clean), str(ROOT / "examples" / "basic_artifact_example.py"), cwd=tmp_path)
    assert "local stored v0" in output


def test_the_command_says_what_it_needs_where_its_extra_is_missing(clean: Path, tmp_path: Path) -> None:
    command = str(clean.parent / "tracelet")
    done = subprocess.run([command, "plugins"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'tracelet-core[cli]'" in done.stderr


def test_the_demo_runs_from_the_wheels(dist: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    # The libraries that the demo trains with are large: they are borrowed, and the wheels are the only Tracelet.
    place = tmp_path_factory.mktemp("demo") / "venv"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    wheels = [str(wheel) for wheel in dist.glob("*.whl")]
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *wheels, cwd=tmp_path)
    borrowed = next(Path(entry) for entry in sys.path if (Path(entry) / "sklearn").is_dir())
    (place / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "borrowed.pth").write_text(f"{borrowed}\n")
    output = run(python, str(ROOT / "examples" / "demo.py"), cwd=tmp_path)
    assert "the model predicts as it did when it was logged" in output
    origin = run(python, "-c", "import tracelet; print(tracelet.__file__)", cwd=tmp_path)
    assert origin.startswith(str(place))
