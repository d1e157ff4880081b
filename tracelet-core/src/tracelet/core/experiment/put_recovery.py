"""Puts that a dead process was making into several backends: a later run completes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tracelet.core.delivery.completion import Completion
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.puts import Put, interrupted_puts
from tracelet.core.experiment.context import ExperimentContext

__all__ = ["PutRecovery"]


class PutRecovery:
    """The interrupted puts of one experiment that the run at hand completes."""

    def __init__(self, context: ExperimentContext) -> None:
        self._context = context
        #: By the note of the put.
        self._interrupted: dict[Path, Put] = {}

    def find(self, backends: Collection[str]) -> Collection[Path]:
        """Return the notes of the puts that concern these backends alone."""
        self._interrupted = {
            path: put
            for path, put in interrupted_puts(self._context.directory)
            if put.parcel.run.experiment == self._context.experiment and put.targets.keys() <= set(backends)
        }
        return self._interrupted.keys()

    def complete(self, path: Path, couriers: Mapping[str, Courier]) -> bool:
        """Queue an interrupted put for the backends that lack it; return False where the path is no note of one."""
        put = self._interrupted.pop(path, None)
        if put is None:
            return False
        for parcel in put.parcels:
            couriers[parcel.backend].check_address(parcel.sdk)
        context = self._context
        with Completion(context.directory, context.settings, context.plugins(), context.outbox) as completion:
            completion.complete(path, put)
        for courier in couriers.values():
            courier.look_again()
        return True
