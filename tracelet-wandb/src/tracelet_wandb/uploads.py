"""From a sealed artifact to a W&B artifact: files, references, description, metadata, and the manifest beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import wandb
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
from wandb.sdk.lib.paths import LogicalPath

from tracelet.plugin import MANIFEST_NAME, ArtifactFile, FileChanged, Manifest, SealedArtifact, hash_blob, redact
from tracelet_wandb.names import artifact_type, file_names, reference_names
from tracelet_wandb.notes import metadata_of

__all__ = ["build"]


def build(sealed: SealedArtifact, label: str | None, note: Callable[[str], None], folder: Path) -> wandb.Artifact:
    """Return the artifact, its files copied aside by the SDK and each copy told to ``note``.

    ``folder`` is an empty one for what is made on the way. Raises :class:`~tracelet.plugin.FileChanged` where a file
    is not the one that was hashed, or is gone.
    """
    manifest = sealed.manifest
    artifact = wandb.Artifact(
        manifest.name,
        artifact_type(manifest),
        description=manifest.description,
        metadata=metadata_of(manifest, label),
    )
    names = file_names(manifest)
    for file in manifest.payload:
        note(_add_file(artifact, file, names[file.artifact_path], sealed))
    _add_references(artifact, manifest)
    sidecar = folder / MANIFEST_NAME
    sidecar.write_text(manifest.to_json(), encoding="utf-8")
    note(str(artifact.add_file(str(sidecar), MANIFEST_NAME, policy="mutable").local_path))
    return artifact


def _add_file(artifact: wandb.Artifact, file: ArtifactFile, name: str, sealed: SealedArtifact) -> str:
    """Add a file; return where the SDK has its copy of it."""
    source, stamp = sealed.sources[file.artifact_path], sealed.stamps.get(file.artifact_path)
    try:
        # "mutable" has the SDK copy the file aside: what it then hashes and sends cannot change under it.
        copy = str(artifact.add_file(str(source), name, policy="mutable").local_path)
        same = stamp is None or (not stamp.racy and stamp.matches(source.stat()))
    except (FileNotFoundError, ValueError) as error:
        if source.is_file():
            raise
        raise FileChanged(f"{str(source)!r} is gone.") from error
    if not same:
        same = hash_blob(Path(copy)) == file.sha256
    if not same:
        Path(copy).unlink()
        raise FileChanged(f"{str(source)!r} is not the file that was hashed any more.")
    return copy


def _add_references(artifact: wandb.Artifact, manifest: Manifest) -> None:
    """Note the references as W&B's own.

    ``add_reference`` looks at the place itself: it needs boto3 for ``s3:`` whatever is asked for, lists what is under
    a prefix, and refuses a ``file:`` that is not there. This entry is the one that it makes with ``checksum=False``.
    """
    for reference, name in zip(manifest.references, reference_names(manifest), strict=True):
        uri = redact(reference.uri)
        artifact.manifest.add_entry(
            ArtifactManifestEntry(
                path=LogicalPath(name),
                digest=reference.etag or uri,
                ref=uri,
                size=reference.size_bytes,
                extra=_extra(reference.etag),
            )
        )


def _extra(etag: str | None) -> dict[str, str]:
    return {"etag": etag} if etag else {}
