"""Changes to a stored version, in every backend that holds its content."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from tracelet.core.artifacts.changes import Change, ChangeResults
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.management.deleting import Deleted, delete_stored
from tracelet.core.plugins.versions import Labels, StoredArtifact
from tracelet.core.reading.finder import Finder
from tracelet.core.system.messages import advice_of, sentence
from tracelet.core.system.signs import sign_of_life
from tracelet.exceptions import ArtifactError, ArtifactNotFound, BackendUnavailable, ProtectedVersion, TraceletError

__all__ = ["add_aliases", "delete", "delete_all", "names_of", "remove_aliases", "waiting_manifests"]


def add_aliases(finder: Finder, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
    """Move aliases to a version. Raises where no backend could do it at any time."""
    return _realias(finder, artifact, "relabel", {"labels": Labels(None, aliases)})


def remove_aliases(finder: Finder, artifact: LoggedArtifact, aliases: tuple[str, ...]) -> ChangeResults:
    """Take aliases away from a version. Raises where no backend could do it at any time."""
    return _realias(finder, artifact, "remove_aliases", {"aliases": Labels(None, aliases).aliases})


def _realias(finder: Finder, artifact: LoggedArtifact, what: str, names: Mapping[str, Any]) -> ChangeResults:
    with sign_of_life(f"changing {artifact.name!r} {artifact.version} in {', '.join(finder.backends)}"):
        with _reading_outbox():
            awaited = finder.awaited(artifact)
        held = _holders(finder, artifact, awaited)
        done, refused = finder.ask(what, {one: {"stored": stored, **names} for one, stored in held.stored.items()})
    results = held.results(refused)
    for one, stored in done.items():
        results[one] = Change(one, stored.version, stored.uri, stored.aliases)
    if results.misuse is not None:
        raise results.misuse
    if not results and results.ok:
        raise ArtifactNotFound(
            f"no backend holds {artifact.name!r} {artifact.version} any more: list_artifacts() shows what there is."
        )
    return results


def delete(finder: Finder, artifact: LoggedArtifact, force: bool) -> ChangeResults:
    """Delete a version. Without ``force`` it stays, and this raises, where anything in any backend relies on it."""
    what = f"deleting {artifact.name!r} {artifact.version} in {', '.join(finder.backends)}"
    with sign_of_life(what), finder.asking_the_broken_once():
        return delete_all(finder, [artifact], force)[0]


def delete_all(
    finder: Finder, artifacts: Sequence[LoggedArtifact], force: bool, *, dry_run: bool = False
) -> list[ChangeResults]:
    """Delete versions, each as :func:`delete` does. What goes with them does not keep them, and none goes where one stays.

    With ``dry_run`` nothing is deleted: the results have what would be.
    """
    waiting = _waiting(finder)
    awaited = {(manifest.name, manifest.digest, one) for one, manifest in waiting}
    held = [
        _holders(finder, each, [one for one in finder.backends if (each.name, each.digest, one) in awaited])
        for each in artifacts
    ]
    if not force:
        going = {(one, hit.manifest.name, hit.number) for each in held for one, hit in each.stored.items()}
        users: dict[str, list[str]] = {}
        for _, manifest in waiting:
            for digest in manifest.inputs:
                users.setdefault(digest, []).append(manifest.name)
        unknown = [_check_unneeded(finder, *each, going, users) for each in zip(artifacts, held, strict=True)]
        held = [each.without(errors) for each, errors in zip(held, unknown, strict=True)]
    if dry_run:
        return [_would_go(each) for each in held]
    by_backend: dict[str, dict[tuple[str, int], StoredArtifact]] = {}
    for each in held:
        for one, hit in each.stored.items():
            by_backend.setdefault(one, {})[hit.manifest.name, hit.number] = hit
    deleted = delete_stored(finder, {one: list(hits.values()) for one, hits in by_backend.items()})
    return [_gone(each, deleted) for each in held]


def _would_go(held: _Holders) -> ChangeResults:
    results = held.results({})
    for one, stored in held.stored.items():
        results[one] = Change(one, stored.version, stored.uri, stored.aliases)
    return results


def _gone(held: _Holders, deleted: Mapping[str, Deleted]) -> ChangeResults:
    places = {one: (stored.manifest.name, stored.number) for one, stored in held.stored.items()}
    results = held.results({one: deleted[one].errors[at] for one, at in places.items() if at in deleted[one].errors})
    for one, stored in held.stored.items():
        freed = deleted[one].freed
        if places[one] in freed:
            results[one] = Change(
                one, stored.version, stored.uri, stored.aliases, deleted=True, freed_bytes=freed[places[one]]
            )
            # Another of these versions may be the same one here: its bytes count once.
            freed[places[one]] = freed[places[one]] and 0
    return results


def _check_unneeded(
    finder: Finder,
    artifact: LoggedArtifact,
    held: _Holders,
    going: Collection[tuple[str, str, int]],
    waiting: Mapping[str, Sequence[str]],
) -> dict[str, TraceletError]:
    """Raise where a version has names or users; return an error for each backend that does not say whether it is used there."""
    asked = {one: {"digest": artifact.digest} for one in finder.backends if one not in held.failed}
    users, unknown = finder.ask("used_by", asked)
    reasons: dict[str, list[str]] = {}
    for one, stored in held.stored.items():
        for name in names_of(stored):
            reasons.setdefault(f"has {name}", []).append(one)
    for one, found in users.items():
        for user in found:
            if (one, user.manifest.name, user.number) not in going:
                reasons.setdefault(f"is an input of {user.manifest.name!r} {user.version}", []).append(one)
    for name in waiting.get(artifact.digest, ()):
        reasons.setdefault(f"is an input of {name!r}", []).append("it waits in the outbox")
    if reasons:
        told = ", and ".join(f"{reason} ({', '.join(dict.fromkeys(where))})" for reason, where in reasons.items())
        raise ProtectedVersion(
            f"{artifact.name!r} {artifact.version} stays: it {told}. To delete it all the same, say force=True."
        )
    return unknown


def names_of(stored: StoredArtifact) -> list[str]:
    """Return the names for which a version is kept, in words: its label, and its aliases other than ``latest``."""
    label = [f"the label {stored.label!r}"] if stored.label else []
    return label + [f"the alias {alias!r}" for alias in stored.aliases if alias != "latest"]


def waiting_manifests(finder: Finder) -> list[Manifest]:
    """Return the manifests of what this experiment has in the outbox: it may have been made from what is stored."""
    return [manifest for _, manifest in _waiting(finder)]


def _waiting(finder: Finder) -> list[tuple[str, Manifest]]:
    """Return each manifest that waits, with the backend that its delivery is for; of a draft, none."""
    with _reading_outbox():
        return list(_in_outbox(finder))


@contextmanager
def _reading_outbox() -> Iterator[None]:
    """Raise our error where the outbox cannot be read: what nobody knows of may need what is to be changed."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"what waits in the outbox cannot be read: {sentence(error)} {advice_of(error) or 'Mend that'}."
        ) from error


