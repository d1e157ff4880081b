"""Requests to ClearML's API server, whose answers are checked before anything of them is used."""

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

#: The most documents that the server returns at once.
PAGE = 500
#: Services whose answers leave out hidden projects, such as ours, unless they are asked for.
_HIDDEN = frozenset({"projects", "tasks"})


class ApiSession(Session):
    """The SDK's session. It can mark the tasks that the SDK makes, and gets over a token that has expired."""

    #: Fields that every task gets that is made now.
    mark: Mapping[str, Any] = MappingProxyType({})

    def send_request(self, service: str, action: str, *args: Any, **named: Any) -> Any:
        """Send a request. If the token has expired, send it once more with a new one."""
        if self.mark and (service, action) == ("tasks", "create"):
            named["json"] = {**named["json"], **self.mark}
        answer = super().send_request(service, action, *args, **named)
        # By then the SDK has a new token, but it asked with the old one.
        return super().send_request(service, action, *args, **named) if answer.status_code == 401 else answer


class Api:
    """Requests to the API server, in the session that the SDK uses, too."""

    def __init__(self, session: ApiSession) -> None:
        self.session = session
        #: The address for people, without credentials.
        self.place = redact(session.host)
        # Not before there is a session: the SDK's tables of services would open one of their own, without deadlines.
        self._versions = {
            "events": events.AddBatchRequest._version,
            "models": models.GetAllRequest._version,
            "projects": projects.GetAllRequest._version,
            "tasks": tasks.GetAllRequest._version,
        }

    def call(self, service: str, action: str, **asked: Any) -> dict[str, Any]:
        """Send a request and return the data of its answer.

        Raises :class:`~tracelet.BackendError`, or the subclass that fits, for every answer that reports a failure.
        """
        if action == "get_all" and service in _HIDDEN:
            asked["search_hidden"] = True
        answer = self.session.send_request(service, action, version=self._versions[service], json=asked)
        return _data(f"{service}.{action}", answer)

    def call_unless_gone(self, service: str, action: str, **asked: Any) -> None:
        """Send a request that deletes something. It is no error if that is gone already, or if ClearML refuses."""
        try:
            self.call(service, action, **asked)
        except BackendError as error:
            if error.retryable and type(error) is not BackendError:
                raise

    def pages(self, service: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """Yield every document that a ``get_all`` finds, page by page."""
        page = 0
        while True:
            found = self.call(service, "get_all", page=page, page_size=PAGE, **asked)[service]
            yield from found
            if len(found) < PAGE:
                return
            page += 1

    @contextlib.contextmanager
    def marking(self, **mark: Any) -> Iterator[None]:
        """Give these fields to every task that is made in the block, also by the SDK, in the request that makes it."""
        self.session.mark = mark
        try:
            yield
        finally:
            self.session.mark = ApiSession.mark

    def send_events(self, many: list[dict[str, Any]]) -> None:
        """Send events in one request. Raises as :meth:`call` does."""
        version = self._versions["events"]
        for answer in self.session.send_request_batch("events", "add_batch", version=version, json=many):
            _data("events.add_batch", answer)

    def task_page(self, project: str, task: str) -> str:
        """Return the address of a task's artifacts, which depends on the age of the server.

        The SDK chooses in the same way, in ``Task.get_output_log_web_page``.
        """
        kind = "tasks" if Session.check_min_api_server_version("2.31") else "experiments"
        return f"{self.web.rstrip('/')}/projects/{project or '*'}/{kind}/{task}/artifacts"

    @property
    def web(self) -> str:
        """The address of the web application. If that is not known, the address of the API server."""
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
            f"the answer to {endpoint} is not one of ClearML's (HTTP status {answer.status_code}): is there a proxy in between, "
            "or another server at this address?"
        ) from error
    if status != 200:
        raise refused(endpoint, status, code, str(meta.get("result_msg")))
    if not isinstance(data, dict):
        raise BackendUnavailable(f"ClearML's answer to {endpoint} has no data.")
    return data
