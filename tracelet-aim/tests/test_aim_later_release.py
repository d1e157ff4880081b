"""What a later release wrote into an Aim repo: nothing of it is changed or called damaged, and the rest can be used."""

from __future__ import annotations

from typing import Any

import pytest


def test_what_is_written_says_its_schema_and_what_has_none_is_an_earlier_releases(hands: Any) -> None:
    schemas, numbers, aliases = hands("""
made = stored("one", "1.0", ("best",))
with catalogue() as tree:
    schemas = [tree.get("schema"), json.loads(tree.get("versions", "model", 0))["schema"]]
schemas.append(notes_of(made.locator["run"])["schema"])
change_record(0, "schema")
with catalogue() as tree:
    tree.drop("schema")
with DiskPlace(os.environ["REPO"]).writing("meta", made.locator["run"]) as tree:
    tree.drop("meta", "chunks", made.locator["run"], "attrs", "tracelet", "schema")
backend = begun()
found = [backend.find("model", ref).number for ref in ("latest", "1.0", "best", "put:model-one")]
stored("two", None, ("best",))
with catalogue() as tree:
    schemas.append(tree.get("schema"))
print(json.dumps([schemas, found, notes_of(made.locator["run"])["artifacts"]["model"]["v0"]["aliases"]]))
""")
    assert schemas == [1, 1, 1, 1]
    assert numbers == [0, 0, 0, 0]
    assert aliases == []


def test_what_a_later_release_added_is_passed_over_and_kept(hands: Any) -> None:
    """In the catalogue, in a record, and in what is noted on a run and noted anew."""
    found, colours, aliases = hands("""
made = stored("one", "1.0", ("best",))
change_record(0, colour="red")
with catalogue() as tree:
    tree.set(("colours", "model", 0), "red")
    tree.set(("puts", "model-one"), ["model", 0, "since-monday"])
for inside in ("v0", "latest"):
    change_notes(made.locator["run"], "artifacts", "model", inside, "colour", value="red")
backend = begun()
found = [backend.find("model", ref).number for ref in ("latest", "put:model-one")]
backend.relabel(backend.find("model", "v0"), Labels(None, ("good",)))
backend.stop(failed=False)
with catalogue() as tree:
    colours = [json.loads(tree.get("versions", "model", 0))["colour"], tree.get("colours", "model", 0)]
notes = notes_of(made.locator["run"])["artifacts"]["model"]
print(json.dumps([found, [*colours, notes["v0"]["colour"], notes["latest"]["colour"]], notes["v0"]["aliases"]]))
""")
    assert found == [0, 0]
    assert colours == ["red"] * 4
    assert aliases == ["best", "good"]


def test_a_version_of_a_later_release_is_told_and_hides_no_other(hands: Any) -> None:
    """An alias that moves on from it takes nothing else away."""
    listed, refused, found, untouched = hands("""
stored("one", "1.0")
stored("two", None, ("best",))
change_record(1, "manifest", schema=2)
with catalogue() as tree:
    before = tree.get("versions", "model", 1)
backend = begun()
listed = []
refused = [told(lambda: listed.extend(one.number for one in backend.list(name=None, type=None)))]
refused += [told(backend.find, "model", ref) for ref in ("latest", "v1", "best", "put:model-two")]
found = [backend.find("model", ref).number for ref in ("v0", "1.0", "put:model-one")]
moved = backend.put(seal("three"), Labels(None, ("best",)))
found.append(backend.find("model", "best").number)
backend.stop(failed=False)
with catalogue() as tree:
    print(json.dumps([listed, refused, found, tree.get("versions", "model", 1) == before]))
""")
    assert listed == [0]
    assert all("NewerFormat" in one and "was written by a later Tracelet" in one for one in refused)
    assert refused[0].startswith("NewerFormat: 'model' v1: ")
    assert found == [0, 0, 0, 2]
    assert untouched


def test_a_catalogue_of_a_later_release_is_left_alone(hands: Any) -> None:
    """Nothing is stored in it, and none of the bytes that it may need is cleared away, for other experiments, either."""
    refused, untouched, folders = hands("""
stored("one", "1.0")
with catalogue() as tree:
    tree.set(("schema",), 2)
    tree.drop("versions", "model", 0)
before = everything()
backend = begun("two")
calls = [
    lambda: backend.find("model", "v0"),
    lambda: backend.list(name=None, type=None),
    lambda: backend.put(seal("two"), Labels()),
    lambda: list(backend.collect(time.time() + 1000)),
]
refused = [told(call) for call in calls]
folders = [path.name for path in Path(os.environ["REPO"], ".aim", "tracelet", "artifacts").glob("*/model/*")]
print(json.dumps([refused, everything() == before, folders]))
""")
    assert all(one.startswith("NewerFormat: the catalogue of this experiment in Aim's repo") for one in refused)
    assert untouched
    assert folders == ["v0"]


@pytest.mark.parametrize("schema", ["'two'", "True", "0", "[2]"])
def test_a_catalogue_whose_schema_is_no_number_is_used(hands: Any, schema: str) -> None:
    """Each record has one of its own: what is lost of the catalogue's loses nothing else."""
    assert (
        hands(f"""
stored("one", "1.0")
with catalogue() as tree:
    tree.set(("schema",), {schema})
print(json.dumps(begun().find("model", "1.0").number))
""")
        == 0
    )


def test_the_notes_of_a_later_release_on_a_run_stay_as_they_are(hands: Any) -> None:
    """The alias moves all the same: what the run shows of it is the later release's."""
    same, version = hands("""
made = stored("one", "1.0", ("best",))
change_notes(made.locator["run"], "schema", value=2)
before = notes_of(made.locator["run"])
second = stored("two", None, ("best",), run="two")
print(json.dumps([notes_of(made.locator["run"]) == before, begun().find("model", "best").number]))
""")
    assert (same, version) == (True, 1)
