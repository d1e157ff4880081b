"""The settings of the backend ``aim``."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = ["AimSettings"]


def _variable(field: attrs.Attribute[Any]) -> str:
    return f"TRACELET_AIM_{field.name.upper()}"


def _known_place(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    if "://" in value and not value.startswith("aim://"):
        raise ConfigError(f"{_variable(field)}={value!r}: give a folder, or aim://host:port of an `aim server`.")


def _known_store(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    if value and not value.startswith(("s3://", "file:///")):
        raise ConfigError(f"{_variable(field)}={value!r}: Aim keeps artifacts at s3://bucket/… or file:///folder.")
    if set(value) & set("?#"):
        raise ConfigError(f"{_variable(field)}={value!r}: Aim cuts a URI off at ? and #. Use one without them.")


@attrs.frozen(kw_only=True)
class AimSettings:
    """Read from ``TRACELET_AIM_*``."""

    #: The repo: a folder, or ``aim://host:port`` of an ``aim server``. Empty: the one that Aim itself takes, the nearest folder above
    #: with a ``.aim`` in it, or else the program's own folder. It is made where there is none.
    repo: str = attrs.field(default="", validator=_known_place)
    #: Where the bytes of artifacts go: ``s3://…`` or ``file:///…``. Empty: a folder inside the repo.
    artifacts_uri: str = attrs.field(default="", validator=_known_store)
    #: Whether ``file://`` artifacts lie on a disk that every machine mounts, which only you can know.
    shared_files: bool = False
    #: Show images, audio, texts and figures in Aim's explorers. They are stored as files in any case.
    track_media: bool = True
