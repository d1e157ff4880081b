"""Settings, and the only reader of the environment.

Precedence: argument > ``ExperimentConfig`` field > ``TraceletSettings`` field > ``TRACELET_*`` >
default. Plugins declare an attrs class of their own and get ``TRACELET_<NAME>_*`` by :func:`load`.
"""

from __future__ import annotations

import difflib
import enum
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from tracelet.core.system.ranks import launched_rank
from tracelet.exceptions import ConfigError

__all__ = [
    "NoSettings",
    "TraceletSettings",
    "WatchedDirectory",
    "can_be_path",
    "child_environment",
    "environment",
    "global_rank",
    "load",
    "load_plugin",
    "own_variable",
    "state_folder",
    "unknown_variables",
    "variables",
]

T = TypeVar("T", bound=attrs.AttrsInstance)

#: Seconds; beyond about three hundred years the operating system's waits overflow.
_LONGEST_TIME = 1_000_000_000

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError("say true or false")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _place(value: Any) -> Any:
    """A path or a URL, as text; no shell puts the home in place of ``~`` where a variable or a program says it.

    What is none comes back as it is, for a validator, which knows the field.
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    return os.path.expanduser(path) if isinstance(path, str) else value  # noqa: PTH111 - it may be a URL


def _a_place(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{field.name}={value!r} is no path: give text or a pathlib.Path.")
    if not can_be_path(value):
        # It may be a URL with a password.
        raise ConfigError(f"{field.name} has a character that no system takes in a path: correct it.")


def can_be_path(text: str) -> bool:
    """Whether a system can have a path of that text: NUL ends one, and a lone surrogate is in none."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _value(given: str | enum.Enum | None) -> str | None:
    return given.value if isinstance(given, enum.Enum) else given


@attrs.frozen
class WatchedDirectory:
    """A directory to watch, and what is to become of the files in it.

    ``type`` is the type of them all, such as ``ArtifactType.CHECKPOINT`` or ``"checkpoint"``; None lets each
    file's content and name tell. ``name`` is a pattern for the artifacts' names, of ``{stem}``, ``{parent}`` (the
    folders between) and ``{type}``; None names by folder, stem and type.
    """

    path: str = attrs.field(converter=_place, validator=_a_place)
    type: str | None = attrs.field(default=None, converter=_value)
    name: str | None = None


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (_boolean, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "text"),
    Path: (lambda text: Path(_place(text)), "a path"),
    list[str]: (_words, "words with commas between them"),
    list[str | WatchedDirectory]: (_words, "paths with commas between them"),
}


def _parser(kind: Any) -> tuple[Callable[[str], Any], str]:
    """``X | None`` is read as ``X``; raises ``TypeError`` for what no text can be read as."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        kind = options[0] if len(options) == 1 else kind
    if kind not in _PARSERS:
        raise TypeError(
            f"a field of type {kind} cannot be read from a variable: use bool, int, float, str, Path or list[str]"
        )
    return _PARSERS[kind]


def _variable(prefix: str, field: attrs.Attribute[Any]) -> str:
    return prefix + _argument(field).upper()


def _argument(field: attrs.Attribute[Any]) -> str:
    return field.alias or field.name


def variables(cls: type[attrs.AttrsInstance], prefix: str) -> list[str]:
    """Return the names of the variables that :func:`environment` reads."""
    return [_variable(prefix, field) for field in attrs.fields(cls)]


def environment(
    cls: type[attrs.AttrsInstance], prefix: str, environ: Mapping[str, str], *, given: Collection[str] = ()
) -> dict[str, Any]:
    """Read the fields of an attrs class from variables called ``<prefix><FIELD>``.

    An empty variable counts as not set, and the fields that are ``given`` are not read. Raises
    :class:`ConfigError` that names every bad variable at once, also those that the class refuses.
    """
    kinds = typing.get_type_hints(cls)
    texts: dict[str, str] = {}
    found: dict[str, Any] = {}
    bad: list[str] = []
    for field in attrs.fields(cls):
        name, variable = _argument(field), _variable(prefix, field)
        text = environ.get(variable, "")
        if not text or name in given:
            continue
        texts[name] = f"{variable}={text!r}"
        parse, expected = _parser(kinds[field.name])
        try:
            found[name] = parse(text)
        except ValueError:
            bad.append(f"{texts[name]} is not {expected}")
    bad += _refused(cls, found, texts)
    if bad:
        raise ConfigError("; ".join(bad) + ". Correct or unset what is named here.")
    return found


def _refused(cls: type[attrs.AttrsInstance], found: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """Say which values the class refuses, and why, all of them; what it refuses without any of them is not told here."""
    told: list[str] = []
    left = dict(found)
    while (why := _refusal(cls, left)) is not None:
        # A class stops at the first that it refuses: it is one without which this would not be said.
        guilty = [name for name in left if _refusal(cls, {key: left[key] for key in left if key != name}) != why]
        if not guilty:
            break
        # Our own refusals begin with the field and the value, which the variable stands for here.
        said = why.removeprefix(f"{guilty[0]}={left[guilty[0]]!r}").rstrip(".")
        told.append(", ".join(texts[name] for name in guilty) + (said if said != why.rstrip(".") else f": {said}"))
        left = {name: value for name, value in left.items() if name not in guilty}
    return told


def _refusal(cls: type[attrs.AttrsInstance], values: Mapping[str, Any]) -> str | None:
    # A class whose own __init__ reads variables has that of attrs beside it.
    make = getattr(cls.__new__(cls), "__attrs_init__", cls)
    try:
        make(**values)
    except (TypeError, ValueError) as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """What attrs' own validators raise has more than its words for arguments."""
    return str(error.args[0] if error.args else error)


