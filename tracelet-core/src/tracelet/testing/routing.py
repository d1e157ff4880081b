"""What every routing policy must do."""

from __future__ import annotations

import copy
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.routing import ArtifactSummary, RoutingSpec
from tracelet.testing.guard import Contract

__all__ = ["RoutingContract"]

_BACKENDS = ("local", "mlflow", "wandb", "clearml", "aim", "a-backend.of_tomorrow")
_METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"force_reference": True, "epoch": 3},
    {"nested": {"list": [1, {"deep": None}], "nan": float("nan")}, "": "", "ключ": ["значение"]},
)
_SIZES = (0, 1, 100_000_001, 10**15)
#: Audit events (see "Audit events table" of the library reference) of what a policy has no business with.
_IO = ("open", "os.", "socket.", "subprocess.", "shutil.", "urllib.", "sqlite3.", "import")
_heard = threading.local()
_hooked = False


class RoutingContract(Contract):
    """The contract of a routing policy. Subclass it, with a fixture ``policy`` that returns the installed name."""

    @pytest.fixture
    def policy(self) -> str:
        """Override: the name of the policy, as it is installed."""
        raise NotImplementedError("give the contract a fixture 'policy' that returns the installed policy's name")

    @pytest.fixture
    def spec(self, policy: str) -> RoutingSpec:
        """The spec that the installed plugin provides."""
        return registry().routing.get(policy)

    def test_it_chooses_some_of_the_configured_backends(self, spec: RoutingSpec) -> None:
        """At least one, and none that is not there, whatever the artifact and the configuration."""
        for summary, configured in _cases():
            chosen = spec.route(summary, configured)
            assert not isinstance(chosen, str), "a text is a sequence of letters: return a list of names"
            assert set(chosen), (summary, configured)
            assert set(chosen) <= set(configured), (summary, configured)

    def test_the_same_question_has_the_same_answer(self, spec: RoutingSpec) -> None:
        """Asked twice, in any order, and with the backends named in any order."""
        cases = list(_cases())
        first = [set(spec.route(summary, configured)) for summary, configured in cases]
        again = [set(spec.route(summary, configured)) for summary, configured in reversed(cases)][::-1]
        turned = [set(spec.route(summary, configured[::-1])) for summary, configured in cases]
        for case, *answers in zip(cases, first, again, turned, strict=True):
            assert answers == [answers[0]] * 3, case

    def test_it_changes_nothing_that_it_is_given(self, spec: RoutingSpec) -> None:
        """Neither the metadata nor the list of backends."""
        for summary, configured in _cases():
            given, names = copy.deepcopy(summary), list(configured)
            spec.route(given, names)
            assert repr(given) == repr(summary)
            assert names == list(configured)

    def test_it_reads_and_writes_nothing(self, spec: RoutingSpec) -> None:
        """No file, no connection, no process, no import: it runs in every call of the user's."""
        cases = list(_cases())
        events = _listen(lambda: [spec.route(summary, configured) for summary, configured in cases])
        assert events == []

    def test_it_has_the_name_that_was_asked_for(self, spec: RoutingSpec, policy: str) -> None:
        """``routing=`` finds it by that name."""
        assert spec.name == policy


def _cases() -> list[tuple[ArtifactSummary, tuple[str, ...]]]:
    configured = [tuple(names) for count in (1, 2, 3) for names in itertools.combinations(_BACKENDS, count)]
    every = itertools.product(ArtifactType, _SIZES, _METADATA)
    summaries = [ArtifactSummary("a-name", kind, size, copy.deepcopy(metadata)) for kind, size, metadata in every]
    # Every artifact with every configuration would be thousands: each with some, and all with some artifact.
    chosen = zip(itertools.cycle(configured), summaries * 3, strict=False)
    return [(summary, names) for names, summary in chosen] + [(summary, _BACKENDS) for summary in summaries]


def _listen(call: Callable[[], object]) -> list[str]:
    """Return the audit events of a call on this thread; a hook can never be taken off, so one serves all."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_note)
        _hooked = True
    _heard.events = []
    try:
        call()
        return list(_heard.events)
    finally:
        del _heard.events


def _note(event: str, arguments: tuple[Any, ...]) -> None:  # pragma: no cover - audit hooks are not traced
    if event.startswith(_IO) and hasattr(_heard, "events"):
        _heard.events.append(event)
