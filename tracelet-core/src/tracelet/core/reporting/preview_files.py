"""Previews of stored files for the page: which files are fetched for one, and what they show, within bounds."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.display.previews import Kind, Preview, preview_of, promise
from tracelet.core.reporting.homes import Homes
from tracelet.exceptions import BackendAuthError, BackendError, IntegrityError, TraceletError

__all__ = ["Bounds", "Previews", "preview_files", "preview_key"]


@attrs.frozen(kw_only=True)
class Bounds:
    """How much is fetched, and how much of it gets into the page."""

    #: Versions whose files are fetched.
    versions: int = 300
    #: Files of one version.
    files: int = 4
    #: Bytes of the largest file.
    file_bytes: int = 2_000_000
    #: Bytes of all files that are fetched.
    fetched_bytes: int = 64_000_000
    #: Characters of all previews in the page.
    shown: int = 8_000_000


@attrs.frozen
class Previews:
    """What files show, and why some do not."""

    #: By :func:`preview_key`, as plain data: ``kind``, what that kind has, and a ``note`` on what is left out.
    shown: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    #: By the digest of a version and the path in it: why a file cannot be read.
    troubles: dict[tuple[str, str], str] = attrs.field(factory=dict)
    #: By :func:`preview_key`: why there is nothing to see of a file that was looked at.
    unseen: dict[str, str] = attrs.field(factory=dict)
    #: Why a backend gave no more content, by its name.
    silent: dict[str, str] = attrs.field(factory=dict)
    #: Files that may have something to show, and that the bounds left out.
    left_out: int = 0


def preview_key(file: ArtifactFile) -> str:
    """Return what files have in common that show the same: their bytes, and the ending by which these are read."""
    return f"{file.sha256}{PurePosixPath(file.artifact_path).suffix.lower()}"


def preview_files(versions: Sequence[Homes], bounds: Bounds) -> Previews:
    """Fetch files of versions, verify them, and return what they show.

    The newest version of each name comes first, then the one before it of each, until the bounds are reached. Content that
    several versions have is fetched once. A backend that fails is not asked again.

    Args:
        versions: The versions, newest first.
        bounds: How much is fetched and shown.
    """
    work = _Work(bounds)
    for homes in _newest_of_each_name_first(versions):
        work.look_at(homes)
    left_out = {
        preview_key(file)
        for homes in versions
        for file in _promising(homes[0])
        if preview_key(file) not in work.looked_at and (homes[0].digest, file.artifact_path) not in work.troubles
    }
    silent = {backend: str(error) for backend, error in work.silent.items()}
    return Previews(work.shown, work.troubles, work.unseen, silent, len(left_out))


class _Work:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._versions = 0
        self._fetched = 0
        self._characters = 0
        #: Why a backend is not asked any more.
        self.silent: dict[str, TraceletError] = {}
        self.looked_at: set[str] = set()
        self.shown: dict[str, dict[str, Any]] = {}
        self.troubles: dict[tuple[str, str], str] = {}
        self.unseen: dict[str, str] = {}

    def look_at(self, homes: Homes) -> None:
        """Fetch and show some files of a version."""
        files = self._wanted(homes[0])
        if not files or all(home.backend in self.silent for home in homes):
            return
        self._versions += 1
        self._fetched += sum(file.size_bytes for file in files)
        with tempfile.TemporaryDirectory(prefix="tracelet-") as folder:
            for path, error in self._fetch(homes, files, Path(folder)).items():
                self.troubles[homes[0].digest, path] = str(error)
            for file in files:
                if (homes[0].digest, file.artifact_path) not in self.troubles:
                    self._show(file, Path(folder))

    def _wanted(self, artifact: LoggedArtifact) -> list[ArtifactFile]:
        if self._versions == self._bounds.versions:
            return []
        room = self._bounds.fetched_bytes - self._fetched
        files = []
        for file in _promising(artifact):
            if preview_key(file) in self.looked_at or file.size_bytes > min(room, self._bounds.file_bytes):
                continue
            files.append(file)
            room -= file.size_bytes
        return files[: self._bounds.files]

    def _fetch(self, homes: Homes, files: list[ArtifactFile], folder: Path) -> dict[str, TraceletError]:
        """Fetch files from the first backend that gives them; return why some could not be fetched, by path."""
        try:
            self._download(homes, [file.artifact_path for file in files], folder)
        except TraceletError as error:
            if len(files) == 1:
                return {files[0].artifact_path: error}
            # One that is damaged says nothing of the others.
            each = [self._fetch(homes, [file], folder) for file in files]
            return {path: why for failed in each for path, why in failed.items()}
        return {}

    def _download(self, homes: Homes, paths: list[str], folder: Path) -> None:
        errors: list[TraceletError] = []
        for home in homes:
            if home.backend in self.silent:
                errors.append(self.silent[home.backend])
                continue
            try:
                home.download(folder, paths)
            except TraceletError as error:
                errors.append(error)
                if isinstance(error, BackendAuthError) or (isinstance(error, BackendError) and error.retryable):
                    self.silent[home.backend] = error
            else:
                return
        # That bytes are damaged says more than that another backend is away.
        raise next((error for error in errors if isinstance(error, IntegrityError)), errors[0])

    def _show(self, file: ArtifactFile, folder: Path) -> None:
        key = preview_key(file)
        self.looked_at.add(key)
        preview = preview_of(folder / file.artifact_path, file.artifact_path, self._bounds.file_bytes)
        if preview.kind is Kind.NOTHING:
            self.unseen[key] = preview.left_out
            return
        plain = _plain(preview)
        length = len(json.dumps(plain))
        if self._characters + length > self._bounds.shown:
            self.looked_at.discard(key)
            return
        self._characters += length
        self.shown[key] = plain


def _newest_of_each_name_first(versions: Sequence[Homes]) -> Iterable[Homes]:
    counts: Counter[str] = Counter()
    ranked = []
    for homes in versions:
        ranked.append((counts[homes[0].name], homes))
        counts[homes[0].name] += 1
    return [homes for _, homes in sorted(ranked, key=lambda pair: pair[0])]


def _promising(artifact: LoggedArtifact) -> list[ArtifactFile]:
    """Return the files that may have something to show, those that promise most first."""
    files = [(promise(file.artifact_path), file) for file in (*artifact.manifest.payload, *artifact.manifest.stored)]
    found = [(rank, file.artifact_path, file) for rank, file in files if rank is not None]
    return [file for _, _, file in sorted(found, key=lambda one: one[:2])]


def _plain(preview: Preview) -> dict[str, Any]:
    note = {"note": preview.left_out}
    if preview.kind is Kind.TABLE:
        return {"kind": "table", "header": [*preview.columns], "rows": [[*row] for row in preview.rows], **note}
    if preview.kind in {Kind.JSON, Kind.TEXT}:
        return {"kind": "text", "text": preview.text, **note}
    return {"kind": preview.kind.value, "source": preview.url, **note}
