"""The built-in policies keep the contract of routing, and one that does not is found out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tracelet.plugin import ArtifactSummary, RoutingSpec
from tracelet.testing import RoutingContract


class TestByType(RoutingContract):
    @pytest.fixture
    def policy(self) -> str:
        return "by-type"


class TestAll(RoutingContract):
    @pytest.fixture
    def policy(self) -> str:
        return "all"


def _none(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return []


def _elsewhere(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return ["mlflow"]


def _first(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return configured[:1]


def _takes(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    summary.metadata.pop("epoch", None)
    return configured


def _looks(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return configured if Path(__file__).read_text() else []


counts: Iterator[int] = iter(range(10**9))


def _turns(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return [configured[next(counts) % len(configured)]]


@pytest.mark.parametrize(
    ("route", "test"),
    [
        (_none, "test_it_chooses_some_of_the_configured_backends"),
        (_elsewhere, "test_it_chooses_some_of_the_configured_backends"),
        (_first, "test_the_same_question_has_the_same_answer"),
        (_turns, "test_the_same_question_has_the_same_answer"),
        (_takes, "test_it_changes_nothing_that_it_is_given"),
        (_looks, "test_it_reads_and_writes_nothing"),
    ],
)
def test_a_policy_that_breaks_the_contract_is_found_out(route, test) -> None:
    with pytest.raises(AssertionError):
        getattr(RoutingContract(), test)(RoutingSpec(name="broken", route=route))
