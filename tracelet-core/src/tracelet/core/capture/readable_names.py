"""A name of an artifact, made of any text: with ASCII letters where there are some, and another one for another text."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["readable_name"]

_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
#: The letters that are in Unicode's name of a letter: `o` in LATIN SMALL LETTER O WITH STROKE.
_LATIN = re.compile(r"LATIN (?:SMALL|CAPITAL) (?:LETTER|LIGATURE) (?:[A-Z]+ )?([A-Z]{1,2})(?: WITH .*)?")
#: The same of those that are called as they sound: KATAKANA LETTER MO, GREEK SMALL LETTER BETA.
_SPOKEN = re.compile(r"(?:CYRILLIC|GREEK|KATAKANA|HIRAGANA|HANGUL) (?:.* )?(?:LETTER|SYLLABLE) (?:.* )?([A-Z]+)")
#: What a letter of Cyrillic is, where it is called otherwise; a consonant is called with a vowel: EM, KA, SHCHA.
_CALLED = {"IE": "E", "YERU": "Y", "SIGN": ""}
_CONSONANT = re.compile(r"E(?P<one>[FLMNRS])|(?P<two>[BCDFGHKPSTVZ]+)[AE]")
#: Characters of the digest of a text that has lost letters.
_DIGEST = 8


def readable_name(text: str, longest: int, *, strip: str = "-_.", otherwise: str = "") -> str:
    """Return ``text`` in the characters of a name, ``longest`` of them at most; ``otherwise`` where there are none.

    An accent is left out. Where letters were lost, or written in others, or cut, a digest of the text tells it from others;
    it is the same for the same text, however its accents are composed.

    Example:
        >>> readable_name("réseau", 40), readable_name("a b", 40), readable_name("модель", 40)
        ('reseau', 'a-b', 'model-b68fadf0')

    """
    whole = unicodedata.normalize("NFC", text)
    letters = [_letters(one) for one in whole]
    plain = _NO_NAME.sub("-", "".join(one for one, _ in letters)).strip(strip)
    lost = not all(kept for _, kept in letters) or (not plain and not whole.isascii())
    if not lost and len(plain) <= longest:
        return plain or otherwise
    told = plain if whole.isascii() else whole
    # A file's name may be no Unicode.
    digest = hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{(plain or otherwise)[: longest - _DIGEST - 1]}-{digest}".lstrip("-")


def _letters(character: str) -> tuple[str, bool]:
    """Return a character in ASCII, and whether nothing that tells it from another is lost."""
    if character.isascii():
        return character, True
    plain = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
    if plain.isascii():
        return plain, True
    name = unicodedata.name(character, "")
    if latin := _LATIN.fullmatch(name):
        return latin[1] if "CAPITAL" in name else latin[1].lower(), True
    if spoken := _SPOKEN.fullmatch(name):
        return _sound(spoken[1], name).lower(), False
    return " ", unicodedata.category(character)[0] in "PZ"


def _sound(called: str, name: str) -> str:
    if not name.startswith("CYRILLIC"):
        return called
    consonant = _CONSONANT.fullmatch(called)
    return _CALLED.get(called, called) if consonant is None else consonant["one"] or consonant["two"]
