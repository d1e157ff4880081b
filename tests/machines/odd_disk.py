"""A folder as a filesystem that lacks what some network disks lack: `python odd_disk.py FOLDER MOUNT LACKS SECONDS`.

`LACKS` is any of `links` (hard links), `locks` (flock and fcntl) and `fractions` (times are whole seconds), with commas between.
What a machine has seen of names it believes for `SECONDS`, as NFS does; what a file is like it learns when it opens it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations, fuse_get_context


class OddDisk(Operations):
    """Everything is done in the folder, for who asked."""

    use_ns = True

    def __init__(self, folder: str, lacks: set[str]) -> None:
        self._folder = folder
        self._lacks = lacks

    def _at(self, path: str) -> str:
        return self._folder + path

    def _owned(self, path: str) -> None:
        uid, gid, _ = fuse_get_context()
        inherits = os.stat(os.path.dirname(path)).st_mode & 0o2000
        os.chown(path, uid, -1 if inherits else gid, follow_symlinks=False)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._at(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino", "st_blocks")
        found: dict[str, Any] = {name: getattr(status, name) for name in names}
        for name in ("st_atime", "st_mtime", "st_ctime"):
            time = getattr(status, f"{name}_ns")
            found[name] = time - time % 10**9 if "fractions" in self._lacks else time
        return found

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)
        self._owned(self._at(path))
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        file = os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        self._owned(self._at(path))
        return file

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~(os.O_CREAT | os.O_EXCL))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path), length)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.fsync(fh)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._at(new))
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._at(path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._at(path), ns=times)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {key: getattr(found, key) for key in dir(found) if key.startswith("f_") and key != "f_fsid"}

    def link(self, target: str, source: str) -> int:
        if "links" in self._lacks:
            raise FuseOSError(errno.EOPNOTSUPP)
        os.link(self._at(source), self._at(target))
        return 0

    def lock(self, path: str, fh: int, cmd: int, lock: Any) -> int:
        raise FuseOSError(errno.ENOLCK)

    def flock(self, path: str, fh: int, op: int) -> int:
        raise FuseOSError(errno.ENOLCK)


class Locking(OddDisk):
    """As far as this one process of FUSE goes, the kernel locks."""

    lock = None
    flock = None


if __name__ == "__main__":
    folder, mount, lacks, seconds = sys.argv[1:]
    kind = OddDisk if "locks" in lacks else Locking
    FUSE(
        kind(folder, set(lacks.split(","))),
        mount,
        foreground=True,
        allow_other=True,
        default_permissions=True,
        attr_timeout=0,
        entry_timeout=float(seconds),
        negative_timeout=float(seconds),
    )
