"""DVC's own files, read without DVC: where its repository begins, its YAML, and its configuration. None of them is trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import LARGEST_SIZE
from tracelet.core.artifacts.plain_values import plain_data
from tracelet.core.system.files import open_regular
from tracelet.core.system.yaml_text import load_yaml
from tracelet.exceptions import ArtifactNotFound, ConfigError, IntegrityError

__all__ = [
    "DVC_FOLDER",
    "Config",
    "find_root",
    "is_repository",
    "is_within",
    "read_config",
    "read_small",
    "read_yaml",
    "storable",
]

DVC_FOLDER = ".dvc"
#: Bytes of a file that DVC writes; those of the largest repositories have some millions.
_MOST_BYTES = 16 * 1024 * 1024
_SECTION = re.compile(r"""\[\s*(['"]?)(?P<name>.*?)\1\s*\]""")
_VALUE = re.compile(r"""(?:"([^"]*)"|'([^']*)'|(.*?))(?:\s+#.*)?""")
_REMOTE = re.compile(r"""remote\s+"(?P<name>.*)\"""")
_SCHEME = re.compile(r"\w+://")


def find_root(place: Path) -> Path:
    """Return the folder of the DVC repository that a folder is in, without links on the way to it.

    Raises :class:`~tracelet.ArtifactNotFound` where there is none.
    """
    if not os.path.isdir(place):  # noqa: PTH112 - see below
        raise ArtifactNotFound(f"{str(place)!r} is no folder that is there: give the folder of a DVC repository.")
    real = Path(os.path.realpath(place))
    for folder in (real, *real.parents):
        if is_repository(folder):
            return folder
    raise ArtifactNotFound(
        f"{str(place)!r} is in no DVC repository, for neither it nor a folder above it has a folder {DVC_FOLDER!r}: give one "
        "that 'dvc init' was run in."
    )


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is that of a DVC repository."""
    return os.path.isdir(folder / DVC_FOLDER)  # noqa: PTH112 - it answers for paths that cannot be reached, too


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path, with all links followed, is in a folder, on the way to which there are none."""
    return Path(os.path.realpath(path)).is_relative_to(folder)


def read_small(path: Path, most: int = _MOST_BYTES) -> bytes:
    """Return the bytes of a file that is not large.

    Raises ``OSError`` where it cannot be read, and ``ValueError`` where it is larger.
    """
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def read_yaml(path: Path, root: Path) -> dict[Any, Any]:
    """Return what a YAML file of a repository holds, as plain data.

    Raises :class:`~tracelet.IntegrityError` where it is damaged, or a link out of the repository.
    """
    try:
        if not is_within(path, root):
            raise ValueError("it is a link out of the repository")
        held = plain_data(load_yaml(read_small(path).decode()), number_keys=True) or {}
        if not isinstance(held, dict):
            raise ValueError("it holds no keys with values")
    except ConfigError:
        raise
    except (OSError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise IntegrityError(
            f"{str(path)!r} cannot be read as DVC wrote it ({said}): restore it, with git for instance."
        ) from error
    return held


def storable(value: Any) -> Any:
    """Return plain data as trackers store it: text for every key, and for a whole number of more than 64 bits, such as a seed."""
    if isinstance(value, dict):
        return {str(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return str(value) if type(value) is int and not -LARGEST_SIZE <= value <= LARGEST_SIZE else value


@attrs.frozen
class Config:
    """Where DVC keeps the bytes of outputs: in folders of this machine, and elsewhere."""

    #: The cache, then the remotes that are folders.
    folders: tuple[Path, ...]
    #: Names of the remotes that are none.
    elsewhere: tuple[str, ...]


def read_config(root: Path) -> Config:
    """Return the configuration of a repository, which is that of its ``config.local`` before that of its ``config``.

    Raises :class:`~tracelet.IntegrityError` where it cannot be read.
    """
    home = root / DVC_FOLDER
    told: dict[tuple[str, str], str] = {}
    for name in ("config", "config.local"):
        told.update(_settings(home / name))
    cache = _place(home, told.get(("cache", "dir"), "cache"))
    remotes = {
        found["name"]: _place(home, value)
        for (section, key), value in told.items()
        if key == "url" and (found := _REMOTE.fullmatch(section))
    }
    folders = [place for place in (cache, *remotes.values()) if place is not None]
    return Config(tuple(folders), tuple(name for name, place in remotes.items() if place is None))


def _place(home: Path, value: str) -> Path | None:
    """Return a folder that the configuration names, without links on the way to it; None for an address elsewhere.

    DVC starts from its own folder.
    """
    return None if _SCHEME.match(value) else Path(os.path.realpath(home / os.path.expanduser(value)))  # noqa: PTH111


def _settings(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    try:
        text = read_small(path).decode()
        if "\0" in text:
            raise ValueError("it has a NUL character")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{str(path)!r} cannot be read as DVC's configuration ({error}): restore it.") from error
    section = ""
    for line in map(str.strip, text.splitlines()):
        if heading := _SECTION.fullmatch(line):
            section = heading["name"].strip()
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found = _VALUE.fullmatch(value.strip())
            assert found is not None  # it matches every line
            yield (section, key.strip().lower()), found[found.lastindex or 0]
