"""The beginning of what is packed as gzip, zlib, bzip2, xz, LZMA, zstd or LZ4, within the budget of a look.

A few bytes may become as many as can be counted, or none after hours, and may ask for gigabytes of memory: what is read and
what comes of it is counted, and memory has a limit.
"""

from __future__ import annotations

import importlib
import re
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

import attrs

from tracelet.core.capture.sniffing.budget import Budget

__all__ = ["NO_TEXT", "Unpacked", "is_packed", "unpack"]

#: Bytes of memory for what a stream may refer back to: as much as the strongest presets of xz and zstd ask for.
_MEMORY = 1 << 27
#: Bytes that are read at once.
_CHUNK = 4096
#: Of zstd, which gives all that is in them: each four bytes may be a block of 128 KB.
_ZSTD_CHUNK = 256
#: Bytes that come out at the cost of a step.
_GIVEN = 50
#: Bytes that are read at the cost of a step: a few of them may have tables of their own to be built.
_READ = 8
#: What decoders raise of what is damaged or asks for too much memory, and what is raised where there is none, or a module
#: of the user's has its name.
_DAMAGED = (OSError, ValueError, EOFError, RuntimeError, MemoryError, ImportError, AttributeError, zlib.error)
#: Errors of their own, by the modules that have them.
_ERRORS = {"lzma": "LZMAError", "compression.zstd": "ZstdError", "zstandard": "ZstdError"}
#: Control characters that no text has; tab, the ends of lines and pages, and escape are for text too.
NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


class _Decoder(Protocol):
    """What ``bz2`` and ``lzma`` of the standard library have."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """The decoder of zlib, for gzip too."""

    def __init__(self) -> None:
        # It tells the one from the other by itself.
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Zstd:
    """The decoder of zstd: what is too much at once waits."""

    def __init__(self) -> None:
        zstd: Any
        self._decoder: Any
        if sys.version_info >= (3, 14):
            zstd = importlib.import_module("compression.zstd")
            limit = {zstd.DecompressionParameter.window_log_max: _MEMORY.bit_length() - 1}
            self._decoder = zstd.ZstdDecompressor(options=limit)
        else:
            zstd = importlib.import_module("zstandard")
            self._decoder = zstd.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._decoder.eof and not self._waiting

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        found: bytes = self._decoder.unused_data
        return found

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._waiting or self._decoder.decompress(data)
        self._waiting = found[max_length:]
        return found[:max_length]


# Python may have been built without some of its modules; others are packages that need not be installed.


def _bzip2() -> _Decoder:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> _Decoder:
    import lzma

    return lzma.LZMADecompressor(memlimit=_MEMORY)


def _lz4() -> _Decoder:
    decoder: _Decoder = importlib.import_module("lz4.frame").LZ4FrameDecompressor()
    return decoder


@attrs.frozen
class _Packing:
    """How streams of one kind begin, and what unpacks them; what makes that raises ``ImportError`` where it is not installed."""

    begins: re.Pattern[bytes]
    decoder: Callable[[], _Decoder]
    #: Bytes that are read at the cost of a step before anything comes out: some need a whole block for that.
    silent: int = _READ
    chunk: int = _CHUNK
    #: Whether text may begin so.
    like_text: bool = False


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_PACKINGS = (
    _Packing(_begins(rb"\x1f\x8b\x08"), _Zlib),
    _Packing(_begins(rb"\x78[\x01\x5e\x9c\xda]"), _Zlib, like_text=True),
    _Packing(_begins(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), _bzip2, silent=20),
    # Of LZMA alone there is no mark: its usual settings, a size that is unknown or possible, and the first byte of its content.
    _Packing(_begins(rb"\xfd7zXZ\x00|\x5d\x00\x00..(?:\xff{8}|.{5}\x00{3})\x00"), _xz),
    _Packing(_begins(rb"\x28\xb5\x2f\xfd"), _Zstd, silent=16, chunk=_ZSTD_CHUNK),
    _Packing(_begins(rb"\x04\x22\x4d\x18"), _lz4, silent=150),
)


@attrs.frozen
class Unpacked:
    """The beginning of what was packed, and whether that is all of it."""

    content: bytes
    whole: bool


def is_packed(head: bytes) -> bool:
    """Tell whether it begins as what is packed does."""
    return _packing(head) is not None


def _packing(head: bytes) -> _Packing | None:
    return next((one for one in _PACKINGS if one.begins.match(head)), None)


def unpack(stream: BinaryIO, head: bytes, wanted: Callable[[bytes], int], most: int, budget: Budget) -> Unpacked | None:
    """Unpack the first ``most`` bytes, and as many more as are ``wanted`` after a look at these.

    None is for what is not packed, is damaged before that, or has no decoder here. Of several streams one after the
    other, only the first is unpacked.
    """
    packing = _packing(head)
    if packing is None:
        return None
    stream.seek(0)
    try:
        reading = _Reading(stream, packing, budget)
        content = reading.read(most)
        content += reading.read(wanted(content))
        whole = reading.is_over()
        # Something comes of text, too, when it is taken for packed; at its end a checksum would be wrong.
        if whole or (content and not (packing.like_text and NO_TEXT.search(head) is None)):
            return Unpacked(content, whole)
        return None
    except _damaged():
        return None


def _damaged() -> tuple[type[Exception], ...]:
    loaded = {name: module for name in _ERRORS if (module := sys.modules.get(name)) is not None}
    return (*_DAMAGED, *(getattr(module, _ERRORS[name], ValueError) for name, module in loaded.items()))


class _Reading:
    """A stream as it is unpacked."""

    def __init__(self, stream: BinaryIO, packing: _Packing, budget: Budget) -> None:
        self._stream = stream
        self._decoder = packing.decoder()
        self._chunk = packing.chunk
        self._price = packing.silent
        self._budget = budget

    def read(self, most: int) -> bytes:
        """Return the next bytes: fewer at the end, or where the budget has no room; raises ``EOFError`` for a stream without an end."""
        taken = bytearray()
        while len(taken) < most and not self._decoder.eof:
            data = self._stream.read(self._chunk) if self._decoder.needs_input else b""
            if not self._budget.take(len(data) // self._price):
                break
            part = self._decoder.decompress(data, most - len(taken))
            if not (part or data or self._decoder.eof):
                raise EOFError("it is cut off")
            if part:
                self._price = _READ
            taken += part
            if not self._budget.take(len(part) // _GIVEN):
                break
        return bytes(taken)

    def is_over(self) -> bool:
        """Tell whether all was read, and nothing follows."""
        return self._decoder.eof and not self._decoder.unused_data and not self._stream.read(1)
