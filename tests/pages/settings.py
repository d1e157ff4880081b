"""The tables of `docs/reference/settings.md`, made of the classes that are the settings."""

from __future__ import annotations

import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any

import attrs

from marked import with_part
from tracelet import TraceletSettings
from tracelet.core.plugins.registry import registry
from tracelet.settings.from_variables import prefix_of

__all__ = ["GROUPS", "PAGE", "Group", "classes", "tables", "written"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "settings.md"
_ROLE = re.compile(r":\w+:`~?([\w.]+)`")
_FIELD = re.compile(r"    (\w+): ")


@attrs.frozen
class Group:
    """What somebody wants to do, and which settings are for it."""

    title: str
    #: A sentence, with a link to the page that shows how.
    told: str
    #: Fields of Tracelet's own settings.
    fields: tuple[str, ...] = ()
    #: Plugins, by the name that their variables have, with the words before the table of each.
    plugins: tuple[tuple[str, str], ...] = ()


GROUPS = (
    Group(
        "Turn artifacts on, and choose where they go",
        "[Choose where artifacts go](../how-to/choose-where-artifacts-go.md) shows how.",
        ("enable_artifacts", "backend", "routing", "dir"),
    ),
    Group(
        "Keep large files in a store",
        "[Log large files](../how-to/log-large-files.md) shows how.",
        ("store", "large_file_mb", "on_large"),
    ),
    Group(
        "Capture what the program saves",
        "[Capture saves](../how-to/capture-saves.md) shows how. The limits hold for watched folders, too.",
        (
            "automagic_artifacts",
            "capture_include",
            "capture_exclude",
            "capture_min_interval",
            "capture_max_per_minute",
            "capture_latest_wins",
            "capture_disk_share",
        ),
        (
            (
                "torch",
                "With `automagic_artifacts`, these functions of PyTorch, and of what builds on it, are captured:",
            ),
            ("models", "So are these functions that save other models:"),
        ),
    ),
    Group(
        "Watch folders",
        "[Watch a folder](../how-to/watch-a-folder.md) shows how.",
        ("watch_filesystem", "artifact_watch_dirs"),
        (("filesystem", "These say when a file is complete that nobody was seen to close:"),),
    ),
    Group(
        "Capture a training of Lightning",
        "[Lightning](../trackers/lightning.md) says what is captured.",
        plugins=(("lightning", ""),),
    ),
    Group(
        "Say how long Tracelet waits, and what it raises",
        "[Recover from an outage](../how-to/recover-from-an-outage.md) says what becomes of what was not delivered in time.",
        ("deadline", "min_rate", "open_timeout", "stop_timeout", "strict"),
    ),
    Group(
        "Run a job of many processes",
        "[Many machines](../how-to/many-machines.md) shows how.",
        ("rank", "ranks", "job", "ranks_timeout"),
    ),
    Group("Use MLflow", "[MLflow](../trackers/mlflow.md) has its own variables, too.", plugins=(("mlflow", ""),)),
    Group("Use W&B", "[W&B](../trackers/wandb.md) has its own variables, too.", plugins=(("wandb", ""),)),
    Group("Use ClearML", "[ClearML](../trackers/clearml.md) has its own variables, too.", plugins=(("clearml", ""),)),
    Group("Use Aim", "[Aim](../trackers/aim.md) says what each is for.", plugins=(("aim", ""),)),
    Group(
        "Use a bucket",
        "[Bucket](../trackers/bucket.md) says where credentials come from.",
        plugins=(("bucket", ""),),
    ),
)


def classes() -> dict[str, type[attrs.AttrsInstance]]:
    """Return the settings of every plugin of ours that has any, by the plugin's name."""
    packages = {path.name for path in ROOT.glob("tracelet-*/src/*")}
    plugins = (*registry().backends, *registry().detectors)
    ours = [one for one in plugins if one.settings.__module__.partition(".")[0] in packages]
    return {one.name: one.settings for one in ours if attrs.fields(one.settings)}


def tables() -> str:
    """Return the part of the page that is made of the code."""
    return "\n".join(_group(group) for group in GROUPS)


def written(text: str) -> str:
    """Return a page with the tables as they have to be."""
    return with_part(text, "settings", f"\n{tables()}\n")


def _group(group: Group) -> str:
    parts = [f"## {group.title}", group.told]
    if group.fields:
        known = {row[0]: row for row in _rows(TraceletSettings)}
        rows = [(f"`{name}`<br>`TRACELET_{name.upper()}`", *known[name][1:]) for name in group.fields]
        parts.append(_table(("argument, field<br>and variable", "type", "default", "meaning"), rows))
    for plugin, words in group.plugins:
        prefix = prefix_of(plugin)
        rows = [(f"`{prefix}{row[0].upper()}`", *row[1:]) for row in _rows(classes()[plugin])]
        parts += [words] * bool(words) + [_table(("variable", "type", "default", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(cls: type[attrs.AttrsInstance]) -> list[tuple[str, ...]]:
    """Return name, type, default and meaning of each field."""
    kinds, words = typing.get_type_hints(cls), _comments(cls)
    return [
        (field.name, f"`{_kind(kinds[field.name])}`", _default(field), words[field.name]) for field in attrs.fields(cls)
    ]


def _kind(kind: Any) -> str:
    """Return a type as a user writes it. What may be left out is said by the default."""
    if isinstance(kind, types.UnionType):
        return " | ".join(_kind(one) for one in typing.get_args(kind) if one is not types.NoneType)
    if typing.get_origin(kind) is list:
        return f"list[{', '.join(map(_kind, typing.get_args(kind)))}]"
    return str(kind.__name__)


def _default(field: attrs.Attribute[Any]) -> str:
    value = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default
    if value is None:
        return "not set"
    if value in ("", []):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return (
        f"`{','.join(value) if isinstance(value, list) else format(value, 'g') if isinstance(value, float) else value}`"
    )


def _comments(cls: type[attrs.AttrsInstance]) -> dict[str, str]:
    """Return what the comments before each field say."""
    found: dict[str, str] = {}
    told: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        text = line.strip()
        if text.startswith("#: "):
            told.append(text.removeprefix("#: "))
        elif (field := _FIELD.match(line)) and told:
            found[field[1]] = _ROLE.sub(r"`\1`", " ".join(told)).replace("``", "`")
            told = []
    return found
