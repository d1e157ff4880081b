"""A second backend beside `local`, a folder, which fails where it is told to; and a detector that a program speaks for.

The backend `archive` keeps its blobs in the folder `archive` beside the tracelet directory. It does what a word in the file
`mood` there says; where there is no such file, it works.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import attrs

from tracelet.exceptions import ArtifactError, BackendUnavailable
from tracelet.plugin import BackendSpec, Capability, DetectorSpec, FolderBackend, hookimpl
from tracelet.settings import NoSettings

#: What detections are to be given to, while a capture is on.
emit = None


class Archive(FolderBackend):
    def __init__(self, directory: Path, experiment: str) -> None:
        self._local = directory / "local"
        self._beside = directory.parent / "archive"
        super().__init__("archive://here", self._beside, experiment)

    def _do(self) -> None:
        mood = self._beside.with_name("mood")
        match mood.read_text() if mood.exists() else "":
            case "away":
                raise BackendUnavailable("the archive is away.")
            case "refuses":
                raise ArtifactError("the archive takes no such thing.")
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "dies last":
                while not list(self._local.glob("torn/versions/*/v1.json")):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)

    def put(self, sealed, labels):
        self._do()
        if sealed.rendered is not None:
            text = (sealed.rendered / "model" / "rendered.txt").read_bytes()
            self._notes.write(f"rendered/{sealed.manifest.name}", text.decode())
        return super().put(sealed, labels)

    def record_input(self, stored):
        self._do()
        self._notes.write(f"uses/{stored.manifest.name}", stored.manifest.digest)


def render(model, info, dest):
    dest.mkdir(parents=True, exist_ok=True)
    (dest / "rendered.txt").write_text(json.dumps([type(model).__name__, info.name, sorted(info.files)]))


@attrs.frozen
class Spokesman:
    """What a program says, this detector has seen."""

    def start(self, emit):
        globals()["emit"] = emit

    def stop(self):
        globals()["emit"] = None


@hookimpl
def tracelet_backends():
    return [
        BackendSpec(
            name="archive",
            open=lambda experiment, settings, context: Archive(context.directory, experiment),
            settings=NoSettings,
            render=render,
            in_process=True,
            capabilities=frozenset({Capability.ALIASES, Capability.DELETE, Capability.COLLECT, Capability.INPUTS}),
        )
    ]


@hookimpl
def tracelet_detectors():
    return [DetectorSpec(name="spokesman", create=lambda settings, context: Spokesman())]
