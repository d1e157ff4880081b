"""A plugin that is found as if it were installed, for as long as a test runs."""

from __future__ import annotations

import contextlib
import importlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tracelet.core.plugins.marks import PROJECT
from tracelet.core.plugins.registry import registry

__all__ = ["installed"]


@contextlib.contextmanager
def installed(folder: Path, entries: Mapping[str, str]) -> Iterator[Path]:
    """Make the folder a place of installed code, with these entry points: name to module.

    The folder goes to the front of ``sys.path``, and so to that of every lane; modules that the entries
    name may lie in it. With the end of the block the plugins are gone.
    """
    name = f"tracelet-installed-{uuid.uuid4().hex[:8]}"
    info = folder / f"{name.replace('-', '_')}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n")
    lines = [f"{entry} = {module}" for entry, module in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{PROJECT}]", *lines, ""]))
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for path in info.iterdir():
            path.unlink()
        info.rmdir()
        for module in [known for known, found in sys.modules.items() if _is_in(found, folder)]:
            del sys.modules[module]
        _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    registry.cache_clear()


def _is_in(module: object, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(folder)
