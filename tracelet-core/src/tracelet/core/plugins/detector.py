"""What a detector is: it watches, and emits what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    #: Files that are one thing with a file, such as the external data of a model; they lie in its folder, or below. The
    #: artifact has them at their paths from there.
    beside: tuple[Path, ...] = ()
    #: In place of a path: a live model of a known framework, which is stored as ``add_model`` would.
    model: Any = None
    #: The type. None has Tracelet find it from content and name.
    type: ArtifactType | None = attrs.field(default=None, converter=attrs.converters.optional(check_type))
    #: Name of the artifact that it is a version of. By default it is made of the file's name and the type.
    name: str | None = attrs.field(default=None, validator=_optional(check_name))
    #: Its path in the artifact; None is the file's own name.
    artifact_path: str | None = attrs.field(default=None, validator=_optional(check_path))
    description: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    aliases: tuple[str, ...] = ()
    #: How its bytes are kept: ``copy`` is right for every file; ``link`` is for a file that will be deleted or replaced
    #: but never written again; ``take`` gives away a file that the detector made in its workspace.
    snapshot: Literal["copy", "link", "take"] = "copy"
    #: The path that users know it by, where that is not ``path``: ``path`` is a copy of it, or will be renamed to it.
    #: Detections with one place are of one thing.
    place: Path | None = None
    #: How the file looked when it was complete. If it looks different when it is copied, it is being written again, and
    #: nothing is captured: the detector emits it when it is complete again. None captures the file as it is.
    stamp: Stamp | None = None
    #: The same of the files of a folder, or of those beside a file, by their paths. Of a folder no other files are captured.
    stamps: Mapping[Path, Stamp] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if (self.path is None) == (self.model is None):
            raise ArtifactError("a detection is of a path or of a model: give one of them.")
        if self.model is not None and (self.name is None or self.type is None):
            raise ArtifactError("a detection of a model needs a name and a type: there is no file to tell them.")
        if self.beside and (self.path is None or self.snapshot == "take"):
            raise ArtifactError(
                "a detection has files beside a file that is copied or linked: give its path, or no files."
            )
        for one in self.beside:
            if self.path is None or one == self.path or not one.is_relative_to(self.path.parent) or ".." in one.parts:
                raise ArtifactError(f"{one} is not in the folder of {self.path}: no artifact could hold both.")
        for one in self.stamps:
            if one not in self.beside and (self.path is None or self.path not in one.parents or ".." in one.parts):
                raise ArtifactError(f"{one} is not in {self.path}: give stamps of what is captured.")


#: What a detector calls with each detection.
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
    """Do nothing: nobody listens."""


def _always(size_bytes: int) -> bool:
    return True


def _never(folder: Path) -> bool:
    return False


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
    #: Call it when a training that was watched ends, with whether it was completed. Where the program ends without ending
    #: its run, the last call says whether the run failed.
    outcome: Callable[[bool], None] = _nothing
    #: Returns whether this number of bytes can be captured now. A detector asks before it writes them to its workspace.
    #: False is counted as a dropped capture, and the detector emits nothing.
    room: Callable[[int], bool] = _always
    #: Returns whether a folder in this one was captured, by whichever detector, or the model that was saved to this one, and
    #: is as it was: then this one is more than one thing.
    holds_captured: Callable[[Path], bool] = _never


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
