"""Calling a plugin's code: whatever it raises comes out as one of Tracelet's errors."""

from __future__ import annotations

from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Any, TypeVar

from tracelet.core.plugins.versions import StoredArtifact, flaw_of
from tracelet.core.system.messages import words_of
from tracelet.core.system.redaction import redact_text
from tracelet.exceptions import BackendError, TraceletError

__all__ = ["call_plugin"]

T = TypeVar("T")


def call_plugin(backend: str, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a plugin's code; whatever it raises comes out as one of Tracelet's errors.

    Its own :class:`TraceletError` passes as it is, with the backend's name; anything else, also what would end a
    program, is a :class:`BackendError` that may pass, with the cause chained. The user's own interruption is none of
    the plugin's.
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
        raise BackendError(f"{backend}: {words_of(error)}", backend=backend, ends_lane=ends) from error


def _set_right(error: TraceletError, backend: str) -> None:
    """See to it that what a plugin raised can be read as any error of Tracelet's, and holds no secret."""
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
