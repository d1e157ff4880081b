"""What is done to an Aim repo by hand, in a process of its own: importing Aim warns, and tests take no warnings.

`python -m servers.aim_hands FOLDER show`, or `… replace OLD NEW` with bytes in hexadecimal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aim.storage.rockscontainer import RocksContainer


@contextmanager
def opened(path: Path, *, read_only: bool) -> Iterator[Any]:
    container = RocksContainer(str(path), read_only=read_only, skip_read_optimization=True)
    try:
        yield container.tree()
    finally:
        container.close()


def show(folder: Path) -> dict[str, Any]:
    """Everything that Tracelet's catalogues hold, by experiment."""
    found: dict[str, Any] = {}
    for path in sorted((folder / ".aim" / "tracelet" / "chunks").glob("*")):
        with opened(path, read_only=True) as tree:
            found[path.name] = {str(key): value for key, value in tree.items_eager(())}
    return found


def replace(folder: Path, old: str, new: str) -> int:
    """Replace text in the manifests that the catalogues hold; return in how many."""
    changed = 0
    for path in (folder / ".aim" / "tracelet" / "chunks").glob("*"):
        with opened(path, read_only=False) as tree:
            for name in tree.keys_eager(("versions",)):
                for number, text in tree.items_eager(("versions", name)):
                    record = json.loads(text)
                    if old in record["manifest"]:
                        record["manifest"] = record["manifest"].replace(old, new)
                        tree.set(("versions", name, number), json.dumps(record))
                        changed += 1
    return changed


def main() -> None:
    folder, what, *arguments = sys.argv[1:]
    if what == "show":
        print(json.dumps(show(Path(folder)), sort_keys=True, default=str))
    else:
        old, new = (bytes.fromhex(one).decode(errors="replace") for one in arguments)
        print(replace(Path(folder), old, new))


if __name__ == "__main__":
    main()
