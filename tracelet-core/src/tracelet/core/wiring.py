"""An experiment's backends: what is configured, and what of it belongs to one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.backend import BackendContext, BackendSpec
from tracelet.core.bounded import BoundedStore
from tracelet.core.delivery import Courier, Reader, Sealer
from tracelet.core.finding import Finder
from tracelet.core.lane import Lane, guarded, open_lane
from tracelet.core.outbox import Outbox, Parcel, without_secrets
from tracelet.core.plugins import Registry
from tracelet.core.processes import current
from tracelet.core.store import RemoteStore, Store, open_store
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["Wires", "Wiring"]


@attrs.frozen
class Wires:
    """What belongs to one process: threads and lanes do not survive a fork."""

    process: Any
    couriers: dict[str, Courier]
    finder: Finder
    sealer: Sealer


class Wiring:
    """The backends of one experiment, its store, and the lanes to them."""

    def __init__(
        self,
        experiment: str,
        settings: TraceletSettings,
        directory: Path,
        plugins: Callable[[], Registry],
        outbox: Outbox,
        finish: Callable[[Path], None],
    ) -> None:
        """``finish`` finishes a draft. Raises :class:`~tracelet.ConfigError` for what cannot be configured so."""
        self._experiment = experiment
        self._settings = settings
        self._directory = directory
        self._plugins = plugins
        self._outbox = outbox
        self._finish = finish
        self.specs = self._configured()
        self._plugin_settings = self._load_settings()
        self._wires: Wires | None = None
        self._store: Store | None = None

    def _configured(self) -> dict[str, BackendSpec]:
        if not self._settings.backend:
            raise ConfigError("no backend is configured: name at least one, such as backend='local'.")
        twice = {name for name in self._settings.backend if self._settings.backend.count(name) > 1}
        if twice:
            raise ConfigError(f"backend {sorted(twice)[0]!r} is named twice.")
        self._plugins().routing.get(self._settings.routing)
        return {name: self._plugins().backends.get(name) for name in self._settings.backend}

    def _load_settings(self) -> dict[str, Any]:
        """Read every plugin's variables, and report all that are bad together."""
        found: dict[str, Any] = {}
        bad: list[str] = []
        for name, spec in self.specs.items():
            try:
                found[name] = load_plugin(spec.settings, name)
            except ConfigError as error:
                bad.append(str(error))
        if bad:
            raise ConfigError(" ".join(bad))
        return found

    @property
    def wires(self) -> Wires:
        """What belongs to the process that asks."""
        if self._wires is None or self._wires.process != current():
            self._wires = Wires(
                current(),
                {name: self._courier(name) for name in self.specs},
                self._finder(),
                Sealer(self._finish),
            )
        return self._wires

    def cut(self) -> Wires:
        """Return what belongs to the process that asks, to be closed: the next look makes it anew."""
        wires, self._wires = self.wires, None
        return wires

    @property
    def store(self) -> Store:
        """Where large files' bytes go."""
        if self._store is None:
            found = open_store(self._settings.store, self._directory)
            self._store = BoundedStore(found, self._settings) if isinstance(found, RemoteStore) else found
        return self._store

    def _lane(self, name: str, sdk: dict[str, Any]) -> Lane:
        context = BackendContext(self._directory, sdk)
        return open_lane(self.specs[name], self._experiment, self._plugin_settings[name], context)

    def _sdk(self, name: str) -> dict[str, Any]:
        """What the user's own SDK says now."""
        return guarded(name, self.specs[name].context)

    def _finder(self) -> Finder:
        return Finder(
            self._experiment,
            self.specs,
            {name: Reader(self._lane(name, self._sdk(name)), self._settings) for name in self.specs},
            outbox=self._outbox,
            plugins=self._plugins,
            store=lambda: self.store,
            downloads=self._directory / "downloads",
        )

    def _courier(self, name: str) -> Courier:
        sdk = self._sdk(name)
        own = without_secrets(sdk)

        def elsewhere(parcel: Parcel) -> Lane | None:
            return None if without_secrets(parcel.sdk) == own else self._lane(name, parcel.sdk)

        lane = self._lane(name, sdk)
        return Courier(name, self._experiment, lane, self._outbox, self._settings, elsewhere)
