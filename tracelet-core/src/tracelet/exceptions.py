"""Every error that Tracelet raises; each message says what to do next.

TraceletError
├─ ConfigError(ValueError)           a setting, argument or variable has no usable value
├─ ArtifactError(ValueError)         an artifact no backend could store
│  ├─ UnsafePath                     a name or path that could leave its folder
│  ├─ UnsafeContent                  loading it would run code: say trust=True
│  └─ VersionConflict                the label belongs to other content
├─ ArtifactNotFound(LookupError)     no such artifact, version, file or object
├─ AmbiguousVersion(LookupError)     the reference means different content in two backends
├─ ProtectedVersion                  deleting it would take what others rely on: say force=True
├─ IntegrityError                    the bytes are not what the manifest says
├─ NewerFormat                       a later release wrote it: upgrade
├─ PluginError
│  ├─ UnknownPlugin(LookupError)     no installed distribution provides that name
│  └─ PluginLoadError                it is installed, and does not load
└─ BackendError                      .backend, .retryable; the SDK's own error is the __cause__
   ├─ BackendUnavailable             away, refusing, failing or too slow: it may pass
   └─ BackendAuthError               it answered, and does not let us in
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AmbiguousVersion",
    "ArtifactError",
    "ArtifactNotFound",
    "BackendAuthError",
    "BackendError",
    "BackendUnavailable",
    "ConfigError",
    "IntegrityError",
    "NewerFormat",
    "PluginError",
    "PluginLoadError",
    "ProtectedVersion",
    "TraceletError",
    "UnknownPlugin",
    "UnsafeContent",
    "UnsafePath",
    "VersionConflict",
]


class TraceletError(Exception):
    """The base of every error that Tracelet raises on purpose.

    Where several backends were asked, ``answers`` holds what the others answered, as the call would have returned it.
    """

    answers: Any = ()


class ConfigError(TraceletError, ValueError):
    """A setting, an argument or an environment variable has no usable value."""


class ArtifactError(TraceletError, ValueError):
    """An artifact that no backend could store, as it was described."""


class UnsafePath(ArtifactError):
    """A name or path that could leave its folder, or that not every system can hold."""


class UnsafeContent(ArtifactError):
    """Loading or fetching it could run code or read private data; ``trust=True`` allows it."""


class VersionConflict(ArtifactError):
    """A version label that already belongs to other content."""


class ArtifactNotFound(TraceletError, LookupError):
    """No such artifact, version, file or object; the message gives the nearest names."""


class AmbiguousVersion(TraceletError, LookupError):
    """A version that means different content in two backends: name the backend."""


class ProtectedVersion(TraceletError):
    """A version that has a label or an alias, or that another version was made from: it is deleted with ``force=True`` alone."""


class IntegrityError(TraceletError):
    """The bytes, or the manifest, that came back are not the ones that were stored."""


class NewerFormat(TraceletError):
    """A later release of Tracelet wrote it, in a form that this one does not know: upgrade. It is whole, and is left as it is."""


class PluginError(TraceletError):
    """The base of what can be wrong with an installed plugin."""


class UnknownPlugin(PluginError, LookupError):
    """No installed distribution provides a plugin of that name."""


class PluginLoadError(PluginError):
    """A plugin is installed and cannot be used; the cause is chained."""


class BackendError(TraceletError):
    """A backend did not do what it was asked to.

    ``backend`` is its name. ``retryable`` says whether the same request may succeed later: a
    delivery that fails so waits in the outbox. ``ends_lane`` says that it will not in the same
    process, whose SDK is beyond repair: the next attempt is made in a new one. ``retry_after`` is how many seconds
    the backend asks to be left alone for, as an HTTP server does that answers 429.
    """

    # Of the class, too, for a kind of a plugin's own that is made in another way.
    backend: str = ""
    retryable: bool = True
    ends_lane: bool = False
    retry_after: float = 0.0

    def __init__(
        self,
        message: str,
        *,
        backend: str = "",
        retryable: bool = True,
        ends_lane: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.backend = backend
        self.retryable = retryable
        self.ends_lane = ends_lane


class BackendUnavailable(BackendError):
    """The backend is away, refuses connections, fails, or did not answer in time."""


class BackendAuthError(BackendError):
    """The backend answered, and the credentials are missing, wrong or not enough."""
