"""A DVC repository as a source: each output that it tracks is an artifact. DVC need not be installed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from tracelet.core.artifacts.checks import check_place
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.plain_values import leaves, plain_data
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.capture.sniffing.names import tell_type_by_names
from tracelet.core.plugins.foreign import ForeignArtifact, ForeignFile, ForeignRun
from tracelet.core.storage.paths import target_path
from tracelet.core.system.yaml_text import load_yaml
from tracelet.core.transfer.dvc_files import find_root, read_config, read_small, storable
from tracelet.core.transfer.dvc_objects import Listing, Objects, md5_is
from tracelet.core.transfer.dvc_outputs import Output, Stage, outputs_of
from tracelet.core.transfer.unfit import check_fit, moment, readable_name, unfit
from tracelet.exceptions import ArtifactNotFound, IntegrityError

__all__ = ["DvcRepository"]

_KIND = "DVC output"
_LOCATOR = ("root", "path", "md5", "old", "listing")
#: Bytes of a file of metrics, and how many errors of one artifact are told in full.
_MOST_METRICS, _MOST_TOLD = 1 << 20, 5
#: How the files of metrics are read.
_METRICS: Mapping[str, Callable[[str], Any]] = {".json": json.loads, ".yaml": load_yaml, ".yml": load_yaml}


@attrs.frozen
class DvcRepository:
    """Gives the outputs of a DVC repository as artifacts: of ``.dvc`` files, and of the stages of pipelines that were run.

    What the files of the working copy say counts. Other commits are not looked at: check one out and import again to have its
    state as a version, too. Bytes come from the cache, from remotes that are folders, and from the working copy where its
    files have the md5; what is in a remote elsewhere alone has to be brought by ``dvc pull`` before.
    """

    def discover(self, place: str) -> Iterable[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`. The place is the folder of a repository, or one in it.

        What cannot be imported, such as an output outside the repository, is found, too: fetching it says why.
        """
        root = find_root(Path(check_place(place)))
        objects = Objects(root, read_config(root))
        outputs = outputs_of(root)
        for one in outputs:
            if one.fault:
                yield _unfit(one, root)
        yield from _Repository(objects, [one for one in outputs if not one.fault]).artifacts()

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        check_fit(found.locator)
        root, path, md5, old, listing = (found.locator[key] for key in _LOCATOR)
        objects = Objects(Path(root), read_config(Path(root)))
        errors: list[ArtifactNotFound | IntegrityError] = []
        for name, of_file, working in _files(objects, path, md5, listing, old=old):
            try:
                objects.bring(of_file, working, target_path(dest, name), old=old)
            except (ArtifactNotFound, IntegrityError) as error:
                errors.append(error)
        if errors:
            raise _all_of(errors)


def _unfit(one: Output, root: Path) -> ForeignArtifact:
    return unfit(
        address=f"{one.source.as_uri()}#unfit={quote(one.path)}",
        name=one.path,
        kind=_KIND,
        experiment=readable_name(root.name),
        reason=f"{one.path!r} of {str(one.source)!r} cannot be imported: {one.fault}.",
        size_bytes=one.size_bytes,
    )


