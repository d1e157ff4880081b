"""Aliases, experiments, what a version was used for, and deletion. Real client, stand-in server."""

from __future__ import annotations

import pytest

from servers import wandb_user as user
from servers.wandb_lab import Lab
from tracelet.plugin import Labels, StoredArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.samples import Samples
from tracelet_wandb.names import project_name

#: A server of today, and one that offers its clients nothing.
pytestmark = pytest.mark.parametrize("lab", ["current", "plain"], indirect=True)


def found(stored: StoredArtifact | None) -> StoredArtifact:
    assert stored is not None
    return stored


def used_by(opened: BackendProcess, digest: str) -> list[tuple[str, int]]:
    return sorted((one.manifest.name, one.number) for one in opened.used_by(digest))


# -- aliases


def test_what_the_server_keeps_itself_is_not_taken_away(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str
) -> None:
    """Neither ``latest``, nor the number, nor the label; the alias beside them goes, and W&B's users see it go."""
    stored = opened.put(samples.seal("model", {"x": b"0"}), Labels("1.0", ("best", "old")))
    left = opened.remove_aliases(stored, "best", "latest", "v0", "1.0")
    assert (left.label, list(left.aliases)) == ("1.0", ["old"])
    assert lab.user.call(user.look, f"somebody/{experiment}/model:v0")["aliases"] == ["1.0", "latest", "old"]
    assert found(opened.find("model", "latest")).number == 0


def test_taking_away_what_is_not_there_changes_nothing(lab: Lab, opened: BackendProcess, samples: Samples) -> None:
    stored = opened.put(samples.seal("model", {"x": b"0"}), Labels(None, ("best",)))
    before = lab.server.look()["projects"]
    assert list(opened.remove_aliases(stored, "never").aliases) == ["best"]
    assert lab.server.look()["projects"] == before


# -- experiments


def test_projects_without_a_version_of_ours_are_no_experiments(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str
) -> None:
    """Somebody's own artifacts make none, not even beside ours; nor does a run, nor a version that was deleted."""
    lab.user.call(user.log_natively, f"{experiment}-own", "data", "dataset", b"native")
    lab.user.call(user.log_natively, experiment, "data", "dataset", b"native")
    stored = opened.put(samples.seal("model", {"x": b"0"}))
    assert [one for one in opened.experiments() if one.startswith(experiment)] == [experiment]
    opened.delete(stored)
    assert [one for one in opened.experiments() if one.startswith(experiment)] == []


def test_a_name_that_the_project_cuts_is_known_again(lab: Lab, samples: Samples, experiment: str) -> None:
    """From the note on a version; in one of an earlier release it is only in the configuration of the run."""
    long = f"{experiment} {'long ' * 60}end"
    opened = lab.open(long)
    opened.put(samples.seal("model", {"x": b"0"}))
    assert long in opened.experiments()
    (version,) = lab.server.project(project_name(long))["collections"]["model"]["versions"]
    note = version["metadata"]["tracelet"]
    assert note.pop("experiment") == long
    lab.user.call(user.edit, f"somebody/{project_name(long)}/model:v0", metadata={"tracelet": note})
    assert long in opened.experiments()
    (run,) = lab.server.project(project_name(long))["runs"]
    lab.server.delete_run(project_name(long), run["name"])
    assert [one for one in opened.experiments() if one.startswith(experiment)] == []


# -- what a version was used for


def test_users_are_found_without_a_look_at_the_other_versions(
    lab: Lab, opened: BackendProcess, samples: Samples
) -> None:
    """One question a type, and one for each name that has such a version, however many others there are."""
    used = "a" * 64
    for number in range(6):
        opened.put(samples.seal(f"model-{number % 3}", {"x": b"%d" % number}, inputs=["b" * 64] * (number % 2)))
    opened.put(samples.seal("report", {"x": b"r"}, inputs=["c" * 64, used]))
    before = len(lab.asked())
    assert used_by(opened, used) == [("report", 0)]
    asked = lab.asked()[before:]
    assert (asked.count("TraceletUsers"), asked.count("ProjectArtifacts")) == (1, 1)


@pytest.mark.parametrize("filters", ["ignored", "refused", "without $regex"])
def test_users_are_found_whatever_the_server_makes_of_filters(
    lab: Lab, samples: Samples, experiment: str, filters: str
) -> None:
    opened = lab.open(experiment)
    for number in range(3):
        opened.put(samples.seal("model", {"x": b"%d" % number}, inputs=["a" * 64] * number))
    lab.server.fault(filters=filters)
    try:
        assert used_by(opened, "a" * 64) == [("model", 1), ("model", 2)]
    finally:
        lab.server.fault()


@pytest.mark.parametrize("left_of_the_note", [("digest", "put_id", "manifest"), ()])
def test_users_that_an_earlier_release_stored_are_found(
    lab: Lab, opened: BackendProcess, samples: Samples, experiment: str, left_of_the_note: tuple[str, ...]
) -> None:
    """Its note has no inputs, and a note can be lost: then each version of that name is looked at."""
    for number in range(3):
        opened.put(samples.seal("model", {"x": b"%d" % number}, inputs=["a" * 64]))
    note = lab.server.project(experiment)["collections"]["model"]["versions"][1]["metadata"]["tracelet"]
    kept = {key: note[key] for key in left_of_the_note}
    lab.user.call(user.edit, f"somebody/{experiment}/model:v1", metadata={"tracelet": kept})
    assert used_by(opened, "a" * 64) == [("model", 0), ("model", 1), ("model", 2)]


def test_a_version_of_very_many_inputs_is_found(opened: BackendProcess, samples: Samples) -> None:
    """They are not in its note: W&B would show pages of digests."""
    inputs = [f"{number:064x}" for number in range(300)]
    opened.put(samples.seal("model", {"x": b"0"}, inputs=inputs))
    assert used_by(opened, inputs[-1]) == [("model", 0)]
    assert used_by(opened, "f" * 64) == []


def test_names_and_projects_are_asked_for_page_by_page(lab: Lab, samples: Samples, experiment: str) -> None:
    """Whoever is on a later page is found, too."""
    opened = [lab.open(f"{experiment}-{number}") for number in range(3)]
    for one in opened:
        one.put(samples.seal("model", {"x": b"0"}))
    for number in range(3):
        opened[0].put(samples.seal(f"model-{number}", {"x": b"%d" % number}, inputs=["a" * 64]))
    lab.server.fault(longest_page=2)
    try:
        assert used_by(opened[0], "a" * 64) == [(f"model-{number}", 0) for number in range(3)]
        names = [one for one in opened[0].experiments() if one.startswith(experiment)]
        assert names == [f"{experiment}-{number}" for number in range(3)]
    finally:
        lab.server.fault()
