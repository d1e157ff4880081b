"""Make the SDK's memory of artifacts fit for threads: what lists versions asks for several pages at once."""

from __future__ import annotations

from threading import Lock
from typing import Any

from wandb.sdk.artifacts.artifact_instance_cache import artifact_instance_cache, artifact_instance_cache_by_client_id
from wandb.sdk.lib.capped_dict import CappedDict

__all__ = ["make_fit_for_threads"]

_LOCK = Lock()


class _Memory(CappedDict):
    """Takes one entry at a time. The SDK's own raises ``KeyError`` where two threads drop its oldest entry at once."""

    def __setitem__(self, key: str, value: Any) -> None:
        with _LOCK:
            super().__setitem__(key, value)


def make_fit_for_threads() -> None:
    """Do so in this process, which has to be the lane's own, and not the user's."""
    for memory in (artifact_instance_cache, artifact_instance_cache_by_client_id):
        # Several modules of the SDK have taken these very objects: another object would not reach all of them.
        memory.__class__ = _Memory