def _in_outbox(finder: Finder) -> Iterator[tuple[str, Manifest]]:
    for parcel in finder.outbox.everything():
        if parcel.run.experiment == finder.experiment:
            yield parcel.backend, parcel.manifest
    for found in finder.outbox.drafts.readable():
        if found.run.experiment == finder.experiment:
            yield "", found.draft.manifest


@attrs.frozen
class _Holders:
    """A version as each backend has it that holds its content; what the others said; and what waits in the outbox."""

    backends: list[str]
    stored: dict[str, StoredArtifact]
    failed: dict[str, TraceletError]
    queued: dict[str, TraceletError]

    def without(self, errors: dict[str, TraceletError]) -> _Holders:
        """Return these holders without the backends that raised an error."""
        stored = {one: hit for one, hit in self.stored.items() if one not in errors}
        return attrs.evolve(self, stored=stored, failed=self.failed | errors)

    def results(self, refused: dict[str, TraceletError]) -> ChangeResults:
        """Return the results of a change that these holders refused, and the others made."""
        results = ChangeResults()
        errors = self.failed | refused
        results.failed = {one: errors[one] for one in self.backends if one in errors}
        results.queued = dict(self.queued)
        known = {*self.stored, *self.failed, *self.queued}
        results.absent = tuple(one for one in self.backends if one not in known)
        return results


def _holders(finder: Finder, artifact: LoggedArtifact, awaited: Sequence[str]) -> _Holders:
    """Look a version up in every backend: by its number in its own, and by its content in the others.

    ``awaited`` are the backends that a delivery of it waits for.
    """
    refs = dict.fromkeys(finder.backends, f"sha256:{artifact.digest}") | {artifact.backend: f"v{artifact.number}"}
    found, failed = finder.ask("find", _lookups(artifact.name, refs))
    stored = {one: hit for one, hit in found.items() if hit is not None and hit.manifest.digest == artifact.digest}
    others = {one: hit for one, hit in stored.items() if hit.manifest.put_id != artifact.manifest.put_id}
    if others:
        _tell_apart(finder, artifact, others, stored, failed)
    return _Holders(finder.backends, stored, failed, _queued(awaited))


def _tell_apart(
    finder: Finder,
    artifact: LoggedArtifact,
    others: Mapping[str, StoredArtifact],
    stored: dict[str, StoredArtifact],
    failed: dict[str, TraceletError],
) -> None:
    """Of several versions with the same content, keep the one that was logged by the same call.

    Where a backend has none of that call, it is the version that it has; unless that one is another version of the artifact's
    own backend, which a repeated deletion would reach otherwise.
    """
    same, errors = finder.ask("find", _lookups(artifact.name, dict.fromkeys(others, f"put:{artifact.manifest.put_id}")))
    failed |= errors
    for one, other in others.items():
        if one in errors:
            del stored[one]
        elif same[one] is not None:
            stored[one] = same[one]
        elif _is_another(finder, artifact, other, one, failed):
            del stored[one]


def _is_another(
    finder: Finder, artifact: LoggedArtifact, other: StoredArtifact, backend: str, failed: dict[str, TraceletError]
) -> bool:
    lookup = _lookups(artifact.name, {artifact.backend: f"put:{other.manifest.put_id}"})
    found, errors = finder.ask("find", lookup)
    for error in errors.values():
        failed[backend] = error
        return True
    twin = found[artifact.backend]
    return twin is not None and twin.number != artifact.number


def _lookups(name: str, refs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {one: {"name": name, "ref": ref} for one, ref in refs.items()}


def _queued(awaited: Sequence[str]) -> dict[str, TraceletError]:
    """Return an error for each backend that a delivery of this content waits for."""
    return {
        one: BackendUnavailable(
            f"a delivery of this content to {one} waits in the outbox and knows nothing of this: make it "
            "(`tracelet sync`), then do this again.",
            backend=one,
        )
        for one in awaited
    }
