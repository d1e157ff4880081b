"""What a W&B server remembers: projects, runs, collections, versions, and the bytes, which are files of a folder.

Rules, each as W&B documents it or as its client relies on it: a collection has one type; a version gets its number when
it is committed; content equal to the newest version's is that version; ``latest`` and any alias is on one version of a
collection; an alias that is given again moves; a deleted version's number is not used again; a portfolio holds links to
versions of other collections, under numbers and aliases of its own; an entity is found in any case, and written in its own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import pickle
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.graphql import GraphQLError, Unknown

__all__ = ["Artifact", "Collection", "Project", "Run", "State", "blob_name"]

_NAME = re.compile(r"[a-zA-Z0-9_\-.]{1,128}")
_PROJECT = re.compile(r"[^/\\#?%:\r\n]{1,128}")
_TYPE = re.compile(r"[-\w]+([ ]*[-.\w]+)*")
_VERSION = re.compile(r"v([0-9]+)")
MOST_KEYS = 100


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def blob_name(md5: str) -> str:
    """The name of a blob's file, from a digest in base64."""
    return base64.b64decode(md5).hex()


def _check(condition: object, message: str) -> None:
    if not condition:
        raise GraphQLError(message)


@dataclass
class Run:
    id: str
    name: str
    number: int
    values: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    used: list[str] = field(default_factory=list)


@dataclass
class Artifact:
    id: str
    type: str
    digest: str
    run: str
    description: str | None
    metadata: str | None
    client_id: str
    wanted_aliases: list[str]
    created_at: str
    number: int | None = None
    state: str = "PENDING"
    manifest_id: str | None = None
    #: Path in the artifact to md5 in base64, of what the client said that it would upload.
    promised: dict[str, str] = field(default_factory=dict)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifest_blob: str = ""
    tags: list[str] = field(default_factory=list)
    updated_at: str | None = None


@dataclass
class Collection:
    id: str
    name: str
    type: str
    versions: list[Artifact] = field(default_factory=list)
    #: Alias to the id of the version.
    aliases: dict[str, str] = field(default_factory=dict)
    next_number: int = 0
    #: Whether it holds links alone.
    portfolio: bool = False

    def number(self, artifact: Artifact) -> int | None:
        """The number that a version has here."""
        return self.versions.index(artifact) if self.portfolio else artifact.number


@dataclass
class Project:
    id: str
    entity: str
    name: str
    number: int
    runs: dict[str, Run] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)


