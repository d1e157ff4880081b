"""How a version is pointed at: by its number, digest, label or alias, or as the latest; and which names it can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.exceptions import AmbiguousVersion, ArtifactError, VersionConflict

__all__ = ["Ref", "check_label", "label_conflict", "look_up", "of_digest", "parse_ref"]

T = TypeVar("T")

#: As many digits as a number of 64 bits has.
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_VERSION_LIKE = re.compile(r"[vV][0-9]+")
_DIGEST = re.compile(r"[0-9a-f]{6,64}")


def check_label(label: object) -> str:
    """Return a version label or alias if it may be one.

    Raises :class:`ArtifactError` for ``latest``, for a text like ``v3``, and for what cannot be a name.
    """
    if label == "latest" or (isinstance(label, str) and _VERSION_LIKE.fullmatch(label)):
        raise ArtifactError(f"{label!r} is given by the backend itself: choose a label such as 'v1.2.0' or 'best'.")
    return check_name(label, "label")


@attrs.frozen
class Ref:
    """One way to point at a version of a name; exactly one field is set, or none for ``latest``."""

    number: int | None = None
    digest: str | None = None
    put_id: str | None = None
    #: A label or an alias.
    label: str | None = None


def parse_ref(text: object) -> Ref:
    """Read ``latest``, ``vN``, ``sha256:<prefix>``, ``put:<id>``, or a label or alias.

    Raises :class:`ArtifactError` for anything else.
    """
    if text == "latest":
        return Ref()
    if isinstance(text, str):
        if match := _VERSION.fullmatch(text):
            return Ref(number=int(match[1]))
        kind, _, rest = text.partition(":")
        if kind == "sha256" and _DIGEST.fullmatch(rest):
            return Ref(digest=rest)
        if kind == "put" and rest:
            return Ref(put_id=check_name(rest, "put-id"))
    try:
        return Ref(label=check_label(text))
    except ArtifactError:
        number = " is a number, and not text" if type(text) in {int, float} else ""
        raise ArtifactError(
            f"version {text!r}{number}: give 'latest', 'v3', a label, an alias, or 'sha256:' and at least 6 hexadecimal digits."
        ) from None


def look_up(
    ref: Ref,
    *,
    latest: Callable[[], T],
    number: Callable[[int], T],
    label: Callable[[str], T],
    digest: Callable[[str], T],
    put_id: Callable[[str], T],
) -> T:
    """Look a version up in the way that a reference asks for.

    Args:
        ref: What :func:`parse_ref` returned.
        latest: Finds the newest version.
        number: Finds a version by its number.
        label: Finds a version by its label, or by an alias that points at it.
        digest: Finds the newest version whose digest begins with these digits; see :func:`of_digest`.
        put_id: Finds the version that a put made.

    Returns:
        What the look-up that was called returns. No other one is called.

    Example:
        >>> versions = ["first", "second"]
        >>> look_up(
        ...     parse_ref("v1"),
        ...     latest=lambda: versions[-1],
        ...     number=versions.__getitem__,
        ...     label={"best": "first"}.get,
        ...     digest=lambda beginning: None,
        ...     put_id=lambda put: None,
        ... )
        'second'

    """
    if ref.number is not None:
        return number(ref.number)
    if ref.label is not None:
        return label(ref.label)
    if ref.digest is not None:
        return digest(ref.digest)
    return latest() if ref.put_id is None else put_id(ref.put_id)


def of_digest(name: str, beginning: str, found: Iterable[tuple[str, T]]) -> T | None:
    """Return the newest version whose digest begins with these digits.

    Args:
        name: The artifact's name, for the message.
        beginning: The first digits of a digest, or all of them.
        found: Digests, each with the version that has it, the newest version first. Others may be among them.

    Returns:
        The first version that fits, or None.

    Raises:
        AmbiguousVersion: Two different digests begin with them.

    Example:
        >>> of_digest("model", "abc", [("abc1", 2), ("def2", 1), ("abc1", 0)])
        2

    """
    fitting: dict[str, T] = {}
    for digest, one in found:
        if digest.startswith(beginning):
            fitting.setdefault(digest, one)
    if len(fitting) > 1:
        raise AmbiguousVersion(f"sha256:{beginning} is the beginning of {len(fitting)} digests of {name!r}: give more.")
    return next(iter(fitting.values()), None)


def label_conflict(name: str, label: str, number: int | None = None) -> VersionConflict:
    """Return the error for a label that belongs to other content.

    Args:
        name: The artifact's name.
        label: The label.
        number: The version that has it. None where that version was deleted.

    Example:
        >>> print(label_conflict("model", "1.0", 3))
        'model' '1.0' is v3, which has other content: a label belongs to one content. Choose another label.

    """
    owner = "was other content, which is deleted" if number is None else f"is v{number}, which has other content"
    return VersionConflict(f"{name!r} {label!r} {owner}: a label belongs to one content. Choose another label.")
