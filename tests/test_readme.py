"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers import programs
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.registry import registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BACKENDS = README.partition("## Backends")[2].partition("\n## ")[0]


def test_the_table_of_backends_is_what_the_code_declares() -> None:
    header, _, *rows = re.findall(r"^\|.*\|$", BACKENDS, flags=re.MULTILINE)
    assert header.split("|")[3:-1] == [f" {word} " for word in (*(c.value for c in Capability), "versions are atomic")]
    ours = {record.distribution for record in registry().records if record.distribution.startswith("tracelet-")}
    provided = {
        name.removeprefix("backend "): record.distribution
        for record in registry().records
        for name in record.provides
        if name.startswith("backend ") and (ROOT / record.distribution).is_dir()
    }
    assert ours
    expected = set()
    for name, distribution in provided.items():
        spec = registry().backends.get(name)
        marks = [*(capability in spec.capabilities for capability in Capability), spec.atomic_versions]
        link = (
            f"[`{distribution}`]({distribution}/README.md)" if distribution != "tracelet-core" else f"`{distribution}`"
        )
        cells = [f"`{name}`", link, *("yes" if mark else "no" for mark in marks)]
        expected.add(f"| {' | '.join(cells)} |")
    assert set(rows) == expected


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("README.md", "<LogResults local: v0>\n{{'accuracy': 0.93}} {there}\n"),
        ("tracelet-core/README.md", "v0 {{'accuracy': 0.93}} {there}\n"),
    ],
)
def test_the_ten_lines_run_as_printed_in_an_empty_folder(page: str, told: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert 8 <= len([line for line in code.splitlines() if line]) <= 12
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout == told.format(there=tmp_path / "there")
    assert (tmp_path / "there" / "report.html").read_text() == "<h1>It went well</h1>"


@pytest.mark.parametrize(
    ("distribution", "environ", "told"),
    [
        ("mlflow", {}, "<LogResults mlflow: 1.0>\n"),
        ("wandb", {"WANDB_MODE": "offline"}, "wandb-offline://"),
        ("clearml", {"CLEARML_OFFLINE_MODE": "1"}, "clearml-offline://"),
        ("aim", {}, "<LogResults aim: 1.0>\n"),
        ("bucket", {"TRACELET_BUCKET_URL": "file://{home}/bucket"}, "<LogResults bucket: 1.0>\n"),
    ],
)
def test_the_lines_of_each_backends_page_run_in_an_empty_folder(
    distribution: str, environ: dict[str, str], told: str, tmp_path: Path
) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / f"tracelet-{distribution}" / "README.md").read_text(), flags=re.DOTALL
    )
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    variables = {name: value.format(home=home) for name, value in environ.items()}
    clean = programs.clean_environment({"HOME": str(home), **variables})
    work.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=clean, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(told)


def test_every_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("tracelet-*/README.md")), ids=lambda page: page.parent.name)
def test_every_link_of_a_distributions_page_works_on_a_package_index(page: Path) -> None:
    """There is nothing beside it there."""
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert not [link for link in links if not link.startswith(("https://", "#"))]
