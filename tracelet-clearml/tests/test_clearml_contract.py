"""The ClearML backend keeps the contract: the real SDK, against a stand-in for ClearML's servers, and offline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from servers.clearml_server import ClearmlServer
from servers.processes import free_port
from tracelet.testing import BackendContract, programs
from tracelet.testing.contract_fixtures import Bench


class TestClearml(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
        with ClearmlServer(tmp_path_factory.mktemp("clearml") / "server") as server:
            yield server
            assert server.strangers() == []

    @pytest.fixture
    def backend(self) -> str:
        return "clearml"

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return server.environ(tmp_path_factory.mktemp("home"))

    @pytest.fixture
    def unreachable(self, environ: Mapping[str, str]) -> dict[str, str]:
        return {**environ, "CLEARML_API_HOST": f"http://127.0.0.1:{free_port()}"}

    @pytest.fixture
    def tamper(self, server: ClearmlServer) -> Callable[[bytes, bytes], int]:
        return server.replace

    @pytest.fixture
    def footprint(self, server: ClearmlServer) -> Callable[[], object]:
        def look() -> object:
            stored = server.dump()
            files = [str(path) for path in server.files.rglob("*")]
            return [sorted(stored[kind]) for kind in ("projects", "tasks", "models")], len(stored["events"]), files

        return look

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("clearml",)


class TestClearmlOffline(BackendContract):
    gaps: ClassVar[Mapping[str, str]] = {
        "test_two_programs_with_many_threads_lose_nothing": (
            "it wants nothing left to deliver, and offline everything is still to go to the server"
        ),
    }

    @pytest.fixture
    def backend(self) -> str:
        return "clearml"

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        home = tmp_path_factory.mktemp("home")
        return {
            "CLEARML_OFFLINE_MODE": "1",
            "CLEARML_API_HOST": "http://127.0.0.1:9",
            "CLEARML_CONFIG_FILE": str(home / "clearml.conf"),
            "CLEARML_CACHE_DIR": "cache",
            "HOME": str(home),
            "TRACELET_DIR": str(tmp_path_factory.mktemp("place")),
        }

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("clearml",)

    def test_offline_programs_with_many_threads_lose_nothing(self, bench: Bench, own_folder: Path) -> None:
        """Each artifact has a number of its own, and all of them wait for the server."""
        recipes = []
        for number in range(8):
            (own_folder / f"source-{number}").write_bytes(b"%d" % number)
            recipes.append(programs.Recipe("model", {"x": own_folder / f"source-{number}"}))
        drivers = [bench.driver(f"program-{number}") for number in range(2)]
        for driver, part in zip(drivers, (recipes[:4], recipes[4:]), strict=True):
            driver.begin(programs.log_threaded, bench.experiment, "clearml", part)
        assert all(driver.result() >= 4 for driver in drivers)
        opened = bench.open()
        listed = opened.list("model")
        assert sorted(one.number for one in listed) == list(range(8))
        got = [opened.content(one, bench.new_folder("got"))["x"] for one in listed]
        assert sorted(got) == [b"%d" % number for number in range(8)]
        waiting = Path(bench.environ["TRACELET_DIR"], "outbox").glob(f"{bench.experiment}/clearml/*.json")
        assert len(list(waiting)) == 8


if os.environ.get("TRACELET_TEST_CLEARML_SERVER"):

    class TestTrueServer(BackendContract):
        """Against the server that ClearML's own variables name, with the credentials that are here; by choice alone.

        It leaves projects named ``contract-…`` on the server.
        """

        gaps: ClassVar[Mapping[str, str]] = {
            "test_changed_bytes_are_not_believed": "nobody can change bytes on a server of somebody else's",
            "test_a_hostile_manifest_is_not_followed": "nobody can change bytes on a server of somebody else's",
            "test_reading_needs_no_run_and_leaves_no_trace": "what the server holds besides is not for a test to list",
        }

        @pytest.fixture
        def backend(self) -> str:
            return "clearml"

        @pytest.fixture(scope="class")
        @classmethod
        def environ(cls) -> dict[str, str]:
            own = {key: value for key, value in os.environ.items() if key.startswith("CLEARML_")}
            return {**own, "CLEARML_CACHE_DIR": "cache"}

        @pytest.fixture
        def unreachable(self, environ: Mapping[str, str]) -> Mapping[str, str]:
            return {**environ, "CLEARML_API_HOST": "http://127.0.0.1:9"}

        @pytest.fixture
        def sdk_modules(self) -> tuple[str, ...]:
            return ("clearml",)
