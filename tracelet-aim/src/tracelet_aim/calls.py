"""Requests to an Aim server, each with a time limit.

The protocol is that of ``aim.ext.transport``: a client asks for a resource (a database, the repo, the folder of
check-ins) and gets a handle, by which it calls the resource's methods. The server does one thing at a time. Aim's own
client speaks the same protocol, but waits without limit, and takes an answer with an error's status for data.
"""

from __future__ import annotations

import base64
import struct
import time
import uuid
from typing import Any

import attrs
import requests
from aim.ext.transport.message_utils import decode_tree, encode_tree, pack_args, unpack_args

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable
from tracelet.plugin import redact, seconds_asked
from tracelet.settings import load

__all__ = ["LIMITS", "MANY", "Calls", "Refused"]

#: Seconds to connect, and for an answer.
LIMITS = (5.0, 10.0)
#: The same for an answer with thousands of versions, from a server that has just answered another request.
MANY = (5.0, 60.0)
#: The same for the first question, which an Aim server answers at once.
_PREFLIGHT = (4.0, 4.0)
#: Seconds between two heartbeats. A server drops a client after 300 seconds without one.
_HEARTBEAT = 100.0


@attrs.frozen(kw_only=True)
class _Variables:
    """Aim's own variable for a certificate, ``__AIM_CLIENT_SSL_CERTIFICATES_FILE__``."""

    ssl_certificates_file__: str = ""


class Refused(Exception):
    """The call raised an error in the server; ``kind`` is the name of its class there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Calls:
    """One client of one server, for one request at a time."""

    def __init__(self, address: str) -> None:
        """``address`` is ``aim://host:port``. Raises where no Aim server answers there."""
        self.shown = redact(address).rstrip("/")
        self._authority = address.removeprefix("aim://").rstrip("/")
        self._id = str(uuid.uuid4())
        self._session = requests.Session()
        self._session.verify = load(_Variables, "__AIM_CLIENT_").ssl_certificates_file__ or True
        self._alive = float("-inf")
        self._base = self._find()

    def resource(self, kind: str, **what: Any) -> str:
        """Return a handle. Raises :class:`Refused` where the server cannot open the resource."""
        self._live()
        body = {"resource_handler": "", "resource_type": kind, "args": _packed(what)}
        return str(self._posted("get-resource", body).json()["handler"])

    def call(self, handle: str, method: str, *arguments: Any, limits: tuple[float, float] = LIMITS) -> Any:
        """Call a method, or read an attribute, of a resource. Raises :class:`Refused` where that raised in the server."""
        body = {"resource_handler": handle, "method_name": method, "args": _packed(arguments)}
        answer = self._posted("read-instruction", body, limits)
        try:
            return decode_tree(unpack_args(answer.content))
        except (struct.error, KeyError, ValueError) as error:
            raise BackendUnavailable(
                f"{self.shown} broke off in the middle of an answer: it is tried again."
            ) from error

    def release(self, handle: str) -> None:
        """Give a handle back. The server closes the resource."""
        answer = self._asked("GET", f"tracking/{self._id}/release-resource/{handle}/")
        if answer.status_code != 200:
            raise self._failure(answer)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _find(self) -> str:
        """Return the address that answers. A proxy may serve it by https only, as Aim's client assumes as well."""
        first: requests.RequestException | None = None
        for scheme in ("http", "https"):
            base = f"{scheme}://{self._authority}"
            try:
                answer = self._session.get(f"{base}/status/", timeout=_PREFLIGHT)
            except requests.ReadTimeout as error:
                raise BackendUnavailable(
                    f"{self.shown} does not answer in time: see whether the server is stuck, or start it anew."
                ) from error
            except requests.RequestException as error:
                first = first or error
                continue
            if answer.status_code != 200:
                raise self._failure(answer)
            if "status" not in answer.text:
                raise self._stranger("something else than Aim")
            return answer.url.removesuffix("/status/")
        raise BackendUnavailable(
            f"{self.shown} does not answer ({type(first).__name__}): start it with `aim server`, or correct "
            "TRACELET_AIM_REPO."
        ) from first

    def _live(self) -> None:
        # A server releases a dead client's handles only if it ever had a heartbeat of it.
        if time.monotonic() - self._alive > _HEARTBEAT:
            answer = self._asked("GET", f"client/heartbeat/{self._id}/")
            if answer.status_code != 200:
                raise self._failure(answer)
            self._alive = time.monotonic()

    def _posted(self, what: str, body: dict[str, str], limits: tuple[float, float] = LIMITS) -> requests.Response:
        answer = self._asked("POST", f"tracking/{self._id}/{what}/", limits, json=body)
        if answer.status_code == 200:
            return answer
        if answer.status_code == 400:
            raise self._refusal(answer)
        if answer.status_code == 500 and "not JSON serializable" in answer.text:
            # RocksDB's errors are bytes, which the server cannot send.
            raise Refused("RocksIOError", "the server could not open or use a database")
        raise self._failure(answer)

    def _asked(self, method: str, path: str, limits: tuple[float, float] = LIMITS, **more: Any) -> requests.Response:
        try:
            answer = self._session.request(method, f"{self._base}/{path}", timeout=limits, **more)
        except requests.Timeout as error:
            self._session.close()
            raise BackendUnavailable(f"{self.shown} does not answer in time: it is tried again.") from error
        except requests.RequestException as error:
            self._session.close()
            raise BackendUnavailable(
                f"{self.shown} does not answer ({type(error).__name__}): is the server running?"
            ) from error
        if answer.status_code >= 500:
            self._session.close()  # the server closes the connection after an error
        return answer

    def _refusal(self, answer: requests.Response) -> Exception:
        try:
            told = answer.json()["exception"]
            return Refused(str(told["class_name"]), str(told["message"]))
        except (ValueError, LookupError, TypeError):
            return self._failure(answer)

    def _failure(self, answer: requests.Response) -> BackendError:
        if answer.status_code in {401, 403, 407}:
            return BackendAuthError(
                f"{self.shown} does not let us in (HTTP status {answer.status_code}): Aim has no credentials of its own, so "
                "a proxy stands before it; let this machine through there, or name another address in TRACELET_AIM_REPO."
            )
        if answer.status_code == 404:
            return self._stranger("HTTP status 404")
        wait = seconds_asked(answer.headers.get("Retry-After"))
        if wait:
            return BackendUnavailable(
                f"{self.shown} asks to wait {wait:.0f} s (HTTP status {answer.status_code}).", retry_after=wait
            )
        return BackendUnavailable(
            f"{self.shown} is not well: HTTP status {answer.status_code}. See the server's output."
        )

    def _stranger(self, found: str) -> BackendError:
        return BackendError(
            f"{self.shown} answers, and is no Aim server ({found}): `aim up` only shows runs; start `aim server`, "
            "and set TRACELET_AIM_REPO to the address that it prints."
        )


def _packed(arguments: Any) -> str:
    return base64.b64encode(pack_args(encode_tree(arguments))).decode()
