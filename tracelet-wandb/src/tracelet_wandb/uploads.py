"""Make a W&B artifact of a sealed artifact: files, references, description, metadata, and the manifest beside them."""

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


def build(
    sealed: SealedArtifact, label: str | None, experiment: str, note: Callable[[str], None], folder: Path
) -> wandb.Artifact:
    """Return the artifact. The SDK copies each file, and ``note`` is called with the path of each copy.

    ``folder`` is empty, for temporary files. Raises :class:`~tracelet.plugin.FileChanged` where a file has changed since it
    was hashed, or is gone.
    """
    manifest = sealed.manifest
    artifact = wandb.Artifact(
        manifest.name,
        artifact_type(manifest),
        description=manifest.description,
        metadata=metadata_of(manifest, label, experiment),
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
        # With "mutable" the SDK makes a copy: what it hashes and sends cannot change meanwhile.
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
    """Add the references as W&B's own.

    ``add_reference`` would look at the place: it needs boto3 for ``s3:``, lists what is under a prefix, and refuses a
    ``file:`` that is not there. This adds the same entries as it does with ``checksum=False``.
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
