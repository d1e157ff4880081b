"""Translate the errors of MLflow, its HTTP client and its object stores into Tracelet's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from mlflow.exceptions import MlflowException
from urllib3.util import Retry

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable, TraceletError
from tracelet.plugin import causes, redact, seconds_asked

__all__ = ["code_of", "hear_waits", "is_missing", "translated"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\")>]+")
#: ``An error occurred (AccessDenied) when calling …``, as botocore says it.
_AWS_CODE = re.compile(r"\((\w+)\) when calling")
_AUTH_CODES = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
#: What is wrong with TLS, by OpenSSL's message. The first that matches counts.
_OF_TLS = (
    (re.compile("mismatch"), "has a certificate for another host: give the address that is in it."),
    (
        re.compile("expired|not yet valid"),
        "has a certificate that is not valid today: renew it, or set the clock right.",
    ),
    (
        re.compile("CERTIFICATE_VERIFY_FAILED"),
        "has a certificate whose issuer this machine does not know: set MLFLOW_TRACKING_SERVER_CERT_PATH to the issuer's file.",
    ),
    (re.compile(""), "does not speak TLS: does its address begin with http:// and not with https://?"),
)
_AWS_AUTH = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401", "403"}
)
_AWS_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
_PASSING_CODES = frozenset(
    {
        "INTERNAL_ERROR",
        "TEMPORARILY_UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "CANCELLED",
        "ABORTED",
    }
)
_LONGEST = 600


def code_of(error: BaseException) -> str:
    """Return MLflow's own code of an error, such as ``RESOURCE_DOES_NOT_EXIST``, or an empty text."""
    return str(error.error_code) if isinstance(error, MlflowException) else ""


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return response.status_code if isinstance(response, requests.Response) else None


def _aws(error: BaseException) -> tuple[str, str] | None:
    """Return the class and the code of an error of the S3 client, without importing it."""
    if not type(error).__module__.startswith(("botocore", "boto3")):
        return None
    match = _AWS_CODE.search(str(error))
    return type(error).__name__, match[1] if match else ""


def is_missing(error: BaseException) -> bool:
    """Tell whether an error of a download says that the file is not there."""
    for one in causes(error):
        aws = _aws(one)
        if _status(one) == 404 or isinstance(one, FileNotFoundError) or (aws and aws[1] in {"404", "NoSuchKey"}):
            return True
    return code_of(error) in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"} or "No such artifact" in str(error)


class _Asked:
    """The seconds that the last answer asked to wait. urllib3's error does not have them."""

    seconds = 0.0


_increment = Retry.increment


def _hearing(self: Retry, method: Any = None, url: Any = None, response: Any = None, *rest: Any, **named: Any) -> Retry:
    _Asked.seconds = seconds_asked(response.headers.get("Retry-After")) if response is not None else 0.0
    return _increment(self, method, url, response, *rest, **named)


def hear_waits() -> None:
    """Have urllib3 note each ``Retry-After``. Only for a lane's own process: it changes the class for all."""
    Retry.increment = _hearing  # type: ignore[assignment, method-assign]


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise the errors of MLflow inside the block as Tracelet's; ``place`` is MLflow's address, without secrets."""
    _Asked.seconds = 0.0
    try:
        yield
    except TraceletError:
        raise
    except Exception as error:
        if _Asked.seconds:
            raise BackendUnavailable(
                f"MLflow at {place} asks to wait {_Asked.seconds:.0f} s.", retry_after=_Asked.seconds
            ) from error
        told = _translation(error, place)
        if told is not None:
            raise told from error
        raise


def _translation(error: Exception, place: str) -> BackendError | None:
    text = _URL.sub(lambda match: redact(match[0]), str(error)).strip()
    said = f"{text[:_LONGEST]}{'…' if len(text) > _LONGEST else ''}"
    for one in causes(error):
        aws, status = _aws(one), _status(one)
        if aws is not None:
            return _aws_translation(*aws, place, f"{type(one).__name__}: {one}")
        if status == 403 or code_of(one) == "PERMISSION_DENIED":
            return BackendAuthError(
                f"MLflow at {place} does not let this user do that: look at MLFLOW_TRACKING_USERNAME. Who logs needs EDIT on the "
                f"experiment and on its index, the experiment of that name with .tracelet. It said: {said}"
            )
        if status == 401 or code_of(one) in _AUTH_CODES:
            return BackendAuthError(
                f"MLflow at {place} does not let us in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                f"MLFLOW_TRACKING_TOKEN. It said: {said}"
            )
        if status is not None and (status >= 500 or status in {408, 429}):
            return BackendUnavailable(f"MLflow at {place} failed with HTTP status {status}: {said}")
        if status is not None and status >= 400:
            # Another artifact may well be accepted.
            way = (
                " A proxy in front of it limits the size of a request: raise that limit (nginx: client_max_body_size)."
                * (status == 413)
            )
            return BackendError(f"MLflow at {place} refused with HTTP status {status}.{way} It said: {said}")
        if isinstance(one, requests.exceptions.SSLError):
            wrong = next(told for words, told in _OF_TLS if words.search(str(one)))
            return BackendUnavailable(f"MLflow at {place} {wrong} {said}")
        if isinstance(one, (requests.ConnectionError, requests.Timeout)):
            return BackendUnavailable(f"MLflow at {place} does not answer: is the server running? {said}")
    if code_of(error) in _PASSING_CODES:
        return BackendUnavailable(f"MLflow at {place} failed: {said}")
    if isinstance(error, MlflowException):
        return BackendError(f"MLflow at {place} refused ({code_of(error)}): {said}")
    if isinstance(error, (requests.RequestException, OSError)):
        return BackendUnavailable(f"MLflow at {place}: {type(error).__name__}: {said}")
    return None


def _aws_translation(kind: str, code: str, place: str, said: str) -> BackendError:
    if kind in _AWS_NO_CREDENTIALS or code in _AWS_AUTH:
        return BackendAuthError(
            f"the artifact store of MLflow at {place} does not let us in: give this machine credentials for it, such as "
            f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. It said: {said}"
        )
    if code == "NoSuchBucket":
        return BackendError(f"the artifact store of MLflow at {place} has no such bucket: make it. It said: {said}")
    return BackendUnavailable(f"the artifact store of MLflow at {place} failed: {said}")
