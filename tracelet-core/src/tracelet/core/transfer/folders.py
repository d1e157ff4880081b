"""A folder on disk as a source: each entry at its top is an artifact."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import attrs

from tracelet.core.artifacts.checks import MOST_ENTRIES, check_count, check_path, check_place
from tracelet.core.artifacts.local_files import OWN_FOLDER, file_entry, files_under
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.plugins.foreign import ForeignArtifact, ForeignFile
from tracelet.core.storage.paths import target_path
from tracelet.core.system.files import FileChanged
from tracelet.core.transfer.copied_file import copied_here
from tracelet.core.transfer.unfit import check_fit, moment, readable_name, unfit
from tracelet.exceptions import ArtifactError, ArtifactNotFound, ConfigError

__all__ = ["Folders", "check_outside"]


@attrs.frozen
class Folders:
    """Gives what is in a folder as artifacts: an entry at its top is one, a folder with all that is in it.

    The address of an entry ends in a fingerprint of the paths, sizes and mtimes of its files. So a listing reads no bytes,
    what has not changed is known again, and what has changed is a version of its own. A change that leaves size and mtime
    as they were is not seen.
    """

    def discover(self, place: str) -> Iterable[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`. The place is a folder, or a file, which is one artifact.

        What cannot be added to an artifact, such as a socket or a link out of the folder, is found, too: fetching it says why.
        """
        root = Path(check_place(place))
        try:
            if not stat.S_ISDIR(root.stat().st_mode):
                return [_found(root, root, root.parent.name)]
            entries = sorted(root.iterdir())
        except OSError as error:
            raise ArtifactNotFound(
                f"{str(root)!r} cannot be listed: {error.strerror}. Give a folder or a file of this machine."
            ) from error
        found = (_found(entry, root, root.name) for entry in entries if not _is_own(entry))
        return [one for one in found if one.files]

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`. Files are copied; one that is not as it was when it was listed is an error."""
        check_fit(found.locator)
        for path, (source, size, mtime) in found.locator["files"].items():
            target = target_path(dest, path)
            copied = copied_here(Path(source), target)
            if (copied.size_bytes, copied.mtime_ns) != (size, mtime):
                raise FileChanged(f"{source!r} changed since it was listed: import again when nobody writes to it.")


def check_outside(place: str | os.PathLike[str], directory: Path) -> None:
    """Raise :class:`~tracelet.ConfigError` where a tracelet directory is in a folder that is imported into it.

    It would have all that was imported before in it, each time; one with its usual name is left out.
    """
    root, own = Path(check_place(place)).resolve(), directory.resolve()
    if own.is_relative_to(root) and OWN_FOLDER not in own.relative_to(root).parts:
        raise ConfigError(
            f"{str(directory)!r} is in {str(root)!r}, which is to be imported into it: give a tracelet directory outside of it."
        )


def _is_own(entry: Path) -> bool:
    return entry.name == OWN_FOLDER and _is_folder(entry)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - it answers for paths that cannot be reached, too


def _found(entry: Path, root: Path, experiment: str) -> ForeignArtifact:
    """Return an entry as an artifact; one without files is an empty folder."""
    kind = "folder" if _is_folder(entry) else "file"
    name = readable_name(entry.name)
    try:
        files = [(path, source, source.stat()) for path, source in _files_of(entry, root)]
    except (ArtifactError, OSError) as error:
        reason = str(error) if isinstance(error, ArtifactError) else f"{str(entry)!r}: {error.strerror}."
        return unfit(
            address=f"{entry.as_uri()}#unfit", name=name, kind=kind, experiment=readable_name(experiment), reason=reason
        )
    stated = [(path, str(source), status.st_size, status.st_mtime_ns) for path, source, status in files]
    fingerprint = hashlib.sha256(repr([(path, size, mtime) for path, _, size, mtime in stated]).encode()).hexdigest()
    return ForeignArtifact(
        address=f"{entry.as_uri()}#{fingerprint}",
        name=name,
        type=tell_type(entry),
        kind=kind,
        experiment=readable_name(experiment),
        created_at=moment(max((status.st_mtime for _, _, status in files), default=0.0)),
        files=tuple(ForeignFile(path, size) for path, _, size, _ in stated),
        locator={"files": {path: [source, size, mtime] for path, source, size, mtime in stated}},
    )


def _files_of(entry: Path, root: Path) -> list[tuple[str, Path]]:
    """Return the files of an entry by their paths in the artifact; raises :class:`ArtifactError` for what cannot be added."""
    if entry.is_symlink() and entry != root and not _is_inside(entry, root):
        raise ArtifactError(
            f"{str(entry)!r} is a link out of the folder: import what it leads to by itself, or put that into the folder."
        )
    if not _is_folder(entry):
        file_entry(entry, check_path(entry.name), None)
        return [(entry.name, entry)]
    sources = [Path(source) for source in itertools.islice(files_under(entry, [], []), MOST_ENTRIES + 1)]
    check_count(len(sources))
    found = [(check_path(source.relative_to(entry).as_posix()), source) for source in sources]
    for path, source in found:
        file_entry(source, path, None)
    return found


def _is_inside(link: Path, root: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(os.path.realpath(root))
