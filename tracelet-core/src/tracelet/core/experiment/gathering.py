"""One artifact that all processes of a job make together: each gives its files, and the first one stores what all gave.

Bytes go from each process to the store, and never through another one. What is exchanged are notes in the store: the first process
calls, under a name that is new for each call; each of the others answers a call with its manifest; the first tells what
became of it, and whose answers it took. Notes that a job of the same name has left behind are no answer to a new call, and
a process believes what is told only where its own answer was taken.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs

from tracelet.core.artifacts.entries import ArtifactReference
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.results import LogResult, LogResults
from tracelet.core.plugins.store import Store
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.exceptions import ArtifactError, BackendError, BackendUnavailable, TraceletError

__all__ = ["Gathering", "Job"]

_SCHEMA = 1
#: Seconds between two looks for a note: it is doubled until it is the second one.
_POLL, _LONGEST_POLL = 0.02, 1.0

T = TypeVar("T")


@attrs.frozen
class Job:
    """The processes that make an artifact together."""

    name: str
    size: int
    #: Of this process.
    rank: int


class Gathering:
    """One call of all processes."""

    def __init__(self, store: Store, job: Job, what: str, timeout: float) -> None:
        """``what`` tells this call from the others of the job; ``timeout`` is how many seconds processes wait for each other."""
        self._store = store
        self._job = job
        self._what = what
        self._timeout = timeout
        self._token = uuid.uuid4().hex
        #: By rank: whose answers were taken.
        self._taken: dict[str, str] = {}

    # -- the first process

    def call(self) -> None:
        """Ask the others for what they have."""
        self._put("call", token=self._token)

    def gather(self, sealed: SealedArtifact) -> SealedArtifact:
        """Wait for what the others have, and return the whole.

        Raises :class:`~tracelet.BackendUnavailable` where some do not come, and :class:`~tracelet.ArtifactError` where two have different
        things of one name.
        """
        if sealed.manifest.payload:
            raise ArtifactError(
                "the metadata says force_reference=False, and what all ranks give together is in the store: leave it out."
            )
        manifests = [sealed.manifest]
        for rank in range(1, self._job.size):
            answer = self._wait_for(lambda rank=rank: self._get(f"part-{self._token}-{rank}"))  # type: ignore[misc]
            if answer is None:
                raise BackendUnavailable(
                    f"rank {rank} of {self._job.size} gave nothing of {sealed.manifest.name!r} within {self._timeout:g} s: every "
                    "rank has to log it with all_ranks=True, and to reach the same store (TRACELET_STORE, or the backend "
                    "bucket). TRACELET_RANKS_TIMEOUT lets them wait longer."
                )
            self._taken[str(rank)] = answer["part"]
            manifests.append(Manifest.from_dict(answer["manifest"]))
        return SealedArtifact(_merged(manifests), {})

    def tell(self, results: LogResults | None, error: BaseException | None = None) -> None:
        """Tell the others what became of it."""
        told: dict[str, Any] = {"stored": [], "queued": {}, "failed": {}}
        if results is not None:
            told["stored"] = [attrs.asdict(result) for result in results.values()]
            told["queued"] = {name: str(reason) for name, reason in results.queued.items()}
            told["failed"] = {name: str(reason) for name, reason in results.failed.items()}
        if error is not None:
            told["error"] = str(error) or type(error).__name__
        self._put(f"done-{self._token}", taken=self._taken, **told)
        for rank in self._taken:
            self._store.remove_note(self._key(f"part-{self._token}-{rank}"))

    def forget(self) -> None:
        """Delete the notes of an earlier call of this process, which all have read since."""
        for name in ("call", f"done-{self._token}"):
            self._store.remove_note(self._key(name))

    # -- the others

    def give(self, manifest: Manifest) -> LogResults:
        """Give what this process has, and return what became of the whole.

        Raises :class:`~tracelet.BackendUnavailable` where the first process does not call, or does not tell.
        """
        part = uuid.uuid4().hex
        answered: list[str] = []
        #: Calls of a job of the same name that has ended.
        over: set[str] = set()

        def told() -> dict[str, Any] | None:
            call = self._get("call")
            token = call["token"] if call is not None else None
            if token is not None and token not in over and token not in answered:
                if self._get(f"done-{token}") is not None:
                    over.add(token)
                    return None
                answered.append(token)
                self._put(f"part-{token}-{self._job.rank}", part=part, manifest=manifest.to_dict())
            done = self._get(f"done-{answered[-1]}") if answered else None
            is_mine = done is not None and (done["taken"].get(str(self._job.rank)) == part or "error" in done)
            return done if is_mine else None

        done = self._wait_for(told)
        if done is None and answered:
            # The first waits as long for who does not come, and tells then who that is.
            done = self._wait_for(told)
        if done is None:
            why = "did not say what became of it" if answered else "did not ask for it"
            raise BackendUnavailable(
                f"rank 0 {why} within {self._timeout:g} s: it has to log {manifest.name!r} with all_ranks=True too, and to "
                "reach the same store (TRACELET_STORE, or the backend bucket). TRACELET_RANKS_TIMEOUT lets ranks wait longer."
            )
        if "error" in done:
            raise BackendError(f"rank 0 could not store {manifest.name!r}: {done['error']}", retryable=False)
        return _results(done)

    # -- notes

    def _wait_for(self, look: Callable[[], T | None]) -> T | None:
        until, pause = time.monotonic() + self._timeout, _POLL
        while (found := look()) is None and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL)
        return found

    def _key(self, name: str) -> str:
        return f"{self._job.name}/{self._what}/{name}.json"

    def _put(self, name: str, **what: Any) -> None:
        self._store.put_note(self._key(name), json.dumps({"schema": _SCHEMA, **what}).encode())

    def _get(self, name: str) -> dict[str, Any] | None:
        found = self._store.get_note(self._key(name))
        try:
            plain = None if found is None else json.loads(found)
        except ValueError:
            return None  # its writer is writing it
        return plain if isinstance(plain, dict) and plain.get("schema") == _SCHEMA else None


def _merged(manifests: list[Manifest]) -> Manifest:
    """The manifest of the whole. What is no file, object or model is that of the first process."""
    first = manifests[0]
    for rank, one in enumerate(manifests):
        if (one.name, one.type) != (first.name, first.type):
            raise ArtifactError(
                f"rank {rank} logs {one.name!r}, a {one.type.value}, where rank 0 logs {first.name!r}, a {first.type.value}: all "
                "ranks log the same artifacts with all_ranks=True, in the same order."
            )
    links = [ref for one in manifests for ref in one.references if ref.path is None]
    return attrs.evolve(
        first,
        objects=_once(manifests, lambda one: [(item.name, item) for item in one.objects], "object"),
        models=_once(manifests, lambda one: [(item.name, item) for item in one.models], "model"),
        references=(*dict.fromkeys(links), *_once(manifests, _files, "file")),
        inputs=tuple(dict.fromkeys(digest for one in manifests for digest in one.inputs)),
    )


def _files(manifest: Manifest) -> list[tuple[str, ArtifactReference]]:
    return [(ref.path, ref) for ref in manifest.references if ref.path is not None]


def _once(manifests: list[Manifest], things: Callable[[Manifest], Iterable[tuple[str, T]]], kind: str) -> tuple[T, ...]:
    found: dict[str, tuple[int, T]] = {}
    for rank, manifest in enumerate(manifests):
        for name, thing in things(manifest):
            owner, other = found.setdefault(name, (rank, thing))
            if other != thing:
                raise ArtifactError(
                    f"rank {rank} has another {kind} {name!r} than rank {owner}: give what each rank has a name of its own, such "
                    f"as {f'shard-{rank}.safetensors' if kind == 'file' else f'{name}-{rank}'!r}."
                )
    return tuple(thing for _, thing in found.values())


def _results(done: dict[str, Any]) -> LogResults:
    results = LogResults()
    for one in done["stored"]:
        results[one["backend"]] = LogResult(**one)
    results.queued.update({name: BackendUnavailable(reason, backend=name) for name, reason in done["queued"].items()})
    failed: dict[str, TraceletError] = {
        name: BackendError(reason, backend=name) for name, reason in done["failed"].items()
    }
    results.failed.update(failed)
    return results
