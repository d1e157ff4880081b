"""`tracelet sync`: send the deliveries that wait in the outbox."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import click

from tracelet.cli.bar import Bar
from tracelet.cli.options import as_json, existing_directory, installed, settings_of, tracelet_dir
from tracelet.cli.screen import ago, line, progress, size, tell_json
from tracelet.core.maintenance.idle import is_idle
from tracelet.core.maintenance.sync_report import Delivery, DeliveryState, SyncReport
from tracelet.core.system.processes import count_as_dead

if TYPE_CHECKING:
    from tracelet.core.maintenance.lineage import LeftUse

__all__ = ["sync"]


@click.command(epilog="Example: tracelet sync --dir /data/tracelet")
@tracelet_dir
@as_json
@click.option(
    "--trust-addresses",
    is_flag=True,
    help="Also send deliveries to addresses that none of your programs was configured for. Your credentials go with them.",
)
@click.option(
    "--gone",
    "gone",
    metavar="HOST",
    multiple=True,
    help="Also deliver what processes of HOST left, a machine or container that does not run any more.",
)
def sync(folder: str | None, as_json: bool, trust_addresses: bool, gone: tuple[str, ...]) -> int:
    """Deliver everything that waits in the outbox, for all experiments, to all backends.

    Then tell backends what runs used, if they could not be reached when it happened. Only a stall ends a delivery.
    The exit code is 1 if something is left, or if a backend refused a delivery. If you interrupt the command,
    nothing is lost. You may run several at once.
    """
    settings = settings_of(folder, looks_for_plugins=False)
    directory = existing_directory(settings)
    for host in gone:
        count_as_dead(host)
    # The report shows refused deliveries. The log need not repeat them.
    logging.getLogger("tracelet.delivery").setLevel(logging.ERROR)
    report, noted, whole = SyncReport((), (), ()), 0, False
    unnoted: list[LeftUse] = []
    if not is_idle(directory):
        # What sends and what is sent to are imported where there is something to send.
        from tracelet.core.maintenance.lineage import note_uses
        from tracelet.core.maintenance.sync import sync as send

        plugins = installed()
        with progress("nothing waits") as bar:
            watch = _Watch(bar, quiet=as_json or bar.is_watched)
            report = send(directory, settings, plugins, watch.see, trust_addresses=trust_addresses)
        noted, unnoted = note_uses(directory, settings, plugins)
        whole = bar.is_watched
    if as_json:
        tell_json(
            {
                "directory": str(directory),
                "delivered": [_plain(one) for one in report.delivered],
                "left": [_plain(one) for one in report.left],
                "refused": [_plain(one) for one in report.refused],
                "uses_noted": noted,
                "uses_left": [_plain_use(one) for one in unnoted],
            }
        )
    else:
        _show_uses(noted, unnoted)
        _show(report, whole=whole)
    return int(not report.complete or bool(unnoted))


class _Watch:
    """Shows the deliveries on a progress bar, or, if there is none, writes a line for each one that is made."""

    def __init__(self, bar: Bar, *, quiet: bool) -> None:
        self._bar = bar
        self._quiet = quiet
        self._total = 0

    def see(self, delivery: Delivery) -> None:
        """Show a step of a delivery. Several threads may call this."""
        if delivery.state is DeliveryState.PLANNED:
            self._total += 1
            self._bar.update(total=self._total)
        elif delivery.state is DeliveryState.BEGUN:
            about = f"{delivery.name} to {delivery.backend}, {size(delivery.size_bytes)}"
            self._bar.update(about)
        else:
            self._bar.update(more=1)
        if delivery.state is DeliveryState.DELIVERED and not self._quiet:
            _show_delivered(delivery)


def _show(report: SyncReport, *, whole: bool) -> None:
    for one in report.delivered if whole else ():
        _show_delivered(one)
    for one in report.left:
        line(f"left       {_where(one)} ({size(one.size_bytes)}, {ago(one.queued_at)}): {one.reason}", "yellow")
    for one in report.refused:
        line(f"refused    {_where(one)}: {one.reason} It is kept in {one.file}.", "red")
    line(f"{len(report.delivered)} delivered, {len(report.left)} left, {len(report.refused)} refused")


def _show_uses(noted: int, left: list[LeftUse]) -> None:
    for one in left:
        use = one.use
        line(
            f"left       {use.run.experiment}: the use of {use.name}, to be noted by {use.backend}: {one.reason}",
            "yellow",
        )
    if noted:
        line(f"noted      what runs used: {noted}")


def _show_delivered(one: Delivery) -> None:
    line(f"delivered  {_where(one)} {one.version} ({size(one.size_bytes)})")


def _where(one: Delivery) -> str:
    return f"{one.experiment}: {one.name} to {one.backend}"


def _plain(one: Delivery) -> dict[str, Any]:
    plain = attrs.asdict(one, filter=lambda field, _: field.name not in {"state", "file"})
    return plain | {"file": str(one.file) if one.file is not None else ""}


def _plain_use(one: LeftUse) -> dict[str, Any]:
    use = one.use
    plain = {"experiment": use.run.experiment, "backend": use.backend, "name": use.name, "digest": use.digest}
    return plain | {"run": use.run.id, "reason": one.reason}
