"""What detectors patch other libraries with: told once one is imported, and calls of a function led through theirs."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tracelet.core.capture import calls, imports
from tracelet.core.capture.patching import Patch
from tracelet.plugin import when_imported, wrap_calls

pytestmark = pytest.mark.capture

#: Seconds that a thread may need on a busy machine.
PATIENCE = 60


class Library:
    """A library that is written for one test: its name, and its files, by their paths in it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"pottery_{folder.parent.name}".replace("-", "_")
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        #: What its code sees as `world`.
        self.world = SimpleNamespace(runs=[])
        self.write("def fire(pot):\n    return f'fired {pot}'\n")

    def write(self, code: str, file: str = "__init__.py") -> None:
        head = f"import sys\nworld = sys.modules['{self.name}_world']\nworld.runs.append(__name__)\n"
        (self.folder / file).write_text(head + code)
        importlib.invalidate_caches()

    def pause(self, rest: str = "") -> None:
        """Have its code wait in the middle: `world.begun` tells that it is there, and `world.go_on` lets it do the rest."""
        self.world.begun, self.world.go_on = threading.Event(), threading.Event()
        self.write(f"world.begun.set()\nworld.go_on.wait({PATIENCE})\n{rest}\n")

    def load(self, submodule: str = "") -> ModuleType:
        return importlib.import_module(self.name + submodule)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    # Of two sources of one second and size the bytecode of the first would be run.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Library(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setitem(sys.modules, f"{made.name}_world", made.world)  # type: ignore[arg-type]
    finders = list(sys.meta_path)
    yield made
    for name in [name for name in sys.modules if name == made.name or name.startswith(f"{made.name}.")]:
        del sys.modules[name]
    assert sys.meta_path == finders


