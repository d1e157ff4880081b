"""Discovery: what is installed, from which distribution, and what is broken.

Every entry point is loaded by itself, and every hook of it, so that what is broken and nobody names costs nothing.
What Tracelet's own distributions provide is theirs: who is installed beside them changes nothing of it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import logging
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points, metadata, requires
from typing import Any, Generic, TypeVar

import attrs
import pluggy

from tracelet.core.plugins import hookspecs
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.detector import DetectorSpec
from tracelet.core.plugins.routing import ArtifactSummary, RoutingSpec
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.system.messages import sentence, words_of
from tracelet.exceptions import PluginError, PluginLoadError, UnknownPlugin

__all__ = ["PluginRecord", "Registry", "SpecSet", "choose", "discover", "recognise", "registry", "sdk_state"]

_LOG = logging.getLogger("tracelet.plugins")
_CORE = "tracelet-core"
Spec = TypeVar("Spec", BackendSpec, DetectorSpec, RoutingSpec, SerializerSpec)


@attrs.frozen
class PluginRecord:
    """One entry point: where it came from, what it provides, and what is wrong with it."""

    name: str
    distribution: str
    version: str
    target: str
    provides: tuple[str, ...] = ()
    error: PluginLoadError | None = None
    #: What it provides and is not used, such as ``backend local``, with the reason.
    refused: Mapping[str, PluginLoadError] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@attrs.frozen
class SpecSet(Generic[Spec]):
    """The usable specs of one kind, by name, and the names that cannot be used."""

    kind: str
    specs: Mapping[str, Spec]
    broken: Mapping[str, PluginLoadError]
    #: By name: the distribution that provides it, with its version.
    origins: Mapping[str, str] = attrs.field(factory=dict)
    #: The names that Tracelet's own distributions provide.
    own: Collection[str] = frozenset()

    def __iter__(self) -> Any:
        return iter(self.specs.values())

    def get(self, name: str) -> Spec:
        """Return the spec called ``name``.

        Raises :class:`PluginLoadError` where its plugin does not load, :class:`UnknownPlugin` with what
        is installed and the nearest name where there is none.
        """
        if name in self.broken:
            raise self.broken[name].with_traceback(None)
        if name in self.specs:
            return self.specs[name]
        near = difflib.get_close_matches(str(name), self.specs, n=1)
        if name in (metadata(_CORE).get_all("Provides-Extra") or ()):
            hint = f"Install it: pip install 'tracelet-core[{name}]'"
        elif near:
            hint = f"Did you mean {near[0]!r}?"
        else:
            hint = "Install the distribution that provides it, or choose one of these."
        raise UnknownPlugin(
            f"no {self.kind} {name!r} is installed; there is {', '.join(sorted(self.specs)) or 'none'}. {hint}"
        )

    def whose(self, name: str) -> str:
        """Say at the end of a message which distribution a spec is of, where it is not Tracelet's own."""
        return f" {name!r} is of {self.origins[name]}." if name not in self.own and name in self.origins else ""


@attrs.frozen
class Registry:
    """Everything that the installed plugins provide."""

    records: tuple[PluginRecord, ...]
    backends: SpecSet[BackendSpec]
    detectors: SpecSet[DetectorSpec]
    routing: SpecSet[RoutingSpec]
    serializers: SpecSet[SerializerSpec]


_HOOKS: Mapping[str, tuple[str, type[Any]]] = {
    "tracelet_backends": ("backend", BackendSpec),
    "tracelet_detectors": ("detector", DetectorSpec),
    "tracelet_routing": ("routing policy", RoutingSpec),
    "tracelet_serializers": ("serializer", SerializerSpec),
}

# -- loading


