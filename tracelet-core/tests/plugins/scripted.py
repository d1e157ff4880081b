"""A backend that works, and misbehaves as a file tells it to, from one request to the next.

``TRACELET_SCRIPTED_PLACE`` is its folder; the file ``script`` there is JSON, from the name of a method to a misdeed.
Each call is noted in the file ``calls``.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs

from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendUnavailable,
    IntegrityError,
    UnsafePath,
)
from tracelet.plugin import BackendSpec, BlobBackend, Capability, hookimpl
from tracelet.settings import own_variable


@attrs.frozen
class Settings:
    place: str = ""


class ScriptedBackend(BlobBackend):
    def __init__(self, place: Path, experiment: str) -> None:
        super().__init__(place.as_uri(), experiment)
        self._place = place

    def _do(self, method: str, metadata=None) -> None:
        with (self._place / "calls").open("a") as calls:
            calls.write(f"{method} {os.getpid()}\n")
        script = self._place / "script"
        misdeed = json.loads(script.read_text()).get(method, "") if script.exists() else ""
        word, _, detail = misdeed.partition(" ")
        match word:
            case "hang":
                time.sleep(1000)
            case "sleep":
                time.sleep(float(detail))
            case "held":
                # Until the test lets go, by the script that it writes.
                while script.read_text().count("held"):
                    time.sleep(0.01)
            case "shut":
                # Whatever the script says by then.
                while not (self._place / "open").exists():
                    time.sleep(0.01)
            case "crash":
                print("its last words", file=sys.stderr, flush=True)
                os._exit(3)
            case "babble":
                os.write(int(detail), b"\x00rubbish {]\n")
            case "deaf":
                os.close(int(detail))
                time.sleep(1000)
            case "busy":
                for number in range(int(detail)):
                    (self._place / "busy").write_bytes(bytes([number]) * (1 << 21))
                    time.sleep(0.1)
            case "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                time.sleep(1000)
            case "brood":
                for new_session in (False, True):
                    subprocess.Popen(["sleep", "987"], start_new_session=new_session)
                time.sleep(float(detail or 0))
            case "terminate":
                with subprocess.Popen(["sleep", "1000"]) as started:
                    started.terminate()
                forked = os.fork()
                if not forked:
                    time.sleep(1000)
                os.kill(forked, signal.SIGTERM)
                os.waitpid(forked, 0)
            case "picky" if (metadata or {}).get("rejected"):
                raise BackendUnavailable("scripted answers 500")
            case "stuck" if (metadata or {}).get("stuck"):
                raise ZeroDivisionError("scripted cannot do it to this one")
            case "gone":
                raise ArtifactNotFound("scripted has no such version")
            case "away":
                raise BackendUnavailable("scripted is out")
            case "throttled":
                raise BackendUnavailable(f"scripted asks to wait {detail} s.", retry_after=float(detail))
            case "bare":
                raise AssertionError
            case "locked":
                raise BackendAuthError("scripted does not know you")
            case "never":
                raise ArtifactError("scripted never takes that")
            case "garbled":
                raise IntegrityError("scripted's record is no JSON")
            case "astray":
                raise UnsafePath("scripted's record names '../x'")
            case "broken":
                raise ZeroDivisionError("scripted divides")
            case "quit":
                raise SystemExit(5)
            case "warn":
                for number in range(int(detail)):
                    logging.getLogger("tracelet.scripted").warning("scripted minds %s", number)
                logging.getLogger("tracelet.scripted").info("scripted is well")
                logging.getLogger("another").warning("nobody asked")
            case "print":
                print("chatter on stdout", flush=True)

    def start(self, run):
        self._do("start")
        self._do(f"start_{run.id}")

    def put(self, sealed, labels):
        self._do("put", sealed.manifest.metadata)
        stored = super().put(sealed, labels)
        self._do("after_put")
        return stored

    def find(self, name, ref):
        self._do("find")
        if ref.startswith("put:"):
            self._do("find_put")
        return super().find(name, ref)

    def list(self, *, name, type):
        self._do("list")
        return super().list(name=name, type=type)

    def fetch(self, stored, paths, dest):
        self._do("fetch")
        return super().fetch(stored, paths, dest)

    def record_input(self, stored):
        self._do("record_input")

    def relabel(self, stored, labels):
        self._do("relabel")
        return super().relabel(stored, labels)

    def remove_aliases(self, stored, aliases):
        self._do("remove_aliases")
        return super().remove_aliases(stored, aliases)

    def used_by(self, digest):
        self._do("used_by")
        return super().used_by(digest)

    def delete(self, stored):
        self._do("delete", stored.manifest.metadata)
        super().delete(stored)

    def delete_many(self, stored):
        self._do("delete_many")
        return map(self.delete, stored)

    def stop(self, *, failed):
        self._do(f"stop_failed_{failed}")
        self._do("stop")

    def create_exclusive(self, key, data):
        target = self._path(key)
        try:
            with target.open("xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        return True

    def write(self, key, data):
        target = self._path(key)
        partial = target.with_name(f".{os.getpid()}.{time.monotonic_ns()}")
        partial.write_bytes(data.read())
        partial.replace(target)

    def read(self, key):
        return (self._place / "blobs" / key).open("rb")

    def keys(self, prefix):
        root = self._place / "blobs"
        found = (path for path in (root / prefix).rglob("*") if path.is_file() and not path.name.startswith("."))
        return [path.relative_to(root).as_posix() for path in found]

    def remove(self, key):
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        target = self._place / "blobs" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


class Dumb(ScriptedBackend):
    """It can name a version when it stores it, and not afterwards."""

    relabel = None
    delete = delete_many = None


class Forms(ScriptedBackend):
    """Keeps its tracker's own form of models, as `_render` makes it."""

    def put(self, sealed, labels):
        if sealed.rendered is not None:
            for form in sealed.rendered.glob("*/form.txt"):
                (self._place / f"{sealed.manifest.put_id}.{form.parent.name}.form").write_text(form.read_text())
        return super().put(sealed, labels)

    def fetch_rendered(self, stored, dest):
        self._do("fetch_rendered")
        models = [model.name for model in stored.manifest.models]
        for name in models:
            kept = self._place / f"{stored.manifest.put_id}.{name}.form"
            if not kept.exists():
                return False
            (dest / name).mkdir()
            (dest / name / "form.txt").write_text(f"given {kept.read_text()}")
        return True


