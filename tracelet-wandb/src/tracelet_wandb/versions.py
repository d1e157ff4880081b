"""Versions in a project, found by W&B's own names if it has them, else by one filtered query."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import quote

import wandb
from wandb.errors import CommError

from tracelet.exceptions import ArtifactError, BackendAuthError, BackendError, BackendUnavailable
from tracelet.plugin import (
    MANIFEST_NAME,
    ArtifactType,
    Damage,
    Manifest,
    Ref,
    StoredArtifact,
    look_up,
    of_digest,
    or_damage,
    sound,
)
from tracelet_wandb.connection import Place
from tracelet_wandb.errors import is_absent, translated
from tracelet_wandb.names import TYPES, types_of
from tracelet_wandb.notes import KEY, has_note, label_of, manifest_in, note_in
from tracelet_wandb.schemas import check_edited
from tracelet_wandb.users import counted, users_of

__all__ = ["Versions"]

_VERSION = re.compile(r"v[0-9]+")
_STORED = "COMMITTED"
_PAGE = 100
#: Versions in a query that looks for any one.
_FEW = 10
_SERVERS_ID = "query ClientIDMapping($id: ID!) { clientIDMapping(clientID: $id) { serverID } }"
_STATE = "query ArtifactState($id: ID!) { artifact(id: $id) { state } }"
_DELETION = """
mutation DeleteArtifact($id: ID!) { deleteArtifact(input: {artifactID: $id, deleteAliases: true}) { artifact { id } } }
"""
#: Digits of a whole digest.
_WHOLE = 64
#: Queries at once.
_WIDTH = 8

T = TypeVar("T")
#: A type, a name, and filters for its versions.
_Asked = tuple[str, str, Mapping[str, object] | None]
#: Tells whether a version is the wanted one.
Match = Callable[[Manifest], bool]


class Versions:
    """Finds the versions of one project. It caches manifests, which never change, and nothing else."""

    def __init__(self, place: Place) -> None:
        self._place = place
        #: By W&B's id of a version. None for a version that is not Tracelet's.
        self._manifests: dict[str, Manifest | None] = {}

    def find(self, name: str, wanted: Ref) -> StoredArtifact | None:
        """Return the version that a reference means, or None."""
        return look_up(
            wanted,
            latest=partial(self._latest, name),
            number=lambda number: self.stored(self.numbered(name, number)),
            label=lambda label: self.stored(self.named(name, label)),
            digest=partial(self._of_digest, name),
            put_id=partial(self._of_put, name),
        )

    def every(self, name: str | None, kind: ArtifactType | None) -> Iterator[StoredArtifact]:
        """Return every version of Tracelet's, or those of a name or type."""
        types = [one for one in self._types() if kind is None or one in types_of(kind)]
        names = [(one, name) for one in types] if name is not None else self._collections(types)
        with ThreadPoolExecutor(_WIDTH) as pool:
            yield from self._each(pool, [(*pair, None) for pair in names])

    def _each(self, pool: ThreadPoolExecutor, names: Iterable[_Asked]) -> Iterator[StoredArtifact]:
        """Yield Tracelet's versions of types and names that meet the filters of each."""
        # Each id once: a version that is committed between two pages of a query moves another one to the next page.
        unlike = ({str(one.id): one for one in many} for many in pool.map(lambda asked: list(self._of(*asked)), names))
        found = sound(one for many in unlike for one in pool.map(self._stored_or_damage, many.values()))
        yield from (one for one in found if one is not None)

    def any_own(self) -> wandb.Artifact | None:
        """Return a version with a note of Tracelet's, or None where the project has none."""
        found = (one for pair in self._collections(self._types()) for one in self._of(*pair, page=_FEW))
        return next((one for one in found if has_note(one.metadata)), None)

    def users(self, digest: str) -> Iterator[StoredArtifact]:
        """Return the versions that may have a digest among their inputs."""
        wanted = users_of(digest)
        names: list[_Asked] = []
        for kind in self._types():
            try:
                counts = list(counted(self._place, kind, digest))
            except (BackendUnavailable, BackendAuthError):
                raise
            except BackendError:
                counts = [(name, None) for _, name in self._collections([kind])]
            names += [(kind, name, None if count is None else wanted) for name, count in counts if count != 0]
        with ThreadPoolExecutor(_WIDTH) as pool:
            yield from self._each(pool, names)

    def claims(self, name: str, label: str) -> list[StoredArtifact]:
        """Return every version that was given the label, or claims it, the oldest first."""
        found = [*sound(self._matching(name, {"label": label}))]
        return [one for one in reversed(found) if one.locator["claim"] == label]

    # -- one version

    def named(self, name: str, alias: str) -> wandb.Artifact | None:
        """Return what W&B has under ``name:alias``, or None.

        Raises :class:`~tracelet.ArtifactError` where W&B takes another name or project for this one.
        """
        with translated(self._place.server):
            try:
                found: wandb.Artifact = self._place.api.artifact(self._place.path(name, alias))
            except CommError as error:
                if is_absent(error):
                    return None
                raise
        collection = found.source_name.partition(":")[0]
        if found.project != self._place.project or (collection != name and collection.casefold() == name.casefold()):
            raise ArtifactError(
                f"W&B has {found.project}/{collection} and does not tell {self._place.project}/{name} from it: "
                "choose another name."
            )
        # A version that is being deleted is still found by its number, and its bytes may be gone.
        return found if collection == name and found.state == _STORED else None

    def numbered(self, name: str, number: int) -> wandb.Artifact | None:
        """Return a version by its number. An alias such as ``v7`` that somebody made does not count."""
        found = self.named(name, f"v{number}")
        if found is None or number_of(found) == number:
            return found
        return next((one for one in self._of(found.type, name) if number_of(one) == number), None)

    def stored(self, artifact: wandb.Artifact | None) -> StoredArtifact | None:
        """Return a version with its manifest, or None where it is not Tracelet's."""
        manifest = None if artifact is None else self.manifest(artifact)
        if artifact is None or manifest is None or manifest.name != artifact.source_name.partition(":")[0]:
            return None
        place, number = self._place, number_of(artifact)
        label = label_of(artifact.metadata)
        return StoredArtifact(
            manifest,
            number,
            f"wandb://{quote(place.entity)}/{quote(place.project)}/{manifest.name}:v{number}",
            label if label in artifact.aliases else None,
            tuple(one for one in artifact.aliases if one not in {"latest", label} and not _VERSION.fullmatch(one)),
            {"id": artifact.id, "claim": label},
        )

    def manifest(self, artifact: wandb.Artifact) -> Manifest | None:
        """Return a version's manifest, from its note or its file; None where it has neither, and so is not Tracelet's.

        Raises :class:`~tracelet.NewerFormat` where a later release wrote the note.
        """
        check_edited(note_in(artifact.metadata), f"the metadata of {artifact.source_name} on W&B")
        key = str(artifact.id)
        if key not in self._manifests:
            self._manifests[key] = manifest_in(artifact.metadata) or self.filed_manifest(artifact)
        return self._manifests[key]

    def filed_manifest(self, artifact: wandb.Artifact) -> Manifest | None:
        """Read the file ``tracelet.json`` of a version; None where it has none."""
        with translated(self._place.server):
            # Not list(): it asks for a length, which only some servers give for this query.
            file = next(iter(artifact.files(names=[MANIFEST_NAME])), None)
            if file is None:
                return None
            with TemporaryDirectory() as folder:
                file.download(root=folder, replace=True).close()
                return Manifest.from_json((Path(folder) / MANIFEST_NAME).read_bytes())

    def undo(self, begun: wandb.Artifact) -> None:
        """Delete a version that was begun and not committed. Nothing else finds or removes it.

        The client cannot show such a version. It has an id of its own for it, by which the server knows its id.
        """
        found: dict[str, str] | None = self._place.ask(_SERVERS_ID, {"id": begun._client_id})["clientIDMapping"]
        if found is None:
            return
        known: dict[str, str] | None = self._place.ask(_STATE, {"id": found["serverID"]})["artifact"]
        if known is not None and known["state"] != _STORED:
            self._place.ask(_DELETION, {"id": found["serverID"]})

    def remember(self, artifact: wandb.Artifact, manifest: Manifest) -> None:
        """Keep the manifest of a version that was just stored."""
        self._manifests[str(artifact.id)] = manifest

    # -- several versions

    def _latest(self, name: str) -> StoredArtifact | None:
        newest = self.named(name, "latest")
        # W&B's `latest` may be a version that somebody logged without Tracelet, or be gone with a deleted one.
        return self.stored(newest) or next(sound(self._every(name, newest)), None)

    def _of_put(self, name: str, put_id: str) -> StoredArtifact | None:
        found = self._matching(name, {"put_id": put_id})
        return next(_fitting(found, lambda manifest: manifest.put_id == put_id), None)

    def _of_digest(self, name: str, beginning: str) -> StoredArtifact | None:
        condition = {"digest": beginning if len(beginning) == _WHOLE else {"$regex": f"^{beginning}"}}
        found = _fitting(self._matching(name, condition), lambda manifest: manifest.digest.startswith(beginning))
        return of_digest(name, beginning, ((one.manifest.digest, one) for one in found))

    def _matching(self, name: str, condition: Mapping[str, object]) -> list[StoredArtifact | Damage]:
        """Ask for versions whose notes match. Others may be among them. The newest comes first, and unreadable ones last.

        W&B does not document these filters for projects. So the query also asks for the newest version, in the same way. If
        that is not in the answer, this server does not apply the filters, and every version is looked at.
        """
        newest = self.named(name, "latest")
        if newest is not None and (proof := _of_this_one(newest, condition)) is not None:
            either = [{f"metadata.{KEY}.{key}": value for key, value in one.items()} for one in (condition, proof)]
            filters = {"state": _STORED, "$or": either}
            try:
                answer = list(self._of(newest.type, name, filters))
            except BackendError:
                answer = []
            if any(one.id == newest.id for one in answer):
                return self._read(answer)
        return self._every(name, newest)

    def _every(self, name: str, newest: wandb.Artifact | None) -> list[StoredArtifact | Damage]:
        types = [newest.type] if newest is not None else self._types()
        return self._read(one for kind in types for one in self._of(kind, name))

    def _read(self, artifacts: Iterable[wandb.Artifact]) -> list[StoredArtifact | Damage]:
        with ThreadPoolExecutor(_WIDTH) as pool:
            found = [one for one in pool.map(self._stored_or_damage, artifacts) if one is not None]
        return sorted(found, key=lambda one: one.number if isinstance(one, StoredArtifact) else -1, reverse=True)

    def _stored_or_damage(self, artifact: wandb.Artifact) -> StoredArtifact | Damage | None:
        read: Callable[[wandb.Artifact], StoredArtifact | Damage | None]
        read = or_damage(self.stored, lambda one: str(one.source_name))
        return read(artifact)

    def _types(self) -> list[str]:
        """Return those of Tracelet's types that the project has; none where there is no such project."""
        with translated(self._place.server):
            found = self._place.api.artifact_types(self._place.path("").rstrip("/"))
            return [one.name for one in _present(found) if one.name in TYPES]

    def _collections(self, types: Iterable[str]) -> Iterator[tuple[str, str]]:
        with translated(self._place.server):
            path = self._place.path("").rstrip("/")
            for one in types:
                found = self._place.api.artifact_collections(path, one, per_page=_PAGE)
                yield from ((one, collection.name) for collection in _present(found))

    def _of(
        self, kind: str, name: str, filters: Mapping[str, object] | None = None, *, page: int = _PAGE
    ) -> Iterator[wandb.Artifact]:
        """Yield every version of a name in W&B, Tracelet's or not, but no links; none where that type has no such name."""
        with translated(self._place.server):
            found = self._place.api.artifacts(kind, self._place.path(name), per_page=page)
            if filters is not None:
                found.variables["filters"] = json.dumps(filters)
            # A version in a portfolio is a link to one in its own collection.
            yield from (one for one in _present(found) if one.state == _STORED and not one.is_link)


