"""What `docs/why/security.md` says of formats and of `trust=True` is so, and whoever looks for it finds it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from tracelet import ArtifactType, Experiment
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import UnsafeContent

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "why" / "security.md").read_text()


def rows() -> dict[str, list[str]]:
    table = PAGE.partition("| serializer |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_page_has_every_serializer_of_tracelets_own_and_says_which_load_without_trust() -> None:
    assert set(rows()) == set(registry().serializers.own)
    refused = {name for name, (_, without, _) in rows().items() if without == "is refused"}
    assert refused == {spec.name for spec in registry().serializers if not spec.safe}


@pytest.mark.parametrize(("model", "loads"), [(LogisticRegression(), True), (RandomForestClassifier(2), False)])
def test_a_forest_of_scikit_learn_needs_trust_and_a_linear_model_does_not(
    model: LogisticRegression | RandomForestClassifier,
    loads: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model.fit(np.arange(8).reshape(-1, 1), np.arange(8) > 3)
    with Experiment("trials", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("model", ArtifactType.MODEL).add_model(model))
        stored = exp.get_artifact("model")
        if not loads:
            with pytest.raises(UnsafeContent, match="trust=True"):
                stored.load_model()
        loaded = stored.load_model(trust=not loads)
    assert loaded.predict([[7]]) == [True]


def test_it_is_found() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "](docs/why/security.md)" in readme
    assert "](SECURITY.md)" in readme
    for page in (ROOT / "SECURITY.md", ROOT / "docs" / "why" / "security.md"):
        for link in re.findall(r"\]\(([^):#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), link
