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
    UnknownConfigurationKeyError,
)

from tracelet.exceptions import BackendAuthError, BackendUnavailable, ConfigError
from tracelet.plugin import redact

__all__ = ["translated", "without_conditions"]

#: What stores say where the bucket itself is not there; a key that is missing has the same status.
#: S3's and GCS's code, that of GCS's JSON, and Azure's.
_NO_BUCKET = re.compile(r"NoSuchBucket|The specified bucket does not exist|ContainerNotFound|FilesystemNotFound")
_WRONG_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint")
_SKEWED = re.compile(r"RequestTimeTooSkewed|RequestExpired|InvalidAuthenticationInfo.*time", re.DOTALL)
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


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what the client raises in this block into errors of Tracelet's.

    What says that a key is missing, taken, or changed is let through.

    Args:
        place: where the bucket is, for people to read.
    """
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)):
            raise _failed(place, error) from error
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        if _SKEWED.search(str(error)):
            raise BackendAuthError(
                f"{place} refuses requests of this machine, whose clock is wrong ({_words(error)}): set the clock."
            ) from error
        raise BackendAuthError(
            f"{place} refuses the credentials, or they may not do this ({_words(error)}): see that they may read, write, "
            "list and delete below the prefix."
        ) from error
    except (NotSupportedError, NotImplementedError) as error:
        raise without_conditions(place, _words(error)) from error
    except UnknownConfigurationKeyError as error:
        raise ConfigError(f"{place}: {_words(error)}.") from error
    except (AlreadyExistsError, PreconditionError):
        raise
    except BaseError as error:
        raise _failed(place, error) from error


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
    if "credentials" in told.lower() or "169.254." in told:
        return BackendAuthError(
            f"{place}: there are no credentials ({_words(error)}): set those of the cloud's own chain in the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_KEY."
        )
    return BackendUnavailable(f"{place} cannot be reached, or does not answer: {_words(error)}.")
