"""Names under which programs write what they rename when it is complete: one list, for every detector."""

from __future__ import annotations

import re

__all__ = ["TEMPORARY", "final_name", "is_temporary", "may_be_temporary"]

_ENDINGS = r"tmp|temp|part|partial|incomplete|inprogress|crdownload|download|aria2"
#: A word, a word and a number, or a number. A long word has a vowel, and never so many consonants in a row.
_WORD = r"(?:(?=[a-z]*[aeiouy])(?![a-z]*[b-df-hj-np-tv-xz]{5})[a-z]+|[a-z]{1,4})\d*|\d+"
#: What people call their own files, such as ``_epoch_5`` or ``features``; one in ten of tempfile's names reads so.
_WORDS = rf"_?(?:{_WORD})(?:_(?:{_WORD}))*_?|(?:_[a-z]+\d*|_\d+)+_?"

#: Names of files and folders, as patterns of regular expressions that ignore case, and why they are temporary.
TEMPORARY: tuple[tuple[str, str], ...] = (
    (r".*~|~\$.*|#.*#", "it is an editor's copy"),
    (rf".*\.(?:{_ENDINGS})", "it is partial by its suffix"),
    (r".*\.(?:swp|swo|swx|lock|lck)", "it is a lock or a swap file"),
    (rf"(?-i:tmp(?!(?:{_WORDS})(?:\.|\Z))[a-z0-9_]{{8}}(?:\..*)?)", "it is named as Python's tempfile names files"),
    # The random part of ten letters has a capital or a digit nearly always; `tmp.checkpoint` has none.
    (r"(?-i:tmp\.(?=[a-z]*[A-Z0-9])(?![A-Z]?[a-z]+\d*\Z)[A-Za-z0-9]{10})", "it is named as mktemp names files"),
    (r".*\.orbax-checkpoint-tmp.*|.*\.tempstate.*", "it is a checkpoint that is being written"),
)
_TEMPORARY = re.compile("|".join(f"(?:{pattern})" for pattern, _ in TEMPORARY), re.IGNORECASE)
#: What people may call their own files, and programs those that they rename at once.
_MAY_BE = re.compile(r"tmp.*|(?:.*[\W_])?(?:te?mp|temporary|partial|incomplete|new)(?:[\W_\d].*)?", re.IGNORECASE)
#: A name with the mark of what is temporary, which leaves it whole when it is taken off.
_MARKED = re.compile(rf"(.*[^.].*?)(?:\.(?:{_ENDINGS})|~)", re.IGNORECASE | re.DOTALL)


def is_temporary(name: str) -> bool:
    """Tell whether a file or a folder of this name is likely to be renamed."""
    return _TEMPORARY.fullmatch(name) is not None


def may_be_temporary(name: str) -> bool:
    """Tell whether a file or a folder of this name may be renamed in a moment. It may as well be the user's own name."""
    return _MAY_BE.fullmatch(name) is not None


def final_name(name: str) -> str | None:
    """Return the name that is left without the marks of what is temporary; None where nothing is left.

    It is a guess, for what keeps its temporary name.

    Example:
        >>> final_name("model.pt.tmp"), final_name("tmp7k2qx_9a.pt")
        ('model.pt', None)

    """
    while (found := _MARKED.fullmatch(name)) is not None:
        name = found[1]
    return None if is_temporary(name) else name
