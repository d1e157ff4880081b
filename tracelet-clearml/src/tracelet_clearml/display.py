"""What ClearML's users see of a version: its name, text about it, and debug samples of its media."""

from __future__ import annotations

import mimetypes
import time

import attrs

from tracelet.plugin import ArtifactType, Labels, Manifest
from tracelet_clearml.api import Api
from tracelet_clearml.index import Claim
from tracelet_clearml.records import Place

__all__ = ["LONGEST_PREVIEW", "MEDIA", "VersionName", "identity", "send_samples", "shown_metadata", "shown_text"]

MEDIA = frozenset({ArtifactType.IMAGE, ArtifactType.AUDIO, ArtifactType.VIDEO, ArtifactType.VISUALIZATION})
LONGEST_PREVIEW = 2000
_LONGEST_VALUE = 500
#: So many of the caller's metadata are shown, with so many characters together. The entries of a task are one document,
#: and ClearML's database takes documents up to 16 MB.
_MOST_VALUES = 50
_LONGEST_VALUES = 8000
_SHOWABLE = ("image/", "audio/", "video/")
_PAGES = {".html", ".htm"}


@attrs.frozen
class VersionName:
    """What a version is called in ClearML."""

    #: ``<name>.v<number>``.
    key: str
    #: The caller's label, or ``v<number>``.
    version: str
    #: Whether an earlier attempt of the same put may have left something.
    again: bool

    @classmethod
    def of(cls, claim: Claim, labels: Labels) -> VersionName:
        """Return what the version of a claim will be called."""
        number = claim.head.number
        return cls(f"{claim.head.name}.v{number}", labels.version or f"v{number}", claim.again)


def shown_metadata(manifest: Manifest, version_name: VersionName) -> dict[str, str]:
    """Return what ClearML's users see of an artifact: the first of its metadata, as text, for ClearML keeps text only."""
    own = identity(manifest, version_name)
    own |= {"description": shown_text(manifest.description)} if manifest.description else {}
    told: dict[str, str] = {}
    left = _LONGEST_VALUES
    for name, value in manifest.metadata.items():
        # ClearML refuses an empty key, and strips blanks around one: a stripped key must not replace one of ours.
        key, text = shown_text(name).strip(), shown_text(str(value), _LONGEST_VALUE)
        left -= len(key) + len(text)
        if left < 0 or len(told) == _MOST_VALUES:
            break
        if key:
            told[key] = text
    return told | own


def shown_text(text: str | None, longest: int = LONGEST_PREVIEW) -> str:
    """Return text as ClearML's database takes it: short, and without NUL, which an earlier release allowed."""
    return (text or "")[:longest].replace("\0", "")


def identity(manifest: Manifest, version_name: VersionName) -> dict[str, str]:
    """Return what says which version of which artifact it is."""
    return {"version": version_name.version, "type": manifest.type.value, "digest": f"sha256:{manifest.digest}"}


def send_samples(api: Api, manifest: Manifest, place: Place, number: int) -> None:
    """Send the media of a version as debug samples of its task. Each file is a series, each version a step."""
    if manifest.type not in MEDIA:
        return
    now = int(time.time() * 1000)
    samples = [
        {
            "type": "training_debug_image",
            "task": place.task,
            "iter": number,
            "timestamp": now,
            "metric": manifest.name,
            # ClearML's database takes a point in a name for a separator.
            "variant": blob.paths[0].replace(".", "_"),
            "key": blob.uri.rpartition("/")[2],
            "url": blob.uri,
        }
        for blob in place.blobs
        if not blob.zipped and _is_showable(blob.paths[0])
    ]
    if samples:
        api.send_events(samples)


def _is_showable(path: str) -> bool:
    kind = mimetypes.guess_type(path)[0] or ""
    return kind.startswith(_SHOWABLE) or path[path.rfind(".") :].lower() in _PAGES
