"""Which folder of an MLflow run the files of a version are in, so that no two versions have one folder.

A run that was made for one of Tracelet's runs is its alone: there, name and number are enough. In any other run there may be
files of the user's own, and versions of the same name and number from other experiments, each with an index of its own. There
the folder's name says whose put it is, too. Earlier releases took name and number there as well, so that what they stored may
share a folder.
"""

from __future__ import annotations

import hashlib

import attrs
from mlflow import MlflowClient
from mlflow.entities import ViewType

from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath
from tracelet_mlflow.experiments import indexes_in
from tracelet_mlflow.index import NAME
from tracelet_mlflow.records import Record

__all__ = ["Folders"]

#: Hexadecimal digits that tell a put.
_DIGITS = 12
#: Experiments that are searched in one request.
_EXPERIMENTS = 500


@attrs.frozen
class Folders:
    """The folders that a version may have in an MLflow run."""

    name: str
    number: int
    put_id: str

    @property
    def plain(self) -> str:
        """The folder in a run that was made for Tracelet's run, and in every run of earlier releases."""
        return f"{self.name}/v{self.number}"

    @property
    def own(self) -> str:
        """The folder in any other run. Nobody else has one of this name."""
        return f"{self.plain}-{hashlib.sha256(self.put_id.encode()).hexdigest()[:_DIGITS]}"

    def is_shared(self, client: MlflowClient, run_id: str) -> bool:
        """Tell whether a version of another experiment has the plain folder of a run, too. A record that cannot be read counts."""
        indexes = [one.experiment_id for one in indexes_in(client, ViewType.ALL)]
        wanted = f"tags.`{NAME}` = '{self.name}' AND tags.`v{self.number}` LIKE '%{run_id}%'"
        for first in range(0, len(indexes), _EXPERIMENTS):
            found = client.search_runs(indexes[first : first + _EXPERIMENTS], wanted, ViewType.ALL)
            if any(self._is_in(run.data.tags[f"v{self.number}"], run_id) for run in found):
                return True
        return False

    def _is_in(self, text: str, run_id: str) -> bool:
        try:
            record = Record.from_text(text)
        except (IntegrityError, NewerFormat, UnsafePath):
            return True
        return (record.run_id, record.folder) == (run_id, self.plain) and record.put_id != self.put_id
