"""What a W&B server remembers: projects, runs, collections, versions, and the bytes, which are files of a folder.

The server is closed; each rule here has the place where it can be known from, or is called a guess. ``WB-n`` is issue or
pull request n of the public repository wandb/wandb, ``core/`` and ``sdk/`` are its folders.

Runs
    * A run that is not there is made by ``upsertBucket``: ``core/internal/runupserter``, ``InitRun``.
    * An id that was deleted answers HTTP 409, "was previously created and deleted": WB-4897, WB-4948, WB-10669; it is free
      again after some seven days: WB-6395, and issue 875 of mozilla/translations. Its run is null to queries, and its
      versions stay where the user did not ask for their end, too: WB-4816. That an artifact, an input or a stream of such a run is refused with 404 is a guess.
    * A project that was deleted is null to queries and not found by mutations, with its runs and versions, and
      ``upsertBucket`` makes a new one of that name: a guess.
    * That ``upsertBucket`` has 409 also for what two do to a run at once is a guess from the client, which tries it again.
    * An entity that is not there answers HTTP 404, "not found during upsertBucket": public reports of it are many.
    * An entity is found in any case, and written in its own: a guess, from how ``sdk/artifacts`` compares them.
Versions
    * A collection has one type: ``sdk/wandb_run.py``, ``_assert_can_log_artifact``.
    * A version gets its number when it is committed, and a number is not used again: WB-4260, WB-2828.
    * Content equal to any committed version's is that version, with the new aliases: the documentation's words are "if
      nothing changed"; that older versions count, too, is a guess to the unkind side.
    * A file that the collection has already is not uploaded again, and is told with the version that it came with:
      ``core/pkg/artifacts/saver.go``, ``processFiles``.
    * Of two versions of a collection that bring the same new file the one that is committed later is refused with HTTP
      409, and creating it anew helps: WB-4260, WB-4272; the words are those of WB-1407. That the collection is the bound,
      and not the project, is a guess.
    * A refused version stays PENDING, is not found by name, is listed where its state is asked for (WB-4401), and can be
      deleted: the last is a guess.
    * ``useArtifact`` of what is not committed is refused: the words are a guess.
Aliases
    * ``latest`` and any alias is on one version of a collection, and moves when it is given again: documentation.
    * ``latest`` vanishes with the version that has it (pull request 528 of wandb/weave: clients must do without); a server
      of the older kind here moves it to the newest one that is left, which is a guess.
    * A version with aliases is not deleted without being told so: WB-2751.
    * A portfolio holds links to versions of other collections, under numbers and aliases of its own: documentation.
Bytes
    * An upload in parts: ``core/pkg/artifacts/saver.go``, ``uploadMultipart``, and S3's own rules: parts of 5 MiB or more
      but for the last, an ETag for each, which is its MD5, and all of them told at the end.
    * Digests are MD5, or XXH128 where an artifact says so: ``sdk/lib/hashutil.py``. A client of a current server tells both of
      each file, and of one that does not say that it has such digests the MD5 alone: seen of the client of 0.31.0. That
      both are checked is a guess.
Refusals
    * ``errors`` with the path of the field, ``data`` with null in its place, and an HTTP status: 403 for "permission denied"
      (WB-9156), 404, 409. That every other refusal of a current server is 400, and of an older one 200, is a guess.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from servers.graphql import GraphQLError, Unknown

__all__ = ["Artifact", "Collection", "Project", "Run", "State", "blob_name"]

_NAME = re.compile(r"[a-zA-Z0-9_\-.]{1,128}")
_PROJECT = re.compile(r"[^/\\#?%:\r\n]{1,128}")
_TYPE = re.compile(r"[-\w]+([ ]*[-.\w]+)*")
_VERSION = re.compile(r"v([0-9]+)")
MOST_KEYS = 100
#: S3's own bound.
SMALLEST_PART = 5 << 20


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def blob_name(md5: str) -> str:
    """The name of a blob's file, from a digest in base64."""
    return base64.b64decode(md5).hex()


def _check(condition: object, message: str, status: int | None = None) -> None:
    if not condition:
        raise GraphQLError(message, status)


