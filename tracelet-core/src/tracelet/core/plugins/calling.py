"""Calling a plugin's code: what it raises is one of Tracelet's errors, or a WARNING where the user's work goes on without it."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Any, TypeVar

from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.routing import ArtifactSummary, RoutingSpec
from tracelet.core.plugins.serializers import SerializerSpec
from tracelet.core.plugins.specs import SpecSet
from tracelet.core.plugins.versions import StoredArtifact, flaw_of
from tracelet.core.system.messages import advice_of, sentence, words_of
from tracelet.core.system.redaction import redact_text
from tracelet.exceptions import BackendError, PluginError, TraceletError

__all__ = ["call_plugin", "choose", "recognise", "sdk_state"]

_LOG = logging.getLogger("tracelet.plugins")

T = TypeVar("T")


def call_plugin(backend: str, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a plugin's code; whatever it raises comes out as one of Tracelet's errors.

    Its own :class:`TraceletError` passes as it is, with the backend's name; anything else, also what would end a
    program, is a :class:`BackendError` that may pass, with the cause chained. The user's own interruption passes
    as it is.
    """
    try:
        return call(*arguments, **named)
    except TraceletError as error:
        _set_right(error, backend)
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and current_thread() is main_thread():
            raise
        # After what would have ended its process, nobody knows what state its SDK is in.
        ends = not isinstance(error, Exception)
        advice = advice_of(error)
        told = f"{sentence(words_of(error))} {advice}." if advice else words_of(error)
        raise BackendError(f"{backend}: {told}", backend=backend, ends_lane=ends) from error


def _set_right(error: TraceletError, backend: str) -> None:
    """Correct an error that a plugin raised: without a secret, and with fields of the right types."""
    text = str(error)
    clean = redact_text(text) if text.strip() else f"{backend}: {words_of(error)}"
    if clean != text:
        error.args = (clean,)
    answers = error.answers if isinstance(error.answers, (list, tuple)) else ()
    error.answers = tuple(one for one in answers if isinstance(one, StoredArtifact) and not flaw_of(one))
    if isinstance(error, BackendError):
        error.backend = error.backend or backend
        asked = error.retry_after
        if not isinstance(asked, (int, float)) or not asked > 0:
            error.retry_after = 0.0


def choose(
    policies: SpecSet[RoutingSpec], name: str, summary: ArtifactSummary, configured: tuple[str, ...]
) -> set[str]:
    """Return the backends that a routing policy chooses.

    Raises :class:`PluginError`, which names the policy, where it raises, and where its answer is not sound.
    """
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
    """Return the serializers that take a value as theirs. Others are asked only where none of Tracelet's own takes it."""
    fitting = [spec for spec in serializers if fits(spec)]
    own = [spec for spec in fitting if spec.name in serializers.own and _matches(serializers, spec, value)]
    return own or [spec for spec in fitting if spec.name not in serializers.own and _matches(serializers, spec, value)]


def _matches(serializers: SpecSet[SerializerSpec], spec: SerializerSpec, value: object) -> bool:
    try:
        return bool(spec.matches(value))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the value may be another serializer's
        _LOG.warning(
            "the serializer %r cannot say whether a %s is its own, and is left out: %s%s",
            spec.name,
            type(value).__name__,
            sentence(words_of(error)),
            serializers.whose(spec.name),
        )
        return False


def sdk_state(spec: BackendSpec) -> dict[str, Any]:
    """Return what ``spec.context`` says of the user's own SDK.

    Where it raises, or returns anything but a dict of plain data, that is nothing, and one WARNING.
    """
    try:
        told: object = json.loads(json.dumps(spec.context()))
        if not isinstance(told, dict):
            raise TypeError(f"{told!r} is no dict")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's work goes on without it
        _warn_once(
            f"{spec.name} cannot tell what your own use of its SDK is set to, and goes by its variables: {words_of(error)}"
        )
        return {}
    return told


@functools.lru_cache(maxsize=256)
def _warn_once(message: str) -> None:
    _LOG.warning("%s", message)
