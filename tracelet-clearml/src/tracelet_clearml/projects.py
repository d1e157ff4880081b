"""The ClearML projects of an experiment: the one that people see, and a hidden one below it for the records."""

from __future__ import annotations

import re

from tracelet.exceptions import BackendError
from tracelet_clearml.api import Api
from tracelet_clearml.names import project_name

__all__ = ["Projects"]

#: Hidden as ClearML hides its own, such as ``.datasets``; no experiment's project is ever called so.
_INDEX = ".tracelet"
_HIDDEN = "hidden"


class Projects:
    """Found by their exact names, and made when something is to be put into them."""

    def __init__(self, api: Api, experiment: str) -> None:
        self._api = api
        self.name = project_name(experiment)
        self._known: dict[str, list[str]] = {}

    def visible(self) -> str:
        """Return the id of the experiment's project; it is made where there is none."""
        return self._ensure(self.name)

    def index(self) -> str:
        """Return the id of the project of the records; it is made where there is none."""
        if f"{self.name}/{_INDEX}" not in self._known:
            self.visible()
        return self._ensure(f"{self.name}/{_INDEX}", hidden=True)

    def indexes(self) -> list[str]:
        """Return the ids of every project of the records: none yet, or one."""
        return self._find(f"{self.name}/{_INDEX}")

    def _find(self, name: str) -> list[str]:
        if name not in self._known:
            pattern = f"^{re.escape(name)}$"
            asked = {"name": pattern, "only_fields": ["id", "name", "created"]}
            found = self._api.call("projects", "get_all", **asked)["projects"]
            # A pattern says less than a name: some databases take a last line break, or the case, for nothing.
            exact = sorted((str(one.get("created")), one["id"]) for one in found if one.get("name", name) == name)
            if not exact:
                return []
            self._known[name] = [key for _, key in exact]
        return self._known[name]

    def _ensure(self, name: str, *, hidden: bool = False) -> str:
        found = self._find(name)
        if not found:
            more = {"system_tags": [_HIDDEN]} if hidden else {}
            try:
                self._api.call("projects", "create", name=name, description="", **more)
            except BackendError:
                # Another process made it between the question and this: then it is there now.
                if not self._find(name):
                    raise
            found = self._find(name)
        if not found:
            raise BackendError(f"ClearML does not show the project {name!r} that it made.")
        return found[0]
