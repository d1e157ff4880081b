"""The Aim run of each of Tracelet's runs, which shows its artifacts to Aim's users."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import attrs
from aim import Run
from aim.sdk.objects.artifact import Artifact

from tracelet.exceptions import BackendUnavailable, NewerFormat
from tracelet.plugin import MANIFEST_NAME, Manifest, RunInfo, SealedArtifact, check_schema
from tracelet_aim.disk import DiskTree
from tracelet_aim.index import SCHEMA, Entry
from tracelet_aim.media import media
from tracelet_aim.storage import object_name
from tracelet_aim.trees import Key, Place, Tree

__all__ = ["ROOT", "AimRun", "Runs", "file_names", "plain"]

_LOG = logging.getLogger("tracelet.aim")

#: The key of everything of Tracelet's among a run's parameters.
ROOT = "tracelet"
#: Signed integers of 64 bits: Aim has no others.
_WHOLE = range(-(2**63), 2**63)


def file_names(manifest: Manifest) -> list[str]:
    """Return the names of all files in a version's folder."""
    return [*(object_name(file.artifact_path) for file in manifest.payload), MANIFEST_NAME]


def plain(value: Any) -> Any:
    """Return metadata that Aim can store: other values become text. The manifest has them as they were."""
    if isinstance(value, dict):
        return {key or "(empty)": plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, int) and value not in _WHOLE:
        return str(value)
    return value


def _note(entry: Entry, uri: str) -> dict[str, Any]:
    """Return a version's note, for Aim's queries."""
    manifest = entry.record.manifest
    return {
        "version": entry.label or f"v{entry.number}",
        "number": entry.number,
        "label": entry.label,
        "aliases": list(entry.aliases),
        "type": manifest.type.value,
        "description": manifest.description,
        "digest": manifest.digest,
        "size_bytes": manifest.size_bytes,
        "uri": uri,
        "metadata": plain(manifest.metadata),
        "references": [ref.uri for ref in manifest.references],
        "inputs": list(manifest.inputs),
    }


def _check(schema: Any, run_hash: str) -> None:
    """Raise :class:`~tracelet.NewerFormat` where a later release keeps its notes on the run."""
    if schema is not None:
        with contextlib.suppress(ValueError):
            check_schema({"schema": schema}, SCHEMA, f"what Tracelet noted on the run {run_hash} in Aim")


class AimRun:
    """A run that this process writes to. Aim lets only one process write to a run."""

    def __init__(self, place: Place, experiment: str, run: RunInfo, users: str) -> None:
        """``users`` is the hash of the run that the user's own code has open. The new run names it."""
        self._place = place
        #: The repo that it is open in. A run is lost with its connection.
        self.repo = place.repo()
        with place.alone():
            self._run = place.call(lambda: self._made(experiment, run, users))
        self.hash: str = self._run.hash

    def _made(self, experiment: str, run: RunInfo, users: str) -> Any:
        made = Run(
            repo=self.repo,
            experiment=experiment,
            system_tracking_interval=None,
            log_system_params=False,
            capture_terminal_logs=False,
        )
        made.name = f"tracelet {run.id[:8]}"
        about = {"run_id": run.id, "started_at": run.started_at, "artifacts": {}, "inputs": {}}
        made[ROOT] = {"schema": SCHEMA, **about}
        if users:
            made[ROOT, "beside"] = users
        return made

    def show(self, sealed: SealedArtifact, entry: Entry, uri: str, base: str, *, track: bool) -> None:
        """Note a version, whose bytes are stored below ``base``, with its files and with what can be shown of them."""
        self._place.call(lambda: self._show(sealed, entry, uri, base, track))

    def _show(self, sealed: SealedArtifact, entry: Entry, uri: str, base: str, track: bool) -> None:
        manifest, run = sealed.manifest, self._run
        run.set_artifacts_uri(base)
        originals = {object_name(file.artifact_path): file.artifact_path for file in manifest.payload}
        artifacts = run.meta_run_tree.subtree("artifacts")
        for name in file_names(manifest):
            inside = f"{manifest.name}/v{entry.number}/{name}"
            artifacts[inside] = Artifact(originals.get(name, name), uri=f"{base}/{self.hash}", name=inside)
        for shown in media(sealed) if track else ():
            run.track(shown.value, name=f"{manifest.name} ({shown.kind})", step=entry.number, context=shown.context)
        for key in (f"v{entry.number}", "latest"):
            run[ROOT, "artifacts", manifest.name, key] = _note(entry, uri)

    def use(self, name: str, version: str, digest: str) -> None:
        """Note a version that the run uses."""
        self._place.call(lambda: self._run.__setitem__((ROOT, "inputs", name), {"version": version, "digest": digest}))

    def change(self, work: Callable[[Tree], None]) -> None:
        """Change what is below the run in its database."""
        self._place.call(lambda: work(DiskTree(self._run.meta_run_tree)))

    def end(self, *, failed: bool) -> None:
        """End the run. Aim's queries find it from then on."""

        def work() -> None:
            self._run[ROOT, "failed"] = failed
            self._run[ROOT, "ended_at"] = time.time()
            self._run.close()

        self._place.call(work)
        self._place.make_searchable(self.hash)


