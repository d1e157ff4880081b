"""Notes about the SDK's files in a tracelet directory that came from elsewhere: they name nothing but the SDK's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wandb.sdk.artifacts.staging import get_staging_dir

from tracelet.exceptions import IntegrityError
from tracelet_wandb.offline import Catalogue
from tracelet_wandb.offline_runs import forget, remember
from tracelet_wandb.staging import sweep


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a killed upload has left in the SDK's own folder."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    made = Path(get_staging_dir()) / "tmpcopy"
    made.write_bytes(b"12345")
    return made


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "thesis").write_text("irreplaceable")
    return tmp_path / "private" / "thesis"


def test_what_a_record_names_elsewhere_stays(copy: Path, thesis: Path, tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    way = copy.parent / "way"
    way.symlink_to(thesis.parent)
    named = [
        thesis,
        copy,
        Path(os.path.relpath(thesis)),
        copy.parent / ".." / ".." / ".." / "private" / "thesis",
        way / "thesis",
    ]
    (folder / "a.copies").write_text("".join(f"{one}\n" for one in named))
    assert sum(sweep(folder)) == 5
    assert not copy.exists()
    assert thesis.exists()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_record_that_is_no_file_is_passed_over(copy: Path, thesis: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "a.copies").symlink_to(thesis) if kind == "link" else os.mkfifo(folder / "a.copies")
    assert list(sweep(folder)) == []
    assert thesis.read_text() == "irreplaceable"


def test_an_offline_run_elsewhere_is_not_marked_nor_what_it_names_deleted(
    copy: Path, thesis: Path, tmp_path: Path
) -> None:
    remember(tmp_path / "wandb" / "offline-runs", thesis, "put", [str(thesis), str(copy)])
    forget(tmp_path / "wandb" / "offline-runs", "put")
    assert [one.name for one in thesis.parent.iterdir()] == ["thesis"]
    assert not copy.exists()


def test_a_catalogue_that_is_a_link_is_not_opened(thesis: Path, tmp_path: Path) -> None:
    (tmp_path / "offline").symlink_to(thesis.parent)
    with pytest.raises(IntegrityError, match="is a link"):
        Catalogue(tmp_path, "trials")