def _files(
    objects: Objects, path: str, md5: str, listing: Listing | None, *, old: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield the path in the artifact, the md5, and the path in the working copy of each file of an output."""
    if not md5.endswith(".dir"):
        yield path.rpartition("/")[2], md5, path
        return
    if listing is None:
        listing = objects.listing_of_working(path, md5.removesuffix(".dir"), old=old)
    if listing is None:
        listing = objects.listing(md5.removesuffix(".dir"))
    if listing is None:
        raise ArtifactNotFound(
            f"which files are in the directory {path!r} (md5 {md5}) is not in the cache, and the working copy has not those "
            f"files: {objects.advice}."
        )
    for name, of_file in listing.items():
        yield name, of_file, f"{path}/{name}"


def _all_of(errors: Sequence[ArtifactNotFound | IntegrityError]) -> ArtifactNotFound | IntegrityError:
    """Return one error for all that is missing or damaged."""
    worst = next((one for one in errors if isinstance(one, IntegrityError)), errors[0])
    if len(errors) == 1:
        return worst
    told = " ".join(map(str, errors[:_MOST_TOLD]))
    more = f" And {len(errors) - _MOST_TOLD:,} more." if len(errors) > _MOST_TOLD else ""
    return type(worst)(f"{len(errors):,} files are missing or damaged. {told}{more}")


class _Repository:
    """What the outputs of a repository are together: what was made from what, and which run had which metrics."""

    def __init__(self, objects: Objects, outputs: Sequence[Output]) -> None:
        self._objects = objects
        self._outputs = {one.path: one for one in outputs}
        self._listings = {one.path: self._listing(one) for one in outputs if one.is_folder}
        self._metrics: dict[str, dict[str, Any]] = {}
        for one in outputs:
            if one.stage is not None and one.is_metrics:
                self._metrics.setdefault(one.stage.id, {}).update(self._numbers(one))

    def artifacts(self) -> Iterator[ForeignArtifact]:
        """Yield each output after those that it was made from, and not older than they are."""
        made_from = {path: tuple(self._made_from(one)) for path, one in self._outputs.items()}
        try:
            order = list(TopologicalSorter(made_from).static_order())
        except CycleError as error:
            raise IntegrityError(
                f"{str(self._objects.root)!r} has outputs that were made from each other, {', '.join(error.args[1])}: restore "
                "its dvc.lock."
            ) from error
        ages: dict[str, float] = {}
        for path in order:
            one = self._outputs[path]
            ages[path] = max([self._age(one), *(ages[used] for used in made_from[path])])
            yield self._artifact(one, ages[path], tuple(self._address(self._outputs[used]) for used in made_from[path]))

    def _listing(self, one: Output) -> Listing | None:
        if one.listing is not None:
            return one.listing
        with contextlib.suppress(IntegrityError):  # the fetch tells it, unless the working copy has the files
            return self._objects.listing(one.md5.removesuffix(".dir"))
        return None

    def _made_from(self, one: Output) -> Iterator[str]:
        """Yield the outputs that the stage of an output used as they are now."""
        for path, md5 in () if one.stage is None else one.stage.deps:
            used = self._outputs.get(path)
            if used is not None and used.md5 == md5:
                yield path
            for above in map(str, Path(path).parents):
                listing = self._listings.get(above)
                if listing is not None and listing.get(path.removeprefix(f"{above}/")) == md5:
                    yield above

    def _address(self, one: Output) -> str:
        return f"{(self._objects.root / one.path).as_uri()}#md5={one.md5}"

    def _age(self, one: Output) -> float:
        """Return when DVC took it into its cache, or else when its DVC file was written: DVC notes no times itself."""
        md5, dot, suffix = one.md5.partition(".")
        place = next(self._objects.stored(md5, dot + suffix), one.source)
        return moment(place.stat().st_mtime)

    def _artifact(self, one: Output, age: float, inputs: tuple[str, ...]) -> ForeignArtifact:
        name = one.path.rpartition("/")[2]
        listing = self._listings.get(one.path)
        if one.is_folder and listing is not None:
            files = tuple(ForeignFile(path, self._size(md5)) for path, md5 in listing.items())
        else:
            files = (ForeignFile(name, one.size_bytes),)
        facts = {
            "path": one.path,
            "md5": one.md5,
            "stage": None if one.stage is None else one.stage.name,
            **{key: value for key, value in one.said.items() if key != "desc"},
        }
        described = one.said.get("desc")
        return ForeignArtifact(
            address=self._address(one),
            name=one.path,
            type=self._type(one, listing),
            kind=_KIND,
            experiment=readable_name(self._objects.root.name),
            description=described if isinstance(described, str) else None,
            metadata={"dvc": {key: value for key, value in facts.items() if value is not None}},
            created_at=age,
            run=None if one.stage is None else self._run(one.stage),
            files=files,
            files_known=not one.is_folder or listing is not None,
            inputs=inputs,
            locator=dict(zip(_LOCATOR, (str(self._objects.root), one.path, one.md5, one.old, listing), strict=True)),
        )

    def _run(self, stage: Stage) -> ForeignRun:
        return ForeignRun(
            id=stage.id, name=stage.name, parameters=stage.params, metrics=self._metrics.get(stage.id, {})
        )

    def _size(self, md5: str) -> int | None:
        place = next(self._objects.stored(md5), None)
        return None if place is None else place.stat().st_size

    def _type(self, one: Output, listing: Listing | None) -> ArtifactType:
        """Return the type that people gave it, if it is one of ours, or what its content or its names say."""
        with contextlib.suppress(ValueError):
            return ArtifactType(one.said.get("type"))
        working = self._objects.working(one.path)
        if working is not None:
            return tell_type(working)
        return tell_type_by_names([one.path] if listing is None else list(listing))

    def _numbers(self, one: Output) -> Mapping[str, Any]:
        """Return the numbers in a file of metrics; none where it is no such file, or its bytes are not there."""
        read = _METRICS.get(Path(one.path).suffix)
        working = self._objects.working(one.path)
        if read is None:
            return {}
        for place in (*self._objects.stored(one.md5), *([] if working is None else [working])):
            with contextlib.suppress(OSError, RecursionError, TypeError, ValueError):
                data = read_small(place, _MOST_METRICS)
                if md5_is(data, one.md5, old=one.old):
                    held = {"": storable(plain_data(read(data.decode()), number_keys=True))}
                    return {".".join(keys[1:]): value for keys, value in leaves(held) if type(value) in {int, float}}
        return {}