@attrs.frozen
class _Found:
    """What one entry point gives, by hook, and what is wrong with it."""

    specs: Mapping[str, list[Any]] = attrs.field(factory=lambda: {hook: [] for hook in _HOOKS})
    faults: list[BaseException] = attrs.field(factory=list)

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """Keep whatever a third party's code raises, but for the user's own interruption."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - an import may exit, skip or raise what it likes
            self.faults.append(error)


def _load(point: EntryPoint) -> _Found:
    """Load one entry point and ask its hooks, each by itself."""
    found = _Found()
    with found.isolated():
        plugin = point.load()
        markers = pluggy.PluginManager(hookspecs.PROJECT)
        hooks = [name for name in dir(plugin) if markers.parse_hookimpl_opts(plugin, name) is not None]
        for name in hooks:
            with found.isolated():
                _ask_hook(name, getattr(plugin, name), found)
        if not hooks:
            found.faults.append(
                TypeError(f"{plugin!r} has no hook of Tracelet's: decorate one with @tracelet.plugin.hookimpl")
            )
        found.faults.extend(_undecorated(plugin, hooks))
    return found


def _ask_hook(name: str, implementation: Any, found: _Found) -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    alone = types.SimpleNamespace(**{name: implementation})
    manager.register(alone, name)
    manager.check_pending()
    for caller in manager.get_hookcallers(alone) or ():
        for one in caller.get_hookimpls():
            if one.hookwrapper or one.wrapper:
                raise TypeError(f"{name} is a wrapper: Tracelet asks every plugin by itself, so return a list")
            # Directly: pluggy would pass over a hook that returns None in silence.
            _take(caller.name, one.function(), found)


def _take(hook: str, returned: object, found: _Found) -> None:
    """Keep the specs that a hook returned, up to where it raises, and say what else it returned."""
    spec_type = _HOOKS[hook][1]
    expected = f"it must return a list of {spec_type.__name__}"
    if not isinstance(returned, Iterable) or isinstance(returned, (str, bytes)):
        raise TypeError(f"{hook} returned {returned!r}: {expected}")
    for one in returned:
        if isinstance(one, spec_type):
            found.specs[hook].append(one)
        else:
            found.faults.append(TypeError(f"{hook} returned {one!r}: {expected}"))


def _undecorated(plugin: object, hooks: Collection[str]) -> Iterator[BaseException]:
    """A hook without its mark would pass in silence; so would one that is misspelt, too."""
    for name in dir(plugin):
        meant = difflib.get_close_matches(name, _HOOKS, n=1, cutoff=0.9)
        if meant and name not in hooks and callable(getattr(plugin, name)):
            yield TypeError(f"{name} has no mark, and is not asked: decorate {meant[0]} with @tracelet.plugin.hookimpl")


def _failure(record: PluginRecord, found: _Found) -> PluginLoadError | None:
    """Return what to say of a plugin in which something is wrong."""
    if not found.faults:
        return None
    first = found.faults[0]
    reasons = "; ".join(dict.fromkeys(words_of(error).rstrip(".") for error in found.faults))
    whole = " whole" if any(found.specs.values()) else ""
    failure = PluginLoadError(
        f"the plugin {record.name!r} of {record} does not load{whole}: {reasons}. Repair it, or uninstall it."
    )
    failure.__cause__ = first
    return failure


# -- sorting


def _unique(points: Iterable[EntryPoint]) -> list[tuple[EntryPoint, PluginRecord]]:
    """One distribution that is found twice on the path is still one; Tracelet's own come first."""
    seen: dict[tuple[str, str, str], tuple[EntryPoint, PluginRecord]] = {}
    for point in points:
        name, version = _distribution(point.dist)
        seen[point.name, point.value, name] = point, PluginRecord(point.name, name, version, point.value)
    return sorted(seen.values(), key=lambda one: (_rank(one[1].distribution), one[1].name))


def _distribution(found: Distribution | None) -> tuple[str, str]:
    try:
        return (found.name or "unknown", found.version or "") if found is not None else ("unknown", "")
    except Exception:  # noqa: BLE001 - where its metadata is gone, Pythons differ in what they raise
        return "unknown", ""


@functools.cache
def _siblings() -> frozenset[str]:
    """The distributions that core names as its extras and that are Tracelet's own."""
    names = {re.split(r"[^A-Za-z0-9_.-]", need)[0].lower() for need in requires(_CORE) or ()}
    return frozenset(name for name in names if name.startswith("tracelet-"))


def _rank(distribution: str) -> int:
    if distribution == _CORE:
        return 0
    return 1 if distribution.lower().replace("_", "-") in _siblings() else 2


class _Sorter:
    """Sorts what plugins provide, one plugin after the other, Tracelet's own first."""

    def __init__(self) -> None:
        self.records: list[PluginRecord] = []
        self._specs: dict[str, dict[str, Any]] = {hook: {} for hook in _HOOKS}
        self._clashes: dict[str, dict[str, PluginLoadError]] = {hook: {} for hook in _HOOKS}
        #: By hook and name, as a file system or a variable may spell it: who came first.
        self._owners: dict[tuple[str, str], tuple[str, PluginRecord]] = {}
        self._failed: dict[str, PluginLoadError] = {}

    def add(self, record: PluginRecord, found: _Found) -> None:
        """Take in one plugin."""
        error = _failure(record, found)
        if error is not None:
            self._failed[record.name] = error
        provides: list[str] = []
        refused: dict[str, PluginLoadError] = {}
        for hook, (kind, _) in _HOOKS.items():
            for spec in found.specs[hook]:
                what = f"{kind} {spec.name}"
                wrong = self._refusal(hook, kind, spec.name, record)
                if wrong is not None:
                    refused[what] = wrong
                    continue
                provides.append(what)
                self._specs[hook][spec.name] = spec
        self.records.append(attrs.evolve(record, provides=tuple(provides), error=error, refused=refused))

    def _refusal(self, hook: str, kind: str, name: str, record: PluginRecord) -> PluginLoadError | None:
        """Say why a spec is not used; of two that are nobody's rather than the other's, neither can be."""
        owner, first = self._owners.setdefault((hook, name.lower()), (name, record))
        if first is record and name not in self._specs[hook]:
            return None
        if _rank(first.distribution) < _rank(record.distribution):
            return PluginLoadError(
                f"{kind} {owner!r} is Tracelet's own, of {first}: that of {record} is not used. Give it another name."
            )
        clash = PluginLoadError(
            f"{kind} {name!r} is provided by {first.distribution} and by {record.distribution}: uninstall one of them."
            if first is not record
            else f"{kind} {name!r} is provided twice by {record}: repair it, or uninstall it."
        )
        self._clashes[hook] |= {owner: clash, name: clash}
        return None

    def spec_set(self, hook: str) -> SpecSet[Any]:
        """Return what there is of one kind."""
        specs, clashes = self._specs[hook], self._clashes[hook]
        # A name whose own entry point is broken may be provided, whole, by another one.
        absent = {name: error for name, error in self._failed.items() if name not in specs}
        good = {name: spec for name, spec in specs.items() if name not in clashes}
        whose = {name: self._owners[hook, name.lower()][1] for name in good}
        return SpecSet(
            _HOOKS[hook][0],
            good,
            {**absent, **clashes},
            {name: str(record) for name, record in whose.items()},
            frozenset(name for name, record in whose.items() if _rank(record.distribution) < 2),
        )


