"""Reading every byte of stored versions back from where it is, and comparing it with the manifest."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.verified import Verification, WrongFile
from tracelet.core.plugins.version_refs import parse_ref
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.finder import Finder
from tracelet.core.system.files import make_folder
from tracelet.core.system.links import check_way
from tracelet.core.system.messages import sentence
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendUnavailable,
    TraceletError,
)

__all__ = ["Found", "find_versions", "verify", "verify_one"]

#: A larger file is read alone: so much of the disk, or the largest file, is needed at once.
_BATCH_BYTES, _BATCH_FILES = 64_000_000, 500
#: How many blobs that several versions may share are remembered as whole.
_REMEMBERED = 200_000
_STORE = "store"
#: Versions in a row that a backend does not give, after which it is not asked any more.
_MOST_MISSES = 3

#: A version and the backend that holds it.
Found = tuple[str, StoredArtifact]


def verify_one(finder: Finder, artifact: LoggedArtifact) -> Verification:
    """Read one version back from its backend."""
    stored: StoredArtifact | None = finder.request(
        artifact.backend, "find", name=artifact.name, ref=f"v{artifact.number}"
    )
    if stored is None or stored.manifest.digest != artifact.digest:
        raise ArtifactNotFound(
            f"{artifact.backend} has no {artifact.name!r} {artifact.version} any more: list_artifacts() shows what there is."
        )
    return verify(finder, [(artifact.backend, stored)])


def find_versions(
    finder: Finder, name: str | None = None, ref: str | None = None, since: float = 0.0
) -> tuple[list[Found], dict[str, TraceletError]]:
    """Return the versions that each backend holds, oldest first, and an error for each that cannot say them all.

    Args:
        finder: What asks the backends.
        name: Only versions of this name.
        ref: Only the version of that name that each backend calls so.
        since: Only versions that were logged then or later, in seconds since the epoch.

    Raises :class:`~tracelet.ArtifactError` for what can be no name or no version.
    """
    if name is not None:
        check_name(name)
    if ref is None:
        given, errors = finder.ask("list", {one: {"name": name, "type": None} for one in finder.backends})
        # A damaged manifest does not hide the others.
        given |= {one: error.answers for one, error in errors.items()}
    else:
        parse_ref(ref)
        hits, errors = finder.ask("find", {one: {"name": name, "ref": ref} for one in finder.backends})
        given = {one: [stored] for one, stored in hits.items() if stored is not None}
    found = [(one, stored) for one, many in given.items() for stored in many if stored.manifest.created_at >= since]
    return sorted(found, key=lambda one: (one[1].manifest.created_at, one[1].number)), errors


def verify(
    finder: Finder,
    found: Collection[Found],
    failed: dict[str, TraceletError] | None = None,
    told: Callable[[StoredArtifact, int], None] = lambda stored, size_bytes: None,
) -> Verification:
    """Read versions back in their order, a few files at a time, each where it is, and compare every byte.

    A blob that several versions share is read once. What comes damaged is read once more, for that may have happened on its way.

    Args:
        finder: What reads them.
        found: The versions.
        failed: What is known already of backends that cannot be read wholly.
        told: It is told of each version that is begun, with 0, and then of bytes that were read.
    """
    scratch = check_way(finder.downloads.parent, finder.downloads / f"~verify-{uuid.uuid4().hex}")
    try:
        make_folder(finder.downloads.parent, shared=False)
        make_folder(scratch)
    except OSError as error:
        raise ArtifactError(
            f"{str(scratch)!r} cannot be made: {sentence(error)} The files to compare go there: "
            "let this user write there, or make room."
        ) from error
    reading = _Reading(finder, scratch, told, dict(failed or {}))
    try:
        for backend, stored in found:
            reading.read(backend, stored)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return reading.result()


class _Reading:
    """What was read so far."""

    def __init__(
        self,
        finder: Finder,
        scratch: Path,
        told: Callable[[StoredArtifact, int], None],
        failed: dict[str, TraceletError],
    ) -> None:
        self._finder = finder
        self._scratch = scratch
        self._told = told
        self._failed = failed
        #: How many versions in a row each backend, or the store, has not given.
        self._misses: Counter[str] = Counter()
        #: Where blobs are that were read, and are whole.
        self._whole: set[tuple[str, str, str]] = set()
        self._wrong: list[WrongFile] = []
        self._versions = self._files = self._bytes = self._outside = self._unread = 0
        self._unread_since: float | None = None

    def result(self) -> Verification:
        return Verification(
            self._versions,
            self._files,
            self._bytes,
            tuple(self._wrong),
            self._outside,
            self._failed,
            self._unread,
            self._unread_since,
        )

    def read(self, backend: str, stored: StoredArtifact) -> None:
        """Read one version."""
        self._told(stored, 0)
        manifest = stored.manifest
        artifact = self._finder.logged(backend, stored)
        parts = ((backend, manifest.payload), (_STORE, manifest.stored))
        before = len(self._wrong)
        reached = [self._read_part(source, artifact, stored, files) for source, files in parts if files]
        if len(self._wrong) > before and self._is_gone(backend, stored):
            del self._wrong[before:]
        elif all(reached):
            self._outside += sum(one.path is None for one in manifest.references)
            self._versions += 1
        else:
            self._unread += 1
            self._unread_since = manifest.created_at if self._unread_since is None else self._unread_since

    def _is_gone(self, backend: str, stored: StoredArtifact) -> bool:
        """Tell whether somebody has deleted a version while it was read: then none of its files is missing."""
        found, errors = self._finder.ask("find", {backend: {"name": stored.manifest.name, "ref": f"v{stored.number}"}})
        return not errors and found[backend] is None

    def _read_part(
        self, source: str, artifact: LoggedArtifact, stored: StoredArtifact, files: Iterable[ArtifactFile]
    ) -> bool:
        """Read the files that one place holds; say whether it could be reached."""
        if self._misses[source] == _MOST_MISSES:
            return False
        try:
            places = self._places(source, stored)
            for batch in _batches(files):
                known = {file.artifact_path: (source, places[file.artifact_path], str(file.sha256)) for file in batch}
                fresh = [file for file in batch if known[file.artifact_path] not in self._whole]
                self._note(artifact, known, batch, self._wrong_of(artifact, fresh))
                self._told(stored, sum(file.size_bytes for file in batch))
        except (BackendUnavailable, BackendAuthError) as error:
            self._misses[source] += 1
            self._failed.setdefault(source, error)
            return False
        self._misses[source] = 0
        return True

    def _places(self, source: str, stored: StoredArtifact) -> dict[str, str]:
        """Return where each file is: a blob that several versions share is in one place."""
        if source == _STORE:
            return {file.artifact_path: _STORE for file in stored.manifest.stored}
        places: dict[str, str] = self._finder.request(source, "places", stored=stored)
        return {path: place or f"{stored.uri} {path}" for path, place in places.items()}

    def _note(
        self,
        artifact: LoggedArtifact,
        known: dict[str, tuple[str, str, str]],
        files: Iterable[ArtifactFile],
        wrong: dict[str, TraceletError],
    ) -> None:
        for file in files:
            path = file.artifact_path
            if path in wrong:
                self._wrong.append(
                    WrongFile(artifact.name, artifact.version, artifact.backend, path, file.size_bytes, wrong[path])
                )
                continue
            self._files += 1
            self._bytes += file.size_bytes
            self._whole.update([known[path]][: _REMEMBERED - len(self._whole)])

    def _wrong_of(self, artifact: LoggedArtifact, files: list[ArtifactFile]) -> dict[str, TraceletError]:
        """Read files at once; where that fails, one by one, so that each is told of."""
        if not files:
            return {}
        folder = self._scratch / uuid.uuid4().hex
        try:
            artifact.download(folder, [file.artifact_path for file in files])
        except TraceletError as error:
            no_room = isinstance(error, ArtifactError) and isinstance(error.__cause__, OSError)
            if no_room or isinstance(error, (BackendUnavailable, BackendAuthError)):
                raise  # none of the files is at fault
            if len(files) == 1:
                return {files[0].artifact_path: error}
        else:
            return {}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found: dict[str, TraceletError] = {}
        for file in files:
            found |= self._wrong_of(artifact, [file])
        return found


def _batches(files: Iterable[ArtifactFile]) -> Iterator[list[ArtifactFile]]:
    """Yield files, several at a time as far as they are small."""
    batch: list[ArtifactFile] = []
    size_bytes = 0
    for file in files:
        if batch and (size_bytes + file.size_bytes > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(file)
        size_bytes += file.size_bytes
    yield batch
