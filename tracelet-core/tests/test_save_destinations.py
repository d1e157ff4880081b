"""What of a folder belongs to a save into it."""

from __future__ import annotations

from pathlib import Path

from making import write

from tracelet.builtin.saves.destinations import parts_destination, shared_folder_destination


def kept(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_of_several_checkpoints_in_a_folder_one_is_kept_with_what_it_is_loaded_with(tmp_path: Path) -> None:
    place = tmp_path / "run"
    for name in ("step1/a", "step2/a", "step2/more/b", "latest", "notes"):
        write(place / name, name)
    destination = parts_destination(place, "step2", "latest", "script.py")
    assert destination is not None
    destination.write_to(tmp_path / "kept")
    assert kept(tmp_path / "kept") == {name: name for name in ("step2/a", "step2/more/b", "latest")}
    assert destination.size_bytes() == sum(map(len, ("step2/a", "step2/more/b", "latest")))
    assert parts_destination("s3://bucket/run", "step2") is None


def test_of_a_folder_with_folders_in_it_what_is_written_meanwhile_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "run"
    write(place / "checkpoint-1" / "a", "before")
    destination = shared_folder_destination(place)
    assert destination is not None
    write(place / "model", "after")
    destination.write_to(tmp_path / "kept")
    assert kept(tmp_path / "kept") == {"model": "after"}
