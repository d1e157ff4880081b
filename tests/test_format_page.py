"""`docs/reference/format.md` says what is stored: its program, its example and its fields are held to what the releases wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from formats import sets
from servers import programs

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "format.md").read_text()
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: A heading, what is between, and the table under it.
TABLE = re.compile(
    r"^### ([^\n]+)\n(?:(?!^#)[^\n]*\n)*?\| field \| type \| meaning \| since \|\n\|---\|---\|---\|---\|\n((?:\|[^\n]*\n)+)",
    re.MULTILINE,
)
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \| (.+) \| ([^|]+) \|$")


@cache
def fields() -> dict[str, dict[str, tuple[str, str]]]:
    """By record: its fields, each with its type and the release that wrote it first."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for heading, rows in TABLE.findall(PAGE):
        parsed = [ROW.fullmatch(row) for row in rows.splitlines()]
        assert all(parsed), heading
        named = found.setdefault(heading.partition(":")[0], {})
        named |= {name: (row[2], row[4]) for row in parsed if row for name in re.findall("`([^`]+)`", row[1])}
    return found


@cache
def page_digest() -> Callable[[dict[str, Any]], str]:
    """The page's own program."""
    (program,) = [code for language, code in BLOCKS.findall(PAGE) if language == "python"]
    scope: dict[str, Any] = {}
    exec(program, scope)
    assert {name for name, value in scope.items() if getattr(value, "__name__", "") == name} >= {"json", "hashlib"}
    found: Callable[[dict[str, Any]], str] = scope["digest"]
    return found


def test_the_page_hashes_its_own_example_by_its_own_program() -> None:
    (text,) = [code for language, code in BLOCKS.findall(PAGE) if language == "json"]
    document = json.loads(text)
    (canonical,) = [code for language, code in BLOCKS.findall(PAGE) if language == "text" and code.startswith("{")]
    assert page_digest()(document) == document["digest"] == hashlib.sha256(canonical.rstrip("\n").encode()).hexdigest()
    assert f"its digest is `{document['digest']}`" in PAGE
    assert set(document) <= set(fields()["Manifest"])


