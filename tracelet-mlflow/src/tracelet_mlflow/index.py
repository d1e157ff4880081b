"""The index: which versions there are, kept in MLflow itself, in an experiment beside the user's.

``<experiment>.tracelet`` has the tag tracelet.root. It has one run for each artifact's name, so that one request gets all
there is to know about a name, and MLflow's search finds all names of a type. One more run, the root, is above them. MLflow
refuses to change a parameter of a run: that is how names, versions and labels are claimed.

    root   param  name/<name>        the run of that name
           param  run/<id>           the MLflow run that belongs to one of Tracelet's runs
    name   tags   tracelet.type; tracelet.name, set when the root knows the run. A run without it is passed over.
           param  v3                 the put that claimed v3
           tag    v3                 the record of v3, set last. A version without it does not exist.
           param  label/<label>      the version and digest that took the label
           tag    label/<label>      another version of the same digest that has it now
           tag    alias/<alias>      the version that the alias points at
           tag    left/v3            since when, and where, something of v3 may be left that is no version; or that all is cleared
           tag    input/<digest>     set where a version has that digest among its inputs: MLflow's search finds the name
           tag    input/<digest>/v3  set where v3 has it, before the record of v3

The experiment and each run of a name have the tag tracelet.schema. MLflow's pages do not list the experiment, and its runs
have ended. The experiment has the tag tracelet.inputs if the inputs of all its versions are noted. Earlier releases noted none.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

import attrs
from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from tracelet.exceptions import BackendError, BackendUnavailable
from tracelet.plugin import ArtifactType, Damage, Remembered, or_damage, sound
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.schemas import SCHEMA, SCHEMA_TAG, check_tags

__all__ = ["NAME", "ROOT", "SUFFIX", "Entry", "Index", "Left", "inputs_of", "key"]

#: What an index's experiment has in its name after the user's, and its tag, by which an index is known.
SUFFIX = ".tracelet"
ROOT = "tracelet.root"
#: The tag of the run of a name that says the name.
NAME = "tracelet.name"
_TYPE = "tracelet.type"
#: Tag of the experiment: the inputs of all versions are noted.
_NOTED = "tracelet.inputs"
#: What the tag of a number that is no version begins with: since when something may be left of it, or that nothing is.
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_CLEARED = "cleared"
_PAGE = 1000
#: Tags that MLflow sets in one request, all at once.
_BATCH = 100
#: Attempts to store a record that arrives changed.
_ATTEMPTS = 2
_NOTE = "mlflow.note.content"
_LEAVE = "Leave it as it is."
#: MLflow's page of all experiments leaves out those with this tag, which MLflow uses for its own.
_UNLISTED = "mlflow.experiment.isGateway"
#: MLflow's word for what is not deleted, and its code for what does not exist.
_ACTIVE = "active"
_ABSENT = "RESOURCE_DOES_NOT_EXIST"


def key(kind: str, text: str) -> str:
    """Return the key of a parameter or tag. Different texts have different keys, also in a database that ignores case."""
    lower = text.lower()
    mark = "" if lower == text else f"/{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return f"{kind}/{lower}{mark}"


def inputs_of(digests: Iterable[str], number: int) -> dict[str, str]:
    """Return the tags that say what a version is made from."""
    found: dict[str, str] = {}
    for digest in digests:
        found |= {f"input/{digest}": "true", f"input/{digest}/v{number}": "true"}
    return found


@attrs.frozen
class Left:
    """What is known about a number that is claimed, and has no version."""

    put_id: str
    #: When somebody found so first, in seconds since the epoch; None where nobody has looked yet.
    since: float | None
    #: The MLflow run that has files of it, where that is known.
    run_id: str


@attrs.frozen
class Entry:
    """All that is known about one name."""

    run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    #: Whether MLflow shows the run as running.
    is_running: bool

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.tags[NAME]

    @property
    def type(self) -> ArtifactType:
        """The artifact's type."""
        return ArtifactType(self.tags[_TYPE])

    @cached_property
    def claims(self) -> dict[int, str]:
        """By version number: the put that claimed it."""
        return {int(name[1:]): put_id for name, put_id in self.params.items() if _is_version(name)}

    @cached_property
    def records(self) -> dict[int, str]:
        """By version number, newest first: the record of each version that exists."""
        found = {int(name[1:]): record for name, record in self.tags.items() if _is_version(name)}
        return dict(sorted(found.items(), reverse=True))

    @cached_property
    def left(self) -> dict[int, Left]:
        """By number: what interrupted puts and deletions may have left, without what is cleared away."""
        found = {}
        for number, put_id in self.claims.items():
            since, run_id, *_ = [*self.tags.get(f"left/v{number}", "").split(" "), ""]
            if number not in self.records and since != _CLEARED:
                found[number] = Left(put_id, float(since) if _SECONDS.fullmatch(since) else None, run_id)
        return found

    @cached_property
    def labels(self) -> dict[str, int]:
        """The version of each label. The version may not exist."""
        found: dict[str, int] = {}
        for name, value in self.params.items():
            if name.startswith("label/"):
                number, _, label, *_ = value.split(" ")
                found[label] = int(number)
        return found | self._pointed("label/")

    @cached_property
    def aliases(self) -> dict[str, int]:
        """The version of each alias."""
        return self._pointed("alias/")

    def label_of(self, number: int) -> str | None:
        """Return the label of a version, or None."""
        return next((label for label, owner in sorted(self.labels.items()) if owner == number), None)

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """Return the aliases that point at a version now."""
        return tuple(sorted(alias for alias, owner in self.aliases.items() if owner == number))

    def users_of(self, digest: str) -> list[int]:
        """Return the numbers of the versions that are made from a digest."""
        return [number for number in self.records if f"input/{digest}/v{number}" in self.tags]

    def label_owner(self, label: str) -> tuple[int, str]:
        """Return the version number and digest that took a label."""
        number, digest, *_ = self.params[key("label", label)].split(" ")
        return self.labels.get(label, int(number)), digest

    def _pointed(self, prefix: str) -> dict[str, int]:
        values = [value.split(" ") for name, value in self.tags.items() if name.startswith(prefix)]
        return {text: int(number) for number, text, *_ in values}


