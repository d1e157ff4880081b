"""Download the files of a version that was logged without Tracelet, and compare them with W&B's checksums."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import wandb
from wandb.apis.public import File
from wandb.errors import CommError

from tracelet.exceptions import ArtifactNotFound, IntegrityError
from tracelet.plugin import ForeignArtifact, target_path
from tracelet_wandb.connection import Place
from tracelet_wandb.errors import status_of, translated
from tracelet_wandb.foreign_manifests import GONE, Manifests, held_by, is_held_elsewhere, is_whole
from tracelet_wandb.versions import Versions

__all__ = ["fetch"]

#: Files at once.
_WIDTH = 16
#: Files in a query. Their addresses expire, so they are used before more are asked for.
_PAGE = 100
_WHERE = """
query TraceletForeignPlace($id: ID!) {
  artifact(id: $id) {
    versionIndex
    currentManifest { file { directUrl } }
    artifactSequence { name project { name entity { name } } }
  }
}
"""


@attrs.frozen
class _Holder:
    """A version that holds files, and the entries of its manifest."""

    version: wandb.Artifact
    entries: dict[str, Any]


def fetch(place: Place, found: ForeignArtifact, dest: Path) -> None:
    """Write the files of a version under ``dest``, each at its path; also those that another version holds for it.

    They do not go through the SDK's cache, which would keep a copy of each.
    """
    if (reason := found.locator["lost"]) is not None:
        raise ArtifactNotFound(
            f"{found.name!r} {found.version} ({found.address}) could not be read when it was looked for: {reason} Look for it again."
        )
    with (
        Manifests(place.server) as manifests,
        tempfile.TemporaryDirectory(dir=dest, prefix=".tracelet-wandb-") as scratch,
        ThreadPoolExecutor(_WIDTH) as pool,
    ):
        fetching = _Fetching(place, found, manifests, Path(scratch), pool)
        own = found.locator["id"]
        version = fetching.holder(own)
        #: By the id of the version that holds them: a file's name there, and its paths here.
        wanted: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for file in found.files:
            entry = version.entries.get(file.path, {})
            holder, name = held_by(entry) if is_held_elsewhere(entry) else (own, file.path)
            wanted[holder][name].append(file.path)
        for holder, names in wanted.items():
            source = version if holder == own else fetching.holder(holder)
            ordered = sorted(names)
            for start in range(0, len(ordered), _PAGE):
                some = ordered[start : start + _PAGE]
                for name, downloaded in zip(some, fetching.downloaded(source, names, some), strict=True):
                    *others, last = names[name]
                    for path in others:
                        shutil.copyfile(downloaded, target_path(dest, path))
                    downloaded.replace(target_path(dest, last))


@attrs.frozen
class _Fetching:
    """One fetch."""

    place: Place
    found: ForeignArtifact
    manifests: Manifests
    scratch: Path
    pool: ThreadPoolExecutor

    def holder(self, id: str) -> _Holder:
        """Return a version by its id, whatever its name and its project are called by now."""
        known = self.place.ask(_WHERE, {"id": id})["artifact"]
        sequence = None if known is None else known["artifactSequence"]
        if sequence is not None and sequence["project"] is not None:
            project = sequence["project"]
            there = attrs.evolve(self.place, entity=project["entity"]["name"], project=project["name"])
            version = Versions(there).numbered(sequence["name"], known["versionIndex"])
            if version is not None and version.id == id:
                return _Holder(version, self.manifests.entries(known["currentManifest"]))
        raise ArtifactNotFound(f"{self._called()} is gone from W&B, or a version that holds files of it is.")

    def downloaded(self, source: _Holder, paths: dict[str, list[str]], names: list[str]) -> list[Path]:
        """Download files of a version, and return where they are; ``paths`` are those in the artifact, by name."""
        with translated(self.place.server):
            # Not list(): it asks for a length, which only some servers give for this query.
            files = {file.name: file for file in source.version.files(names=names, per_page=_PAGE)}

        def one(name: str) -> Path:
            path = paths[name][0]
            if name not in files or name not in source.entries:
                raise self._gone(path)
            downloaded = self._download(files[name], path)
            if not is_whole(source.entries[name], downloaded):
                raise IntegrityError(
                    f"{path!r} of {self._called()} is not what was logged: W&B's checksum is of other bytes. Try again; if it "
                    "stays so, W&B's copy is damaged."
                )
            return downloaded

        return list(self.pool.map(one, names))

    def _download(self, file: File, path: str) -> Path:
        # Files of several versions may have one name.
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        with translated(self.place.server):
            try:
                file.download(root=str(folder), replace=True).close()
            except CommError as error:
                if status_of(error) in GONE:
                    raise self._gone(path) from error
                raise
        return folder / str(file.name)

    def _called(self) -> str:
        return f"{self.found.name!r} {self.found.version} ({self.found.address})"

    def _gone(self, path: str) -> ArtifactNotFound:
        return ArtifactNotFound(f"the bytes of {path!r} of {self._called()} are gone from W&B at {self.place.server}.")
