"""The embedded backend keeps the contract, in the user's process and in a lane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tracelet.testing import BackendContract, installed

pytestmark = pytest.mark.kit

LANE = """
import attrs

from tracelet.builtin import local
from tracelet.plugin import hookimpl


@hookimpl
def tracelet_backends():
    return [attrs.evolve(spec, name="local-in-a-lane", in_process=False) for spec in local.tracelet_backends()]
"""


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "local"

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return {"TRACELET_DIR": str(tmp_path_factory.mktemp("place"))}


class TestLocalInALane(TestLocal):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def plugin(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("plugin")
        (folder / "local_in_a_lane.py").write_text(LANE)
        with installed(folder, {"local-in-a-lane": "local_in_a_lane"}):
            yield

    @pytest.fixture
    def backend(self) -> str:
        return "local-in-a-lane"