def _is_version(name: str) -> bool:
    return name.startswith("v") and name[1:].isdecimal()


def _entry(run: Run) -> Entry:
    """Read the run of a name. Raises :class:`~tracelet.NewerFormat` where a later release keeps its versions in another way."""
    check_tags(run.data.tags, f"the run {run.info.run_id} of the index in MLflow")
    return Entry(run.info.run_id, run.data.params, run.data.tags, run.info.status == "RUNNING")


@attrs.frozen
class _Place:
    """Where an index is."""

    experiment_id: str
    #: The root's run id.
    root: str
    #: Whether MLflow's pages leave the experiment out. An earlier release did not see to that.
    is_unlisted: bool
    #: Whether the inputs of all versions are noted. An earlier release did not note them.
    is_noted: bool


class Index:
    """The index of one experiment."""

    def __init__(self, client: MlflowClient, experiment: str, *, is_served: bool) -> None:
        self._client = client
        self._is_served = is_served
        self._experiment = experiment
        self._title = f"{experiment}{SUFFIX}"
        self._place: _Place | None = None
        #: Names as they were last read or written. One has the record of each of its versions.
        self._seen = Remembered[Entry]()
        #: Names that were looked for last, and had no run.
        self._absent: set[str] = set()

    # -- names

    def entry(self, name: str) -> Entry | None:
        """Return what is known about a name now, or None."""
        seen = self._seen.of(name)
        found = None if seen is None else self._again(seen)
        if found is None:
            found = next(sound(self.entries(name=name)), None)
        if found is not None:
            self._seen.keep(name, found)
        else:
            self._absent.add(name)
        return found

    def _again(self, seen: Entry) -> Entry | None:
        """Read a name again that was read before; None where it was deleted."""
        try:
            with self._remembering():
                run = self._client.get_run(seen.run_id)
        except MlflowException as error:
            if code_of(error) != _ABSENT:
                raise
            return None
        if run.info.lifecycle_stage != _ACTIVE:
            self._forget()
            return None
        return _entry(run)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Forget where the experiment was if something of it turns out to be gone for good."""
        try:
            yield
        except MlflowException as error:
            if code_of(error) == _ABSENT:
                self._forget()
            raise

    def _forget(self) -> None:
        self._place = None
        self._seen.clear()
        self._absent.clear()

    def recalled(self, name: str) -> Entry | None:
        """Return what was known about a name when it was last read or written, or None."""
        return self._seen.of(name)

    def entries(self, *, name: str | None = None, type: ArtifactType | None = None) -> Iterator[Entry | Damage]:
        """Yield what is known about every name, or those of a name or type, in MLflow's order.

        In place of a name that cannot be read, its error is yielded.
        """
        known = self._place
        found = self._searched(name, type)
        first = next(found, None)
        if first is None and known is not None:
            # Nothing is found in a deleted experiment, either.
            self._place = None
            if self._found() == known:
                return
            self._forget()
            yield from self._searched(name, type)
        elif first is not None:
            yield first
            yield from found

    def users(self, digest: str) -> Iterator[Entry | Damage]:
        """Yield what is known about every name that has a version which is made from a digest."""
        return self._searched(None, None, f"tags.`input/{digest}` != ''")

    @property
    def is_noted(self) -> bool:
        """Whether :meth:`users` finds every version. Otherwise :meth:`note_inputs` is due for the versions of every name."""
        place = self._found()
        return place is None or place.is_noted

    def note_inputs(self, entry: Entry, inputs: Mapping[str, str]) -> None:
        """Note inputs of a name's versions, as far as they are not noted."""
        new = {name: value for name, value in inputs.items() if name not in entry.tags}
        if new:
            self.set(entry, new)

    def mark_noted(self) -> None:
        """Note that the inputs of all versions are noted."""
        place = self._made()
        self._client.set_experiment_tag(place.experiment_id, _NOTED, "true")
        self._place = attrs.evolve(place, is_noted=True)

    def _searched(self, name: str | None, type: ArtifactType | None, also: str = "") -> Iterator[Entry | Damage]:
        place = self._found()
        if place is None:
            return
        parts = [f"tags.`{NAME}` != ''" if name is None else f"tags.`{NAME}` = '{name}'"]
        if type is not None:
            parts.append(f"tags.`{_TYPE}` = '{type.value}'")
        text = " AND ".join([*parts, *filter(None, [also])])
        read = or_damage(_entry, lambda run: repr(run.data.tags[NAME]))
        page = None
        while True:
            runs = self._client.search_runs([place.experiment_id], text, max_results=_PAGE, page_token=page)
            for run in runs:
                # Some databases ignore case. A run that lost the race for its name is passed over.
                if name in {None, run.data.tags[NAME]} and run.data.tags.get("tracelet.lost") is None:
                    yield read(run)
            page = runs.token
            if not page:
                return

    def ensure(self, name: str, type: ArtifactType) -> Entry:
        """Return what was known about a name when it was last read or written; make its run if there is none.

        That is enough to claim a version, or the name: MLflow refuses a claim that another process has made since.
        """
        found = self._seen.of(name)
        if found is None and name in self._absent:
            self._absent.discard(name)
            try:
                found = self._new(name, type)
            except MlflowException:
                # The index may be gone since the name was looked for.
                self._forget()
        found = found or self.entry(name) or self._new(name, type)
        if found.is_running:
            self._client.set_terminated(found.run_id)
            found = attrs.evolve(found, is_running=False)
        self._seen.keep(name, found)
        return found

    def _new(self, name: str, type: ArtifactType) -> Entry:
        """Make the run of a name, unless another process has made it meanwhile."""
        place = self._made()
        note = f"The versions of the artifact {name!r} of the experiment {self._experiment!r}. {_LEAVE}"
        tags = {_TYPE: type.value, SCHEMA_TAG: str(SCHEMA), "mlflow.runName": name, _NOTE: note}
        run = self._client.create_run(place.experiment_id, tags=tags)
        made = run.info.run_id
        owner = self.take(place.root, key("name", name), made)
        if owner != made:
            self._client.delete_run(made)
            run = self._client.get_run(owner)
        if NAME not in run.data.tags:
            # Set last: before the root knows the run, another process could put versions into one that nobody finds.
            self._client.set_tag(owner, NAME, name)
        found = _entry(run)
        return attrs.evolve(found, tags={**found.tags, NAME: name})

    # -- versions and labels

    def claim(self, entry: Entry, put_id: str, *, next_alone: bool) -> tuple[int, bool] | None:
        """Claim a version number for a put; return it, and whether an earlier attempt of the put had claimed it.

        With ``next_alone`` return None if others have claimed versions since the name was last read or written.
        """
        earlier = [number for number, owner in entry.claims.items() if owner == put_id]
        if earlier:
            return earlier[0], True
        while True:
            number = max(entry.claims, default=-1) + 1
            if self.take(entry.run_id, f"v{number}", put_id) == put_id:
                self._note(entry, params={f"v{number}": put_id})
                return number, False
            if next_alone:
                return None
            entry = _entry(self._client.get_run(entry.run_id))
            self._seen.keep(entry.name, entry)

    def claim_label(self, entry: Entry, label: str, number: int, digest: str) -> tuple[int, str]:
        """Claim a label for a version. Return the version number and the digest that have it, which may be another's."""
        mine = f"{number} {digest} {label}"
        if self.take(entry.run_id, key("label", label), mine) == mine:
            return number, digest
        return _entry(self._client.get_run(entry.run_id)).label_owner(label)

    def commit(
        self,
        entry: Entry,
        number: int,
        record: str,
        *,
        pointers: Mapping[str, str] | None = None,
        inputs: Collection[str] = (),
    ) -> None:
        """Set the record of a version, with its ``inputs``, and the label and aliases that point at it: now it exists.

        Raises :class:`~tracelet.BackendUnavailable` where the record arrives at a server changed.
        """
        name = f"v{number}"
        pointers = {**inputs_of(inputs, number), **(pointers or {})}
        if len(pointers) >= _BATCH:
            # MLflow would set some of them with the record, and others before it.
            self.set(entry, inputs_of(inputs, number))
            pointers = {one: value for one, value in pointers.items() if not one.startswith("input/")}
        for _ in range(_ATTEMPTS):
            self.set(entry, {**pointers, name: record})
            if not self._is_served or not self._is_other(entry, name, record):
                return
        self.forget(entry, number)
        raise BackendUnavailable(
            f"the record of {entry.name!r} {name} was sent {_ATTEMPTS} times and did not arrive in MLflow as it is: something "
            "on the way changes it. It is sent again later."
        )

    def _is_other(self, entry: Entry, name: str, record: str) -> bool:
        """Whether MLflow has another text there. The search finds something only then, so its answer is mostly short."""
        place = self._made()
        other = f"attributes.run_id = '{entry.run_id}' AND tags.`{name}` != '{record}'"
        return bool(self._client.search_runs([place.experiment_id], other, max_results=1))

    def set(self, entry: Entry, tags: Mapping[str, str]) -> None:
        """Set tags of a name, all in one request."""
        if len(tags) == 1:
            ((name, value),) = tags.items()
            self._client.set_tag(entry.run_id, name, value)
        else:
            self._client.log_batch(entry.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._note(entry, tags=tags)

    def _note(
        self, entry: Entry, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Remember what was set. The next put may come before the name is read again."""
        seen = self._seen.of(entry.name) or entry
        now = attrs.evolve(seen, params={**seen.params, **(params or {})}, tags={**seen.tags, **(tags or {})})
        self._seen.keep(entry.name, now)

    def unname(self, entry: Entry, aliases: Iterable[str]) -> None:
        """Take aliases of a name away."""
        self._seen.forget(entry.name)
        for alias in aliases:
            self._client.delete_tag(entry.run_id, key("alias", alias))

    def forget(self, entry: Entry, number: int) -> None:
        """Take a version out of the index. Its number stays claimed."""
        self._client.delete_tag(entry.run_id, f"v{number}")
        self.unname(entry, entry.aliases_of(number))

    # -- what is left of versions that are none

    def note_left(self, entry: Entry, number: int, run_id: str) -> None:
        """Note that something of a number may be left, from now on, and in which run."""
        self.set(entry, {f"left/v{number}": f"{time.time():.3f} {run_id}".rstrip()})

    def note_cleared(self, entry: Entry, number: int) -> None:
        """Note that nothing of a number is left."""
        self.set(entry, {f"left/v{number}": _CLEARED})

    def begin_again(self, name: str, number: int) -> None:
        """Forget what is noted of a number: its put goes on."""
        entry = self.entry(name)
        if entry is not None and f"left/v{number}" in entry.tags:
            self._seen.forget(name)
            self._client.delete_tag(entry.run_id, f"left/v{number}")

    # -- runs

    def runs(self) -> dict[str, str]:
        """Return the MLflow runs that the files of versions are in, by the key of the run of Tracelet's that each belongs to."""
        place = self._found()
        if place is None:
            return {}
        params = self._client.get_run(place.root).data.params
        return {name: value for name, value in params.items() if name.startswith("run/")}

    def run_of(self, run_id: str) -> str | None:
        """Return the MLflow run that belongs to one of Tracelet's runs, or None."""
        with self._remembering():
            return self._client.get_run(self._made().root).data.params.get(key("run", run_id))

    def claim_run(self, run_id: str, candidate: str) -> str:
        """Claim one of Tracelet's runs for an MLflow run. Return the one that has it, which may be another."""
        return self.take(self._made().root, key("run", run_id), candidate)

    # -- claims

    def take(self, run_id: str, name: str, value: str) -> str:
        """Set a parameter unless it is set. Return its value, which may be another process's."""
        try:
            with self._remembering():
                self._client.log_param(run_id, name, value)
        except MlflowException as error:
            if code_of(error) not in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}:
                raise
            run = self._client.get_run(run_id)
            if run.info.lifecycle_stage != _ACTIVE:
                raise self._lost(run) from error
            owner = run.data.params.get(name)
            if owner is None:
                raise
            return owner
        return value

    def _lost(self, run: Run) -> BackendError:
        """Return the error for a run of the index that was deleted, by itself or with its experiment."""
        self._forget()
        try:
            self._found()
        except BackendError as error:
            return error
        return BackendError(
            f"the run {run.info.run_id} of the MLflow experiment {self._title!r}, by which artifacts are found, was deleted: "
            f"`mlflow runs restore --run-id {run.info.run_id}` brings it back."
        )

    # -- the experiment of the index

    def _found(self) -> _Place | None:
        if self._place is None:
            experiment = self._client.get_experiment_by_name(self._title)
            if experiment is None:
                return None
            if experiment.lifecycle_stage != _ACTIVE:
                raise BackendError(
                    f"the MLflow experiment {self._title!r}, by which artifacts are found, was deleted: "
                    f"`mlflow experiments restore -x {experiment.experiment_id}` brings it back."
                )
            check_tags(experiment.tags, f"the index {self._title!r} in MLflow")
            if ROOT not in experiment.tags:
                raise BackendError(
                    f"the MLflow experiment {self._title!r} is not Tracelet's, and the index of {self._experiment!r} needs that "
                    "name: use another experiment's name."
                )
            tags = experiment.tags
            self._place = _Place(experiment.experiment_id, tags[ROOT], _UNLISTED in tags, _NOTED in tags)
        return self._place

    def _made(self) -> _Place:
        """Make the experiment under a temporary name, and rename it when it is whole: MLflow lets only one have the name."""
        found = self._found()
        if found is not None:
            return self._unlisted(found)
        note = f"Where Tracelet finds the artifacts of the experiment {self._experiment!r}. {_LEAVE}"
        candidate = self._client.create_experiment(
            f"{self._title}.{uuid.uuid4().hex[:12]}",
            tags={_NOTE: note, _UNLISTED: "true", _NOTED: "true", SCHEMA_TAG: str(SCHEMA)},
        )
        root = self._client.create_run(candidate, tags={"mlflow.runName": "root", _NOTE: note}).info.run_id
        self._client.set_terminated(root)
        self._client.set_experiment_tag(candidate, ROOT, root)
        try:
            self._client.rename_experiment(candidate, self._title)
        except MlflowException:
            found = self._found()
            # The answer may be lost, and the experiment renamed. Where nobody has the name, it may still be.
            if found is None:
                raise
            if self._client.get_experiment(candidate).name != self._title:
                self._client.delete_experiment(candidate)
            return found
        self._place = _Place(candidate, root, is_unlisted=True, is_noted=True)
        return self._place

    def _unlisted(self, place: _Place) -> _Place:
        """Hide an index that an earlier release made from MLflow's pages."""
        if not place.is_unlisted:
            self._client.set_terminated(place.root)
            self._client.set_experiment_tag(place.experiment_id, _UNLISTED, "true")
            place = self._place = attrs.evolve(place, is_unlisted=True)
        return place