def _digest(data: bytes, algorithm: str) -> str:
    """The digest of a file in base64, as the SDK makes it."""
    found = xxhash.xxh128(data).digest() if algorithm == "XXH128" else hashlib.md5(data).digest()
    return base64.b64encode(found).decode()


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
    digest_algorithm: str = "MANIFEST_MD5"
    #: Digest of each file that the client asked about, and the id of the version that brought it: its own where it is new.
    births: dict[str, str] = field(default_factory=dict)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifest_blob: str = ""
    tags: list[str] = field(default_factory=list)
    updated_at: str | None = None

    def blobs(self) -> set[str]:
        """The names of its files' blobs."""
        return {blob_name(entry["digest"]) for entry in self.contents.values() if "ref" not in entry}


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
    #: The ids of runs that somebody deleted.
    deleted: set[str] = field(default_factory=set)


@dataclass
class Parts:
    """An upload in parts that is under way."""

    #: Part number to MD5 in hex, as the client said.
    expected: dict[int, str]
    path: str
    digest: str
    algorithm: str
    #: Those that are here, each a file of its own.
    given: set[int] = field(default_factory=set)


class State:
    """Everything, behind one lock; kept in a file so that a server that is started again goes on."""

    def __init__(self, folder: Path, entities: tuple[str, ...], *, current: bool = False) -> None:
        """``current``: a server of today, with all that it offers; else one that offers nothing to clients that ask."""
        self.folder = folder
        self.entities = entities
        self.current = current
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
        self.parts: dict[str, Parts] = {}
        self.unknown: list[str] = []
        self._kept = folder / "state.pickle"
        with contextlib.suppress(FileNotFoundError):
            self.__dict__.update(pickle.loads(self._kept.read_bytes()))

    def keep(self) -> None:
        kept = ("projects", "artifacts", "manifests", "uploads", "parts", "unknown")
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
        _check(entity in self.entities, f"entity {entity} not found during upsertBucket", 404)
        _check(_PROJECT.fullmatch(name), f"invalid project name {name!r}")
        known = self.project(entity, name)
        return known or self.projects.setdefault(
            (entity, name), Project(f"project-{uuid.uuid4().hex[:8]}", entity, name, len(self.projects) + 1)
        )

    def upsert_run(self, values: dict[str, Any]) -> tuple[Project, Run, bool]:
        given = {key: value for key, value in values.items() if value is not None}
        if given.get("id"):
            known = [(p, r) for p in self.projects.values() for r in p.runs.values() if r.id == given["id"]]
            _check(known, f"run {given['id']} was previously created and deleted; try a new run name", 409)
            project, run = known[0]
        else:
            project = self.make_project(given.get("entityName"), given["modelName"])
            run_name = given.get("name") or uuid.uuid4().hex[:8]
            _check(0 < len(run_name) <= 128 and not re.search(r"[/\\#?%:]", run_name), f"invalid run id {run_name!r}")
            told = (
                f"run {project.entity}/{project.name}/{run_name} was previously created and deleted; try a new run name"
            )
            _check(run_name not in project.deleted, told, 409)
            inserted = run_name not in project.runs
            if inserted:
                project.runs[run_name] = Run(f"run-{uuid.uuid4().hex[:8]}", run_name, len(project.runs) + 1)
            run = project.runs[run_name]
            run.state = "running"
            run.values |= {key: given[key] for key in given if key not in {"entityName", "modelName", "name"}}
            return project, run, inserted
        run.values |= {key: given[key] for key in given if key not in {"entityName", "modelName", "name", "id"}}
        return project, run, False

    def delete_run(self, project_name: str, name: str) -> None:
        """Do what somebody does on the web page; versions of the run stay."""
        (project,) = [one for one in self.projects.values() if one.name == project_name]
        del project.runs[name]
        project.deleted.add(name)
        self.keep()

    def delete_project(self, name: str) -> None:
        """Do what somebody does on the web page."""
        (project,) = [one for one in self.projects.values() if one.name == name]
        del self.projects[project.entity, project.name]
        self.artifacts = {one: known for one, known in self.artifacts.items() if known[0] is not project}
        self.keep()

    # -- writing a version

    def create(self, given: dict[str, Any]) -> Artifact:
        project = self.project(given.pop("entityName"), given.pop("projectName"))
        _check(project, "project not found")
        assert project is not None
        run = given.pop("runName", None)
        _check(run in project.runs, f"run {run} not found", 404)
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
        algorithm = given.pop("digestAlgorithm", "MANIFEST_MD5")
        known = {"MANIFEST_MD5", "MANIFEST_XXH128"} if self.current else {"MANIFEST_MD5"}
        _check(algorithm in known, f"unknown digest algorithm {algorithm}")
        if given.pop("enableDigestDeduplication", False):
            for same in [one for one in collection.versions if one.state == "COMMITTED" and one.digest == digest][-1:]:
                for alias in aliases:
                    collection.aliases[alias] = same.id
                return same
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
            digest_algorithm=algorithm,
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

    def asked(self, artifact_id: str, digest: str) -> tuple[Artifact, bool]:
        """Note that a version has a file; return the version that brought it, and whether its bytes are here."""
        _, collection, artifact = self._one(artifact_id)
        birth = self._brought(collection, digest) or artifact
        artifact.births[digest] = birth.id
        return birth, birth is not artifact and (self.blobs / blob_name(digest)).exists()

    @staticmethod
    def _brought(collection: Collection, digest: str) -> Artifact | None:
        return next(
            (
                one
                for one in collection.versions
                if one.state == "COMMITTED"
                and any(birth == one.id for had, birth in one.births.items() if had == digest)
            ),
            None,
        )

    def commit(self, artifact_id: str) -> Artifact:
        _, collection, artifact = self._one(artifact_id)
        if artifact.state == "COMMITTED":
            return artifact
        for digest, birth in artifact.births.items():
            told = f"conflict detected for file digest {digest}, rebase required"
            _check(birth != artifact.id or self._brought(collection, digest) is None, told, 409)
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
            md5, algorithm, digest = what.split(":")
            if _digest(data, "MD5") != md5 or _digest(data, algorithm) != digest:
                raise ValueError(f"the MD5 or the {algorithm} of an upload is not the promised one")
            self._write(blob_name(digest), data)
        elif kind == "part":
            upload, _, number = what.partition(":")
            if hashlib.md5(data).hexdigest() != self.parts[upload].expected[int(number)]:
                raise ValueError("BadDigest: the MD5 of a part is not the promised one")
            self._write(f"{upload}-{number}", data)
            self.parts[upload].given.add(int(number))
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

    def begin_parts(self, path: str, digest: str, algorithm: str, parts: Sequence[dict[str, Any]]) -> str:
        upload = f"upload{len(self.parts) + 1}"
        self.parts[upload] = Parts({int(one["partNumber"]): one["hexMD5"] for one in parts}, path, digest, algorithm)
        return upload

    def complete_parts(self, upload: str, path: str, told: Sequence[dict[str, Any]]) -> str:
        """Put the parts together. A part is named by the ETag that its answer had, as S3 wants it."""
        known = self.parts.get(upload)
        _check(known is not None and known.path == path, f"NoSuchUpload: {upload}", 404)
        assert known is not None
        etags = {int(one["partNumber"]): one["hexMD5"].strip('"') for one in told}
        _check(etags == known.expected, "InvalidPart: not every part is there as it was given")
        numbers = sorted(known.given)
        _check(numbers == list(range(1, len(known.expected) + 1)), "InvalidPart: a part was not uploaded")
        parts = [self.blobs / f"{upload}-{number}" for number in numbers]
        small = [part for part in parts[:-1] if part.stat().st_size < SMALLEST_PART]
        _check(not small, "EntityTooSmall: a part that is not the last has less than 5 MiB")
        data = b"".join(part.read_bytes() for part in parts)
        _check(_digest(data, known.algorithm) == known.digest, "the digest of the whole is not the promised one")
        self._write(blob_name(known.digest), data)
        for part in parts:
            part.unlink()
        del self.parts[upload]
        return known.digest

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
        if "latest" in mine and left and not self.current:
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
