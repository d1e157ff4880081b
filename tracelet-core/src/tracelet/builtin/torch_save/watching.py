"""Who listens to which function, in this process: patches are put on with the first, and taken off after the last."""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import FunctionType
from typing import Any, Protocol

from tracelet.builtin.torch_save.destinations import Destination, logger
from tracelet.builtin.torch_save.importing import ImportWatch
from tracelet.builtin.torch_save.patching import Patch
from tracelet.builtin.torch_save.saves import Save
from tracelet.plugin import ArtifactType, saving

__all__ = ["Listener", "guarded", "unwatch", "watch"]


class Listener(Protocol):
    """Who is told of saves."""

    def saved(self, destination: Destination, kind: ArtifactType, metadata: dict[str, Any]) -> None:
        """Take note of one that is complete; called in the thread that saves, before the save returns."""
        ...


class _Watch:
    """One function, patched once its module is there, and its listeners."""

    def __init__(self, save: Save) -> None:
        self.save = save
        self.listeners: tuple[Listener, ...] = ()
        self._patch: Patch | None = None

    def attach(self) -> None:
        """Patch the function where its module is loaded, and anew where the module was loaded anew."""
        module = sys.modules.get(self.save.module)
        try:
            function = operator.attrgetter(self.save.function)(module)
        except AttributeError:
            function = None
        if self._patch is not None and self._patch.function is function:
            return
        self.detach()
        if isinstance(function, FunctionType):
            self._patch = Patch(function, partial(_around, self))
        elif module is not None:
            logger.debug("%s is not watched: this version has no such function.", self.save)

    def detach(self) -> None:
        if self._patch is not None:
            self._patch.remove()
            self._patch = None


_LOCK = threading.RLock()
_WATCHES: dict[Save, _Watch] = {}


def _imported(module: str) -> None:
    with _LOCK:
        for one in _WATCHES.values():
            if one.save.module == module:
                guarded(one.save, one.attach)


_IMPORTS = ImportWatch(_imported)


def watch(saves: Iterable[Save], listener: Listener) -> None:
    """Tell ``listener`` of these saves from now on."""
    with _LOCK:
        for save in saves:
            one = _WATCHES.setdefault(save, _Watch(save))
            one.listeners = (*one.listeners, listener)
        # Before the look at what is loaded: what is imported between the two is not missed.
        _IMPORTS.expect(frozenset(save.module for save in _WATCHES))
        for one in _WATCHES.values():
            guarded(one.save, one.attach)


def unwatch(listener: Listener) -> None:
    """Tell ``listener`` of nothing any more; patches that nobody needs come off."""
    with _LOCK:
        for save, one in list(_WATCHES.items()):
            one.listeners = tuple(other for other in one.listeners if other is not listener)
            if not one.listeners:
                one.detach()
                del _WATCHES[save]
        _IMPORTS.expect(frozenset(save.module for save in _WATCHES))


def _around(watched: _Watch, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Save, and tell of it. What the function raises passes through, and then there is nothing to tell."""
    destination: Destination | None = guarded(watched.save, watched.save.destination, args, kwargs)
    if destination is None:
        return original(*args, **kwargs)
    with saving(*destination.saved_paths) as outermost:
        result = original(*args, **kwargs)
        if outermost:
            guarded(destination.path, _tell, watched, destination, args, kwargs)
        else:
            logger.debug("%s is not captured by %s: it is a part of another save.", destination.path, watched.save)
    return result


def _tell(watched: _Watch, destination: Destination, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not destination.complete():
        return
    what = watched.save.what(args, kwargs, destination)
    if what is None:
        return
    for listener in watched.listeners:
        guarded(destination.path, listener.saved, destination, *what)


def guarded(subject: object, work: Callable[..., Any], *args: Any) -> Any:
    """Do capture's work in the user's thread: what it raises is a warning, never the user's trouble."""
    try:
        return work(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
        logger.warning("%s is not captured: %s: %s", subject, type(error).__name__, error)
        return None
