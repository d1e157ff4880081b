"""What ClearML's server, its SDK and their HTTP client say, in Tracelet's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from clearml.backend_api.session.defs import MissingConfigError
from clearml.backend_api.session.session import LoginError
from clearml.backend_config.errors import ConfigurationError
from clearml.backend_interface.session import SendError

from tracelet.exceptions import ArtifactError, BackendAuthError, BackendError, BackendUnavailable, TraceletError
from tracelet.plugin import redact

__all__ = ["AccessDenied", "ServerUnavailable", "WrongStatus", "refused", "translated"]

_LONGEST = 600
#: ClearML's own numbers (``apiserver/apierrors/errors.conf`` of its server) for what it does not take: a request, a
#: field, the name of a project, a path of more than ten, a name that is a public project's, and a value that its database
#: does not take.
_INVALID = frozenset({12, 16, 407, 409, 414, 800})
#: HTTP's number and ClearML's of what is everybody's to see, and nobody's to change.
_PUBLIC = (403, 21)
#: What only an experiment's name decides.
_BY_NAME = "projects.create"
#: A task's status does not allow it; or the status was changed by somebody else in that moment.
_STATUS = frozenset({110, 121})
_CREDENTIALS = (
    "set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY, or run clearml-init; the web application's settings "
    "(Workspace, Create new credentials) give you a pair."
)


class ServerUnavailable(BaseException):
    """A server did not answer as one that works.

    No ``Exception``: the SDK catches every one of those and tries again without end, or goes on as if nothing had
    happened. It never leaves this package: :func:`translated` makes a :class:`~tracelet.BackendUnavailable` of it.
    ``retry_after`` is how many seconds the server asks to be left alone for.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WrongStatus(BackendError):
    """ClearML does not do this to a task of its status: only new and running tasks take anything."""


class AccessDenied(ServerUnavailable):
    """A server answered that we are not let in. :func:`translated` makes a :class:`~tracelet.BackendAuthError` of it."""


def refused(endpoint: str, status: int, code: int, message: str) -> TraceletError:
    """Return the error for an answer of the API server that is no success.

    ``status`` is HTTP's, ``code`` ClearML's own number below it.
    """
    said = f"{endpoint} answered {status}/{code}: {message[:_LONGEST]}"
    if (status, code) == _PUBLIC:
        return BackendAuthError(
            "ClearML lets nobody put anything into a project that is public: choose another name for the experiment, or "
            f"have the project made private. It said: {said}"
        )
    if status in {401, 403}:
        return BackendAuthError(f"ClearML does not let us in: {_CREDENTIALS} {said}")
    if status >= 500 or status in {408, 429}:
        return BackendUnavailable(f"ClearML failed: {said}")
    if status == 400 and code in _INVALID and endpoint.startswith(_BY_NAME):
        return ArtifactError(
            "ClearML does not take the experiment as it is: choose another name, or fewer levels ('/') in it. "
            f"It said: {said}"
        )
    if status == 400 and code in _INVALID:
        return BackendError(
            "ClearML does not take what tracelet-clearml sent, which is no fault of the artifact's: it is kept, and sent "
            f"again. Report it, please, with what ClearML said: {said}"
        )
    if status == 400 and code in _STATUS:
        return WrongStatus(f"ClearML does not let the task be changed: {said}")
    return BackendError(f"ClearML refused: {said}")


@contextmanager
def translated() -> Iterator[None]:
    """Raise what ClearML raises inside as one of Tracelet's errors."""
    try:
        yield
    except TraceletError:
        raise
    except AccessDenied as error:
        raise BackendAuthError(f"{error} {_CREDENTIALS}") from error
    except ServerUnavailable as error:
        raise BackendUnavailable(str(error), retry_after=error.retry_after) from error
    except MissingConfigError as error:
        raise BackendAuthError(f"there are no credentials for ClearML: {_CREDENTIALS}") from error
    except LoginError as error:
        raise BackendAuthError(f"ClearML does not let us in: {_CREDENTIALS} It said: {_text(error)}") from error
    except SendError as error:
        meta = error.result.meta
        endpoint = str(getattr(meta.endpoint, "name", meta.endpoint))
        raise refused(endpoint, meta.result_code, meta.result_subcode or 0, str(meta.result_msg)) from error
    except ConfigurationError as error:
        raise BackendError(f"ClearML's configuration cannot be read: {_text(error)}", retryable=False) from error
    except requests.RequestException as error:
        raise BackendUnavailable(f"ClearML does not answer: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return redact(str(error))[:_LONGEST]
