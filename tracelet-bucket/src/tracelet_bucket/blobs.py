"""The bytes of files in a bucket, each content once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from pathlib import Path

from tracelet.exceptions import ArtifactNotFound
from tracelet.plugin import ArtifactFile, SealedArtifact, target_path
from tracelet_bucket.bucket import PART, SMALL, Bucket
from tracelet_bucket.keys import aside_folder, blob_key
from tracelet_bucket.together import each

__all__ = ["bring", "bring_back", "fetch", "place_of", "places"]

_LOG = logging.getLogger("tracelet.bucket")


def bring(bucket: Bucket, sealed: SealedArtifact, files: Iterable[ArtifactFile], known: Container[str] | None) -> None:
    """Write the bytes of files of an artifact, except those that are there, whole.

    Args:
        bucket: where to.
        sealed: the artifact.
        files: some of its files.
        known: the sha256 of what is there in all likelihood. What is small and not among it is sent without a look first. None
            where all of it is.
    """
    once = {str(file.sha256): file for file in files}

    def one(file: ArtifactFile) -> None:
        sha256, source = str(file.sha256), sealed.sources[file.artifact_path]
        key, size_bytes = blob_key(sha256), file.size_bytes
        is_new = known is not None and sha256 not in known and size_bytes <= SMALL
        if not is_new and bucket.holds(key, sha256, size_bytes):
            return
        if bucket.upload(key, source, sha256, size_bytes, replace=False):
            return
        # Somebody else may have sent it meanwhile.
        if not bucket.holds(key, sha256, size_bytes):
            _LOG.warning("%s/%s is damaged. It is replaced by the right bytes.", bucket.url, key)
            bucket.upload(key, source, sha256, size_bytes, replace=True)

    _for_each(one, once.values())


def bring_back(bucket: Bucket, sealed: SealedArtifact, files: Iterable[ArtifactFile]) -> None:
    """Write the bytes of files that are gone. Those that are there were whole a while ago: they are not read again."""

    def is_gone(file: ArtifactFile) -> bool:
        return bucket.size_of(blob_key(str(file.sha256))) is None

    looked_for = list(files)
    gone = [file for file, is_so in zip(looked_for, each(is_gone, looked_for), strict=True) if is_so]
    if gone:
        bring(bucket, sealed, gone, None)


def fetch(bucket: Bucket, files: Collection[ArtifactFile], dest: Path) -> None:
    """Write files into a folder. Raises :class:`~tracelet.ArtifactNotFound` where bytes are gone."""

    def one(file: ArtifactFile) -> None:
        target, sha256 = target_path(dest, file.artifact_path), str(file.sha256)
        if not any(bucket.download(key, target, file.size_bytes) for key in places(bucket, sha256)):
            raise ArtifactNotFound(
                f"the bytes of {file.artifact_path!r} are gone: there is no {place_of(bucket, file)}. Log the same content "
                "again, which brings them back, or get it from another backend."
            )

    _for_each(one, files)


def _for_each(one: Callable[[ArtifactFile], None], files: Collection[ArtifactFile]) -> None:
    """Many small files go at the same time; each large one does so in parts, of which a process holds several in memory."""
    for _ in each(one, [file for file in files if file.size_bytes <= PART]):
        pass
    for file in files:
        if file.size_bytes > PART:
            one(file)


def places(bucket: Bucket, sha256: str) -> Iterator[str]:
    """Yield where bytes may be: who clears them away takes them aside first, and puts them back where somebody needs them."""
    yield blob_key(sha256)
    yield from [one.key for one in bucket.below(aside_folder(sha256))]
    yield blob_key(sha256)


def place_of(bucket: Bucket, file: ArtifactFile) -> str:
    """Return where the bytes of a file are."""
    return f"{bucket.url}/{blob_key(str(file.sha256))}"