def discover(points: Iterable[EntryPoint]) -> Registry:
    """Load plugins one by one and sort what they provide; what is wrong with one is kept in its record.

    What Tracelet's own distributions provide cannot be taken from them. Where two others provide the same
    name, it cannot be used until one of them is removed.
    """
    sorter = _Sorter()
    for point, record in _unique(points):
        sorter.add(record, _load(point))
    return Registry(
        tuple(sorter.records),
        sorter.spec_set("tracelet_backends"),
        sorter.spec_set("tracelet_detectors"),
        sorter.spec_set("tracelet_routing"),
        sorter.spec_set("tracelet_serializers"),
    )


def _installed() -> Iterable[EntryPoint]:
    try:
        return entry_points(group=hookspecs.PROJECT)
    except Exception:  # noqa: BLE001 - one distribution's damaged file would hide those of all
        return [point for found in distributions() for point in _points_of(found)]


def _points_of(found: Distribution) -> list[EntryPoint]:
    try:
        return [point for point in found.entry_points if point.group == hookspecs.PROJECT]
    except Exception:  # noqa: BLE001 - the one whose file is damaged
        _LOG.warning("the entry points of %s cannot be read: reinstall it.", " ".join(_distribution(found)).rstrip())
        return []


@functools.cache
def registry() -> Registry:
    """Return what is installed; looked up once a process.

    What a plugin prints meanwhile is printed: the output of a program belongs to all its threads, and none may turn it away.
    """
    return discover(_installed())


# -- calling what the user did not write


def choose(
    policies: SpecSet[RoutingSpec], name: str, summary: ArtifactSummary, configured: tuple[str, ...]
) -> set[str]:
    """Ask a routing policy; raises :class:`PluginError`, which names it, for whatever is wrong with its answer."""
    policy = policies.get(name)
    expected = f"it may choose from {list(configured)}, and must choose at least one, as a list of names."
    try:
        chosen = policy.route(summary, configured)
        names = [chosen] if isinstance(chosen, (str, bytes)) else list(chosen)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(
            f"the routing policy {name!r} failed with {words_of(error)}; {expected}{policies.whose(name)}"
        ) from error
    if not names or isinstance(chosen, (str, bytes)) or not all(one in configured for one in names):
        raise PluginError(f"the routing policy {name!r} chose {chosen!r}: {expected}{policies.whose(name)}")
    return set(names)


def recognise(
    serializers: SpecSet[SerializerSpec], fits: Callable[[SerializerSpec], bool], value: object
) -> list[SerializerSpec]:
    """Return the serializers that say that a value is theirs: others are asked only about what none of Tracelet's own takes."""
    fitting = [spec for spec in serializers if fits(spec)]
    own = [spec for spec in fitting if spec.name in serializers.own and _matches(serializers, spec, value)]
    return own or [spec for spec in fitting if spec.name not in serializers.own and _matches(serializers, spec, value)]


def _matches(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, value: object) -> bool:
    try:
        return bool(spec.matches(value))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it is asked whether it wants what nobody gave it
        _LOG.warning(
            "the serializer %r cannot say whether a %s is its own, and is left out: %s%s",
            spec.name,
            type(value).__name__,
            sentence(words_of(error)),
            serializers.whose(spec.name),
        )
        return False


def sdk_state(spec: BackendSpec) -> dict[str, Any]:
    """Return what the user's own SDK says, as ``spec.context`` tells; nothing, and one WARNING, where that is no plain data."""
    try:
        told: object = json.loads(json.dumps(spec.context()))
        if not isinstance(told, dict):
            raise TypeError(f"{told!r} is no dict")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it is called beside the user's work, and is never the end of it
        _warn_once(
            f"{spec.name} cannot tell what your own use of its SDK is set to, and goes by its variables: {words_of(error)}"
        )
        return {}
    return told


@functools.lru_cache(maxsize=256)
def _warn_once(message: str) -> None:
    _LOG.warning("%s", message)
