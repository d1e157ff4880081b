"""Records of versions: what was written once is read for ever, and what is no record is told."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from tracelet.exceptions import IntegrityError, NewerFormat
from tracelet_mlflow.files import PackRule
from tracelet_mlflow.flavors import read_recipe
from tracelet_mlflow.records import Record, digest_of

#: As the first release wrote it.
FIRST = (
    '{"artifact_uri":"/srv/mlruns/2/4cad5b82325c4e22a35959a39a560ba2/artifacts","digest":"91c1402ff8017ba0c7170792'
    'df6c0163b5e5898e585e48184091e24ede3e9b72","folder":"line/v0","manifest":"eNqVU0mO2zAQvPsVhs6Gw33JV4KB0Ww2Y421G'
    "BKNwBn47yFpxzGC5DAXSr0Vq9Slj822w4UgUzxA7r5uufXaaaYU20vLtWdqV1oirbj059zPU+npYDv0E3Wt0n+ntQ52niNXTKTkGLcBGFpumfU"
    "iJoOMGxk0aeddOTQpx51inpNQFEmSD1Y0uNQPtBa0b2816qfzJf8JR8oQIUNJfGy2hQbiZQG8lpjt9a6m5sJx7H/S0mhGGLvN9tZm50hDgyptd"
    "fpvUdNlGHYt/+RQo3tvvWzJfQLMhzPkY0W/I35pj/u5f18L1O4x8B/4UlmPILSpGEImFJo74Q0Eo30QDoT0xIwzGEV58Uo7kom0II7CB+Teg03"
    "OcwMCnpetRfMhXHMjzrlt6dvu0wrW03xePyUBuYmFrWCcmwA+MV926ksGvCw2kgQBMCrwIRkbXZQYpCQtFQkh0Zp/S9BM+7uGer49FrPASD/m5"
    "VTvXU8DwfL43N1UKk9JZed1rnnmd+Fp2Dm8E76Yqjjs0MfaEgrTEExQ2jsFLjlnrECbtBNO6uja+EKJFprwxaXLZXoggJGYGCsrE0LpKAGts0Z"
    'yqr8E8TvCikcaq4d5jfL1/Er89guoWPgb","models":{"model":{"model_id":"m-d50e93d3e4994516a160553c3cb8dd6c","name":"'
    'line","version":"1"}},"packs":null,"put_id":"bababb6b45984a8f88672c7f582835d8","run_id":"4cad5b82325c4e22a3595'
    '9a39a560ba2"}'
)


def test_a_record_of_the_first_release_is_read_and_written_as_it_was() -> None:
    record = Record.from_text(FIRST)
    assert record.manifest is not None
    assert record.manifest.digest == record.digest == digest_of(FIRST)
    assert record.manifest.metadata == {"accuracy": 0.5, "optimizer": "adam"}
    assert (record.folder, record.packs, record.shared) == ("line/v0", None, {})
    assert record.models["model"]["version"] == "1"
    assert set(json.loads(record.to_text())) == {*json.loads(FIRST), "schema"}


def test_a_record_says_where_each_file_is_that_is_not_in_its_folder() -> None:
    shared = {"models/model/model.skops": ("mlflow-artifacts:/1/models/m-1/artifacts", "it's.skops")}
    record = attrs.evolve(Record.from_text(FIRST), packs=PackRule(3, 10), shared=shared)
    text = record.to_text()
    assert Record.from_text(text) == record
    # MLflow is asked for it between such signs.
    assert "'" not in text


def test_a_field_that_a_later_release_added_is_written_again() -> None:
    """To the record, or to the rule by which small files are in packs."""
    packs = {"over": 3, "small": 10, "size": 100, "order": "by name"}
    record = Record.from_text(json.dumps({**json.loads(FIRST), "packs": packs, "colour": {"of": "the sky"}}))
    assert record.packs is not None
    assert (record.packs.over, record.packs.small, record.packs.size) == (3, 10, 100)
    again = json.loads(attrs.evolve(record, manifest=None).to_text())
    assert (again["packs"], again["colour"]) == (packs, {"of": "the sky"})


def test_a_record_of_a_later_release_is_told_as_one() -> None:
    with pytest.raises(NewerFormat, match="was written by a later Tracelet"):
        Record.from_text(json.dumps({"schema": 2}))


@pytest.mark.parametrize("schema", ["1", 0, True, None, 1.5])
def test_a_record_whose_schema_is_no_number_is_no_record(schema: object) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        Record.from_text(json.dumps({**json.loads(FIRST), "schema": schema}))


@pytest.mark.parametrize("shared", [5, [["a", "b"]], {"path": "abc"}, {"path": [1]}])
def test_what_is_no_record_is_told(shared: object) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        Record.from_text(json.dumps({**json.loads(FIRST), "shared": shared}))


def test_a_model_that_an_earlier_release_has_left_in_the_outbox_is_read(tmp_path: Path) -> None:
    """It shares no file with the artifact."""
    recipe = {"framework": "sklearn", "flavor": "sklearn", "conf": {}, "pyfunc": None, "requirements": []}
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "python": "3.11.7", "example": None}))
    assert read_recipe(tmp_path).shared == {}
