"""What a detector is: it watches, and emits what it sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs

from tracelet.core.artifacts.checks import check_name, check_path
from tracelet.core.artifacts.entries import ArtifactType, check_type
from tracelet.core.plugins.shapes import check_settings, takes
from tracelet.core.system.files import Stamp
from tracelet.exceptions import ArtifactError
from tracelet.settings import NoSettings, WatchedDirectory

__all__ = ["Detection", "Detector", "DetectorContext", "DetectorSpec", "Emit"]


def _optional(check: Callable[[Any], Any]) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def validate(_self: object, _field: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            check(value)

    return validate


@attrs.frozen(kw_only=True)
class Detection:
    """Something that a detector saw completed: a file or a folder, or a live model.

    Raises :class:`~tracelet.ArtifactError` for what no artifact could be made of.

    Example:
        >>> Detection(path=Path("weights.pt"), name="net", aliases=("last",)).snapshot
        'copy'

    """

    #: A file, or a folder that is one thing, such as a sharded checkpoint.
    path: Path | None = None
    #: In place of a path: a live model of a known framework, which is stored as ``add_model`` would.
    model: Any = None
    #: What it is; None lets its content and its name tell.
    type: ArtifactType | None = attrs.field(default=None, validator=_optional(check_type))
    #: Name of the artifact that it is a version of; None makes one of the file's name and the type.
    name: str | None = attrs.field(default=None, validator=_optional(check_name))
    #: Its path in the artifact; None is the file's own name.
    artifact_path: str | None = attrs.field(default=None, validator=_optional(check_path))
    description: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    aliases: tuple[str, ...] = ()
    #: How its bytes are kept from what happens next: ``copy`` is right for every file; ``link`` is for one that will
    #: be deleted or replaced but never written again; ``take`` gives away what the detector made in its workspace.
    snapshot: Literal["copy", "link", "take"] = "copy"
    #: Where it is, or will be, for everybody else, where that is not ``path``: of what was copied from there, or will be
    #: renamed to that when it is complete. Detections of one place are of one thing.
    place: Path | None = None
    #: How the file looked when it was found complete. Where it looks otherwise when it is copied, it is being written
    #: again, and nothing is captured: what comes of that is the detector's to emit. None takes it as it is.
    stamp: Stamp | None = None

    def __attrs_post_init__(self) -> None:
        if (self.path is None) == (self.model is None):
            raise ArtifactError("a detection is of a path or of a model: give one of them.")
        if self.model is not None and (self.name is None or self.type is None):
            raise ArtifactError("a detection of a model needs a name and a type: there is no file to tell them.")


Emit = Callable[[Detection], None]


class Detector(Protocol):
    """Watches one source of artifacts. Neither method may raise into, print into or slow the user's code.

    Example:
        >>> class OneFile:
        ...     def __init__(self, path):
        ...         self.path, self.emit = path, None
        ...     def start(self, emit):
        ...         self.emit = emit
        ...     def stop(self):
        ...         if self.emit is not None:
        ...             self.emit(Detection(path=self.path, name="report"))
        ...         self.emit = None
        >>> seen = []
        >>> detector = OneFile(Path("report.html"))
        >>> detector.start(seen.append)
        >>> detector.stop()
        >>> [detection.name for detection in seen]
        ['report']

    """

    def start(self, emit: Emit) -> None:
        """Begin to watch.

        Args:
            emit: Takes a :class:`Detection`. Any thread may call it, and it never raises. When it returns, the bytes are
                kept as they were, and the file may change; everything else happens on another thread.
        """
        ...

    def stop(self) -> None:
        """Emit what is complete and was not emitted yet, stop watching, and leave nothing behind.

        A second call does nothing.
        """
        ...


def _nothing(completed: bool) -> None:
    """For whoever does not want to know."""


def _always(size_bytes: int) -> bool:
    return True


@attrs.frozen(kw_only=True)
class DetectorContext:
    """What a detector is told about the experiment that it works for."""

    experiment: str
    #: The tracelet directory, absolute: what happens in it is Tracelet's own doing.
    directory: Path
    #: A folder for files that the detector makes itself, in the tracelet directory; it exists when first asked for.
    workspace: Path
    #: The directories that the user wants to be watched.
    watched: tuple[WatchedDirectory, ...] = ()
    #: Tell how a training that was watched ended: whether it came to its end. The last one counts where the program ends
    #: without ending its run.
    outcome: Callable[[bool], None] = _nothing
    #: Tell whether so many bytes can be captured now, before they are written to the workspace. Where they cannot, that
    #: is counted, and there is nothing to emit.
    room: Callable[[int], bool] = _always


@attrs.frozen(kw_only=True)
class DetectorSpec:
    """What a plugin's ``tracelet_detectors`` hook returns: how core makes a detector.

    Example:
        >>> def create(settings, context):
        ...     from my_package.watching import Watcher
        ...     return Watcher(context.watched)
        >>> DetectorSpec(name="my-format", create=create, switch="watch_filesystem").name
        'my-format'

    """

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "detector"))
    #: Called with the settings and a :class:`DetectorContext`, in the user's process; imports no framework.
    create: Callable[[Any, DetectorContext], Detector] = attrs.field(validator=takes("settings", "context"))
    #: An attrs class, read from ``TRACELET_<NAME>_*``.
    settings: type[attrs.AttrsInstance] = attrs.field(default=NoSettings, validator=check_settings)
    #: The setting that turns it on.
    switch: Literal["automagic_artifacts", "watch_filesystem"] = attrs.field(
        default="automagic_artifacts", validator=attrs.validators.in_(("automagic_artifacts", "watch_filesystem"))
    )
