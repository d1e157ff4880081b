"""What a notebook shows of an artifact: facts, metadata, what is in it, and previews of a few files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.plain_artifact import AnyArtifact
from tracelet.core.artifacts.plain_values import leaves, plain_metadata
from tracelet.core.display.cards import card, copyable, facts, note, number, section
from tracelet.core.display.html import Html, element, table
from tracelet.core.display.previews import MOST_BYTES, Kind, Preview, preview_html, promise
from tracelet.core.display.words import brief, size
from tracelet.core.system.messages import many
from tracelet.exceptions import ArtifactError

__all__ = ["artifact_card", "worth_showing"]

#: How many entries, and how many values of metadata, are listed, and how many characters of a value.
_ENTRIES, _VALUES, _CHARACTERS = 20, 30, 300
#: How many files are shown, and how many bytes they may have together.
_FILES, _BYTES = 6, 2_000_000


def artifact_card(
    artifact: AnyArtifact,
    kind: str,
    known: Iterable[tuple[str, Html | str]],
    previews: Sequence[tuple[str, Preview]],
    remarks: Iterable[str],
) -> str:
    """Return the card of an artifact, be it built or stored; ``known`` is what its class says about it."""
    parts = [note(artifact.description)] if artifact.description else []
    parts += [facts(known), *_metadata(artifact), *_contents(artifact)]
    if previews:
        parts.append(section("Previews", _gallery(previews)))
    return card(kind, artifact.name, *parts, *map(note, remarks))


def worth_showing(files: Sequence[ArtifactFile]) -> tuple[list[str], list[str]]:
    """Choose files to show of those that promise to be seen: pictures first, small ones, and few.

    Returns:
        Their paths, and a remark where there are others.
    """
    promises = ((promise(file.artifact_path), place) for place, file in enumerate(files))
    ranked = sorted((rank, place) for rank, place in promises if rank is not None)
    paths: list[str] = []
    room = _BYTES
    for file in (files[place] for _, place in ranked):
        if len(paths) < _FILES and file.size_bytes <= min(room, MOST_BYTES):
            paths.append(file.artifact_path)
            room -= file.size_bytes
    left = len(ranked) - len(paths)
    remark = f"{many(left, 'more file', 'more files')} of kinds that can be shown: download() gives all."
    return paths, [remark] if left else []


def _metadata(artifact: AnyArtifact) -> list[Html]:
    try:
        values = itertools.islice(leaves(plain_metadata(artifact.metadata)), _VALUES + 1)
        pairs = [(".".join(keys), brief(value, _CHARACTERS)) for keys, value in values]
    except ArtifactError as error:
        return [section("Metadata", note(str(error)))]
    return [section("Metadata", facts(pairs[:_VALUES])), *_more(len(pairs) > _VALUES)] if pairs else []


def _more(cut: bool) -> list[Html]:
    return [note("There is more of it: .metadata has all.")] if cut else []


def _contents(artifact: AnyArtifact) -> list[Html]:
    rows = [
        *((file.artifact_path, "file", file.size_bytes, file.sha256) for file in artifact.files),
        *((one.name, f"object, {one.serializer}", one.size_bytes, one.sha256) for one in artifact.objects),
        *(
            (one.name, f"model, {one.framework}" if one.framework else "model", _sum(one.files), None)
            for one in artifact.models
        ),
        *(
            (ref.path or ref.uri, "file in the store" if ref.path else "reference", ref.size_bytes, ref.sha256)
            for ref in artifact.references
        ),
    ]
    if not rows:
        return []
    listed = (
        (name, what, number("" if bytes_ is None else size(bytes_)), copyable(sha256, short=True) if sha256 else "")
        for name, what, bytes_, sha256 in rows[:_ENTRIES]
    )
    more = [note(f"and {len(rows) - _ENTRIES:,} more")] if len(rows) > _ENTRIES else []
    return [section(many(len(rows), "entry", "entries"), table(("name", "what", "size", "sha256"), listed)), *more]


def _sum(files: tuple[ArtifactFile, ...]) -> int | None:
    return sum(file.size_bytes for file in files) if files else None


def _gallery(shown: Iterable[tuple[str, Preview]]) -> Html:
    return element("div", *(_figure(name, preview) for name, preview in shown), class_="tl-gallery")


def _figure(name: str, preview: Preview) -> Html:
    left_out = preview.left_out if preview.kind is not Kind.NOTHING else ""
    caption = f"{name} ({left_out})" if left_out else name
    return element("figure", preview_html(preview, name), element("figcaption", caption))
