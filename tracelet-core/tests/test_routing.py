"""Where an artifact goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracelet import ArtifactType
from tracelet.builtin.routing import BEST, tracelet_routing
from tracelet.exceptions import UnsafePath
from tracelet.plugin import ArtifactSummary, RoutingSpec

POLICIES = {spec.name: spec for spec in tracelet_routing()}
EVERY = ("mlflow", "wandb", "clearml", "aim", "local")

#: The table of the documentation; a type that it does not name goes everywhere.
TABLE = {
    "MODEL": ["mlflow"],
    "CHECKPOINT": ["mlflow"],
    "WEIGHTS": ["mlflow"],
    "IMAGE": ["wandb"],
    "AUDIO": ["wandb"],
    "VIDEO": ["wandb"],
    "DATASET": ["clearml"],
    "VISUALIZATION": ["wandb"],
    "CONFIG": list(EVERY),
    "CODE": list(EVERY),
    "SAMPLE": list(EVERY),
    "REPORT": list(EVERY),
    "CUSTOM": list(EVERY),
}


def summary(name: str) -> ArtifactSummary:
    return ArtifactSummary("n", ArtifactType[name], 5, {"a": 1})


def test_the_table_names_every_type() -> None:
    assert set(TABLE) == {kind.name for kind in ArtifactType}
    assert {kind.name for kind in BEST} == {name for name, targets in TABLE.items() if len(targets) == 1}


@pytest.mark.parametrize("name", TABLE)
def test_a_type_goes_where_the_documentation_says(name: str) -> None:
    assert list(POLICIES["by-type"].route(summary(name), EVERY)) == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_a_type_whose_best_backend_is_not_there_goes_to_all_that_are(name: str) -> None:
    assert list(POLICIES["by-type"].route(summary(name), ("local", "aim"))) == ["local", "aim"]


@pytest.mark.parametrize("name", TABLE)
def test_all_is_all(name: str) -> None:
    assert list(POLICIES["all"].route(summary(name), EVERY)) == list(EVERY)


def test_a_policy_has_a_name_that_can_be_set() -> None:
    with pytest.raises(UnsafePath, match="routing policy 'a b'"):
        RoutingSpec(name="a b", route=lambda summary, configured: configured)


def test_a_summary_is_what_is_known_before_sealing(tmp_path: Path) -> None:
    one = summary("MODEL")
    assert (one.name, one.type, one.size_bytes, one.metadata) == ("n", ArtifactType.MODEL, 5, {"a": 1})
