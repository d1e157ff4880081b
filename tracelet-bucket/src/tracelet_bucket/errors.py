"""Translate the errors of the object stores' client into Tracelet's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from tracelet.exceptions import BackendAuthError, BackendUnavailable, ConfigError
from tracelet.plugin import redact

__all__ = ["BehindTheEnd", "translated", "understood", "without_conditions"]

#: What stores say where the bucket itself is not there; a key that is missing has the same status.
#: S3's and GCS's code, that of GCS's JSON, and Azure's.
_NO_BUCKET = re.compile(r"NoSuchBucket|The specified bucket does not exist|ContainerNotFound|FilesystemNotFound")
#: What they say where a key is missing; what answers only "not found" is no store. To these methods nobody says more.
_NO_KEY = re.compile(r"NoSuchKey|BlobNotFound|CannotVerifyCopySource|Error performing (?:HEAD|DELETE) ")
_WRONG_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint")
_SKEWED = re.compile(r"RequestTimeTooSkewed|RequestExpired|InvalidAuthenticationInfo.*time", re.DOTALL)
#: What all of them say of a part that begins behind the end of an object.
_BEHIND_THE_END = re.compile(r"InvalidRange|416 Range Not Satisfiable")
#: What the client says of a listing with a key that has an empty part, `.` or `..`: others can make these.
_NO_PATH = re.compile(r"Encountered object with invalid path")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_URL = re.compile(r"https?://[^\s'\")>]+")
_LONGEST = 400


def _words(error: BaseException) -> str:
    """What an error says to people: without the client's own view of it, and without the parameters of an address."""
    told = str(error).partition("\n\nDebug source:")[0]
    code, message = _CODE.search(told), _MESSAGE.search(told)
    if code:
        told = f"{code[1]}: {message[1] if message else ''}"
    told = _URL.sub(lambda found: redact(found[0]).partition("?")[0], " ".join(told.split()))
    return told[:_LONGEST].rstrip(". ")


class BehindTheEnd(Exception):
    """A part was asked for that begins behind the end of an object."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what the client raises in this block into errors of Tracelet's.

    What says that a key is missing, taken, or changed is let through, and :class:`BehindTheEnd` raised. None has a cause: a
    traceback would show what the client says, with the signatures of its addresses.

    Args:
        place: where the bucket is, for people to read.
    """
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)) or not _NO_KEY.search(str(error)):
            raise _failed(place, error) from None
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        if _SKEWED.search(str(error)):
            raise BackendAuthError(
                f"{place} refuses requests of this machine, whose clock is wrong ({_words(error)}): set the clock."
            ) from None
        raise BackendAuthError(
            f"{place} refuses the credentials, or they may not do this ({_words(error)}): see that they may read, write, "
            "list and delete below the prefix."
        ) from None
    except (NotSupportedError, NotImplementedError) as error:
        raise without_conditions(place, _words(error)) from None
    except (AlreadyExistsError, PreconditionError):
        raise
    except BaseError as error:
        if _BEHIND_THE_END.search(str(error)):
            raise BehindTheEnd from None
        raise _failed(place, error) from None


@contextmanager
def understood(place: str) -> Iterator[None]:
    """Raise :class:`~tracelet.ConfigError` where the client cannot be made in this block: nothing is sent in it."""
    try:
        yield
    except BaseError as error:
        raise ConfigError(
            f"{place} cannot be opened with what the environment says ({_words(error)}): correct the cloud's own variables, "
            "such as AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS or AWS_ENDPOINT_URL."
        ) from None


def without_conditions(place: str, why: str) -> ConfigError:
    """Return the error for a place that has no conditional writes."""
    return ConfigError(
        f"{place} has no conditional writes ({why}), without which two writers overwrite each other: use a store that has "
        "If-None-Match and If-Match, such as S3, Google Cloud Storage, Azure, MinIO, Ceph or R2, or a later release of this "
        "one, and set TRACELET_BUCKET_URL and AWS_ENDPOINT_URL to it."
    )


def _failed(place: str, error: BaseException) -> Exception:
    told = str(error)
    if _NO_BUCKET.search(told):
        return BackendUnavailable(f"{place}: there is no such bucket. Make it, or correct the URL.")
    if _WRONG_REGION.search(told):
        return ConfigError(f"{place} is in another region ({_words(error)}): set AWS_REGION to the bucket's.")
    if _SKEWED.search(told):
        return BackendAuthError(
            f"{place} refuses requests of this machine, whose clock is wrong ({_words(error)}): set the clock."
        )
    if _NO_PATH.search(told):
        return ConfigError(
            f"{place} has an object of somebody else's, below a folder of Tracelet's, whose name cannot be listed "
            f"({_words(error)}): move it away, or use another prefix."
        )
    if "credentials" in told.lower() or "169.254." in told:
        return BackendAuthError(
            f"{place}: there are no credentials ({_words(error)}): set those of the cloud's own chain in the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_KEY."
        )
    return BackendUnavailable(f"{place} cannot be reached, or does not answer: {_words(error)}.")