class Patches:
    """A patch that notes when it is put on and taken off."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.modules: list[ModuleType] = []
        self.threads: list[int] = []
        self.put_on = threading.Event()

    def __call__(self, module: ModuleType) -> Callable[[], None]:
        self.done.append("on")
        self.modules.append(module)
        self.threads.append(threading.get_ident())
        self.put_on.set()
        return lambda: self.done.append("off")


@pytest.fixture
def patch() -> Patches:
    return Patches()


@pytest.fixture
def wait(library: Library) -> Iterator[Callable[[str, Any], Callable[[], None]]]:
    """Wait for a module of the library; all is taken off in the end."""
    ends: list[Callable[[], None]] = []

    def one(submodule: str, given: Any) -> Callable[[], None]:
        ends.append(when_imported(library.name + submodule, given))
        return ends[-1]

    yield one
    for end in ends:
        end()


Wait = Callable[[str, Any], Callable[[], None]]


class TestWhenALibraryIsImported:
    def test_before_it_is_patched_at_once(self, library: Library, wait: Wait, patch: Patches) -> None:
        module = library.load()
        wait("", patch)
        assert patch.modules == [module]

    def test_later_it_is_patched_before_the_import_ends(self, library: Library, wait: Wait, patch: Patches) -> None:
        wait("", patch)
        assert not patch.done
        module = library.load()
        assert patch.modules == [module]
        assert type(module.__loader__) is type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
        library.load()
        assert patch.done == ["on"]

    def test_by_another_thread_it_is_patched_in_that_thread(self, library: Library, wait: Wait, patch: Patches) -> None:
        wait("", patch)
        thread = threading.Thread(target=library.load)
        thread.start()
        thread.join(PATIENCE)
        assert patch.threads == [thread.ident]

    def test_by_a_thread_that_had_begun_before_it_is_patched_when_that_is_done(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.pause("whole = True")
        thread = threading.Thread(target=library.load)
        thread.start()
        assert library.world.begun.wait(PATIENCE)
        wait("", patch)
        assert not patch.done
        library.world.go_on.set()
        assert patch.put_on.wait(PATIENCE)
        thread.join(PATIENCE)
        assert patch.modules == [library.load()]
        assert patch.modules[0].whole
        assert library.world.runs == [library.name]

    def test_by_a_thread_that_had_begun_before_and_fails_nothing_is_patched_and_nothing_imported_again(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.pause("raise ImportError('broken')")

        def fail() -> None:
            with pytest.raises(ImportError, match="broken"):
                library.load()

        before = set(threading.enumerate())
        thread = threading.Thread(target=fail)
        thread.start()
        assert library.world.begun.wait(PATIENCE)
        wait("", patch)
        library.world.go_on.set()
        for one in set(threading.enumerate()) - before:
            one.join(PATIENCE)
        assert not patch.done
        assert library.world.runs == [library.name]

    def test_by_a_thread_that_had_begun_before_and_it_is_taken_off_meanwhile_nothing_is_patched(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.pause()
        before = set(threading.enumerate())
        thread = threading.Thread(target=library.load)
        thread.start()
        assert library.world.begun.wait(PATIENCE)
        wait("", patch)()
        # Nobody waits for the import any more, which goes on.
        for one in set(threading.enumerate()) - before - {thread}:
            one.join(PATIENCE)
            assert not one.is_alive()
        library.world.go_on.set()
        thread.join(PATIENCE)
        assert not patch.done

    def test_never_nothing_happens(self, library: Library, wait: Wait, patch: Patches) -> None:
        finders = list(sys.meta_path)
        take_off = wait("", patch)
        # It may have stood there before, for somebody else's patch.
        assert type(sys.meta_path[0]).__name__ == "_Finder"
        take_off()
        assert sys.meta_path == finders
        assert not patch.done
        assert not library.world.runs

    def test_and_fails_it_fails_as_ever_and_is_patched_when_it_succeeds(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.write("raise ImportError('broken on purpose')\n")
        wait("", patch)
        with pytest.raises(ImportError, match="broken on purpose"):
            library.load()
        assert not patch.done
        library.write("whole = True\n")
        assert library.load().whole
        assert patch.done == ["on"]

    def test_of_an_old_kind_of_loader_it_is_imported_as_ever(
        self, library: Library, wait: Wait, patch: Patches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait("", patch)
        ours = sys.meta_path[0]
        spec = importlib.machinery.ModuleSpec(library.name, SimpleNamespace(load_module=library.load))  # type: ignore[arg-type]
        finder = SimpleNamespace(find_spec=lambda name, path, target=None: spec if name == library.name else None)
        with monkeypatch.context() as changed:
            changed.setattr(sys, "meta_path", [ours, SimpleNamespace(), finder])
            assert ours.find_spec(library.name, None) is spec
        assert spec.loader.load_module == library.load

    def test_a_name_that_nobody_finds_is_not_found_as_ever(self, library: Library, wait: Wait, patch: Patches) -> None:
        wait(".nothing", patch)
        with pytest.raises(ModuleNotFoundError, match="nothing"):
            library.load(".nothing")
        assert not patch.done

    def test_and_puts_something_else_in_its_place_that_is_patched(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.write("from types import ModuleType\nsys.modules[__name__] = ModuleType('stands in')\n")
        wait("", patch)
        assert patch.modules == [library.load()]
        assert patch.modules[0].__name__ == "stands in"

    def test_only_into_a_module_of_somebodys_own_that_is_left_alone(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        wait("", patch)
        finder = sys.meta_path[0]
        for count in (0, 1):
            if count:
                library.load()
            spec = finder.find_spec(library.name, None)
            assert spec is not None
            assert "def fire(" in spec.loader.get_source(library.name)
            own = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(own)
            assert own.fire("a pot") == "fired a pot"
            assert len(patch.done) == count


class TestSubmodules:
    def test_are_modules_of_their_own(self, library: Library, wait: Wait, patch: Patches) -> None:
        library.write("def glaze(pot): ...\n", "glazing.py")
        of_the_whole = Patches()
        wait(".glazing", patch)
        wait("", of_the_whole)
        whole = library.load()
        assert (of_the_whole.modules, patch.modules) == ([whole], [])
        part = library.load(".glazing")
        assert (of_the_whole.modules, patch.modules) == ([whole], [part])

    def test_are_patched_where_the_library_imports_them_itself(
        self, library: Library, wait: Wait, patch: Patches
    ) -> None:
        library.write("def glaze(pot): ...\n", "glazing.py")
        library.write("from .glazing import glaze\n")
        wait(".glazing", patch)
        library.load()
        assert [one.__name__ for one in patch.modules] == [f"{library.name}.glazing"]


class TestTakingOff:
    def test_undoes_the_patch_once(self, library: Library, wait: Wait, patch: Patches) -> None:
        take_off = wait("", patch)
        library.load()
        take_off()
        take_off()
        assert patch.done == ["on", "off"]

    def test_before_the_import_leaves_the_library_alone(self, library: Library, wait: Wait, patch: Patches) -> None:
        wait("", patch)()
        library.load()
        assert not patch.done

    def test_is_not_needed_where_there_is_nothing_to_undo(self, library: Library, wait: Wait) -> None:
        seen: list[ModuleType] = []
        take_off = wait("", seen.append)
        module = library.load()
        take_off()
        assert seen == [module]

    def test_while_it_is_put_on_undoes_it_then(self, library: Library, wait: Wait, patch: Patches) -> None:
        def meanwhile(module: ModuleType) -> Callable[[], None]:
            take_off()
            return patch(module)

        take_off = wait("", meanwhile)
        library.load()
        assert patch.done == ["on", "off"]

    def test_while_the_library_is_imported_leaves_it_alone(self, library: Library, wait: Wait, patch: Patches) -> None:
        first = wait("", lambda module: second())
        second = wait("", patch)
        library.load()
        assert not patch.done
        first()

    def test_of_one_leaves_the_other(self, library: Library, wait: Wait, patch: Patches) -> None:
        """Two detectors patch one library, and either may be stopped first."""
        other = Patches()
        first, second = wait("", patch), wait("", other)
        library.load()
        first()
        assert (patch.done, other.done) == (["on", "off"], ["on"])
        importlib.reload(library.load())
        assert (patch.done, other.done) == (["on", "off"], ["on", "off", "on"])
        second()
        assert (patch.done, other.done) == (["on", "off"], ["on", "off", "on", "off"])


class TestAPatchThatRaises:
    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), AttributeError("no")], ids=repr)
    def test_is_one_warning_and_the_import_goes_on(
        self, error: BaseException, library: Library, wait: Wait, patch: Patches, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(module: ModuleType) -> None:
            raise error

        wait("", fail)
        wait("", patch)
        assert library.load().fire("a pot") == "fired a pot"
        assert patch.done == ["on"]
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("tracelet.automagic", "WARNING")
        assert record.getMessage() == f"a detector's patch of {library.name} failed: {type(error).__name__}: no"

    def test_while_it_is_taken_off_is_one_warning(
        self, library: Library, wait: Wait, caplog: pytest.LogCaptureFixture
    ) -> None:
        take_off = wait("", lambda module: lambda: 1 / 0)
        library.load()
        take_off()
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_because_of_the_users_ctrl_c_passes_it_on(self, library: Library, wait: Wait) -> None:
        def interrupted(module: ModuleType) -> None:
            raise KeyboardInterrupt

        wait("", interrupted)
        with pytest.raises(KeyboardInterrupt):
            library.load()


class TestALibraryThatIsReloaded:
    def test_is_unpatched_before_and_patched_after(self, library: Library, wait: Wait, patch: Patches) -> None:
        library.world.patch = patch
        wait("", patch)
        module = library.load()
        library.write("world.seen = list(world.patch.done)\n")
        assert importlib.reload(module) is module
        assert library.world.seen == ["on", "off"]
        assert patch.done == ["on", "off", "on"]

    def test_in_vain_is_patched_as_it_then_is(self, library: Library, wait: Wait, patch: Patches) -> None:
        wait("", patch)
        module = library.load()
        library.write("raise ImportError('broken')\n")
        with pytest.raises(ImportError, match="broken"):
            importlib.reload(module)
        assert patch.done == ["on", "off", "on"]

    def test_as_a_new_module_is_patched_there_alone(self, library: Library, wait: Wait, patch: Patches) -> None:
        take_off = wait("", patch)
        before = library.load()
        del sys.modules[library.name]
        after = library.load()
        assert patch.modules == [before, after]
        assert patch.done == ["on", "off", "on"]
        take_off()
        assert patch.done == ["on", "off", "on", "off"]


def in_a_fork(work: Callable[[], None]) -> int:
    """Do something in a forked child; return its exit code, which is 1 where it raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing comes out of a fork
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Python warns of a fork beside threads from 3.12 on.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
class TestAForkedChild:
    def test_is_patched_like_its_parent_and_apart_from_it(self, library: Library, wait: Wait, patch: Patches) -> None:
        take_off = wait("", patch)

        def child() -> None:
            library.load()
            assert patch.done == ["on"]
            take_off()
            assert patch.done == ["on", "off"]

        assert in_a_fork(child) == 0
        assert not patch.done
        library.load()
        assert patch.done == ["on"]

    @pytest.mark.parametrize("lock", [imports._LOCK, calls._LOCK], ids=["imports", "calls"])
    def test_does_not_wait_for_what_a_thread_of_its_parent_was_doing(self, lock: Any, library: Library) -> None:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with lock:
                held.set()
                done.wait(PATIENCE)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(PATIENCE)

        def child() -> None:
            take_off = wrap_calls(library.name, "fire", lambda original, args, kwargs: "cold")
            assert library.load().fire("a pot") == "cold"
            take_off()
            assert library.load().fire("a pot") == "fired a pot"

        assert in_a_fork(child) == 0
        done.set()
        thread.join(PATIENCE)


