"""Looking after a tracelet directory and the backends: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import contextlib
import enum
import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs

from tracelet.core.capture.journal import leftovers
from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.inventory import damaged_in
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.puts import interrupted_puts
from tracelet.core.delivery.uses import Uses
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.calling import call_plugin, sdk_state
from tracelet.core.plugins.registry import Registry
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.storage.large_files import configured_store
from tracelet.core.system.filesystems import check_filesystem
from tracelet.core.system.links import check_directory
from tracelet.core.system.messages import many
from tracelet.core.system.processes import OWNER, TOKEN
from tracelet.core.system.threads import all_at_once, beside
from tracelet.exceptions import (
    BackendAuthError,
    BackendUnavailable,
    ConfigError,
    IntegrityError,
    NewerFormat,
    PluginError,
    TraceletError,
)
from tracelet.settings import TraceletSettings, load_plugin, unknown_variables

__all__ = ["Check", "Verdict", "check_up"]

_MB = 1_000_000
#: A lane is about one experiment, and this question about none: nothing is called so, and nothing is made.
_NOBODY = "tracelet-doctor"


class Verdict(enum.Enum):
    """What a check found."""

    OK = "ok"
    #: In order, and good to know.
    NOTE = "note"
    WRONG = "wrong"


@attrs.frozen
class Check:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    detail: str
    #: What to do about it.
    advice: str = ""


def check_up(directory: Path, settings: TraceletSettings, plugins: Registry) -> list[Check]:
    """Look at the directory, the store, the outbox, the variables, the routing policy and the backends.

    The backends are those that are configured, and those that deliveries wait for.
    The tracelet directory is made where it is not there. Backends are asked all at once, each within
    ``open_timeout`` and twice the ``deadline``, the store within the ``deadline``.
    """
    try:
        check_directory(directory)
    except ConfigError as error:
        return [Check("directory", Verdict.WRONG, str(error), "Then run `tracelet doctor` again.")]
    checks = [
        _directory(directory, settings),
        _store(directory, settings, plugins),
        *_outbox(directory),
        *_addresses(directory, plugins),
        *_uses(directory),
        *_variables(plugins),
        _routing(settings, plugins),
        *_plugins(plugins),
    ]
    lanes: list[Lane] = []
    try:
        asked, _ = all_at_once(
            {name: partial(_backend, name, directory, settings, plugins, lanes) for name in _asked(directory, settings)}
        )
    except BaseException:
        for lane in lanes:
            lane.kill()
        raise
    return [*checks, *asked.values()]


def _directory(directory: Path, settings: TraceletSettings) -> Check:
    try:
        LocalStore(directory).probe()
        check_filesystem(directory)
        free = shutil.disk_usage(directory).free / _MB
    except OSError as error:
        advice = "Set TRACELET_DIR to a folder on a local disk that can be written."
        return Check("directory", Verdict.WRONG, f"{directory} cannot be written: {error}", advice)
    except ConfigError as error:
        return Check("directory", Verdict.WRONG, str(error), "Then run `tracelet doctor` again.")
    detail = f"{directory} has {free:,.0f} MB free"
    if free < settings.large_file_mb:
        advice = f"Free space for at least one file of {settings.large_file_mb:g} MB; `tracelet gc` removes garbage."
        return Check("directory", Verdict.WRONG, detail, advice)
    return Check("directory", Verdict.OK, detail)


def _store(directory: Path, settings: TraceletSettings, plugins: Registry) -> Check:
    try:
        store, limit = configured_store(settings.backend, settings, directory, plugins)
        beside(partial(call_plugin, "store", store.probe)).result(settings.deadline)
    except TimeoutError:
        detail = f"{settings.store} did not answer within {settings.deadline:g} s"
        return Check("store", Verdict.WRONG, detail, "Start it, or correct TRACELET_STORE.")
    except TraceletError as error:
        # Where none is set, a backend brings its own.
        what = "TRACELET_STORE" if settings.store else "what is named here"
        return Check("store", Verdict.WRONG, str(error), f"Correct {what}, or the credentials that it needs.")
    where = store.uri("0" * 64).rpartition("/objects/")[0]
    if store.portable or limit is None:
        return Check("store", Verdict.OK, where)
    return Check(
        "store",
        Verdict.NOTE,
        f"{where} is on this machine: other machines get references to files over {settings.large_file_mb:g} MB, and "
        "not their bytes",
        "Set TRACELET_STORE to a place that others can read, or TRACELET_ON_LARGE=upload.",
    )


def _outbox(directory: Path) -> Iterator[Check]:
    outbox = Outbox(directory)
    waiting = list(outbox.everything())
    drafts = outbox.drafts.files()
    count = len(waiting) + len(drafts)
    if count:
        places = ", ".join(sorted({parcel.backend for parcel in waiting})) or "be hashed first"
        size = sum(parcel.manifest.size_bytes for parcel in waiting) / _MB
        detail = f"{many(count, 'delivery waits', 'deliveries wait')}, to {places} ({size:,.1f} MB)"
        yield Check("outbox", Verdict.NOTE, detail, f"Send {'it' if count == 1 else 'them'} with `tracelet sync`.")
    else:
        yield Check("outbox", Verdict.OK, "nothing waits")
    captured = sum(len(left.waiting) for left in leftovers(directory))
    if captured:
        detail = many(captured, "capture of a dead process is", "captures of dead processes are")
        advice = "The next run takes up what is left; or send it with `tracelet sync`."
        yield Check("captures", Verdict.NOTE, f"{detail} not in the outbox yet", advice)
    interrupted = sum(1 for _ in interrupted_puts(directory))
    if interrupted:
        puts = many(interrupted, "artifact was", "artifacts were")
        detail = f"{puts} on the way to several backends when the process was killed, and may be in some of them only"
        yield Check("interrupted", Verdict.NOTE, detail, "`tracelet sync` completes that.")
    for one in damaged_in(outbox):
        subject, why = ("newer", "was written by a later Tracelet") if one.newer else ("damaged", "is damaged")
        detail = f"a delivery of {one.name!r} of {one.experiment!r} {why}, and is not made"
        yield Check(subject, Verdict.WRONG, detail, one.advice)
    for parcel in outbox.refused():
        yield Check(
            "refused",
            Verdict.WRONG,
            f"{parcel.backend} refused {parcel.manifest.name!r} of {parcel.run.experiment!r}: {parcel.error}",
            f"Log it anew in a way that it takes, then delete {outbox.refusal(parcel)}.",
        )


def _addresses(directory: Path, plugins: Registry) -> Iterator[Check]:
    """What waits for an address that is none of the user's."""
    places = {(one.backend, json.dumps(one.sdk, sort_keys=True)): one for one in Outbox(directory).everything()}
    for parcel in places.values():
        try:
            spec = plugins.backends.get(parcel.backend)
            Addresses(sdk_state(spec), load_plugin(spec.settings, spec.name)).check(parcel.sdk)
        except BackendUnavailable as error:
            detail = (
                f"deliveries such as {parcel.manifest.name!r} of {parcel.run.experiment!r} to {parcel.backend} wait"
            )
            yield Check("addresses", Verdict.NOTE, detail, str(error))
        except TraceletError:
            continue  # what is wrong with the backend is said elsewhere


