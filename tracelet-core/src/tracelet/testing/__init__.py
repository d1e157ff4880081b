"""The contract kit: what every plugin must do, as tests that its author runs.

``class TestMine(BackendContract)`` with a fixture ``backend`` that returns the installed name, and a fixture
``environ`` that says where an empty place is, runs all of them. Needs pytest: ``tracelet-core[testing]``.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracelet.testing.backends import BackendContract
    from tracelet.testing.detectors import DetectorContract
    from tracelet.testing.installing import installed
    from tracelet.testing.routing import RoutingContract
    from tracelet.testing.serializers import SerializerContract

__all__ = ["BackendContract", "DetectorContract", "RoutingContract", "SerializerContract", "installed"]

_MODULES = {
    "BackendContract": "tracelet.testing.backends",
    "DetectorContract": "tracelet.testing.detectors",
    "RoutingContract": "tracelet.testing.routing",
    "SerializerContract": "tracelet.testing.serializers",
    "installed": "tracelet.testing.installing",
}
#: The modules with assertions, which pytest explains.
_TESTS = tuple(
    f"tracelet.testing.{module}"
    for module in (
        "contents",
        "declaring",
        "detectors",
        "durability",
        "guard",
        "routing",
        "serializers",
        "sharing",
        "versions",
    )
)


def __getattr__(name: str) -> Any:
    # Lazy, for the kit's own child processes and the faulty backends' lanes need no pytest.
    if name not in _MODULES:
        raise AttributeError(f"module 'tracelet.testing' has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite(*(module for module in _TESTS if module not in sys.modules))
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
