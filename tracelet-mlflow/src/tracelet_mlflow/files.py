r"""Files of an artifact in an MLflow run: their names there, and packs for many small ones.

MLflow takes ``#``, ``?``, ``%`` and ``\`` in a name for parts of a URL, and loses such files. They are written as ``=23``
and so on, and the true paths are in the manifest. The manifest and the pack rule of a version say which file is in which
pack, so a reader needs no index. Each pack is a plain zip.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
from mlflow.entities import FileInfo

from tracelet.exceptions import ArtifactNotFound, IntegrityError, NewerFormat
from tracelet.plugin import MANIFEST_NAME, ArtifactFile, FileChanged, Manifest, make_folder, redact, target_path
from tracelet_mlflow.errors import is_missing

__all__ = ["PackRule", "Repository", "RunFiles", "at_once", "size_of", "stored_path", "workspace"]

T = TypeVar("T")
R = TypeVar("R")

#: MLflow strips white space at either end of a name in some places.
_MANGLED = re.compile(r"[#?%\\=]|^\s|\s$")
_LONGEST = 255
_THREADS = 8
_CHUNK = 1 << 20


def stored_name(part: str) -> str:
    """Return the name under which MLflow stores a part of a path. Different parts have different names."""
    name = _MANGLED.sub(lambda match: "".join(f"={byte:02X}" for byte in match[0].encode()), part)
    return name if len(name.encode()) <= _LONGEST else f"=={hashlib.sha256(part.encode()).hexdigest()}"


def stored_path(path: str) -> str:
    """Return the path under which MLflow stores a file."""
    return "/".join(map(stored_name, path.split("/")))


@attrs.frozen
class PackRule:
    """Which files go into packs. The rule is part of each version's record."""

    #: Small files are packed where there are more of them than this.
    over: int
    #: Bytes up to which a file is small.
    small: int
    #: Bytes of files in one pack.
    size: int = 16_000_000
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.Factory(dict)

    def to_plain(self) -> dict[str, Any]:
        """Return the rule as plain data."""
        return {**self.extra, "over": self.over, "small": self.small, "size": self.size}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> PackRule:
        """Read what :meth:`to_plain` gave; raises ``LookupError``, ``TypeError`` or ``ValueError`` for anything else."""
        known = {name: int(plain[name]) for name in ("over", "small", "size")}
        return cls(**known, extra={name: value for name, value in plain.items() if name not in known})

    def plan(self, payload: Iterable[ArtifactFile]) -> list[list[ArtifactFile]]:
        """Return the packs, each with its files, in order."""
        small = [file for file in payload if file.size_bytes <= self.small]
        if len(small) <= self.over:
            return []
        packs: list[list[ArtifactFile]] = []
        room = 0
        for file in small:
            if not packs or file.size_bytes > room:
                packs.append([])
                room = self.size
            packs[-1].append(file)
            room -= file.size_bytes
        return packs


