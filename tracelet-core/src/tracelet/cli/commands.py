"""The commands by name, with the sentence that the help of all says of each: that help imports none of them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "Listed"]


class Listed(NamedTuple):
    """Where a command is: its module in this package, and what it is called there."""

    module: str
    name: str
    #: The first sentence of its help.
    does: str


COMMANDS = {
    "alias": Listed(
        "changes", "alias", "Move aliases to a version, in every configured backend that holds its content."
    ),
    "completion": Listed(
        "completion", "completion", "Write the script by which a shell completes commands and options of tracelet."
    ),
    "copy": Listed(
        "copy",
        "copy",
        "Copy stored versions to another backend, experiment, directory or server: all there are, or those that are named.",
    ),
    "diff": Listed(
        "diff",
        "diff",
        "Show what differs between two versions: files, objects, models, references, metadata, type, description, inputs.",
    ),
    "doctor": Listed(
        "doctor", "doctor", "Check every configured backend, the tracelet directory, the store and the outbox."
    ),
    "du": Listed(
        "du", "du", "Count the bytes of an experiment by name and version, or those of all experiments by name."
    ),
    "experiments": Listed("experiments", "experiments", "List the experiments that the backends hold versions of."),
    "gc": Listed(
        "gc", "gc", "Remove the garbage of the tracelet directory, and ask the configured backends to clear theirs."
    ),
    "get": Listed(
        "reading",
        "get",
        "Download a version of an artifact, verify each file against its sha256, and write the folder's path.",
    ),
    "import": Listed(
        "import_command",
        "import_command",
        "Store what was logged without Tracelet as versions of artifacts: from a tracker, a folder, or a DVC repository.",
    ),
    "lineage": Listed(
        "lineage",
        "lineage",
        "Show as a tree what a version was made from, and what was made from it, across all backends that are asked.",
    ),
    "log": Listed(
        "log", "log", "Store files and folders as one version of an artifact, in the backends that suit its type."
    ),
    "ls": Listed("reading", "ls", "List the stored versions of an experiment, newest first."),
    "plugins": Listed("plugins", "plugins", "Show the installed plugins, what each provides, what is broken, and why."),
    "prune": Listed(
        "prune", "prune", "Delete the versions that no rule keeps, in every configured backend, and free their bytes."
    ),
    "report": Listed(
        "report", "report", "Write one HTML page that shows what an experiment has stored, and say where it is."
    ),
    "rm": Listed(
        "changes", "rm", "Delete versions, in every configured backend that holds their content, and free their bytes."
    ),
    "show": Listed(
        "show",
        "show",
        "Show everything about one version: its names, which backends hold its content, its metadata and its entries.",
    ),
    "sync": Listed(
        "sync", "sync", "Deliver everything that waits in the outbox, for all experiments, to all backends."
    ),
    "verify": Listed(
        "verify",
        "verify",
        "Read every byte of every version back from each backend that holds it, and compare it with its sha256.",
    ),
}
