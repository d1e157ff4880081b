"""From a builder to a sealed artifact: objects and models become files, files are hashed, large ones stored.

It takes two steps, so that a caller who does not want to wait for the hashing need not:
:func:`prepare` settles what the content is, :func:`finish` hashes it and freezes the manifest.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.plain import plain_metadata
from tracelet.core.plugins.backend_spec import BackendSpec, ModelInfo
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.forms import model_form, object_form, unfit
from tracelet.core.plugins.registry import SpecSet
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.sealing.draft import Draft
from tracelet.core.sealing.input_example import write_example
from tracelet.core.storage.blob_store import Store
from tracelet.core.system.files import Stamp, check_room, copy_file, hash_file, make_folder
from tracelet.core.system.saves import saving
from tracelet.exceptions import ArtifactError, BackendError, BackendUnavailable, TraceletError

__all__ = ["finish", "prepare"]

_LOG = logging.getLogger("tracelet.sealing")
_MB = 1_000_000


def prepare(
    artifact: TraceletArtifact,
    *,
    put_id: str,
    run_id: str | None,
    inputs: Collection[str],
    staging: Path,
    serializers: SpecSet[SerializerSpec],
    targets: Collection[BackendSpec],
    snapshot: bool,
    take: bool = False,
) -> Draft:
    """Settle what an artifact is: serialise its objects and models once, render the models, look at its files.

    With ``snapshot`` every file is copied to ``staging``, a folder of this artifact's own, or linked there where
    ``take`` says that it is Tracelet's; without it the user's files are used where they are. Raises
    :class:`ArtifactError` for what cannot be stored, and ``OSError`` where ``staging`` cannot be written.
    """
    metadata = plain_metadata(artifact.metadata)
    force = metadata.get("force_reference")
    if force is not None and not isinstance(force, bool):
        raise ArtifactError(f"metadata['force_reference'] is {force!r}: say True or False.")
    make_folder(staging)
    sources: dict[str, Path] = {}
    objects = []
    for live in artifact._objects.values():
        spec = object_form(serializers, live.entry.serializer)
        path = f"objects/{live.entry.name}{spec.suffix}"
        sources[path] = staging / path
        make_folder(sources[path].parent)
        _dump(serializers, spec, live.value, sources[path], f"object {live.entry.name!r}")
        objects.append(attrs.evolve(live.entry, artifact_path=path, size_bytes=sources[path].stat().st_size))
    models = []
    rendered: dict[str, Path] = {}
    for model in artifact._models.values():
        entry = _prepare_model(model.entry, model.model, model.input_example, staging, serializers)
        models.append(entry)
        written = {file.artifact_path: staging / file.artifact_path for file in entry.files}
        sources.update(written)
        info = ModelInfo(
            entry.name,
            entry.framework or "",
            artifact.name,
            artifact.type,
            entry.description or artifact.description,
            metadata,
            model.input_example,
            written,
        )
        for target in targets:
            rendered.update(_render(target, model.model, info, staging))
    owned = tuple(sources)
    files = []
    for number, (file, source) in enumerate(artifact._sources.values()):
        place = staging / "files" / str(number)
        files.append(_look(file, source, place if snapshot else None, take=take))
        sources[file.artifact_path] = place if snapshot else source
    manifest = Manifest(
        name=artifact.name,
        type=artifact.type,
        put_id=put_id,
        created_at=time.time(),
        run_id=run_id,
        description=artifact.description,
        metadata=metadata,
        files=tuple(files),
        objects=tuple(objects),
        models=tuple(models),
        references=tuple(artifact.references),
        inputs=tuple(sorted(inputs)),
    )
    return Draft(manifest, sources, tuple(sources) if snapshot else owned, rendered, staging)


def _dump(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, value: Any, path: Path, what: str) -> None:
    try:
        # A framework's own way to write a model may be what a detector watches.
        with saving(path):
            call_plugin(spec.name, spec.dump, value, path)
    except BackendError as error:
        check_room(path.parent, error.__cause__)  # or what was to be stored is not at fault
        raise ArtifactError(unfit(serializers, spec, what, error.__cause__ or error)) from error.__cause__
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        raise ArtifactError(unfit(serializers, spec, what, "its serializer wrote nothing"))
    # What else has a name for a file can change it, and what is stored with it.
    folder = spec.suffix is None
    if not all(_is_of_its_own(one, folder) for one in (path, *(path.rglob("*") if folder else ()))):
        wrong = "its serializer wrote a link, or what is no file, and must write files of their own"
        raise ArtifactError(unfit(serializers, spec, what, wrong))


def _is_of_its_own(path: Path, may_be_folder: bool) -> bool:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return may_be_folder
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _prepare_model(
    entry: ArtifactModel, model: Any, example: Any, staging: Path, serializers: SpecSet[SerializerSpec]
) -> ArtifactModel:
    spec = model_form(serializers, entry.framework, model)
    folder = staging / "models" / entry.name
    make_folder(folder)
    _dump(serializers, spec, model, folder, f"model {entry.name!r}")
    if example is not None:
        write_example(example, folder, entry.name)
    made = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tuple(ArtifactFile(path.relative_to(staging).as_posix(), path.stat().st_size) for path in made)
    return attrs.evolve(entry, framework=spec.name, files=files)


def _render(target: BackendSpec, model: Any, info: ModelInfo, staging: Path) -> dict[str, Path]:
    """The tracker's own form of a model is a convenience: without it the artifact is still whole."""
    if target.render is None:
        return {}
    folder = staging / "rendered" / target.name
    make_folder(folder / info.name)
    try:
        with saving(folder):
            call_plugin(target.name, target.render, model, info, folder / info.name)
    except TraceletError as error:
        _LOG.warning("%s has no form of its own for the model %r: %s", target.name, info.name, error)
        shutil.rmtree(folder / info.name, ignore_errors=True)
        return {}
    return {target.name: folder}


