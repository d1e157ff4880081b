"""Download the files of a version, one by one. References are left alone, and the SDK's cache is not trusted."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
import wandb

from tracelet.exceptions import ArtifactNotFound
from tracelet.plugin import MANIFEST_NAME, Manifest, hash_blob, target_path
from tracelet_wandb.errors import status_of, translated
from tracelet_wandb.names import file_name

__all__ = ["bring", "is_noted"]

#: Files at once.
_WIDTH = 16


def is_noted(artifact: wandb.Artifact, manifest: Manifest) -> bool:
    """Tell whether ``tracelet.json`` in the version is this manifest, without fetching it."""
    entry = artifact.manifest.entries.get(MANIFEST_NAME)
    md5 = hashlib.md5(manifest.to_json().encode(), usedforsecurity=False).digest()
    return entry is not None and entry.digest == base64.b64encode(md5).decode()


def bring(artifact: wandb.Artifact, manifest: Manifest, paths: Collection[str], dest: Path, place: str) -> None:
    """Write the files at these paths under ``dest``, each at its path.

    Raises :class:`~tracelet.ArtifactNotFound` where the version does not hold them any more.
    """
    expected = {file.artifact_path: file.sha256 for file in manifest.payload}
    with TemporaryDirectory(dir=dest, prefix=".tracelet-wandb-") as scratch, ThreadPoolExecutor(_WIDTH) as pool:
        found = pool.map(lambda path: _bring_one(artifact, path, expected[path], Path(scratch), place), paths)
        for path, file in zip(paths, found, strict=True):
            file.replace(target_path(dest, path))


def _bring_one(artifact: wandb.Artifact, path: str, sha256: str | None, scratch: Path, place: str) -> Path:
    name = file_name(path)
    entry = artifact.manifest.entries.get(name)
    if entry is None or entry.ref is not None:
        raise ArtifactNotFound(f"{path!r} is not in {artifact.source_name} on W&B at {place}.")
    with translated(place):
        try:
            # Not skip_cache: the SDK then takes one file's bytes for every other file of that size.
            found = Path(artifact.get_entry(name).download(root=str(scratch)))
            if hash_blob(found) == sha256:
                return found
            # The SDK trusts its cache by the size alone. The server may have the right bytes.
            found.unlink()
            for file in artifact.files(names=[name]):
                file.download(root=str(scratch), replace=True).close()
        except requests.HTTPError as error:
            if status_of(error) == requests.codes.not_found:
                raise ArtifactNotFound(f"the bytes of {path!r} are gone from W&B at {place}.") from error
            raise
    return found
