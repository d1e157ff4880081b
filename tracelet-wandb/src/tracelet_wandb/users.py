"""Which names have versions that were made from a version: asked of W&B by counts of what meets a condition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracelet_wandb.connection import Place
from tracelet_wandb.notes import KEY, NOTED_INPUTS, input_mark

__all__ = ["counted", "users_of"]

#: Where the inputs are among W&B's metadata.
_INPUTS = f"metadata.{KEY}.inputs"
_COMMITTED = {"state": "COMMITTED"}
_COUNTS = """
query TraceletUsers($entity: String!, $project: String!, $type: String!, $cursor: String,
    $all: JSONString, $noted: JSONString, $none: JSONString, $users: JSONString) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) {
      artifactCollections(after: $cursor, first: 100) {
        pageInfo { endCursor hasNextPage }
        edges {
          node {
            name
            all: artifacts(first: 1, filters: $all) { totalCount }
            noted: artifacts(first: 1, filters: $noted) { totalCount }
            none: artifacts(first: 1, filters: $none) { totalCount }
            users: artifacts(first: 1, filters: $users) { totalCount }
          }
        }
      }
    }
  }
}
"""


def users_of(digest: str) -> Mapping[str, object]:
    """Return the filters for the versions of a name that have a digest among their inputs."""
    return {**_COMMITTED, _INPUTS: {"$regex": input_mark(digest)}}


def counted(place: Place, kind: str, digest: str) -> Iterator[tuple[str, int | None]]:
    """Yield each name of a type in W&B, and how many of its versions were made from a version; None where W&B cannot say.

    W&B does not document such filters for projects. So it is also asked how many versions there are, how many have their
    inputs noted, and how many meet a condition that none can meet. Its answer counts if all have them noted, and none meets
    that condition. Otherwise an earlier release, or somebody without Tracelet, logged one of them, or this server does not
    apply such filters.
    """
    asked = {
        "all": _COMMITTED,
        "noted": {**_COMMITTED, _INPUTS: {"$regex": NOTED_INPUTS}},
        "none": {**_COMMITTED, _INPUTS: {"$regex": f"{NOTED_INPUTS}never$"}},
        "users": users_of(digest),
    }
    variables: dict[str, Any] = {"entity": place.entity, "project": place.project, "type": kind}
    variables |= {key: json.dumps(filters) for key, filters in asked.items()}
    more: bool = True
    while more:
        page = place.ask(_COUNTS, variables)["project"]["artifactType"]["artifactCollections"]
        for node in (edge["node"] for edge in page["edges"]):
            found = {key: node[key]["totalCount"] for key in asked}
            yield node["name"], found["users"] if found["none"] == 0 and found["noted"] == found["all"] else None
        more, variables["cursor"] = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
