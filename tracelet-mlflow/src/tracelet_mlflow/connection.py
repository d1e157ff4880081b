"""Find MLflow, and open it without damage to what is there."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
import requests
from alembic.script import ScriptDirectory
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import (
    get_artifact_repository,
    get_registered_artifact_repositories,
)

from tracelet.exceptions import BackendUnavailable, ConfigError
from tracelet.plugin import redact
from tracelet_mlflow.errors import translated
from tracelet_mlflow.files import Repository
from tracelet_mlflow.foreign_files import ForeignFiles
from tracelet_mlflow.readback import ReadBack, is_served

__all__ = ["Connection", "tracking_uri"]

_SQLITE = "sqlite:///"
#: Seconds for a server to accept a connection, and to say that it is well.
_PREFLIGHT = (5.0, 15.0)
#: Seconds in which another process finishes a new database. One that was not written to for as long is left to MLflow.
_MAKING = 60.0


def tracking_uri(*choices: object) -> str:
    """Return the first address that is given, or the one that MLflow chooses by itself; paths made absolute."""
    uri = next((str(choice) for choice in choices if choice), "") or mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{os.path.abspath(uri.removeprefix(_SQLITE))}"
    if urlsplit(uri).scheme in {"", "file"} and "://" not in uri:
        uri = Path(os.path.abspath(uri.removeprefix("file:"))).as_uri()
    if uri.startswith("file:"):
        raise ConfigError(
            f"MLflow no longer keeps runs in folders such as {uri}: set MLFLOW_TRACKING_URI to a server or to "
            "sqlite:///mlflow.db; `mlflow migrate-filestore` moves what is there."
        )
    return uri


class Connection:
    """One MLflow, opened when it is first needed."""

    def __init__(self, uri: str, read_back: int) -> None:
        """Raise :class:`~tracelet.BackendUnavailable` where no server answers, or no database can be made.

        Files of up to ``read_back`` bytes that go through a server are read back.
        """
        self.uri = uri
        self._read_back = read_back
        #: The address for people: without credentials.
        self.shown = redact(uri)
        self._repositories: dict[str, Repository] = {}
        self._file = Path(unquote(uri.removeprefix(_SQLITE))) if uri.startswith(_SQLITE) else None
        if self._file is not None:
            self._check_folder(self._file)
        elif self.is_served:
            self._check_server()

    @property
    def is_served(self) -> bool:
        """Whether it is a server."""
        return is_served(self.uri)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever stored here. Reading does not make a database."""
        return self._file is not None and not self._file.exists()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own client for this address. It neither uses nor sets global state of MLflow's."""
        with translated(self.shown):
            if self._file is not None:
                _make_database(self._file)
            return MlflowClient(tracking_uri=self.uri)

    @property
    def artifact_location(self) -> str | None:
        """Where a new experiment keeps its files: beside the database, whatever folder the program runs in.

        None where MLflow chooses that itself, or a server chooses.
        """
        if self._file is None or self._file.parent == Path.cwd():
            return None
        return (self._file.parent / "mlruns" / uuid.uuid4().hex).as_uri()

    def repository(self, artifact_uri: str) -> Repository:
        """Return what stores and fetches the files of a run; one for each address."""
        if artifact_uri not in self._repositories:
            self._repositories[artifact_uri] = self.model_repository(artifact_uri)
        return self._repositories[artifact_uri]

    def model_repository(self, artifact_uri: str) -> Repository:
        """Return what stores and fetches the files of a model. It is not cached, because each model has an address of its own."""
        found = get_artifact_repository(artifact_uri, tracking_uri=self.uri)
        return ReadBack(found, self._read_back) if is_served(found.artifact_uri) else found

    def can_read(self, artifact_uri: str) -> bool:
        """Whether MLflow knows how to get files from such an address."""
        return urlsplit(artifact_uri).scheme in get_registered_artifact_repositories()

    def foreign_files(self, artifact_uri: str) -> ForeignFiles:
        """Return the files below an address, for reading alone."""
        return ForeignFiles(get_artifact_repository(artifact_uri, tracking_uri=self.uri))

    def _check_folder(self, file: Path) -> None:
        there = next(folder for folder in file.parents if folder.exists() or folder == folder.parent)
        if not there.is_dir():
            raise BackendUnavailable(f"MLflow's database cannot be at {file}: {there} is not a folder.")

    def _check_server(self) -> None:
        try:
            with requests.get(f"{self.uri.rstrip('/')}/health", timeout=_PREFLIGHT, stream=True) as answer:
                status = answer.status_code
        except requests.exceptions.SSLError:
            return  # MLflow has settings of its own for certificates
        except requests.RequestException as error:
            raise BackendUnavailable(
                f"MLflow at {self.shown} does not answer ({type(error).__name__}): start the server, or correct "
                "MLFLOW_TRACKING_URI."
            ) from error
        if status >= 500:
            raise BackendUnavailable(f"MLflow at {self.shown} is not well: HTTP status {status}.")


def _make_database(file: Path) -> None:
    """Make the database if there is none, and wait until it is whole.

    MLflow makes a new database step by step, and two processes that do so at once damage it for ever. So it is made under
    another name, and renamed when it is whole. Where the user's own process is making it, this one waits.
    """
    digest = hashlib.sha256(f"{getpass.getuser()} {file}".encode()).hexdigest()[:32]
    with FileLock(Path(tempfile.gettempdir()) / f"tracelet-mlflow-{digest}.lock"):
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _make_aside(file)
        until = time.monotonic() + _MAKING
        while not _is_whole(file) and time.time() - file.stat().st_mtime < _MAKING and time.monotonic() < until:
            time.sleep(0.2)


def _make_aside(file: Path) -> None:
    aside = file.with_name(f".{uuid.uuid4().hex}.tmp")
    whole = aside.with_suffix(".whole")
    try:
        MlflowClient(tracking_uri=f"{_SQLITE}{aside}").search_experiments(max_results=1)
        # MLflow keeps the file that it made open, so a copy of it gets the name.
        shutil.copyfile(aside, whole)
        with contextlib.suppress(FileExistsError):
            os.link(whole, file)
    finally:
        for path in (aside, whole, *file.parent.glob(f"{aside.name}-*")):
            path.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return False
    return found == [(scripts.get_current_head(),)]
