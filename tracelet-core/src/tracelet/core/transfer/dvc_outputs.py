"""What a DVC repository tracks, as its files say it: each output, what made it, and what people said of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.checks import LARGEST_SIZE, check_path
from tracelet.core.artifacts.local_files import OWN_FOLDER
from tracelet.core.transfer.dvc_files import DVC_FOLDER, is_repository, read_yaml, storable
from tracelet.core.transfer.dvc_objects import Listing, digest_of, is_md5, listing_from
from tracelet.exceptions import ArtifactError, IntegrityError

__all__ = ["Output", "Stage", "outputs_of"]

_PIPELINE, _LOCK = "dvc.yaml", "dvc.lock"
#: What DVC replaces in the paths of a pipeline.
_TEMPLATE = re.compile(r"\$\{.*?\}")
_ANNOTATIONS = ("desc", "type", "labels", "meta")


@attrs.frozen(kw_only=True)
class Stage:
    """A step of a pipeline as it was run last."""

    #: As DVC calls it, such as ``train/dvc.yaml:fit``.
    name: str
    #: Different for each run that gave something else.
    id: str
    params: dict[str, Any]
    #: Paths in the repository, and the md5 that each had.
    deps: tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class Output:
    """A file or a directory that DVC tracks."""

    #: The path in the repository, or, with a fault, whatever stands there.
    path: str
    #: The md5 as DVC writes it: that of a directory ends in ``.dir``.
    md5: str
    #: Whether DVC 2 made the md5.
    old: bool
    size_bytes: int | None
    #: Which files are in it, where the DVC file says that itself.
    listing: Listing | None
    #: ``desc``, ``type``, ``labels`` and ``meta``, as far as somebody gave them, and the name of the ``artifact``.
    said: dict[str, Any]
    #: The DVC file that says all this.
    source: Path
    stage: Stage | None = None
    is_metrics: bool = False
    #: Why it cannot be imported, or nothing.
    fault: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return self.md5.endswith(".dir")


def outputs_of(root: Path) -> list[Output]:
    """Return the outputs of a repository as its files are now. Repositories inside it are left out.

    Raises :class:`~tracelet.IntegrityError` where a DVC file is damaged, or two of them claim the same path.
    """
    made: list[Output] = []
    taken: dict[str, Path] = {}
    artifacts: dict[str, dict[str, Any]] = {}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        for path in (here / name for name in sorted(files)):
            found: list[Output] = []
            if path.name == _PIPELINE:
                pipeline = read_yaml(path, root)
                artifacts.update(_artifacts(pipeline, here, root))
                found.extend(_of_pipeline(pipeline, here, root))
            elif path.suffix == ".dvc":
                found.extend(_of_file(path, root))
            for one in (one for one in found if not one.fault):
                if one.path in taken:
                    raise IntegrityError(
                        f"{one.path!r} is an output of {str(taken[one.path])!r} and of {str(one.source)!r}, and DVC allows "
                        "one: take it out of the other."
                    )
                taken[one.path] = one.source
            made += found
        folders[:] = [name for name in sorted(folders) if _is_walked(here / name, root, taken)]
    return [attrs.evolve(one, said={**artifacts.get(one.path, {}), **one.said}) for one in made]


def _is_walked(folder: Path, root: Path, taken: Mapping[str, Path]) -> bool:
    own = folder.name in {DVC_FOLDER, ".git", OWN_FOLDER} or is_repository(folder)
    return not own and folder.relative_to(root).as_posix() not in taken


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _of_file(path: Path, root: Path) -> Iterator[Output]:
    """Yield the outputs of a ``.dvc`` file."""
    held = read_yaml(path, root)
    base = path.parent / str(held.get("wdir") or ".")
    for fact in map(_mapping, _sequence(held.get("outs"))):
        yield _output(fact, base, root, path, {**_said(held), **_said(fact)})


def _of_pipeline(pipeline: dict[Any, Any], folder: Path, root: Path) -> Iterator[Output]:
    """Yield the outputs of a ``dvc.yaml`` as its ``dvc.lock`` has them. What was never run has none."""
    lock = folder / _LOCK
    if not os.path.lexists(lock):
        return
    held = read_yaml(lock, root)
    # The first pipelines had their stages at the top of the lock.
    locked = held.get("stages", {}) if "schema" in held else held
    if not isinstance(locked, dict):
        raise IntegrityError(f"{str(lock)!r} is damaged, for it has no stages: restore it, with git for instance.")
    stages = _mapping(pipeline.get("stages"))
    for name, facts in locked.items():
        told = stages.get(name) or stages.get(str(name).partition("@")[0])
        if isinstance(told, dict):
            yield from _of_stage(str(name), _mapping(told.get("do", told)), _mapping(facts), folder, root)


def _of_stage(name: str, told: dict[Any, Any], facts: dict[Any, Any], folder: Path, root: Path) -> Iterator[Output]:
    wdir = str(told.get("wdir") or ".")
    base = folder / wdir
    stage = _stage(name, facts, base, folder, root)
    declared = list(_declared(told))
    for fact in map(_mapping, _sequence(facts.get("outs"))):
        path = os.path.normpath(str(fact.get("path")))
        fits = [one for one in declared if one.path == path] or [one for one in declared if one.fits(path)]
        if not fits:
            continue  # the pipeline does not have it any more
        # Which of several templates it comes from, only DVC can tell.
        (match,) = fits if len(fits) == 1 else [_Declared(path, "outs", {})]
        made = _output(fact, base, root, folder / _LOCK, _said(match.said))
        if _TEMPLATE.search(wdir):
            made = attrs.evolve(made, fault=f"its stage {name!r} runs in {wdir!r}, which only DVC can tell")
        yield attrs.evolve(made, stage=stage, is_metrics=match.key == "metrics")


@attrs.frozen
class _Declared:
    """An output that a stage declares: its path, which can have templates, where it stands, and what is said of it."""

    path: str
    key: str
    said: dict[Any, Any]

    def fits(self, path: str) -> bool:
        """Tell whether it has a template, and a path comes from it if something is put there. It takes little time for any text."""
        first, *others = map(re.escape, _TEMPLATE.split(self.path))
        between = "".join(f"(?>.*?{part})" for part in others[:-1])
        return bool(others) and re.fullmatch(f"{first}{between}.*{others[-1]}", path) is not None


def _declared(told: dict[Any, Any]) -> Iterator[_Declared]:
    for key in ("outs", "metrics", "plots"):
        for entry in _sequence(told.get(key)):
            for path, said in entry.items() if isinstance(entry, dict) else [(entry, {})]:
                yield _Declared(os.path.normpath(str(path)), key, _mapping(said))


def _stage(name: str, facts: dict[Any, Any], base: Path, folder: Path, root: Path) -> Stage:
    params = {
        str(key) if file == "params.yaml" else f"{file}:{key}": value
        for file, values in _mapping(facts.get("params")).items()
        for key, value in _mapping(values).items()
    }
    deps = [
        (_inside(base, dep.get("path"), root), dep.get("md5")) for dep in map(_mapping, _sequence(facts.get("deps")))
    ]
    called = f"{(folder / _PIPELINE).relative_to(root).as_posix()}:{name}"
    ran = json.dumps([str(root), called, storable(facts)], sort_keys=True)
    return Stage(
        name=called,
        id=hashlib.sha256(ran.encode()).hexdigest()[:32],
        params=storable(params),
        deps=tuple((path, md5) for path, md5 in deps if path is not None and isinstance(md5, str)),
    )


def _artifacts(pipeline: dict[Any, Any], folder: Path, root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the section ``artifacts`` of a pipeline says of paths."""
    for name, told in _mapping(pipeline.get("artifacts")).items():
        path = _inside(folder, _mapping(told).get("path"), root)
        if path is not None:
            yield path, {**_said(told), "artifact": str(name)}


