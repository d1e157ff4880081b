"""What becomes of a repo's catalogue and notes when stored versions are managed, also those of earlier releases."""

from __future__ import annotations

from typing import Any

#: What an earlier release has not written.
FORGET = """
def as_an_earlier_release():
    with catalogue() as tree:
        for key in ("noted", "inputs", "experiment"):
            tree.drop(key)

def users(digest):
    found = begun().used_by(digest)
    return sorted([one.manifest.name, one.number] for one in found if digest in one.manifest.inputs)
"""


def test_what_versions_of_an_earlier_release_were_used_for_is_found_and_noted_once(hands: Any) -> None:
    first, noted, second = hands(f"""{FORGET}
data = stored("data", name="data").manifest.digest
backend = begun()
for content in ("one", "two"):
    backend.put(seal(content, inputs=[data]), Labels())
backend.stop(failed=False)
as_an_earlier_release()
first = users(data)
with catalogue() as tree:
    noted = [tree.get("noted"), tree.keys("inputs", data, "model")]
backend = begun()
backend.delete(backend.find("model", "v0"))
backend.put(seal("three", inputs=[data]), Labels())
backend.stop(failed=False)
print(json.dumps([first, noted, users(data)]))
""")
    assert first == [["model", 0], ["model", 1]]
    assert noted == [True, [0, 1]]
    assert second == [["model", 1], ["model", 2]]


def test_a_damaged_version_hides_no_user_and_is_told_until_it_is_mended(hands: Any) -> None:
    """As long as nobody knows what it is made from, nobody says that all inputs are noted."""
    told, found, noted, mended = hands(f"""{FORGET}
digest = "f" * 64
backend = begun()
for content in ("one", "two"):
    backend.put(seal(content, inputs=[digest]), Labels())
backend.stop(failed=False)
as_an_earlier_release()
with catalogue() as tree:
    whole = json.loads(tree.get("versions", "model", 0))["manifest"]
change_record(0, manifest="?")
found = []
def look():
    found.extend(one.number for one in begun().used_by(digest))
said = told(look)
with catalogue() as tree:
    noted = tree.get("noted")
change_record(0, manifest=whole)
print(json.dumps([said, found, noted, users(digest)]))
""")
    assert told.startswith("IntegrityError: 'model' v0")
    assert (found, noted) == ([1], None)
    assert mended == [["model", 0], ["model", 1]]


def test_an_experiment_whose_versions_were_all_deleted_is_not_listed(hands: Any) -> None:
    listed = hands("""
made = stored("one")
backend = begun(experiment="asking")
listed = [list(backend.experiments())]
begun().delete(made)
listed.append(list(backend.experiments()))
print(json.dumps(listed))
""")
    assert listed == [["trials"], []]


def test_a_deleted_version_frees_the_bytes_of_its_files_and_manifest(hands: Any) -> None:
    """Once: who deletes it again frees nothing."""
    sizes, freed = hands("""
made = stored("one")
other = stored("two")
from urllib.parse import unquote, urlsplit
sizes = [path.stat().st_size for path in Path(unquote(urlsplit(made.uri).path)).rglob("*") if path.is_file()]
backend = begun()
print(json.dumps([sizes, [backend.delete(made), backend.delete(made)]]))
""")
    assert freed == [sum(sizes), 0]
    assert len(sizes) == 2


def test_a_long_name_of_an_experiment_is_told_whole_once_this_release_has_written_it(hands: Any) -> None:
    """An earlier one wrote only the name of the database, which is cut."""
    cut, whole = hands("""
name = "é" * 100
def put(content):
    backend = begun(experiment=name)
    backend.put(seal(content), Labels())
    backend.stop(failed=False)
    return list(backend.experiments())
put("one")
(folder,) = DiskPlace(os.environ["REPO"]).databases("tracelet")
with DiskPlace(os.environ["REPO"]).writing("tracelet", folder) as tree:
    tree.drop("experiment")
cut = list(begun(experiment="asking").experiments()) == [folder]
print(json.dumps([cut, put("two") == [name]]))
""")
    assert cut
    assert whole


def test_aims_pages_show_no_alias_that_was_taken_away(hands: Any) -> None:
    aliases, left, gone = hands("""
made = stored("one", "1.0", ("best", "old"))
backend = begun()
left = backend.remove_aliases(made, ["best", "never"])
notes = notes_of(made.locator["run"])["artifacts"]["model"]
backend.delete(left)
gone = told(backend.remove_aliases, left, ["old"])
print(json.dumps([[notes[inside]["aliases"] for inside in ("v0", "latest")], left.aliases, gone]))
""")
    assert aliases == [["old"], ["old"]]
    assert left == ["old"]
    assert gone == "ArtifactNotFound: 'model' v0 was deleted: log it again."
