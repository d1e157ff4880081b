"""The errors of decoders for a file that is damaged, or is not what its name says."""

from __future__ import annotations

import struct
import zlib

__all__ = ["MEDIA_FAULTS"]

#: What decoders of images, sounds, plots and tables raise for a damaged file. A plugin adds those of its own SDK, such as
#: Pillow's ``DecompressionBombError``. Many of these have no base in common but ``Exception``, which also hides mistakes.
MEDIA_FAULTS: tuple[type[Exception], ...] = (
    struct.error,
    zlib.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
