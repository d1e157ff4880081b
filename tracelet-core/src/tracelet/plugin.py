"""What the author of a plugin imports: hooks, specs, protocols, data, and safe helpers.

``docs/how-to/write-a-backend.md`` leads from ten lines to a backend that passes the contract kit, and the pages beside it
to a detector, a policy and a serializer. ``docs/reference/hooks.md`` and ``docs/reference/backend.md`` describe the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracelet.lazy_names import lazy_names

if TYPE_CHECKING:
    from tracelet.core.artifacts.checks import MANIFEST_NAME, check_name, check_path
    from tracelet.core.artifacts.entries import (
        ArtifactFile,
        ArtifactModel,
        ArtifactObject,
        ArtifactReference,
        ArtifactType,
    )
    from tracelet.core.artifacts.manifest import Manifest
    from tracelet.core.artifacts.plain_values import plain_data
    from tracelet.core.capture.calls import wrap_calls
    from tracelet.core.capture.checkpoint_names import checkpoint_name, progress_in
    from tracelet.core.capture.imports import when_imported
    from tracelet.core.capture.packed_names import stem_of
    from tracelet.core.capture.readable_names import readable_name
    from tracelet.core.capture.renames import may_be_renamed
    from tracelet.core.capture.snapshots import artifact_name
    from tracelet.core.capture.sniffing import tell_type, tell_whole
    from tracelet.core.capture.sniffing.names import tell_type_by_names
    from tracelet.core.capture.temporary_names import TEMPORARY, final_name
    from tracelet.core.plugins.backend import (
        Backend,
        Capability,
        Collects,
        Deletes,
        DeletesMany,
        Discovers,
        FindsUsers,
        GivesRendered,
        Heals,
        ListsExperiments,
        MovesAliases,
        Recalls,
        RecordsInputs,
        RemovesAliases,
        TakesBack,
    )
    from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec, ModelInfo
    from tracelet.core.plugins.damage import Damage, or_damage, sound
    from tracelet.core.plugins.detector import Detection, Detector, DetectorContext, DetectorSpec, Emit
    from tracelet.core.plugins.foreign import ForeignArtifact, ForeignFile, ForeignRun
    from tracelet.core.plugins.marks import hookimpl
    from tracelet.core.plugins.media import MEDIA_FAULTS
    from tracelet.core.plugins.retry_after import seconds_asked
    from tracelet.core.plugins.routing import ArtifactSummary, RoutingSpec
    from tracelet.core.plugins.serializers import SerializerSpec
    from tracelet.core.plugins.store import Store
    from tracelet.core.plugins.version_refs import Ref, label_conflict, look_up, of_digest, parse_ref
    from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
    from tracelet.core.storage.blob_backend import BlobBackend, FileBlob
    from tracelet.core.storage.folder_backend import FolderBackend, PendingCatalogue
    from tracelet.core.storage.paths import physical_name, target_path
    from tracelet.core.storage.remembered import Remembered
    from tracelet.core.system.durability import make_durable
    from tracelet.core.system.files import (
        FileChanged,
        Stamp,
        atomic_write,
        copy_blob,
        discard,
        hash_blob,
        make_folder,
    )
    from tracelet.core.system.messages import causes
    from tracelet.core.system.parquet import parquet_columns
    from tracelet.core.system.redaction import redact
    from tracelet.core.system.saves import Claim, announce_save, saving, share, unshare
    from tracelet.core.system.schemas import check_schema
    from tracelet.core.system.yaml_text import load_yaml
    from tracelet.settings import NoSettings, WatchedDirectory

__all__ = [
    "MANIFEST_NAME",
    "MEDIA_FAULTS",
    "TEMPORARY",
    "ArtifactFile",
    "ArtifactModel",
    "ArtifactObject",
    "ArtifactReference",
    "ArtifactSummary",
    "ArtifactType",
    "Backend",
    "BackendContext",
    "BackendSpec",
    "BlobBackend",
    "Capability",
    "Claim",
    "Collects",
    "Damage",
    "Deletes",
    "DeletesMany",
    "Detection",
    "Detector",
    "DetectorContext",
    "DetectorSpec",
    "Discovers",
    "Emit",
    "FileBlob",
    "FileChanged",
    "FindsUsers",
    "FolderBackend",
    "ForeignArtifact",
    "ForeignFile",
    "ForeignRun",
    "GivesRendered",
    "Heals",
    "Labels",
    "ListsExperiments",
    "Manifest",
    "ModelInfo",
    "MovesAliases",
    "NoSettings",
    "PendingCatalogue",
    "Recalls",
    "RecordsInputs",
    "Ref",
    "Remembered",
    "RemovesAliases",
    "RoutingSpec",
    "RunInfo",
    "SealedArtifact",
    "SerializerSpec",
    "Stamp",
    "Store",
    "StoredArtifact",
    "TakesBack",
    "WatchedDirectory",
    "announce_save",
    "artifact_name",
    "atomic_write",
    "causes",
    "check_name",
    "check_path",
    "check_schema",
    "checkpoint_name",
    "copy_blob",
    "discard",
    "final_name",
    "hash_blob",
    "hookimpl",
    "label_conflict",
    "load_yaml",
    "look_up",
    "make_durable",
    "make_folder",
    "may_be_renamed",
    "of_digest",
    "or_damage",
    "parquet_columns",
    "parse_ref",
    "physical_name",
    "plain_data",
    "progress_in",
    "readable_name",
    "redact",
    "saving",
    "seconds_asked",
    "share",
    "sound",
    "stem_of",
    "target_path",
    "tell_type",
    "tell_type_by_names",
    "tell_whole",
    "unshare",
    "when_imported",
    "wrap_calls",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "tracelet.core.artifacts.checks": (
                "MANIFEST_NAME",
                "check_name",
                "check_path",
            ),
            "tracelet.core.artifacts.entries": (
                "ArtifactFile",
                "ArtifactModel",
                "ArtifactObject",
                "ArtifactReference",
                "ArtifactType",
            ),
            "tracelet.core.artifacts.manifest": ("Manifest",),
            "tracelet.core.artifacts.plain_values": ("plain_data",),
            "tracelet.core.capture.calls": ("wrap_calls",),
            "tracelet.core.capture.checkpoint_names": (
                "checkpoint_name",
                "progress_in",
            ),
            "tracelet.core.capture.imports": ("when_imported",),
            "tracelet.core.capture.packed_names": ("stem_of",),
            "tracelet.core.capture.readable_names": ("readable_name",),
            "tracelet.core.capture.renames": ("may_be_renamed",),
            "tracelet.core.capture.snapshots": ("artifact_name",),
            "tracelet.core.capture.sniffing": (
                "tell_type",
                "tell_whole",
            ),
            "tracelet.core.capture.sniffing.names": ("tell_type_by_names",),
            "tracelet.core.capture.temporary_names": (
                "TEMPORARY",
                "final_name",
            ),
            "tracelet.core.plugins.backend": (
                "Backend",
                "Capability",
                "Collects",
                "Deletes",
                "DeletesMany",
                "Discovers",
                "FindsUsers",
                "GivesRendered",
                "Heals",
                "ListsExperiments",
                "MovesAliases",
                "Recalls",
                "RecordsInputs",
                "RemovesAliases",
                "TakesBack",
            ),
            "tracelet.core.plugins.backend_spec": (
                "BackendContext",
                "BackendSpec",
                "ModelInfo",
            ),
            "tracelet.core.plugins.damage": (
                "Damage",
                "or_damage",
                "sound",
            ),
            "tracelet.core.plugins.detector": (
                "Detection",
                "Detector",
                "DetectorContext",
                "DetectorSpec",
                "Emit",
            ),
            "tracelet.core.plugins.foreign": (
                "ForeignArtifact",
                "ForeignFile",
                "ForeignRun",
            ),
            "tracelet.core.plugins.marks": ("hookimpl",),
            "tracelet.core.plugins.media": ("MEDIA_FAULTS",),
            "tracelet.core.plugins.retry_after": ("seconds_asked",),
            "tracelet.core.plugins.routing": (
                "ArtifactSummary",
                "RoutingSpec",
            ),
            "tracelet.core.plugins.serializers": ("SerializerSpec",),
            "tracelet.core.plugins.store": ("Store",),
            "tracelet.core.plugins.version_refs": (
                "Ref",
                "label_conflict",
                "look_up",
                "of_digest",
                "parse_ref",
            ),
            "tracelet.core.plugins.versions": (
                "Labels",
                "RunInfo",
                "SealedArtifact",
                "StoredArtifact",
            ),
            "tracelet.core.storage.blob_backend": ("BlobBackend", "FileBlob"),
            "tracelet.core.storage.folder_backend": (
                "FolderBackend",
                "PendingCatalogue",
            ),
            "tracelet.core.storage.paths": (
                "physical_name",
                "target_path",
            ),
            "tracelet.core.storage.remembered": ("Remembered",),
            "tracelet.core.system.durability": ("make_durable",),
            "tracelet.core.system.files": (
                "FileChanged",
                "Stamp",
                "atomic_write",
                "copy_blob",
                "discard",
                "hash_blob",
                "make_folder",
            ),
            "tracelet.core.system.messages": ("causes",),
            "tracelet.core.system.parquet": ("parquet_columns",),
            "tracelet.core.system.redaction": ("redact",),
            "tracelet.core.system.saves": (
                "Claim",
                "announce_save",
                "saving",
                "share",
                "unshare",
            ),
            "tracelet.core.system.schemas": ("check_schema",),
            "tracelet.core.system.yaml_text": ("load_yaml",),
            "tracelet.settings": (
                "NoSettings",
                "WatchedDirectory",
            ),
        },
    )
