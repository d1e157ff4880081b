"""The W&B client with a lower bound from which on it sends a file in parts, for nobody wants to test with more than 2 GiB.

The bound is a constant of its core (``S3MinMultiUploadSize`` in ``core/pkg/artifacts/multipart.go``). A copy of the core has
another one; the rest of the client is the installed one.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

__all__ = ["BOUND", "client_that_sends_parts"]

#: A part has 100 MiB, and what is sent in parts must have two.
BOUND = 101 << 20
_OWN_BOUND = 2 << 30
#: As it stands in the core for x86-64: put the bound into a register, compare the file's size with it, branch if less.
_COMPARE = b"\xb9%s\x48\x39\xc8\x0f\x8c"


def client_that_sends_parts(folder: Path) -> str:
    """Make the client in an empty folder; return what its programs have for PYTHONPATH."""
    found = find_spec("wandb")
    assert found is not None
    assert found.origin is not None
    installed, made = Path(found.origin).parent, folder / "wandb"
    (made / "bin").mkdir(parents=True)
    for one in installed.iterdir():
        if one.name != "bin":
            (made / one.name).symlink_to(one)
    core = (installed / "bin" / "wandb-core").read_bytes()
    old, new = (_COMPARE % struct.pack("<I", bound) for bound in (_OWN_BOUND, BOUND))
    assert core.count(old) == 1, (
        "W&B's core has its bound for uploads in parts elsewhere now: look for a setting, or for S3MinMultiUploadSize"
    )
    for one in (installed / "bin").iterdir():
        if one.name != "wandb-core":
            (made / "bin" / one.name).symlink_to(one)
    (made / "bin" / "wandb-core").write_bytes(core.replace(old, new))
    (made / "bin" / "wandb-core").chmod(0o755)
    return str(folder)
