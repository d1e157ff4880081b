"""Artifacts to store, sealed as core seals them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.sealing.finish import finish
from tracelet.core.sealing.prepare import prepare
from tracelet.core.storage.blob_store import LocalStore

__all__ = ["ODD_PATHS", "Samples"]

#: Paths that the path rule allows and that a URL, a shell or a careless client mangles.
ODD_PATHS = (
    "plain.txt",
    "a/b/c/d/deep.bin",
    "a/b.bin",
    "with space/in the name.txt",
    " leading and trailing ",
    "ünïcödé/файл/文件.txt",
    "e\u0301 decomposed and \u00e9 composed",
    "hash#1.txt",
    "what?.txt",
    "100%.txt",
    "%2e%2e%2Fencoded.txt",
    "a&b=c+d;e,f.txt",
    "quotes'and\"double`.txt",
    "star*[x]{y}$HOME~",
    "brackets<>|:.txt",
    ".hidden",
    ".git/config",
    "..double",
    "trailing.dot.",
    "-dash",
    "CaseOne.txt",
    "caseone.txt",
    "no_suffix",
    "sub/tracelet.json",
    "long/" + "x" * 180,
)


class Samples:
    """Makes sealed artifacts in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def seal(
        self,
        name: str,
        files: Mapping[str, bytes] | None = None,
        *,
        type: ArtifactType = ArtifactType.CUSTOM,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        objects: Mapping[str, Any] | None = None,
        references: Sequence[tuple[str, int | None, str | None]] = (),
        inputs: Sequence[str] = ("0" * 64,),
    ) -> SealedArtifact:
        """Return an artifact with these bytes at these paths; each call gives it a put-id of its own."""
        put_id = uuid.uuid4().hex
        artifact = TraceletArtifact(name, type, description)
        artifact.metadata.update(metadata or {})
        for number, (path, content) in enumerate((files or {}).items()):
            source = self._folder / put_id / f"{number}.bin"
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(content)
            artifact.add_file(source, path, f"the file {path}" if number == 0 else None)
        for key, value in (objects or {}).items():
            artifact.add_object(value, key, description="an object")
        for uri, size, note in references:
            artifact.add_reference(uri, size, note)
        draft = prepare(
            artifact,
            put_id=put_id,
            run_id=uuid.uuid4().hex,
            inputs=tuple(inputs),
            staging=self._folder / f"{put_id}-staging",
            serializers=registry().serializers,
            targets=(),
            snapshot=False,
        )
        return finish(draft, store=LocalStore(self._folder), limit_mb=None)