class Records:
    """Everything in the sets, record by record, without any code of Tracelet's."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.manifests: list[dict[str, Any]] = []
        #: Tags in MLflow, and what an Aim catalogue has.
        self.tags: set[str] = set()
        self.aims: set[str] = set()

    def add(self, kind: str, record: dict[str, Any]) -> None:
        self.found.setdefault(kind, []).append(record)

    def manifest(self, document: dict[str, Any]) -> None:
        if "digest" in document:
            self.manifests.append(document)
        # Within another record it has neither.
        self.add("Manifest", {"schema": 1, "digest": "0" * 64, **document})
        for one in document["files"]:
            self.add("File", one)
        for one in document["objects"]:
            self.add("Object", one)
        for one in document["models"]:
            self.add("Model", one)
            for file in one["files"]:
                self.add("File", file)
        for one in document["references"]:
            self.add("Reference", one)

    def delivery(self, record: dict[str, Any]) -> None:
        self.add("Delivery", record)
        self.add("Run", record["run"])
        self.add("Labels", record["labels"])
        self.manifest(record["manifest"])

    def directory(self, root: Path) -> None:
        """All that is in a tracelet directory: a file of no kind that the page describes is a failure."""
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            self._file(path.relative_to(root).parts, path)

    def _file(self, parts: tuple[str, ...], path: Path) -> None:
        match parts:
            case ("objects" | "refs" | "staging" | "clock" | "downloads", *_):
                pass
            case ("outbox", _, _, name, *_) if name.endswith(".rendered"):
                pass
            case (_, _, *_, name) if name.endswith(".lease"):
                lease = json.loads(path.read_text())
                self.add("Lease", lease)
                for holder in lease["holders"]:
                    self.add("Process", holder)
            case ("outbox", _, "~drafts", _):
                draft = json.loads(path.read_text())
                self.add("Draft file", draft)
                self.add("Draft", draft["draft"])
                self.add("Process", draft["owner"])
                self.add("Run", draft["run"])
                self.manifest(draft["draft"]["manifest"])
            case ("outbox", _, _, _):
                self.delivery(json.loads(path.read_text()))
            case ("puts", _, _):
                put = json.loads(path.read_text())
                self.add("Put", put)
                # Its number is that of all that is in it.
                self.delivery({**{name: put[name] for name in ("schema",) if name in put}, **put["parcel"]})
            case ("uses", _, _, _):
                self.add("Waiting use", json.loads(path.read_text()))
            case ("captured", _, _):
                for line in filter(None, path.read_text().split("\n")):
                    note = json.loads(line)
                    kind = "head" if "owner" in note else "end of a capture" if "done" in note else "capture"
                    self.add(f"Journal's {kind}", note)
            case ("local" | "clearml-offline", *rest) | ("wandb", "offline", *rest):
                self.catalogue(rest, path)
            case ("wandb", _, *_):
                pass  # W&B's own, and what the page says of it in words
            case _:
                pytest.fail(f"the page does not describe {path}")

    def catalogue(self, rest: list[str], path: Path) -> None:
        match rest:
            case ("blobs", *_) | (
                _,
                "claims" | "puts" | "digests" | "labels" | "labelled" | "aliases" | "latest" | "inputs",
                *_,
            ):
                pass
            case (_, "inputs.json"):
                self.add("Index of inputs", json.loads(path.read_text()))
            case (_, "catalogue.json"):
                self.add("Catalogue", json.loads(path.read_text()))
            case (_, "versions", _, _):
                self.manifest(json.loads(path.read_text()))
            case (_, "uses", *_):
                self.add("Use", json.loads(path.read_text()))
            case _:
                pytest.fail(f"the page does not describe {path}")

    def clearml(self, documents: Path) -> None:
        """What a ClearML server holds: a document for each task."""
        for path in sorted(documents.glob("tasks/*.json")):
            task = json.loads(path.read_text())
            name = task["name"]
            if " ;" in name:
                self.add("The name of a ClearML record", _facts(f"{name.partition(' ;')[2]}"))
            elif name.startswith(";"):
                self.add("The note of a run in ClearML", _facts(name[1:]))
            marks = {key: value for key, value in task.get("runtime", {}).items() if key.startswith("tracelet")}
            self.add("Marks of ClearML's tasks", marks)
            text = json.loads(task.get("configuration", {}).get("tracelet", {}).get("value") or "{}")
            if text:
                self.add("The text of a ClearML record", text)
                self.add("ClearML place", text["place"])
                for blob in text["place"]["blobs"]:
                    self.add("ClearML blob", blob)
                self.manifest(text["manifest"])

    def mlflow(self, folder: Path) -> None:
        """What MLflow's database holds."""
        database = sqlite3.connect(folder / "mlflow" / "mlflow.db")
        for (value,) in database.execute("SELECT value FROM tags WHERE key GLOB 'v[0-9]*'"):
            record = json.loads(value)
            if record["packs"]:
                record |= {f"packs.{name}": number for name, number in record["packs"].items()}
            self.add("The record of a version in MLflow", record)
            self.manifest(json.loads(zlib.decompress(base64.b64decode(record["manifest"]))))
        columns = {"tags": "key", "experiment_tags": "key", "logged_model_tags": "tag_key", "model_version_tags": "key"}
        for table, column in columns.items():
            found = database.execute(f"SELECT {column} FROM {table} WHERE {column} LIKE 'tracelet.%'")
            keys = [key for (key,) in found]
            self.tags |= {key for key in keys if not key.startswith("tracelet.artifact.")}
        database.close()
        for path in folder.glob("tracelet/outbox/*/mlflow/*.rendered/*/recipe.json"):
            self.add("A model that waits for MLflow", json.loads(path.read_text()))

    def aim(self, folder: Path) -> None:
        """What the catalogues of an Aim repo hold."""
        told = programs.run(
            AIM.format(tests=str(Path(__file__).parent), repo=str(folder / "aim")), folder / "asking", {}
        )
        for catalogue in told.values():
            self.aims |= set(catalogue)
            for versions in catalogue["versions"].values():
                for text in versions.values():
                    record = json.loads(text)
                    self.add("The record of a version in Aim", record)
                    self.manifest(json.loads(record["manifest"]))


