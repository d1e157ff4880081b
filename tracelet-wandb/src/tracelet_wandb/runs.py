"""The W&B run of each of Tracelet's runs: this program's, an earlier program's, or the user's own in W&B's shared mode."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import wandb
from wandb.apis.public.runs import RunNotFoundError
from wandb.errors import CommError

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable, NewerFormat
from tracelet.plugin import RunInfo
from tracelet_wandb.connection import Place, run_settings
from tracelet_wandb.errors import is_deleted_run, is_refused_run, translated
from tracelet_wandb.program import Program
from tracelet_wandb.schemas import SCHEMA, check_edited

__all__ = ["Runs", "begin_offline", "finish"]

_LOG = logging.getLogger("tracelet.wandb")
#: Seconds by which two readings of the clock may differ.
_TICK = 2.0
#: States of a run that has ended, and whether it failed.
_ENDS = {"finished": False, "failed": True}
#: The SDK's settings for one of several processes that write to a run.
_SHARED: dict[str, Any] = {"mode": "shared", "x_label": "tracelet"}
_NOT_OURS_TO_END: dict[str, Any] = {"x_primary": False, "x_update_finish_state": False}
#: How many runs of one id may be deleted, one after the other.
_MOST_DELETED = 20

T = TypeVar("T")


@attrs.frozen
class _Part:
    """A W&B run that this process writes to."""

    run: wandb.Run
    id: str
    #: Whether the program that this lane serves began it. Then it ends as that program does.
    own: bool
    #: Whether it had failed before. None where its end is not Tracelet's to set.
    failed: bool | None = None
    #: Tracelet's part of its configuration.
    config: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class _Known:
    """A run as the server has it."""

    state: str
    config: dict[str, Any]

    @property
    def failed(self) -> bool | None:
        """Whether the run failed; None where it has not ended, or nobody knows.

        A killed delivery leaves an ended run running, and the server calls it crashed later. So the configuration counts.
        """
        told = self.config.get("ended") if self.state in {"running", "crashed"} else self.state
        return _ENDS.get(str(told))


class Runs:
    """The runs that one lane writes to: the program's own until the program ends, and one other at a time.

    What an earlier program left is delivered into that program's run. The run's result does not change: it stays finished or
    failed, and a delivery does not end a run that nobody ended.

    W&B does not give a deleted run's id to another run for days. Artifacts of such a run go to a run whose id has a number
    appended, and which names the deleted one.
    """

    def __init__(self, place: Place, program: Program, sdk: dict[str, Any], folder: Path) -> None:
        """``folder`` is for what the SDK writes, and is called ``wandb``."""
        self._place = place
        self._program = program
        self._sdk = sdk
        self._folder = folder
        self._info: RunInfo | None = None
        self._parts: list[_Part] = []
        #: Ids of deleted runs.
        self._deleted: set[str] = set()
        #: Runs about which a warning said that they take the place of deleted ones.
        self._told: set[str] = set()

    def turn_to(self, info: RunInfo) -> None:
        """Change the current run. W&B's run begins with the first put."""
        self._info = info

    def write(self, action: Callable[[wandb.Run], T]) -> T:
        """Do something in the current run; or, if that turns out to be deleted, in the run that takes its place."""
        try:
            return action(self.begun())
        except (BackendUnavailable, BackendAuthError):
            raise
        except BackendError:
            if not self._is_gone():
                raise
        return action(self.begun())

    def begun(self) -> wandb.Run:
        """Return the current run. Begin or resume it first, unless that is done.

        Raises what :func:`~tracelet_wandb.errors.translated` makes of the SDK's errors.
        """
        info = self._info
        assert info is not None
        for part in self._parts:
            if part.id == info.id:
                return part.run
        self._end([part for part in self._parts if not part.own], failed=False)
        part = self._begin(info)
        self._parts.append(part)
        if part.run.project != self._place.project:
            self._end([part], failed=False)
            raise BackendError(
                f"W&B has a project {part.run.project!r} and does not tell {self._place.project!r} from it: name the "
                "experiment otherwise.",
                retryable=False,
            )
        return part.run

    def end(self, *, failed: bool) -> None:
        """End the program's run, and stop writing to every other one."""
        self._end(list(self._parts), failed=failed)

    def _begin(self, info: RunInfo) -> _Part:
        """Begin a run, resume it, or join the user's.

        The user's own active run is joined if it is in W&B's shared mode and in the same project: only then may two processes
        write to it. Otherwise the run has an id of its own, and names the user's in its configuration.
        """
        place, sdk = self._place, self._sdk
        joins = sdk.get("mode") == "shared" and (sdk.get("entity"), sdk.get("project")) == (place.entity, place.project)
        names = [*([str(sdk["run"])] if joins else []), info.id]
        names += [f"{info.id}-{number}" for number in range(2, _MOST_DELETED)]
        deleted: list[str] = []
        for name in names:
            part = None if name in self._deleted else self._begin_as(name, info, deleted, joins=joins and not deleted)
            if part is not None:
                if deleted and name not in self._told:
                    self._told.add(name)
                    told = ", ".join(place.path(one) for one in deleted)
                    _LOG.warning("%s was deleted on W&B: artifacts of that run go to the run %s.", told, name)
                return part
            self._deleted.add(name)
            deleted.append(name)
        raise BackendError(
            f"W&B at {place.server} says that all of {len(names)} runs, from {names[0]!r} to {names[-1]!r}, were deleted: leave the "
            "next one there.",
            retryable=False,
        )

    def _begin_as(self, name: str, info: RunInfo, deleted: list[str], *, joins: bool) -> _Part | None:
        """Begin a run under an id; None where the run of that id was deleted. The new run names those in ``deleted``."""
        place = self._place
        known = self._look(name)
        own = not joins and self._is_own(info, known)
        failed = None if own else False if known is None else known.failed
        config = _config(info, self._sdk, self._program.token if own else None)
        more = _SHARED if joins else {"mode": "online"}
        notes = None
        if deleted:
            config["instead_of"] = [place.path(one) for one in deleted]
            notes = f"Takes the place of {', '.join(deleted)}, deleted on W&B, for what was logged in it and not yet stored."
        fresh = known is None and not joins
        try:
            with translated(place.server):
                run = wandb.init(
                    entity=place.entity,
                    project=place.project,
                    id=name,
                    notes=notes if fresh else None,
                    resume=None if joins else "allow",
                    reinit="create_new",
                    config={"tracelet": config} if fresh else None,
                    settings=run_settings(
                        self._folder, **more, **({} if own or failed is not None else _NOT_OURS_TO_END)
                    ),
                )
        except BackendError as error:
            if is_deleted_run(error) or (is_refused_run(error) and self._look(name) is None):
                return None
            # The SDK's service still holds the run. It refuses every later attempt, or hangs.
            error.ends_lane = True
            raise
        return _Part(run, info.id, own, failed, {} if joins else config if known is None else known.config)

    def _is_gone(self) -> bool:
        """Whether the current run was deleted on the server. Then it is given up, and another one takes its place."""
        parts = [one for one in self._parts if self._info is not None and one.id == self._info.id]
        try:
            if not parts or self._ask(parts[0].run.id) is not None:
                return False
        except (BackendError, NewerFormat):
            return False
        self._deleted.add(parts[0].run.id)
        with contextlib.suppress(BackendError):
            self._end(parts, failed=False)
        return True

    def _look(self, name: str) -> _Known | None:
        """Ask the server for a run; None where it is not there, or the server refuses the question.

        Raises :class:`~tracelet.NewerFormat` where a later release wrote the run's configuration.
        """
        try:
            return self._ask(name)
        except (BackendUnavailable, BackendAuthError):
            raise
        except BackendError as error:
            # A delivery need not fail because the run's state is unknown.
            _LOG.warning("W&B does not give the state of the run %s: %s", name, error)
            return None

    def _ask(self, name: str) -> _Known | None:
        # The client caches runs.
        self._place.api.flush()  # type: ignore[no-untyped-call]
        with translated(self._place.server):
            try:
                found = self._place.api.run(self._place.path(name))
            except CommError as error:
                if isinstance(error.exc, RunNotFoundError):
                    return None
                raise
        told = found.config.get("tracelet")
        config = told if isinstance(told, dict) else {}
        check_edited(config, f"what Tracelet noted in the configuration of the run {name} on W&B")
        return _Known(str(found.state), config)

    def _is_own(self, info: RunInfo, known: _Known | None) -> bool:
        """Whether this lane's program began the run: by the run's configuration, or because the program is older."""
        token = None if known is None else known.config.get("program")
        return token == self._program.token if token else info.started_at >= self._program.started_at - _TICK

    def _end(self, parts: list[_Part], *, failed: bool) -> None:
        for part in parts:
            self._parts.remove(part)
            with translated(self._place.server):
                ends = failed if part.own else part.failed
                if ends is not None and part.config and "ended" not in part.config:
                    told = next(word for word, bad in _ENDS.items() if bad is ends)
                    config = {"tracelet": {**part.config, "ended": told}}
                    part.run.config.update(config, allow_val_change=True)  # type: ignore[no-untyped-call]
                finish(part.run, failed=bool(ends))


def begin_offline(project: str, info: RunInfo, sdk: dict[str, Any], folder: Path) -> wandb.Run:
    """Begin a run that W&B's own ``wandb sync`` can send later."""
    return wandb.init(
        project=project,
        id=info.id,
        reinit="create_new",
        mode="offline",
        config={"tracelet": _config(info, sdk)},
        settings=run_settings(folder),
    )


def finish(run: wandb.Run, *, failed: bool) -> None:
    """Stop writing to a run. A run of the user's goes on. An online run's files on this disk are removed."""
    folder, offline = Path(run.settings.sync_dir), run.offline
    run.finish(exit_code=1 if failed else 0)
    if not offline:
        shutil.rmtree(folder, ignore_errors=True)


def _config(info: RunInfo, sdk: dict[str, Any], program: str | None = None) -> dict[str, Any]:
    config = {"schema": SCHEMA, "experiment": info.experiment, "run": info.id}
    if program is not None:
        config["program"] = program
    if sdk.get("run"):
        config["user_run"] = "/".join(str(sdk.get(part) or "") for part in ("entity", "project", "run"))
    return config
