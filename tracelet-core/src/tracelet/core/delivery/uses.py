"""Uses of versions by runs that backends have not noted in their own lineage yet: a small file for each use and backend."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.plugins.version_refs import parse_ref
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.files import atomic_write
from tracelet.core.system.links import read_own
from tracelet.core.system.schemas import SCHEMA, check_schema
from tracelet.exceptions import NewerFormat, TraceletError

__all__ = ["Use", "Uses"]

_LOG = logging.getLogger("tracelet.outbox")
_LONGEST = 10_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Use:
    """The use of a version by a run, for a backend that may hold that version."""

    backend: str
    run: RunInfo
    name: str
    #: How the backend finds the version.
    ref: str
    digest: str

    @property
    def key(self) -> str:
        """The name of its file: equal uses have the same."""
        return hashlib.sha256(f"{self.run.id} {self.name} {self.ref} {self.digest}".encode()).hexdigest()


class Uses:
    """The uses of a tracelet directory that are not noted: ``uses/<experiment>/<backend>/<key>.json``."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "uses"

    def add(self, use: Use) -> None:
        """Keep a use until it is noted. Raises ``OSError``."""
        plain = {
            "schema": SCHEMA,
            "experiment": use.run.experiment,
            "run": {"id": use.run.id, "started_at": use.run.started_at},
            "name": use.name,
            "ref": use.ref,
            "digest": use.digest,
        }
        file = self._file(use)
        atomic_write(file, json.dumps(plain).encode())

    def noted(self, use: Use) -> None:
        """Delete a use that is noted, or never will be."""
        self._file(use).unlink(missing_ok=True)

    def waiting(self, experiment: str, backend: str) -> list[Use]:
        """Return the uses of an experiment that a backend has not noted."""
        return list(self._read(self._root.glob(f"{physical_name(experiment)}/{backend}/*.json")))

    def everything(self) -> list[Use]:
        """Return the uses of all experiments that are not noted."""
        return list(self._read(self._root.glob("*/*/*.json")))

    def _file(self, use: Use) -> Path:
        return self._root / physical_name(use.run.experiment) / use.backend / f"{use.key}.json"

    def _read(self, files: Iterator[Path]) -> Iterator[Use]:
        """Yield the uses in these files. A file that is no use, or is in the wrong place, is left out: it may be planted.

        So is one of a later release, with a warning.
        """
        for file in sorted(files):
            try:
                use = _use(json.loads(read_own(file)[:_LONGEST]), file.parent.name)
                own = self._file(use) == file
            except NewerFormat as error:
                _LOG.warning("%s: %s", file, error)
                continue
            except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError, TraceletError):
                continue
            if own:
                yield use


def _use(plain: Any, backend: str) -> Use:
    check_schema(plain, SCHEMA, "this use")
    run = RunInfo(check_name(plain["run"]["id"], "run"), plain["experiment"], float(plain["run"]["started_at"]))
    parse_ref(plain["ref"])
    if not _DIGEST.fullmatch(plain["digest"]) or not math.isfinite(run.started_at):
        raise ValueError(plain)
    return Use(check_name(backend, "backend"), run, check_name(plain["name"]), plain["ref"], plain["digest"])
