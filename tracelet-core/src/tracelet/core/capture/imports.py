"""Told once a library has been imported: a finder that costs other imports one look into a dict."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tracelet.core.plugins.shapes import misfit
from tracelet.core.system.messages import words_of
from tracelet.core.system.threads import beside, lock_free_in_children

__all__ = ["put_on", "when_imported"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds between two looks at a module whose import another thread had begun before.
_PAUSE = 0.02

_TakeOff = Callable[[], None]


def when_imported(module: str, patch: Callable[[ModuleType], Callable[[], None] | None]) -> Callable[[], None]:
    """Call ``patch`` with a module of another library as soon as that is imported; import nothing.

    If the module is there already, ``patch`` is called at once. Otherwise it is called in the thread that imports the
    module, after the module's code has run and before the ``import`` statement ends. When the module is reloaded, what
    the last call gave is called first, and ``patch`` is called again after it.

    To lead the calls of a function through code of your own, :func:`tracelet.plugin.wrap_calls` is all you need.

    Args:
        module: The module's full name, such as ``torch.serialization``. Its parents and its submodules are other modules.
        patch: Gets the module, and returns what takes the patch off, or None if there is nothing to take off. What it
            raises, and what taking off raises, is one WARNING of the logger ``tracelet.automagic``: the import goes on.

    Returns:
        A function that takes the patch off, and waits for the module no longer. A second call does nothing.

    Raises:
        TypeError: ``module`` is no text, or ``patch`` cannot be called with a module.

    Example:
        >>> def patch(module):
        ...     print(f"{module.__name__} is patched")
        ...     return lambda: print(f"{module.__name__} is as before")
        >>> take_off = when_imported("tabnanny", patch)
        >>> import tabnanny
        tabnanny is patched
        >>> take_off()
        tabnanny is as before

    """
    if not isinstance(module, str):
        raise TypeError(f"give the full name of the module as a text, not {module!r}: it need not be imported yet.")
    wrong = misfit(patch, ("module",))
    if wrong:
        raise TypeError(f"patch cannot be called: {wrong}")
    return put_on(module, patch)


def put_on(module: str, patch: Callable[[ModuleType], _TakeOff | None]) -> _TakeOff:
    """Do what :func:`when_imported` does, for a patch of ours: to look at its arguments takes longer than all the rest."""
    hook = _Hook(module, patch)
    with _LOCK:
        _HOOKS[module] = (*_HOOKS.get(module, ()), hook)
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
    # After the finder is there: what is imported between the two is not missed.
    hook.look()

    def take_off() -> None:
        with _LOCK:
            others = tuple(one for one in _HOOKS.get(module, ()) if one is not hook)
            if others:
                _HOOKS[module] = others
            else:
                _HOOKS.pop(module, None)
            if not _HOOKS and _FINDER in sys.meta_path:
                sys.meta_path.remove(_FINDER)
        hook.end()

    return take_off


class _Hook:
    """One patch of one module, which is put on, taken off and put on anew; each in whatever thread that happens.

    No lock is held while foreign code runs: it may import, and an import that another thread is in the middle of waits.
    """

    def __init__(self, name: str, patch: Callable[[ModuleType], _TakeOff | None]) -> None:
        self._name = name
        self._patch = patch
        #: The module that is patched.
        self.module: object = None
        self._ended = False
        #: The last time that the patch was put on; what an earlier one left is taken off.
        self._turn: object = None
        self._take_offs: dict[object, _TakeOff] = {}

    def look(self) -> None:
        """Patch the module if it is there, or once the thread that imports it at this moment has done so."""
        module = sys.modules.get(self._name)
        if module is None or module is self.module:
            return
        if _is_being_imported(module):
            beside(self._wait)
        else:
            self.attach(module)

    def _wait(self) -> None:
        # The module was begun before there was a finder to tell of it. Importing it here would wait for its end, too, but
        # import it once more where that fails.
        while not self._ended and _is_being_imported(sys.modules.get(self._name)):
            time.sleep(_PAUSE)
        if not self._ended:
            self.look()

    def attach(self, module: ModuleType) -> None:
        """Patch a module whose code has run."""
        if self._ended:
            return
        turn = object()
        self.module, self._turn = module, turn
        self._take_off_earlier()
        take_off = _guarded(self._name, self._patch, module)
        if take_off is not None:
            self._take_offs[turn] = take_off
        # Meanwhile another thread may have ended the hook, or loaded the module anew.
        self._take_off_earlier()

    def detach(self, module: ModuleType) -> bool:
        """Take the patch off this module, whose code is about to run again; say whether there was one."""
        if self.module is not module:
            return False
        self.module = self._turn = None
        self._take_off_earlier()
        return True

    def end(self) -> None:
        """Take the patch off for good."""
        self._ended, self.module, self._turn = True, None, None
        self._take_off_earlier()

    def _take_off_earlier(self) -> None:
        for turn in list(self._take_offs):
            if self._ended or turn is not self._turn:
                # Of two threads that take off, one finds it.
                _guarded(self._name, self._take_offs.pop(turn, lambda: None))


def _is_being_imported(module: object) -> bool:
    # The mark that the import system itself goes by, to wait for another thread.
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _guarded(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call what a detector gave, in the user's thread; what it raises does not come out of the user's import."""
    try:
        return call(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, the user's program goes on
        _LOG.warning("a detector's patch of %s failed: %s", name, words_of(error))
        return None


class _Finder(MetaPathFinder):
    """Stands first among the finders while there are modules to wait for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that tells when it is done; None for other modules."""
        if fullname not in _HOOKS:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                # A folder without code has no loader, and one of an old kind loads in its own way.
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _TellingLoader(spec, spec.loader)
                return spec
        return None


class _TellingLoader(Loader):
    """The module's own loader, which it puts back before the module runs."""

    def __init__(self, spec: ModuleSpec, loader: Loader) -> None:
        self._spec = spec
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._spec.loader = module.__loader__ = self._loader
        name = self._spec.name
        again = [hook for hook in _HOOKS.get(name, ()) if hook.detach(module)]
        try:
            self._loader.exec_module(module)
        except BaseException:
            # A reload that fails leaves the module as far as it came.
            for hook in again:
                hook.attach(module)
            raise
        # A module may put something else in its place; and who runs its code in a module of their own leaves it alone.
        current = sys.modules.get(name)
        for hook in _HOOKS.get(name, ()):
            if current is not None and hook.module is not current:
                hook.attach(current)


_LOCK = lock_free_in_children()
#: What waits for which module. An import reads it without the lock.
_HOOKS: dict[str, tuple[_Hook, ...]] = {}
_FINDER = _Finder()
