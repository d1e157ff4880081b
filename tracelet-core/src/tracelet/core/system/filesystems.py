"""What the filesystem of a tracelet directory must be able to do: hard links, by which of several writers one is the first."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from tracelet.core.system.durability import kind_of
from tracelet.core.system.files import create
from tracelet.exceptions import ConfigError

__all__ = ["check_filesystem", "link_or_refuse"]

#: Those of one machine, which have hard links: they are not tried.
_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"})
#: What a filesystem without hard links says. Of a file of one's own, in its own folder, ``EPERM`` says nothing else.
_LACKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def check_filesystem(directory: Path) -> None:
    """Raise :class:`~tracelet.ConfigError` where a tracelet directory, which is there, is on a filesystem without hard links."""
    if kind_of(directory) in _LOCAL:
        return
    probe = directory / f".{uuid.uuid4().hex}.tmp"
    other = probe.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        create(probe).close()
        link_or_refuse(probe, other)
    finally:
        for path in (probe, other):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def link_or_refuse(source: Path | str, target: Path | str) -> None:
    """Give a file that this process has made a second name in its folder, unless somebody has that.

    Raises ``FileExistsError`` where it is taken, and :class:`~tracelet.ConfigError` where the filesystem has no hard links.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _LACKS:
            raise
        folder = os.path.dirname(target)  # noqa: PTH120 - it may be text
        raise ConfigError(
            f"the filesystem of {folder} ({kind_of(folder) or 'of a kind that is not known'}) has no hard links, without which two "
            "processes would take the same version or delivery: set TRACELET_DIR to a folder on a disk of each machine's own, and "
            "share what is logged by a tracker or a bucket."
        ) from error
