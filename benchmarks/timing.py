"""What measures a process: clocks and memory, and the steps that growing jobs share.

It needs the standard library alone: the processes of other packages, in environments of their own, use it too.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from files import fresh_folder

#: Does one job of a growing series; the argument is what is grown to, and what comes back is measured by name.
GrowthStep = Callable[..., dict[str, float]]
#: So many seconds tell how fast something grows.
_TELLING = 5.0


def seconds(call: Callable[[], object]) -> float:
    """Do something once; return how long it took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def forget_peak() -> None:
    """Have the peak of this process's memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """The most bytes that were in memory since then."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say what a process's peak was")


def _grow(log: Callable[[int], object], have: int, wanted: int, limit: float, *, patient: bool) -> int:
    """Log on until so many are there, or the time is over; without patience, until it is clear that the time is too short."""
    began = time.perf_counter()
    for number in range(have, wanted):
        log(number)
        passed = time.perf_counter() - began
        hopeless = passed > _TELLING and passed / (number + 1 - have) * (wanted - have) > limit
        if passed > limit or (hopeless and not patient):
            return number + 1
    return max(have, wanted)


def growing(log: Callable[[int], object], get: Callable[[int], object], list_all: Callable[[], int]) -> GrowthStep:
    """A store that grows: one more is logged, one is got, all are listed.

    Args:
        log: Logs the one with this number.
        get: Gets the one with this number.
        list_all: Lists all; returns how many there are.
    """
    have = 0

    def step(number: int, n: int, *, grow: bool = False, limit: float = 0.0, patient: bool = True) -> dict[str, float]:
        nonlocal have
        if grow:
            have = _grow(log, have, n, limit, patient=patient)
            return {"reached": have}
        took = {"log": seconds(lambda: log(have))}
        have += 1
        one = random.randrange(have)  # a mean of the old and the new
        shutil.rmtree("got", ignore_errors=True)
        took["get"] = seconds(lambda: get(one))
        found: list[int] = []
        took["list"] = seconds(lambda: found.append(list_all()))
        assert found == [have], f"{found[0]} of {have} are listed"
        return took

    return step


def storing(
    log: Callable[[Path], object],
    get: Callable[[], Path],
    forget: Callable[[], object],
    prepare: Callable[[], object] = lambda: None,
    *,
    count: int,
    size: int,
) -> GrowthStep:
    """A folder of new files is logged and got back, and then forgotten, so that no disk is filled.

    Args:
        log: Logs the folder.
        get: Gets it back, into the folder that it returns.
        forget: Deletes what was stored and got.
        prepare: Is done before it is got, and does not count.
        count: How many files there are.
        size: How many bytes each of them has.
    """

    def step(number: int) -> dict[str, float]:
        folder = fresh_folder(count, size)
        # What another one has left to be written does not count here.
        os.sync()
        forget_peak()
        took = {"log": seconds(lambda: log(folder))}
        prepare()
        os.sync()
        got: list[Path] = []
        took["get"] = seconds(lambda: got.append(get()))
        took["memory"] = peak_memory()
        back = sum(entry.stat().st_size for entry in os.scandir(got[0]))
        assert back == count * size, f"{back} of {count * size} bytes came back"
        forget()
        shutil.rmtree(folder, ignore_errors=True)
        return took

    return step


def rate(count: int, call: Callable[[], object]) -> dict[str, float]:
    """So many artifacts are logged by a call: how many in a second."""
    return {"rate": count / seconds(call)}
