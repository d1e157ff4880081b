"""What every backend must do."""

from __future__ import annotations

from tracelet.testing.contents import Contents
from tracelet.testing.declaring import Declaring
from tracelet.testing.durability import Durability
from tracelet.testing.sharing import Sharing
from tracelet.testing.versions import Versions

__all__ = ["BackendContract"]


class BackendContract(Contents, Versions, Durability, Sharing, Declaring):
    """The contract of a backend. Subclass it, and say which backend, and where an empty place is.

    For example::

        class TestMine(BackendContract):
            @pytest.fixture
            def backend(self) -> str:
                return "mine"

            @pytest.fixture(scope="class")
            @classmethod
            def environ(cls, tmp_path_factory) -> dict[str, str]:
                return {"TRACELET_MINE_URL": f"file://{tmp_path_factory.mktemp('place')}"}

    The other fixtures that can be overridden are those of :class:`~tracelet.testing.contract_fixtures.ContractFixtures`. What
    the backend cannot do is declared in ``gaps``, test by test, each with its reason.
    """
