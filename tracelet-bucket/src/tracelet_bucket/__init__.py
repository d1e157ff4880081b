"""The plugin for buckets. Only this module is loaded in the user's process; the client is imported in the lane."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import BackendContext, BackendSpec, Capability, Store, hookimpl
from tracelet_bucket.settings import BucketSettings

if TYPE_CHECKING:
    from tracelet_bucket.backend import BucketBackend
    from tracelet_bucket.bucket import Bucket

__all__ = ["BucketSettings", "tracelet_backends"]


def _not_installed(error: ImportError) -> BackendUnavailable:
    return BackendUnavailable(
        f"obstore is not installed, or does not load ({error}): pip install 'tracelet-core[bucket]'."
    )


def _open(experiment: str, settings: BucketSettings, context: BackendContext) -> BucketBackend:
    try:
        from tracelet_bucket.backend import open_backend
    except ImportError as error:
        raise _not_installed(error) from error
    return open_backend(experiment, settings)


def _opened(settings: BucketSettings) -> Bucket:
    try:
        from tracelet_bucket.places import open_bucket

        return open_bucket(settings.url)
    except ImportError as error:
        raise _not_installed(error) from error


def _store(settings: BucketSettings) -> Store:
    from tracelet_bucket.store import BucketStore

    return BucketStore(settings.url, partial(_opened, settings))


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``bucket``."""
    return [
        BackendSpec(
            name="bucket",
            open=_open,
            settings=BucketSettings,
            store=_store,
            # A run leaves nothing in the bucket but its versions: whoever is killed has nothing to end.
            resumes_runs=True,
            capabilities=frozenset(
                {Capability.ALIASES, Capability.COLLECT, Capability.DELETE, Capability.EXPERIMENTS, Capability.USERS}
            ),
            summary="A bucket of S3, Google Cloud Storage or Azure, or a shared folder; no server.",
        )
    ]
