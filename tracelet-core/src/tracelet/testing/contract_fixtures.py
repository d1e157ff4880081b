"""What the author of a backend tells the kit, and what the tests are given in return."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.specs import PluginRecord
from tracelet.testing import programs
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.guard import Contract
from tracelet.testing.samples import Samples

__all__ = ["Bench", "ContractFixtures"]

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")


@attrs.define
class Bench:
    """Processes for one test: some in which a backend is opened, and programs that use the public API."""

    spec: BackendSpec
    environ: Mapping[str, str]
    folder: Path
    drivers: dict[tuple[str, tuple[tuple[str, str], ...]], Driver]
    experiment: str
    _opened: list[BackendProcess] = attrs.field(factory=list)
    _mortal: list[Driver] = attrs.field(factory=list)
    _count: int = 0

    def new_folder(self, what: str) -> Path:
        """Return a path in the test's folder that is not there yet."""
        self._count += 1
        return self.folder / f"{what}-{self._count}"

    def driver(self, role: str, environ: Mapping[str, str] | None = None, *, mortal: bool = False) -> Driver:
        """Return the process of that role; kept for later tests where the variables stay the same.

        A role that begins with ``program`` is a user's program: the SDK's variables, which a lane sets for
        itself, are not set there.
        """
        given = dict(self.environ if environ is None else environ)
        defaults = {} if role.startswith("program") else dict(self.spec.environ)
        folder = self.new_folder(role)
        given.setdefault("TRACELET_DIR", str(folder / "tracelet"))
        if mortal:
            self._mortal.append(Driver(folder, given, defaults, mortal=True))
            return self._mortal[-1]
        key = (role, tuple(sorted((environ or self.environ).items())))
        if key not in self.drivers:
            for old in [known for known in self.drivers if known[0] == role]:
                self.drivers.pop(old).close()
            self.drivers[key] = Driver(folder, given, defaults)
        return self.drivers[key]

    def open(
        self,
        role: str = "backend",
        *,
        experiment: str | None = None,
        environ: Mapping[str, str] | None = None,
        mortal: bool = False,
    ) -> BackendProcess:
        """Open the backend in the process of that role."""
        driver = self.driver(role, environ, mortal=mortal)
        variables = self.environ if environ is None else environ
        directory = Path(variables.get("TRACELET_DIR") or self.new_folder("tracelet"))
        # The place of a backend that lives there may be meant to be away.
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
        made = BackendProcess(driver, uuid.uuid4().hex, self.spec.name, experiment or self.experiment, directory)
        if not mortal:
            self._opened.append(made)
        return made

    def close(self) -> None:
        """End the runs, and the processes that are not kept."""
        for driver in self._mortal:
            driver.kill()
        for opened in self._opened:
            opened.close()
        for (role, _), driver in self.drivers.items():
            if role.startswith("program"):
                driver.call(programs.end_reading)