def _said(facts: dict[Any, Any]) -> dict[str, Any]:
    return {key: storable(facts[key]) for key in _ANNOTATIONS if facts.get(key)}


def _inside(base: Path, path: Any, root: Path) -> str | None:
    """Return a path as one in the repository; None where it leads out of it, or is none."""
    if not isinstance(path, str) or "://" in path or "\0" in path:
        return None
    found = Path(os.path.normpath(base / path))
    return found.relative_to(root).as_posix() if found.is_relative_to(root) and found != root else None


def _output(fact: dict[Any, Any], base: Path, root: Path, source: Path, said: dict[str, Any]) -> Output:
    path, md5, size = _inside(base, fact.get("path"), root), fact.get("md5"), fact.get("size")
    listing, fault = None, ""
    try:
        if path is None:
            raise ValueError("it is outside the repository: import it from where it is")
        check_path(path)
        check_path(path.rpartition("/")[2])
        if "files" in fact:
            listing = listing_from(fact["files"])
            md5 = f"{digest_of(listing)}.dir"
        if not is_md5(md5.removesuffix(".dir") if isinstance(md5, str) else md5) or fact.get("hash", "md5") != "md5":
            raise ValueError("it has no md5: run 'dvc repro' or 'dvc commit', then import again")
    except (ArtifactError, ValueError) as error:
        fault = str(error)
    return Output(
        path=path if path is not None else str(fact.get("path")),
        md5=str(md5),
        old="hash" not in fact,
        size_bytes=size if isinstance(size, int) and 0 <= size <= LARGEST_SIZE else None,
        listing=listing,
        said=said,
        source=source,
        fault=fault,
    )