class State:
    """Everything, behind one lock; kept in a file so that a server that is started again goes on."""

    def __init__(self, folder: Path, entities: tuple[str, ...]) -> None:
        self.folder = folder
        self.entities = entities
        #: Whether names that differ in case only are the same, as they are in some databases.
        self.folds_case = False
        self.blobs = folder / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.projects: dict[tuple[str, str], Project] = {}
        self.artifacts: dict[str, tuple[Project, Collection, Artifact]] = {}
        self.manifests: dict[str, dict[str, str]] = {}
        #: A token in an upload's URL to where the bytes go.
        self.uploads: dict[str, str] = {}
        self.requests: dict[str, int] = {}
        self.unknown: list[str] = []
        self._kept = folder / "state.pickle"
        with contextlib.suppress(FileNotFoundError):
            self.__dict__.update(pickle.loads(self._kept.read_bytes()))

    def keep(self) -> None:
        kept = ("projects", "artifacts", "manifests", "uploads", "unknown")
        with self.lock:
            self._kept.write_bytes(pickle.dumps({name: getattr(self, name) for name in kept}))

    # -- projects and runs

    def entity(self, name: str | None) -> str:
        """An entity as it is written; one that is not there as it was asked for."""
        wanted = name or self.entities[0]
        return next((one for one in self.entities if one.casefold() == wanted.casefold()), wanted)

    def project(self, entity: str | None, name: str | None) -> Project | None:
        key = (self.entity(entity), name or "")
        folded = (key[0], key[1].casefold())
        alike = [one for (owner, known), one in self.projects.items() if (owner, known.casefold()) == folded]
        return self.projects.get(key) or (alike[0] if alike and self.folds_case else None)

    def collection(self, project: Project, name: str) -> Collection | None:
        alike = [one for known, one in project.collections.items() if known.casefold() == name.casefold()]
        return project.collections.get(name) or (alike[0] if alike and self.folds_case else None)

    def make_project(self, entity: str | None, name: str) -> Project:
        entity = self.entity(entity)
        _check(entity in self.entities, f"entity {entity} not found during upsertModel")
        _check(_PROJECT.fullmatch(name), f"invalid project name {name!r}")
        known = self.project(entity, name)
        return known or self.projects.setdefault(
            (entity, name), Project(f"project-{uuid.uuid4().hex[:8]}", entity, name, len(self.projects) + 1)
        )

    def upsert_run(self, values: dict[str, Any]) -> tuple[Project, Run, bool]:
        given = {key: value for key, value in values.items() if value is not None}
        if given.get("id"):
            known = [(p, r) for p in self.projects.values() for r in p.runs.values() if r.id == given["id"]]
            _check(known, f"no run has the id {given['id']}")
            project, run = known[0]
        else:
            project = self.make_project(given.get("entityName"), given["modelName"])
            run_name = given.get("name") or uuid.uuid4().hex[:8]
            _check(0 < len(run_name) <= 128 and not re.search(r"[/\\#?%:]", run_name), f"invalid run id {run_name!r}")
            inserted = run_name not in project.runs
            if inserted:
                project.runs[run_name] = Run(f"run-{uuid.uuid4().hex[:8]}", run_name, len(project.runs) + 1)
            run = project.runs[run_name]
            run.state = "running"
            run.values |= {key: given[key] for key in given if key not in {"entityName", "modelName", "name"}}
            return project, run, inserted
        run.values |= {key: given[key] for key in given if key not in {"entityName", "modelName", "name", "id"}}
        return project, run, False

    # -- writing a version

    def create(self, given: dict[str, Any]) -> Artifact:
        project = self.project(given.pop("entityName"), given.pop("projectName"))
        _check(project, "project not found")
        assert project is not None
        run = given.pop("runName", None)
        _check(run in project.runs, f"run {run} not found")
        name, kind = given.pop("artifactCollectionName"), given.pop("artifactTypeName")
        _check(_NAME.fullmatch(name), f"invalid artifact name {name!r}")
        _check(_TYPE.fullmatch(kind) and len(kind) <= 128, f"invalid artifact type {kind!r}")
        digest = given.pop("digest")
        aliases = [
            self._alias(item["alias"], item["artifactCollectionName"] == name) for item in given.pop("aliases") or []
        ]
        metadata = given.pop("metadata", None)
        check_metadata(metadata)
        collection = self.collection(project, name)
        if collection is None:
            collection = project.collections[name] = Collection(f"seq-{uuid.uuid4().hex[:8]}", name, kind)
        _check(not collection.portfolio, f"artifact {name} is a portfolio")
        _check(collection.type == kind, f"artifact {name} exists with the type {collection.type}")
        _check(given.pop("digestAlgorithm", "MANIFEST_MD5") == "MANIFEST_MD5", "another digest than MD5")
        deduplicates = given.pop("enableDigestDeduplication", False)
        newest = self.version(collection, "latest")
        if deduplicates and newest is not None and newest.state == "COMMITTED" and newest.digest == digest:
            for alias in aliases:
                collection.aliases[alias] = newest.id
            return newest
        made = Artifact(
            id=base64.b64encode(f"Artifact:{len(self.artifacts) + 1}".encode()).decode(),
            type=kind,
            digest=digest,
            run=str(run),
            description=given.pop("description", None),
            metadata=metadata,
            client_id=given.pop("clientID", "") or "",
            wanted_aliases=aliases,
            created_at=now(),
        )
        made.tags = [tag["tagName"] for tag in given.pop("tags", None) or []]
        silent = {"sequenceClientID", "distributedID", "historyStep", "ttlDurationSeconds"}
        left = {key: value for key, value in given.items() if value is not None and key not in silent}
        if left:
            raise Unknown(f"CreateArtifactInput: {left}")
        collection.versions.append(made)
        self.artifacts[made.id] = (project, collection, made)
        return made

    @staticmethod
    def _alias(alias: str, own: bool) -> str:
        _check(own, "an alias of another collection")
        _check(alias and len(alias) <= 128 and not re.search(r"[/:]", alias), f"invalid alias {alias!r}")
        return alias

    def commit(self, artifact_id: str) -> Artifact:
        _, collection, artifact = self._one(artifact_id)
        if artifact.state == "COMMITTED":
            return artifact
        manifest = self.manifests.get(artifact.manifest_id or "")
        _check(manifest and manifest["blob"], "commitArtifact: the manifest is not uploaded")
        assert manifest is not None
        content = json.loads((self.blobs / manifest["blob"]).read_bytes())
        _check(content["version"] == 1, "manifest version")
        _check(content["storagePolicy"] == "wandb-storage-policy-v1", "storage policy")
        for path, entry in content["contents"].items():
            if "ref" not in entry:
                blob = self.blobs / blob_name(entry["digest"])
                _check(blob.exists(), f"commitArtifact: {path!r} is not uploaded")
                _check(blob.stat().st_size == entry["size"], f"commitArtifact: {path!r} has another size")
        artifact.contents, artifact.manifest_blob = content["contents"], manifest["blob"]
        artifact.state, artifact.number = "COMMITTED", collection.next_number
        collection.next_number += 1
        for alias in ["latest", *artifact.wanted_aliases]:
            collection.aliases[alias] = artifact.id
        return artifact

    def store(self, token: str, data: bytes) -> None:
        """Take an upload; its bytes must be the promised ones."""
        kind, _, what = self.uploads[token].partition(":")
        if kind == "file":
            found = base64.b64encode(hashlib.md5(data).digest()).decode()
            if found != what:
                raise ValueError("the md5 of an upload is not the promised one")
            self._write(blob_name(what), data)
        elif kind == "manifest":
            name = f"manifest-{what}"
            self._write(name, data)
            self.manifests[what]["blob"] = name
        else:
            run, _, path = what.partition(":")
            for project in self.projects.values():
                for known in project.runs.values():
                    if known.id == run:
                        name = f"run-{hashlib.sha256(f'{run}/{path}'.encode()).hexdigest()[:32]}"
                        self._write(name, data)
                        known.files[path] = name

    def _write(self, name: str, data: bytes) -> None:
        partial = self.blobs / f"{name}.{uuid.uuid4().hex}.tmp"
        partial.write_bytes(data)
        partial.replace(self.blobs / name)

    # -- reading and changing versions

    def _one(self, artifact_id: str) -> tuple[Project, Collection, Artifact]:
        _check(artifact_id in self.artifacts, f"artifact {artifact_id} not found")
        return self.artifacts[artifact_id]

    def version(self, collection: Collection, ref: str) -> Artifact | None:
        wanted = collection.aliases.get(ref)
        match = _VERSION.fullmatch(ref)
        for one in collection.versions:
            # What is being deleted is found until it is gone.
            if one.state != "PENDING" and (one.id == wanted or (match and collection.number(one) == int(match[1]))):
                return one
        return None

    def link(self, given: dict[str, Any]) -> tuple[Project, Collection, Artifact]:
        """Put a version into a portfolio, which is made with the first link."""
        _, _, artifact = self._one(given["artifactID"])
        _check(artifact.state == "COMMITTED", "the artifact is not committed")
        project = self.make_project(given["entityName"], given["projectName"])
        name = given["artifactPortfolioName"]
        _check(_NAME.fullmatch(name), f"invalid portfolio name {name!r}")
        made = Collection(f"folio-{uuid.uuid4().hex[:8]}", name, artifact.type, portfolio=True)
        collection = project.collections.setdefault(name, made)
        _check(collection.portfolio and collection.type == artifact.type, f"{name} is no portfolio of that type")
        if artifact not in collection.versions:
            collection.versions.append(artifact)
        for alias in ["latest", *(self._alias(item["alias"], True) for item in given.get("aliases") or [])]:
            collection.aliases[alias] = artifact.id
        return project, collection, artifact

    def set_states(self, project: str, runs: str | None, version: tuple[str, int, str] | None) -> None:
        """Do what a server does by itself: end every run that runs, change a version's state."""
        (found,) = [one for one in self.projects.values() if one.name == project]
        for run in found.runs.values():
            if runs is not None and run.state == "running":
                run.state = runs
        if version is not None:
            collection, number, state = version
            (one,) = [one for one in found.collections[collection].versions if one.number == number]
            one.state = state
        self.keep()

    def add_aliases(self, artifact_id: str, aliases: list[dict[str, str]]) -> None:
        project, collection, artifact = self._one(artifact_id)
        _check(artifact.state == "COMMITTED", "the artifact is not committed")
        for item in aliases:
            collection.aliases[self._own_alias(project, collection, item)] = artifact.id

    def delete_aliases(self, artifact_id: str, aliases: list[dict[str, str]]) -> None:
        project, collection, artifact = self._one(artifact_id)
        for item in aliases:
            alias = self._own_alias(project, collection, item)
            if collection.aliases.get(alias) == artifact.id:
                del collection.aliases[alias]

    def _own_alias(self, project: Project, collection: Collection, item: dict[str, str]) -> str:
        here = (self.entity(item["entityName"]), item["projectName"], item["artifactCollectionName"])
        return self._alias(item["alias"], here == (project.entity, project.name, collection.name))

    def update(self, given: dict[str, Any]) -> Artifact:
        _, _, artifact = self._one(given.pop("artifactID"))
        if given.get("metadata") is not None:
            check_metadata(given["metadata"])
            artifact.metadata = given["metadata"]
        if "description" in given:
            artifact.description = given["description"]
        artifact.tags += [tag["tagName"] for tag in given.get("tagsToAdd") or []]
        gone = {tag["tagName"] for tag in given.get("tagsToDelete") or []}
        artifact.tags = [tag for tag in artifact.tags if tag not in gone]
        artifact.updated_at = now()
        return artifact

    def delete(self, artifact_id: str, delete_aliases: bool) -> Artifact:
        _, collection, artifact = self._one(artifact_id)
        mine = [alias for alias, owner in collection.aliases.items() if owner == artifact.id]
        _check(delete_aliases or not set(mine) - {"latest"}, "the artifact has aliases: delete them first")
        for alias in mine:
            del collection.aliases[alias]
        artifact.state = "DELETED"
        collection.versions.remove(artifact)
        left = [one for one in collection.versions if one.state == "COMMITTED"]
        if "latest" in mine and left:
            collection.aliases["latest"] = max(left, key=lambda one: one.number or 0).id
        return artifact


def check_metadata(metadata: str | None) -> None:
    """Metadata is a JSON object of at most 100 keys; Go reads no NaN and no Infinity."""
    if metadata is None:
        return

    def refuse(text: str) -> None:
        raise GraphQLError(f"metadata: {text} is not JSON")

    content = json.loads(metadata, parse_constant=refuse)
    _check(isinstance(content, dict), "metadata is not an object")
    _check(len(content) <= MOST_KEYS, "metadata has more than 100 keys")
