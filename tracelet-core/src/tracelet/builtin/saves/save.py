"""One function that saves: where it is, what it is given, and what that makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tracelet.builtin.saves.destinations import Destination, file_destination, folder_destination, logger
from tracelet.builtin.saves.watching import Tell, guarded
from tracelet.builtin.saves.what import What
from tracelet.plugin import ArtifactType, saving

__all__ = ["Args", "Kwargs", "Save", "always", "argument", "to_file", "to_folder"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@attrs.frozen(eq=False)
class Save:
    """One function that saves."""

    #: The setting that says whether it is watched.
    switch: str
    #: The module that defines it.
    module: str
    #: Its name there.
    function: str
    #: Where a call saves to; None where that cannot be captured.
    destination: Callable[[Args, Kwargs], Destination | None]
    #: What a call saves, once it is saved; None where it is not to be captured.
    what: Callable[[Args, Kwargs, Destination], What | None]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: Args, kwargs: Kwargs, tell: Tell) -> Any:
        """Save, and tell of it. What the function raises passes through, and then there is nothing to tell."""
        destination: Destination | None = guarded(self, self.destination, args, kwargs)
        if destination is None:
            return original(*args, **kwargs)
        with saving(*destination.saved_paths) as outermost:
            result = original(*args, **kwargs)
            if outermost:
                guarded(destination.path, self._tell, destination, args, kwargs, tell)
            else:
                logger.debug(
                    "%s is not captured by %s: it is a part of another save, or a tracker's own.",
                    destination.path,
                    self,
                )
        return result

    def _tell(self, destination: Destination, args: Args, kwargs: Kwargs, tell: Tell) -> None:
        what = self.what(args, kwargs, destination) if destination.complete() else None
        if what is not None:
            tell(destination, what)


def argument(args: Args, kwargs: Kwargs, position: int, name: str) -> Any:
    """Return an argument that may be given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name)


def to_file(position: int, name: str) -> Callable[[Args, Kwargs], Destination | None]:
    """Return what tells the destination of a save to a file, which is this argument."""
    return lambda args, kwargs: file_destination(argument(args, kwargs, position, name))


def to_folder(position: int, name: str) -> Callable[[Args, Kwargs], Destination | None]:
    """Return what tells the destination of a save to a folder, which is this argument."""
    return lambda args, kwargs: folder_destination(argument(args, kwargs, position, name))


def always(kind: ArtifactType) -> Callable[[Args, Kwargs, Destination], What]:
    """Return what tells of each save that it is of one type."""
    return lambda args, kwargs, destination: What(kind)
