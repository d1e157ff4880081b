"""`tracelet.import_from` and `tracelet.discover`: what was logged without Tracelet."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracelet.core.artifacts.copied import CopyResults
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.transfer.copying import Told
from tracelet.core.transfer.folders import check_outside
from tracelet.core.transfer.importing import import_versions, in_order
from tracelet.core.transfer.side import directories, open_side
from tracelet.core.transfer.sources import opened_source
from tracelet.exceptions import ConfigError

__all__ = ["discover", "import_from"]


def discover(
    source: str,
    place: str | os.PathLike[str],
    *,
    dir: str | os.PathLike[str] | None = None,
    from_set: Mapping[str, str] | None = None,
) -> list[ForeignArtifact]:
    """Say what was logged without Tracelet at a place of a tracker, in a folder, or in a DVC repository. Nothing is fetched.

    Args:
        source: The name of a backend, ``"dir"`` for a folder, or ``"dvc"`` for a DVC repository.
        place: Where to look, as users of that tracker say it, such as an experiment's name; or a path.
        dir: The tracelet directory; by default ``TRACELET_DIR``, or else ``.tracelet``.
        from_set: Settings for the source alone, by name, as for :func:`tracelet.copy`.

    Returns:
        The versions, the oldest first.

    Raises:
        ArtifactNotFound: There is no such place.
        BackendError: The backend is away, or cannot say it.
        ConfigError: A setting cannot be used.
        UnknownPlugin: The backend is not installed.

    Example:
        >>> import tracelet
        >>> from pathlib import Path
        >>> Path("results").mkdir()
        >>> _ = Path("results/weights.pt").write_bytes(b"weights")
        >>> [(one.name, one.size_bytes) for one in tracelet.discover("dir", "results")]
        [('weights.pt', 7)]
    """
    with opened_source(source, directories(dir, None)[0], from_set or {}) as (opened, _):
        return in_order(opened.discover(os.fspath(place)))


def import_from(
    source: str,
    place: str | os.PathLike[str],
    *,
    to_backend: str,
    experiment: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    to_dir: str | os.PathLike[str] | None = None,
    from_set: Mapping[str, str] | None = None,
    to_set: Mapping[str, str] | None = None,
    dry_run: bool = False,
    told: Told = lambda done, count: None,
) -> CopyResults:
    """Store what was logged without Tracelet as versions of artifacts. What was imported before is skipped.

    A version's metadata says where it comes from (``imported_from``) and what its tracker knows of the run that made it
    (``run``: id, name, parameters, metrics).

    Args:
        source: The name of a backend, ``"dir"`` for a folder, or ``"dvc"`` for a DVC repository.
        place: Where it is, as users of that tracker say it, such as an experiment's name; or a path.
        to_backend: The backend that is to have it.
        experiment: The experiment that it is imported into; by default the one that the tracker has it in.
        dir: The tracelet directory of the source; by default ``TRACELET_DIR``, or else ``.tracelet``.
        to_dir: The tracelet directory of the target; by default the same one.
        from_set: Settings for the source alone, by name, as for :func:`tracelet.copy`.
        to_set: The same for the target.
        dry_run: Only say what would be imported.
        told: It is told of each version that is done, and how many there are.

    Returns:
        What became of each version. A version that cannot be fetched, or not be stored, does not stop the others.

    Raises:
        ArtifactNotFound: There is no such place.
        BackendError: A backend is away, or cannot say what was logged.
        ConfigError: A setting cannot be used, the tracker has several experiments there and none was named, or the target's
            directory is in the folder that is imported.
        UnknownPlugin: A backend is not installed.

    Example:
        >>> import tracelet
        >>> from pathlib import Path
        >>> Path("results").mkdir()
        >>> _ = Path("results/weights.pt").write_bytes(b"weights")
        >>> tracelet.import_from("dir", "results", to_backend="local", experiment="digits")
        <CopyResults 1 version copied (7 B)>
        >>> tracelet.import_from("dir", "results", to_backend="local", experiment="digits")
        <CopyResults 0 versions copied (0 B); 1 skipped>
    """
    here, there = directories(dir, to_dir)
    if source == "dir":
        check_outside(place, there)
    # Before the source is looked at, which may take long.
    if experiment is not None:
        open_side(experiment, to_backend, there, to_set or {})
    with opened_source(source, here, from_set or {}) as (opened, stop):
        found = list(opened.discover(os.fspath(place)))
        if not found:
            return CopyResults((), dry_run=dry_run)
        name = _common(found) if experiment is None else experiment
        target = open_side(name, to_backend, there, to_set or {}, own_store=to_dir is not None)
        return import_versions(found, opened, stop, target, dry_run=dry_run, told=told)


def _common(found: list[ForeignArtifact]) -> str:
    """Return the experiment that all of it is in."""
    names = sorted({one.experiment for one in found})
    if len(names) == 1 and names[0]:
        return names[0]
    several = f"it is in {', '.join(map(repr, names))}" if len(names) > 1 else "its source names none"
    raise ConfigError(f"the experiment to import into is not known, for {several}: say experiment=.")
