"""Translate the errors of the W&B SDK into Tracelet's."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from wandb.errors import AuthenticationError, CommError, Error, UsageError
from wandb.sdk.artifacts.exceptions import WaitTimeoutError
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
from wandb.sdk.mailbox.mailbox import MailboxClosedError
from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable, TraceletError
from tracelet.plugin import causes, redact

__all__ = ["is_absent", "is_conflict", "is_deleted_run", "is_refused_run", "is_upload", "status_of", "translated"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\")>]+")
#: A W&B server's words for missing rights, in answers whose status is 200.
_MAY_NOT = re.compile(
    r"permission denied|not logged in|relogin|unauthori[sz]ed|forbidden|(?:HTTP|returned error|status code:?) 40[13]\b",
    re.IGNORECASE,
)
#: Its answer for a version that it will never accept: it is invalid, it must be paid for, or it is too long.
_REFUSED = re.compile(r"createArtifact: .*?\b(?:returned error|HTTP) (?:400|402|413)\b[^:]*:\s*(.*)", re.DOTALL)
#: Its answer for the id of a deleted run, by these words or this status.
_DELETED_RUN = re.compile(r"previously (?:created and )?deleted|\bHTTP 410\b|returned error 410\b")
#: The status that comes with those words, and also where two processes change a run at once.
_REFUSED_RUN = re.compile(r"\bHTTP 409\b|returned error 409\b")
#: Its answer where another writer's version was first with one of the same new files.
_CONFLICT = re.compile(r"commitArtifact: returned error 409\b|rebase required")
#: What wandb-core says after its own retries, if nobody answered or the server failed. EOF is Go's.
_AWAY = re.compile(
    r"giving up|dial tcp|connection refused|connection reset|i/o timeout|deadline exceeded|no such host|"
    r"timed out|did not respond in time|status code: 5\d\d|HTTP 5\d\d|HTTP 429|failed to upload|run initialization has timed out|(?-i:\bEOF\b)",
    re.IGNORECASE,
)
#: What wandb-core says if an upload to the storage failed. The storage may be another server than W&B's.
_UPLOAD = re.compile(r"ArtifactSaver\.(?:uploadFiles: most remaining uploads|uploadManifest: )")
#: What the SDK says if its own service hangs. It does not recover.
_HANGS = re.compile(r"service process is busy", re.IGNORECASE)
#: What the SDK raises if that service, a process of its own, is gone. For a server it raises errors of requests.
_GONE = (HandleAbandonedError, MailboxClosedError, WandbServiceConnectionError, ConnectionError)
_NOT_RUNNING = re.compile(r"service process is not running", re.IGNORECASE)
#: What wandb-core says if it cannot use this machine's disk.
_CORES_DISK = re.compile(
    r"\b(?:open|openat|mkdir|mkdirat|rename|link|symlink|unlink|write|chmod|create|copy_file_range|fork/exec) (/[^:\n]+): "
    r"(permission denied|operation not permitted|no space left on device|disk quota exceeded|read-only file system|"
    r"not a directory|input/output error)"
)
#: Errors of a disk that have no file name.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_LONGEST = 400


def is_absent(error: CommError) -> bool:
    """Tell whether an error says that a project or a version does not exist.

    The client has no class for that. It raises a plain ``ValueError``, which is no failed answer.
    """
    return type(error.exc) is ValueError and "not found" in str(error.exc)


def is_deleted_run(error: BaseException) -> bool:
    """Tell whether a run could not begin because a run of that id was deleted.

    W&B reserves such an id for some days. Its client retries, and then gives up as if nobody had answered.
    """
    return any(_DELETED_RUN.search(str(one)) for one in causes(error))


def is_refused_run(error: BaseException) -> bool:
    """Tell whether a run could not begin because it was deleted, or because another process writes to it."""
    return any(_REFUSED_RUN.search(str(one)) for one in causes(error))


def is_conflict(error: BaseException) -> bool:
    """Tell whether a version was not committed because another one with the same new file was first.

    The client does not retry. A version that is made again finds the file there.
    """
    return any(_CONFLICT.search(str(one)) for one in causes(error))


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, if there is one."""
    for one in causes(error):
        response = getattr(one, "response", None)
        if isinstance(response, requests.Response):
            return response.status_code
        if isinstance(one, WandbApiFailedError) and one.response is not None and one.response.http_status:
            return int(one.response.http_status)
    return None