def at_once(call: Callable[[T], R], items: Collection[T]) -> list[R]:
    """Call for every item, several at a time. The first error is raised, and calls that have not begun are dropped."""
    if len(items) < 2:
        return [call(item) for item in items]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def workspace(directory: Path) -> Iterator[Path]:
    """Give a folder of its own in the tracelet directory, for as long as the block lasts."""
    staging = directory / "staging"
    make_folder(staging)
    with tempfile.TemporaryDirectory(prefix="mlflow-", dir=staging, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Repository(Protocol):
    """The methods of MLflow's artifact repositories that are used here."""

    artifact_uri: str

    def log_artifact(self, local_file: str, artifact_path: str | None) -> None:
        """Store a file under its own name in a folder, or at the top."""
        ...

    def log_artifacts(self, local_dir: str, artifact_path: str | None) -> None:
        """Store all that is in a folder in a folder, or at the top."""
        ...

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        """Fetch a file to the same path under a folder, and return where it is."""
        ...

    def list_artifacts(self, path: str | None) -> list[FileInfo]:
        """Return what is in a folder."""
        ...

    def delete_artifacts(self, artifact_path: str | None) -> None:
        """Delete a folder, or all."""
        ...


def size_of(repository: Repository, folder: str | None) -> int | None:
    """Return the bytes of all files in a folder, or of all; None where there is no file."""
    sizes: list[int] = []
    left = [folder]
    while left:
        for info in repository.list_artifacts(left.pop()):
            if info.is_dir:
                left.append(info.path)
            else:
                sizes.append(info.file_size or 0)
    return sum(sizes) if sizes else None


class RunFiles:
    """The files of one version: a folder among the artifacts of an MLflow run."""

    def __init__(
        self,
        repository: Repository,
        folder: str,
        packs: PackRule | None,
        directory: Path,
        shared: Mapping[str, tuple[Repository, str]] | None = None,
    ) -> None:
        """``directory`` is for temporary files. ``shared`` says where the files are that are not in the folder."""
        self._shared = shared or {}
        self._repository = repository
        self._folder = folder
        self._packs = packs
        self._directory = directory

    def upload(
        self,
        manifest: Manifest,
        sources: Mapping[str, Path],
        shared: Collection[str] = (),
        *,
        manifest_last: bool = False,
    ) -> None:
        """Store every file except the ``shared`` ones, and the manifest.

        With ``manifest_last`` an upload that is interrupted leaves no manifest, which :meth:`is_there` would believe.
        Raises :class:`~tracelet.plugin.FileChanged` where a file is not there.
        """
        gone = [str(source) for source in sources.values() if not source.is_file()]
        if gone:
            raise FileChanged(f"{gone[0]!r} is gone.")
        with workspace(self._directory) as scratch:
            payload = [file for file in manifest.payload if file.artifact_path not in shared]
            packs = self._packs.plan(payload) if self._packs is not None else []
            packed = {file.artifact_path for files in packs for file in files}
            jobs: list[Callable[[], None]] = []
            for number, files in enumerate(packs):
                jobs.append(lambda number=number, files=files: self._upload_pack(scratch, number, files, sources))  # type: ignore[misc]
            taken: Counter[str] = Counter()
            alone = [file.artifact_path for file in payload if file.artifact_path not in packed]
            if self._packs is None and len(alone) > 1:
                trees = list(_linked(scratch, alone, sources))
                jobs += [lambda tree=tree: self._repository.log_artifacts(str(tree), self._folder) for tree in trees]  # type: ignore[misc]
                alone = []
            for path in alone:
                # Links are in one folder, but for names that this disk may not tell apart. A folder each takes longer than the copy.
                name = unicodedata.normalize("NFC", stored_path(path).rpartition("/")[2]).casefold()
                place = scratch / str(taken[name])
                taken[name] += 1
                place.mkdir(exist_ok=True)
                jobs.append(lambda place=place, path=path: self._upload(place, path, sources[path]))  # type: ignore[misc]

            def upload_manifest() -> None:
                note = scratch / MANIFEST_NAME
                note.write_text(manifest.to_json(), encoding="utf-8")
                self._repository.log_artifact(str(note), self._folder)

            # In a folder of this disk a thread takes longer than the copy.
            if manifest_last or self._packs is None:
                at_once(lambda job: job(), jobs)
                upload_manifest()
            else:
                at_once(lambda job: job(), [*jobs, upload_manifest])

    def is_there(self) -> bool:
        """Tell whether the files of a version that the index has are stored. MLflow removes all files of a run together."""
        name = f"{self._folder}/{MANIFEST_NAME}"
        return any(info.path == name for info in self._repository.list_artifacts(self._folder))

    def read_manifest(self) -> Manifest:
        """Fetch the manifest."""
        with workspace(self._directory) as scratch:
            return Manifest.from_json(
                _download(self._repository, f"{self._folder}/{MANIFEST_NAME}", scratch).read_bytes()
            )

    def fetch(self, payload: Collection[ArtifactFile], paths: Collection[str], dest: Path) -> None:
        """Write files under ``dest``, each at its path."""
        here = [file for file in payload if file.artifact_path not in self._shared]
        packs = self._packs.plan(here) if self._packs is not None else []
        number_of = {file.artifact_path: number for number, files in enumerate(packs) for file in files}
        sizes = {file.artifact_path: file.size_bytes for file in payload}
        with workspace(self._directory) as scratch:

            def one(path: str) -> None:
                # Each file has a folder of its own: this disk may not tell two names apart that MLflow does.
                with tempfile.TemporaryDirectory(dir=scratch) as own:
                    repository, name = self._shared.get(path, (self._repository, f"{self._folder}/{stored_path(path)}"))
                    got = _download(repository, name, Path(own))
                    shutil.move(got, target_path(dest, path))

            def pack(number: int) -> None:
                wanted = {path: sizes[path] for path in paths if number_of.get(path) == number}
                _unpack(_download(self._repository, f"{self._folder}/{_pack_name(number)}", scratch), wanted, dest)

            at_once(one, [path for path in paths if path not in number_of])
            at_once(pack, sorted({number_of[path] for path in paths if path in number_of}))

    def delete(self, put_id: str, *, unnamed: bool = True) -> int:
        """Delete every file of a put, or what is left of it, if the artifact store can. Return the bytes.

        Files of another put are left alone: earlier releases gave versions of several experiments one folder. With ``unnamed``
        files go also where no manifest says whose they are.
        """
        size = size_of(self._repository, self._folder)
        if size is None or not self.is_of(put_id, unnamed=unnamed):
            return 0
        self._repository.delete_artifacts(self._folder)
        return size

    def is_of(self, put_id: str, *, unnamed: bool = False) -> bool:
        """Tell whether the manifest is a put's; ``unnamed`` is the answer where it was not written, or not to its end."""
        try:
            return self.read_manifest().put_id == put_id
        except (ArtifactNotFound, IntegrityError):
            return unnamed
        except NewerFormat:
            return False

    def _upload(self, place: Path, path: str, source: Path) -> None:
        # MLflow stores a file under the name that it has on this disk.
        *above, name = stored_path(path).split("/")
        link = place / name
        link.symlink_to(source.absolute())
        self._repository.log_artifact(str(link), "/".join([self._folder, *above]))

    def _upload_pack(self, scratch: Path, number: int, files: list[ArtifactFile], sources: Mapping[str, Path]) -> None:
        pack = scratch / _pack_name(number)
        with zipfile.ZipFile(pack, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for file in files:
                archive.write(sources[file.artifact_path], file.artifact_path)
        self._repository.log_artifact(str(pack), self._folder)
        pack.unlink()


def _linked(scratch: Path, paths: Iterable[str], sources: Mapping[str, Path]) -> Iterator[Path]:
    """Link files under the names that MLflow stores; yield the folders. Two names that this disk may not tell apart are in two."""
    taken: Counter[str] = Counter()
    for path in paths:
        name = stored_path(path)
        known = unicodedata.normalize("NFC", name).casefold()
        tree = scratch / f"tree-{taken[known]}"
        if not tree.exists():
            yield tree
        taken[known] += 1
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(sources[path].absolute())


def _download(repository: Repository, path: str, scratch: Path) -> Path:
    try:
        return Path(repository.download_artifacts(path, str(scratch)))
    except Exception as error:
        if is_missing(error):
            raise ArtifactNotFound(
                f"{path} is gone from {redact(repository.artifact_uri)}: was the run or the model deleted?"
            ) from error
        raise


def _pack_name(number: int) -> str:
    # No file has this name: in theirs, hexadecimal digits follow the `=`.
    return f"=pack-{number}.zip"


def _unpack(pack: Path, wanted: dict[str, int], dest: Path) -> None:
    """Extract files from a pack. Their paths and sizes are the manifest's, and not the pack's."""
    try:
        with zipfile.ZipFile(pack) as archive:
            for path, size in wanted.items():
                info = archive.getinfo(path)
                if info.compress_type != zipfile.ZIP_STORED or info.file_size != size:
                    raise IntegrityError(f"{path!r} in {pack.name} is not what was stored there.")
                with archive.open(info) as source, target_path(dest, path).open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{pack.name} is damaged: {error}") from error
