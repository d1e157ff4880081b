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
    """Found by their exact names, and made when something is to be put into them.

    What was found is believed for one piece of work: people delete projects, and rename them, while runs go on.
    """

    def __init__(self, api: Api, experiment: str) -> None:
        self._api = api
        self.name = project_name(experiment)
        self._index = f"{self.name}/{_INDEX}"
        #: By name, the ids of those that there are; None until it is asked.
        self._known: dict[str, list[str]] | None = None

    def forget(self) -> None:
        """Ask again where they are before anything is done with them."""
        self._known = None

    def have_changed(self) -> bool:
        """Look again, and say whether others are there than a moment ago."""
        before = self._known
        self._known = None
        return before is not None and before != self._ids()

    def visible(self) -> str:
        """Return the id of the experiment's project; it is made where there is none."""
        return self._ensure(self.name)

    def index(self) -> str:
        """Return the id of the project of the records; it is made where there is none."""
        if self._index not in self._ids():
            self.visible()
        return self._ensure(self._index, hidden=True)

    def visibles(self) -> list[str]:
        """Return the ids of every project of the experiment: none yet, or one."""
        return self._ids().get(self.name, [])

    def indexes(self) -> list[str]:
        """Return the ids of every project of the records: none yet, or one."""
        return self._ids().get(self._index, [])

    def _ids(self) -> dict[str, list[str]]:
        if self._known is None:
            pattern = f"^{re.escape(self.name)}(/{re.escape(_INDEX)})?$"
            asked = {"name": pattern, "only_fields": ["id", "name", "created"]}
            found = self._api.call("projects", "get_all", **asked)["projects"]
            # A pattern says less than a name: some databases take a last line break, or the case, for nothing.
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
                # Another process made it between the question and this: then it is there now.
                self.forget()
                if name not in self._ids():
                    raise
            self.forget()
        found = self._ids().get(name)
        if not found:
            raise BackendError(f"ClearML does not show the project {name!r} that it made.")
        return found[0]
