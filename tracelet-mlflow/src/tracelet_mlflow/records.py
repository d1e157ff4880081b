"""The record of a version: a tag that says where the version is, with its manifest where that is short enough."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import Manifest, check_schema
from tracelet_mlflow.files import PackRule
from tracelet_mlflow.schemas import SCHEMA

__all__ = ["Record", "addresses_of", "digest_of"]

#: Characters of a record. MLflow silently cuts off more than 8,000.
_LONGEST = 7900
#: Bytes of a manifest that is unpacked from a record. The longest real one has less than a tenth of that.
_LARGEST = 10_000_000
#: Fields that every record has, and that need no conversion.
_TEXTS = ("digest", "put_id", "run_id", "artifact_uri", "folder", "models")


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
    #: By model: its id in MLflow, and its name and version in the Model Registry, if it is registered.
    models: dict[str, dict[str, str]]
    #: None where it is too long for a tag. The manifest beside the files is read then.
    manifest: Manifest | None
    #: By path in the artifact, for files that are stored in MLflow's form of a model and not in the folder: where that model's
    #: artifacts are, and the file's path there.
    shared: dict[str, tuple[str, str]] = attrs.Factory(dict)
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.Factory(dict)

    @property
    def addresses(self) -> tuple[str, str]:
        """Where the files are, as MLflow's users may name it."""
        return addresses_of(self.run_id, self.artifact_uri, self.folder)

    def to_text(self) -> str:
        """Return the record as text of fewer than 8,000 characters."""
        known: dict[str, Any] = attrs.asdict(self, recurse=False, filter=_is_written)
        packs = None if self.packs is None else self.packs.to_plain()
        plain = {**self.extra, **known, "packs": packs, "schema": SCHEMA}
        if self.manifest is not None:
            packed = zlib.compress(self.manifest.to_json().encode(), 9)
            full = _text({**plain, "manifest": base64.b64encode(packed).decode()})
            if len(full) <= _LONGEST:
                return full
        return _text(plain)

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Read what :meth:`to_text` wrote.

        Raises :class:`~tracelet.NewerFormat` for the record of a later release that this one must not guess at, and
        :class:`~tracelet.IntegrityError` for anything else.
        """
        try:
            plain = json.loads(text)
            check_schema(plain, SCHEMA, "the record of a version in MLflow")
            plain.pop("schema", None)
            packs, packed = plain.pop("packs"), plain.pop("manifest", None)
            shared = {path: (place, name) for path, (place, name) in plain.pop("shared", {}).items()}
            known = {name: plain.pop(name) for name in _TEXTS}
            manifest = None
            if packed is not None:
                unpacker = zlib.decompressobj()
                content = unpacker.decompress(base64.b64decode(packed, validate=True), _LARGEST)
                manifest = Manifest.from_json(content)
            rule = None if packs is None else PackRule.from_plain(packs)
            return cls(packs=rule, manifest=manifest, shared=shared, extra=plain, **known)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error) as error:
            raise IntegrityError(f"a record of a version in MLflow cannot be read: {error}") from error


def addresses_of(run_id: str, artifact_uri: str, folder: str) -> tuple[str, str]:
    """Return where files of a run are, as MLflow's users may name it."""
    return f"{artifact_uri}/{folder}", f"runs:/{run_id}/{folder}"


def _is_written(field: attrs.Attribute[Any], value: Any) -> bool:
    return field.name not in {"manifest", "extra"} and (field.name != "shared" or bool(value))


def _text(plain: dict[str, Any]) -> str:
    # A search of MLflow's quotes the text with this character.
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).replace("'", "\\u0027")


def digest_of(text: str) -> str:
    """Return the digest of a record without unpacking its manifest; empty where it cannot be read."""
    try:
        return str(json.loads(text)["digest"])
    except (LookupError, RecursionError, TypeError, ValueError):
        return ""