class ContractFixtures(Contract):
    """The fixtures of :class:`~tracelet.testing.BackendContract`. Those in the first half are yours to override."""

    @pytest.fixture
    def backend(self) -> str:
        """Override: the name of the backend, as it is installed."""
        raise NotImplementedError("give the contract a fixture 'backend' that returns the installed backend's name")

    @pytest.fixture
    def environ(self) -> Mapping[str, str]:
        """Override: variables that point the backend at an empty place.

        Every test uses an experiment of its own, so a place may serve several tests: with a wider scope
        (class, module) the tests share processes and are quicker. Every process of the kit has a TRACELET_DIR
        of its own unless this sets it.
        """
        return {}

    @pytest.fixture
    def unreachable(self, environ: Mapping[str, str], own_folder: Path) -> Mapping[str, str]:
        """Override where the guess is wrong: variables that point the backend at a place that is not there.

        The guess takes ``environ`` and closes its ports and puts a file where its folders were.
        """
        wall = own_folder / "a file and no folder"
        wall.write_bytes(b"")
        return {key: _closed(value, wall / "x") for key, value in environ.items()}

    @pytest.fixture
    def tamper(self, environ: Mapping[str, str]) -> Callable[[bytes, bytes], int]:
        """Override where stored bytes are not in files of folders that ``environ`` names, or are packed there.

        Return a function that replaces bytes by others of the same length wherever the place holds them, and
        says in how many places.
        """

        def replace(old: bytes, new: bytes) -> int:
            assert len(old) == len(new)
            changed = 0
            for path in _files(environ):
                content = path.read_bytes()
                if old in content:
                    path.chmod(0o644)
                    path.write_bytes(content.replace(old, new))
                    changed += 1
            return changed

        return replace

    @pytest.fixture
    def footprint(self, environ: Mapping[str, str]) -> Callable[[], object]:
        """Override where runs do not show as files in folders that ``environ`` names.

        Return a function whose answer changes when a run, or anything else, is made in the place.
        """

        def look() -> object:
            return [(str(path), path.stat().st_size) for path in _files(environ)]

        return look

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        """Override: the SDK's top-level modules, such as ``("mlflow",)``, which the user's process must not load.

        Whatever is named here, importing the plugin may load nothing but the standard library, Tracelet, what
        Tracelet needs, and the plugin's own package.
        """
        return ()

    # -- what the tests use

    @pytest.fixture
    def spec(self, backend: str) -> BackendSpec:
        """The spec that the installed plugin provides."""
        return registry().backends.get(backend)

    @pytest.fixture
    def record(self, backend: str) -> PluginRecord:
        """The entry point that provides the spec."""
        return next(record for record in registry().records if f"backend {backend}" in record.provides)

    @pytest.fixture
    def samples(self, own_folder: Path) -> Samples:
        """Makes artifacts."""
        return Samples(own_folder / "samples")

    @pytest.fixture
    def own_folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of the kit's own: ``tmp_path`` is yours, and may be the place itself."""
        return tmp_path_factory.mktemp("contract")

    @pytest.fixture(scope="class")
    @classmethod
    def _drivers(cls) -> Iterator[dict[Any, Driver]]:
        drivers: dict[Any, Driver] = {}
        yield drivers
        for driver in drivers.values():
            driver.close()

    @pytest.fixture
    def bench(
        self, spec: BackendSpec, environ: Mapping[str, str], own_folder: Path, _drivers: dict[Any, Driver]
    ) -> Iterator[Bench]:
        """Processes to work in."""
        made = Bench(spec, environ, own_folder, _drivers, f"contract-{uuid.uuid4().hex[:12]}")
        yield made
        made.close()

    @pytest.fixture
    def opened(self, bench: Bench) -> BackendProcess:
        """The backend, opened, for an experiment that is empty."""
        return bench.open()

    @pytest.fixture
    def can(self, spec: BackendSpec) -> Callable[[Capability], bool]:
        """Whether the spec declares a capability."""
        return lambda capability: capability in spec.capabilities


def _folder(value: str) -> Path | None:
    """The folder that a variable names, as a path or in a URL."""
    match = _URL.fullmatch(value)
    text = f"/{match['rest'].lstrip('/')}" if match and not urlsplit(value).netloc else value
    path = Path(text)
    if not path.is_absolute() or path == Path("/"):
        return None
    return path if path.is_dir() else path.parent


def _files(environ: Mapping[str, str]) -> list[Path]:
    folders = [folder for value in environ.values() if (folder := _folder(value)) is not None]
    return sorted({path for folder in folders for path in folder.rglob("*") if path.is_file()})


def _closed(value: str, wall: Path) -> str:
    match = _URL.fullmatch(value)
    if match and urlsplit(value).netloc:
        return urlsplit(value)._replace(netloc="127.0.0.1:9").geturl()
    if match:
        return f"{match['scheme']}:///{str(wall).lstrip('/')}"
    return str(wall) if value.startswith("/") else value