def _look(file: ArtifactFile, source: Path, place: Path | None, *, take: bool) -> ArtifactFile:
    try:
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{str(source)!r} is not a regular file any more: add the file itself.")
        if place is not None:
            make_folder(place.parent)
            if take:
                with contextlib.suppress(OSError):  # a filesystem without links
                    os.link(source, place)
                    return attrs.evolve(file, size_bytes=status.st_size)
            return attrs.evolve(file, size_bytes=copy_file(source, place, durable=False).size_bytes)
    except OSError as error:
        if error.filename != str(source):
            raise  # it is staging that fails
        raise ArtifactError(f"{str(source)!r} cannot be read any more: {error.strerror or error}.") from error
    return attrs.evolve(file, size_bytes=status.st_size)


def finish(draft: Draft, *, store: Store, limit_mb: float | None) -> SealedArtifact:
    """Hash a draft's files, bring large ones to the store, and freeze the manifest.

    A file over ``limit_mb`` megabytes becomes a reference, or every file where the metadata's
    ``force_reference`` is True; None, or a ``force_reference`` that is False, lets none become one. Raises
    :class:`ArtifactError` where a file is not there any more, and :class:`BackendError` where the store does
    not take a large one.
    """
    before = draft.manifest
    hashed = _hash_all(draft)
    force = before.metadata.get("force_reference")
    limit = -1.0 if force is True else None if force is False or limit_mb is None else limit_mb * _MB
    large: list[ArtifactReference] = []
    stamps: dict[str, Stamp] = {}

    def entry(file: ArtifactFile) -> ArtifactFile:
        sha256, seen = hashed[file.artifact_path]
        known = None if file.artifact_path in draft.owned else seen
        if limit is not None and seen.size_bytes > limit:
            _keep(store, draft.sources[file.artifact_path], sha256, known, before.put_id)
            large.append(
                ArtifactReference(
                    store.uri(sha256),
                    seen.size_bytes,
                    file.description,
                    sha256=sha256,
                    path=file.artifact_path,
                    extra=file.extra,
                )
            )
        elif known is not None:
            stamps[file.artifact_path] = known
        return attrs.evolve(file, sha256=sha256, size_bytes=seen.size_bytes)

    def settled(item: ArtifactObject) -> ArtifactObject:
        assert item.artifact_path is not None
        file = entry(ArtifactFile(item.artifact_path, item.size_bytes or 0))
        return attrs.evolve(item, sha256=file.sha256, size_bytes=file.size_bytes)

    files = [entry(file) for file in before.files]
    objects = tuple(settled(item) for item in before.objects)
    models = tuple(attrs.evolve(model, files=tuple(entry(file) for file in model.files)) for model in before.models)
    elsewhere = {ref.path for ref in large}
    manifest = attrs.evolve(
        before,
        files=tuple(file for file in files if file.artifact_path not in elsewhere),
        objects=objects,
        models=models,
        references=(*before.references, *large),
    )
    held = {file.artifact_path for file in manifest.payload}
    return SealedArtifact(manifest, {path: draft.sources[path] for path in held}, stamps)


def _keep(store: Store, source: Path, sha256: str, known: Stamp | None, put_id: str) -> None:
    try:
        store.put(source, sha256, known)
        store.record(sha256, put_id)
    except OSError as error:
        raise BackendUnavailable(
            f"the store does not take {str(source)!r}: {error}. Make room there, or set TRACELET_STORE to another place."
        ) from error


def _hash_all(draft: Draft) -> dict[str, tuple[str, Stamp]]:
    def one(path: str) -> tuple[str, Stamp]:
        try:
            return hash_file(draft.sources[path])
        except OSError as error:
            raise ArtifactError(f"{str(draft.sources[path])!r} cannot be read: {error.strerror or error}.") from error

    paths = list(draft.sources)
    if len(paths) == 1:
        return {paths[0]: one(paths[0])}
    try:
        with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return dict(zip(paths, pool.map(one, paths), strict=True))
    except RuntimeError:  # the interpreter is ending, and gives out no more threads
        return {path: one(path) for path in paths}