class Around:
    """Code around a function, which notes its calls."""

    def __init__(self, name: str = "around", order: list[str] | None = None) -> None:
        self.name = name
        self.order = [] if order is None else order
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.order.append(self.name)
        self.calls.append((*args, *kwargs.items()))
        return original(*args, **kwargs)


@pytest.fixture
def wrap(library: Library) -> Iterator[Callable[[str, Any], Callable[[], None]]]:
    """Wrap a function of the library; all is taken off in the end."""
    ends: list[Callable[[], None]] = []

    def one(function: str, around: Any) -> Callable[[], None]:
        ends.append(wrap_calls(library.name, function, around))
        return ends[-1]

    yield one
    for end in ends:
        end()


KILN = """
class Kiln:
    def fire(self, pot, hot=True):
        return (self, pot, hot)

    @classmethod
    def build(cls):
        return cls()

    @staticmethod
    def light(match):
        return match

    class Door:
        def open(self):
            return "open"

    kept = len


class Fire:
    def __call__(self, pot):
        return pot


fire = Fire()
"""


class TestCallsOfAFunction:
    def test_are_seen_from_the_import_on_until_it_is_taken_off(self, library: Library, wrap: Wait) -> None:
        around = Around()
        take_off = wrap("fire", around)
        module = library.load()
        fire = module.fire
        assert fire("a pot") == "fired a pot"
        assert fire(pot="a bowl") == "fired a bowl"
        take_off()
        take_off()
        assert fire("a jug") == "fired a jug"
        assert module.fire is fire
        assert around.calls == [("a pot",), (("pot", "a bowl"),)]

    def test_are_seen_where_it_was_taken_out_of_its_module_before(self, library: Library, wrap: Wait) -> None:
        fire, around = library.load().fire, Around()
        wrap("fire", around)
        fire("a pot")
        assert around.calls == [("a pot",)]

    def test_raise_what_it_raises(self, library: Library, wrap: Wait) -> None:
        library.write("def fire(pot):\n    raise LookupError(pot)\n")
        wrap("fire", Around())
        with pytest.raises(LookupError, match="a pot"):
            library.load().fire("a pot")

    def test_are_seen_of_methods_of_every_kind(self, library: Library, wrap: Wait) -> None:
        library.write(KILN)
        around = Around()
        for name in ("Kiln.fire", "Kiln.build", "Kiln.light", "Kiln.Door.open"):
            wrap(name, around)
        kiln_class = library.load().Kiln
        kiln = kiln_class.build()
        assert type(kiln) is kiln_class
        assert kiln.fire("a pot", hot=False) == (kiln, "a pot", False)
        assert kiln_class.light("a match") == "a match"
        assert kiln_class.Door().open() == "open"
        door = around.calls.pop()[0]
        assert type(door) is kiln_class.Door
        assert around.calls == [(kiln_class,), (kiln, "a pot", ("hot", False)), ("a match",)]

    def test_are_seen_of_one_in_c_by_its_name(self, library: Library, wrap: Wait) -> None:
        library.write("from _pickle import dumps\nnumber = 3\n")
        module = library.load()
        original = module.dumps
        first, second = Around(), Around()
        take_first, take_second = wrap("dumps", first), wrap("dumps", second)
        assert pickle.loads(module.dumps([1])) == [1]
        assert original([2])
        take_first()
        assert module.dumps([3])
        take_second()
        assert module.dumps is original
        assert (first.calls, second.calls) == ([([1],)], [([1],), ([3],)])

    @pytest.mark.parametrize("name", ["Kiln", "Kiln.kept", "Kiln.nothing", "fire", "nothing"])
    def test_of_what_is_no_function_are_left_alone(
        self, name: str, library: Library, wrap: Wait, caplog: pytest.LogCaptureFixture
    ) -> None:
        library.write(KILN)
        caplog.set_level(logging.DEBUG, "tracelet.automagic")
        wrap(name, Around())
        assert library.load().fire("a pot") == "a pot"
        assert [record.getMessage() for record in caplog.records] == [
            f"{library.name}.{name} is not watched: this version has no such function."
        ]

    def test_are_seen_after_a_reload(self, library: Library, wrap: Wait) -> None:
        around = Around()
        take_off = wrap("fire", around)
        module = library.load()
        before = module.fire
        importlib.reload(module)
        assert module.fire is not before
        module.fire("a pot")
        before("a bowl")
        assert around.calls == [("a pot",)]
        take_off()
        module.fire("a jug")
        assert around.calls == [("a pot",)]


