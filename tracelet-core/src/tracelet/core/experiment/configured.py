"""What an experiment is made with: its settings, its directory, and the backends that the settings name.

All of it is checked when the experiment is made, before any run. Nothing is connected to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.core.artifacts.checks import check_experiment
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import Registry, registry
from tracelet.core.system.links import check_directory
from tracelet.core.system.platforms import check_platform
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings, global_rank, load_plugin

if TYPE_CHECKING:
    from tracelet.core.experiment.experiment_config import ExperimentConfig

__all__ = ["Configured", "ConfiguredBackends", "configured", "configured_backends"]


@attrs.frozen
class ConfiguredBackends:
    """By the name of a backend: its spec, and the settings of its plugin."""

    specs: Mapping[str, BackendSpec]
    settings: Mapping[str, Any]


@attrs.frozen
class Configured:
    """What is known of an experiment before its first run."""

    name: str
    settings: TraceletSettings
    #: Of this process in its job; only rank 0 writes.
    rank: int
    #: The tracelet directory, absolute.
    directory: Path
    backends: ConfiguredBackends


def configured(
    name: str,
    config: ExperimentConfig | None,
    settings: TraceletSettings | None,
    artifacts: bool | None = None,
    **fields: Any,
) -> Configured:
    """Check what an experiment is made with. ``fields`` are those of :class:`~tracelet.ExperimentConfig`."""
    check_platform()
    check_experiment(name)
    if config is not None:
        from tracelet.core.experiment.experiment_config import ExperimentConfig

        _check_kind("config", config, ExperimentConfig)
    if settings is not None:
        _check_kind("settings", settings, TraceletSettings)
    fields["enable_artifacts"] = _either(artifacts, fields.get("enable_artifacts"))
    own = _resolve(settings or TraceletSettings(), config, fields)
    rank, backends = global_rank(own), configured_backends(own, registry())
    directory = Path(os.path.abspath(own.dir))
    check_directory(directory)
    return Configured(name, own, rank, directory, backends)


def configured_backends(settings: TraceletSettings, plugins: Registry) -> ConfiguredBackends:
    """Look the backends and the policy up, and read the variables of every plugin.

    Raises :class:`~tracelet.ConfigError` for settings that cannot be used: one error names all bad variables. Raises
    :class:`~tracelet.UnknownPlugin` and :class:`~tracelet.PluginLoadError` as :meth:`SpecSet.get` does.
    """
    if not settings.backend:
        raise ConfigError("no backend is configured: name at least one, such as backend='local'.")
    twice = {name for name in settings.backend if settings.backend.count(name) > 1}
    if twice:
        raise ConfigError(f"backend {sorted(twice)[0]!r} is named twice.")
    plugins.routing.get(settings.routing)
    specs = {name: plugins.backends.get(name) for name in settings.backend}
    found: dict[str, Any] = {}
    bad: list[str] = []
    for name, spec in specs.items():
        try:
            found[name] = load_plugin(spec.settings, name)
        except ConfigError as error:
            bad.append(str(error))
    if bad:
        raise ConfigError(" ".join(bad))
    return ConfiguredBackends(specs, found)


def _check_kind(what: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise ConfigError(
            f"{what}={value!r} is no {kind.__name__}: make one, as {kind.__name__}(enable_artifacts=True)."
        )


def _either(artifacts: bool | None, enable_artifacts: bool | None) -> bool | None:
    """Return what one argument says that has two names."""
    if artifacts is not None and enable_artifacts is not None:
        raise ConfigError("artifacts= and enable_artifacts= are two names of one argument: give one of them.")
    return enable_artifacts if artifacts is None else artifacts


def _resolve(
    settings: TraceletSettings, config: ExperimentConfig | None, arguments: Mapping[str, Any]
) -> TraceletSettings:
    """Put the layers on top of one another: what is None in one is left to the one below."""
    fields = {} if config is None else attrs.asdict(config, recurse=False)
    given = {key: value for layer in (fields, arguments) for key, value in layer.items() if value is not None}
    return TraceletSettings(**{**attrs.asdict(settings, recurse=False), **given})
