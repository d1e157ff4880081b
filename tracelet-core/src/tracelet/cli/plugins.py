"""`tracelet plugins`: show what is installed, what it provides, and what is broken."""

from __future__ import annotations

from typing import Any

import click

from tracelet.cli.options import as_json, installed
from tracelet.cli.screen import line, tell_json
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.specs import PluginRecord, SpecSet

__all__ = ["plugins"]


@click.command(epilog="Example: tracelet plugins --json")
@as_json
def plugins(as_json: bool) -> None:
    """Show the installed plugins, what each provides, what is broken, and why.

    A broken plugin that no setting names does no harm, so the exit code is 0. `tracelet doctor` checks the
    plugins that settings name.
    """
    found = installed()
    told = [_plain(record, found) for record in found.records]
    if as_json:
        tell_json({"plugins": told})
        return
    for plugin in told:
        line(f"{plugin['name']}  ({plugin['distribution']} {plugin['version']}, {plugin['target']})", "bold")
        if plugin["error"]:
            line(f"  broken: {plugin['error']}", "red")
        for spec in plugin["provides"]:
            _show(spec)


def _show(spec: dict[str, Any]) -> None:
    what = f"  {spec['kind']} {spec['name']}"
    if spec["error"]:
        line(f"{what}  broken: {spec['error']}", "red")
        return
    line(f"{what}  {spec.get('summary', '')}".rstrip())
    if spec.get("capabilities"):
        line(f"    {', '.join(spec['capabilities'])}")


def _plain(record: PluginRecord, found: Registry) -> dict[str, Any]:
    spec_sets: list[SpecSet[Any]] = [found.backends, found.detectors, found.routing, found.serializers]
    by_kind = {spec_set.kind: spec_set for spec_set in spec_sets}
    provided = [entry.rpartition(" ") for entry in record.provides]
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "target": record.target,
        "error": str(record.error) if record.error is not None else "",
        "provides": [_spec(kind, name, by_kind[kind]) for kind, _, name in provided]
        + [_refused(what, error) for what, error in record.refused.items()],
    }


def _refused(what: str, error: Exception) -> dict[str, Any]:
    kind, _, name = what.rpartition(" ")
    return {"kind": kind, "name": name, "error": str(error)}


def _spec(kind: str, name: str, spec_set: SpecSet[Any]) -> dict[str, Any]:
    spec = spec_set.specs.get(name)
    plain = {"kind": kind, "name": name, "error": str(spec_set.broken.get(name, ""))}
    if not isinstance(spec, BackendSpec):
        return plain
    capabilities = sorted(one.value for one in spec.capabilities)
    return plain | {
        "summary": spec.summary,
        "capabilities": capabilities,
        "atomic_versions": spec.atomic_versions,
    }
