"""Names for W&B: legal there, different for different names, and unchanged wherever they can be."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from wandb.sdk.artifacts._internal_artifact import InternalArtifact

from tracelet.plugin import ArtifactFile, ArtifactReference, ArtifactType, Manifest
from tracelet_wandb.foreign_versions import address_of
from tracelet_wandb.names import file_name, file_names, project_name, reference_names, table_name

EXPERIMENTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
#: What W&B's client refuses in a project's name.
REFUSED = set("/\\#?%:\r\n")


@given(EXPERIMENTS)
def test_every_experiment_has_a_project_that_wandb_takes(experiment: str) -> None:
    """At most 128 characters, none that is refused, and no name of W&B's own."""
    name = project_name(experiment)
    assert 0 < len(name) <= 128
    assert not REFUSED & set(name)
    assert name == name.strip()
    assert name not in {".", "..", "model-registry"}
    assert not name.startswith("wandb-registry-")


@given(st.lists(EXPERIMENTS, min_size=2, max_size=20, unique=True))
def test_different_experiments_have_different_projects(experiments: list[str]) -> None:
    """Also those that differ only in what is encoded, or beyond W&B's length."""
    assert len({project_name(one) for one in experiments}) == len(experiments)


@pytest.mark.parametrize("name", ["cifar-10", "My Project", "模型 🚀", "résumé", "a.b_c-d", "x=1"])
def test_an_ordinary_name_is_the_projects_own(name: str) -> None:
    """Users find their project under the name that they gave."""
    assert project_name(name) == name


@pytest.mark.parametrize(
    ("experiment", "project"),
    [("a/b", "a~2Fb"), ("a~2Fb", "a~7E2Fb"), ("..", "~2E."), (" x", "~20x"), ("model-registry", "~6Dodel-registry")],
)
def test_what_wandb_refuses_is_encoded(experiment: str, project: str) -> None:
    """Byte by byte, as in a URL."""
    assert project_name(experiment) == project


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
def test_different_paths_have_different_names(paths: list[str]) -> None:
    """And none has a character that would end the address that W&B's client makes of it."""
    names = [file_name(path) for path in paths]
    assert len(set(names)) == len(paths)
    assert not set("#?%") & {char for name in names for char in name}


def test_references_have_names_of_their_own_beside_the_files() -> None:
    """Neither a file's, nor a folder's, nor another reference's, nor the manifest's."""
    uris = [
        "s3://b/a",
        "s3://c/a",
        "s3://b/folder",
        "s3://b/tracelet.json",
        "s3://b/..",
        "s3://b/",
        "x:y",
        "s3://b/%2F",
    ]
    manifest = Manifest(
        "data",
        ArtifactType.DATASET,
        "put",
        0.0,
        files=(ArtifactFile("a", 1, "0" * 64), ArtifactFile("folder/b", 1, "0" * 64)),
        references=tuple(ArtifactReference(uri) for uri in uris),
    )
    names = reference_names(manifest)
    everything = [*names, *file_names(manifest).values(), "tracelet.json", "folder"]
    assert len(set(everything)) == len(everything)
    assert all(part not in {"", ".", ".."} for name in names for part in name.split("/"))


@given(
    st.lists(st.text("abc/.é", min_size=1, max_size=300), min_size=2, max_size=10, unique=True),
    st.text("abc0-9", min_size=1, max_size=36),
)
def test_different_tables_have_different_names_that_fit_the_artifacts_that_the_client_makes_of_them(
    names: list[str], run: str
) -> None:
    """By the client's own rules for them."""
    tables = [table_name(name, run) for name in names]
    assert len(set(tables)) == len(names)
    assert all(len(InternalArtifact(f"run-{run}-{table}", "run_table").name) <= 128 for table in tables)


@pytest.mark.parametrize("server", ["https://w.example/b", "https://w.example/b/", "https://me:***@w.example/b"])
def test_what_was_logged_without_us_has_one_address_however_its_server_is_written(server: str) -> None:
    assert address_of(server, "QQ==") == "wandb://w.example/b/artifact/QQ%3D%3D"
