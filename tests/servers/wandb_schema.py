"""W&B's GraphQL, as far as its client uses it for runs and artifacts: each root field by its name.

Fields, arguments and types are those that the client asks for: ``sdk/artifacts/_generated``, ``apis/public``, and the
requests that stand in its binary. What it never asks for is not here.

Versions are filtered by their state as ``apis/public/artifacts.py`` of the client does it by default. That they are filtered by
keys of their metadata, too, with ``$regex``, ``$in`` and ``$or``, is a guess: it is documented of a registry's versions alone.
Hence the server can do without, in each way that there is.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Callable
from typing import Any

from servers.graphql import GraphQLError, Node, Unknown
from servers.wandb_state import Artifact, Collection, Project, Run, State, blob_name

__all__ = ["LONGEST_PAGE", "Schema"]

_COLLECTION = ("ArtifactCollection",)
#: How many nodes a page has at most, whatever is asked for.
LONGEST_PAGE = 1000
#: What a current server offers of all that the client asks about (``ServerFeature`` in its ``wandb_internal.proto``):
#: all of it that is about runs and artifacts. That one server has all of them is a guess.
FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_REGISTRY_SEARCH",
    "STRUCTURED_CONSOLE_LOGS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    "MARK_RUN_FILES_UPLOADED",
    "FILESTREAM_GZIP",
    "ARTIFACT_DIGEST_ALGORITHM",
)


class Schema:
    """The root of queries and of mutations, over one state."""

    def __init__(
        self,
        state: State,
        url: Callable[[str], str],
        *,
        filters: str = "applied",
        longest_page: int = LONGEST_PAGE,
    ) -> None:
        """``url(path)`` is an address of this server; ``filters`` may be applied, ignored or refused."""
        self._state = state
        self._url = url
        self._filters = filters
        self._longest_page = longest_page

    def query(self) -> Node:
        return Node(
            "Query",
            {
                "viewer": self._viewer(),
                "serverInfo": Node("ServerInfo", {"features": self._features()}),
                "entity": self._entity,
                "models": self._projects,
                "project": self._project,
                "model": self._project,
                "artifact": self._artifact_by_id,
                "artifactCollection": self._collection_by_id,
                "clientIDMapping": self._by_client_id,
            },
        )

    def mutation(self) -> Node:
        return Node(
            "Mutation",
            {
                "upsertBucket": self._upsert_bucket,
                "createRunFiles": self._create_run_files,
                "markRunFilesUploaded": self._mark_uploaded,
                "createArtifact": self._create_artifact,
                "createArtifactManifest": self._create_manifest,
                "updateArtifactManifest": self._update_manifest,
                "createArtifactFiles": self._create_files,
                "completeMultipartUploadArtifact": self._complete_parts,
                "commitArtifact": self._commit,
                "useArtifact": self._use_artifact,
                "addAliases": self._add_aliases,
                "deleteAliases": self._delete_aliases,
                "updateArtifact": self._update,
                "deleteArtifact": self._delete_artifact,
                "linkArtifact": self._link,
            },
        )

    # -- queries

    def _features(self) -> list[Node]:
        offered = FEATURES if self._state.current else ()
        return [Node("ServerFeature", {"name": name, "isEnabled": True}) for name in offered]

    def _viewer(self) -> Node:
        entity = self._state.entities[0]
        return Node(
            "User",
            {
                "id": "VXNlcjox",
                "entity": entity,
                "username": entity,
                "name": entity,
                "email": f"{entity}@example.org",
                "flags": "{}",
                "admin": False,
                "deletedAt": None,
                "apiKeys": _connection("ApiKey", []),
                "teams": _connection("Entity", [Node("Entity", {"name": one}) for one in self._state.entities[1:]]),
            },
        )

    def _entity(self, name: str) -> Node:
        """On a server of one's own an entity is in no organization."""
        found = self._state.entity(name)
        return Node("Entity", {"name": found, "xxhashDigestsEnabled": self._state.current, "organization": None})

    def _project(self, name: str | None = None, entityName: str | None = None) -> Node | None:
        found = self._state.project(entityName, name)
        return None if found is None else self._project_node(found)

    def _projects(self, entityName: str | None = None, **page: Any) -> Node:
        """Those of an entity: ``GetProjects`` in ``apis/_generated`` of the client. Their order is a guess."""
        entity = self._state.entity(entityName)
        mine = [self._project_node(one) for one in self._state.projects.values() if one.entity == entity]
        return self._page("Project", mine, **page)

    def _project_node(self, project: Project) -> Node:
        return Node(
            "Project",
            {
                "id": project.id,
                "internalId": str(project.number),
                "name": project.name,
                "entityName": project.entity,
                "createdAt": "2026-01-01T00:00:00",
                "isBenchmark": False,
                "user": self._viewer,
                "entity": Node("Entity", {"id": f"entity-{project.entity}", "name": project.entity}),
                "readOnly": False,
                "run": functools.partial(self._run_of, project),
                "bucket": lambda name, missingOk=False: self._run_of(project, name),
                "artifact": functools.partial(self._version_of, project),
                "artifactType": functools.partial(self._type_of, project),
                "artifactTypes": functools.partial(self._types_of, project),
                "artifactCollection": lambda name: self._collection_of(project, name),
                "artifactCollections": lambda **page: self._collections_of(project, None, **page),
                "artifactCollectionMembership": functools.partial(self._membership, project),
            },
        )

    def _run_of(self, project: Project, name: str) -> Node | None:
        run = project.runs.get(name)
        return None if run is None else self._run(project, run)

    def _run(self, project: Project, run: Run) -> Node:
        outputs = [one for one in self._state.artifacts.values() if one[2].run == run.name and one[0] is project]
        made = [self._artifact(one) for _, _, one in outputs if one.state == "COMMITTED"]
        used = [self._artifact(self._state.artifacts[known][2]) for known in run.used]
        return Node(
            "Run",
            {
                "id": run.id,
                "name": run.name,
                "displayName": run.values.get("displayName") or f"plain-run-{run.number}",
                "description": run.values.get("description"),
                "notes": run.values.get("notes"),
                "tags": run.values.get("tags") or [],
                "config": run.values.get("config") or "{}",
                "sweepName": run.values.get("sweep"),
                "state": run.state,
                "project": self._project_node(project),
                "projectId": project.number,
                "group": run.values.get("groupName"),
                "jobType": run.values.get("jobType"),
                "commit": run.values.get("commit"),
                "readOnly": False,
                "createdAt": "2026-01-01T00:00:00",
                "heartbeatAt": "2026-01-01T00:00:00",
                "systemMetrics": "{}",
                "historyKeys": None,
                "user": Node("User", {"name": project.entity, "username": project.entity}),
                "summaryMetrics": run.values.get("summaryMetrics") or "{}",
                "historyLineCount": len(run.history),
                "logLineCount": 0,
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(one) for one in run.history[-1:]]),
                "eventsTail": "[]",
                "wandbConfig": lambda keys: json.dumps({key: {} for key in keys}),
                "outputArtifacts": lambda **page: self._page("Artifact", made, **page),
                "inputArtifacts": lambda **page: self._page("Artifact", used, **page),
            },
        )

    def _version_of(self, project: Project, name: str) -> Node | None:
        found = self._resolved(project, name)
        return None if found is None else self._artifact(found[1])

    def _resolved(self, project: Project, name: str) -> tuple[Collection, Artifact] | None:
        collection_name, _, ref = name.partition(":")
        collection = self._state.collection(project, collection_name)
        version = None if collection is None else self._state.version(collection, ref or "latest")
        return None if collection is None or version is None else (collection, version)

    def _membership(self, project: Project, name: str) -> Node | None:
        found = self._resolved(project, name)
        return None if found is None else self._membership_node(project, *found)

    def _membership_node(self, project: Project, collection: Collection, artifact: Artifact) -> Node:
        return Node(
            "ArtifactCollectionMembership",
            {
                "id": f"membership-{collection.id}-{artifact.id}",
                "versionIndex": collection.number(artifact),
                "createdAt": artifact.created_at,
                "aliases": self._aliases(collection, artifact),
                "artifactCollection": self._collection(project, collection),
                "artifact": self._artifact(artifact),
                "files": functools.partial(self._files, artifact),
            },
        )

    def _types(self, project: Project) -> list[str]:
        return sorted({one.type for one in project.collections.values()})

    def _types_of(self, project: Project, **page: Any) -> Node:
        return self._page("ArtifactType", [self._type_node(project, one) for one in self._types(project)], **page)

    def _type_of(self, project: Project, name: str) -> Node | None:
        return self._type_node(project, name) if name in self._types(project) else None

    def _type_node(self, project: Project, kind: str) -> Node:
        return Node(
            "ArtifactType",
            {
                "id": f"type-{kind}",
                "name": kind,
                "description": None,
                "createdAt": "2026-01-01T00:00:00",
                "artifactCollections": lambda **page: self._collections_of(project, kind, **page),
                "artifactCollection": lambda name: self._collection_of(project, name, kind),
            },
        )

    def _collections_of(
        self, project: Project, kind: str | None, filters: str | None = None, order: str | None = None, **page: Any
    ) -> Node:
        if order is not None or (filters is not None and json.loads(filters)):
            raise Unknown("collections are not filtered or ordered here: nobody asked for it")
        found = [one for one in project.collections.values() if kind in {None, one.type}]
        return self._page("ArtifactCollection", [self._collection(project, one) for one in found], **page)

    def _collection_of(self, project: Project, name: str, kind: str | None = None) -> Node | None:
        found = self._state.collection(project, name)
        return None if found is None or kind not in {None, found.type} else self._collection(project, found)

    def _collection_by_id(self, id: str) -> Node:
        for project in self._state.projects.values():
            for collection in project.collections.values():
                if collection.id == id:
                    return self._collection(project, collection)
        raise GraphQLError(f"artifactCollection {id} not found")

    def _collection(self, project: Project, collection: Collection) -> Node:
        return Node(
            "ArtifactPortfolio" if collection.portfolio else "ArtifactSequence",
            {
                "id": collection.id,
                "name": collection.name,
                "description": None,
                "createdAt": "2026-01-01T00:00:00",
                "updatedAt": None,
                "state": "READY",
                "digestAlgorithm": "MANIFEST_MD5",
                "project": lambda: self._project_node(project),
                "defaultArtifactType": lambda: self._type_node(project, collection.type),
                "tags": _connection("Tag", []),
                "aliases": lambda **page: self._page(
                    "ArtifactAlias", [_alias(alias) for alias in collection.aliases], **page
                ),
                "artifacts": functools.partial(self._versions, collection),
                "artifactMembership": lambda aliasName: self._membership(project, f"{collection.name}:{aliasName}"),
                "latestArtifact": lambda: self._version_of(project, collection.name),
            },
            _COLLECTION,
        )

    def _versions(
        self, collection: Collection, filters: str | None = None, order: str | None = None, **page: Any
    ) -> Node:
        wanted = json.loads(filters or "{}")
        if self._filters == "refused" and set(wanted) - {"state"}:
            raise GraphQLError("filters: unknown key")
        if self._filters == "ignored":
            wanted = {key: value for key, value in wanted.items() if key == "state"}
        if self._filters == "without $regex" and "$regex" in (filters or ""):
            wanted = _literally(wanted)
        if order not in {None, "-createdAt", "+createdAt", "createdAt", "-versionIndex"}:
            raise Unknown(f"order: unknown key {order!r}")
        found = [one for one in reversed(collection.versions) if _matches(one, wanted)]
        if order in {"+createdAt", "createdAt"}:
            found.reverse()
        edges = [(f"v{collection.number(one)}", self._artifact(one)) for one in found]
        return self._page("Artifact", [node for _, node in edges], versions=[version for version, _ in edges], **page)

    def _artifact_by_id(self, id: str) -> Node | None:
        known = self._state.artifacts.get(id)
        return None if known is None or known[2].state == "DELETED" else self._artifact(known[2])

    def _by_client_id(self, clientID: str) -> Node | None:
        for _, _, artifact in self._state.artifacts.values():
            if artifact.client_id == clientID:
                return Node("ClientIDMapping", {"serverID": artifact.id})
        return None

    def _artifact(self, artifact: Artifact) -> Node:
        project, collection, _ = self._state.artifacts[artifact.id]
        users = [
            run for known in self._state.projects.values() for run in known.runs.values() if artifact.id in run.used
        ]
        sizes = [entry.get("size") or 0 for entry in artifact.contents.values()]
        return Node(
            "Artifact",
            {
                "id": artifact.id,
                "artifactSequence": lambda: self._collection(project, collection),
                "versionIndex": artifact.number,
                "artifactType": lambda: self._type_node(project, artifact.type),
                "description": artifact.description,
                "metadata": artifact.metadata,
                "ttlDurationSeconds": -2,
                "ttlIsInherited": True,
                "tags": [Node("Tag", {"id": f"tag-{tag}", "name": tag}) for tag in artifact.tags],
                "historyStep": None,
                "state": artifact.state,
                "size": sum(sizes),
                "digest": artifact.digest,
                "digestAlgorithm": artifact.digest_algorithm,
                "commitHash": artifact.digest,
                "fileCount": len(artifact.contents),
                "createdAt": artifact.created_at,
                "updatedAt": artifact.updated_at,
                "aliases": lambda: self._every_alias(artifact),
                "currentManifest": lambda: Node(
                    "ArtifactManifest",
                    {
                        "id": artifact.manifest_id,
                        "file": self._stored_file(artifact.manifest_blob, "wandb_manifest.json"),
                    },
                ),
                "createdBy": lambda: self._run_of(project, artifact.run),
                "usedBy": lambda: _connection("Run", [self._run(project, run) for run in users]),
            },
        )

    def _aliases(self, collection: Collection, artifact: Artifact, project: Project | None = None) -> list[Node]:
        mine = [alias for alias, owner in collection.aliases.items() if owner == artifact.id]
        more = {} if project is None else {"artifactCollection": lambda: self._collection(project, collection)}
        return [_alias(alias, more) for alias in mine]

    def _every_alias(self, artifact: Artifact) -> list[Node]:
        """In its own collection and in every portfolio."""
        return [
            alias
            for project in self._state.projects.values()
            for collection in project.collections.values()
            for alias in self._aliases(collection, artifact, project)
        ]

    def _files(self, artifact: Artifact, names: list[str] | None = None, **page: Any) -> Node:
        wanted = {path: one for path, one in artifact.contents.items() if not names or path in names}
        return self._page("File", [self._entry(path, entry) for path, entry in wanted.items()], **page)

    def _entry(self, path: str, entry: dict[str, Any]) -> Node:
        if "ref" in entry:
            return _file(path, entry["ref"], entry["ref"], entry.get("size") or 0, entry["digest"])
        blob = blob_name(entry["digest"])
        url = self._url(f"/storage/{blob}")
        return _file(path, url, url, entry["size"], entry["digest"])

    def _stored_file(self, blob: str, name: str) -> Node:
        url = self._url(f"/storage/{blob}")
        return _file(name, url, url, (self._state.blobs / blob).stat().st_size, "")

    # -- mutations

    def _upsert_bucket(self, input: dict[str, Any]) -> Node:
        project, run, inserted = self._state.upsert_run(dict(input))
        return _payload("UpsertBucket", bucket=self._run(project, run), inserted=inserted)

    def _create_run_files(self, input: dict[str, Any]) -> Node:
        project = self._state.project(input["entityName"], input["projectName"])
        run = None if project is None else project.runs.get(input["runName"])
        if run is None:
            raise GraphQLError("createRunFiles: run not found", 404)
        files = [
            Node("File", {"name": path, "uploadUrl": self._upload(f"run:{run.id}:{path}")}) for path in input["files"]
        ]
        return _payload("CreateRunFiles", runID=run.id, uploadHeaders=[], files=files)

    def _create_artifact(self, input: dict[str, Any]) -> Node:
        return _payload("CreateArtifact", artifact=self._artifact(self._state.create(dict(input))))

    def _create_manifest(self, input: dict[str, Any]) -> Node:
        if input["name"] != "wandb_manifest.json" or input["type"] != "FULL":
            raise Unknown(f"createArtifactManifest: {input['name']} {input['type']} is not known here")
        known = self._state.artifacts[input["artifactID"]][2]
        known.manifest_id = known.manifest_id or f"manifest{len(self._state.manifests) + 1}"
        return self._manifest("CreateArtifactManifest", known.manifest_id, input["digest"])

    def _update_manifest(self, input: dict[str, Any]) -> Node:
        return self._manifest("UpdateArtifactManifest", input["artifactManifestID"], input["digest"])

    def _manifest(self, operation: str, manifest: str, digest: str | None) -> Node:
        known = self._state.manifests.setdefault(manifest, {"blob": "", "digest": ""})
        known["digest"] = digest or known["digest"]
        file = {"id": f"file-{manifest}", "uploadUrl": self._upload(f"manifest:{manifest}"), "uploadHeaders": []}
        return _payload(
            operation, artifactManifest=Node("ArtifactManifest", {"id": manifest, "file": Node("File", file)})
        )

    def _create_files(self, input: dict[str, Any]) -> Node:
        if input.get("storageLayout") != "V2":
            raise Unknown(f"createArtifactFiles: storageLayout {input.get('storageLayout')} is not known here")
        return _payload(
            "CreateArtifactFiles", files=_connection("File", [self._new_file(spec) for spec in input["artifactFiles"]])
        )

    def _new_file(self, spec: dict[str, Any]) -> Node:
        """Where a file of a version goes; nowhere where its bytes are here."""
        named = {"artifactID", "name", "md5", "mimetype", "artifactManifestID", "uploadPartsInput"}
        named |= {"digest"} if self._state.current else set()
        if set(spec) != named:
            raise Unknown(f"createArtifactFiles: {sorted(set(spec) ^ named)} is not known here, or left out")
        digest = spec["digest"] if self._state.current else spec["md5"]
        algorithm = self._state.artifacts[spec["artifactID"]][2].digest_algorithm.removeprefix("MANIFEST_")
        birth, there = self._state.asked(spec["artifactID"], digest)
        path = f"wandb_artifacts/{blob_name(digest)}"
        parts = spec.get("uploadPartsInput")
        return Node(
            "File",
            {
                "name": spec["name"],
                "displayName": spec["name"],
                "storagePath": path,
                "uploadUrl": None if there else self._upload(f"file:{spec['md5']}:{algorithm}:{digest}"),
                "uploadHeaders": [],
                "uploadMultipartUrls": self._part_urls(path, digest, algorithm, parts) if parts and not there else None,
                "artifact": lambda: self._artifact(birth),
            },
        )

    def _part_urls(self, path: str, digest: str, algorithm: str, parts: list[dict[str, Any]]) -> Node:
        upload = self._state.begin_parts(path, digest, algorithm, parts)
        urls = [
            Node(
                "UploadUrlPart",
                {"partNumber": one["partNumber"], "uploadUrl": self._upload(f"part:{upload}:{one['partNumber']}")},
            )
            for one in parts
        ]
        return Node("UploadMultipartUrls", {"uploadID": upload, "uploadUrlParts": urls})

    def _complete_parts(self, input: dict[str, Any]) -> Node:
        if input["completeMultipartAction"] != "Complete":
            raise Unknown(f"completeMultipartUploadArtifact: {input['completeMultipartAction']} is not known here")
        digest = self._state.complete_parts(input["uploadID"], input["storagePath"], input["completedParts"])
        return _payload("CompleteMultipartUploadArtifact", digest=digest)

    def _commit(self, input: dict[str, Any]) -> Node:
        return _payload("CommitArtifact", artifact=self._artifact(self._state.commit(input["artifactID"])))

    def _update(self, input: dict[str, Any]) -> Node:
        return _payload("UpdateArtifact", artifact=self._artifact(self._state.update(dict(input))))

    def _mark_uploaded(self, input: dict[str, Any]) -> Node:
        return _payload("MarkRunFilesUploaded", success=True)

    def _use_artifact(self, input: dict[str, Any]) -> Node:
        left = {key for key, value in input.items() if value is not None}
        left -= {"entityName", "projectName", "runName", "artifactID", "artifactEntityName", "artifactProjectName"}
        left -= {"usedAs", "clientMutationId"}
        if left:
            raise Unknown(f"useArtifact: {sorted(left)} is not known here")
        project = self._state.project(input["entityName"], input["projectName"])
        if project is None or input["runName"] not in project.runs:
            raise GraphQLError("useArtifact: run not found", 404)
        artifact = self._state.artifacts[input["artifactID"]][2]
        if artifact.state != "COMMITTED":
            raise GraphQLError(f"useArtifact: the artifact is {artifact.state}, and not committed")
        run = project.runs[input["runName"]]
        if input["artifactID"] not in run.used:
            run.used.append(input["artifactID"])
        return _payload("UseArtifact", artifact=self._artifact(artifact))

    def _add_aliases(self, input: dict[str, Any]) -> Node:
        self._state.add_aliases(input["artifactID"], input["aliases"])
        return _payload("AddAliases", success=True)

    def _delete_aliases(self, input: dict[str, Any]) -> Node:
        self._state.delete_aliases(input["artifactID"], input["aliases"])
        return _payload("DeleteAliases", success=True)

    def _delete_artifact(self, input: dict[str, Any]) -> Node:
        gone = self._state.delete(input["artifactID"], bool(input.get("deleteAliases")))
        return _payload("DeleteArtifact", artifact=Node("Artifact", {"id": gone.id}))

    def _link(self, input: dict[str, Any]) -> Node:
        left = {key for key, value in input.items() if value is not None}
        left -= {"artifactPortfolioName", "entityName", "projectName", "aliases", "artifactID", "clientMutationId"}
        if left:
            raise Unknown(f"linkArtifact: {sorted(left)} is not known here")
        project, collection, artifact = self._state.link(input)
        membership = self._membership_node(project, collection, artifact)
        return _payload("LinkArtifact", versionIndex=collection.number(artifact), artifactMembership=membership)

    def _page(
        self,
        kind: str,
        nodes: list[Node],
        after: str | None = None,
        first: int | None = None,
        versions: list[str] | None = None,
    ) -> Node:
        start = int(after) if after else 0
        end = start + min(first or 50, self._longest_page)
        edges = []
        for number, node in enumerate(nodes[start:end], start):
            more = {} if versions is None else {"version": versions[number]}
            edges.append(Node(f"{kind}Edge", {"node": node, "cursor": f"{number + 1}", **more}))
        info = Node("PageInfo", {"endCursor": f"{min(end, len(nodes))}", "hasNextPage": end < len(nodes)})
        return Node(f"{kind}Connection", {"edges": edges, "pageInfo": info, "totalCount": len(nodes)})

    def _upload(self, what: str) -> str:
        token = base64.urlsafe_b64encode(f"{len(self._state.uploads)}".encode()).decode().rstrip("=")
        self._state.uploads[token] = what
        return self._url(f"/upload/{token}")


