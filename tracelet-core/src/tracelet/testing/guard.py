"""What a contract's tests share: gaps are declared with a reason, and nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

__all__ = ["Contract"]


class Contract:
    """The base of the contracts."""

    #: Tests that are known to fail, with the reason: each is run, and must fail.
    gaps: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _declare_gap(self, request: pytest.FixtureRequest) -> None:
        reason = self.gaps.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def test_no_test_is_left_out_in_silence(self) -> None:
        """A test of the contract is overridden only where it is marked as xfail with a reason, or is a declared gap."""
        tests = contract_tests(type(self))
        unknown = sorted(set(self.gaps) - set(tests))
        assert not unknown, f"gaps names tests that the contract does not have: {unknown}"
        assert all(self.gaps.values()), "every gap needs a reason"
        silent = [name for name, test in tests.items() if getattr(type(self), name, None) is not test]
        silent = [name for name in silent if not _explained(getattr(type(self), name, None))]
        assert not silent, (
            f"{silent} are overridden: keep the contract's own tests, and declare what the backend cannot do "
            "in gaps, or by @pytest.mark.xfail(reason=...)"
        )
        whole = getattr(type(self), "pytestmark", [])
        marks = whole if isinstance(whole, list) else [whole]
        skipped = [mark.name for mark in marks if mark.name in {"skip", "skipif", "xfail"}]
        assert not skipped, "the contract as a whole is marked as skipped or failing"


def contract_tests(cls: type) -> dict[str, Any]:
    """Return the tests that the kit itself defines among those of a class, by name."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("tracelet.testing."):
            for name, value in vars(base).items():
                if name.startswith("test_"):
                    found.setdefault(name, value)
    return found


def _explained(test: Any) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
