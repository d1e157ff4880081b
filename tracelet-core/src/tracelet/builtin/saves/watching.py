"""Who listens to which function, in this process: calls go through ours while there is a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tracelet.builtin.saves.destinations import Destination, logger
from tracelet.builtin.saves.what import What
from tracelet.plugin import wrap_calls

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
    """One function and its listeners, each with what takes the wrapping off that it asked for."""

    def __init__(self, watched: Function) -> None:
        self._watched = watched
        # Single operations on a dict need no lock, which a child could inherit locked.
        self._listeners: dict[Listener, Callable[[], None]] = {}

    def add(self, listener: Listener) -> None:
        # One method for all listeners: a save is told to each of them, and not the inner one of two saves to one.
        self._listeners[listener] = wrap_calls(self._watched.module, self._watched.function, self._around)

    def remove(self, listener: Listener) -> None:
        take_off = self._listeners.pop(listener, None)
        if take_off is not None:
            take_off()

    def _around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._watched.around(original, args, kwargs, self._tell)

    def _tell(self, destination: Destination, what: What) -> None:
        for listener in list(self._listeners):
            guarded(destination.path, listener.saved, destination, what)


_WATCHES: dict[Function, _Watch] = {}


def watch(functions: Iterable[Function], listener: Listener) -> None:
    """Tell ``listener`` of what these functions save from now on."""
    for function in functions:
        _WATCHES.setdefault(function, _Watch(function)).add(listener)


def unwatch(listener: Listener) -> None:
    """Tell ``listener`` of nothing any more; patches that nobody needs come off."""
    for one in list(_WATCHES.values()):
        one.remove(listener)


def guarded(subject: object, work: Callable[..., Any], *args: Any) -> Any:
    """Do capture's work in the user's thread: what it raises is a warning, never the user's trouble."""
    try:
        return work(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
        logger.warning("%s is not captured: %s: %s", subject, type(error).__name__, error)
        return None