def _fitting(found: Iterable[StoredArtifact | Damage], match: Match) -> Iterator[StoredArtifact]:
    """Yield the versions that match. Where none does, an unreadable one may be the wanted one: its error is raised."""
    fits = [one for one in found if not isinstance(one, StoredArtifact) or match(one.manifest)]
    readable = [one for one in fits if isinstance(one, StoredArtifact)]
    yield from readable or sound(fits)


def number_of(artifact: wandb.Artifact) -> int:
    """Return the number that the server gave. The SDK's ``version`` may be an alias such as ``v7``."""
    return int(artifact.source_version[1:])


def _of_this_one(version: wandb.Artifact, condition: Mapping[str, object]) -> dict[str, object] | None:
    """Return a condition that this version meets, with the operators of another one; None where its note is too short."""
    by_prefix = any(isinstance(value, dict) for value in condition.values())
    known = note_in(version.metadata).get("digest" if by_prefix else "put_id")
    if not isinstance(known, str):
        return None
    return {"digest": {"$regex": f"^{known}"}} if by_prefix else {"put_id": known}


def _present(pages: Iterable[T]) -> Iterator[T]:
    """Yield the results of a query; nothing where the client cannot parse the answer, because the thing is not there."""
    try:
        yield from pages
    except ValueError as error:
        if type(error) is not ValueError or not str(error).startswith("Unable to parse"):
            raise
