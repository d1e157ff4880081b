"""The settings of the backend ``bucket``, and what its clients find in the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = ["SCHEMES", "BucketSettings", "endpoint", "wants_aws_profile"]

#: Each scheme, and what follows it.
SCHEMES = {"s3": "bucket/prefix", "gs": "bucket/prefix", "az": "container/prefix", "file": "/folder"}
#: No cloud has buckets with other names. Azure's own begin with a dollar sign.
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]*")


def _known_place(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    if not value:
        return
    shown = f"{field.name}={value!r}"
    scheme, mark, rest = value.partition("://")
    if value.startswith("file:") and not value.startswith("file:///"):
        raise ConfigError(f"{shown}: a file URL here has three slashes, as file:///data/team.")
    if not mark or scheme not in SCHEMES:
        forms = ", ".join(f"{known}://{form}" for known, form in SCHEMES.items())
        raise ConfigError(f"{shown}: give one of {forms}.")
    bucket, _, prefix = rest.partition("/")
    if scheme != "file" and not bucket:
        raise ConfigError(f"{shown}: the name of the bucket is missing: {scheme}://{SCHEMES[scheme]}.")
    if scheme != "file" and not _BUCKET.fullmatch(bucket):
        raise ConfigError(
            f"{shown}: no bucket has the name {bucket!r}: it has letters, digits, dots, hyphens and underscores."
        )
    if not prefix.isprintable():
        raise ConfigError(f"{shown}: the prefix may hold no line breaks, and nothing else that cannot be seen.")
    inner = prefix.strip("/")
    if set(prefix) & set("?#") or (inner and {"", ".", ".."} & set(inner.split("/"))):
        raise ConfigError(f"{shown}: the prefix may hold no ?, no #, and no empty, . or .. part.")


@attrs.frozen(kw_only=True)
class BucketSettings:
    """Read from ``TRACELET_BUCKET_*``."""

    #: Where everything goes: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or ``file:///folder``.
    url: str = attrs.field(default="", validator=_known_place)


#: The variables that name another server than the cloud's own, by scheme.
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")}


def endpoint(scheme: str) -> str:
    """Return the address of the server that the environment names, or an empty text where it is the cloud's own."""
    return next(filter(None, (os.environ.get(name) for name in _ENDPOINTS.get(scheme, ()))), "")


def wants_aws_profile() -> bool:
    """Tell whether credentials are to come from AWS's files: a profile is named, or nothing else is there."""
    if os.environ.get("AWS_PROFILE"):
        return True
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return False
    files = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    return any(Path(os.environ.get(name, usual)).expanduser().exists() for name, usual in files.items())
