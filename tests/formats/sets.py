"""Sets of what a release wrote: packed where they were written, and laid out anew where they are read.

Every set is written in one place, on a machine of one name: formats hold absolute paths, and name the machine whose dead
processes they tell of. Where a set is read, both become the reader's own, in names, in text and in databases.
"""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import tarfile
from pathlib import Path
from urllib.parse import quote

FORMATS = Path(__file__).parent
#: Where every set is written, and the machine's name there.
PLACE = Path("/tmp/tracelet-format-set")
HOST = "writer.example"
#: What each set is about; each is an archive of that name.
KINDS = ("local", "mlflow", "aim", "wandb", "clearml", "clearml-server")


def versions():
    """Every release that has sets, oldest first as they sort."""
    return sorted(path.parent.name for path in FORMATS.glob("*/expected.json"))


def expected(version, kind):
    return json.loads((FORMATS / version / "expected.json").read_text())[kind]


def pack(folder, archive):
    """Pack a folder; the same folder gives the same bytes.

    Links are left out, for what they lead to is there, and so are RocksDB's logs for people.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, 0) as zipped,
        tarfile.open(None, "w", zipped) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if not path.is_symlink() and path.name.partition(".")[0] != "LOG":
                facts = tar.gettarinfo(path, path.relative_to(folder).as_posix())
                facts.uid = facts.gid = 0
                facts.uname = facts.gname = ""
                # What is read is to be old.
                facts.mtime = 1_000_000_000
                if path.is_file():
                    with path.open("rb") as stream:
                        # No hard links: each file stands for itself.
                        facts.type, facts.size = tarfile.REGTYPE, path.stat().st_size
                        tar.addfile(facts, stream)
                else:
                    tar.addfile(facts)


def unpack(version, kind, folder):
    """Lay a set out in a folder, as if it had been written there, by dead processes of this machine."""
    return lay_out(FORMATS / version / f"{kind}.tar.gz", folder)


def lay_out(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    replace(folder, {str(PLACE): str(folder), HOST: quote(socket.gethostname(), safe="")})
    return folder


def replace(folder, changes):
    """Replace texts in all names, text files and databases below a folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            _change_content(path, changes)
        if path.name != (name := _changed(path.name, changes)):
            path.rename(path.with_name(name))


def _changed(text, changes):
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def _change_content(path, changes):
    content = path.read_bytes()
    if content.startswith(b"SQLite format 3"):
        _change_database(path, changes)
    elif b"\0" not in content and any(old.encode() in content for old in changes):
        path.write_text(_changed(content.decode(), changes))


def _change_database(path, changes):
    database = sqlite3.connect(path)
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, column, *_ in list(database.execute(f"PRAGMA table_info('{table}')")):
            for old, new in changes.items():
                database.execute(
                    f"""UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)""",
                    (old, new, old),
                )
    database.commit()
    database.close()


def waits(directory):
    """What waits in a tracelet directory, as its files say it, without any code of Tracelet's."""

    def records(pattern):
        for path in sorted(directory.glob(pattern)):
            yield path, json.loads(path.read_text())

    parcels = [(path, record) for path, record in records("outbox/*/*/*.json") if path.parent.name != "~drafts"]
    journals = [
        [json.loads(line) for line in path.read_text().split("\n") if line]
        for path in sorted(directory.glob("captured/*/*.jsonl"))
    ]
    return {
        "deliveries": [_parcel(record) for _, record in parcels],
        "refused": [_parcel(record) for _, record in records("outbox/*/*/*.refused")],
        "drafts": [
            [one["run"]["experiment"], sorted(one["targets"]), one["draft"]["manifest"]["name"]]
            for _, one in records("outbox/*/~drafts/*.json")
        ],
        "puts": [[*_parcel(one["parcel"]), sorted(one["targets"])] for _, one in records("puts/*/*.json")],
        "uses": [[one["experiment"], path.parent.name, one["name"]] for path, one in records("uses/*/*/*.json")],
        "captures": sorted(
            [notes[0]["run"]["experiment"], Path(note["path"]).name]
            for notes in journals
            for note in notes[1:]
            if "number" in note and note["number"] not in {one.get("done") for one in notes}
        ),
        "leases": sorted(path.relative_to(directory).parts[1] for path in directory.glob("outbox/*/*/*.lease")),
    }


def _parcel(record):
    return [record["run"]["experiment"], record["backend"], record["manifest"]["name"]]
