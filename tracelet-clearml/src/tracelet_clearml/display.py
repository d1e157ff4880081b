"""Debug samples: media of an artifact, shown by ClearML beside the run's plots, from where they are stored already."""

from __future__ import annotations

import mimetypes
import time

from tracelet.plugin import Manifest
from tracelet_clearml.api import Api
from tracelet_clearml.artifacts import MEDIA, Place

__all__ = ["show"]

_SHOWABLE = ("image/", "audio/", "video/")
_PAGES = {".html", ".htm"}


def show(api: Api, manifest: Manifest, place: Place, number: int) -> None:
    """Note the media of a version as debug samples of its task; one series a file, one step a version."""
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
            # A point in a name would be a part of a path to ClearML's database.
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