def _told():
    """What the user's own SDK says: where it is."""
    return {"place": own_variable("TOLD_PLACE")}


def _open_told(experiment, settings, context):
    place = Path(context.sdk["place"])
    place.mkdir(parents=True, exist_ok=True)
    return ScriptedBackend(place, experiment)


def _open(kind, experiment, settings):
    place = Path(settings.place)
    place.mkdir(parents=True, exist_ok=True)
    backend = kind(place, experiment)
    backend._do("open")
    return backend


def _render(model, info, dest):
    if info.metadata.get("render") == "fails":
        raise RuntimeError("no form for it")
    (dest / "form.txt").write_text(f"{type(model).__name__} {info.framework} {info.artifact}")


@hookimpl
def tracelet_backends():
    everything = frozenset({Capability.ALIASES, Capability.DELETE, Capability.INPUTS})

    def spec(name, kind=ScriptedBackend, **more):
        return BackendSpec(name=name, open=lambda e, s, c: _open(kind, e, s), settings=Settings, **more)

    return [
        spec("scripted", resumes_runs=True, capabilities=everything, environ={"SCRIPTED_SDK_QUIET": "1"}),
        spec("scripted-inline", in_process=True, capabilities=everything),
        spec("scripted-render", Forms, render=_render, context=lambda: {"uri": "https://me:secret@host/x"}),
        spec("scripted-dumb", Dumb),
        BackendSpec(name="scripted-told", open=_open_told, settings=Settings, context=_told),
    ]
