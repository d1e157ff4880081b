"""When in a training a library's own callback saves: what is saved meanwhile is a checkpoint of that moment."""

from __future__ import annotations

import contextvars
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from tracelet.builtin.saves.destinations import Destination
from tracelet.builtin.saves.save import Args, Kwargs
from tracelet.builtin.saves.watching import Tell, guarded
from tracelet.builtin.saves.what import What
from tracelet.plugin import ArtifactType

__all__ = ["Checkpoints", "Moment", "finite", "told"]


class Moment(Protocol):
    """How far a training is."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Those of what is saved now."""
        ...

    def metadata(self, destination: Destination) -> dict[str, Any]:
        """Say the progress and the metrics of the training."""
        ...

    def name(self, kind: ArtifactType, destination: Destination) -> str | None:
        """Return one name for all that the callback saves; None where each file's own name is right."""
        ...


_MOMENT: contextvars.ContextVar[Moment | None] = contextvars.ContextVar("tracelet_moment", default=None)


@attrs.frozen(eq=False)
class Checkpoints:
    """A method of a callback that may save: what is saved meanwhile is a checkpoint."""

    switch: str
    module: str
    function: str
    #: Reads the moment off the arguments. It is called often, and most often nothing is saved.
    moment: Callable[[Args, Kwargs], Moment]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: Args, kwargs: Kwargs, tell: Tell) -> Any:
        """Note the moment, and do what the method does. Raises what it raises."""
        token = _MOMENT.set(guarded(self, self.moment, args, kwargs))
        try:
            return original(*args, **kwargs)
        finally:
            _MOMENT.reset(token)


def told(
    kind: ArtifactType, metadata: dict[str, Any], destination: Destination, *, in_training: ArtifactType | None = None
) -> What:
    """Say what a save is: of the type ``kind``, or ``in_training`` (``kind``, too, by default) where a callback saves."""
    moment = _MOMENT.get()
    if moment is None:
        return What(kind, metadata)
    kind = in_training or kind
    return What(kind, {**metadata, **moment.metadata(destination)}, moment.name(kind, destination), moment.aliases)


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return those metrics that are finite numbers."""
    return {
        key: float(value) for key, value in metrics.items() if isinstance(value, numbers.Real) and math.isfinite(value)
    }
