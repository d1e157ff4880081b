"""A backend of a third party whose tracker holds what was logged without Tracelet: a folder with an index of its own.

``TRACELET_ATTIC_PLACE`` is its folder. ``index.json`` there is a list of versions, as `ForeignArtifact` has them; the files of
each are in the folder that its locator names.
"""

import json
import shutil
import time
from pathlib import Path

import attrs

from tracelet.exceptions import ArtifactNotFound, BackendUnavailable, IntegrityError
from tracelet.plugin import (
    ArtifactReference,
    ArtifactType,
    BackendSpec,
    Capability,
    FolderBackend,
    ForeignArtifact,
    ForeignFile,
    ForeignRun,
    hookimpl,
)


@attrs.frozen
class Settings:
    place: str = ""


class AtticBackend(FolderBackend):
    def __init__(self, place: Path, experiment: str) -> None:
        super().__init__(place.as_uri(), place / "stored", experiment)
        self._place = place

    def discover(self, place):
        for one in json.loads((self._place / "index.json").read_text()):
            if place != "all":
                raise ArtifactNotFound(f"the attic has no {place!r}: there is 'all'.")
            one["type"] = ArtifactType(one["type"])
            one["files"] = tuple(ForeignFile(*file) for file in one.get("files", ()))
            one["references"] = tuple(ArtifactReference(uri) for uri in one.get("references", ()))
            one |= {key: tuple(one.get(key, ())) for key in ("aliases", "inputs")}
            one["run"] = ForeignRun(**one["run"]) if "run" in one else None
            yield ForeignArtifact(**one)

    def fetch_foreign(self, found, dest):
        match found.metadata.get("misdeed"):
            case "gone":
                raise ArtifactNotFound("the attic has lost it.")
            case "damaged":
                raise IntegrityError("the attic has another checksum of it.")
            case "away":
                raise BackendUnavailable("the attic is closed")
            case "held":
                (self._place / "held").touch()
                time.sleep(1000)
            case "link":
                (dest / "a").symlink_to("/etc/hostname")
                return
        shutil.copytree(self._place / found.locator, dest, dirs_exist_ok=True)


@hookimpl
def tracelet_backends():
    able = frozenset({Capability.DELETE, Capability.ALIASES, Capability.USERS, Capability.COLLECT})
    return [
        BackendSpec(
            name=name,
            open=lambda experiment, settings, context: AtticBackend(Path(settings.place), experiment),
            settings=Settings,
            in_process=name == "attic",
            capabilities=able | {Capability.EXPERIMENTS, Capability.DISCOVERS},
        )
        for name in ("attic", "attic-apart")
    ]
