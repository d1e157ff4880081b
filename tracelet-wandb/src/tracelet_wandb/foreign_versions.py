"""The versions of one name in W&B, with what their manifests list."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from tracelet.exceptions import ArtifactError, ArtifactNotFound, BackendError, BackendUnavailable, UnsafePath
from tracelet.plugin import MANIFEST_NAME, ArtifactReference, ForeignFile
from tracelet_wandb.connection import Place
from tracelet_wandb.foreign_manifests import Manifests, held_by, is_held_elsewhere
from tracelet_wandb.notes import has_note, manifest_in

__all__ = ["Listed", "Listing", "Node", "address_of"]

_LOG = logging.getLogger("tracelet.import")

_STORED = "COMMITTED"
#: What is raised for a version that W&B has not whole.
_BROKEN = (ArtifactError, ArtifactNotFound, ValueError, TypeError, KeyError, AttributeError)
_VERSION = re.compile(r"v[0-9]+")
_VERSIONS = """
query TraceletForeignVersions($entity: String!, $project: String!, $type: String!, $name: String!, $cursor: String,
    $filters: JSONString) {
  project(entityName: $entity, name: $project) {
    id
    artifactType(name: $type) {
      artifactCollection(name: $name) {
        id
        artifacts(after: $cursor, first: 100, filters: $filters) {
          pageInfo { endCursor hasNextPage }
          edges {
            version
            node {
              id
              state
              description
              metadata
              createdAt
              tags { name }
              artifactSequence { id project { id } }
              aliases { alias artifactCollection { id } }
              currentManifest { file { directUrl } }
              createdBy { __typename ... on Run { name project { name entity { name } } } }
            }
          }
        }
      }
    }
  }
}
"""


@attrs.frozen
class Node:
    """A version as a query lists it."""

    id: str
    #: Its number in this collection, as ``v3``.
    version: str
    aliases: tuple[str, ...]
    #: Whether this is a link to a version of another name in the same project.
    is_linked_here: bool
    #: Seconds since the epoch.
    created_at: float
    told: dict[str, Any]

    @property
    def own_aliases(self) -> tuple[str, ...]:
        """Its aliases, but for those that the server gives."""
        return tuple(one for one in self.aliases if one != "latest" and not _VERSION.fullmatch(one))

    @property
    def refs(self) -> set[str]:
        """What may stand after its name."""
        return {self.version, *self.aliases}


@attrs.frozen
class Listed:
    """A version that a user logged, without what is to be known of its run."""

    kind: str
    name: str
    node: Node
    metadata: dict[str, Any] = attrs.field(factory=dict)
    files: tuple[ForeignFile, ...] = ()
    references: tuple[ArtifactReference, ...] = ()
    #: Ids of versions that hold files of it.
    holders: tuple[str, ...] = ()
    #: Entity, project and id of the run that logged it.
    run: tuple[str, str, str] | None = None
    #: Why it cannot be read, where that is so.
    lost: str | None = None


class Listing:
    """Reads versions of one project. A version that cannot be read is among them, with the reason."""

    def __init__(
        self, place: Place, manifests: Manifests, pool: ThreadPoolExecutor, is_wanted: Callable[[Node], bool]
    ) -> None:
        """``pool`` is for reading manifests."""
        self._place = place
        self._manifests = manifests
        self._pool = pool
        self._is_wanted = is_wanted
        #: Of each version of Tracelet's: its run, its name, and the paths of its files as far as its note has them.
        self.own: list[tuple[str, str, tuple[str, ...]]] = []
        #: What could stand after a name.
        self.known: set[str] = set()

    def versions(self, kind: str, name: str) -> list[Listed]:
        """Return the versions of a name that users logged, oldest first."""
        found: dict[str, Listed | None] = {}
        for page in self._pages(kind, name):
            # Each id once: a version that is committed between two pages moves another one to the next page.
            fresh = [node for node in page if node.id not in found]
            read = self._pool.map(lambda node: self._or_lost(kind, name, node), fresh)
            found |= {node.id: one for node, one in zip(fresh, read, strict=True)}
        listed = [one for one in found.values() if one is not None]
        return sorted(listed, key=lambda one: int(one.node.version[1:]))

    def _pages(self, kind: str, name: str) -> Iterator[list[Node]]:
        place = self._place
        variables = {"entity": place.entity, "project": place.project, "type": kind, "name": name}
        variables["filters"] = json.dumps({"state": _STORED})
        unfinished = True
        while unfinished:
            project = place.ask(_VERSIONS, variables)["project"] or {}
            collection = (project.get("artifactType") or {}).get("artifactCollection")
            if collection is None:
                # Somebody has deleted it since it was listed.
                return
            page = collection["artifacts"]
            nodes = [_node(edge, collection["id"], project["id"]) for edge in page["edges"]]
            self.known.update(ref for node in nodes for ref in node.refs)
            yield [node for node in nodes if node.told["state"] == _STORED and self._is_wanted(node)]
            unfinished, variables["cursor"] = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]

    def _or_lost(self, kind: str, name: str, node: Node) -> Listed | None:
        try:
            return self._listed(kind, name, node)
        except BackendUnavailable:
            raise
        except (BackendError, *_BROKEN) as error:
            return Listed(kind=kind, name=name, node=node, lost=str(error) or type(error).__name__)

    def _listed(self, kind: str, name: str, node: Node) -> Listed | None:
        """Return a version; None for one of Tracelet's own."""
        told = node.told
        metadata = json.loads(told["metadata"] or "{}")
        run = told["createdBy"] or {}
        if has_note(metadata):
            noted = manifest_in(metadata)
            paths = () if noted is None else tuple(file.artifact_path for file in noted.payload)
            self.own.append((str(run.get("name")), name, paths))
            return None
        entries = self._manifests.entries(told["currentManifest"])
        if MANIFEST_NAME in entries:
            return None
        files, references, holders = [], [], []
        for path, entry in entries.items():
            elsewhere, size = is_held_elsewhere(entry), entry.get("size")
            if elsewhere:
                holders.append(held_by(entry)[0])
            elif entry.get("ref"):
                etag = (entry.get("extra") or {}).get("etag")
                references.append(ArtifactReference(entry["ref"], size, path, etag=etag))
                continue
            try:
                # A file of another version is noted with the size 0.
                files.append(ForeignFile(path, None if elsewhere else size))
            except UnsafePath as error:
                where = self._place.path(name, node.version)
                _LOG.warning("a file of %s on W&B is left out, for no artifact can hold it: %s", where, error)
        tags = [tag["name"] for tag in told["tags"]]
        return Listed(
            kind=kind,
            name=name,
            node=node,
            metadata={**metadata, **({"wandb_tags": tags} if tags else {})},
            files=tuple(files),
            references=tuple(references),
            holders=tuple(dict.fromkeys(holders)),
            run=(run["project"]["entity"]["name"], run["project"]["name"], run["name"]) if "name" in run else None,
        )


def address_of(server: str, id: str) -> str:
    """Return the address of a version: its server without credentials, and W&B's id, which it keeps when names change."""
    parts = urlsplit(server)
    return f"wandb://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/artifact/{quote(id, safe='')}"


def _node(edge: dict[str, Any], collection: str, project: str) -> Node:
    told = edge["node"]
    sequence = told["artifactSequence"]
    aliases = [one["alias"] for one in told["aliases"] if (one["artifactCollection"] or {}).get("id") == collection]
    return Node(
        id=told["id"],
        version=edge["version"],
        aliases=tuple(aliases),
        is_linked_here=sequence["id"] != collection and (sequence["project"] or {}).get("id") == project,
        created_at=_seconds(told["createdAt"]),
        told=told,
    )


def _seconds(text: str) -> float:
    """Return a moment that W&B writes without its zone, which is UTC, or with it."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
