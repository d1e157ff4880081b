"""How core gets a backend: what a plugin declares of it, and what it learns when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.backend import Backend, Capability
from tracelet.core.plugins.shapes import check_settings, takes
from tracelet.settings import NoSettings

if TYPE_CHECKING:
    from tracelet.core.plugins.store import Store

__all__ = ["BackendContext", "BackendSpec", "ModelInfo"]


@attrs.frozen
class ModelInfo:
    """What ``BackendSpec.render`` is told about a model."""

    name: str
    framework: str
    artifact: str
    type: ArtifactType
    description: str | None
    metadata: dict[str, Any]
    input_example: Any = None
    #: The model's files by their paths in the artifact; the tracker's form may take files from here.
    files: Mapping[str, Path] = attrs.field(factory=dict)


@attrs.frozen
class BackendContext:
    """What a backend learns about the process it works for."""

    #: The tracelet directory: an absolute local path that exists.
    directory: Path
    #: What ``BackendSpec.context`` found in the user's process.
    sdk: dict[str, Any] = attrs.field(factory=dict)


def _no_context() -> dict[str, Any]:
    return {}


@attrs.frozen(kw_only=True)
class BackendSpec:
    """What a plugin's ``tracelet_backends`` hook returns: how core opens a backend.

    A spec is made without importing an SDK. ``open(experiment, settings, context)`` runs in the lane's process: it
    imports the SDK and connects, and starts no run.

    Example:
        >>> @attrs.frozen
        ... class Settings:
        ...     url: str = "http://127.0.0.1:9000"
        >>> def open_place(experiment, settings, context):
        ...     from my_package.backend import PlaceBackend  # the SDK is imported here, in the lane's process
        ...     return PlaceBackend(settings.url, experiment)
        >>> spec = BackendSpec(name="place", open=open_place, settings=Settings, capabilities=frozenset({Capability.ALIASES}))
        >>> spec.name
        'place'

    """

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "backend"))
    open: Callable[[str, Any, BackendContext], Backend] = attrs.field(
        validator=takes("experiment", "settings", "context")
    )
    #: An attrs class, read from ``TRACELET_<NAME>_*``.
    settings: type[attrs.AttrsInstance] = attrs.field(default=NoSettings, validator=check_settings)
    #: Called in the user's process: returns what the user's own SDK says, if it is loaded. Cheap, and imports nothing.
    context: Callable[[], dict[str, Any]] = attrs.field(default=_no_context, validator=takes())
    #: ``render(model, info, dest)`` in the user's process at sealing: write the tracker's own form of a
    #: model into the folder. Pure: no connection, no network, no ids of a server.
    render: Callable[[Any, ModelInfo, Path], None] | None = attrs.field(
        default=None, validator=takes("model", "info", "dest", optional=True)
    )
    #: True only for a backend that cannot hang: it then lives in the user's process.
    in_process: bool = False
    #: True where a run outlives its process: whenever that is killed, `start` in a new one finds the same run, and `stop` there
    #: ends it. Then reads, which may be killed, use the process in which a run has begun while it is idle. Where it is False,
    #: they have a process of their own from then on.
    resumes_runs: bool = False
    #: False where the backend has no compare-and-swap, so that two writers may share a number.
    atomic_versions: bool = True
    #: ``store(settings)`` returns where large files go while no store is set, for a backend whose place is one. Where every backend
    #: has one, each gets the bytes of all files itself. It connects to nothing, and may be called in the user's process.
    store: Callable[[Any], Store] | None = attrs.field(default=None, validator=takes("settings", optional=True))
    capabilities: frozenset[Capability] = frozenset()
    #: Variables of the SDK to set in the lane's process, where the user has not set them.
    environ: Mapping[str, str] = attrs.field(factory=dict)
    #: One sentence for the table of backends.
    summary: str = ""
