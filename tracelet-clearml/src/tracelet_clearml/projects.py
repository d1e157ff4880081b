"""The ClearML projects of an experiment: the one that people see, and the hidden one below it that has the records."""

from __future__ import annotations

import re

from tracelet.exceptions import BackendError
from tracelet_clearml.api import Api
from tracelet_clearml.names import project_name

__all__ = ["INDEX", "Projects"]

#: Hidden as ClearML hides its own, such as ``.datasets``; no experiment's project is ever called so.
INDEX = ".tracelet"
_HIDDEN = "hidden"


class Projects:
    """The projects, found by their exact names. They are made when something is to be stored in them.

    Their ids are remembered for one operation only: people delete and rename projects while runs go on.
    """

    def __init__(self, api: Api, experiment: str) -> None:
        self._api = api
        self.name = project_name(experiment)
        self._index = f"{self.name}/{INDEX}"
        #: The ids of the projects that there are, by name. None before the server was asked.
        self._known: dict[str, list[str]] | None = None

    def forget(self) -> None:
        """Forget the ids, so that the next use asks the server again."""
        self._known = None

    def have_changed(self) -> bool:
        """Ask the server again, and say whether the ids are others than before."""
        before = self._known
        self._known = None
        return before is not None and before != self._ids()

    def visible(self) -> str:
        """Return the id of the experiment's project. Make the project if there is none."""
        return self._ensure(self.name)

    def index(self) -> str:
        """Return the id of the hidden project. Make the project if there is none."""
        if self._index not in self._ids():
            self.visible()
        return self._ensure(self._index, hidden=True)

    def visibles(self) -> list[str]:
        """Return the ids of the experiment's project: none, one, or several after a race."""
        return self._ids().get(self.name, [])

    def indexes(self) -> list[str]:
        """Return the ids of the hidden project: none, one, or several after a race."""
        return self._ids().get(self._index, [])

    def _ids(self) -> dict[str, list[str]]:
        if self._known is None:
            pattern = f"^{re.escape(self.name)}(/{re.escape(INDEX)})?$"
            asked = {"name": pattern, "only_fields": ["id", "name", "created"]}
            found = self._api.call("projects", "get_all", **asked)["projects"]
            # Some databases ignore a last line break, or the case, in a pattern.
            known: dict[str, list[str]] = {}
            for one in sorted(found, key=lambda one: str(one.get("created"))):
                if one.get("name") in {self.name, self._index}:
                    known.setdefault(str(one["name"]), []).append(str(one["id"]))
            self._known = known
        return self._known

    def _ensure(self, name: str, *, hidden: bool = False) -> str:
        if name not in self._ids():
            more = {"system_tags": [_HIDDEN]} if hidden else {}
            try:
                self._api.call("projects", "create", name=name, description="", **more)
            except BackendError:
                # If another process made it since we asked, it is there now.
                self.forget()
                if name not in self._ids():
                    raise
            self.forget()
        found = self._ids().get(name)
        if not found:
            raise BackendError(f"ClearML does not show the project {name!r} that it made.")
        return found[0]
