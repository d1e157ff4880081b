"""What a serializer is made to do in a child process, with files that are whole, and with files that are not."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import BackendError, TraceletError

__all__ = ["dump", "load_and_dump", "load_damaged", "load_planted", "tree"]

#: What is no file of any serializer's: foreign, deep, long, or nothing.
_FOREIGN = (
    b"",
    b"\x00\xff\xfe\x80garbage\x93NUMPY",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"- " * 50_000,
    b"9" * 20_000,
    b"&a [*a, *a]",
    b"PK\x03\x04 and no zip",
    b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"plain text: of no meaning",
)


def dump(name: str, value: Any, path: Path) -> None:
    """Store a value as core does: in a file that is not there, or in a folder that is empty."""
    spec = registry().serializers.get(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if spec.suffix is None:
        path.mkdir()
    spec.dump(value, path)


def load_and_dump(name: str, path: Path, again: Path) -> Any:
    """Load what was stored elsewhere, without trust where that is enough; store it once more, and return it."""
    spec = registry().serializers.get(name)
    value = spec.load(path, not spec.safe)
    dump(name, value, again)
    return value


def tree(path: Path) -> dict[str, bytes]:
    """Return the files of a folder, or the one file, by path."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {one.relative_to(path).as_posix(): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


def load_damaged(
    name: str, path: Path, work: Path
) -> list[str]:  # pragma: no cover - its process ends as the serializer has it end
    """Load the files damaged in many ways; return what came of each that is no error of the documented kinds."""
    safe = registry().serializers.get(name).safe
    return [
        f"{what}: {outcome}"
        for what, damaged in _each_changed(path, work, _damages)
        if (outcome := _try_load(name, damaged, not safe)) not in {"loaded", "refused"}
    ]


def load_planted(name: str, path: Path, work: Path) -> list[str]:  # pragma: no cover - as above
    """Load files in which code is planted, without trust; return where it ran."""
    marker = work / "the code ran"
    work.mkdir(parents=True, exist_ok=True)

    def ran(planted: Path) -> bool:
        _try_load(name, planted, False)
        there = marker.exists()
        marker.unlink(missing_ok=True)
        return there

    changed = _each_changed(path, work, lambda content: _plants(content, marker))
    return [what for what, planted in changed if ran(planted)]


def _try_load(name: str, path: Path, trust: bool) -> str:  # pragma: no cover - as above
    spec = registry().serializers.get(name)
    try:
        call_plugin("", spec.load, path, trust)
    except BackendError as error:
        cause = error.__cause__ or error
        return "refused" if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"[:200]
    except TraceletError:
        return "refused"
    return "loaded"


def _each_changed(
    path: Path, work: Path, changes: Callable[[bytes], Iterator[tuple[str, bytes | None]]]
) -> Iterator[tuple[str, Path]]:  # pragma: no cover - as above
    """Give the files again and again, each time with one of them changed, or gone."""
    for inside, content in tree(path).items():
        for what, change in changes(content):
            if change is None and not inside:
                continue
            shutil.rmtree(work / "changed", ignore_errors=True)
            (work / "changed").mkdir(parents=True)
            copy = work / "changed" / path.name
            (shutil.copy if path.is_file() else shutil.copytree)(path, copy)
            if change is None:
                (copy / inside).unlink()
            else:
                (copy / inside if inside else copy).write_bytes(change)
            # Its last words, where loading it ends the process.
            sys.stderr.write(f"{inside or path.name} {what}\n")
            sys.stderr.flush()
            yield f"{inside or path.name} {what}", copy


def _damages(content: bytes) -> Iterator[tuple[str, bytes | None]]:  # pragma: no cover - as above
    yield "is gone", None
    for end in {len(content) // 2, len(content) - 1, min(7, len(content))}:
        yield f"ends after {end} bytes", content[:end]
    for place in {0, len(content) // 3, len(content) // 2, len(content) - 1} if content else ():
        yield f"has another byte at {place}", content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
    for foreign in _FOREIGN:
        yield f"is {foreign[:12]!r}…", foreign


class _Planted:  # pragma: no cover - as above
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._marker), "w")


def _plants(content: bytes, marker: Path) -> Iterator[tuple[str, bytes | None]]:  # pragma: no cover - as above
    for protocol in (0, 2, 4):
        code = pickle.dumps(_Planted(marker), protocol=protocol)
        yield f"is a pickle of protocol {protocol}", code
        yield "is an array of objects", _array_of(code)
        yield "is a zip with a pickle", _zip_of({"archive/data.pkl": code, "archive/version": b"3\n", "data.pkl": code})
        with_it = _zip_with(content, code)
        if with_it is not None:
            yield f"has pickles of protocol {protocol} for its members", with_it
    yield "is YAML that calls", f"!!python/object/apply:builtins.open [{json.dumps(str(marker))}, w]".encode()
    yield "is YAML that makes", f"!!python/object/new:builtins.open [{json.dumps(str(marker))}, w]".encode()


def _array_of(code: bytes) -> bytes:  # pragma: no cover - as above
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + code


def _zip_of(members: dict[str, bytes]) -> bytes:  # pragma: no cover - as above
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def _zip_with(content: bytes, code: bytes) -> bytes | None:  # pragma: no cover - as above
    """The same zip with code for each member that is no plain text."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    plain = (".json", "version", "byteorder", ".txt")
    return _zip_of({name: old if name.endswith(plain) else code for name, old in members.items()})