class TestSeveralAroundOneFunction:
    def test_are_called_from_the_outside_in_the_last_first(self, library: Library, wrap: Wait) -> None:
        order: list[str] = []
        for name in ("first", "second", "third"):
            wrap("fire", Around(name, order))
        assert library.load().fire("a pot") == "fired a pot"
        assert order == ["third", "second", "first"]

    @pytest.mark.parametrize("gone", [0, 1, 2])
    def test_are_taken_off_in_any_order(self, gone: int, library: Library, wrap: Wait) -> None:
        order: list[str] = []
        fire = library.load().fire
        code = fire.__code__
        ends = [wrap("fire", Around(name, order)) for name in ("first", "second", "third")]
        ends.pop(gone)()
        assert fire("a pot") == "fired a pot"
        left = ["third", "second", "first"]
        left.remove(("first", "second", "third")[gone])
        assert order == left
        for end in ends:
            end()
        assert fire.__code__ is code
        assert fire("a pot") == "fired a pot"
        assert order == left

    def test_that_are_the_same_are_called_once_until_the_last_is_taken_off(self, library: Library, wrap: Wait) -> None:
        around = Around()
        first, second = wrap("fire", around), wrap("fire", around)
        fire = library.load().fire
        fire("a pot")
        first()
        fire("a bowl")
        second()
        fire("a jug")
        assert around.calls == [("a pot",), ("a bowl",)]


