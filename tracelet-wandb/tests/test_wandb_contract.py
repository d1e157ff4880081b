"""The W&B backend keeps the contract: the real SDK against a stand-in server, and offline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from servers.wandb_server import WandbServer, wandb_server
from tracelet.testing import BackendContract, programs
from tracelet.testing.contract_fixtures import Bench


class TestWandb(BackendContract):
    #: Whether the server offers all that one of today does.
    current: ClassVar[bool] = False
    gaps: ClassVar[Mapping[str, str]] = {
        "test_a_label_of_a_deleted_version_is_not_given_to_other_content": (
            "W&B deletes a version with all that was noted of it, and nobody remembers what its label was"
        ),
    }

    @pytest.fixture
    def backend(self) -> str:
        return "wandb"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
        with wandb_server(tmp_path_factory.mktemp("server"), current=cls.current) as server:
            yield server

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, server: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return server.environ(tmp_path_factory.mktemp("home"))

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("wandb",)

    @pytest.fixture
    def tamper(self, server: WandbServer) -> Callable[[bytes, bytes], int]:
        """In the blobs, and in what the server keeps besides: the note among a version's metadata."""

        def replace(old: bytes, new: bytes) -> int:
            server.kill()
            changed = 0
            for path in [path for path in server.folder.rglob("*") if path.is_file()]:
                content = path.read_bytes()
                if old in content:
                    path.write_bytes(content.replace(old, new))
                    changed += 1
            server.start()
            return changed

        return replace

    @pytest.fixture
    def footprint(self, server: WandbServer) -> Callable[[], object]:
        def look() -> object:
            found = server.look()
            return found["projects"]

        return look


class TestCurrentWandb(TestWandb):
    current = True


class TestWandbOffline(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "wandb"

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        home = tmp_path_factory.mktemp("home")
        return {
            "WANDB_MODE": "offline",
            "WANDB_BASE_URL": "http://127.0.0.1:9",
            "HOME": str(home),
            "WANDB_DATA_DIR": "wandb-data",
            "WANDB_CACHE_DIR": "wandb-cache",
            "TRACELET_DIR": str(tmp_path_factory.mktemp("place")),
        }

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("wandb",)

    gaps: ClassVar[Mapping[str, str]] = {
        "test_two_programs_with_many_threads_lose_nothing": (
            "it wants nothing left to deliver, and offline everything is still to go to the server"
        ),
    }

    def test_offline_programs_with_many_threads_lose_nothing(self, bench: Bench, own_folder: Path) -> None:
        """Both keep all of theirs, each under a number of its own, and all of it waits for the server."""
        recipes = []
        for number in range(8):
            source = own_folder / f"source-{number}"
            source.write_bytes(f"content {number}".encode())
            recipes.append(programs.Recipe("model", {"x": source}))
        for number in range(2):
            driver = bench.driver(f"program-{number}")
            driver.begin(programs.log_threaded, bench.experiment, "wandb", recipes[number * 4 : number * 4 + 4])
        for number in range(2):
            assert bench.driver(f"program-{number}").result() >= 4
        opened = bench.open()
        listed = opened.list("model")
        assert sorted(one.number for one in listed) == list(range(8))
        got = [opened.content(one, bench.new_folder("got"))["x"] for one in listed]
        assert sorted(got) == [f"content {number}".encode() for number in range(8)]
        outbox = Path(bench.environ["TRACELET_DIR"]) / "outbox"
        assert len(list(outbox.glob(f"{bench.experiment}/wandb/*.json"))) == 8


if os.environ.get("TRACELET_TEST_WANDB_SERVER"):

    class TestTrueServer(BackendContract):
        """Against the server that W&B's own variables name, with the credentials that are here; by choice alone.

        It leaves projects named ``contract-…`` in the account.
        """

        gaps: ClassVar[Mapping[str, str]] = {
            "test_changed_bytes_are_not_believed": "nobody can change bytes on a server of somebody else's",
            "test_a_hostile_manifest_is_not_followed": "nobody can change bytes on a server of somebody else's",
            "test_reading_needs_no_run_and_leaves_no_trace": "what the account holds besides is not for a test to list",
        }

        @pytest.fixture
        def backend(self) -> str:
            return "wandb"

        @pytest.fixture(scope="class")
        @classmethod
        def environ(cls) -> dict[str, str]:
            own = {key: value for key, value in os.environ.items() if key.startswith("WANDB_")}
            return {**own, "WANDB_CACHE_DIR": "wandb-cache", "WANDB_DATA_DIR": "wandb-data"}

        @pytest.fixture
        def unreachable(self, environ: Mapping[str, str]) -> Mapping[str, str]:
            return {**environ, "WANDB_BASE_URL": "http://127.0.0.1:9"}

        @pytest.fixture
        def sdk_modules(self) -> tuple[str, ...]:
            return ("wandb",)
