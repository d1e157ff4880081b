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

    Catch it to catch them all. Where several backends were asked, ``answers`` holds what the others answered, as the call would
    have returned it.
    """

    #: What the backends answered that did not fail, as the call would have returned it.
    answers: Any = ()


class ConfigError(TraceletError, ValueError):
    """A setting, an argument or an environment variable has no usable value.

    Also raised where something is missing on this machine: artifacts are off, no run is on, a package is not installed, or the
    tracelet directory cannot be written. Wrong variables are named all at once.

    What to do: correct what the message names.
    """


class ArtifactError(TraceletError, ValueError):
    """An artifact that no backend could store, as it was described.

    Raised by the ``add_`` method or the ``log_artifact`` that brings in what cannot be stored: an empty artifact, a name that has another
    type, a value that would come back as another one, a file that changes while it is read. Also raised by ``load_object`` and
    ``load_model``, where a file is not what it should be.

    What to do: the message names the file, the key or the place in the object, and says what to give in its place.
    """


class UnsafePath(ArtifactError):
    """A name or path that could leave its folder, or that not every system can hold.

    What to do: give another name. Names of artifacts have the characters ``A-Z a-z 0-9 _ . -``. If you did not choose the name, and it is
    of a version that you read, somebody has changed that version: do not use it.
    """


class UnsafeContent(ArtifactError):
    """Loading or fetching it could run code, read private data or fill the memory.

    What to do: say ``trust=True`` if you know who logged it. ``download()`` runs no code and needs no trust, unless you also ask for
    references to files of this machine.
    """


class VersionConflict(ArtifactError):
    """A version label that already belongs to other content.

    What to do: choose another label, or none. Use an alias for a name that moves.
    """


class ArtifactNotFound(TraceletError, LookupError):
    """No such artifact, version, file or object.

    What to do: the message gives the nearest names. ``tracelet ls EXPERIMENT`` lists what is stored. Look at the backends and the
    tracelet directory that were asked: a program in another folder has another ``.tracelet``.
    """


class AmbiguousVersion(TraceletError, LookupError):
    """A version that means different content in two backends.

    Two backends count versions on their own, so that ``v3`` need not be the same in both.

    What to do: name the backend, as in ``get_artifact("net", "v3", backend="mlflow")``, or give the digest.
    """


class ProtectedVersion(TraceletError):
    """A version that others rely on is not deleted: it has a label or an alias, or another version was made from it.

    What to do: remove the alias, or delete the version with ``force=True``.
    """


class IntegrityError(TraceletError):
    """The bytes, or the manifest, that came back are not the ones that were stored.

    Damaged bytes are fetched once more before it is raised. The message names the file, and says whether it was changed where it is
    stored or on its way.

    What to do: get the version from another backend. To mend it, log the same content again. ``tracelet verify`` finds
    everything that is damaged.
    """


class NewerFormat(TraceletError):
    """A later release of Tracelet wrote it, in a form that this one does not know. It is whole, and is left as it is.

    What to do: upgrade Tracelet and its plugins on this machine.
    """


class PluginError(TraceletError):
    """The base of what can be wrong with an installed plugin.

    What to do: ``tracelet plugins`` shows what is installed, what is broken, and why.
    """


class UnknownPlugin(PluginError, LookupError):
    """No installed distribution provides a plugin of that name.

    What to do: correct the name, or install what the message names, such as ``pip install 'tracelet-core[mlflow]'``.
    """


class PluginLoadError(PluginError):
    """A plugin is installed and cannot be used; the cause is chained.

    What to do: read the cause. Most often the plugin's SDK is missing, or has another release than the plugin works with.
    """


class BackendError(TraceletError):
    """A backend did not do what it was asked to.

    ``log_artifact`` raises it with ``strict`` alone. Otherwise it is in the results: in ``queued`` if the delivery waits in the outbox and
    is tried again, in ``failed`` if it is not. The error of the SDK is the ``__cause__``.

    What to do: read the message, and run ``tracelet doctor``. What waits is sent by ``tracelet sync``, too.

    Args:
        message: What happened, and what to do.
        backend: The name of the backend.
        retryable: Whether the same request may succeed later. A delivery that fails so waits in the outbox.
        ends_lane: Whether it cannot succeed in the same process, whose SDK is beyond repair: the next attempt is made in a new one.
        retry_after: How many seconds the backend asks to be left alone for, as an HTTP server does that answers 429.
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
    """The backend is away, refuses connections, fails, or did not answer in time.

    What to do: nothing, if it was a delivery: it waits in the outbox and is tried again. ``tracelet doctor`` says whether the backend
    can be reached.
    """


class BackendAuthError(BackendError):
    """The backend answered, and the credentials are missing, wrong or not enough.

    What to do: set the tracker's own variables or log in as its SDK does it, such as ``wandb login``. Then run ``tracelet sync``.
    """
