"""Machines that are none: namespaces of Linux with a network address, a name, processes and disks of their own.

Two of them share the code, which is read-only, and nothing else that is on a disk. Servers are at home in the namespace of
the tests, which all machines reach by a bridge.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pytest

__all__ = ["HERE", "Machine", "Net", "needs", "net"]

#: Folders of a machine: its home, which is its own, and what it may share.
HOME, HERE = "/mnt/home", "/mnt/shared"
#: Everything that a program writes to as a matter of course: empty on each machine, but for the code.
_OWN = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/root", "/home")
_SETUP = """
set -e
hostname "$NAME"
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir -m 777 /mnt/home /mnt/shared
[ -z "$SHARED" ] || mount --rbind "$SHARED" /mnt/shared
number=0
for place in $CODE; do number=$((number + 1)); mkdir /mnt/$number; mount --bind $place /mnt/$number; done
for folder in $OWN; do [ ! -d $folder ] || mount -t tmpfs -o mode=1777 none $folder; done
number=0
for place in $CODE; do number=$((number + 1)); mkdir -p $place; mount --move /mnt/$number $place; mount -o remount,bind,ro $place; done
# Read-only for everybody here, and as it was outside.
mount -o remount,bind,ro /
ip link set lo up
echo up
exec sleep infinity
"""


def needs(*commands: str) -> None:
    """Fail where machines cannot be made: a test that is left out proves nothing."""
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        pytest.fail(
            f"not installed: {', '.join(absent)}. On Debian: apt-get install util-linux iproute2", pytrace=False
        )
    if os.geteuid() != 0:
        pytest.fail("these tests make namespaces: run them as root", pytrace=False)


class Net:
    """A bridge of these tests' own."""

    def __init__(self) -> None:
        self.name = f"tl{os.getpid()}"
        self._prefix = f"10.77.{os.getpid() % 250}"
        self._numbers = itertools.count(2)
        #: Where servers are.
        self.address = f"{self._prefix}.1"

    def __enter__(self) -> Net:
        _do("ip", "link", "add", self.name, "type", "bridge")
        _do("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        _do("ip", "link", "set", self.name, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Links of machines that have ended are gone when the system comes to it.
        subprocess.run(["ip", "link", "delete", self.name], check=False)

    def join(self, process: int) -> str:
        """Give the network namespace of a process an address here."""
        number = next(self._numbers)
        link = f"{self.name}v{number}"
        _do("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(process))
        _do("ip", "link", "set", link, "master", self.name, "up")
        inside = ["nsenter", "--target", str(process), "--net", "ip"]
        _do(*inside, "address", "add", f"{self._prefix}.{number}/24", "dev", "eth0")
        _do(*inside, "link", "set", "eth0", "up")
        return f"{self._prefix}.{number}"


class Machine:
    """A machine of this name. `shared` is a folder that it sees as `HERE`; without a net it is alone."""

    #: What runs a program of Python that is given as the next argument.
    program = (sys.executable, "-c")

    def __init__(self, name: str, net: Net | None = None, *, shared: Path | None = None, uid: int = 0) -> None:
        self.name, self.uid = name, uid
        self._started: list[subprocess.Popen[str]] = []
        parts = [Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]]
        code = [str(place) for place in parts if any(place.is_relative_to(folder) for folder in _OWN)]
        self._holder = subprocess.Popen(
            [*("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"), "bash", "-c", _SETUP],
            stdout=subprocess.PIPE,
            env={**os.environ, "NAME": name, "SHARED": str(shared or ""), "OWN": " ".join(_OWN), "CODE": " ".join(code)},
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self._init = children.read_text().split()[0]
        if net is not None:
            net.join(int(self._init))

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Take its power away."""
        self._holder.kill()
        for child in (self._holder, *self._started):
            if child.stdout is not None and not child.stdout.closed:
                child.communicate()

    def start(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command on it, in its home folder."""
        who = ["setpriv", f"--reuid={self.uid}", "--regid=100", "--clear-groups"] if self.uid else []
        enter = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRACELET_", "XDG_"))}
        own = {"HOME": HOME, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
        child = subprocess.Popen(
            [*enter, *who, "env", f"--chdir={HOME}", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, **own, **(environ or {})},
        )
        self._started.append(child)
        return child

    def begin(self, program: str, environ: Mapping[str, str] | None = None, *arguments: str) -> subprocess.Popen[str]:
        """Start a program of Python, and return it when it says that it is up."""
        child = self.start([*self.program, program, *arguments], environ)
        assert child.stdout is not None
        assert child.stderr is not None
        if child.stdout.readline() != "up\n":
            raise AssertionError(child.stderr.read())
        return child

    def python(self, program: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a program of Python to its end, and return what it printed."""
        return self.run([*self.program, program], environ)

    def tracelet(self, *arguments: str, code: int = 0, environ: Mapping[str, str] | None = None) -> str:
        """Run the command, which has to end with this code; return all that it said."""
        return self.run([*self.program, "from tracelet.cli import main; main()", *arguments], environ, code)

    def run(self, command: Sequence[str], environ: Mapping[str, str] | None = None, code: int = 0) -> str:
        child = self.start(command, environ)
        out, err = child.communicate(timeout=300)
        self._started.remove(child)
        assert child.returncode == code, f"{child.returncode}: {out}{err}"
        return out if code == 0 else out + err


@contextlib.contextmanager
def net() -> Iterator[Net]:
    """A net, or a failure that says what is missing."""
    needs("unshare", "nsenter", "setpriv", "ip", "hostname")
    with Net() as made:
        yield made


def _do(*command: str) -> None:
    subprocess.run(command, check=True)
