"""Who listens to which function, in this process: patches are put on with the first, and taken off after the last."""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol

from tracelet.builtin.saves.destinations import Destination, logger
from tracelet.builtin.saves.importing import ImportWatch
from tracelet.builtin.saves.patching import Patch, Replacement
from tracelet.builtin.saves.what import What

__all__ = ["Function", "Listener", "Tell", "guarded", "unwatch", "watch"]

#: Tells those who listen to a function of a save that is complete.
Tell = Callable[[Destination, What], None]


class Listener(Protocol):
    """Who is told of saves."""

    def saved(self, destination: Destination, what: What) -> None:
        """Take note of one that is complete; called in the thread that saves, before the save returns."""
        ...


class Function(Protocol):
    """A function that is watched."""

    @property
    def module(self) -> str:
        """The module that defines it."""
        ...

    @property
    def function(self) -> str:
        """Its name there."""
        ...

    def around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], tell: Tell) -> Any:
        """Do what a call does, tell of what it saved, and return its result. Raises what the function raises."""
        ...


class _Watch:
    """One function, patched once its module is there, and its listeners."""

    def __init__(self, watched: Function) -> None:
        self.watched = watched
        self.listeners: tuple[Listener, ...] = ()
        self._patch: Patch | Replacement | None = None

    def attach(self) -> None:
        """Patch the function where its module is loaded, and anew where the module was loaded anew."""
        module = sys.modules.get(self.watched.module)
        try:
            function = operator.attrgetter(self.watched.function)(module)
        except AttributeError:
            function = None
        if self._patch is not None and self._patch.function is function:
            return
        self.detach()
        if isinstance(function, FunctionType):
            self._patch = Patch(function, self._around)
        elif isinstance(function, BuiltinFunctionType) and module is not None:
            self._patch = Replacement(module, function, self._around)
        elif module is not None:
            logger.debug("%s is not watched: this version has no such function.", self.watched)

    def _around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.watched.around(original, args, kwargs, self._tell)

    def _tell(self, destination: Destination, what: What) -> None:
        for listener in self.listeners:
            guarded(destination.path, listener.saved, destination, what)

    def detach(self) -> None:
        if self._patch is not None:
            self._patch.remove()
            self._patch = None


_LOCK = threading.RLock()
_WATCHES: dict[Function, _Watch] = {}


def _imported(module: str) -> None:
    with _LOCK:
        for one in _WATCHES.values():
            if one.watched.module == module:
                guarded(one.watched, one.attach)


_IMPORTS = ImportWatch(_imported)


def watch(functions: Iterable[Function], listener: Listener) -> None:
    """Tell ``listener`` of what these functions save from now on."""
    with _LOCK:
        for function in functions:
            one = _WATCHES.setdefault(function, _Watch(function))
            one.listeners = (*one.listeners, listener)
        # Before the look at what is loaded: what is imported between the two is not missed.
        _IMPORTS.expect(frozenset(function.module for function in _WATCHES))
        for one in _WATCHES.values():
            guarded(one.watched, one.attach)


def unwatch(listener: Listener) -> None:
    """Tell ``listener`` of nothing any more; patches that nobody needs come off."""
    with _LOCK:
        for function, one in list(_WATCHES.items()):
            one.listeners = tuple(other for other in one.listeners if other is not listener)
            if not one.listeners:
                one.detach()
                del _WATCHES[function]
        _IMPORTS.expect(frozenset(function.module for function in _WATCHES))


def guarded(subject: object, work: Callable[..., Any], *args: Any) -> Any:
    """Do capture's work in the user's thread: what it raises is a warning, never the user's trouble."""
    try:
        return work(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
        logger.warning("%s is not captured: %s: %s", subject, type(error).__name__, error)
        return None
