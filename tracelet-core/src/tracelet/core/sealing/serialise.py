"""Objects and models as files: their serializers write them, and what they wrote is checked."""

from __future__ import annotations

import logging
import shutil
import stat
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject
from tracelet.core.plugins.backend_spec import BackendSpec, ModelInfo
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.forms import fitting_form, model_form, object_form, unfit
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.specs import SpecSet
from tracelet.core.system.files import check_room, make_folder
from tracelet.core.system.saves import saving
from tracelet.exceptions import ArtifactError, BackendError, TraceletError

__all__ = ["render_model", "write_model", "write_object"]

_LOG = logging.getLogger("tracelet.sealing")


def write_object(
    entry: ArtifactObject, value: Any, staging: Path, serializers: SpecSet[SerializerSpec], *, choose: bool
) -> tuple[ArtifactObject, dict[str, Path]]:
    """Write an object below ``staging``. Return its entry with its path and size, and its file by that path.

    With ``choose`` its serializer is the one that suits it. Raises :class:`ArtifactError` where it cannot be stored.
    """
    spec = (
        fitting_form(serializers, value, f"object {entry.name!r}")
        if choose
        else object_form(serializers, entry.serializer)
    )
    path = f"objects/{entry.name}{spec.suffix}"
    target = staging / path
    make_folder(target.parent)
    _dump(serializers, spec, value, target, f"object {entry.name!r}")
    return attrs.evolve(entry, serializer=spec.name, artifact_path=path, size_bytes=target.stat().st_size), {
        path: target
    }


def write_model(
    entry: ArtifactModel, model: Any, example: Any, staging: Path, serializers: SpecSet[SerializerSpec]
) -> tuple[ArtifactModel, dict[str, Path]]:
    """Write a model and its input example below ``staging``.

    Return its entry with its framework and files, and those files by their paths in the artifact.

    Raises :class:`ArtifactError` where it cannot be stored.
    """
    spec = model_form(serializers, entry.framework, model)
    folder = staging / "models" / entry.name
    make_folder(folder)
    _dump(serializers, spec, model, folder, f"model {entry.name!r}")
    if example is not None:
        from tracelet.core.sealing.input_example import write_example

        write_example(example, folder, entry.name)
    made = sorted(path for path in folder.rglob("*") if path.is_file())
    written = {path.relative_to(staging).as_posix(): path for path in made}
    files = tuple(ArtifactFile(path, place.stat().st_size) for path, place in written.items())
    return attrs.evolve(entry, framework=spec.name, files=files), written


def render_model(target: BackendSpec, model: Any, info: ModelInfo, staging: Path) -> dict[str, Path]:
    """Have a backend write its tracker's own form of a model; return its folder by the backend's name.

    That form is a convenience: where it fails there is a WARNING and no folder, and the artifact is whole without it.
    """
    if target.render is None:
        return {}
    folder = staging / "rendered" / target.name
    make_folder(folder / info.name)
    try:
        with saving(folder):
            call_plugin(target.name, target.render, model, info, folder / info.name)
    except TraceletError as error:
        _LOG.warning("%s has no form of its own for the model %r: %s", target.name, info.name, error)
        shutil.rmtree(folder / info.name, ignore_errors=True)
        return {}
    return {target.name: folder}


def _dump(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, value: Any, path: Path, what: str) -> None:
    try:
        # A framework's own way to write a model may be what a detector watches.
        with saving(path):
            call_plugin(spec.name, spec.dump, value, path)
    except BackendError as error:
        check_room(path.parent, error.__cause__)  # or what was to be stored is not at fault
        raise ArtifactError(unfit(serializers, spec, what, error.__cause__ or error)) from error.__cause__
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        raise ArtifactError(unfit(serializers, spec, what, "its serializer wrote nothing"))
    # What else has a name for a file can change it, and what is stored with it.
    folder = spec.suffix is None
    if not all(_is_of_its_own(one, folder) for one in (path, *(path.rglob("*") if folder else ()))):
        wrong = "its serializer wrote a link, or what is no file, and must write files of their own"
        raise ArtifactError(unfit(serializers, spec, what, wrong))


def _is_of_its_own(path: Path, may_be_folder: bool) -> bool:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return may_be_folder
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
