"""An experiment's backends: what is configured, and what of it belongs to one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.outbox import Parcel, without_secrets
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.experiment.context import Site
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.plugins.backend import BackendContext, BackendSpec
from tracelet.core.plugins.registry import sdk_state
from tracelet.core.reading.finder import Finder
from tracelet.core.reading.reader import Reader
from tracelet.core.storage.blob_store import RemoteStore, Store, open_store
from tracelet.core.storage.deadline_store import BoundedStore
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import ConfigError
from tracelet.settings import load_plugin

__all__ = ["Wires", "Wiring"]


@attrs.frozen
class Wires:
    """What belongs to one process: threads and lanes do not survive a fork."""

    #: By backend: what the user's own SDK said when the run began.
    sdk: dict[str, dict[str, Any]]
    couriers: dict[str, Courier]
    finder: Finder
    sealer: Sealer


class Wiring:
    """The backends of one experiment, its store, and the lanes to them."""

    def __init__(self, site: Site, finish: Callable[[Path, Mapping[str, Courier]], None]) -> None:
        """``finish`` finishes a draft, and hands it to couriers. Raises :class:`~tracelet.ConfigError` for what cannot be configured so."""
        self._site = site
        self._finish = finish
        self.specs = self._configured()
        self._plugin_settings = self._load_settings()
        #: By process.
        self._laid: dict[ProcessId, Wires] = {}
        self._store: Store | None = None

    def _configured(self) -> dict[str, BackendSpec]:
        if not self._site.settings.backend:
            raise ConfigError("no backend is configured: name at least one, such as backend='local'.")
        twice = {name for name in self._site.settings.backend if self._site.settings.backend.count(name) > 1}
        if twice:
            raise ConfigError(f"backend {sorted(twice)[0]!r} is named twice.")
        self._site.plugins().routing.get(self._site.settings.routing)
        return {name: self._site.plugins().backends.get(name) for name in self._site.settings.backend}

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
        # Of two threads that lay them at once the first wins: nothing is open yet in what the other one laid.
        return self.laid or self._laid.setdefault(current(), self._lay())

    @property
    def laid(self) -> Wires | None:
        """What belongs to the process that asks, if there is any yet."""
        return self._laid.get(current())

    @property
    def outdated(self) -> bool:
        """Whether the user's own SDKs say something else by now."""
        return self.laid is not None and self.laid.sdk != self._sdk()

    def cut(self) -> Wires | None:
        """Return what belongs to the process that asks, to be closed: the next look makes it anew."""
        return self._laid.pop(current(), None)

    def _sdk(self) -> dict[str, dict[str, Any]]:
        return {name: sdk_state(spec) for name, spec in self.specs.items()}

    def _lay(self) -> Wires:
        sdk = self._sdk()
        couriers = {name: self._courier(name, sdk[name]) for name in self.specs}
        return Wires(sdk, couriers, self._finder(sdk), Sealer(lambda path: self._finish(path, couriers)))

    @property
    def store(self) -> Store:
        """Where large files' bytes go."""
        if self._store is None:
            found = open_store(self._site.settings.store, self._site.directory)
            self._store = BoundedStore(found, self._site.settings) if isinstance(found, RemoteStore) else found
        return self._store

    def _lane(self, name: str, sdk: dict[str, Any]) -> Lane:
        context = BackendContext(self._site.directory, sdk)
        return open_lane(self.specs[name], self._site.experiment, self._plugin_settings[name], context)

    def _finder(self, sdk: dict[str, dict[str, Any]]) -> Finder:
        return Finder(
            self._site.experiment,
            self.specs,
            {name: Reader(self._lane(name, sdk[name]), self._site.settings) for name in self.specs},
            outbox=self._site.outbox,
            plugins=self._site.plugins,
            store=lambda: self.store,
            downloads=self._site.directory / "downloads",
        )

    def _courier(self, name: str, sdk: dict[str, Any]) -> Courier:
        own = without_secrets(sdk)
        addresses = Addresses(sdk, self._plugin_settings[name])
        addresses.note()

        def elsewhere(parcel: Parcel) -> Lane | None:
            return None if without_secrets(parcel.sdk) == own else self._lane(name, parcel.sdk)

        lane = self._lane(name, sdk)
        return Courier(
            name, self._site.experiment, lane, self._site.outbox, self._site.settings, elsewhere, addresses.check
        )
