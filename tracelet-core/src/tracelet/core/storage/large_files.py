"""Where the bytes of large files go: what the settings say, and what the backends can do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.store import Store
from tracelet.core.storage.blob_store import LocalStore, open_store
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["configured_store", "limit_mb", "store_for"]


def limit_mb(settings: TraceletSettings, specs: Collection[BackendSpec]) -> float | None:
    """Return the size in megabytes above which a file goes to the store; None where backends get the bytes of all files.

    They do where each of them is a store itself, and no other one is set.
    """
    are_stores = bool(specs) and all(spec.store is not None for spec in specs)
    return None if settings.on_large == "upload" or (are_stores and not settings.store) else settings.large_file_mb


def store_for(settings: TraceletSettings, directory: Path, backends: Iterable[tuple[BackendSpec, Any]]) -> Store:
    """Return the store that is set; where none is, that of the first backend which has one, and the tracelet directory otherwise.

    ``backends`` are specs, each with the settings of its plugin. A call to what is not on this machine ends in time.
    """
    found: Store = open_store(settings.store, directory)
    if not settings.store:
        theirs = (spec.store(own) for spec, own in backends if spec.store is not None)
        found = next(theirs, found)
    if isinstance(found, LocalStore):
        return found
    from tracelet.core.storage.deadline_store import DeadlineStore

    return DeadlineStore(found, settings)


def configured_store(
    names: Iterable[str], settings: TraceletSettings, directory: Path, plugins: Registry
) -> tuple[Store, float | None]:
    """Return what :func:`store_for` and :func:`limit_mb` do for the backends of these names; one that is not installed has no say."""
    specs = [plugins.backends.specs[name] for name in names if name in plugins.backends.specs]
    backends = ((spec, load_plugin(spec.settings, spec.name)) for spec in specs)
    return store_for(settings, directory, backends), limit_mb(settings, specs)
