"""The second step of sealing: hash a draft's files, bring large ones to the store, and freeze the manifest."""

from __future__ import annotations

from pathlib import Path

import attrs

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactObject, ArtifactReference
from tracelet.core.plugins.store import Store
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.sealing.draft import Draft
from tracelet.core.system.files import Stamp, hash_files
from tracelet.exceptions import ArtifactError, BackendUnavailable

__all__ = ["finish"]

_MB = 1_000_000


def finish(draft: Draft, *, store: Store, limit_mb: float | None) -> SealedArtifact:
    """Hash a draft's files, bring large ones to the store, and freeze the manifest.

    A file of more than ``limit_mb`` megabytes becomes a reference. The metadata's ``force_reference`` goes before it:
    True makes a reference of every file, False of none; a limit of None makes none, too. Raises
    :class:`ArtifactError` where a file is gone, and :class:`BackendUnavailable` where the store cannot take a large one.
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
    held = draft.sources
    if large:
        held = {file.artifact_path: draft.sources[file.artifact_path] for file in manifest.payload}
    return SealedArtifact(manifest, held, stamps)


def _keep(store: Store, source: Path, sha256: str, known: Stamp | None, put_id: str) -> None:
    try:
        # What is noted before it is looked for is not cleared away in between.
        store.record(sha256, put_id)
        store.put(source, sha256, known)
    except OSError as error:
        raise BackendUnavailable(
            f"the store does not take {str(source)!r}: {error}. Make room there, or set TRACELET_STORE to another place."
        ) from error


def _hash_all(draft: Draft) -> dict[str, tuple[str, Stamp]]:
    try:
        return dict(
            zip(draft.sources, hash_files(list(draft.sources.values()), draft.manifest.held_bytes), strict=True)
        )
    except OSError as error:
        raise ArtifactError(f"{str(error.filename)!r} cannot be read: {error.strerror or error}.") from error
