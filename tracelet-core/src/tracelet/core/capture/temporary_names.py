"""Names under which programs write what they rename when it is complete: one list, for every detector."""

from __future__ import annotations

import re

__all__ = ["TEMPORARY", "final_name", "is_marked", "is_temporary", "may_be_temporary"]

_ENDINGS = r"tmp|temp|part|partial|incomplete|inprogress|crdownload|download|aria2"
#: Those after which a process number or a random part may follow; `data.part.1` is a part of something.
_NUMBERED = r"tmp|incomplete|inprogress"
#: A word, a word and a number, or a number. A long word has a vowel, and never so many consonants in a row.
#: It is matched in one way only: a name of sixty words would otherwise be tried in 2 to the 60 ways.
_WORD = r"(?>(?:(?=[a-z]*[aeiouy])(?![a-z]*[b-df-hj-np-tv-xz]{5})[a-z]+|[a-z]{1,4})\d*|\d+)"
#: What people call their own files, such as ``_epoch_5`` or ``features``; one in ten of tempfile's names reads so.
_WORDS = rf"(?:_?(?:{_WORD})(?:_(?:{_WORD}))*_?|(?:_[a-z]+\d*|_\d+)+_?)"
_TEMPFILE = rf"(?-i:tmp(?!{_WORDS}(?:\.|\Z))[a-z0-9_]{{8}}(?:\..*)?)"
# The random part of ten letters has a capital or a digit nearly always; `tmp.checkpoint` has none.
_MKTEMP = r"(?-i:tmp\.(?=[a-z]*[A-Z0-9])(?![A-Z]?[a-z]+\d*\Z)[A-Za-z0-9]{10})"
_ORBAX = r".*\.orbax-checkpoint-tmp.*|.*\.tempstate.*"
_UUID = r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
#: What follows such an ending: the number of a process, or what is random and no suffix, such as `safetensors`.
_MORE = rf"[._-]?(?:\d+|{_UUID}|(?!{_WORDS}\Z)[a-z0-9_]{{6,}})"

#: Names of files and folders, as patterns of regular expressions that ignore case, and why they are temporary.
TEMPORARY: tuple[tuple[str, str], ...] = (
    (r"\..*", "it is hidden"),
    (r".*~|~\$.*|#.*#", "it is an editor's copy"),
    (rf".*\.(?:{_ENDINGS})", "it is partial by its suffix"),
    (rf".*\.(?:{_NUMBERED}){_MORE}", "it is partial by its suffix, which has a number"),
    (r".*\.(?:swp|swo|swx|lock|lck)", "it is a lock or a swap file"),
    (_TEMPFILE, "it is named as Python's tempfile names files"),
    (_MKTEMP, "it is named as mktemp names files"),
    (_ORBAX, "it is a checkpoint that is being written"),
)
_TEMPORARY = re.compile("|".join(f"(?:{pattern})" for pattern, _ in TEMPORARY), re.IGNORECASE)
#: Names of which nothing is left without what is temporary.
_NAMELESS = re.compile(rf"\.?(?:{_TEMPFILE}|{_MKTEMP})|{_ORBAX}", re.IGNORECASE)
#: A name with the mark of what is temporary, which leaves it whole when it is taken off; the last one is rsync's.
_MARK = re.compile(
    rf"(?P<one>.*[^.].*?)(?:\.(?:{_ENDINGS})|\.(?:{_NUMBERED}){_MORE}|~)"
    rf"|\.(?P<two>.*[^.]\..+)\.(?-i:(?![A-Z]?{_WORDS}\Z)[A-Za-z0-9]{{6}})",
    re.IGNORECASE | re.DOTALL,
)
_INSIDE = re.compile(r".*[^.]\.(?:tmp|temp|partial|incomplete|inprogress)\..+", re.IGNORECASE | re.DOTALL)
#: Words for what is not complete, or is put aside.
_UNFINISHED = (
    r"te?mp|temporary|partial|incomplete|new|next|old|bak|backup|swap|wip|draft|pending|unfinished|uncommitted|incoming"
    r"|in[-_.]?progress|writing|saving|building|staging|staged|uploading"
)
#: What people may call their own files, and programs those that they rename at once: `tmp` as a word, ...
_MAY_BE = re.compile(
    rf"tmp.*|(?:.*[\W_])?(?:{_UNFINISHED})(?:[\W_\d].*)?"
    # ... a mark before or after a name, ...
    r"|[_~+@].+|.+[_+@!-]"
    # ... what tempfile makes of a prefix and suffixes, ...
    rf"|(?-i:.*(?!{_WORDS}(?:\.|\Z))[a-z0-9_]{{8}}(?:\.[^.]*){{0,2}})"
    # ... and after a suffix one that is random, or the number of a process or of a try.
    rf"|(?-i:.*[^.]\.[^.]+\.(?:\d{{3,7}}|(?<=[a-z]\.)\d{{1,2}}|(?![A-Z]?{_WORDS}\Z)[A-Za-z0-9_]{{6,}}))|.*{_UUID}(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)


def is_temporary(name: str) -> bool:
    """Tell whether a file or a folder of this name is likely to be renamed."""
    return _TEMPORARY.fullmatch(name) is not None


def is_marked(name: str) -> bool:
    """Tell whether a name has the mark of what is temporary before its suffix. It may as well be the user's own name."""
    return _INSIDE.fullmatch(name) is not None


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
    while (found := _MARK.fullmatch(name)) is not None:
        # Who hides a file that is not complete does not hide it then.
        name = (found["one"] or found["two"]).lstrip(".")
    return None if _NAMELESS.fullmatch(name) else name
