"""The record of one version: a tag that says where it is, and holds the manifest where that is short enough."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import Manifest
from tracelet_mlflow.files import PackRule

__all__ = ["Record", "digest_of"]

#: MLflow cuts a longer value than 8,000 characters off without a word.
_LONGEST = 7900
#: Bytes of a manifest that is unpacked from a record; a record of the longest kind holds less than a tenth.
_LARGEST = 10_000_000


@attrs.frozen(kw_only=True)
class Record:
    """What a tag of the index says about a version."""

    digest: str
    put_id: str
    #: The MLflow run that holds the files, where its artifacts are, and the files' folder there.
    run_id: str
    artifact_uri: str
    folder: str
    packs: PackRule | None
    #: By model: its id in MLflow, and its name and version in the Model Registry, where it is there.
    models: dict[str, dict[str, str]]
    #: None where it is too long for a tag: then the manifest beside the files is read.
    manifest: Manifest | None
    #: By path in the artifact, for files that are not in the folder, as MLflow's form of a model has them, too: where
    #: the artifacts of that are, and the file's path there.
    shared: dict[str, tuple[str, str]] = attrs.Factory(dict)

    def to_text(self) -> str:
        """Return the record as text of fewer than 8,000 characters."""
        plain: dict[str, Any] = attrs.asdict(self, filter=_is_written)
        if self.manifest is not None:
            packed = zlib.compress(self.manifest.to_json().encode(), 9)
            full = _text({**plain, "manifest": base64.b64encode(packed).decode()})
            if len(full) <= _LONGEST:
                return full
        return _text(plain)

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Read what :meth:`to_text` wrote; raises :class:`~tracelet.IntegrityError` for anything else."""
        try:
            plain = json.loads(text)
            packs, packed = plain.pop("packs"), plain.pop("manifest", None)
            shared = {path: (place, name) for path, (place, name) in plain.pop("shared", {}).items()}
            manifest = None
            if packed is not None:
                unpacker = zlib.decompressobj()
                content = unpacker.decompress(base64.b64decode(packed, validate=True), _LARGEST)
                manifest = Manifest.from_json(content)
            return cls(packs=None if packs is None else PackRule(**packs), manifest=manifest, shared=shared, **plain)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error) as error:
            raise IntegrityError(f"a record of a version in MLflow cannot be read: {error}") from error


def _is_written(field: attrs.Attribute[Any], value: Any) -> bool:
    return field.name != "manifest" and (field.name != "shared" or bool(value))


def _text(plain: dict[str, Any]) -> str:
    # Without the sign that ends a text where MLflow is asked whether it has this one.
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).replace("'", "\\u0027")


def digest_of(text: str) -> str:
    """Return the digest of a record without unpacking its manifest; empty where it cannot be read."""
    try:
        return str(json.loads(text)["digest"])
    except (LookupError, RecursionError, TypeError, ValueError):
        return ""
