"""`tracelet.copy`: take what an experiment has stored to another backend, another place, or another experiment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracelet.core.artifacts.copied import CopyResults
from tracelet.core.transfer.copying import Told, copy_versions
from tracelet.core.transfer.side import directories, open_side

__all__ = ["copy"]


def copy(
    experiment: str,
    *artifacts: str,
    from_backend: str,
    to_backend: str,
    to_experiment: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    to_dir: str | os.PathLike[str] | None = None,
    from_set: Mapping[str, str] | None = None,
    to_set: Mapping[str, str] | None = None,
    trust: bool = False,
    dry_run: bool = False,
    told: Told = lambda done, count: None,
) -> CopyResults:
    """Copy stored versions to another backend, experiment, directory or server, with the same digest.

    Their order, labels, aliases, metadata, inputs, run ids and times come over. What is there already is skipped, so that an
    interrupted copy goes on where it was. Every byte is verified on its way.

    Args:
        experiment: The name of the experiment.
        *artifacts: What to copy: names, or a name with a version as ``"net@v3"``. Without any, all there is.
        from_backend: The backend that has them.
        to_backend: The backend that is to have them. It may be the same one where something else differs.
        to_experiment: The experiment that they are copied into; by default the one of the same name.
        dir: The tracelet directory of the source; by default ``TRACELET_DIR``, or else ``.tracelet``.
        to_dir: The tracelet directory of the target; by default the same one. With ``to_backend="local"`` it becomes a
            directory that can be carried to another machine: the bytes of large files are in it, too.
        from_set: Settings for the source alone, by name, such as ``{"tracking_uri": "http://old:5000"}``: the backend's
            own, Tracelet's, and in capitals variables for the SDK.
        to_set: The same for the target.
        trust: Whether models may be loaded that are stored in a form which runs code, so that they become the target's
            own kind of model.
        dry_run: Only say what would be copied.
        told: It is told of each version that is done, and how many there are.

    Returns:
        What became of each version. A version that cannot be read, or not be stored, does not stop the others.

    Raises:
        ConfigError: A setting cannot be used, both sides are the same place, or one directory is in the other.
        UnknownPlugin: A backend is not installed.
        ArtifactNotFound: An artifact that is named is not there.
        BackendError: A backend is away.

    Example:
        >>> import tracelet
        >>> with tracelet.Experiment("digits", artifacts=True) as exp:
        ...     exp.log_artifact(exp.create_artifact("settings", "config").add_object({"layers": 2}, "settings"))
        <LogResults local: v0>
        >>> tracelet.copy("digits", from_backend="local", to_backend="local", to_dir="elsewhere")
        <CopyResults 1 version copied (16 B)>
        >>> tracelet.copy("digits", from_backend="local", to_backend="local", to_dir="elsewhere")
        <CopyResults 0 versions copied (0 B); 1 skipped>
    """
    here, there = directories(dir, to_dir)
    source = open_side(experiment, from_backend, here, from_set or {})
    target = open_side(
        experiment if to_experiment is None else to_experiment,
        to_backend,
        there,
        to_set or {},
        own_store=to_dir is not None,
    )
    return copy_versions(source, target, artifacts, trust=trust, dry_run=dry_run, told=told)