#: Importing Aim warns, and tests take no warnings.
AIM = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from servers.aim_hands import show
print(json.dumps(show(Path({repo!r})), default=str))
"""


def _facts(text: str) -> dict[str, Any]:
    """The facts in a name; the one without a value is the state."""
    return {
        kind if value else "<state>": value for kind, _, value in (one.partition(":") for one in text.split(";") if one)
    }


@pytest.fixture(scope="module", params=sets.versions())
def records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Records:
    def unpacked(kind: str) -> Path:
        return sets.unpack(request.param, kind, tmp_path_factory.mktemp("records"))

    found = Records(request.param)
    folder = unpacked("local")
    found.directory(folder / "tracelet")
    for path in sorted(folder.glob("tracelet/staging/*/models/*/model.json")):
        found.add("Model facts", json.loads(path.read_text()))
    for kind in ("wandb", "clearml"):
        found.directory(unpacked(kind) / "tracelet")
    found.mlflow(unpacked("mlflow"))
    found.aim(unpacked("aim"))
    found.clearml(unpacked("clearml-server") / "server" / "documents")
    return found


def test_no_field_is_undocumented_or_older_than_the_page_says(records: Records) -> None:
    for kind, all_of_them in records.found.items():
        for name in sorted({name for record in all_of_them for name in record}):
            assert name in fields()[kind], (kind, name)
            _, since = fields()[kind][name]
            assert Version(since) <= Version(records.release), (kind, name)


def test_no_tag_and_no_path_of_a_tracker_is_undocumented(records: Records) -> None:
    assert records.tags
    assert {tag for tag in records.tags if f"`{tag}`" not in PAGE} == set()
    assert records.aims
    assert {path for path in records.aims if f"| `{path}/" not in PAGE and f"| `{path}` |" not in PAGE} == set()


def test_every_field_of_a_tracelet_directory_is_there_with_its_type(records: Records) -> None:
    """But for those that may be missing, or came later."""
    for kind, all_of_them in records.found.items():
        if any(tracker in kind for tracker in ("ClearML", "MLflow", "Aim")):
            continue
        needed = {
            name
            for name, (type_, since) in fields()[kind].items()
            if not type_.startswith("optional") and Version(since) <= Version(records.release)
        }
        for record in all_of_them:
            assert needed <= set(record), kind
            for name, value in record.items():
                assert _fits(value, fields()[kind][name][0]), (kind, name, value)


def _fits(value: Any, type_: str) -> bool:
    if value is None:
        return type_.endswith("or null")
    first = type_.removeprefix("optional, ").removesuffix(" or null")
    if first.startswith(("list", "[")):
        return isinstance(value, list if first.startswith("list") else dict)
    return {
        "whole": lambda: isinstance(value, int) and not isinstance(value, bool),
        "time": lambda: isinstance(value, (int, float)) and value > 1_600_000_000,
        "sha256": lambda: re.fullmatch("[0-9a-f]{64}", value) is not None,
        "object": lambda: isinstance(value, dict),
        "name": lambda: re.fullmatch("[A-Za-z0-9_.-]{1,128}", value) is not None,
        "path": lambda: isinstance(value, str) and not value.startswith("/"),
        "true": lambda: value is True,
        "true or false": lambda: isinstance(value, bool),
        "text": lambda: isinstance(value, str),
    }[first]()


def test_the_program_of_the_page_gives_every_stored_manifest_its_digest(records: Records) -> None:
    assert len(records.manifests) > 20
    for document in records.manifests:
        assert page_digest()(document) == document["digest"], document["name"]
    assert any("$float" in json.dumps(document["metadata"]) for document in records.manifests)
