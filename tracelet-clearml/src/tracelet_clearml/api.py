"""The API server: a session of the SDK's, bounded, and requests whose answers are read and believed only when they are good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from clearml.backend_api import Session
from clearml.backend_api.services import events, models, projects, tasks

from tracelet.exceptions import BackendError, BackendUnavailable
from tracelet.plugin import redact
from tracelet_clearml.errors import refused

__all__ = ["PAGE", "Api", "ApiSession"]

#: The most documents that the server gives at once.
PAGE = 500
#: What has a project that people do not see among them, as ours is; it is left out of answers otherwise.
_HIDDEN = frozenset({"projects", "tasks"})


class ApiSession(Session):
    """The SDK's session, in which what the SDK makes can be marked, and a token that is over is no refusal."""

    #: What every task that is made now says besides.
    mark: Mapping[str, Any] = MappingProxyType({})

    def send_request(self, service: str, action: str, *args: Any, **named: Any) -> Any:
        """Send a request; where the token is not good any more, once again with a new one."""
        if self.mark and (service, action) == ("tasks", "create"):
            named["json"] = {**named["json"], **self.mark}
        answer = super().send_request(service, action, *args, **named)
        # The SDK gets a new token by then, and asks with the old one.
        return super().send_request(service, action, *args, **named) if answer.status_code == 401 else answer


class Api:
    """Requests to ClearML's API server, of one session that the SDK uses as well."""

    def __init__(self, session: ApiSession) -> None:
        self.session = session
        #: The address for people, without credentials.
        self.place = redact(session.host)
        # Only now: the SDK's tables of services open a session by themselves, an unbounded one, where there is none.
        self._versions = {
            "events": events.AddBatchRequest._version,
            "models": models.GetAllRequest._version,
            "projects": projects.GetAllRequest._version,
            "tasks": tasks.GetAllRequest._version,
        }

    def call(self, service: str, action: str, **asked: Any) -> dict[str, Any]:
        """Send a request and return the data of its answer.

        Raises :class:`~tracelet.BackendError`, or its kind that fits, for every answer that is no success.
        """
        if action == "get_all" and service in _HIDDEN:
            asked["search_hidden"] = True
        answer = self.session.send_request(service, action, version=self._versions[service], json=asked)
        return _data(f"{service}.{action}", answer)

    def call_unless_gone(self, service: str, action: str, **asked: Any) -> None:
        """Send a request that takes something away; what is not there, or not for us to take, is no error."""
        try:
            self.call(service, action, **asked)
        except BackendError as error:
            if error.retryable and type(error) is not BackendError:
                raise

    def pages(self, service: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """Yield every document that a ``get_all`` finds, whatever their number."""
        page = 0
        while True:
            found = self.call(service, "get_all", page=page, page_size=PAGE, **asked)[service]
            yield from found
            if len(found) < PAGE:
                return
            page += 1

    @contextlib.contextmanager
    def marking(self, **mark: Any) -> Iterator[None]:
        """Give these fields to every task that is made in the block, by the SDK as well, from its first moment on."""
        self.session.mark = mark
        try:
            yield
        finally:
            self.session.mark = ApiSession.mark

    def send_events(self, many: list[dict[str, Any]]) -> None:
        """Send events, all at once; raises as :meth:`call` does."""
        version = self._versions["events"]
        for answer in self.session.send_request_batch("events", "add_batch", version=version, json=many):
            _data("events.add_batch", answer)

    def task_page(self, project: str, task: str) -> str:
        """Return the address of the artifacts of a task: where it is depends on how old the server is.

        The SDK chooses the same way in ``Task.get_output_log_web_page``.
        """
        kind = "tasks" if Session.check_min_api_server_version("2.31") else "experiments"
        return f"{self.web.rstrip('/')}/projects/{project or '*'}/{kind}/{task}/artifacts"

    @property
    def web(self) -> str:
        """The address of the web application, or of the API server where that is not known."""
        try:
            return redact(str(Session.get_app_server_host()))
        except ValueError:
            return self.place


def _data(endpoint: str, answer: Any) -> dict[str, Any]:
    try:
        told = answer.json()
        meta, data = told["meta"], told.get("data") or {}
        status, code = int(meta["result_code"]), int(meta.get("result_subcode") or 0)
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(
            f"{endpoint} of ClearML did not answer as ClearML does (HTTP status {answer.status_code}): is a proxy in "
            "between, or another server at this address?"
        ) from error
    if status != 200:
        raise refused(endpoint, status, code, str(meta.get("result_msg")))
    if not isinstance(data, dict):
        raise BackendUnavailable(f"{endpoint} of ClearML answered without data.")
    return data