def _payload(operation: str, **fields: Any) -> Node:
    return Node(f"{operation}Payload", fields)


def _alias(alias: str, more: dict[str, Any] | None = None) -> Node:
    return Node("ArtifactAlias", {"id": f"alias-{alias}", "alias": alias, **(more or {})})


def _file(path: str, url: str, direct_url: str, size: int, digest: str) -> Node:
    return Node(
        "File",
        {
            "id": f"file-{path}",
            "name": path,
            "displayName": path,
            "url": url,
            "directUrl": direct_url,
            "sizeBytes": size,
            "storagePath": f"wandb_artifacts/{path}",
            "mimetype": "application/octet-stream",
            "updatedAt": None,
            "digest": digest,
            "md5": digest,
        },
    )


def _connection(kind: str, nodes: list[Node]) -> Node:
    edges = [Node(f"{kind}Edge", {"node": node, "cursor": f"{number}"}) for number, node in enumerate(nodes)]
    info = Node("PageInfo", {"endCursor": f"{len(nodes)}", "hasNextPage": False})
    return Node(f"{kind}Connection", {"edges": edges, "pageInfo": info, "totalCount": len(nodes)})


def _literally(wanted: Any) -> Any:
    """Conditions as a server reads them that takes `$regex` for a value like any other."""
    if isinstance(wanted, dict):
        return {
            key: {"$in": [one]} if isinstance(one, dict) and "$regex" in one else _literally(one)
            for key, one in wanted.items()
        }
    return [_literally(one) for one in wanted] if isinstance(wanted, list) else wanted


def _matches(artifact: Artifact, wanted: dict[str, Any]) -> bool:
    """As much of MongoDB's query language as a client may send; what is not known is refused."""
    for key, condition in wanted.items():
        if key == "$or":
            good = any(_matches(artifact, one) for one in condition)
        elif key == "$and":
            good = all(_matches(artifact, one) for one in condition)
        elif key == "state":
            good = artifact.state == condition
        elif key.startswith("metadata."):
            good = _holds(json.loads(artifact.metadata or "{}"), key.split(".")[1:], condition)
        else:
            raise Unknown(f"filters: unknown key {key!r}")
        if not good:
            return False
    return True


def _holds(value: Any, path: list[str], condition: Any) -> bool:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(condition, dict):
        for operator, operand in condition.items():
            if operator == "$regex":
                if not isinstance(value, str) or not re.search(operand, value):
                    return False
            elif operator == "$in":
                if value not in operand:
                    return False
            else:
                raise Unknown(f"filters: unknown operator {operator!r}")
        return True
    return bool(value == condition)