def load(cls: type[T], prefix: str, environ: Mapping[str, str] | None = None) -> T:
    """Make an instance of ``cls``, an attrs class, from ``<prefix>*`` variables and its defaults.

    Fields may be ``bool``, ``int``, ``float``, ``str``, ``Path`` or ``list[str]``, each also with
    ``| None``. Raises :class:`ConfigError` for values that cannot be read or are refused.
    """
    source = os.environ if environ is None else environ
    try:
        return cls(**environment(cls, prefix, source))
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{prefix}*: {_reason(error)}") from error


def load_plugin(cls: type[T], name: str) -> T:
    """Read what the plugin ``name`` declares as its settings from ``TRACELET_<NAME>_*``; raises as :func:`load` does."""
    return load(cls, _prefix(name))


def _prefix(plugin: str) -> str:
    return f"TRACELET_{plugin.upper().replace('-', '_')}_"


@attrs.frozen
class NoSettings:
    """For a plugin that has nothing to set."""


def _positive(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{field.name}={value!r} is not a number above zero.")


def _not_negative(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST_TIME:
        raise ConfigError(f"{field.name}={value!r} is not a number from 0 on.")


def _share(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    _positive(instance, field, value)
    if value > 1:
        raise ConfigError(f"{field.name}={value!r} is no share: give a number above 0, and 1 at most.")


def _seconds(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    _positive(instance, field, value)
    if not value <= _LONGEST_TIME:
        raise ConfigError(f"{field.name}={value!r} is too long: give up to {_LONGEST_TIME} seconds.")


def _switch(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{field.name}={value!r} is neither True nor False.")


def _one_of(*choices: str) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def check(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise ConfigError(f"{field.name}={value!r}: say one of {', '.join(choices)}.")

    return check


def _names(value: Any) -> Any:
    """``"local"``, ``"mlflow,local"`` and ``["mlflow", "local"]`` are all lists of names; what is none comes back as it is."""
    names = _words(value) if isinstance(value, str) else value
    return list(names) if isinstance(names, (list, tuple)) else value


def _some_names(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"{field.name}={value!r} is no list of names: give one such as ['local'].")


def _directories(value: Any) -> Any:
    """A list of paths and of :class:`WatchedDirectory`; or one of either, or text with commas; what is none comes back as it is."""
    given = _words(value) if isinstance(value, str) else [value] if isinstance(value, WatchedDirectory) else value
    return [_place(one) for one in given] if isinstance(given, (list, tuple)) else value


def _some_directories(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, list):
        raise ConfigError(f"{field.name}={value!r} is no list of directories: give one such as ['./checkpoints'].")
    for one in value:
        if not isinstance(one, WatchedDirectory):
            _a_place(instance, field, one)


def _local(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    _a_place(instance, field, value)
    if not value or "://" in value:
        raise ConfigError(f"{field.name}={value!r}: the tracelet directory is a local folder; a URL may be the store.")


def _rank(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigError(f"{field.name}={value!r} is no rank: give a whole number from 0 on.")


def _named(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{field.name}={value!r} is no name: give text.")


@attrs.frozen(kw_only=True, init=False)
class TraceletSettings:
    """What can be set about Tracelet; a field that is not passed is read from ``TRACELET_<FIELD>``.

    Raises :class:`ConfigError` for a value that cannot be used.
    """

    enable_artifacts: bool = attrs.field(default=False, validator=_switch)
    automagic_artifacts: bool = attrs.field(default=False, validator=_switch)
    watch_filesystem: bool = attrs.field(default=False, validator=_switch)
    #: Directories to watch, as they were given: paths, or :class:`WatchedDirectory` for more than that.
    artifact_watch_dirs: list[str | WatchedDirectory] = attrs.field(
        factory=list, converter=_directories, validator=_some_directories
    )
    #: Seconds between two captures of one path; 0 captures every one.
    capture_min_interval: float = attrs.field(default=0.0, validator=_not_negative)
    #: Captures a minute, of all detectors; 0 is no limit.
    capture_max_per_minute: int = attrs.field(default=0, validator=_not_negative)
    #: Patterns (as of a shell) of the paths and file names that are captured; empty is all.
    capture_include: list[str] = attrs.field(factory=list, converter=_names, validator=_some_names)
    #: Patterns of the paths and file names that are not.
    capture_exclude: list[str] = attrs.field(factory=list, converter=_names, validator=_some_names)
    #: Of one path's versions that wait, keep the newest only; what the limits above hold back is then captured later.
    capture_latest_wins: bool = attrs.field(default=False, validator=_switch)
    #: The share of the disk's free space that captured bytes may take while they wait to be delivered.
    capture_disk_share: float = attrs.field(default=0.5, validator=_share)
    #: Names of the backends to use.
    backend: list[str] = attrs.field(factory=lambda: ["local"], converter=_names, validator=_some_names)
    #: Name of the routing policy.
    routing: str = attrs.field(default="by-type", validator=_named)
    #: The tracelet directory: staging, outbox and the embedded backend. Always local.
    dir: str = attrs.field(default=".tracelet", converter=_place, validator=_local)
    #: Where large files' bytes go: a directory or an fsspec URL. Empty: inside ``dir``.
    store: str = attrs.field(default="", converter=_place, validator=_a_place)
    #: Files of more megabytes (1,000,000 bytes) than this become references.
    large_file_mb: float = attrs.field(default=100.0, validator=_positive)
    on_large: str = attrs.field(default="reference", validator=_one_of("reference", "upload"))
    #: Seconds that one delivery to one backend may take, beside the time for its bytes.
    deadline: float = attrs.field(default=30.0, validator=_seconds)
    #: Megabytes a second that a delivery must reach on top of ``deadline``.
    min_rate: float = attrs.field(default=1.0, validator=_positive)
    #: Seconds that a backend may take to import its SDK and connect.
    open_timeout: float = attrs.field(default=120.0, validator=_seconds)
    #: Seconds that ``stop()`` may take in all.
    stop_timeout: float = attrs.field(default=30.0, validator=_seconds)
    #: Raise what backends raise instead of reporting it in the results.
    strict: bool = attrs.field(default=False, validator=_switch)
    #: This process's rank; only rank 0 writes. Unset: what the launcher says.
    rank: int | None = attrs.field(default=None, validator=_rank)

    def __init__(self, **given: Any) -> None:
        for name in given:
            _check_field(type(self), name)
        self.__attrs_init__(**environment(type(self), "TRACELET_", os.environ, given=given), **given)


def _check_field(cls: type[attrs.AttrsInstance], name: str) -> None:
    fields = [field.name for field in attrs.fields(cls)]
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(fields)}."
        raise TypeError(f"{cls.__name__} has no field {name!r}: {hint}")


def global_rank(settings: TraceletSettings, environ: Mapping[str, str] | None = None) -> int:
    """Return this process's rank among those of one job; 0 where there is only one process."""
    if settings.rank is not None:
        return settings.rank
    return launched_rank(os.environ if environ is None else environ)


def child_environment(extra: Mapping[str, str], defaults: Mapping[str, str], path: str | None) -> dict[str, str]:
    """Return this process's environment with ``extra``, and ``defaults`` for what it does not set.

    ``path`` is put before what ``PYTHONPATH`` has.
    """
    inherited = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join(part for part in (path, inherited) if part)
    return {**defaults, **os.environ, **({"PYTHONPATH": paths} if path else {}), **extra}


def own_variable(name: str) -> str:
    """Return one variable of Tracelet's own, or an empty text."""
    return os.environ.get(name, "")


def state_folder() -> Path | None:
    """Return where Tracelet keeps what is this user's, whatever the tracelet directory; None where they have no home."""
    home = os.path.expanduser("~/.local/state")  # noqa: PTH111 - Path's raises where nobody knows the user
    places = (Path(place) for place in (os.environ.get("XDG_STATE_HOME", ""), home))
    return next((place / "tracelet" for place in places if place.is_absolute()), None)


def unknown_variables(
    plugins: Iterable[tuple[str, type[attrs.AttrsInstance]]], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the ``TRACELET_*`` variables that nobody reads, each with the nearest that somebody does, or an empty text.

    ``plugins`` are the names of plugins with their settings' classes.
    """
    source = os.environ if environ is None else environ
    known = set(variables(TraceletSettings, "TRACELET_"))
    for name, cls in plugins:
        known |= set(variables(cls, _prefix(name)))
    unknown = sorted(name for name in source if name.startswith("TRACELET_") and name not in known)
    return {name: next(iter(difflib.get_close_matches(name, sorted(known), n=1)), "") for name in unknown}