def is_upload(error: BaseException) -> bool:
    """Tell whether the server began a version, and the storage did not accept a file of it."""
    return any(_UPLOAD.search(str(one)) for one in causes(error))


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise the errors of the SDK inside the block as Tracelet's; ``place`` is the server's address."""
    try:
        yield
    except TraceletError:
        raise
    except (
        Error,
        WandbApiFailedError,
        WaitTimeoutError,
        requests.RequestException,
        ValueError,
        OSError,
        *_GONE,
    ) as error:
        raise _translation(error, place) from error


def _translation(error: Exception, place: str) -> BackendError:
    text = _URL.sub(lambda match: redact(match[0]), str(error)).strip()
    said = f"{text[:_LONGEST]}{'…' if len(text) > _LONGEST else ''}"
    status = status_of(error)
    if (disk := _disk(error, text)) is not None:
        return disk
    if _is_alone(error):
        return BackendUnavailable(
            f"W&B's client lost its own process on this machine: {said or type(error).__name__}. A new one is started.",
            ends_lane=True,
        )
    if isinstance(error, UsageError) and "API key" in text:
        return BackendAuthError(
            f"there are no credentials for W&B at {place}: run `wandb login`, or set WANDB_API_KEY; "
            "WANDB_MODE=offline needs none."
        )
    if _UPLOAD.search(text):
        return BackendUnavailable(
            f"the storage of W&B at {place} did not accept a file (it is away, refuses the file, or its address for the file has "
            f"expired): {said}"
        )
    if refused := _REFUSED.search(text):
        return BackendError(f"W&B at {place} refuses this: {_words_of(refused[1])}", retryable=False)
    if status in {401, 403} or _MAY_NOT.search(text):
        return BackendAuthError(
            f"W&B at {place} does not let us in: check WANDB_API_KEY and the entity. It said: {said}"
        )
    if (status is not None and (status >= 500 or status in {408, 429})) or _AWAY.search(text):
        return BackendUnavailable(
            f"W&B at {place} does not answer as it should: is it up? The SDK said: {said}",
            ends_lane=_HANGS.search(text) is not None,
        )
    if all(isinstance(one, AuthenticationError) for one in causes(error)):
        return BackendAuthError(f"W&B's API key is not valid: {said} Set WANDB_API_KEY, or run `wandb login`.")
    away = (AuthenticationError, requests.ConnectionError, requests.Timeout, WaitTimeoutError, TimeoutError)
    if isinstance(error, away):
        return BackendUnavailable(f"W&B at {place} does not answer: {said}")
    return BackendError(f"W&B at {place}: {type(error).__name__}: {said}")


def _is_alone(error: BaseException) -> bool:
    """Whether the SDK lost the connection to its own service, and not to a server."""
    chain = list(causes(error))
    if any(isinstance(one, requests.RequestException) for one in chain):
        return False
    return any(isinstance(one, _GONE) or _NOT_RUNNING.search(str(one)) for one in chain)


def _words_of(answer: str) -> str:
    """Return the messages in an answer to a GraphQL request; the answer itself where it has another form."""
    try:
        said = "; ".join(str(one["message"]) for one in json.loads(answer)["errors"])
    except (ValueError, TypeError, KeyError):
        said = answer
    return f"{said[:_LONGEST]}{'…' if len(said) > _LONGEST else ''}"


def _disk(error: BaseException, text: str) -> BackendError | None:
    """Return the error for this machine's own disk, if that is the cause; else None."""
    chain = list(causes(error))
    if any(isinstance(one, (requests.RequestException, ConnectionError, TimeoutError)) for one in chain):
        return None
    of_core = _CORES_DISK.search(text)
    for one in chain:
        if isinstance(one, OSError) and (one.filename is not None or one.errno in _FULL):
            place, said = str(one.filename or "its folders"), one.strerror
            break
    else:
        if of_core is None:
            return None
        place, said = of_core[1], of_core[2]
    return BackendError(
        f"W&B's client cannot use {place!r} on this machine: {said}. Make room there and allow writing there, or set "
        "WANDB_CACHE_DIR, WANDB_DATA_DIR, WANDB_CONFIG_DIR and TRACELET_DIR to other folders."
    )