class Runs:
    """The Aim runs of one experiment that this process writes to."""

    def __init__(self, place: Place, experiment: str, users: str) -> None:
        self._place = place
        self._experiment = experiment
        self._users = users
        self._open: dict[str, AimRun] = {}

    def of(self, run: RunInfo) -> AimRun:
        """Return the Aim run of one of Tracelet's runs, made when it is first needed."""
        known = self._open.get(run.id)
        if known is None or known.repo is not self._place.repo():
            self._open[run.id] = known = AimRun(self._place, self._experiment, run, self._users)
        return known

    def update(self, entry: Entry, uri: str) -> None:
        """Update a version's note on the run that it was logged in, unless another process is writing to that run."""
        note = _note(entry, uri)

        def work(tree: Tree) -> None:
            whole = ("attrs", ROOT, "artifacts", entry.record.manifest.name)
            own = f"v{entry.number}"
            is_latest = tree.get(*whole, "latest", "number") == entry.number
            for inside in (own, "latest") if is_latest else (own,):
                # A later release may have noted more.
                tree.set((*whole, inside), {**(tree.get(*whole, inside) or {}), **note})

        self._change(entry.record.run, work)

    def remove(self, entry: Entry) -> None:
        """Remove a version from the run that it was logged in, unless another process is writing to that run."""

        def work(tree: Tree) -> None:
            name, inside = entry.record.manifest.name, f"v{entry.number}"
            for file in file_names(entry.record.manifest):
                tree.drop("artifacts", f"{name}/{inside}/{file}")
            whole = ("attrs", ROOT, "artifacts", name)
            tree.drop(*whole, inside)
            if tree.get(*whole, "latest", "number") == entry.number:
                tree.drop(*whole, "latest")

        self._change(entry.record.run, work)

    def end(self, *, failed: bool) -> None:
        """End every run. ``failed`` is about the last one: others only got deliveries."""
        runs = list(self._open.values())
        self._open.clear()
        for number, run in enumerate(runs, 1):
            if run.repo is self._place.repo():
                run.end(failed=failed and number == len(runs))

    def _change(self, run_hash: str, work: Callable[[Tree], None]) -> None:
        own = next((run for run in self._open.values() if run.hash == run_hash), None)
        if own is not None:
            own.change(work)
            return
        try:
            with self._place.reading("meta", run_hash) as found:
                if found is None:
                    return  # the run was deleted in Aim
            with self._place.writing("meta", run_hash, patience=0.0) as tree:
                below = _Below(tree, ("meta", "chunks", run_hash))
                _check(below.get("attrs", ROOT, "schema"), run_hash)
                work(below)
                ended = below.get("end_time") is not None
            if ended:
                self._place.make_searchable(run_hash)
        except (BackendUnavailable, NewerFormat) as error:
            _LOG.debug("the run %s still shows names as they were: %s", run_hash, error)


@attrs.frozen
class _Below:
    """A tree's part below a path."""

    _tree: Tree
    _above: tuple[Key, ...]

    def get(self, *path: Key) -> Any:
        return self._tree.get(*self._above, *path)

    def set(self, path: tuple[Key, ...], value: Any) -> None:
        self._tree.set((*self._above, *path), value)

    def drop(self, *path: Key) -> None:
        self._tree.drop(*self._above, *path)

    def items(self, *path: Key) -> list[tuple[Key, Any]]:
        return self._tree.items(*self._above, *path)

    def keys(self, *path: Key) -> list[Key]:
        return self._tree.keys(*self._above, *path)