def _uses(directory: Path) -> Iterator[Check]:
    uses = Uses(directory).everything()
    if uses:
        places = ", ".join(sorted({use.backend for use in uses}))
        detail = f"what runs used is still to be noted by {places} ({len(uses)} in number)"
        yield Check("lineage", Verdict.NOTE, detail, "The next run does that; or `tracelet sync`.")


def _asked(directory: Path, settings: TraceletSettings) -> list[str]:
    outbox = Outbox(directory)
    waited_for = {parcel.backend for parcel in outbox.everything()}
    for path in outbox.drafts.files():
        with contextlib.suppress(IntegrityError, NewerFormat):
            found = outbox.drafts.load(path)
            waited_for |= set(found.targets if found is not None else ())
    return list(dict.fromkeys([*settings.backend, *sorted(waited_for)]))


def _variables(plugins: Registry) -> Iterator[Check]:
    specs = [*plugins.backends, *plugins.detectors]
    for name, near in unknown_variables((spec.name, spec.settings) for spec in specs).items():
        if name not in {TOKEN, OWNER}:
            advice = f"Did you mean {near}?" if near else "Unset it, or install what reads it."
            yield Check("variables", Verdict.NOTE, f"{name} is set, and nothing that is installed reads it", advice)


def _routing(settings: TraceletSettings, plugins: Registry) -> Check:
    try:
        plugins.routing.get(settings.routing)
    except TraceletError as error:
        return Check("routing", Verdict.WRONG, str(error), "Correct TRACELET_ROUTING.")
    return Check("routing", Verdict.OK, settings.routing)


def _plugins(plugins: Registry) -> Iterator[Check]:
    """What is broken and nobody named costs nothing, and is good to know."""
    for record in plugins.records:
        for error in [*([record.error] if record.error is not None else []), *record.refused.values()]:
            yield Check("plugins", Verdict.NOTE, str(error), "See `tracelet plugins`.")


def _backend(name: str, directory: Path, settings: TraceletSettings, plugins: Registry, lanes: list[Lane]) -> Check:
    began = time.monotonic()
    try:
        spec = plugins.backends.get(name)
        context = BackendContext(directory, sdk_state(spec))
        lane = open_lane(spec, _NOBODY, load_plugin(spec.settings, name), context)
        lanes.append(lane)
        try:
            lane.open(settings.open_timeout)
            lane.request("find", settings.deadline, name=_NOBODY, ref="latest")
        finally:
            lane.close(settings.deadline, failed=False)
    except (TraceletError, OSError) as error:
        return Check(f"backend {name}", Verdict.WRONG, str(error), _advice(error))
    return Check(f"backend {name}", Verdict.OK, f"answered within {time.monotonic() - began:.1f} s")


def _advice(error: Exception) -> str:
    if isinstance(error, BackendAuthError):
        return "Correct the credentials in the tracker's own variables."
    if isinstance(error, BackendUnavailable):
        return "Start it, or correct its address; what is logged meanwhile waits in the outbox."
    if isinstance(error, ConfigError):
        return "Correct the variables that are named here."
    if isinstance(error, PluginError):
        return "Install or repair the distribution that provides it, or correct TRACELET_BACKEND."
    return "Repair what is named here; what is logged meanwhile waits in the outbox."