class TestThePatchOfAFunction:
    def test_code_that_somebody_put_in_meanwhile_stays_and_the_patch_under_it_only_passes_on(self) -> None:
        def function(number: int) -> int:
            return number + 1

        seen = []

        def around(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            seen.append(args)
            return original(*args, **kwargs)

        patch = Patch(function, around)
        ours = function.__code__
        function.__code__ = (lambda number: number * 10).__code__
        theirs = function.__code__
        patch.remove()
        assert function.__code__ is theirs
        function.__code__ = ours
        assert function(1) == 2
        assert not seen

    def test_a_function_with_cells_and_defaults_can_be_patched(self) -> None:
        """Decorated functions have free variables; a debugger that asks for the locals gets them."""
        first, second = [1], [2]

        def function(number: int, *, times: int = 3) -> list[int]:
            return (first + second + [number]) * times

        patch = Patch(function, lambda original, args, kwargs: original(*args, **kwargs))
        frames = []
        # Who measures the tests traces them too, and is to go on.
        tracer = sys.gettrace()
        sys.settrace(lambda frame, event, arg: frames.append(dict(frame.f_locals)))
        try:
            result = function(5)
        finally:
            sys.settrace(tracer)
        assert result == [1, 2, 5] * 3
        assert frames
        patch.remove()
        assert function(5, times=1) == [1, 2, 5]


class TestWhatMakesNoSense:
    def test_is_refused_where_it_is_said(self) -> None:
        with pytest.raises(TypeError, match="full name of the module"):
            when_imported(logging, lambda module: None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"patch cannot be called: it must take \(module\)"):
            when_imported("logging", lambda: None)  # type: ignore[misc, arg-type]
        with pytest.raises(TypeError, match="names of the module and of the function"):
            wrap_calls("logging", logging.info, Around())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="names of the module and of the function"):
            wrap_calls(logging, "info", Around())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"around cannot be called: it must take \(original, args, kwargs\)"):
            wrap_calls("logging", "info", lambda original: None)  # type: ignore[misc, arg-type]
