"""The first step of sealing: write objects and models as files, look at the user's files, and settle the content.

It does not hash: a caller that does not wait for that leaves :func:`tracelet.core.sealing.finish.finish` to another thread.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Collection
from pathlib import Path

import attrs

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.plain_values import plain_metadata
from tracelet.core.plugins.backend_spec import BackendSpec, ModelInfo
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.specs import SpecSet
from tracelet.core.sealing.draft import Draft
from tracelet.core.sealing.serialise import render_model, write_model, write_object
from tracelet.core.system.files import copy_file, make_folder
from tracelet.core.system.places import Places
from tracelet.exceptions import ArtifactError

__all__ = ["prepare"]


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

    ``staging`` is a folder of this artifact's own. With ``snapshot`` every file is copied there, or linked where
    ``take`` says that the file is Tracelet's; without it the user's files are used where they are. ``targets`` are the
    backends that may render models. Raises :class:`ArtifactError` for what cannot be stored, and ``OSError`` where
    ``staging`` cannot be written.
    """
    metadata = plain_metadata(artifact.metadata)
    force = metadata.get("force_reference")
    if force is not None and not isinstance(force, bool):
        raise ArtifactError(f"metadata['force_reference'] is {force!r}: say True or False.")
    if snapshot or artifact._objects or artifact._models:
        make_folder(staging)
    sources: dict[str, str] = {}
    objects = []
    for live in artifact._objects.values():
        stored, written = write_object(live.entry, live.value, staging, serializers, choose=live.open)
        objects.append(stored)
        sources.update(_texts(written))
    models = []
    rendered: dict[str, Path] = {}
    for model in artifact._models.values():
        entry, written = write_model(model.entry, model.model, model.input_example, staging, serializers)
        models.append(entry)
        sources.update(_texts(written))
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
            rendered.update(render_model(target, model.model, info, staging))
    owned = tuple(sources)
    files = []
    for number, (file, source) in enumerate(artifact._sources.values()):
        place = staging / "files" / str(number)
        files.append(_look(file, Path(source), place if snapshot else None, take=take))
        sources[file.artifact_path] = str(place) if snapshot else source
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
    return Draft(manifest, Places(sources), tuple(sources) if snapshot else owned, rendered, staging)


def _texts(written: dict[str, Path]) -> dict[str, str]:
    return {path: str(place) for path, place in written.items()}


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
                    return _sized(file, status.st_size)
            return _sized(file, copy_file(source, place, durable=False).size_bytes)
    except OSError as error:
        if error.filename != str(source):
            raise  # it is staging that fails
        raise ArtifactError(f"{str(source)!r} cannot be read any more: {error.strerror or error}.") from error
    return _sized(file, status.st_size)


def _sized(file: ArtifactFile, size_bytes: int) -> ArtifactFile:
    return file if file.size_bytes == size_bytes else attrs.evolve(file, size_bytes=size_bytes)
