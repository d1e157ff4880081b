"""The content of one version on its way: brought from the source, verified, and sealed for the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactReference
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.backend_spec import ModelInfo
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.reading.content import load_entry
from tracelet.core.sealing.input_example import read_example
from tracelet.core.sealing.serialise import render_model
from tracelet.core.storage.blob_store import LocalStore, blob_key
from tracelet.core.transfer.side import Side
from tracelet.exceptions import ArtifactError, BackendUnavailable, TraceletError, UnsafeContent

__all__ = ["Needed", "needed", "rendered_for", "sealed_for"]

_MB = 1_000_000


@attrs.frozen
class Needed:
    """What a target needs of a version."""

    #: Paths of the files that go into the target's store, or are in it.
    large: frozenset[str]
    #: The files whose bytes are to be brought.
    files: tuple[ArtifactFile, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes to bring."""
        return sum(file.size_bytes for file in self.files)


def needed(manifest: Manifest, target: Side) -> Needed:
    """Return what a target needs of a version. A large file that its store has already is not brought."""
    force = manifest.metadata.get("force_reference")
    stored = {file.artifact_path for file in manifest.stored}
    every = (*manifest.payload, *manifest.stored)
    if force is False or target.limit_mb is None:
        return Needed(frozenset(), every)
    limit = -1.0 if force is True else target.limit_mb * _MB
    # What was large where it was logged is large here, too: it may be in a store that both sides can read.
    large = [file for file in every if file.artifact_path in stored or file.size_bytes > limit]
    there = {file.artifact_path for file in large if target.store.has(str(file.sha256), file.size_bytes)}
    return Needed(
        frozenset(file.artifact_path for file in large),
        tuple(file for file in every if file.artifact_path not in there),
    )


def sealed_for(target: Side, manifest: Manifest, wanted: Needed, folder: Path) -> SealedArtifact:
    """Return a version as the target gets it: the same content, with its large files in the target's store.

    ``folder`` has the files that were needed, verified.
    """
    brought = {file.artifact_path for file in wanted.files}
    references = {
        file.artifact_path: _kept(target, file, manifest.put_id, folder if file.artifact_path in brought else None)
        for file in (*manifest.payload, *manifest.stored)
        if file.artifact_path in wanted.large
    }
    sealed = _with_large(manifest, references)
    return SealedArtifact(sealed, {file.artifact_path: folder / file.artifact_path for file in sealed.payload})


def _kept(target: Side, file: ArtifactFile, put_id: str, folder: Path | None) -> ArtifactReference:
    """Bring a large file to the target's store, and return the reference to it."""
    sha256, store = str(file.sha256), target.store
    # What is noted before it is looked for is not cleared away in between.
    store.record(sha256, put_id)
    if folder is None:
        if not store.has(sha256, file.size_bytes):
            raise BackendUnavailable(
                f"{store.uri(sha256)} was cleared away in this moment: do it again, which brings it."
            )
    elif isinstance(store, LocalStore):
        store.adopt(folder / file.artifact_path, sha256)
    else:
        store.put(folder / file.artifact_path, sha256)
    # Relative to the tracelet directory, which may be anywhere tomorrow.
    uri = f"objects/{blob_key(sha256)}" if target.is_carried else store.uri(sha256)
    return ArtifactReference(
        uri, file.size_bytes, file.description, sha256=sha256, path=file.artifact_path, extra=file.extra
    )


def _with_large(manifest: Manifest, references: Mapping[str, ArtifactReference]) -> Manifest:
    """Return the same content with these files in a store, and all others with the backend."""
    made = {
        *(item.artifact_path for item in manifest.objects),
        *(file.artifact_path for model in manifest.models for file in model.files),
    }
    plain = (*manifest.files, *(file for file in manifest.stored if file.artifact_path not in made))
    return attrs.evolve(
        manifest,
        files=tuple(file for file in plain if file.artifact_path not in references),
        references=(*(one for one in manifest.references if one.path is None), *references.values()),
    )


def rendered_for(
    target: Side, artifact: LoggedArtifact, files: Path, scratch: Path, trust: bool
) -> tuple[Path | None, str]:
    """Return the folder of the target's own form of the models, which are loaded for it; and what to say where one has none.

    ``files`` has the files that were brought, and ``scratch`` is an empty folder for that form.
    """
    made: dict[str, Path] = {}
    why = ""
    for model in artifact.models:
        try:
            made |= _render(target, artifact, model, files, scratch, trust)
        except UnsafeContent:
            why = (
                f"the model {model.name!r} is there as files: with trust it is loaded, and made {target.backend}'s own "
                "(what is there is skipped: delete it there first)"
            )
        except TraceletError as error:
            why = f"the model {model.name!r} is there as files, for it cannot be loaded here: {error}"
    return made.get(target.backend), why


def _render(
    target: Side, artifact: LoggedArtifact, model: ArtifactModel, files: Path, scratch: Path, trust: bool
) -> dict[str, Path]:
    own = {file.artifact_path: files / file.artifact_path for file in model.files}
    if not all(path.exists() for path in own.values()):
        raise ArtifactError("its files are in the store, for they are too large for the backend.")
    live = load_entry(registry().serializers, model, files, artifact.name, trust)
    info = ModelInfo(
        model.name,
        str(model.framework),
        artifact.name,
        artifact.type,
        model.description or artifact.description,
        artifact.metadata,
        read_example(files / "models" / model.name),
        own,
    )
    return render_model(target.spec, live, info, scratch)
