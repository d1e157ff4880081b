"""From a stored version to verified files, objects and models."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import attrs

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.store import Store
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.storage.paths import physical_name, target_path
from tracelet.core.system.files import check_room, hash_file, hash_files, make_folder
from tracelet.core.system.links import check_way
from tracelet.core.system.messages import sentence
from tracelet.core.system.threads import beside
from tracelet.core.system.uris import filesystem, reaching, reads_this_machine, stat_uri
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    UnsafeContent,
)

if TYPE_CHECKING:
    from tracelet.core.plugins.serializers import SerializerSpec
    from tracelet.core.plugins.specs import SpecSet

__all__ = ["StoredContent", "load_entry"]

#: How many files are hashed at once: memory stays flat, however many there are.
_AT_ONCE = 1000


@attrs.frozen
class StoredContent:
    """Gets the content of one stored version from its backend and from the configured store."""

    stored: StoredArtifact
    backend: str
    #: ``request(name, size_bytes, **arguments)`` on the backend's reading lane.
    request: Callable[..., Any]
    store: Callable[[], Store]
    serializers: Callable[[], SpecSet[SerializerSpec]]
    #: Where downloads go that are given no folder.
    downloads: Path

    def download(
        self, artifact: LoggedArtifact, dest: Path | None, paths: Collection[str] | None, references: bool, trust: bool
    ) -> Path:
        """See :meth:`LoggedArtifact.download`."""
        folder = Path(os.path.abspath(dest)) if dest is not None else self._own_folder()
        try:
            if dest is None:
                make_folder(self.downloads.parent, shared=False)
                make_folder(folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ArtifactError(f"{str(folder)!r} is a file: give the path of a folder.") from error
        except OSError as error:
            raise ArtifactError(f"{str(folder)!r} cannot be made: {error}. Give the path of another folder.") from error
        if dest is None:
            os.utime(folder)  # what is used stays: gc goes by it
        held = {file.artifact_path: file for file in self.stored.manifest.payload}
        apart = {file.artifact_path: file for file in self.stored.manifest.stored}
        wanted = _selected({**held, **apart} if apart else held, paths, artifact.name)
        missing = [file for file in wanted if not _is_there(folder / file.artifact_path, file)]
        self._bring(folder, [file for file in missing if file.artifact_path in held], self._fetch, self._mend)
        self._bring(
            folder, [file for file in missing if file.artifact_path in apart], self._fetch_stored, self._mend_store
        )
        if references:
            self._bring_references(folder, trust)
        return folder

    def glance(self, artifact: LoggedArtifact, paths: Collection[str], seconds: float) -> Path:
        """See :class:`~tracelet.core.artifacts.logged.ContentSource`. What comes later is there for the next glance."""
        hurried = attrs.evolve(self, request=partial(self.request, patience=seconds / 2))
        try:
            return beside(lambda: hurried.download(artifact, None, paths, False, False)).result(seconds)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"{self.backend} has not given them within {seconds:g} seconds: look again later, or use download().",
                backend=self.backend,
            ) from error

    def load(self, artifact: LoggedArtifact, entry: ArtifactObject | ArtifactModel, trust: bool) -> Any:
        """See :meth:`LoggedArtifact.load_object` and :meth:`LoggedArtifact.load_model`."""
        spec_set = self.serializers()
        _trusted_form(spec_set, entry, trust)  # before anything is fetched
        made = entry.files if isinstance(entry, ArtifactModel) else (entry,)
        paths = [str(file.artifact_path) for file in made]
        return load_entry(spec_set, entry, self.download(artifact, None, paths, False, trust), artifact.name, trust)

    def _own_folder(self) -> Path:
        manifest = self.stored.manifest
        return check_way(self.downloads, self.downloads / f"{manifest.name}-{manifest.digest[:16]}")

    def _bring(
        self,
        folder: Path,
        files: list[ArtifactFile],
        fetch: Callable[[list[ArtifactFile], Path], None],
        mend: Callable[[ArtifactFile], str],
    ) -> None:
        """Fetch into a folder aside, verify there, and only then give the files their names.

        What came damaged is fetched once more, for that may have happened on the way.
        """
        if not files:
            return
        # First of all, so that what cannot be put where it belongs is not fetched.
        for file in files:
            target_path(folder, file.artifact_path)
        aside = folder / f".tracelet-{uuid.uuid4().hex}"
        try:
            aside.mkdir(mode=0o700)
            wrong: dict[str, str | None] = dict.fromkeys(file.artifact_path for file in files)
            with contextlib.suppress(IntegrityError):  # the backend, or its client, has found out by itself
                wrong = self._fetched(files, aside / "first", fetch)
            damaged = [file for file in files if file.artifact_path in wrong]
            again = self._fetched(damaged, aside / "again", fetch) if damaged else {}
            for file in damaged:
                if file.artifact_path in again:
                    raise _damage(file, wrong[file.artifact_path], again[file.artifact_path], mend)
            for file in files:
                came = aside / ("again" if file.artifact_path in wrong else "first") / file.artifact_path
                came.replace(folder / file.artifact_path)
        except OSError as error:
            raise ArtifactError(
                f"{str(folder)!r} does not take the files: {error}. Free space there, or give another folder."
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _fetched(
        self, files: list[ArtifactFile], folder: Path, fetch: Callable[[list[ArtifactFile], Path], None]
    ) -> dict[str, str | None]:
        """Fetch files into a new folder; return the sha256 of each that came as other bytes, by path."""
        folder.mkdir()
        try:
            fetch(files, folder)
        except BackendError as error:
            check_room(folder, error.__cause__)  # or the backend is not at fault
            raise
        wrong: dict[str, str | None] = {}
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            places = [folder / file.artifact_path for file in some]
            for place, file in zip(places, some, strict=True):
                self._check_given(place, file)
            hashed = hash_files(places, sum(file.size_bytes for file in some))
            wrong |= {
                file.artifact_path: sha256
                for file, (sha256, _) in zip(some, hashed, strict=True)
                if sha256 != file.sha256
            }
        return wrong

    def _check_given(self, fetched: Path, file: ArtifactFile) -> None:
        if fetched.is_symlink() or not fetched.is_file():
            raise BackendError(
                f"{self.backend} did not give {file.artifact_path!r}. Get it from another backend.",
                backend=self.backend,
                retryable=False,
            )

    def _mend(self, file: ArtifactFile) -> str:
        way = self.request("remedy", stored=self.stored, path=file.artifact_path)
        return f"{self.backend} holds them. {way}, or get it from another backend."

    def _mend_store(self, file: ArtifactFile) -> str:
        return f"The store holds them: delete {self.store().uri(str(file.sha256))} and log the same content again."

    def _fetch(self, files: list[ArtifactFile], aside: Path) -> None:
        size = sum(file.size_bytes for file in files)
        self.request("fetch", size, stored=self.stored, paths=tuple(file.artifact_path for file in files), dest=aside)

    def _fetch_stored(self, files: list[ArtifactFile], aside: Path) -> None:
        store = self.store()
        for file in files:
            assert file.sha256 is not None
            try:
                store.fetch(file.sha256, target_path(aside, file.artifact_path))
            except ArtifactNotFound as error:
                (reference,) = (ref for ref in self.stored.manifest.references if ref.path == file.artifact_path)
                raise ArtifactNotFound(_elsewhere(reference, store.uri(file.sha256))) from error

    def _bring_references(self, folder: Path, trust: bool) -> None:
        manifest = self.stored.manifest
        taken = {file.artifact_path for file in (*manifest.payload, *manifest.stored)}
        for reference in manifest.references:
            if reference.path is not None:
                continue
            if reads_this_machine(reference.uri) and not trust:
                raise UnsafeContent(
                    f"{reference.uri} would copy a file of this machine because a manifest says so: say trust=True "
                    "if you trust whoever logged it."
                )
            path = _free_path(reference.uri, taken)
            taken.add(path)
            _fetch_reference(reference, target_path(folder, path))


def load_entry(
    serializers: SpecSet[SerializerSpec],
    entry: ArtifactObject | ArtifactModel,
    folder: Path,
    artifact: str,
    trust: bool,
) -> Any:
    """Load an object or a model of an artifact of that name from a folder that has its files.

    Raises :class:`UnsafeContent` where that runs code and ``trust`` is not True, and :class:`ArtifactError` where it fails.
    """
    spec = _trusted_form(serializers, entry, trust)
    inside = f"models/{entry.name}" if isinstance(entry, ArtifactModel) else str(entry.artifact_path)
    try:
        return call_plugin(spec.name, spec.load, folder / inside, trust)
    except BackendError as error:
        raise ArtifactError(
            f"{entry.name!r} of {artifact!r} cannot be loaded: {sentence(error)} Look at its files with download()."
            f"{serializers.whose(spec.name)}"
        ) from error.__cause__


def _trusted_form(
    serializers: SpecSet[SerializerSpec], entry: ArtifactObject | ArtifactModel, trust: bool
) -> SerializerSpec:
    from tracelet.core.plugins.forms import model_serializer, object_form

    spec = (
        model_serializer(serializers, str(entry.framework))
        if isinstance(entry, ArtifactModel)
        else object_form(serializers, entry.serializer)
    )
    if not spec.safe and not trust:
        raise UnsafeContent(
            f"{entry.name!r} is stored as {spec.name}, and loading that runs code it brings along: "
            "say trust=True if you trust whoever logged it."
        )
    return spec


def _damage(
    file: ArtifactFile, first: str | None, again: str | None, mend: Callable[[ArtifactFile], str]
) -> IntegrityError:
    """Return the error for a file that came damaged twice: the same both times is what is stored, and else the way is at fault."""
    said = f"{file.artifact_path!r} has sha256 {again}, and the manifest says {file.sha256}: "
    if first == again:
        return IntegrityError(f"{said}the stored bytes were changed. {mend(file)}")
    return IntegrityError(
        f"{said}it came twice, and was other bytes each time, so that it is damaged on its way here. What is stored may be "
        "whole: try again later, or from another machine or network."
    )


def _free_path(uri: str, taken: Collection[str]) -> str:
    """Return ``references/<the last part of the URI>``, with a number before it where that is taken."""
    leaf = physical_name(urlsplit(uri).path.rstrip("/").rpartition("/")[2] or "reference")
    names = (leaf, *(f"{count}-{leaf}" for count in range(len(taken))))
    return next(path for path in (f"references/{name}" for name in names) if path not in taken)


def _fetch_reference(reference: ArtifactReference, target: Path) -> None:
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with reaching(reference.uri):
            if reference.etag is not None and stat_uri(reference.uri).etag != reference.etag:
                raise IntegrityError(_other_content(reference))
            fs, path = filesystem(reference.uri)
            for _ in range(2):  # it may be damaged on its way
                fs.get_file(path, str(partial))
                sha256, seen = hash_file(partial)
                if reference.size_bytes in {None, seen.size_bytes} and reference.sha256 in {None, sha256}:
                    partial.replace(target)
                    return
            raise IntegrityError(_other_content(reference))
    finally:
        partial.unlink(missing_ok=True)


def _other_content(reference: ArtifactReference) -> str:
    return f"{reference.uri} holds other content now than when it was logged: get that content back, or log it anew."


def _selected(files: dict[str, ArtifactFile], paths: Collection[str] | None, name: str) -> Iterable[ArtifactFile]:
    """The files at these paths; a folder's path stands for all that is in it."""
    if paths is None:
        return list(files.values())
    found: dict[str, ArtifactFile] = {}
    for path in paths:
        if path in files:
            found[path] = files[path]
            continue
        inside = {key: file for key, file in files.items() if key.startswith(path.rstrip("/") + "/")}
        if not inside:
            near = difflib.get_close_matches(path, files, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(files)[:10]) or 'no files'}."
            raise ArtifactNotFound(f"{name!r} has no file {path!r}; {hint}")
        found.update(inside)
    return list(found.values())


def _is_there(target: Path, file: ArtifactFile) -> bool:
    try:
        if target.is_symlink() or target.stat().st_size != file.size_bytes:
            return False
        return hash_file(target)[0] == file.sha256
    except OSError:
        return False


def _elsewhere(reference: ArtifactReference, here: str) -> str:
    if reference.uri == here:
        return (
            f"the bytes of {reference.path!r} are gone from the store: there is no {here}. Log the same content again, "
            "which brings them back."
        )
    place = urlsplit(reference.uri)
    where = f"on {place.netloc} at {unquote(place.path)}" if place.scheme == "file" else f"at {reference.uri}"
    return (
        f"the bytes of {reference.path!r} were too large for the backend, and are {where}; they are not at {here}. "
        "Set TRACELET_STORE to the store they were logged to, one that both machines can read."
    )
