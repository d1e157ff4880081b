"""What ClearML knows of a task that made something: its parameters, its last scalars, and what it used."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import attrs

from tracelet.plugin import ForeignRun

__all__ = ["Maker", "seconds_of"]

_ID = re.compile(r"[0-9a-f]{32}")
#: The section in which the SDK notes the datasets of a task, and where it does that besides.
_DATASETS, _USED = "Datasets", "datasets"


@attrs.frozen
class Maker:
    """A task, as what it made has to know it."""

    run: ForeignRun
    project: str
    tags: tuple[str, ...] = ()
    #: Ids of the models and datasets that it used.
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Maker:
        """Read a task."""
        sections: Mapping[str, Any] = task.get("hyperparams") or {}
        used = [str(one.get("value")) for one in (sections.get(_DATASETS) or {}).values()]
        noted = (task.get("runtime") or {}).get(_USED)
        used += [str(one) for one in noted] if isinstance(noted, list) else []
        models = [str(one.get("model")) for one in (task.get("models") or {}).get("input") or ()]
        run = ForeignRun(
            id=str(task["id"]),
            name=str(task.get("name") or ""),
            parameters={
                f"{section}/{name}": one.get("value")
                for section, items in sections.items()
                for name, one in items.items()
            },
            metrics=_metrics(task),
        )
        return cls(
            run,
            str(task.get("project") or ""),
            tuple(map(str, task.get("tags") or ())),
            # What was deleted has a mark before its id.
            tuple(dict.fromkeys(key for key in models if _ID.fullmatch(key))),
            tuple(dict.fromkeys(key for key in used if _ID.fullmatch(key))),
        )


def _metrics(task: Mapping[str, Any]) -> dict[str, Any]:
    every = [one for variants in (task.get("last_metrics") or {}).values() for one in variants.values()]
    return {f"{one.get('metric')}/{one.get('variant')}": one.get("value") for one in every}


def seconds_of(moment: object) -> float:
    """Return a time of the server's as seconds since the epoch. Raises ValueError where it is none."""
    found = datetime.datetime.fromisoformat(str(moment))
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
