"""How many requests things cost, with a current server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.wandb_lab import Lab
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.samples import Samples

#: The SDK's own: what it sends of an artifact with two files, the user's and ours, and the version that came of it.
PUT = {
    "ArtifactType": 1,
    "CreateArtifact": 1,
    "CreateArtifactManifest": 2,
    "CreateArtifactFiles": 1,
    "PUT file": 2,
    "PUT manifest": 1,
    "CommitArtifact": 1,
    "ArtifactByID": 1,
}
LOOK = {"ArtifactMembershipByName": 1}
#: A name that W&B does not have may be one whose spelling it has changed: its collections are looked through.
ABSENT = {**LOOK, "ProjectArtifactTypes": 1, "ProjectArtifacts": 1}


@pytest.fixture
def asked(opened: BackendProcess, lab: Lab, samples: Samples) -> Callable[[], Counter[str]]:
    """Tells the requests since it was asked last. A run has begun, and the SDK knows what the server can do.

    What the SDK sends of the run itself comes when it is due.
    """
    opened.deliver(samples.seal("data", {"file": b"one"}))
    assert opened.find("data") is not None
    told = len(lab.asked())

    def requests() -> Counter[str]:
        nonlocal told
        every = lab.asked()
        new, told = every[told:], len(every)
        return Counter(name for name in new if name not in {"file_stream", "UpsertBucket", "CreateRunFiles", "PUT run"})

    return requests


def test_a_put_costs_what_the_sdk_sends_and_a_look(
    opened: BackendProcess, asked: Callable[[], Counter[str]], samples: Samples
) -> None:
    opened.put(samples.seal("data", {"file": b"two"}))
    assert asked() == PUT
    opened.deliver(samples.seal("data", {"file": b"three"}))
    assert asked() == Counter(PUT) + Counter(LOOK)
    opened.deliver(samples.seal("new", {"file": b"one"}))
    assert asked() == Counter(PUT) + Counter(ABSENT)


def test_the_same_content_again_costs_a_look(
    opened: BackendProcess, asked: Callable[[], Counter[str]], samples: Samples
) -> None:
    opened.deliver(samples.seal("data", {"file": b"one"}))
    assert asked() == LOOK


def test_a_get_costs_a_look_and_each_file_and_a_list_a_page_of_each_kind(
    opened: BackendProcess, asked: Callable[[], Counter[str]], samples: Samples, tmp_path: Path
) -> None:
    """The files that W&B has of a version are in a file of its own, which the SDK fetches first."""
    found = opened.find("data")
    assert found is not None
    assert asked() == LOOK
    assert opened.content(found, tmp_path / "got") == {"file": b"one"}
    assert asked() == {**LOOK, "FetchArtifactManifest": 1, "GET storage": 1}
    assert len(opened.list(name="data")) == 1
    assert asked() == {"ProjectArtifactTypes": 1, "ProjectArtifacts": 1}
    opened.deliver(samples.seal("other", {"file": b"one"}))
    asked()
    assert len(opened.list()) == 2
    assert asked() == {"ProjectArtifactTypes": 1, "ArtifactTypeArtifactCollections": 1, "ProjectArtifacts": 2}
