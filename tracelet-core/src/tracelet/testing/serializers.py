"""What every serializer must do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tracelet.core.plugins.calling import recognise
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.specs import PluginRecord
from tracelet.testing import programs, storing
from tracelet.testing.declaring import OURS
from tracelet.testing.driver import Driver
from tracelet.testing.guard import Contract

__all__ = ["SerializerContract"]

#: A folder that a shell, a URL or a careless format string mangles.
_ODD_FOLDER = "ünï #1 %20 {x} 'q' -dash"


class _Unkind:
    """A value that does not like to be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("do not look")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare")

    def __bool__(self) -> bool:  # pragma: no cover - who matches well does not ask
        raise RuntimeError("neither")

    __hash__ = None  # type: ignore[assignment]


class _Pretender:
    """A value that says that it is everything."""

    def __getattr__(self, name: str) -> Any:  # pragma: no cover - as above
        if name.startswith("__"):
            raise AttributeError(name)
        return self


#: What no framework's models are.
_FOREIGN: Sequence[Any] = (
    None,
    True,
    3,
    0.5,
    "text",
    b"bytes",
    [],
    {},
    object(),
    object,
    print,
    _Unkind(),
    _Pretender(),
)


class SerializerContract(Contract):
    """The contract of a serializer, of objects or of models. Subclass it, and say which, and what it stores.

    For example::

        class TestMine(SerializerContract):
            @pytest.fixture
            def serializer(self) -> str:
                return "mine"

            @pytest.fixture
            def values(self) -> list[object]:
                return [[["a", "b"], ["c", "d"]], []]

    What it cannot do is declared in ``gaps``, test by test, each with its reason.
    """

    @pytest.fixture
    def serializer(self) -> str:
        """Override: the name of the serializer, as it is installed."""
        raise NotImplementedError(
            "give the contract a fixture 'serializer' that returns the installed serializer's name"
        )

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        """Override: values to store, of each kind that it takes. Another process loads them, and must be able to import their classes."""
        raise NotImplementedError("give the contract a fixture 'values' that returns what the serializer stores")

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        """Override: values that it cannot store, and has to refuse."""
        return ()

    @pytest.fixture
    def same(self) -> Callable[[Any, Any], bool]:
        """Override where ``==`` does not tell: whether what was loaded is what was stored; for models, by what they predict."""
        return lambda before, after: type(before) is type(after) and bool(before == after)

    # -- what the tests use

    @pytest.fixture
    def spec(self, serializer: str) -> SerializerSpec:
        """The spec that the installed plugin provides."""
        return registry().serializers.get(serializer)

    @pytest.fixture
    def record(self, serializer: str) -> PluginRecord:
        """The entry point that provides the spec."""
        return next(one for one in registry().records if f"serializer {serializer}" in one.provides)

    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of the kit's own, with a name that is easily mangled."""
        made = tmp_path_factory.mktemp("contract") / _ODD_FOLDER
        made.mkdir()
        return made

    @pytest.fixture(scope="class")
    @classmethod
    def _readers(cls) -> Iterator[dict[str, Driver]]:
        readers: dict[str, Driver] = {}
        yield readers
        for reader in readers.values():
            reader.close()

    @pytest.fixture
    def reader(self, serializer: str, tmp_path_factory: pytest.TempPathFactory, _readers: dict[str, Driver]) -> Driver:
        """Another process, in another folder, which orders its sets otherwise."""
        if serializer not in _readers:
            _readers[serializer] = Driver(tmp_path_factory.mktemp("reader"), {"PYTHONHASHSEED": "271"})
        return _readers[serializer]

    @pytest.fixture
    def victim(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
        """A process for what may well end it."""
        made = Driver(tmp_path_factory.mktemp("victim"), {}, mortal=True)
        yield made
        made.kill()

    @pytest.fixture
    def stored(self, spec: SerializerSpec, values: Sequence[Any], folder: Path) -> list[Path]:
        """Each value, stored in a place of its own."""
        assert values, "the fixture 'values' returns nothing to store"
        places = [folder / str(number) / f"stored{spec.suffix or ''}" for number in range(len(values))]
        for value, place in zip(values, places, strict=True):
            storing.dump(spec.name, value, place)
        return places

    # -- the tests

    def test_what_is_stored_comes_back_in_another_process(
        self, spec: SerializerSpec, values: Sequence[Any], stored: list[Path], reader: Driver, same: Callable[..., bool]
    ) -> None:
        """Equal, as the contract's ``same`` tells, whatever the folder is called; and nothing of it needs the first process."""
        for value, place in zip(values, stored, strict=True):
            back = reader.call(storing.load_and_dump, spec.name, place, place.with_name(f"again{spec.suffix or ''}"))
            assert same(value, back), (value, back)

    def test_equal_values_have_equal_bytes(
        self, spec: SerializerSpec, values: Sequence[Any], stored: list[Path], folder: Path, reader: Driver
    ) -> None:
        """Stored twice, and stored again by the process that loaded it: the same content is the same version."""
        for value, place in zip(values, stored, strict=True):
            twice = place.with_name(f"twice{spec.suffix or ''}")
            storing.dump(spec.name, value, twice)
            assert storing.tree(twice) == storing.tree(place)
            again = place.with_name(f"again{spec.suffix or ''}")
            reader.call(storing.load_and_dump, spec.name, place, again)
            assert storing.tree(again) == storing.tree(place)

    def test_it_writes_where_it_was_told_and_nowhere_else(
        self, spec: SerializerSpec, values: Sequence[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One file, or files in its folder, that are no links; nothing beside them, and nothing in the folder where the program is."""
        here = folder / "the program's"
        here.mkdir()
        monkeypatch.chdir(here)
        for number, value in enumerate(values):
            place = folder / str(number) / f"stored{spec.suffix or ''}"
            storing.dump(spec.name, value, place)
            assert list(here.iterdir()) == []
            assert list(place.parent.iterdir()) == [place]
            assert place.is_file() if spec.suffix is not None else place.is_dir() and any(place.iterdir())
            assert not [one for one in (place, *place.rglob("*")) if one.is_symlink()]

    def test_loading_changes_no_file(self, spec: SerializerSpec, stored: list[Path], reader: Driver) -> None:
        """What is read was verified, and is read again."""
        for place in stored:
            before = storing.tree(place)
            reader.call(storing.load_and_dump, spec.name, place, place.parent / f"again{spec.suffix or ''}")
            assert storing.tree(place) == before

    def test_what_is_damaged_is_refused_in_words_that_core_knows(
        self, spec: SerializerSpec, stored: list[Path], folder: Path, victim: Driver
    ) -> None:
        """Cut off, changed or foreign files are loaded, or raise ``ValueError`` or one of Tracelet's errors; nothing else, and no crash."""
        wrong = victim.call(storing.load_damaged, spec.name, stored[0], folder / "damaged")
        assert not wrong, "raise ValueError, or tracelet.exceptions.ArtifactError, from the library's own error"

    def test_loading_runs_nothing_that_the_file_brings(
        self, spec: SerializerSpec, stored: list[Path], folder: Path, victim: Driver
    ) -> None:
        """Where ``safe`` is True: code that is planted in the files does not run, unless the reader trusts them."""
        if spec.safe:
            ran = victim.call(storing.load_planted, spec.name, stored[0], folder / "planted")
            assert not ran, "planted code ran: say safe=False, or raise UnsafeContent unless trust is True"

    def test_it_knows_its_own_and_takes_nothing_else(self, spec: SerializerSpec, values: Sequence[Any]) -> None:
        """A serializer of models recognises them, alone of all that are installed; and leaves alone, without an error, what is no model."""
        for foreign in _FOREIGN:
            assert spec.matches(foreign) is False, f"it takes a {type(foreign).__name__} for its own"
        if spec.suffix is None:
            for value in values:
                found = recognise(registry().serializers, lambda one: one.suffix is None, value)
                assert [one.name for one in found] == [spec.name]

    def test_what_it_cannot_store_is_refused(self, spec: SerializerSpec, refused: Sequence[Any], folder: Path) -> None:
        """``TypeError``, ``ValueError`` or one of Tracelet's errors says why."""
        for number, value in enumerate(refused):
            with pytest.raises((TypeError, ValueError)):
                storing.dump(spec.name, value, folder / str(number) / f"refused{spec.suffix or ''}")

    def test_importing_the_plugin_is_light(self, record: PluginRecord, victim: Driver) -> None:
        """It is imported in every program that uses Tracelet: the frameworks are imported when something is stored or loaded."""
        module = record.target.partition(":")[0]
        loaded = victim.call(programs.load_plugin, module)
        foreign = loaded - set(sys.stdlib_module_names) - OURS - {module.partition(".")[0]}
        assert not foreign, f"{module} imports {sorted(foreign)}: import them in dump and load"

    def test_it_has_the_name_that_was_asked_for(self, spec: SerializerSpec, serializer: str) -> None:
        """``serializer=`` and ``framework=`` find it by that name."""
        assert spec.name == serializer
