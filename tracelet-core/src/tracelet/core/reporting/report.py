"""The report: find what an experiment has stored, and write the page of it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from tracelet.core.artifacts.checks import check_name, check_place
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.experiment.experiment import Experiment
from tracelet.core.reading.finder import Finder
from tracelet.core.reporting.contents import contents
from tracelet.core.reporting.homes import by_content
from tracelet.core.reporting.page import page
from tracelet.core.reporting.preview_files import Bounds, preview_files
from tracelet.core.system.files import atomic_write
from tracelet.exceptions import ArtifactError, ConfigError, TraceletError

__all__ = ["MOST_VERSIONS", "Report", "report", "write_report"]

#: The versions that a page has, where nothing else is said.
MOST_VERSIONS = 2_000


@attrs.frozen
class Report:
    """What became of a page: where it is, what is in it, and what is not.

    Example:
        >>> from tracelet import ArtifactType, Experiment, report
        >>> with Experiment("digits", artifacts=True) as exp:
        ...     exp.log_artifact(exp.create_artifact("page", ArtifactType.REPORT).add_file("report.html"))
        <LogResults local: v0>
        >>> made = report("digits", "digits.html")
        >>> made.ok, made.path.name, made.versions
        (True, 'digits.html', 1)
    """

    #: The file.
    path: Path
    size_bytes: int
    #: How many versions the page has; one that several backends hold counts once.
    versions: int
    #: How many files it shows something of.
    previews: int
    #: What the bounds left out, in words; the page says the same.
    notes: tuple[str, ...]
    #: Files that cannot be read, by the version's digest and the path in it, and why.
    unreadable: dict[tuple[str, str], str]
    #: What is wrong with backends that did not answer. The page has what the others hold.
    failure: TraceletError | None

    @property
    def ok(self) -> bool:
        """Whether every backend answered, and every file that was looked at can be read."""
        return self.failure is None and not self.unreadable

    def raise_for_errors(self) -> None:
        """Raise the error of the backends that did not answer, if there is one.

        Raises:
            TraceletError: A backend did not answer.

        Example:
            >>> made.raise_for_errors()
        """
        if self.failure is not None:
            raise self.failure


def report(
    experiment: Experiment | str,
    output: str | os.PathLike[str],
    *,
    backend: str | list[str] | None = None,
    name: str | None = None,
    limit: int = MOST_VERSIONS,
) -> Report:
    """Write one HTML page that shows what an experiment has stored.

    The page needs no network and connects to nothing. It has previews of files, which are fetched and verified for it.
    Nothing of an artifact runs in it. An existing file is replaced, whole or not at all; only you can read it, until you
    change its mode. Where the path is a link, the file that it leads to is replaced.

    Args:
        experiment: The experiment, or its name. No run is needed, and none is made.
        output: The path of the page.
        backend: The backend or backends to ask; by default those of the experiment.
        name: Only versions of this name; by default all.
        limit: How many versions the page has at most: the newest.

    Returns:
        What is in the page, and what is not. Where a backend fails, the page has what the others hold.

    Raises:
        ConfigError: An argument cannot be used.
        ArtifactError: The page cannot be written there.

    Example:
        >>> from tracelet import ArtifactType, Experiment, report
        >>> with Experiment("digits", artifacts=True) as exp:
        ...     exp.log_artifact(exp.create_artifact("page", ArtifactType.REPORT).add_file("report.html"))
        <LogResults local: v0>
        >>> report("digits", "digits.html").versions
        1
    """
    settings = experiment.settings if isinstance(experiment, Experiment) else None
    own = Experiment(
        experiment.name if isinstance(experiment, Experiment) else experiment,
        backend,
        artifacts=True,
        settings=settings,
    )
    finder = own._artifact_manager.finder
    try:
        return write_report(finder, own.name, output, name=name, limit=limit)
    except KeyboardInterrupt:
        finder.kill()
        raise
    finally:
        finder.close(time.monotonic() + own.settings.stop_timeout)


def write_report(
    finder: Finder,
    experiment: str,
    output: str | os.PathLike[str],
    *,
    name: str | None = None,
    limit: int = MOST_VERSIONS,
) -> Report:
    """Do what :func:`report` does, with what finds the versions of the experiment."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"limit={limit!r}: give how many versions the page has at most, 1 or more.")
    path = Path(check_place(output))
    # A link stays one: what it leads to is replaced.
    target = Path(os.path.realpath(path))
    _check_target(path, target)
    if name is not None:
        check_name(name)
    failure: TraceletError | None = None
    artifacts: Sequence[LoggedArtifact]
    try:
        artifacts = finder.find_all(None, None, name)
    except TraceletError as error:
        failure, artifacts = error, error.answers
    found = by_content(artifacts)
    versions = found[:limit]
    previews = preview_files(versions, Bounds())
    said = [] if failure is None else [_for_readers(failure), *getattr(failure, "__notes__", ())]
    said += [f"No more content came from {backend}. {why}" for backend, why in previews.silent.items()]
    data = contents(experiment, versions, previews, found=len(found), failures=said, made_at=time.time())
    text = page(data).encode()
    try:
        atomic_write(target, text)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Report(path, len(text), len(versions), len(previews.shown), tuple(data["notes"]), previews.troubles, failure)


def _check_target(path: Path, target: Path) -> None:
    """Refuse what a page cannot replace, before anything is fetched for it."""
    try:
        mode = target.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return  # whether it can be made is seen when it is
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{str(path)!r} is a folder: give the path of a file, such as {str(path / 'report.html')!r}.")
    if stat.S_ISLNK(mode):
        raise ConfigError(f"{str(path)!r} is a link that leads in a circle: delete it, or give the path of a file.")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{str(path)!r} is a device or a pipe, which a page would replace: give the path of a file.")


def _unwritable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{str(path)!r} cannot be written: {error}. Give another path, or free space.")


def _for_readers(failure: TraceletError) -> str:
    """Return what an error says, without the advice for who writes Python."""
    return str(failure).partition(" What was found all the same")[0]
