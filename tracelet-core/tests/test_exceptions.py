"""The tree of errors: what is caught by what."""

from __future__ import annotations

import pytest

from tracelet import exceptions
from tracelet.exceptions import (
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    TraceletError,
)

PARENTS = {
    "ConfigError": ("TraceletError", ValueError),
    "ArtifactError": ("TraceletError", ValueError),
    "UnsafePath": ("ArtifactError", ValueError),
    "UnsafeContent": ("ArtifactError", ValueError),
    "VersionConflict": ("ArtifactError", ValueError),
    "ArtifactNotFound": ("TraceletError", LookupError),
    "AmbiguousVersion": ("TraceletError", LookupError),
    "ProtectedVersion": ("TraceletError", Exception),
    "IntegrityError": ("TraceletError", Exception),
    "NewerFormat": ("TraceletError", Exception),
    "PluginError": ("TraceletError", Exception),
    "UnknownPlugin": ("PluginError", LookupError),
    "PluginLoadError": ("PluginError", Exception),
    "BackendError": ("TraceletError", Exception),
    "BackendUnavailable": ("BackendError", Exception),
    "BackendAuthError": ("BackendError", Exception),
    "TraceletError": ("TraceletError", Exception),
}


def test_the_tree_has_no_error_that_is_not_listed() -> None:
    found = {name for name, kind in vars(exceptions).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == set(PARENTS) == set(exceptions.__all__)


@pytest.mark.parametrize("name", PARENTS)
def test_an_error_is_caught_by_its_parent_and_by_pythons_own(name: str) -> None:
    kind = getattr(exceptions, name)
    parent, python = PARENTS[name]
    assert issubclass(kind, getattr(exceptions, parent))
    assert issubclass(kind, python)
    assert issubclass(kind, TraceletError)
    assert kind.__doc__
    assert name in (exceptions.__doc__ or "")


@pytest.mark.parametrize("kind", [BackendError, BackendUnavailable, BackendAuthError])
def test_a_backends_error_says_whose_it_is_and_whether_it_may_pass(kind: type[BackendError]) -> None:
    assert (str(kind("x")), kind("x").backend, kind("x").retryable) == ("x", "", True)
    told = kind("x", backend="mlflow", retryable=False)
    assert (told.backend, told.retryable) == ("mlflow", False)


def test_an_error_has_no_answers_unless_others_answered() -> None:
    assert TraceletError("x").answers == ()
